//! `SHA256SUMS`: the digests of all entries, as `sha256sum -c` checks them.
//!
//! Invariant: one encoding for each list. The SHA-256 of it is the identity of the archive.

use super::digest::Digest;
use super::error::{Error, TailProblem};
use super::format::SUMS;
use super::path::printable;

/// `DIGEST  NAME\n` for each entry. Names need no escaping, see [`super::path`].
pub(super) fn encode<'a>(entries: impl Iterator<Item = (&'a str, Digest)>) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, digest) in entries {
        text.extend_from_slice(&digest.hex());
        text.extend_from_slice(b"  ");
        text.extend_from_slice(name.as_bytes());
        text.push(b'\n');
    }
    text
}

/// The lines of a list: name and digest.
pub(super) fn parse(text: &[u8]) -> Result<Vec<(&[u8], Digest)>, Error> {
    let malformed = || Error::Tail {
        entry: SUMS.to_owned(),
        problem: TailProblem::Malformed,
    };
    let lines = text.strip_suffix(b"\n").ok_or_else(malformed)?;
    lines
        .split(|&byte| byte == b'\n')
        .map(|line| {
            let (digest, rest) = line.split_first_chunk::<{ Digest::HEX }>()?;
            Some((rest.strip_prefix(b"  ")?, Digest::from_hex(digest)?))
        })
        .collect::<Option<_>>()
        .ok_or_else(malformed)
}

/// Why a list is not the one that the content prescribes: names the first entry that it is wrong about.
pub(super) fn explain(expected: &[u8], found: &[u8]) -> Error {
    let lists = parse(expected).and_then(|expected| Ok((expected, parse(found)?)));
    let (expected, found) = match lists {
        Ok(lists) => lists,
        Err(error) => return error,
    };
    for (number, (name, digest)) in expected.iter().enumerate() {
        let entry = printable(name);
        match found.get(number) {
            Some((other, sum)) if other == name && sum == digest => {}
            Some((other, _)) if other == name => return Error::Digest { entry },
            _ if found.iter().all(|(other, _)| other != name) => {
                return Error::Tail {
                    entry,
                    problem: TailProblem::NotListed,
                };
            }
            Some((other, _)) => {
                return Error::Tail {
                    entry: printable(other),
                    problem: TailProblem::NotThere,
                };
            }
            None => break,
        }
    }
    let surplus = found
        .get(expected.len())
        .map_or_else(|| SUMS.to_owned(), |(name, _)| printable(name));
    Error::Tail {
        entry: surplus,
        problem: TailProblem::NotThere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(&str, &str)]) -> Vec<u8> {
        encode(
            entries
                .iter()
                .map(|(name, content)| (*name, Digest::of(content.as_bytes()))),
        )
    }

    #[test]
    fn is_what_coreutils_prints() {
        assert_eq!(
            list(&[("a", "abc")]),
            b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n"
        );
        let list = list(&[("a", "1"), ("b", "2")]);
        assert_eq!(
            parse(&list).expect("lines"),
            [(&b"a"[..], Digest::of(b"1")), (b"b", Digest::of(b"2"))]
        );
    }

    #[test]
    fn what_differs_is_named() {
        let expected = list(&[("a", "1"), ("b", "2"), ("c", "3")]);
        for (found, message) in [
            (
                list(&[("a", "1"), ("b", "x"), ("c", "3")]),
                "entry b: content does not match its digest in SHA256SUMS",
            ),
            (
                list(&[("a", "1"), ("c", "3")]),
                "entry b: in the archive, but not listed",
            ),
            (
                list(&[("a", "1"), ("b", "2")]),
                "entry c: in the archive, but not listed",
            ),
            (
                list(&[("a", "1"), ("x", "0"), ("b", "2"), ("c", "3")]),
                "entry x: listed, but not in the archive at that place",
            ),
            (
                list(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]),
                "entry d: listed, but not in the archive at that place",
            ),
            (b"nonsense\n".to_vec(), "entry SHA256SUMS: not as the format prescribes"),
            (
                expected[..expected.len() - 1].to_vec(),
                "entry SHA256SUMS: not as the format prescribes",
            ),
            (Vec::new(), "entry SHA256SUMS: not as the format prescribes"),
        ] {
            assert_eq!(explain(&expected, &found).to_string(), message);
        }
    }
}
