//! PAX extended headers: `LENGTH KEY=VALUE\n` records, one header per entry.
//!
//! Values are delimited by their length alone, so they hold any byte: a newline in an extended attribute cannot end a
//! record. Reading accepts every key once, knows all keys that change how an entry is understood, and refuses those it
//! does not know: a key that one reader ignores and another obeys makes two trees out of one tar.

use super::limits;
use super::meta::{Time, Xattrs};
use super::path::Escaped;

/// Prefix of keys that hold extended attributes, as star, GNU tar, Go and Python write them.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// What is wrong with a PAX header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaxDefect {
    /// It is not a sequence of records.
    #[error("malformed PAX record")]
    Record,
    /// A key came twice.
    #[error("PAX key `{0}` twice")]
    DuplicateKey(String),
    /// A key that this reader does not know.
    #[error("unknown PAX key `{0}`")]
    UnknownKey(String),
    /// A value that its key cannot have.
    #[error("malformed value of PAX key `{0}`")]
    Value(String),
}

/// Builds the records of one PAX header.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<u8>);

impl Records {
    /// Adds one record.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let mut len = rest + digits(rest);
        if rest + digits(len) != len {
            len += 1;
        }
        self.0.extend_from_slice(len.to_string().as_bytes());
        for part in [b" ", key, b"=", value, b"\n"] {
            self.0.extend_from_slice(part);
        }
    }

    /// Adds a decimal number.
    pub fn push_number(&mut self, key: &[u8], value: u64) {
        self.push(key, value.to_string().as_bytes());
    }

    /// Adds the modification time.
    pub fn push_mtime(&mut self, time: Time) {
        self.push(b"mtime", format_time(time).as_bytes());
    }

    /// Adds an extended attribute. `%` and `=` of its name are written as GNU tar does: a key ends at the first `=`.
    pub fn push_xattr(&mut self, name: &[u8], value: &[u8]) {
        let mut key = XATTR.to_vec();
        for &byte in name {
            match byte {
                b'%' => key.extend_from_slice(b"%25"),
                b'=' => key.extend_from_slice(b"%3D"),
                _ => key.push(byte),
            }
        }
        self.push(&key, value);
    }

    /// All records.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Decimal digits of a number.
const fn digits(number: usize) -> usize {
    number.ilog10() as usize + 1
}

/// Seconds with as many decimals as needed.
fn format_time(time: Time) -> String {
    let (sign, sec, nsec) = match (time.sec, time.nsec) {
        (sec @ ..0, 0) => ("-", sec.unsigned_abs(), 0),
        // The fraction of a negative number counts away from zero.
        (sec @ ..0, nsec) => ("-", sec.unsigned_abs() - 1, 1_000_000_000 - nsec),
        (sec, nsec) => ("", sec.unsigned_abs(), nsec),
    };
    let text = format!("{sign}{sec}.{nsec:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Reads what [`format_time`] writes; digits behind the ninth decimal are dropped.
fn parse_time(value: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(value).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (sec, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(sec) || !all_digits(fraction) || fraction.len() > 32 {
        return None;
    }
    let sec: i64 = sec.parse().ok()?;
    let nsec: u32 = format!("{fraction:0<9}")[..9].parse().ok()?;
    Some(match (negative, nsec) {
        (false, _) => Time { sec, nsec },
        (true, 0) => Time { sec: -sec, nsec: 0 },
        (true, _) => Time {
            sec: -sec - 1,
            nsec: 1_000_000_000 - nsec,
        },
    })
}

/// What a PAX header overrides.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    pub path: Option<Vec<u8>>,
    pub linkpath: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<Time>,
    pub xattrs: Xattrs,
    pub sparse: Sparse,
}

/// The `GNU.sparse.*` keys, of formats 0.0, 0.1 and 1.0.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sparse {
    pub major: Option<u64>,
    pub minor: Option<u64>,
    pub name: Option<Vec<u8>>,
    /// `GNU.sparse.size` (0.x) or `GNU.sparse.realsize` (1.0).
    pub size: Option<u64>,
    pub blocks: Option<u64>,
    /// Offsets and lengths in turn, from `GNU.sparse.map` (0.1) or `.offset` and `.numbytes` (0.0).
    pub numbers: Vec<u64>,
}

/// Keys without meaning for a tree: other times, names of owners (we go by number), and comments.
const IGNORED: [&[u8]; 6] = [
    b"atime",
    b"ctime",
    b"LIBARCHIVE.creationtime",
    b"uname",
    b"gname",
    b"comment",
];

/// Reads all records of a PAX header.
///
/// # Errors
/// The first [`PaxDefect`].
pub(super) fn parse(mut bytes: &[u8], limits: &limits::Limits) -> Result<Overrides, PaxDefect> {
    let mut overrides = Overrides::default();
    let mut seen = std::collections::BTreeSet::new();
    while !bytes.is_empty() {
        let (key, value, rest) = record(bytes)?;
        bytes = rest;
        // Format 0.0 repeats these two for every region.
        let repeats = matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes");
        if !seen.insert(key) && !repeats {
            return Err(PaxDefect::DuplicateKey(shown(key)));
        }
        overrides.take(key, value, limits)?;
    }
    Ok(overrides)
}

/// Key and value of the first record, and the records behind it.
type Split<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Splits off the first record.
fn record(bytes: &[u8]) -> Result<Split<'_>, PaxDefect> {
    let space = bytes
        .iter()
        .take(20)
        .position(|&b| b == b' ')
        .ok_or(PaxDefect::Record)?;
    let len = decimal(&bytes[..space])
        .and_then(|len| usize::try_from(len).ok())
        .ok_or(PaxDefect::Record)?;
    if len <= space + 1 || len > bytes.len() || bytes[0] == b'0' {
        return Err(PaxDefect::Record);
    }
    let (record, rest) = bytes.split_at(len);
    let record = record[space + 1..].strip_suffix(b"\n").ok_or(PaxDefect::Record)?;
    let equals = record.iter().position(|&b| b == b'=').ok_or(PaxDefect::Record)?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    if key.is_empty() || key.contains(&0) {
        Err(PaxDefect::Record)
    } else {
        Ok((key, value, rest))
    }
}

impl Overrides {
    fn take(&mut self, key: &[u8], value: &[u8], limits: &limits::Limits) -> Result<(), PaxDefect> {
        let bad = || PaxDefect::Value(shown(key));
        let number = || decimal(value).ok_or_else(bad);
        let text = || {
            if value.is_empty() || value.contains(&0) {
                Err(bad())
            } else {
                Ok(value.to_vec())
            }
        };
        match key {
            b"path" => self.path = Some(text()?),
            b"linkpath" => self.linkpath = Some(text()?),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => self.mtime = Some(parse_time(value).ok_or_else(bad)?),
            // Without meaning here, but other readers refuse a tar over them.
            b"atime" | b"ctime" | b"LIBARCHIVE.creationtime" => drop(parse_time(value).ok_or_else(bad)?),
            b"hdrcharset" if matches!(value, b"BINARY" | b"ISO-IR 10646 2000 UTF-8") => {}
            b"GNU.sparse.major" => self.sparse.major = Some(number()?),
            b"GNU.sparse.minor" => self.sparse.minor = Some(number()?),
            b"GNU.sparse.name" => self.sparse.name = Some(text()?),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" if self.sparse.size.is_none() => {
                self.sparse.size = Some(number()?);
            }
            b"GNU.sparse.numblocks" => self.sparse.blocks = Some(number()?),
            b"GNU.sparse.offset" if self.sparse.numbers.len().is_multiple_of(2) => self.sparse.numbers.push(number()?),
            b"GNU.sparse.numbytes" if self.sparse.numbers.len() % 2 == 1 => self.sparse.numbers.push(number()?),
            b"GNU.sparse.map" if self.sparse.numbers.is_empty() => {
                self.sparse.numbers = numbers(value).ok_or_else(bad)?
            }
            _ if key.starts_with(XATTR) => self.take_xattr(key, value)?,
            _ if key.starts_with(b"GNU.sparse.") || key == b"hdrcharset" => return Err(bad()),
            _ if IGNORED.contains(&key) => {}
            _ => return Err(PaxDefect::UnknownKey(shown(key))),
        }
        if self.sparse.numbers.len() / 2 > limits.regions {
            Err(bad())
        } else {
            Ok(())
        }
    }

    fn take_xattr(&mut self, key: &[u8], value: &[u8]) -> Result<(), PaxDefect> {
        let name = decode_xattr_name(&key[XATTR.len()..]);
        if name.is_empty() || name.len() > limits::XATTR_NAME_MAX || value.len() > limits::XATTR_VALUE_MAX {
            return Err(PaxDefect::Value(shown(key)));
        }
        match self.xattrs.insert(name, value.to_vec()) {
            // Two spellings of one name.
            Some(_) => Err(PaxDefect::DuplicateKey(shown(key))),
            None => Ok(()),
        }
    }
}

/// Undoes the `%25` and `%3D` of GNU tar. Other writers leave `%` as it is, so nothing else is decoded.
fn decode_xattr_name(mut encoded: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(encoded.len());
    while let Some((&byte, rest)) = encoded.split_first() {
        let (decoded, rest) = match encoded {
            [b'%', b'2', b'5', rest @ ..] => (b'%', rest),
            [b'%', b'3', b'D', rest @ ..] => (b'=', rest),
            _ => (byte, rest),
        };
        name.push(decoded);
        encoded = rest;
    }
    name
}

/// A decimal number of digits alone. Sizes of files fit 63 bits, so nothing larger is a number here.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    u64::try_from(number).ok()
}

/// Decimal numbers separated by commas.
fn numbers(text: &[u8]) -> Option<Vec<u64>> {
    text.split(|&b| b == b',').map(decimal).collect()
}

/// A key for messages.
fn shown(key: &[u8]) -> String {
    Escaped(key).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Overrides, PaxDefect> {
        parse(bytes, &limits::Limits::default())
    }

    #[test]
    fn lengths_count_themselves() {
        for value in 0..2000 {
            let mut records = Records::default();
            records.push(b"comment", &vec![b'x'; value]);
            let bytes = records.into_bytes();
            let (_, _, rest) = record(&bytes).unwrap();
            assert!(rest.is_empty(), "value of {value} bytes");
        }
    }

    #[test]
    fn malformed_records() {
        for bad in [
            &b"x"[..],
            b"14 comment=ab\n7",
            b"06 a=b\n",
            b"6 a=bc",
            b"9 =value\n",
            b"9 novalu\n",
            b" 6 a=b\n",
            b"-6 a=b\n",
            b"99999999999999999999999 a=b\n",
            b"3 \n",
            b"10 a\0b=cd\n",
        ] {
            assert_eq!(read(bad).unwrap_err(), PaxDefect::Record, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn keys_come_once_and_are_known() {
        let twice = b"10 path=a\n10 path=b\n";
        assert_eq!(read(twice).unwrap_err(), PaxDefect::DuplicateKey("path".into()));
        assert_eq!(
            read(b"17 GNU.dumpdir=x\n").unwrap_err(),
            PaxDefect::UnknownKey("GNU.dumpdir".into())
        );
        assert_eq!(read(b"10 path=\0\n").unwrap_err(), PaxDefect::Value("path".into()));
        assert_eq!(read(b"9 size=x\n").unwrap_err(), PaxDefect::Value("size".into()));
        assert!(read(b"14 comment=ab\n").is_ok());
    }

    #[test]
    fn newline_in_an_xattr_ends_no_record() {
        let mut records = Records::default();
        records.push_xattr(b"user.a=b%c", b"x\n11 path=evil\n");
        let overrides = read(&records.into_bytes()).unwrap();
        assert_eq!(overrides.path, None);
        assert_eq!(overrides.xattrs[&b"user.a=b%c"[..]], b"x\n11 path=evil\n");
    }

    #[test]
    fn two_spellings_of_one_xattr_are_a_duplicate() {
        let mut records = Records::default();
        records.push(b"SCHILY.xattr.user.%", b"1");
        records.push(b"SCHILY.xattr.user.%25", b"2");
        assert!(matches!(read(&records.into_bytes()), Err(PaxDefect::DuplicateKey(_))));
    }

    #[test]
    fn times() {
        for (time, text) in [
            (Time { sec: 0, nsec: 0 }, "0"),
            (Time { sec: 10, nsec: 0 }, "10"),
            (Time { sec: 1, nsec: 1 }, "1.000000001"),
            (Time { sec: -1, nsec: 0 }, "-1"),
            (
                Time {
                    sec: -2,
                    nsec: 500_000_000,
                },
                "-1.5",
            ),
            (
                Time {
                    sec: -1,
                    nsec: 900_000_000,
                },
                "-0.1",
            ),
        ] {
            assert_eq!(format_time(time), text);
            assert_eq!(parse_time(text.as_bytes()), Some(time));
        }
        for bad in ["", "-", "1.", ".5", "+1", "1e3", "--1", "1.-5", "99999999999999999999"] {
            assert_eq!(parse_time(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn times_round_trip(sec in -9_000_000_000_i64..9_000_000_000, nsec in 0_u32..1_000_000_000) {
            prop_assert_eq!(parse_time(format_time(Time { sec, nsec }).as_bytes()), Some(Time { sec, nsec }));
        }

        #[test]
        fn any_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn xattrs_round_trip(name in prop::collection::vec(1_u8.., 1..40), value in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut records = Records::default();
            records.push_xattr(&name, &value);
            prop_assert_eq!(&read(&records.into_bytes()).unwrap().xattrs[&name], &value);
        }
    }
}
