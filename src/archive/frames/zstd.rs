//! Zstandard frames (RFC 8878).
//!
//! Accepted frames have a content size, no dictionary and no reserved bits. The checksum flag tells the classes apart:
//! compressed frames have none (the index has their digest), stored frames have one.

use std::io::{self, Read};

use xxhash_rust::xxh64::xxh64;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, compress_bound};

use super::guess::Guess;
use super::{Class, Head, Next, SplitError, content_size, stored_bound, take};
use crate::archive::error::FrameProblem;
use crate::archive::input::Input;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Magic of a skippable frame, without its low nibble.
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// Frame header descriptor: content size flag.
const SIZE_FLAG: u8 = 0b1100_0000;
/// Frame header descriptor: one segment, no window descriptor.
const SINGLE_SEGMENT: u8 = 0b0010_0000;
/// Frame header descriptor: a checksum follows the last block.
const CHECKSUM: u8 = 0b0000_0100;
/// Frame header descriptor: unused, reserved and dictionary bits.
const FORBIDDEN: u8 = 0b0001_1011;
/// Longest header: magic, descriptor, window, content size (no dictionary).
const MAX_HEADER: usize = 4 + 1 + 1 + 8;

/// The largest block.
const MAX_BLOCK: usize = 128 << 10;
const BLOCK_HEADER: usize = 3;
const CHECKSUM_LEN: usize = 4;

/// Descriptor of a stored frame: content size of 4 bytes, one segment, checksum.
const STORED_DESCRIPTOR: u8 = 0b1000_0000 | SINGLE_SEGMENT | CHECKSUM;

pub(super) fn split<R: Read>(input: &mut Input<R>, stored: &mut Vec<u8>) -> Result<Next, SplitError> {
    let start = input.peek(MAX_HEADER)?;
    if start.len() >= 4 && start[1..4] == SKIPPABLE && start[0] & 0xf0 == 0x50 {
        return Ok(Next::Trailer);
    }
    let (head, length) = parse_header(start)?;
    take(input, length, stored)?;
    while !take_block(input, stored, stored_bound(head.content))? {}
    if head.class == Class::Stored {
        take(input, CHECKSUM_LEN, stored)?;
    }
    Ok(Next::Frame(head))
}

/// The head of a frame that is all of `stored`.
pub(super) fn head(stored: &[u8]) -> Result<Head, SplitError> {
    let (head, _) = parse_header(&stored[..stored.len().min(MAX_HEADER)])?;
    // The decoder would take several frames one after the other.
    match zstd::zstd_safe::find_frame_compressed_size(stored) {
        Ok(length) if length == stored.len() => Ok(head),
        _ => Err(FrameProblem::Block.into()),
    }
}

/// The head of a frame, and the length of its header.
fn parse_header(start: &[u8]) -> Result<(Head, usize), SplitError> {
    let shown = start.len().min(MAGIC.len());
    if start[..shown] != MAGIC[..shown] {
        return Err(FrameProblem::Magic.into());
    }
    let descriptor = *start.get(4).ok_or(SplitError::Truncated)?;
    if descriptor & FORBIDDEN != 0 {
        return Err(FrameProblem::Header.into());
    }
    let single = descriptor & SINGLE_SEGMENT != 0;
    let at = if single { 5 } else { 6 };
    let (width, base) = match (descriptor & SIZE_FLAG) >> 6 {
        0 if !single => return Err(FrameProblem::Header.into()),
        0 => (1, 0),
        1 => (2, 256),
        2 => (4, 0),
        _ => (8, 0),
    };
    let field = start.get(at..at + width).ok_or(SplitError::Truncated)?;
    let size = field
        .iter()
        .rev()
        .fold(0, |size: u64, byte| size << 8 | u64::from(*byte));
    let class = if descriptor & CHECKSUM == 0 {
        Class::Compressed
    } else {
        Class::Stored
    };
    let content = content_size(size.saturating_add(base))?;
    Ok((Head { class, content }, at + width))
}

/// Takes one block; true if it was the last.
fn take_block<R: Read>(input: &mut Input<R>, stored: &mut Vec<u8>, bound: usize) -> Result<bool, SplitError> {
    let &[low, middle, high] = input.peek(BLOCK_HEADER)? else {
        return Err(SplitError::Truncated);
    };
    let header = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
    let (last, kind, size) = (header & 1 == 1, header >> 1 & 3, header >> 3);
    let length = match kind {
        // Raw and compressed blocks are as long as they say, a run is one byte.
        0 | 2 if size <= MAX_BLOCK => size,
        1 if size <= MAX_BLOCK => 1,
        _ => return Err(FrameProblem::Block.into()),
    };
    if stored.len() + BLOCK_HEADER + length > bound {
        return Err(FrameProblem::StoredSize.into());
    }
    take(input, BLOCK_HEADER + length, stored)?;
    Ok(last)
}

/// Levels below are so fast on noise that it need not be told apart.
const SLOW_LEVEL: i32 = 4;
/// The level for noise, which no level shrinks.
const NOISE_LEVEL: i32 = 1;

/// Below level zero zstd's own tables are for content of half a frame; these find the matches of a whole one, in no more
/// time, and half of what is otherwise lost of the ratio is kept.
const FAST_WINDOW_LOG: u32 = 20;
/// See [`FAST_WINDOW_LOG`].
const FAST_HASH_LOG: u32 = 14;
/// What zstd chooses by itself for the level.
const BY_LEVEL: u32 = 0;

/// Compresses frames with one context.
pub(crate) struct Encoder {
    context: Compressor<'static>,
    level: i32,
    guess: Guess,
}

impl Encoder {
    pub(super) fn new() -> io::Result<Self> {
        let mut context = Compressor::new(NOISE_LEVEL)?;
        context.include_checksum(false)?;
        context.include_contentsize(true)?;
        context.include_dictid(false)?;
        Ok(Self {
            context,
            level: NOISE_LEVEL,
            guess: Guess::new()?,
        })
    }

    fn set_level(&mut self, level: i32) -> io::Result<()> {
        if self.level == level {
            return Ok(());
        }
        let (window, hash) = if level < 0 {
            (FAST_WINDOW_LOG, FAST_HASH_LOG)
        } else {
            (BY_LEVEL, BY_LEVEL)
        };
        self.context.set_compression_level(level)?;
        self.context.set_parameter(CParameter::WindowLog(window))?;
        self.context.set_parameter(CParameter::HashLog(hash))?;
        self.level = level;
        Ok(())
    }

    /// Noise is compressed at a fast level whatever the level: zstd stores what does not shrink, and the result is the same.
    pub(super) fn encode(&mut self, content: &[u8], level: i32, stored: &mut Vec<u8>) -> io::Result<()> {
        let noise = level >= SLOW_LEVEL && self.guess.is_noise(content)?;
        self.set_level(if noise { NOISE_LEVEL } else { level })?;
        stored.reserve(compress_bound(content.len()));
        self.context.compress_to_buffer(content, stored).map(drop)
    }
}

/// Decompresses frames with one context.
pub(crate) struct Decoder(Decompressor<'static>);

impl Decoder {
    pub(super) fn new() -> io::Result<Self> {
        Decompressor::new().map(Self)
    }

    /// The whole content is decoded in one call, straight into the buffer: no window is kept, however large the frame
    /// says it is.
    pub(super) fn decode(&mut self, stored: &[u8], size: usize, content: &mut Vec<u8>) -> Result<(), FrameProblem> {
        content.reserve_exact(size);
        match self.0.decompress_to_buffer(stored, content) {
            Ok(decoded) if decoded == size => Ok(()),
            _ => Err(FrameProblem::Decode),
        }
    }
}

/// The stored frame with this content: raw blocks of the largest size, and a checksum.
pub(super) fn store(content: &[u8]) -> Vec<u8> {
    let blocks = content.len().div_ceil(MAX_BLOCK);
    let mut stored = Vec::with_capacity(content.len() + MAX_HEADER + blocks * BLOCK_HEADER + CHECKSUM_LEN);
    stored.extend_from_slice(&MAGIC);
    stored.push(STORED_DESCRIPTOR);
    stored.extend_from_slice(&(content.len() as u32).to_le_bytes());
    for (number, block) in content.chunks(MAX_BLOCK).enumerate() {
        let last = usize::from(number + 1 == blocks);
        let header = (block.len() << 3 | last) as u32;
        stored.extend_from_slice(&header.to_le_bytes()[..BLOCK_HEADER]);
        stored.extend_from_slice(block);
    }
    stored.extend_from_slice(&(xxh64(content, 0) as u32).to_le_bytes());
    stored
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(bytes: &[u8]) -> String {
        let error = split(&mut Input::new(bytes), &mut Vec::new()).expect_err("refused");
        format!("{error:?}")
    }

    fn frame(rest: &[u8]) -> Vec<u8> {
        [&MAGIC[..], rest].concat()
    }

    #[test]
    fn what_is_no_frame_of_ours_is_named() {
        for (bytes, expected) in [
            (b"PK\x03\x04".to_vec(), "Problem(Magic)"),
            (frame(&[]), "Truncated"),
            (frame(&[0x20]), "Truncated"),
            (frame(&[0x21, 1, 1]), "Problem(Header)"),
            (frame(&[0x28, 1, 1]), "Problem(Header)"),
            (frame(&[0x30, 1, 1]), "Problem(Header)"),
            (frame(&[0x00, 0x58]), "Problem(Header)"),
            (frame(&[0x20, 0]), "Problem(ContentSize { size: 0 })"),
            (frame(&[0xa0, 1, 0, 0x40, 0]), "Problem(ContentSize { size: 4194305 })"),
            (
                frame(&[0xe0, 0, 0, 0, 0, 0, 1, 0, 0]),
                "Problem(ContentSize { size: 1099511627776 })",
            ),
            (frame(&[0x20, 9, 7, 0, 0]), "Problem(Block)"),
            (frame(&[0x20, 9, 1, 0, 0x7f]), "Problem(Block)"),
            (frame(&[0x20, 9, 0x49, 0, 0, 1, 2]), "Truncated"),
        ] {
            assert_eq!(problem(&bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn endless_empty_blocks_are_cut_off() {
        let mut bytes = frame(&[0x20, 9]);
        bytes.resize(1 << 20, 0);
        assert_eq!(problem(&bytes), "Problem(StoredSize)");
    }

    #[test]
    fn a_skippable_frame_ends_the_frames() {
        for low in [0x50, 0x5e, 0x5f] {
            let bytes = [low, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
            assert_eq!(
                split(&mut Input::new(&bytes[..]), &mut Vec::new()).expect("trailer"),
                Next::Trailer
            );
        }
    }
}
