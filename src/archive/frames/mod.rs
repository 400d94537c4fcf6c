//! Frames: the independent pieces that an archive is compressed in.
//!
//! A frame is *compressed* (made by zstd or zlib; any valid encoding of its content; covered by a digest in the index) or
//! *stored* (made here; exactly one encoding for each content). The entries that hold the digests are in stored frames, so
//! that no bit of the file is left uncovered.
//! Invariants: a frame is decoded into a buffer of the size that its header announces, which is bounded; its stored length
//! is bounded by that size before it is read.

mod compression;
mod guess;
mod gzip;
mod zstd;

use std::fmt;
use std::io::{self, Read};

use super::error::FrameProblem;
use super::input::Input;
use super::limits::MAX_FRAME_CONTENT;

/// What the stream of an archive is compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Zstandard frames.
    Zstd,
    /// gzip members.
    Gzip,
    /// Nothing: a plain tar.
    None,
}

impl Codec {
    /// What an archive is compressed with that begins with these bytes.
    #[must_use]
    pub fn detect(start: &[u8]) -> Self {
        match start {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0x1f, 0x8b, ..] => Self::Gzip,
            _ => Self::None,
        }
    }

    /// Its name, as `--compress` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a frame is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// By zstd or zlib.
    Compressed,
    /// By [`store`].
    Stored,
}

/// What the header of a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub class: Class,
    /// Size of its content, bytes; not zero.
    pub content: usize,
}

/// What comes next in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A frame, which was taken.
    Frame(Head),
    /// What follows the last frame (nothing of it was taken), or the end of the input.
    Trailer,
}

/// Why a frame cannot be taken from a stream.
#[derive(Debug)]
pub(super) enum SplitError {
    Read(io::Error),
    Truncated,
    Problem(FrameProblem),
}

impl From<io::Error> for SplitError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<FrameProblem> for SplitError {
    fn from(problem: FrameProblem) -> Self {
        Self::Problem(problem)
    }
}

/// Takes the next frame of a stream into `stored` without decoding it.
pub(super) fn split<R: Read>(codec: Codec, input: &mut Input<R>, stored: &mut Vec<u8>) -> Result<Next, SplitError> {
    stored.clear();
    if input.peek(1)?.is_empty() {
        return Ok(Next::Trailer);
    }
    match codec {
        Codec::Zstd => zstd::split(input, stored),
        Codec::Gzip => gzip::split(input, stored),
        Codec::None => split_plain(input, stored),
    }
}

/// A plain tar has no frames: it is read in pieces of a frame's size.
fn split_plain<R: Read>(input: &mut Input<R>, stored: &mut Vec<u8>) -> Result<Next, SplitError> {
    let content = input.take(super::limits::FRAME_SIZE, stored)?;
    Ok(Next::Frame(Head {
        class: Class::Compressed,
        content,
    }))
}

/// Takes exactly `count` bytes.
fn take<R: Read>(input: &mut Input<R>, count: usize, stored: &mut Vec<u8>) -> Result<(), SplitError> {
    match input.take(count, stored)? {
        taken if taken == count => Ok(()),
        _ => Err(SplitError::Truncated),
    }
}

/// The content size of a frame's header, checked.
fn content_size(size: u64) -> Result<usize, FrameProblem> {
    match usize::try_from(size) {
        Ok(content @ 1..=MAX_FRAME_CONTENT) => Ok(content),
        _ => Err(FrameProblem::ContentSize { size }),
    }
}

/// The most bytes that a frame with this content is stored in: what deflate can need at worst.
pub(super) const fn stored_bound(content: usize) -> usize {
    content + content / 8 + content / 64 + 1024
}

/// Makes the compressed frames of one thread.
pub(super) enum Encoder {
    Zstd(zstd::Encoder),
    Gzip(gzip::Encoder),
    None,
}

impl Encoder {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::Zstd { .. } => Self::Zstd(zstd::Encoder::new()?),
            Compression::Gzip { .. } => Self::Gzip(gzip::Encoder::new()?),
            Compression::None => Self::None,
        })
    }

    /// The frame with this content, compressed at this level, replaces what is in `stored`.
    pub(super) fn encode(&mut self, content: &[u8], level: i32, stored: &mut Vec<u8>) -> io::Result<()> {
        stored.clear();
        match self {
            Self::Zstd(encoder) => encoder.encode(content, level, stored),
            Self::Gzip(encoder) => encoder.encode(content, level, stored),
            Self::None => {
                stored.extend_from_slice(content);
                Ok(())
            }
        }
    }
}

/// Decodes the frames of one thread.
pub(super) enum Decoder {
    Zstd(zstd::Decoder),
    Gzip(gzip::Decoder),
    None,
}

impl Decoder {
    pub(super) fn new(codec: Codec) -> io::Result<Self> {
        Ok(match codec {
            Codec::Zstd => Self::Zstd(zstd::Decoder::new()?),
            Codec::Gzip => Self::Gzip(gzip::Decoder::new()),
            Codec::None => Self::None,
        })
    }

    /// What the header of a frame says that was read by its place in the index: checked as [`split`] checks it.
    pub(super) fn head(&self, stored: &[u8]) -> Result<Head, FrameProblem> {
        let head = match self {
            Self::Zstd(_) => zstd::head(stored),
            Self::Gzip(_) => gzip::head(stored),
            Self::None => Err(FrameProblem::Magic.into()),
        };
        head.map_err(|error| match error {
            SplitError::Problem(problem) => problem,
            SplitError::Truncated | SplitError::Read(_) => FrameProblem::Header,
        })
    }

    /// The content of a frame replaces what is in `content`. A stored frame is accepted only as [`store`] makes it.
    pub(super) fn decode(&mut self, stored: &[u8], head: Head, content: &mut Vec<u8>) -> Result<(), FrameProblem> {
        content.clear();
        let codec = match self {
            Self::Zstd(decoder) => decoder.decode(stored, head.content, content).map(|()| Codec::Zstd),
            Self::Gzip(decoder) => decoder.decode(stored, head.content, content).map(|()| Codec::Gzip),
            Self::None => {
                content.extend_from_slice(stored);
                return Ok(());
            }
        }?;
        if head.class == Class::Stored && store(codec, content) != stored {
            return Err(FrameProblem::NotCanonical);
        }
        Ok(())
    }
}

/// The stored frame with this content.
pub(super) fn store(codec: Codec, content: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Zstd => zstd::store(content),
        Codec::Gzip => gzip::store(content),
        Codec::None => content.to_vec(),
    }
}

/// What follows the last frame: the seek table of zstd, the end member of gzip, nothing.
///
/// `frames` are the stored and content sizes of all frames, `tail` is the offset of the first frame that holds the
/// entries at the end.
pub(super) fn trailer(codec: Codec, frames: impl ExactSizeIterator<Item = (u32, u32)>, tail: u64) -> Vec<u8> {
    match codec {
        Codec::Zstd => super::seektable::encode(frames),
        Codec::Gzip => gzip::end_member(tail).to_vec(),
        Codec::None => Vec::new(),
    }
}

pub use compression::{Compression, Level};
pub(super) use gzip::{END_MEMBER as GZIP_END, parse_end_member};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::limits::FRAME_SIZE;
    use proptest::prelude::*;

    use guess::tests::noise;

    const CODECS: [Codec; 3] = [Codec::Zstd, Codec::Gzip, Codec::None];

    fn compression(codec: Codec) -> Compression {
        codec.name().parse().expect("its name")
    }

    fn encode(codec: Codec, level: i32, content: &[u8]) -> Vec<u8> {
        let mut stored = Vec::new();
        Encoder::new(compression(codec))
            .expect("encoder")
            .encode(content, level, &mut stored)
            .expect("encodes");
        stored
    }

    /// The levels of `--level auto`, and harder ones.
    fn levels(codec: Codec) -> Vec<i32> {
        let more = if codec == Codec::Zstd { 5 } else { 9 };
        [more]
            .into_iter()
            .chain(compression(codec).adaptive().ladder())
            .collect()
    }

    /// Splits and decodes one frame that is all of `stored`.
    fn decode(codec: Codec, stored: &[u8]) -> Result<Vec<u8>, String> {
        let mut input = Input::new(stored);
        let mut taken = Vec::new();
        let Next::Frame(head) = split(codec, &mut input, &mut taken).map_err(|error| format!("{error:?}"))? else {
            return Err("no frame".to_owned());
        };
        if taken != stored {
            return Err("other length".to_owned());
        }
        let mut content = Vec::new();
        let mut decoder = Decoder::new(codec).expect("decoder");
        decoder
            .decode(&taken, head, &mut content)
            .map_err(|problem| problem.to_string())?;
        Ok(content)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn both_classes_come_back(length in 1_usize..300_000, factor in 1_usize..1 << 20, shift in 0..12) {
            let content: Vec<u8> = (0..length).map(|at| ((at.wrapping_mul(at) * factor) >> shift) as u8).collect();
            for codec in CODECS {
                for level in levels(codec) {
                    prop_assert_eq!(decode(codec, &encode(codec, level, &content)), Ok(content.clone()));
                }
                prop_assert_eq!(decode(codec, &store(codec, &content)), Ok(content.clone()));
            }
        }

        #[test]
        fn pieces_of_every_kind_come_back(kinds in proptest::collection::vec((0_u64..4, 1_usize..300_000), 1..7)) {
            let mut content = Vec::new();
            for (number, (kind, length)) in kinds.into_iter().enumerate() {
                match kind {
                    0 => content.resize(content.len() + length, 0),
                    1 => content.extend((0..length).map(|at| ((at * 31) >> 2) as u8)),
                    _ => content.extend(noise(length, kind + number as u64)),
                }
            }
            content.truncate(FRAME_SIZE);
            for codec in CODECS {
                for level in levels(codec) {
                    let stored = encode(codec, level, &content);
                    prop_assert!(stored.len() <= stored_bound(content.len()));
                    prop_assert!(decode(codec, &stored).as_ref() == Ok(&content), "{} {}", codec, level);
                }
            }
        }

        #[test]
        fn a_flipped_bit_in_a_stored_frame_is_seen(length in 1_usize..200_000, at: prop::sample::Index, bit in 0..8) {
            let content: Vec<u8> = (0..length).map(|at| ((at * 31) >> 2) as u8).collect();
            for codec in [Codec::Zstd, Codec::Gzip] {
                let mut stored = store(codec, &content);
                let at = at.index(stored.len());
                stored[at] ^= 1_u8 << bit;
                // A flip of the bit that tells the class apart is seen by the reader, which wants a stored frame there.
                let seen = match decode(codec, &stored) {
                    Err(_) => true,
                    Ok(_) => split(codec, &mut Input::new(stored.as_slice()), &mut Vec::new())
                        .is_ok_and(|next| !matches!(next, Next::Frame(Head { class: Class::Stored, .. }))),
                };
                prop_assert!(seen);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes: Vec<u8>, codec in 0_usize..2) {
            let start: [(Codec, [u8; 4]); 2] = [(Codec::Zstd, [0x28, 0xb5, 0x2f, 0xfd]), (Codec::Gzip, [0x1f, 0x8b, 8, 4])];
            let (codec, magic) = start[codec];
            bytes.splice(0..0, magic);
            let _ = decode(codec, &bytes);
        }
    }

    #[test]
    fn a_frame_read_by_its_place_is_one_frame() {
        let content = vec![7; 70_000];
        for codec in [Codec::Zstd, Codec::Gzip] {
            let decoder = Decoder::new(codec).expect("decoder");
            for (stored, class) in [
                (encode(codec, 5, &content), Class::Compressed),
                (store(codec, &content), Class::Stored),
            ] {
                let expected = Head {
                    class,
                    content: content.len(),
                };
                assert_eq!(decoder.head(&stored), Ok(expected), "{codec}");
                let twice = [&stored[..], &stored[..]].concat();
                for bad in [&stored[..stored.len() - 1], &stored[..10], &twice, &[stored[0]], &[]] {
                    assert!(decoder.head(bad).is_err(), "{codec}: {} bytes", bad.len());
                }
            }
        }
    }

    #[test]
    fn contexts_that_are_used_again_make_the_same_bytes() {
        let mut contents: Vec<Vec<u8>> = (1..6_u64)
            .map(|seed| (0..90_000 * seed).map(|at| ((at * at / seed) >> 4) as u8).collect())
            .collect();
        contents.push(noise(200_000, 1));
        for codec in CODECS {
            let mut encoder = Encoder::new(compression(codec)).expect("encoder");
            for level in levels(codec) {
                for content in contents.iter().chain(contents.iter().rev()) {
                    let mut stored = Vec::new();
                    encoder.encode(content, level, &mut stored).expect("encodes");
                    assert_eq!(stored, encode(codec, level, content), "{codec} {level}");
                }
            }
        }
    }
}
