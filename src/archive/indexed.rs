//! Random access to an archive in a file: any entry, verified, without reading the others.
//!
//! Invariants: opening verifies `SHA256SUMS`, the index and every header, so what is listed is what any tar program lists;
//! bytes of an entry are handed out after the digest of their frame was checked (of a plain tar, which has no frames: the
//! digest of the entry is checked at its end, and a wrong one is an error instead of the end).

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::ops::Range;

use super::deframer::Stored;
use super::digest::Digest;
use super::error::{Error, TailProblem, TrailerProblem};
use super::format::{INDEX, MANIFEST, Sequence};
use super::frames::{Class, Codec, Head, stored_bound, trailer};
use super::index::{Entry, Index};
use super::indexed_entry::{IndexedEntry, Serial};
use super::limits::MAX_FRAME_CONTENT;
use super::locate::{At, Located, locate, plain_header};
use super::reader::{Proof, Reader, ReaderOptions};
use super::tail::{self, Tail};
use crate::manifest::Manifest;

/// An archive in a file.
#[derive(Debug)]
pub struct Indexed {
    file: File,
    length: u64,
    index: Index,
    digests: Vec<Digest>,
    identity: Digest,
    manifest: Manifest,
    signature: Option<Vec<u8>>,
    /// Where each frame begins: in the file and in the uncompressed stream; one more for the end.
    starts: Vec<(u64, u64)>,
}

impl Indexed {
    /// Opens an archive by what is at its end. Reads little more than the index.
    ///
    /// # Errors
    /// Whatever is wrong with the index, the digests, the headers or the manifest; [`Error::Read`].
    pub fn open(file: File) -> Result<Self, Error> {
        let length = file
            .metadata()
            .map_err(|source| Error::Read { offset: 0, source })?
            .len();
        let at = At { file: &file, length };
        // The version decides how the rest is read.
        let options = ReaderOptions {
            threads: NonZeroUsize::MIN,
            ..ReaderOptions::default()
        };
        let start = Reader::new(Cursor { at: &at, offset: 0 }, options)?;
        let located = locate(&at, start.codec())?;
        let (index, digests, tail) = Tail::parse(&located.stream)?;
        check_end(&located, &index, start.codec())?;
        check_names(&index)?;
        if Some(&Digest::of(start.manifest_text())) != digests.first() {
            return Err(Error::Digest {
                entry: MANIFEST.to_owned(),
            });
        }
        let (identity, manifest) = (tail.identity(), start.manifest().clone());
        let (starts, signature) = (starts(&index), tail.signature);
        let indexed = Self {
            file,
            length,
            index,
            digests,
            identity,
            manifest,
            signature,
            starts,
        };
        indexed.check_headers()?;
        Ok(indexed)
    }

    /// The same file after all of it was verified.
    pub(super) fn verified(file: File, proof: &Proof, manifest: Manifest) -> Self {
        let Proof {
            index,
            digests,
            identity,
            signature,
            stored_bytes,
            ..
        } = proof.clone();
        let starts = starts(&index);
        Self {
            file,
            length: stored_bytes,
            index,
            digests,
            identity,
            manifest,
            signature,
            starts,
        }
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of `SHA256SUMS`.
    #[must_use]
    pub fn identity(&self) -> Digest {
        self.identity
    }

    /// The entries after those of [`Indexed::entries`], with their content: `index.json`, `SHA256SUMS`, a signature.
    #[must_use]
    pub fn closing(&self) -> Vec<(&'static str, Vec<u8>)> {
        let tail = Tail::new(&self.index, &self.digests);
        tail.signed(self.signature.clone()).entries()
    }

    /// Content of `SHA256SUMS.sig`, which was **not** checked.
    #[must_use]
    pub fn signature(&self) -> Option<&[u8]> {
        self.signature.as_deref()
    }

    /// What is where.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The entries before `index.json`, with their digests.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&Entry, &Digest)> {
        self.index.entries.iter().zip(&self.digests)
    }

    /// Length of the archive, bytes.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.length
    }

    /// The content of an entry, decoded by so many threads; `None` where there is no such entry.
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub fn entry(&self, name: &str, threads: NonZeroUsize) -> Result<Option<IndexedEntry<'_>>, Error> {
        let position = self.index.entries.iter().position(|entry| entry.path.as_str() == name);
        position
            .map(|position| IndexedEntry::new(self, position, threads))
            .transpose()
    }

    /// The whole content of a small entry.
    ///
    /// # Errors
    /// [`Error::Missing`]; [`Error::TooLarge`] where it has more than `limit` bytes; what is wrong with it.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let missing = || Error::Missing { entry: name.to_owned() };
        let mut entry = self.entry(name, NonZeroUsize::MIN)?.ok_or_else(missing)?;
        let size = entry.entry().size;
        if size > limit {
            return Err(Error::TooLarge {
                entry: name.to_owned(),
                size,
                limit,
            });
        }
        let mut content = Vec::new();
        while !entry.chunk()?.is_empty() {
            let chunk = entry.chunk()?;
            content.extend_from_slice(chunk);
            let count = chunk.len();
            entry.consume(count);
        }
        Ok(content)
    }

    /// Fills `buffer` with the content of an entry of a plain tar from `offset` on. Such a part has no digest: **what is read is
    /// not verified**.
    ///
    /// # Errors
    /// [`Error::Missing`] where there is no such entry or it ends before; [`Error::NoFrames`] where it has frames and is to be
    /// read through them; [`Error::Read`].
    pub fn read_plain(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let codec = self.index.codec;
        if codec != Codec::None {
            return Err(Error::NoFrames { codec });
        }
        let entry = self.index.entries.iter().find(|entry| entry.path.as_str() == name);
        let within = |entry: &&Entry| {
            offset
                .checked_add(buffer.len() as u64)
                .is_some_and(|end| end <= entry.size)
        };
        let entry = entry
            .filter(within)
            .ok_or_else(|| Error::Missing { entry: name.to_owned() })?;
        self.at().read_into(entry.offset + offset, buffer)
    }

    /// The file.
    pub(super) fn at(&self) -> At<'_> {
        At {
            file: &self.file,
            length: self.length,
        }
    }

    /// Number of the frame that has this byte of the uncompressed stream.
    pub(super) fn frame_at(&self, offset: u64) -> usize {
        self.starts
            .partition_point(|(_, start)| *start <= offset)
            .saturating_sub(1)
    }

    /// Where the content of a frame begins in the uncompressed stream.
    pub(super) fn frame_start(&self, number: usize) -> u64 {
        self.starts[number].1
    }

    /// The numbers of the frames that have content of an entry.
    pub(super) fn frames_of(&self, entry: &Entry) -> Range<usize> {
        match entry.size {
            0 => 0..0,
            size => self.frame_at(entry.offset)..self.frame_at(entry.offset + size - 1) + 1,
        }
    }

    /// The digest of an entry's content.
    pub(super) fn digest(&self, position: usize) -> Digest {
        self.digests[position]
    }

    /// One frame, as it is in the file.
    pub(super) fn stored(&self, number: usize, mut bytes: Vec<u8>) -> Result<Stored, Error> {
        let (frame, (offset, _)) = (self.index.frames[number], self.starts[number]);
        bytes.clear();
        bytes.resize(frame.stored as usize, 0);
        self.at().read_into(offset, &mut bytes)?;
        let head = Head {
            class: Class::Compressed,
            content: frame.content as usize,
        };
        Ok(Stored {
            bytes,
            head,
            offset,
            expected: Some(frame.digest),
        })
    }

    /// Every header of the archive is the one that the index prescribes.
    fn check_headers(&self) -> Result<(), Error> {
        if self.index.codec == Codec::None {
            return self.check_plain_headers();
        }
        let mut frames = Serial::new(self)?;
        for (entry, header) in self.index.headers() {
            let expected = header.encode();
            let mut offset = entry.offset - expected.len() as u64;
            let mut rest = expected.as_slice();
            while !rest.is_empty() {
                let found = frames.at(offset, &entry.path)?;
                let count = found.len().min(rest.len());
                if count == 0 || found[..count] != rest[..count] {
                    return Err(not_there(entry));
                }
                rest = &rest[count..];
                offset += count as u64;
            }
        }
        Ok(())
    }

    fn check_plain_headers(&self) -> Result<(), Error> {
        self.index.headers().try_for_each(|(entry, expected)| {
            let offset = entry.offset - expected.encoded_len();
            if plain_header(&self.at(), offset, MANIFEST)? == expected {
                Ok(())
            } else {
                Err(not_there(entry))
            }
        })
    }
}

fn not_there(entry: &Entry) -> Error {
    Error::Tail {
        entry: entry.path.to_string(),
        problem: TailProblem::NotThere,
    }
}

fn starts(index: &Index) -> Vec<(u64, u64)> {
    let mut starts = vec![(0, 0)];
    let mut end = (0, 0);
    for frame in &index.frames {
        end = (end.0 + u64::from(frame.stored), end.1 + u64::from(frame.content));
        starts.push(end);
    }
    starts
}

/// The end of the file is the one that the index prescribes.
fn check_end(located: &Located, index: &Index, codec: Codec) -> Result<(), Error> {
    let frames = || Error::Tail {
        entry: INDEX.to_owned(),
        problem: TailProblem::Frames,
    };
    let start: u64 = match codec {
        Codec::None => index.end(),
        _ => index.frames.iter().map(|frame| u64::from(frame.stored)).sum(),
    };
    let sizes_fit = |frame: &super::Frame| {
        let (stored, content) = (frame.stored as usize, frame.content as usize);
        (1..=MAX_FRAME_CONTENT).contains(&content) && stored <= stored_bound(content)
    };
    if index.codec != codec || start != located.offset || !index.frames.iter().all(sizes_fit) {
        return Err(frames());
    }
    let mut sizes: Vec<_> = index.frames.iter().map(|frame| (frame.stored, frame.content)).collect();
    let mut expected = Vec::with_capacity(located.stored.len());
    for (stored, content) in tail::frames(codec, &located.stream) {
        sizes.push((stored.len() as u32, content as u32));
        expected.extend(stored);
    }
    let offset = located.offset + expected.len() as u64;
    expected.extend(trailer(codec, sizes.into_iter(), start));
    if expected == located.stored {
        return Ok(());
    }
    let problem = match codec {
        Codec::Zstd => TrailerProblem::SeekTable,
        Codec::Gzip => TrailerProblem::EndMember,
        Codec::None => TrailerProblem::TrailingData,
    };
    Err(Error::Trailer { offset, problem })
}

/// Names, order and sizes are those of the format.
fn check_names(index: &Index) -> Result<(), Error> {
    let mut sequence = Sequence::default();
    for entry in &index.entries {
        if sequence.admit(&entry.path, entry.size)?.is_tail() {
            return Err(Error::Unknown {
                entry: entry.path.to_string(),
            });
        }
    }
    Ok(())
}

/// Reads a file by offset, whatever its cursor.
struct Cursor<'a> {
    at: &'a At<'a>,
    offset: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = std::os::unix::fs::FileExt::read_at(self.at.file, buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
