//! The tar headers of an archive: one canonical encoding for each name, size and time.
//!
//! Invariant: [`Header::parse`] accepts exactly the bytes that [`Header::encode`] makes; it encodes what it understood and
//! compares. So two readers of tar cannot disagree about an archive that is accepted here.

use super::error::{Error, HeaderProblem};
use super::format::{DIRECTORIES, place};
use super::limits::MAX_MTIME;
use super::path::{ArchivePath, printable};

/// Size of a tar block, bytes.
pub(super) const BLOCK: usize = 512;
/// The same, for offsets.
pub(super) const BLOCK64: u64 = BLOCK as u64;

/// Length of the name field.
const NAME_FIELD: usize = 100;
/// Sizes from here on do not fit the 11 octal digits of the size field.
const PAX_SIZE: u64 = 1 << 33;
/// Name of a PAX header: no reader uses it.
const PAX_NAME: &[u8] = b"././@PaxHeader";
/// Blocks of a PAX header, of its records and of the header itself. A path of 255 bytes and a size fit one block.
const PAX_BLOCKS: usize = 3;

/// The fields of a ustar header: what they are called and where they end.
const FIELDS: [(&str, usize); 17] = [
    ("name", 100),
    ("mode", 108),
    ("uid", 116),
    ("gid", 124),
    ("size", 136),
    ("mtime", 148),
    ("checksum", 156),
    ("typeflag", 157),
    ("linkname", 257),
    ("magic", 263),
    ("version", 265),
    ("uname", 297),
    ("gname", 329),
    ("devmajor", 337),
    ("devminor", 345),
    ("prefix", 500),
    ("reserved", 512),
];

/// The header of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Name.
    pub path: ArchivePath,
    /// Size of the content, bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub mtime: u64,
    /// Whether it is the first entry of its directory: then the header of the directory precedes it.
    pub opens: bool,
}

/// `size` rounded up to whole blocks.
pub(super) const fn padded(size: u64) -> u64 {
    size.div_ceil(BLOCK64) * BLOCK64
}

/// Zero bytes that follow a content of `size` bytes.
pub(super) const fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK64) as usize
}

impl Header {
    fn needs_pax(&self) -> bool {
        self.path.as_str().len() > NAME_FIELD || self.size_in_pax()
    }

    /// Where the size may come later, it is always there: the header is as long with any size.
    fn size_in_pax(&self) -> bool {
        self.size >= PAX_SIZE || place(&self.path).is_ok_and(|place| place.kind.late)
    }

    /// Length of the encoding, bytes.
    pub(super) fn encoded_len(&self) -> u64 {
        let own = if self.needs_pax() { PAX_BLOCKS } else { 1 };
        (own + usize::from(self.opens)) as u64 * BLOCK64
    }

    /// The header's bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity((1 + PAX_BLOCKS) * BLOCK);
        if self.opens {
            bytes.extend(block(&directory_name(&self.path), b'5', 0, self.mtime));
        }
        if self.needs_pax() {
            let records = self.pax_records();
            bytes.extend(block(PAX_NAME, b'x', records.len() as u64, self.mtime));
            bytes.extend_from_slice(&records);
            bytes.resize(bytes.len() + padding(records.len() as u64), 0);
        }
        let name = self.path.as_str().as_bytes();
        let size = if self.size < PAX_SIZE { self.size } else { 0 };
        bytes.extend(block(&name[..name.len().min(NAME_FIELD)], b'0', size, self.mtime));
        bytes
    }

    fn pax_records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        if self.path.as_str().len() > NAME_FIELD {
            records.extend(pax_record("path", self.path.as_str()));
        }
        if self.size_in_pax() {
            records.extend(pax_record("size", &self.size.to_string()));
        }
        records
    }

    /// How many blocks the header has that begins like this; more may be known when as many are there.
    pub(super) fn blocks(bytes: &[u8], context: Context<'_>) -> Result<usize, Error> {
        let (first, rest) = bytes
            .split_first_chunk::<BLOCK>()
            .ok_or_else(|| context.failed(bytes, HeaderProblem::Magic))?;
        let failed = |problem| Err(context.failed(first, problem));
        if first[257..263] != *b"ustar\0" {
            return failed(HeaderProblem::Magic);
        }
        if octal(&first[148..154]) != Some(checksum(first)) {
            return failed(HeaderProblem::Checksum);
        }
        match first[156] {
            b'0' => Ok(1),
            b'x' => match octal(&first[124..135]) {
                Some(size) if size > BLOCK64 => failed(HeaderProblem::PaxSize { size }),
                Some(_) => Ok(PAX_BLOCKS),
                None => failed(HeaderProblem::Field { field: "size" }),
            },
            b'5' if !is_directory(first) => failed(HeaderProblem::Type { kind: "directory" }),
            b'5' if rest.is_empty() => Ok(2),
            b'5' if rest.get(156) == Some(&b'5') => failed(HeaderProblem::Directory),
            b'5' => Ok(1 + Self::blocks(rest, context)?),
            other => failed(HeaderProblem::Type { kind: type_name(other) }),
        }
    }

    /// Parses a header of as many blocks as [`Header::blocks`] said.
    pub(super) fn parse(bytes: &[u8], context: Context<'_>) -> Result<Self, Error> {
        let Some((before, main)) = bytes.split_last_chunk::<BLOCK>() else {
            return Err(context.failed(bytes, HeaderProblem::Magic));
        };
        let opens = before.get(156) == Some(&b'5');
        let pax = if opens { &before[BLOCK..] } else { before };
        let header = Self::understand(pax, main, opens, context)?;
        if opens && until_nul(&before[..NAME_FIELD]) != directory_name(&header.path) {
            return Err(context.failed(before, HeaderProblem::Directory));
        }
        match difference(&header.encode(), bytes, opens) {
            None => Ok(header),
            Some(problem) => Err(Error::Header {
                entry: header.path.to_string(),
                offset: context.offset,
                problem,
            }),
        }
    }

    /// What a header says, leniently.
    fn understand(pax: &[u8], main: &[u8; BLOCK], opens: bool, context: Context<'_>) -> Result<Self, Error> {
        let failed = |problem| context.failed(main, problem);
        let field = |field| failed(HeaderProblem::Field { field });
        let records = match pax.get(BLOCK..) {
            Some(records) => Pax::parse(records).ok_or_else(|| failed(HeaderProblem::PaxRecords))?,
            None => Pax::default(),
        };
        let name = records.path.unwrap_or_else(|| until_nul(&main[..NAME_FIELD]));
        Ok(Self {
            path: ArchivePath::try_from(name)?,
            size: records
                .size
                .or_else(|| octal(&main[124..135]))
                .ok_or_else(|| field("size"))?,
            mtime: octal(&main[136..147]).ok_or_else(|| field("mtime"))?,
            opens,
        })
    }
}

/// The name of the directory of an entry, as in the directory's header.
fn directory_name(path: &ArchivePath) -> Vec<u8> {
    let directory = path.directory();
    directory.map_or_else(Vec::new, |directory| [directory.as_bytes(), b"/"].concat())
}

/// Whether a header has the name of one of the directories of the format.
fn is_directory(block: &[u8; BLOCK]) -> bool {
    let name = until_nul(&block[..NAME_FIELD]).strip_suffix(b"/");
    DIRECTORIES.iter().any(|directory| name == Some(directory.as_bytes()))
}

/// Where a header was found, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// Offset in the uncompressed stream.
    pub offset: u64,
    /// The entry before.
    pub after: &'a str,
}

impl Context<'_> {
    /// The error for a header; it is called after the entry before where it has no name.
    fn failed(&self, block: &[u8], problem: HeaderProblem) -> Error {
        let name = until_nul(&block[..NAME_FIELD.min(block.len())]);
        let named = problem != HeaderProblem::Magic && !name.is_empty();
        let entry = if named {
            printable(name)
        } else {
            format!("after {}", self.after)
        };
        Error::Header {
            entry,
            offset: self.offset,
            problem,
        }
    }
}

/// Where an encoding differs from the bytes that are there.
fn difference(expected: &[u8], found: &[u8], opens: bool) -> Option<HeaderProblem> {
    if expected.len() != found.len() {
        return Some(HeaderProblem::PaxRecords);
    }
    // A forged field comes with a checksum to match: the field is the news.
    let differing = || {
        expected
            .iter()
            .zip(found)
            .enumerate()
            .filter(|(_, (left, right))| left != right)
            .map(|(at, _)| at)
    };
    let at = differing()
        .find(|at| !(148..156).contains(&(at % BLOCK)))
        .or_else(|| differing().next())?;
    let own = at.checked_sub(if opens { BLOCK } else { 0 });
    // The size of a PAX header is that of its records.
    let in_records = |at: &usize| (BLOCK..2 * BLOCK).contains(at) || (124..136).contains(at);
    if expected.len() > 2 * BLOCK && own.as_ref().is_some_and(in_records) {
        return Some(HeaderProblem::PaxRecords);
    }
    let (field, _) = FIELDS.iter().find(|(_, end)| at % BLOCK < *end)?;
    Some(HeaderProblem::Field { field })
}

/// One header block.
fn block(name: &[u8], typeflag: u8, size: u64, mtime: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(if typeflag == b'5' { b"0000700\0" } else { b"0000600\0" });
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    put_octal(&mut block[124..135], size);
    put_octal(&mut block[136..147], mtime.min(MAX_MTIME));
    block[156] = typeflag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[329..337].copy_from_slice(b"0000000\0");
    block[337..345].copy_from_slice(b"0000000\0");
    let sum = checksum(&block);
    put_octal(&mut block[148..154], sum);
    block[155] = b' ';
    block
}

/// Sum of all bytes, those of the checksum itself taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let all: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    let own: u64 = block[148..156].iter().map(|&byte| u64::from(byte)).sum();
    all - own + 8 * u64::from(b' ')
}

fn put_octal(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

/// A number of octal digits that fill their field.
fn octal(field: &[u8]) -> Option<u64> {
    field.iter().try_fold(0, |value: u64, digit| match digit {
        b'0'..=b'7' => Some(value << 3 | u64::from(digit - b'0')),
        _ => None,
    })
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn pax_record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length < rest + length.to_string().len() {
        length += 1;
    }
    format!("{length} {key}={value}\n").into_bytes()
}

/// What a PAX header says; the caller compares with the canonical records.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pax<'a> {
    path: Option<&'a [u8]>,
    size: Option<u64>,
}

impl<'a> Pax<'a> {
    fn parse(block: &'a [u8]) -> Option<Self> {
        let mut pax = Self::default();
        let mut rest = until_nul(block);
        while !rest.is_empty() {
            let space = rest.iter().position(|&byte| byte == b' ')?;
            let length: usize = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
            let record = rest.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|&byte| byte == b'=')?;
            match (&record[..equals], &record[equals + 1..]) {
                (b"path", path) if pax.path.is_none() => pax.path = Some(path),
                (b"size", size) if pax.size.is_none() => pax.size = Some(std::str::from_utf8(size).ok()?.parse().ok()?),
                _ => return None,
            }
            rest = &rest[length..];
        }
        Some(pax)
    }
}

const fn type_name(typeflag: u8) -> &'static str {
    match typeflag {
        b'1' => "hard link",
        b'2' => "symbolic link",
        b'3' => "character device",
        b'4' => "block device",
        b'6' => "FIFO",
        b'7' => "contiguous file",
        b'g' => "global PAX header",
        b'K' => "GNU long link name",
        b'L' => "GNU long name",
        b'S' => "GNU sparse file",
        b'D' => "GNU directory dump",
        b'M' => "GNU continuation",
        b'V' => "GNU volume label",
        _ => "header of an unknown type",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: Context<'static> = Context {
        offset: 0,
        after: "ckpt.json",
    };

    fn parse(bytes: &[u8]) -> Result<Header, Error> {
        let mut blocks = Header::blocks(&bytes[..BLOCK], HERE)?;
        while let Some(more) = bytes
            .get(..blocks * BLOCK)
            .map(|known| Header::blocks(known, HERE))
            .transpose()?
            && more > blocks
        {
            blocks = more;
        }
        Header::parse(&bytes[..(blocks * BLOCK).min(bytes.len())], HERE)
    }

    fn header(name: &str, size: u64) -> Header {
        Header {
            path: ArchivePath::try_from(name).expect(name),
            size,
            mtime: 1_700_000_000,
            opens: false,
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let long = format!("checkpoint/{}", "n".repeat(240));
        for (name, size, blocks) in [
            ("ckpt.json", 0, 1),
            ("ckpt.json", PAX_SIZE - 1, 1),
            ("ckpt.json", PAX_SIZE, 3),
            (&long[..100], 5, 1),
            (&long[..101], 5, 3),
            (&long, u64::MAX, 3),
        ] {
            let header = header(name, size);
            let bytes = header.encode();
            assert_eq!(bytes.len(), blocks * BLOCK, "{name} {size}");
            assert_eq!(bytes.len() as u64, header.encoded_len());
            assert_eq!(parse(&bytes).expect(name), header);
        }
    }

    #[test]
    fn the_first_entry_of_a_directory_brings_its_header() {
        let long = format!("checkpoint/{}", "n".repeat(100));
        for (name, blocks) in [("checkpoint/core-1.img", 2), (long.as_str(), 4)] {
            let first = Header {
                opens: true,
                ..header(name, 5)
            };
            let bytes = first.encode();
            assert_eq!(
                (bytes.len(), bytes.len() as u64),
                (blocks * BLOCK, first.encoded_len()),
                "{name}"
            );
            assert_eq!(parse(&bytes).expect(name), first);
            let other = forge(&bytes, 0, b"volumes/\0\0\0");
            let error = parse(&other).expect_err("another directory");
            assert!(
                matches!(
                    error,
                    Error::Header {
                        problem: HeaderProblem::Directory,
                        ..
                    }
                ),
                "{error}"
            );
        }
    }

    #[test]
    fn the_tar_crate_reads_it() {
        let header = header(&format!("checkpoint/{}", "n".repeat(200)), 3);
        let mut bytes = header.encode();
        bytes.extend_from_slice(b"abc");
        bytes.resize(bytes.len() + padding(3) + 2 * BLOCK, 0);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entry = archive.entries().expect("entries").next().expect("one").expect("valid");
        assert_eq!(entry.path_bytes(), header.path.as_str().as_bytes());
        let found = entry.header();
        assert_eq!(
            (found.mode().ok(), found.uid().ok(), found.mtime().ok()),
            (Some(0o600), Some(0), Some(header.mtime))
        );
        assert_eq!(
            (found.device_major().ok(), found.device_minor().ok()),
            (Some(Some(0)), Some(Some(0)))
        );
    }

    #[test]
    fn pax_record_length_counts_itself() {
        for length in 80..110 {
            let record = pax_record("path", &"p".repeat(length));
            let text = std::str::from_utf8(&record).expect("text");
            assert_eq!(text.split(' ').next().map(str::parse), Some(Ok(record.len())), "{text}");
        }
    }

    /// Sets a field and mends the checksum, as an attacker would.
    fn forge(bytes: &[u8], at: usize, value: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        bytes[at..at + value.len()].copy_from_slice(value);
        let start = at / BLOCK * BLOCK;
        let sum = checksum(bytes[start..].first_chunk().expect("block"));
        put_octal(&mut bytes[start + 148..start + 154], sum);
        bytes
    }

    #[test]
    fn forged_fields_are_named() {
        let good = header("spec.dump", 5).encode();
        for (at, value, problem) in [
            (257, &b"ustar "[..], HeaderProblem::Magic),
            (156, b"1", HeaderProblem::Type { kind: "hard link" }),
            (156, b"2", HeaderProblem::Type { kind: "symbolic link" }),
            (
                156,
                b"3",
                HeaderProblem::Type {
                    kind: "character device",
                },
            ),
            (
                156,
                b"\0",
                HeaderProblem::Type {
                    kind: "header of an unknown type",
                },
            ),
            (156, b"L", HeaderProblem::Type { kind: "GNU long name" }),
            (
                156,
                b"g",
                HeaderProblem::Type {
                    kind: "global PAX header",
                },
            ),
            (100, b"0004755", HeaderProblem::Field { field: "mode" }),
            (108, b"0001000", HeaderProblem::Field { field: "uid" }),
            (124, b"\x80", HeaderProblem::Field { field: "size" }),
            (157, b"/etc/passwd", HeaderProblem::Field { field: "linkname" }),
            (265, b"root", HeaderProblem::Field { field: "uname" }),
            (345, b"../..", HeaderProblem::Field { field: "prefix" }),
            (505, b"x", HeaderProblem::Field { field: "reserved" }),
            (50, b"x", HeaderProblem::Field { field: "name" }),
        ] {
            match parse(&forge(&good, at, value)) {
                Err(Error::Header { problem: found, .. }) => assert_eq!(found, problem, "{at}"),
                other => panic!("{at}: {other:?}"),
            }
        }
    }

    #[test]
    fn forged_pax_records_are_refused() {
        let long = format!("checkpoint/{}", "n".repeat(100));
        let good = header(&long, 5).encode();
        for records in [
            &b"12 path=abc\n"[..],
            b"15 path=a\n6 x=\n",
            b"14 mtime=12345\n",
            b"9 size=5\n",
            b"999999999999 path=x\n",
            b"2 path=x\n",
            b"0 path=x\n",
            b"garbage",
            b"",
        ] {
            let mut bytes = good.clone();
            bytes[BLOCK..2 * BLOCK].fill(0);
            bytes[BLOCK..BLOCK + records.len()].copy_from_slice(records);
            parse(&bytes).expect_err("forged");
        }
        let giant = forge(&good, 124, b"30000000000");
        match parse(&giant) {
            Err(Error::Header {
                problem: HeaderProblem::PaxSize { size },
                ..
            }) => assert_eq!(size, 3 << 30),
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_seen(bit in 0_usize..3 * BLOCK * 8, long: bool) {
            let name = if long { format!("checkpoint/{}", "n".repeat(100)) } else { "spec.dump".to_owned() };
            let mut bytes = header(&name, 5).encode();
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            // The records of a PAX header have no checksum: another path there is another header, which the index tells.
            prop_assert!(parse(&bytes).is_ok_and(|other| long && bit / 8 / BLOCK == 1 && other != header(&name, 5)) || parse(&bytes).is_err());
        }

        #[test]
        fn arbitrary_blocks_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 3 * BLOCK), pax: bool) {
            bytes[257..263].copy_from_slice(b"ustar\0");
            bytes[156] = if pax { b'x' } else { b'0' };
            let bytes = forge(&bytes, 124, b"00000000100");
            let _ = parse(&bytes);
        }
    }
}
