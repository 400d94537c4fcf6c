//! `index.json`: where every entry and every frame is, and the digest of every frame as it is stored.
//!
//! Invariants: one encoding for each index; the writer makes it from what it wrote, the sequential reader makes it from
//! what it read and compares, random access parses it and then encodes it again and compares. Offsets in it follow from the
//! sizes, so an index that is accepted cannot point astray.

use std::io::Write as _;

use serde::Deserialize;

use super::error::{Error, TailProblem};
use super::format::INDEX;
use super::framedigest::FrameDigest;
use super::frames::Codec;
use super::header::{Header, padded};
use super::limits::MAX_MTIME;
use super::path::{ArchivePath, printable};

/// Version of the index's shape.
const VERSION: u32 = 1;

/// An entry of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub path: ArchivePath,
    /// Size of its content, bytes.
    pub size: u64,
    /// Offset of its content in the uncompressed tar stream.
    pub offset: u64,
}

/// A frame of the archive, at the offset where the one before ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Bytes in the file.
    pub stored: u32,
    /// Bytes of content.
    pub content: u32,
    /// Digest of the bytes in the file.
    pub digest: FrameDigest,
}

/// What is where in an archive: all entries before `index.json`, and the frames that they are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    pub(super) codec: Codec,
    pub(super) mtime: u64,
    pub(super) entries: Vec<Entry>,
    pub(super) frames: Vec<Frame>,
}

impl Index {
    /// The entries, in the order of the archive.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The data frames, in the order of the file; none where nothing is compressed.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// What the archive is compressed with.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Time of all entries, seconds since 1970.
    #[must_use]
    pub fn mtime(&self) -> u64 {
        self.mtime
    }

    /// The entry of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.path.as_str() == name)
    }

    /// Where the entries end in the uncompressed stream: `index.json` has its header there.
    pub(super) fn end(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.offset + padded(entry.size))
    }

    /// The headers of all entries.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&Entry, Header)> {
        let before = std::iter::once(None).chain(self.entries.iter().map(|entry| entry.path.directory()));
        self.entries.iter().zip(before).map(|(entry, before)| {
            let opens = entry.path.directory().is_some() && entry.path.directory() != before;
            let (path, size, mtime) = (entry.path.clone(), entry.size, self.mtime);
            (
                entry,
                Header {
                    path,
                    size,
                    mtime,
                    opens,
                },
            )
        })
    }

    /// The entry that has the byte at this offset of the uncompressed stream in its header, content or padding.
    pub(super) fn entry_at(&self, offset: u64) -> &str {
        let at = self
            .entries
            .partition_point(|entry| entry.offset + padded(entry.size) <= offset);
        self.entries.get(at).map_or(INDEX, |entry| entry.path.as_str())
    }

    /// The content of `index.json`.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(128 + self.entries.len() * 64 + self.frames.len() * 88);
        // Writing to memory does not fail.
        let _ = write!(
            text,
            "{{\"version\":{VERSION},\"compression\":\"{}\",\"mtime\":{},\n\"entries\":[",
            self.codec, self.mtime
        );
        for (number, entry) in self.entries.iter().enumerate() {
            text.extend_from_slice(separator(number));
            let _ = write!(text, "[\"{}\",{},{}]", entry.path, entry.size, entry.offset);
        }
        text.extend_from_slice(b"],\n\"frames\":[");
        for (number, frame) in self.frames.iter().enumerate() {
            text.extend_from_slice(separator(number));
            let _ = write!(text, "[{},{},\"", frame.stored, frame.content);
            text.extend_from_slice(&frame.digest.hex());
            text.extend_from_slice(b"\"]");
        }
        text.extend_from_slice(b"]}\n");
        text
    }

    /// Parses the content of `index.json`.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Error> {
        let index = Self::parse_unchecked(text)?;
        index.check()?;
        Ok(index)
    }

    /// Parses it without looking whether sizes and offsets go together.
    fn parse_unchecked(text: &[u8]) -> Result<Self, Error> {
        let malformed = || Error::Tail {
            entry: INDEX.to_owned(),
            problem: TailProblem::Malformed,
        };
        let raw: Raw<'_> = serde_json::from_slice(text).map_err(|_| malformed())?;
        let mut index = Self {
            codec: raw.compression,
            mtime: raw.mtime,
            entries: Vec::new(),
            frames: Vec::new(),
        };
        for RawEntry(name, size, offset) in raw.entries {
            index.entries.push(Entry {
                path: ArchivePath::try_from(name)?,
                size,
                offset,
            });
        }
        for RawFrame(stored, content, digest) in raw.frames {
            let digest = FrameDigest::from_hex(digest.as_bytes()).ok_or_else(malformed)?;
            index.frames.push(Frame {
                stored,
                content,
                digest,
            });
        }
        if index.encode() != text {
            Err(malformed())
        } else {
            Ok(index)
        }
    }

    /// Sizes and offsets follow from one another.
    fn check(&self) -> Result<(), Error> {
        let mut end: u64 = 0;
        for (entry, header) in self.headers() {
            let offset = end.checked_add(header.encoded_len());
            let next = offset.and_then(|offset| offset.checked_add(entry.size)?.checked_next_multiple_of(512));
            match next {
                Some(next) if offset == Some(entry.offset) => end = next,
                _ => {
                    let entry = entry.path.to_string();
                    return Err(Error::Tail {
                        entry,
                        problem: TailProblem::Geometry,
                    });
                }
            }
        }
        let content: u64 = self.frames.iter().map(|frame| u64::from(frame.content)).sum();
        if self.mtime > MAX_MTIME {
            return Err(Error::Tail {
                entry: INDEX.to_owned(),
                problem: TailProblem::Malformed,
            });
        }
        let framed = if self.codec == Codec::None {
            self.frames.is_empty()
        } else {
            content == end
        };
        if framed {
            Ok(())
        } else {
            Err(Error::Tail {
                entry: INDEX.to_owned(),
                problem: TailProblem::Frames,
            })
        }
    }
}

const fn separator(number: usize) -> &'static [u8] {
    if number == 0 { b"\n" } else { b",\n" }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    #[serde(rename = "version")]
    _version: u32,
    compression: Codec,
    mtime: u64,
    #[serde(borrow)]
    entries: Vec<RawEntry<'a>>,
    #[serde(borrow)]
    frames: Vec<RawFrame<'a>>,
}

#[derive(Deserialize)]
struct RawEntry<'a>(&'a str, u64, u64);

#[derive(Deserialize)]
struct RawFrame<'a>(u32, u32, &'a str);

/// Why an index is not the one that the content prescribes: names the first entry that it is wrong about.
pub(super) fn explain(expected: &Index, found: &[u8]) -> Error {
    let found = match Index::parse_unchecked(found) {
        Ok(found) => found,
        Err(error) => return error,
    };
    let tail = |entry: &str, problem| Error::Tail {
        entry: printable(entry.as_bytes()),
        problem,
    };
    for (number, entry) in expected.entries.iter().enumerate() {
        let name = entry.path.as_str();
        match found.entries.get(number) {
            Some(other) if other == entry => {}
            Some(other) if other.path == entry.path => return tail(name, TailProblem::Geometry),
            _ if found.find(name).is_none() => return tail(name, TailProblem::NotListed),
            Some(other) => return tail(other.path.as_str(), TailProblem::NotThere),
            None => return tail(name, TailProblem::NotListed),
        }
    }
    if let Some(surplus) = found.entries.get(expected.entries.len()) {
        return tail(surplus.path.as_str(), TailProblem::NotThere);
    }
    explain_frames(expected, &found)
}

/// Names the entry whose frame is another than the index says.
fn explain_frames(expected: &Index, found: &Index) -> Error {
    let mut offset = 0;
    for (frame, (read, listed)) in expected.frames.iter().zip(&found.frames).enumerate() {
        if read != listed {
            return Error::FrameDigest {
                entry: expected.entry_at(offset).to_owned(),
                frame,
            };
        }
        offset += u64::from(read.content);
    }
    Error::Tail {
        entry: INDEX.to_owned(),
        problem: TailProblem::Frames,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index() -> Index {
        let entry = |name, size, offset| Entry {
            path: ArchivePath::try_from(name).expect(name),
            size,
            offset,
        };
        let frame = |stored, content| Frame {
            stored,
            content,
            digest: FrameDigest::of(b"x"),
        };
        Index {
            codec: Codec::Zstd,
            mtime: 5,
            entries: vec![
                entry("ckpt.json", 100, 512),
                entry("spec.dump", 512, 1536),
                entry("dump.log", 0, 2560),
            ],
            frames: vec![frame(100, 1024), frame(7, 1536)],
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let index = index();
        let text = index.encode();
        assert_eq!(Index::parse(&text).expect("index"), index);
        let value: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(value["entries"][1], serde_json::json!(["spec.dump", 512, 1536]));
        assert_eq!(value["frames"][1][0], 7);
        let none = Index {
            codec: Codec::None,
            frames: vec![],
            ..index
        };
        assert_eq!(Index::parse(&none.encode()).expect("index"), none);
        let empty = Index {
            entries: vec![],
            ..none
        };
        assert_eq!(Index::parse(&empty.encode()).expect("index"), empty);
    }

    #[test]
    fn an_offset_belongs_to_an_entry() {
        for (offset, name) in [
            (0, "ckpt.json"),
            (1023, "ckpt.json"),
            (1024, "spec.dump"),
            (2559, "dump.log"),
            (2560, "index.json"),
        ] {
            assert_eq!(index().entry_at(offset), name, "{offset}");
        }
    }

    #[test]
    fn what_differs_is_named() {
        type Change = fn(&mut Index);
        let table: [(Change, &str); 7] = [
            (
                |index| index.frames[1].digest = FrameDigest::of(b"y"),
                "entry spec.dump: frame 1 does not match its digest in index.json",
            ),
            (
                |index| index.frames[1].stored = 8,
                "entry spec.dump: frame 1 does not match its digest in index.json",
            ),
            (
                |index| index.entries[1].offset = 1024,
                "entry spec.dump: size or offset differs from what the index says",
            ),
            (
                |index| index.entries[1].size = 511,
                "entry spec.dump: size or offset differs from what the index says",
            ),
            (
                |index| index.entries[0].size = u64::MAX,
                "entry ckpt.json: size or offset differs from what the index says",
            ),
            (
                |index| index.frames[0].content = 1,
                "entry ckpt.json: frame 0 does not match its digest in index.json",
            ),
            (
                |index| {
                    index.entries.pop();
                    index.frames[1].content -= 512;
                },
                "entry dump.log: in the archive, but not listed",
            ),
        ];
        for (change, message) in table {
            let mut other = index();
            change(&mut other);
            assert_eq!(explain(&index(), &other.encode()).to_string(), message);
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let text = String::from_utf8(index().encode()).expect("text");
        for other in [
            text.replace('\n', ""),
            text.replace("\"mtime\":5", "\"mtime\": 5"),
            text.replace("\"version\":1", "\"version\":2"),
            text.replace("ckpt.json", "ckpt\\u002ejson"),
            text.replace("ckpt.json", "../kpt.json"),
            text.replace("\"mtime\":5", "\"mtime\":5,\"more\":1"),
            text.replace("zstd", "none"),
            text.replace("zstd", "lzma"),
            String::new(),
            "[".repeat(100_000),
        ] {
            Index::parse(other.as_bytes()).expect_err(&other[..other.len().min(80)]);
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_never_the_same_index(at: prop::sample::Index, bit in 0..8) {
            let mut text = index().encode();
            let at = at.index(text.len());
            text[at] ^= 1_u8 << bit;
            if let Ok(other) = Index::parse(&text) {
                prop_assert_ne!(other, index());
            }
        }
    }
}
