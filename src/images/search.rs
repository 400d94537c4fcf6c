//! Finding texts in memory that goes by piece by piece.
//!
//! Invariants: a match is found whatever pieces it is cut into, as long as its bytes follow one another in memory and it has
//! at most [`LONGEST_MATCH`]; memory stays flat, whatever is searched for.

use regex::bytes::{Regex, RegexBuilder};

/// The longest match that is sure to be found, bytes; longer ones may be cut.
pub const LONGEST_MATCH: usize = 64 << 10;
/// The most bytes before and after a match that can be shown.
pub const MOST_CONTEXT: usize = 4096;
/// Bytes that a compiled expression may take: ten times what the library allows without being asked.
const EXPRESSION: usize = 100 << 20;

/// What is searched for.
#[derive(Debug, Clone)]
pub struct Finder(Regex);

impl Finder {
    /// This text.
    ///
    /// # Errors
    /// Where it is too long to be searched for.
    pub fn text(text: &str) -> Result<Self, regex::Error> {
        Self::regex(&regex::escape(text))
    }

    /// Whatever this regular expression matches, in the syntax of the `regex` crate: linear in time, whatever it says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn regex(expression: &str) -> Result<Self, regex::Error> {
        RegexBuilder::new(expression).size_limit(EXPRESSION).build().map(Self)
    }

    /// Printable ASCII characters, so many of them or more.
    ///
    /// # Errors
    /// Where that many cannot be searched for.
    pub fn strings(least: usize) -> Result<Self, regex::Error> {
        Self::regex(&format!("(?-u)[\\t\\x20-\\x7e]{{{least},}}"))
    }
}

/// A match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// Address of its first byte.
    pub address: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// What is before it, as far as that follows in memory.
    pub before: &'a [u8],
    /// What is after it, likewise.
    pub after: &'a [u8],
}

/// See the module.
pub struct Scanner {
    finder: Finder,
    context: usize,
    /// What was not yet searched, with what may be the beginning of a match, and the context before it.
    kept: Vec<u8>,
    /// Address of its first byte.
    base: u64,
    /// How much of `kept` was searched, and is there as context only.
    searched: usize,
}

impl Scanner {
    /// Looks for something; with each match, `context` bytes of what is around it are given.
    #[must_use]
    pub fn new(finder: Finder, context: usize) -> Self {
        Self {
            finder,
            context: context.min(MOST_CONTEXT),
            kept: Vec::new(),
            base: 0,
            searched: 0,
        }
    }

    /// Searches the bytes at an address. Where they do not follow those before, nothing matches across.
    ///
    /// # Errors
    /// What `found` says.
    pub fn feed<E>(
        &mut self,
        address: u64,
        bytes: &[u8],
        found: &mut dyn FnMut(Found<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.base + self.kept.len() as u64 != address {
            self.finish(found)?;
            self.base = address;
        }
        self.kept.extend_from_slice(bytes);
        self.search(false, found)
    }

    /// Searches what is left.
    ///
    /// # Errors
    /// What `found` says.
    pub fn finish<E>(&mut self, found: &mut dyn FnMut(Found<'_>) -> Result<(), E>) -> Result<(), E> {
        self.search(true, found)?;
        self.kept.clear();
        self.searched = 0;
        Ok(())
    }

    fn search<E>(&mut self, last: bool, found: &mut dyn FnMut(Found<'_>) -> Result<(), E>) -> Result<(), E> {
        let length = self.kept.len();
        // A match that ends here may be longer once more is there.
        let sure = if last {
            length
        } else {
            length.saturating_sub(LONGEST_MATCH)
        };
        let mut at = self.searched;
        while at < length {
            let Some(matched) = self.finder.0.find_at(&self.kept, at) else {
                at = at.max(sure);
                break;
            };
            let (start, end) = (matched.start(), matched.end());
            if !last && end > sure && length - start < 2 * LONGEST_MATCH {
                at = start.min(sure.max(at)).max(at);
                break;
            }
            if end > start {
                found(Found {
                    address: self.base + start as u64,
                    bytes: matched.as_bytes(),
                    before: &self.kept[start.saturating_sub(self.context)..start],
                    after: &self.kept[end..(end + self.context).min(length)],
                })?;
            }
            at = end.max(start + 1);
        }
        self.forget(at.min(length));
        Ok(())
    }

    /// Forgets what was searched, but for the context; one byte of it is needed to tell where words begin.
    fn forget(&mut self, searched: usize) {
        let surplus = searched.saturating_sub(self.context.max(1));
        self.kept.drain(..surplus);
        self.base += surplus as u64;
        self.searched = searched - surplus;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Address, match, what is before and what is after.
    type Seen = (u64, Vec<u8>, Vec<u8>, Vec<u8>);

    /// The matches in bytes at address 1000 that come in pieces of that size.
    fn matches(finder: &Finder, bytes: &[u8], size: usize, context: usize) -> Vec<Seen> {
        let mut scanner = Scanner::new(finder.clone(), context);
        let mut found = Vec::new();
        let mut take = |one: Found<'_>| -> Result<(), ()> {
            found.push((one.address, one.bytes.to_vec(), one.before.to_vec(), one.after.to_vec()));
            Ok(())
        };
        for (number, piece) in bytes.chunks(size).enumerate() {
            scanner.feed(1000 + (number * size) as u64, piece, &mut take).unwrap();
        }
        scanner.finish(&mut take).unwrap();
        found
    }

    #[test]
    fn a_match_may_be_cut_anywhere() {
        let mut bytes = vec![0; 300_000];
        for at in [0, 99_998, 131_071, 200_000, 299_994] {
            bytes[at..at + 6].copy_from_slice(b"needle");
        }
        let finder = Finder::text("needle").unwrap();
        for size in [1000, 4096, 65_536, 100_000, 300_000] {
            let found = matches(&finder, &bytes, size, 3);
            let addresses: Vec<u64> = found.iter().map(|(address, ..)| address - 1000).collect();
            assert_eq!(addresses, [0, 99_998, 131_071, 200_000, 299_994], "{size}");
            assert!(found.iter().all(|(_, bytes, ..)| bytes == b"needle"));
            let contexts: Vec<_> = found
                .iter()
                .map(|(_, _, before, after)| (before.len(), after.len()))
                .collect();
            assert_eq!(contexts, [(0, 3), (3, 3), (3, 3), (3, 3), (3, 0)], "{size}");
        }
    }

    #[test]
    fn nothing_matches_across_a_gap() {
        let mut scanner = Scanner::new(Finder::text("needle").unwrap(), 0);
        let mut count = 0;
        let mut take = |_: Found<'_>| -> Result<(), ()> {
            count += 1;
            Ok(())
        };
        scanner.feed(0, b"...need", &mut take).unwrap();
        scanner.feed(4096, b"le...", &mut take).unwrap();
        scanner.feed(9000, b"needle", &mut take).unwrap();
        scanner.finish(&mut take).unwrap();
        assert_eq!(count, 1);
    }

    #[test]
    fn what_matches_everything_keeps_memory_flat() {
        let mut scanner = Scanner::new(Finder::regex("(?s-u).+").unwrap(), 10);
        let (piece, mut sum) = (vec![7; 1 << 20], 0);
        let mut take = |one: Found<'_>| -> Result<(), ()> {
            sum += one.bytes.len();
            Ok(())
        };
        for number in 0..8_u64 {
            scanner.feed(number << 20, &piece, &mut take).unwrap();
            assert!(scanner.kept.len() <= 4 * LONGEST_MATCH, "{}", scanner.kept.len());
        }
        scanner.finish(&mut take).unwrap();
        assert_eq!(sum, 8 << 20);
    }

    #[test]
    fn words_begin_where_they_begin_and_not_where_a_piece_does() {
        let bytes = [vec![b'a'; 200_000], b" a".to_vec()].concat();
        let found = matches(&Finder::regex("(?-u)\\ba").unwrap(), &bytes, 70_000, 0);
        assert_eq!(
            found.iter().map(|(address, ..)| address - 1000).collect::<Vec<_>>(),
            [0, 200_001]
        );
    }

    #[test]
    fn strings_are_runs_of_what_can_be_printed() {
        let found = matches(&Finder::strings(4).unwrap(), b"\0abc\0hello world\n\0four\xff", 5, 0);
        let texts: Vec<_> = found.iter().map(|(_, bytes, ..)| bytes.as_slice()).collect();
        assert_eq!(texts, [b"hello world".as_slice(), b"four"]);
    }

    /// Made once: making one takes longer than using it.
    static FINDERS: std::sync::LazyLock<Vec<Finder>> = std::sync::LazyLock::new(|| {
        let expressions = ["ab", "a+b?", "\\bc", "b.*c"];
        expressions.iter().map(|text| Finder::regex(text).unwrap()).collect()
    });

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes in prop::collection::vec(prop::sample::select(b"ab c".to_vec()), 0..400), size in 1..50_usize) {
            for finder in FINDERS.iter() {
                prop_assert_eq!(matches(finder, &bytes, size, 2), matches(finder, &bytes, 1000, 2));
            }
        }
    }
}
