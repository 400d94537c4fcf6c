//! gzip members (RFC 1952) with one extra field, from which a reader learns both lengths before it decodes.
//!
//! ```text
//! 1f 8b 08 04  00 00 00 00  00 ff  0c 00  'C' T 08 00  stored length u32  content length u32   deflate   crc32  content length
//! ```
//! `T` is `D` for a compressed member, `S` for a stored one. The end member has `E` and, in the place of the lengths, the
//! offset of the first member that holds the entries at the end; its content is empty.

use std::io::{self, Read};

use flate2::{Compress, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use super::guess::{Guess, PIECE};
use super::{Class, Head, Next, SplitError, content_size, stored_bound, take};
use crate::archive::error::FrameProblem;
use crate::archive::input::Input;

/// Magic, deflate, extra field, no time, no extra flags, unknown system, length of the extra field, subfield id.
const START: [u8; 13] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 12, 0, b'C'];
/// Length of the subfield's data.
const SUBFIELD: [u8; 2] = [8, 0];
const HEADER: usize = 24;
const TRAILER: usize = 8;

const COMPRESSED: u8 = b'D';
const STORED: u8 = b'S';
const END: u8 = b'E';

/// The largest stored deflate block.
const MAX_STORED_BLOCK: usize = 0xffff;
const STORED_BLOCK_HEADER: usize = 5;

/// Length of the end member.
pub(in crate::archive) const END_MEMBER: usize = HEADER + EMPTY.len() + TRAILER;
/// An empty last deflate block.
const EMPTY: [u8; 2] = [3, 0];

pub(super) fn split<R: Read>(input: &mut Input<R>, stored: &mut Vec<u8>) -> Result<Next, SplitError> {
    let Some((head, length)) = parse_header(input.peek(HEADER)?)? else {
        return Ok(Next::Trailer);
    };
    take(input, length, stored)?;
    Ok(Next::Frame(head))
}

/// The head of a member that is all of `stored`.
pub(super) fn head(stored: &[u8]) -> Result<Head, SplitError> {
    let start = &stored[..stored.len().min(HEADER)];
    match parse_header(start)? {
        Some((head, length)) if length == stored.len() => Ok(head),
        _ => Err(FrameProblem::StoredSize.into()),
    }
}

/// The head of a member and the length of all of it; `None` where it is the end member.
fn parse_header(start: &[u8]) -> Result<Option<(Head, usize)>, SplitError> {
    let shown = start.len().min(START.len());
    if start[..shown.min(3)] != START[..shown.min(3)] {
        return Err(FrameProblem::Magic.into());
    }
    let header: [u8; HEADER] = start.try_into().map_err(|_| SplitError::Truncated)?;
    let class = match header[13] {
        COMPRESSED => Class::Compressed,
        STORED => Class::Stored,
        END => return Ok(None),
        _ => return Err(FrameProblem::Header.into()),
    };
    if header[..13] != START || header[14..16] != SUBFIELD {
        return Err(FrameProblem::Header.into());
    }
    let length = word(&header[16..20]) as usize;
    let content = content_size(u64::from(word(&header[20..24])))?;
    if !(HEADER + TRAILER..=stored_bound(content)).contains(&length) {
        return Err(FrameProblem::StoredSize.into());
    }
    Ok(Some((Head { class, content }, length)))
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// A header whose lengths are filled in by [`finish`].
fn begin(kind: u8, stored: &mut Vec<u8>) {
    stored.extend_from_slice(&START);
    stored.push(kind);
    stored.extend_from_slice(&SUBFIELD);
    stored.extend_from_slice(&[0; 8]);
}

fn finish(content: &[u8], stored: &mut Vec<u8>) {
    let mut crc = Crc::new();
    crc.update(content);
    let size = (content.len() as u32).to_le_bytes();
    stored.extend_from_slice(&crc.sum().to_le_bytes());
    stored.extend_from_slice(&size);
    let length = (stored.len() as u32).to_le_bytes();
    stored[16..20].copy_from_slice(&length);
    stored[20..24].copy_from_slice(&size);
}

/// Compresses members with one context.
pub(crate) struct Encoder {
    context: Compress,
    level: i32,
    guess: Guess,
}

impl Encoder {
    pub(super) fn new() -> io::Result<Self> {
        let level = 1;
        Ok(Self {
            context: deflate(level),
            level,
            guess: Guess::new()?,
        })
    }

    /// Noise is stored: deflate needs 25 ms to find out that a MiB of it does not shrink, and makes it longer.
    pub(super) fn encode(&mut self, content: &[u8], level: i32, stored: &mut Vec<u8>) -> io::Result<()> {
        if self.level != level {
            (self.context, self.level) = (deflate(level), level);
        }
        begin(COMPRESSED, stored);
        stored.reserve(stored_bound(content.len()));
        let mut rest = content;
        while !rest.is_empty() {
            let (noise, length) = self.run(rest)?;
            let (run, after) = rest.split_at(length);
            rest = after;
            if noise {
                store_blocks(run, rest.is_empty(), stored);
            } else {
                self.compress(run, rest.is_empty(), stored)?;
            }
        }
        finish(content, stored);
        Ok(())
    }

    /// Whether the content begins with noise, and the length of all pieces that are alike.
    fn run(&mut self, content: &[u8]) -> io::Result<(bool, usize)> {
        let mut pieces = content.chunks(PIECE);
        let first = pieces.next().unwrap_or_default();
        let (noise, mut length) = (self.guess.is_noise(first)?, first.len());
        for piece in pieces {
            if self.guess.is_noise(piece)? != noise {
                break;
            }
            length += piece.len();
        }
        Ok((noise, length))
    }

    /// Appends blocks that refer to nothing before them, and end with a whole byte.
    fn compress(&mut self, run: &[u8], last: bool, stored: &mut Vec<u8>) -> io::Result<()> {
        self.context.reset();
        let (flush, done) = if last {
            (FlushCompress::Finish, Status::StreamEnd)
        } else {
            (FlushCompress::Sync, Status::Ok)
        };
        let status = self.context.compress_vec(run, stored, flush)?;
        // A flush is complete only where there was room to spare.
        if status == done && self.context.total_in() == run.len() as u64 && stored.len() < stored.capacity() {
            Ok(())
        } else {
            Err(io::Error::other("deflate needs more than its bound"))
        }
    }
}

fn deflate(level: i32) -> Compress {
    Compress::new(flate2::Compression::new(level.unsigned_abs()), false)
}

/// Decompresses members with one context.
pub(crate) struct Decoder(Decompress);

impl Decoder {
    pub(super) fn new() -> Self {
        Self(Decompress::new(false))
    }

    pub(super) fn decode(&mut self, stored: &[u8], size: usize, content: &mut Vec<u8>) -> Result<(), FrameProblem> {
        let Some((deflate, trailer)) = stored.get(HEADER..).and_then(<[u8]>::split_last_chunk::<TRAILER>) else {
            return Err(FrameProblem::Decode);
        };
        content.reserve_exact(size);
        self.0.reset(false);
        let status = self.0.decompress_vec(deflate, content, FlushDecompress::Finish);
        let whole = self.0.total_in() == deflate.len() as u64 && self.0.total_out() == size as u64;
        let mut crc = Crc::new();
        crc.update(content);
        let sums = word(&trailer[..4]) == crc.sum() && word(&trailer[4..]) as usize == size;
        match status {
            Ok(Status::StreamEnd) if whole && sums => Ok(()),
            _ => Err(FrameProblem::Decode),
        }
    }
}

/// The stored member with this content: stored blocks of the largest size.
pub(super) fn store(content: &[u8]) -> Vec<u8> {
    let blocks = content.len().div_ceil(MAX_STORED_BLOCK);
    let mut stored = Vec::with_capacity(HEADER + content.len() + blocks * STORED_BLOCK_HEADER + TRAILER);
    begin(STORED, &mut stored);
    store_blocks(content, true, &mut stored);
    finish(content, &mut stored);
    stored
}

/// Appends content in stored blocks of the largest size.
fn store_blocks(content: &[u8], last: bool, stored: &mut Vec<u8>) {
    let blocks = content.len().div_ceil(MAX_STORED_BLOCK);
    for (number, block) in content.chunks(MAX_STORED_BLOCK).enumerate() {
        let length = block.len() as u16;
        stored.push(u8::from(last && number + 1 == blocks));
        stored.extend_from_slice(&length.to_le_bytes());
        stored.extend_from_slice(&(!length).to_le_bytes());
        stored.extend_from_slice(block);
    }
}

/// The member after the last one.
pub(super) fn end_member(tail: u64) -> [u8; END_MEMBER] {
    let mut member = [0; END_MEMBER];
    member[..13].copy_from_slice(&START);
    member[13] = END;
    member[14..16].copy_from_slice(&SUBFIELD);
    member[16..HEADER].copy_from_slice(&tail.to_le_bytes());
    member[HEADER..HEADER + EMPTY.len()].copy_from_slice(&EMPTY);
    member
}

/// The offset in an end member.
pub(in crate::archive) fn parse_end_member(bytes: &[u8; END_MEMBER]) -> Option<u64> {
    let tail = bytes[16..HEADER]
        .iter()
        .rev()
        .fold(0, |tail, byte| tail << 8 | u64::from(*byte));
    (end_member(tail) == *bytes).then_some(tail)
}

#[cfg(test)]
mod tests {
    use super::super::guess::tests::noise;
    use super::*;

    #[test]
    fn any_gzip_reads_it() {
        let mut content: Vec<u8> = (0..200_000_u32).map(|at| (at >> 5) as u8).collect();
        content.extend(noise(300_000, 1));
        content.resize(600_000, b' ');
        let mut member = Vec::new();
        let mut encoder = Encoder::new().expect("encoder");
        encoder.encode(&content, 6, &mut member).expect("encodes");
        assert!(
            (300_000..320_000).contains(&member.len()),
            "noise is stored, the rest is not"
        );
        member.extend(store(&content));
        member.extend(end_member(17));
        let mut out = Vec::new();
        flate2::read::MultiGzDecoder::new(member.as_slice())
            .read_to_end(&mut out)
            .expect("gzip");
        assert_eq!(out, [content.as_slice(), &content].concat());
    }

    #[test]
    fn the_end_member_tells_an_offset() {
        for tail in [0, 1, u64::MAX] {
            assert_eq!(parse_end_member(&end_member(tail)), Some(tail));
        }
        for at in (0..16).chain(HEADER..END_MEMBER) {
            let mut member = end_member(5);
            member[at] ^= 1;
            assert_eq!(parse_end_member(&member), None, "byte {at}");
        }
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_read() {
        let mut member = store(b"abc");
        member[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = split(&mut Input::new(member.as_slice()), &mut Vec::new()).expect_err("refused");
        assert!(
            matches!(error, SplitError::Problem(FrameProblem::ContentSize { .. })),
            "{error:?}"
        );
        let mut member = store(b"abc");
        member[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = split(&mut Input::new(member.as_slice()), &mut Vec::new()).expect_err("refused");
        assert!(
            matches!(error, SplitError::Problem(FrameProblem::StoredSize)),
            "{error:?}"
        );
    }
}
