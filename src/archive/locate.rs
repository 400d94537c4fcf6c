//! Finds the end of an archive from behind, for random access.
//!
//! Invariant: what the seek table or the end member says is a hint; whatever is found by it is decoded strictly, and the
//! caller compares all of it with what the index prescribes.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::error::{Error, FrameProblem, HeaderProblem, TrailerProblem};
use super::format::{INDEX, Sequence};
use super::frames::{Class, Codec, Decoder, GZIP_END, Head, Next, SplitError, parse_end_member, split, stored_bound};
use super::header::{BLOCK, Context, Header, padded};
use super::input::Input;
use super::limits::{MAX_FRAME_CONTENT, MAX_FRAMES, MAX_INDEX, MAX_SIGNATURE, MAX_SUMS};
use super::seektable;
use super::tail::MAX_TAIL_FRAMES;

/// The most bytes that a tail is stored in: headers, padding and frames add little to its entries.
const MAX_TAIL: u64 = MAX_INDEX + MAX_SUMS + MAX_SIGNATURE + (8 << 20);

/// A file of known length.
pub(super) struct At<'a> {
    pub file: &'a File,
    pub length: u64,
}

/// The end of an archive.
#[derive(Debug)]
pub(super) struct Located {
    /// Where the first frame of the tail is in the file.
    pub offset: u64,
    /// The tail, uncompressed.
    pub stream: Vec<u8>,
    /// The stored bytes from `offset` to the end of the file.
    pub stored: Vec<u8>,
}

impl At<'_> {
    /// The bytes from `offset` on.
    pub(super) fn read(&self, offset: u64, count: usize) -> Result<Vec<u8>, Error> {
        self.check(offset, count)?;
        let mut bytes = vec![0; count];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Nothing is allocated for bytes that the file does not have.
    fn check(&self, offset: u64, count: usize) -> Result<(), Error> {
        match offset.checked_add(count as u64) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(truncated(self.length)),
        }
    }

    pub(super) fn read_into(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        self.check(offset, bytes.len())?;
        self.file
            .read_exact_at(bytes, offset)
            .map_err(|source| match source.kind() {
                std::io::ErrorKind::UnexpectedEof => truncated(self.length),
                _ => Error::Read { offset, source },
            })
    }

    /// Everything from `offset` on, which must be no more than a tail can be.
    fn rest(&self, offset: u64) -> Result<Vec<u8>, Error> {
        match self.length.checked_sub(offset) {
            Some(count @ ..=MAX_TAIL) => self.read(offset, count as usize),
            _ => Err(Error::Frame {
                offset,
                entry: INDEX.to_owned(),
                problem: FrameProblem::Tail,
            }),
        }
    }
}

fn truncated(offset: u64) -> Error {
    Error::Truncated {
        offset,
        entry: INDEX.to_owned(),
    }
}

/// Finds the tail of an archive.
pub(super) fn locate(at: &At<'_>, codec: Codec) -> Result<Located, Error> {
    match codec {
        Codec::Zstd => locate_zstd(at),
        Codec::Gzip => locate_gzip(at),
        Codec::None => locate_plain(at),
    }
}

/// By the seek table: frame by frame from the last one to that which begins with the header of `index.json`.
fn locate_zstd(at: &At<'_>) -> Result<Located, Error> {
    let (sizes, table) = seek_table(at)?;
    let mut decoder = Decoder::new(Codec::Zstd).map_err(|source| Error::Thread { source })?;
    let mut contents: Vec<Vec<u8>> = Vec::new();
    let mut offset = at.length - table;
    for (stored, _) in sizes.iter().rev().take(MAX_TAIL_FRAMES) {
        offset -= u64::from(*stored);
        if *stored as usize > stored_bound(MAX_FRAME_CONTENT) {
            return Err(Error::Frame {
                offset,
                entry: INDEX.to_owned(),
                problem: FrameProblem::StoredSize,
            });
        }
        let bytes = at.read(offset, *stored as usize)?;
        let content = decode_stored(Codec::Zstd, &mut decoder, &bytes, offset)?;
        let first = begins_with_index(&content);
        contents.push(content);
        if first {
            contents.reverse();
            return Ok(Located {
                offset,
                stream: contents.concat(),
                stored: at.rest(offset)?,
            });
        }
    }
    Err(Error::Missing {
        entry: INDEX.to_owned(),
    })
}

/// The sizes in the seek table, and its length.
fn seek_table(at: &At<'_>) -> Result<(Vec<(u32, u32)>, u64), Error> {
    let bad = |offset| Error::Trailer {
        offset,
        problem: TrailerProblem::SeekTable,
    };
    let footer_at = at
        .length
        .checked_sub(seektable::FOOTER as u64)
        .ok_or_else(|| truncated(at.length))?;
    let mut footer = [0; seektable::FOOTER];
    at.read_into(footer_at, &mut footer)?;
    // Whatever does not end with a seek table was most likely cut off.
    let frames = seektable::frames_of(&footer).ok_or_else(|| truncated(at.length))?;
    if frames > MAX_FRAMES + MAX_TAIL_FRAMES {
        return Err(bad(footer_at));
    }
    let length = seektable::encoded_len(frames);
    let start = at.length.checked_sub(length as u64).ok_or_else(|| bad(footer_at))?;
    let sizes = seektable::parse(&at.read(start, length)?).ok_or_else(|| bad(start))?;
    let stored: u64 = sizes.iter().map(|(stored, _)| u64::from(*stored)).sum();
    if stored == start {
        Ok((sizes, length as u64))
    } else {
        Err(bad(start))
    }
}

/// By the end member, which has the offset.
fn locate_gzip(at: &At<'_>) -> Result<Located, Error> {
    let end = at
        .length
        .checked_sub(GZIP_END as u64)
        .ok_or_else(|| truncated(at.length))?;
    let mut member = [0; GZIP_END];
    at.read_into(end, &mut member)?;
    let offset = parse_end_member(&member)
        .filter(|offset| *offset < end)
        .ok_or_else(|| truncated(at.length))?;
    let stored = at.rest(offset)?;
    let mut decoder = Decoder::new(Codec::Gzip).map_err(|source| Error::Thread { source })?;
    let mut stream = Vec::new();
    let mut rest = &stored[..stored.len() - GZIP_END];
    while !rest.is_empty() {
        let here = end - rest.len() as u64;
        let mut frame = Vec::new();
        next_frame(Codec::Gzip, rest, &mut frame, here)?;
        stream.extend(decode_stored(Codec::Gzip, &mut decoder, &frame, here)?);
        rest = &rest[frame.len()..];
    }
    if !begins_with_index(&stream) {
        return Err(Error::Missing {
            entry: INDEX.to_owned(),
        });
    }
    Ok(Located { offset, stream, stored })
}

/// By the headers of all entries.
fn locate_plain(at: &At<'_>) -> Result<Located, Error> {
    let (mut offset, mut sequence, mut mtime) = (0, Sequence::default(), None);
    loop {
        let header = plain_header(at, offset, sequence.last())?;
        if *mtime.get_or_insert(header.mtime) != header.mtime {
            return Err(Error::Header {
                entry: header.path.to_string(),
                offset,
                problem: HeaderProblem::Mtime,
            });
        }
        if header.path.as_str() == INDEX {
            let stream = at.rest(offset)?;
            return Ok(Located {
                offset,
                stored: stream.clone(),
                stream,
            });
        }
        sequence.admit_header(&header)?;
        offset += header.encoded_len() + padded(header.size);
    }
}

/// The header at this offset of a plain tar.
pub(super) fn plain_header(at: &At<'_>, offset: u64, after: &str) -> Result<Header, Error> {
    let context = Context { offset, after };
    let mut bytes = at.read(offset, BLOCK)?;
    if bytes.iter().all(|&byte| byte == 0) {
        return Err(missing_index());
    }
    while let more @ 1.. = Header::blocks(&bytes, context)? * BLOCK - bytes.len() {
        bytes.extend(at.read(offset + bytes.len() as u64, more)?);
    }
    Header::parse(&bytes, context)
}

fn missing_index() -> Error {
    Error::Missing {
        entry: INDEX.to_owned(),
    }
}

fn begins_with_index(content: &[u8]) -> bool {
    let context = Context { offset: 0, after: "" };
    let header = content
        .first_chunk::<BLOCK>()
        .and_then(|block| Header::parse(block, context).ok());
    header.is_some_and(|header| header.path.as_str() == INDEX)
}

/// Takes one frame from the beginning of `bytes`.
fn next_frame(codec: Codec, bytes: &[u8], frame: &mut Vec<u8>, offset: u64) -> Result<Head, Error> {
    let bad = |problem| Error::Frame {
        offset,
        entry: INDEX.to_owned(),
        problem,
    };
    match split(codec, &mut Input::new(bytes), frame) {
        Ok(Next::Frame(head)) => Ok(head),
        Ok(Next::Trailer) => Err(bad(FrameProblem::Magic)),
        Err(SplitError::Problem(problem)) => Err(bad(problem)),
        Err(SplitError::Truncated) => Err(truncated(offset + bytes.len() as u64)),
        Err(SplitError::Read(source)) => Err(Error::Read { offset, source }),
    }
}

/// The content of a frame that must be a stored one.
fn decode_stored(codec: Codec, decoder: &mut Decoder, bytes: &[u8], offset: u64) -> Result<Vec<u8>, Error> {
    let bad = |problem| Error::Frame {
        offset,
        entry: INDEX.to_owned(),
        problem,
    };
    let mut frame = Vec::new();
    let head = next_frame(codec, bytes, &mut frame, offset)?;
    if head.class != Class::Stored || frame.len() != bytes.len() {
        return Err(bad(FrameProblem::Tail));
    }
    let mut content = Vec::new();
    decoder.decode(&frame, head, &mut content).map_err(bad)?;
    Ok(content)
}
