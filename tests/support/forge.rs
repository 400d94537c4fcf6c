//! A second writer of the format, after `docs/format.md`, which can be told to do any of it wrong.
//!
//! Every step can be replaced, and what follows from it is made to match, as an attacker would. All frames are stored
//! ones, so that the bytes do not depend on the version of a compressor.

use ckpt::archive::{Digest, FrameDigest};

use super::archives::{MTIME, small};

const FRAME: usize = 1 << 20;
const LARGE: usize = 64 << 10;

/// Changes a step of the making.
type Edit<T> = Option<Box<dyn Fn(T) -> T>>;

/// An entry as it will be in the tar stream.
#[derive(Clone)]
pub struct Entry {
    /// Its name in the index and the list of digests; empty: in neither.
    pub name: String,
    /// Its header.
    pub header: Vec<u8>,
    /// Its content, without padding.
    pub content: Vec<u8>,
}

impl Entry {
    /// One as the format prescribes.
    pub fn new(name: &str, content: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            header: header(name, content.len() as u64),
            content: content.to_vec(),
        }
    }

    /// One with another header.
    pub fn with_header(mut self, header: Vec<u8>) -> Self {
        self.header = header;
        self
    }

    /// One that index and digests do not list.
    pub fn unlisted(mut self) -> Self {
        self.name = String::new();
        self
    }
}

/// An archive in the making.
pub struct Forge {
    /// `zstd`, `gzip` or `none`.
    pub codec: &'static str,
    /// Its entries, without those at the end.
    pub entries: Vec<Entry>,
    /// Whether the headers of directories are put where they belong.
    pub directories: bool,
    /// Changes the frames' contents before anything is computed from them.
    pub frames: Edit<Vec<Vec<u8>>>,
    /// Changes the text of `index.json`.
    pub index: Edit<String>,
    /// Changes the text of `SHA256SUMS`.
    pub sums: Edit<String>,
    /// Changes the tail as a tar stream.
    pub tail: Edit<Vec<u8>>,
    /// Changes how the tail is cut into frames.
    pub tail_frames: Edit<Vec<Vec<u8>>>,
    /// Changes what follows the frames.
    pub trailer: Edit<Vec<u8>>,
    /// Changes the whole file.
    pub file: Edit<Vec<u8>>,
}

impl Forge {
    /// Of the small entries, and nothing wrong.
    pub fn small(codec: &'static str) -> Self {
        Self::of(
            codec,
            small()
                .iter()
                .map(|(name, content)| Entry::new(name, content))
                .collect(),
        )
    }

    /// Of these entries, and nothing wrong.
    pub fn of(codec: &'static str, entries: Vec<Entry>) -> Self {
        let (frames, index, sums, tail, tail_frames, trailer, file) = (None, None, None, None, None, None, None);
        Self {
            codec,
            entries,
            directories: true,
            frames,
            index,
            sums,
            tail,
            tail_frames,
            trailer,
            file,
        }
    }

    /// The entry of this name.
    pub fn entry(&mut self, name: &str) -> &mut Entry {
        self.entries.iter_mut().find(|entry| entry.name == name).expect(name)
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        let contents = edit(&self.frames, self.cut());
        let mut frames: Vec<Vec<u8>> = contents.iter().map(|content| store(self.codec, content)).collect();
        let start: usize = frames.iter().map(Vec::len).sum();
        let tail = self.tail_stream(&contents, &frames);
        let cut = edit(&self.tail_frames, tail.chunks(FRAME).map(<[u8]>::to_vec).collect());
        let sizes: Vec<usize> = contents.iter().chain(&cut).map(Vec::len).collect();
        frames.extend(cut.iter().map(|content| store(self.codec, content)));
        let trailer = match self.codec {
            "zstd" => seek_table(&frames.iter().map(Vec::len).zip(sizes).collect::<Vec<_>>()),
            "gzip" => end_member(start as u64),
            _ => Vec::new(),
        };
        frames.push(edit(&self.trailer, trailer));
        edit(&self.file, frames.concat())
    }

    /// The headers of all entries, each after that of its directory where it is the first one there.
    fn headers(&self) -> Vec<Vec<u8>> {
        let directory = |entry: &Entry| entry.name.split_once('/').map(|(directory, _)| directory.to_owned());
        let mut last = None;
        let mut headers = Vec::new();
        for entry in &self.entries {
            let this =
                directory(entry).filter(|name| ["checkpoint", "pre-checkpoint", "volumes"].contains(&name.as_str()));
            let opened = this.as_ref().filter(|_| self.directories && this != last);
            let before = opened.map_or_else(Vec::new, |name| block(format!("{name}/").as_bytes(), b'5', 0));
            headers.push([before, entry.header.clone()].concat());
            last = this;
        }
        headers
    }

    /// The content of the data frames.
    fn cut(&self) -> Vec<Vec<u8>> {
        let (mut frames, mut in_files) = (vec![Vec::new()], false);
        for (entry, header) in self.entries.iter().zip(self.headers()) {
            let late = is_pages(&entry.name);
            let files = ["rootfs", "deleted", "volumes", "devshm"]
                .iter()
                .any(|start| entry.name.starts_with(start));
            let boundary = std::mem::replace(&mut in_files, files) != files;
            if late || boundary {
                frames.push(Vec::new());
            }
            append(&mut frames, &header);
            let body = [&entry.content[..], &vec![0; padding(entry.content.len())]].concat();
            if late || entry.content.len() >= LARGE {
                frames.push(Vec::new());
                append(&mut frames, &body);
                frames.push(Vec::new());
            } else {
                append(&mut frames, &body);
            }
        }
        frames.retain(|frame| !frame.is_empty());
        frames
    }

    fn tail_stream(&self, contents: &[Vec<u8>], frames: &[Vec<u8>]) -> Vec<u8> {
        let index = edit(&self.index, self.index_text(contents, frames));
        let listed = self.entries.iter().filter(|entry| !entry.name.is_empty());
        let mut sums: String = listed
            .map(|entry| format!("{}  {}\n", Digest::of(&entry.content), entry.name))
            .collect();
        sums += &format!("{}  index.json\n", Digest::of(index.as_bytes()));
        let sums = edit(&self.sums, sums);
        let mut tail = Vec::new();
        for (name, text) in [("index.json", index), ("SHA256SUMS", sums)] {
            tail.extend(header(name, text.len() as u64));
            tail.extend_from_slice(text.as_bytes());
            tail.resize(tail.len() + padding(text.len()), 0);
        }
        tail.resize(tail.len() + 1024, 0);
        edit(&self.tail, tail)
    }

    fn index_text(&self, contents: &[Vec<u8>], frames: &[Vec<u8>]) -> String {
        let (mut entries, mut offset) = (Vec::new(), 0);
        for (entry, header) in self.entries.iter().zip(self.headers()) {
            offset += header.len();
            if !entry.name.is_empty() {
                entries.push(format!("\n[\"{}\",{},{offset}]", entry.name, entry.content.len()));
            }
            offset += entry.content.len() + padding(entry.content.len());
        }
        let frames: Vec<String> = match self.codec {
            "none" => Vec::new(),
            _ => (frames.iter().zip(contents))
                .map(|(frame, content)| format!("\n[{},{},\"{}\"]", frame.len(), content.len(), frame_digest(frame)))
                .collect(),
        };
        format!(
            "{{\"version\":1,\"compression\":\"{}\",\"mtime\":{MTIME},\n\"entries\":[{}],\n\"frames\":[{}]}}\n",
            self.codec,
            entries.join(","),
            frames.join(",")
        )
    }
}

fn edit<T>(edit: &Edit<T>, value: T) -> T {
    match edit {
        Some(edit) => edit(value),
        None => value,
    }
}

fn append(frames: &mut Vec<Vec<u8>>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        if frames.last().is_some_and(|frame| frame.len() == FRAME) {
            frames.push(Vec::new());
        }
        let frame = frames.last_mut().expect("a frame");
        let count = bytes.len().min(FRAME - frame.len());
        frame.extend_from_slice(&bytes[..count]);
        bytes = &bytes[count..];
    }
}

/// Zero bytes up to the next block.
pub fn padding(length: usize) -> usize {
    length.next_multiple_of(512) - length
}

/// Whether this is an entry whose size may be known only at its end.
pub fn is_pages(name: &str) -> bool {
    let number = name
        .strip_prefix("checkpoint/pages-")
        .and_then(|rest| rest.strip_suffix(".img"));
    number.is_some_and(|number| number.parse::<u32>().is_ok_and(|parsed| parsed.to_string() == number))
}

/// A header as the format prescribes.
pub fn header(name: &str, size: u64) -> Vec<u8> {
    let mut records = Vec::new();
    if name.len() > 100 {
        records.extend(record("path", name.as_bytes()));
    }
    if size >= 1 << 33 || is_pages(name) {
        records.extend(record("size", size.to_string().as_bytes()));
    }
    let shown = &name.as_bytes()[..name.len().min(100)];
    let main = block(shown, b'0', if size >= 1 << 33 { 0 } else { size });
    if records.is_empty() {
        main
    } else {
        [pax(&records), main].concat()
    }
}

/// A PAX header with these records, padded.
pub fn pax(records: &[u8]) -> Vec<u8> {
    let mut bytes = block(b"././@PaxHeader", b'x', records.len() as u64);
    bytes.extend_from_slice(records);
    bytes.resize(bytes.len() + padding(records.len()), 0);
    bytes
}

/// A PAX record.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..)
        .find(|length| rest + length.to_string().len() == *length)
        .expect("a length");
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// One header block.
pub fn block(name: &[u8], typeflag: u8, size: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name);
    for (at, text) in [
        (100, if typeflag == b'5' { "0000700" } else { "0000600" }.to_owned()),
        (108, "0000000".to_owned()),
        (116, "0000000".to_owned()),
        (124, format!("{size:011o}")),
        (136, format!("{MTIME:011o}")),
        (257, "ustar\x0000".to_owned()),
        (329, "0000000".to_owned()),
        (337, "0000000".to_owned()),
    ] {
        block[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    block[156] = typeflag;
    checksum(block)
}

/// The block with the checksum that it needs.
pub fn checksum(mut block: Vec<u8>) -> Vec<u8> {
    block[148..156].fill(b' ');
    let sum: u32 = block[..512].iter().map(|&byte| u32::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// A header with other bytes at a place, and the checksum to match.
pub fn forged(name: &str, size: u64, at: usize, value: &[u8]) -> Vec<u8> {
    let mut block = header(name, size);
    block[at..at + value.len()].copy_from_slice(value);
    checksum(block)
}

/// A stored frame.
pub fn store(codec: &str, content: &[u8]) -> Vec<u8> {
    match codec {
        "zstd" => zstd_frame(content),
        "gzip" => gzip_member(content),
        _ => content.to_vec(),
    }
}

fn zstd_frame(content: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa4];
    frame.extend((content.len() as u32).to_le_bytes());
    let count = content.len().div_ceil(128 << 10);
    for (number, block) in content.chunks(128 << 10).enumerate() {
        let header = (block.len() as u32) << 3 | u32::from(number + 1 == count);
        frame.extend(&header.to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame.extend((xxhash_rust::xxh64::xxh64(content, 0) as u32).to_le_bytes());
    frame
}

fn gzip_start(kind: u8) -> Vec<u8> {
    [&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 12, 0, b'C', kind, 8, 0][..]].concat()
}

fn gzip_member(content: &[u8]) -> Vec<u8> {
    let blocks: Vec<&[u8]> = content.chunks(0xffff).collect();
    let mut deflate = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        deflate.push(u8::from(number + 1 == blocks.len()));
        deflate.extend((block.len() as u16).to_le_bytes());
        deflate.extend((!(block.len() as u16)).to_le_bytes());
        deflate.extend(*block);
    }
    let mut crc = flate2::Crc::new();
    crc.update(content);
    let mut member = gzip_start(b'S');
    member.extend(((24 + deflate.len() + 8) as u32).to_le_bytes());
    member.extend((content.len() as u32).to_le_bytes());
    member.extend(deflate);
    member.extend(crc.sum().to_le_bytes());
    member.extend((content.len() as u32).to_le_bytes());
    member
}

/// The end member of a gzip archive.
pub fn end_member(tail: u64) -> Vec<u8> {
    let mut member = gzip_start(b'E');
    member.extend(tail.to_le_bytes());
    member.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    member
}

/// A seek table of frames with these stored and content sizes.
pub fn seek_table(frames: &[(usize, usize)]) -> Vec<u8> {
    let mut table = vec![0x5e, 0x2a, 0x4d, 0x18];
    table.extend(((frames.len() * 8 + 9) as u32).to_le_bytes());
    for (stored, content) in frames {
        table.extend((*stored as u32).to_le_bytes());
        table.extend((*content as u32).to_le_bytes());
    }
    table.extend((frames.len() as u32).to_le_bytes());
    table.extend([0, 0xb1, 0xea, 0x92, 0x8f]);
    table
}

fn frame_digest(frame: &[u8]) -> String {
    String::from_utf8_lossy(&FrameDigest::of(frame).hex()).into_owned()
}
