//! The content of one entry of an archive in a file.
//!
//! Invariants: bytes are handed out after the digest of their frame was checked (a plain tar has no frames), the last ones only
//! after that of the entry.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

use super::contenthash::{ContentHash, Span};
use super::deframer::{DecodePool, Decoded, decode, decode_pool};
use super::digest::{Digest, Hasher};
use super::error::{Error, FrameProblem};
use super::framer::depth;
use super::frames::{Codec, Decoder};
use super::index::Entry;
use super::indexed::Indexed;
use super::limits::FRAME_SIZE;
use super::path::ArchivePath;
use super::pool::{Buffers, Content};

/// Decodes frames one at a time, and keeps the last.
pub(super) struct Serial<'a> {
    archive: &'a Indexed,
    decoder: Decoder,
    buffers: Buffers,
    spare: Vec<u8>,
    current: Option<(usize, Arc<Content>)>,
}

impl<'a> Serial<'a> {
    pub(super) fn new(archive: &'a Indexed) -> Result<Self, Error> {
        let decoder = Decoder::new(archive.index().codec).map_err(|source| Error::Thread { source })?;
        Ok(Self {
            archive,
            decoder,
            buffers: Buffers::new(1),
            spare: Vec::new(),
            current: None,
        })
    }

    fn frame(&mut self, number: usize, entry: &ArchivePath) -> Result<Arc<Content>, Error> {
        if let Some((_, content)) = self.current.as_ref().filter(|(current, _)| *current == number) {
            return Ok(content.clone());
        }
        self.current = None;
        let stored = self.archive.stored(number, std::mem::take(&mut self.spare))?;
        let decoded = decode(&mut self.decoder, &self.buffers, stored);
        let content = take(decoded, number, || entry.to_string(), &mut self.spare)?;
        self.current = Some((number, content.clone()));
        Ok(content)
    }

    /// What the frame has from this byte of the uncompressed stream on.
    pub(super) fn at(&mut self, offset: u64, entry: &ArchivePath) -> Result<&[u8], Error> {
        let number = self.archive.frame_at(offset);
        self.frame(number, entry)?;
        let begin = (offset - self.archive.frame_start(number)) as usize;
        Ok(self
            .current
            .as_ref()
            .map_or(&[][..], |(_, content)| content.get(begin..).unwrap_or_default()))
    }
}

/// The content of a decoded frame, or what is wrong with it.
pub(super) fn take(
    decoded: Decoded,
    number: usize,
    entry: impl FnOnce() -> String,
    spare: &mut Vec<u8>,
) -> Result<Arc<Content>, Error> {
    *spare = decoded.stored;
    decoded.content.map_err(|problem| match problem {
        FrameProblem::Digest => Error::FrameDigest {
            entry: entry(),
            frame: number,
        },
        problem => Error::Frame {
            offset: decoded.offset,
            entry: entry(),
            problem,
        },
    })
}

/// How the frames of an entry are decoded.
enum Lane<'a> {
    /// One or two frames are not worth a thread.
    Serial(Serial<'a>),
    Pool {
        pool: DecodePool,
        spare: VecDeque<Vec<u8>>,
        depth: usize,
    },
    /// A plain tar.
    Plain { buffers: Buffers },
}

/// Hashes the content as it is read.
enum Hash {
    Here(Hasher),
    /// Beside whoever takes the content.
    Beside(ContentHash),
}

impl Hash {
    /// The next content; returns the digest of all of it with the last.
    fn update(&mut self, content: &Arc<Content>, range: Range<usize>, last: bool) -> Result<Option<Digest>, Error> {
        match self {
            Self::Here(hasher) => {
                hasher.update(content.get(range).unwrap_or_default());
                Ok(last.then(|| hasher.take()))
            }
            Self::Beside(hash) => {
                hash.submit(content.clone(), vec![Span { range, last }]);
                Ok(if last { hash.finish()?.pop() } else { None })
            }
        }
    }
}

/// The content of one entry. Errors of [`Read`] carry an [`Error`], see [`Error::from_io`].
pub struct IndexedEntry<'a> {
    archive: &'a Indexed,
    position: usize,
    lane: Lane<'a>,
    hash: Hash,
    /// Frames that are to be submitted, and the one that comes out next.
    submit: usize,
    next: usize,
    end: usize,
    current: Option<Arc<Content>>,
    at: usize,
    remaining: u64,
}

impl<'a> IndexedEntry<'a> {
    pub(super) fn new(archive: &'a Indexed, position: usize, threads: NonZeroUsize) -> Result<Self, Error> {
        let entry = &archive.index().entries[position];
        let Range { start: first, end } = archive.frames_of(entry);
        let lane = match archive.index().codec {
            Codec::None => Lane::Plain {
                buffers: Buffers::new(1),
            },
            _ if end - first <= 2 => Lane::Serial(Serial::new(archive)?),
            codec => {
                let depth = depth(threads);
                let pool = decode_pool(codec, threads, &Buffers::new(depth))?;
                Lane::Pool {
                    pool,
                    spare: VecDeque::new(),
                    depth,
                }
            }
        };
        let hash = match lane {
            Lane::Pool { .. } => Hash::Beside(ContentHash::new(NonZeroUsize::MIN)?),
            _ => Hash::Here(Hasher::default()),
        };
        Ok(Self {
            archive,
            position,
            lane,
            hash,
            submit: first,
            next: first,
            end,
            current: None,
            at: 0,
            remaining: entry.size,
        })
    }

    /// The entry.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.archive.index().entries[self.position]
    }

    /// The content that is at hand, without copying; empty at the end.
    ///
    /// # Errors
    /// [`Error::FrameDigest`], [`Error::Frame`], [`Error::Digest`], [`Error::Read`].
    pub fn chunk(&mut self) -> Result<&[u8], Error> {
        while self.remaining > 0 && self.at_hand() == 0 {
            self.load()?;
        }
        let count = self.at_hand();
        Ok(self
            .current
            .as_ref()
            .map_or(&[][..], |content| &content[self.at..self.at + count]))
    }

    fn at_hand(&self) -> usize {
        let ready = self.current.as_ref().map_or(0, |content| content.len() - self.at);
        ready.min(usize::try_from(self.remaining).unwrap_or(usize::MAX))
    }

    /// Takes `count` bytes of [`IndexedEntry::chunk`].
    pub fn consume(&mut self, count: usize) {
        let count = count.min(self.at_hand());
        self.at += count;
        self.remaining -= count as u64;
    }

    /// Offset in the uncompressed stream of what is read next.
    fn offset(&self) -> u64 {
        let entry = self.entry();
        entry.offset + entry.size - self.remaining
    }

    fn load(&mut self) -> Result<(), Error> {
        let offset = self.offset();
        self.current = None;
        let (content, at) = match &mut self.lane {
            Lane::Plain { .. } => (self.piece(offset)?, 0),
            _ => (self.frame()?, (offset - self.archive.frame_start(self.next)) as usize),
        };
        self.next += 1;
        let count = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(content.len() - at);
        let last = count as u64 == self.remaining;
        let found = self.hash.update(&content, at..at + count, last)?;
        if last && found != Some(self.archive.digest(self.position)) {
            return Err(Error::Digest {
                entry: self.entry().path.to_string(),
            });
        }
        (self.current, self.at) = (Some(content), at);
        Ok(())
    }

    /// The next frame.
    fn frame(&mut self) -> Result<Arc<Content>, Error> {
        let entry = &self.archive.index().entries[self.position];
        match &mut self.lane {
            Lane::Serial(serial) => serial.frame(self.next, &entry.path),
            Lane::Pool { pool, spare, depth } => {
                while self.submit < self.end && pool.pending() < *depth {
                    let bytes = spare.pop_front().unwrap_or_default();
                    pool.submit(self.archive.stored(self.submit, bytes)?);
                    self.submit += 1;
                }
                let decoded = pool.wait()?.ok_or(Error::Poisoned)?;
                let mut stored = Vec::new();
                let content = take(decoded, self.next, || entry.path.to_string(), &mut stored)?;
                spare.push_back(stored);
                Ok(content)
            }
            Lane::Plain { .. } => Err(Error::Poisoned),
        }
    }

    /// The next piece of a plain tar.
    fn piece(&mut self, offset: u64) -> Result<Arc<Content>, Error> {
        let Lane::Plain { buffers } = &self.lane else {
            return Err(Error::Poisoned);
        };
        let count = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(FRAME_SIZE);
        let mut bytes = buffers.get();
        bytes.resize(count, 0);
        self.archive.at().read_into(offset, &mut bytes)?;
        Ok(Content::new(bytes, count, buffers))
    }
}

impl Read for IndexedEntry<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.chunk()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl io::BufRead for IndexedEntry<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.chunk()?)
    }

    fn consume(&mut self, count: usize) {
        self.consume(count);
    }
}
