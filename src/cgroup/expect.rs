//! How a limit reads after it was written: the kernel rounds, reorders and completes.

use std::collections::BTreeSet;

use serde::Serialize;

use super::files;
use super::idset::IdSet;

/// How a limit file must read once a value has been written into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// As it was written.
    Text,
    /// As the same number of bytes, rounded down to pages; without a limit where there is none.
    Bytes,
    /// As the same CPUs or nodes.
    Ids,
    /// The line with the first word of the value has all other words of it.
    Line,
    /// The value is the second word of the first line.
    FirstLine,
    /// Every word of the value, without its `+`, is there.
    Words,
}

/// The largest page, bytes: values of memory are rounded down by less than this.
const MAX_PAGE: u64 = 64 << 10;

impl Expect {
    /// Whether a file with this content holds the value.
    #[must_use]
    pub fn holds(self, value: &str, content: &str) -> bool {
        let content = content.trim_end();
        match self {
            Self::Text => content == value,
            Self::Bytes => same_bytes(value, content),
            Self::Ids => content.parse::<IdSet>().is_ok_and(|found| value.parse() == Ok(found)),
            Self::Line => {
                let words: Vec<_> = value.split_whitespace().collect();
                content.lines().any(|line| same_line(&words, line))
            }
            Self::FirstLine => content.lines().next().and_then(|line| line.split_whitespace().nth(1)) == Some(value),
            Self::Words => {
                let found: BTreeSet<_> = content.split_whitespace().collect();
                value
                    .split_whitespace()
                    .all(|word| found.contains(word.trim_start_matches('+')))
            }
        }
    }
}

fn same_bytes(value: &str, content: &str) -> bool {
    if files::is_unlimited(value) || files::is_unlimited(content) {
        return files::is_unlimited(value) && files::is_unlimited(content);
    }
    match (value.parse::<u64>(), content.parse::<u64>()) {
        (Ok(wanted), Ok(found)) => found <= wanted && wanted - found < MAX_PAGE,
        _ => false,
    }
}

/// Whether a line has the same key and at least the same words; the kernel may list more.
fn same_line(words: &[&str], line: &str) -> bool {
    let found: Vec<_> = line.split_whitespace().collect();
    found.first() == words.first() && words.iter().all(|word| found.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_makes_of_a_value_is_the_same_value() {
        let cases = [
            (Expect::Text, "50000 100000", "50000 100000\n", true),
            (Expect::Text, "50", "100\n", false),
            (Expect::Bytes, "1000000", "999424\n", true),
            (Expect::Bytes, "1000000", "1003520\n", false),
            (Expect::Bytes, "1000000", "900000\n", false),
            (Expect::Bytes, "-1", "9223372036854771712\n", true),
            (Expect::Bytes, "max", "max\n", true),
            (Expect::Bytes, "max", "1000000\n", false),
            (Expect::Bytes, "1000000", "max\n", false),
            (Expect::Bytes, "1000000", "\n", false),
            (Expect::Ids, "0,1", "0-1\n", true),
            (Expect::Ids, "0-2", "0-1\n", false),
            (
                Expect::Line,
                "8:0 rbps=1 wbps=2",
                "9:0 rbps=1 wbps=2\n8:0 rbps=1 wbps=2 riops=max wiops=max\n",
                true,
            ),
            (Expect::Line, "8:0 rbps=1", "8:0 rbps=2 wbps=max\n", false),
            (Expect::Line, "8:0 1", "8:1 1\n", false),
            (Expect::Line, "default 100", "default 100\n8:0 200\n", true),
            (Expect::FirstLine, "1", "oom_kill_disable 1\nunder_oom 0\n", true),
            (Expect::FirstLine, "0", "oom_kill_disable 1\nunder_oom 0\n", false),
            (Expect::Words, "+cpu +io", "io memory cpu\n", true),
            (Expect::Words, "+cpu +io", "cpu\n", false),
        ];
        for (expect, value, content, holds) in cases {
            assert_eq!(expect.holds(value, content), holds, "{expect:?} {value:?} {content:?}");
        }
    }
}
