//! The entries at the end of an archive: what is in them and how they are framed.
//!
//! Invariant: everything from the header of `index.json` to the last byte of the file, but for the content of the
//! signature, is a function of what comes before. Writer and readers share this one.

use super::digest::Digest;
use super::error::Error;
use super::format::{INDEX, SUMS};
use super::frames::{Codec, store};
use super::header::{BLOCK, Header, padding};
use super::index::Index;
use super::limits::{FRAME_SIZE, MAX_INDEX, MAX_SIGNATURE, MAX_SUMS};
use super::path::ArchivePath;
use super::sums;

/// The most frames that a tail has.
pub(super) const MAX_TAIL_FRAMES: usize = (MAX_INDEX + MAX_SUMS + MAX_SIGNATURE) as usize / FRAME_SIZE + 2;

/// Content of the entries at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tail {
    /// Of `index.json`.
    pub index: Vec<u8>,
    /// Of `SHA256SUMS`.
    pub sums: Vec<u8>,
}

impl Tail {
    /// The tail for entries with these digests.
    pub(super) fn new(index: &Index, digests: &[Digest]) -> Self {
        let text = index.encode();
        let entries = index
            .entries
            .iter()
            .map(|entry| entry.path.as_str())
            .zip(digests.iter().copied());
        let sums = sums::encode(entries.chain([(INDEX, Digest::of(&text))]));
        Self { index: text, sums }
    }

    /// The identity of the archive.
    pub(super) fn identity(&self) -> Digest {
        Digest::of(&self.sums)
    }

    /// The tail as the end of a tar stream.
    pub(super) fn encode(&self, mtime: u64) -> Result<Vec<u8>, Error> {
        let mut stream = Vec::with_capacity(self.index.len() + self.sums.len() + 8 * BLOCK);
        for (name, content, limit) in [(INDEX, &self.index, MAX_INDEX), (SUMS, &self.sums, MAX_SUMS)] {
            let size = content.len() as u64;
            if size > limit {
                return Err(Error::TooLarge {
                    entry: name.to_owned(),
                    size,
                    limit,
                });
            }
            let header = Header {
                path: ArchivePath::try_from(name)?,
                size,
                mtime,
            };
            stream.extend(header.encode());
            stream.extend_from_slice(content);
            stream.resize(stream.len() + padding(size), 0);
        }
        stream.resize(stream.len() + 2 * BLOCK, 0);
        Ok(stream)
    }
}

/// The frames of a tail, and the content size of each.
pub(super) fn frames(codec: Codec, stream: &[u8]) -> impl Iterator<Item = (Vec<u8>, usize)> {
    stream
        .chunks(FRAME_SIZE)
        .map(move |content| (store(codec, content), content.len()))
}
