//! The content of one entry of an archive in a file.
//!
//! Invariant: bytes are handed out after the digest of their frame was checked; of a plain tar, which has no frames, the last
//! bytes only after that of the entry.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::deframer::{DecodePool, Decoded, decode, decode_pool};
use super::digest::Hasher;
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
        let content = take(decoded, number, entry, &mut self.spare)?;
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
fn take(decoded: Decoded, number: usize, entry: &ArchivePath, spare: &mut Vec<u8>) -> Result<Arc<Content>, Error> {
    *spare = decoded.stored;
    let entry = entry.to_string();
    decoded.content.map_err(|problem| match problem {
        FrameProblem::Digest => Error::FrameDigest { entry, frame: number },
        problem => Error::Frame {
            offset: decoded.offset,
            entry,
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
    /// A plain tar: read and hashed.
    Plain { hasher: Hasher, buffers: Buffers },
}

/// The content of one entry. Errors of [`Read`] carry an [`Error`], see [`Error::from_io`].
pub struct IndexedEntry<'a> {
    archive: &'a Indexed,
    position: usize,
    lane: Lane<'a>,
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
        let Entry { offset, size, .. } = archive.index().entries[position];
        let (first, end) = match size {
            0 => (0, 0),
            _ => (archive.frame_at(offset), archive.frame_at(offset + size - 1) + 1),
        };
        let lane = match archive.index().codec {
            Codec::None => Lane::Plain {
                hasher: Hasher::default(),
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
        Ok(Self {
            archive,
            position,
            lane,
            submit: first,
            next: first,
            end,
            current: None,
            at: 0,
            remaining: size,
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
        let entry = &self.archive.index().entries[self.position];
        let content = match &mut self.lane {
            Lane::Plain { .. } => return self.load_plain(offset),
            Lane::Serial(serial) => serial.frame(self.next, &entry.path)?,
            Lane::Pool { pool, spare, depth } => {
                while self.submit < self.end && pool.pending() < *depth {
                    let bytes = spare.pop_front().unwrap_or_default();
                    pool.submit(self.archive.stored(self.submit, bytes)?);
                    self.submit += 1;
                }
                let decoded = pool.wait()?.ok_or(Error::Poisoned)?;
                let mut stored = Vec::new();
                let content = take(decoded, self.next, &entry.path, &mut stored)?;
                spare.push_back(stored);
                content
            }
        };
        self.at = (offset - self.archive.frame_start(self.next)) as usize;
        self.next += 1;
        self.current = Some(content);
        Ok(())
    }

    fn load_plain(&mut self, offset: u64) -> Result<(), Error> {
        let entry = &self.archive.index().entries[self.position];
        let Lane::Plain { hasher, buffers } = &mut self.lane else {
            return Ok(());
        };
        let count = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(FRAME_SIZE);
        let mut bytes = buffers.get();
        bytes.resize(count, 0);
        self.archive.at().read_into(offset, &mut bytes)?;
        hasher.update(&bytes);
        if count as u64 == self.remaining && hasher.take() != self.archive.digest(self.position) {
            return Err(Error::Digest {
                entry: entry.path.to_string(),
            });
        }
        (self.current, self.at) = (Some(Content::new(bytes, count, buffers)), 0);
        Ok(())
    }
}

impl Read for IndexedEntry<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let chunk = self.chunk()?;
        let count = chunk.len().min(buffer.len());
        buffer[..count].copy_from_slice(&chunk[..count]);
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
