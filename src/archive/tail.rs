//! The entries at the end of an archive: what is in them and how they are framed.
//!
//! Invariant: everything from the header of `index.json` to the last byte of the file, but for the content of the
//! signature, is a function of what comes before. Writer and readers share this one.

use super::digest::Digest;
use super::error::{Error, TailProblem};
use super::format::{INDEX, SIGNATURE, SUMS};
use super::frames::{Codec, store};
use super::header::{BLOCK, Context, Header, padding};
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
    /// Of `SHA256SUMS.sig`.
    pub signature: Option<Vec<u8>>,
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
        Self {
            index: text,
            sums,
            signature: None,
        }
    }

    /// The same with a signature.
    pub(super) fn signed(self, signature: Option<Vec<u8>>) -> Self {
        Self { signature, ..self }
    }

    /// The entries of the tail, as they are in the archive.
    pub(super) fn entries(self) -> Vec<(&'static str, Vec<u8>)> {
        let signature = self.signature.map(|signature| (SIGNATURE, signature));
        [(INDEX, self.index), (SUMS, self.sums)]
            .into_iter()
            .chain(signature)
            .collect()
    }

    /// The identity of the archive.
    pub(super) fn identity(&self) -> Digest {
        Digest::of(&self.sums)
    }

    /// The tail as the end of a tar stream.
    pub(super) fn encode(&self, mtime: u64) -> Result<Vec<u8>, Error> {
        let mut stream = Vec::with_capacity(self.index.len() + self.sums.len() + 8 * BLOCK);
        append(&mut stream, INDEX, &self.index, MAX_INDEX, mtime)?;
        append(&mut stream, SUMS, &self.sums, MAX_SUMS, mtime)?;
        if let Some(signature) = &self.signature {
            append(&mut stream, SIGNATURE, signature, MAX_SIGNATURE, mtime)?;
        }
        stream.resize(stream.len() + 2 * BLOCK, 0);
        Ok(stream)
    }

    /// Takes the end of a tar stream apart that begins with the header of `index.json`.
    pub(super) fn parse(stream: &[u8]) -> Result<(Index, Vec<Digest>, Self), Error> {
        let mut rest = Entries {
            rest: stream,
            after: INDEX,
        };
        let index_text = rest.next(INDEX)?.ok_or_else(|| missing(INDEX))?;
        let sums = rest.next(SUMS)?.ok_or_else(|| missing(SUMS))?;
        let signature = rest.next(SIGNATURE)?;
        let index = Index::parse(index_text)?;
        let mut digests: Vec<Digest> = sums::parse(sums)?.into_iter().map(|(_, digest)| digest).collect();
        digests.pop();
        let tail = Self {
            signature: signature.map(<[u8]>::to_vec),
            ..Self::new(&index, &digests)
        };
        if tail.sums != sums {
            return Err(sums::explain(&tail.sums, sums));
        }
        // What was parsed leniently here, headers, padding and end mark, has one encoding.
        if tail.encode(index.mtime)? != stream {
            return Err(Error::Tail {
                entry: INDEX.to_owned(),
                problem: TailProblem::Malformed,
            });
        }
        check_signature(tail.signature.as_deref())?;
        Ok((index, digests, tail))
    }
}

/// A signature is text, so that it cannot be taken for a header by whoever looks for the tail from behind.
pub(super) fn check_signature(signature: Option<&[u8]>) -> Result<(), Error> {
    let text = |&byte: &u8| byte == b'\n' || byte == b' ' || byte.is_ascii_graphic();
    match signature {
        Some(signature) if signature.is_empty() || !signature.iter().all(text) => Err(Error::Tail {
            entry: SIGNATURE.to_owned(),
            problem: TailProblem::Malformed,
        }),
        _ => Ok(()),
    }
}

fn missing(entry: &str) -> Error {
    Error::Missing {
        entry: entry.to_owned(),
    }
}

fn append(stream: &mut Vec<u8>, name: &str, content: &[u8], limit: u64, mtime: u64) -> Result<(), Error> {
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
        opens: false,
    };
    stream.extend(header.encode());
    stream.extend_from_slice(content);
    stream.resize(stream.len() + padding(size), 0);
    Ok(())
}

/// The entries of a tail that is in memory.
struct Entries<'a> {
    rest: &'a [u8],
    after: &'static str,
}

impl<'a> Entries<'a> {
    /// The content of the next entry, if it has this name.
    fn next(&mut self, name: &'static str) -> Result<Option<&'a [u8]>, Error> {
        let context = Context {
            offset: 0,
            after: self.after,
        };
        let truncated = || Error::Tail {
            entry: name.to_owned(),
            problem: TailProblem::Malformed,
        };
        let (first, rest) = self.rest.split_first_chunk::<BLOCK>().ok_or_else(truncated)?;
        if first.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        // The names of the tail are short: a header of theirs has one block.
        Header::blocks(first, context)?;
        let header = Header::parse(first, context)?;
        if header.path.as_str() != name {
            return Err(missing(name));
        }
        let size = usize::try_from(header.size).map_err(|_| truncated())?;
        let content = rest.get(..size).ok_or_else(truncated)?;
        self.rest = rest.get(size + padding(header.size)..).ok_or_else(truncated)?;
        self.after = name;
        Ok(Some(content))
    }
}

/// The frames of a tail, and the content size of each.
pub(super) fn frames(codec: Codec, stream: &[u8]) -> impl Iterator<Item = (Vec<u8>, usize)> {
    stream
        .chunks(FRAME_SIZE)
        .map(move |content| (store(codec, content), content.len()))
}
