//! Sets of CPUs or memory nodes, as cpuset files write them: `0-3,8,10-11`.
//!
//! The same set is written in many ways and the kernel answers in its own, so sets are compared, not text. Held as ordered
//! ranges that neither touch nor overlap.

use std::fmt;
use std::str::FromStr;

/// The largest number of a CPU or node that is accepted. Kernels are built for 8192 CPUs at most.
const MAX_ID: u32 = 1 << 20;

/// A set of small numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdSet {
    ranges: Vec<(u32, u32)>,
}

/// A list that is no set of CPUs or nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a list of CPUs or memory nodes")]
pub struct BadIdSet;

impl IdSet {
    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        for &(first, last) in &self.ranges {
            for &(other_first, other_last) in &other.ranges {
                let both = (first.max(other_first), last.min(other_last));
                if both.0 <= both.1 {
                    ranges.push(both);
                }
            }
        }
        Self { ranges }
    }

    /// Sorts the ranges and joins those that touch.
    fn normalised(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some(previous) if first <= previous.1 + 1 => previous.1 = previous.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        Self { ranges: joined }
    }
}

impl FromStr for IdSet {
    type Err = BadIdSet;

    fn from_str(text: &str) -> Result<Self, BadIdSet> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let range = |item: &str| {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((first, last)).ok_or(BadIdSet)
        };
        Ok(Self::normalised(
            text.trim().split(',').map(range).collect::<Result<_, _>>()?,
        ))
    }
}

fn number(text: &str) -> Result<u32, BadIdSet> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id: u32 = if digits {
        text.parse().map_err(|_| BadIdSet)?
    } else {
        return Err(BadIdSet);
    };
    if id <= MAX_ID { Ok(id) } else { Err(BadIdSet) }
}

impl fmt::Display for IdSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            f.write_str(if index > 0 { "," } else { "" })?;
            if first == last {
                write!(f, "{first}")?
            } else {
                write!(f, "{first}-{last}")?
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_read_and_written_in_the_kernels_way() {
        let cases = [
            ("", ""),
            ("0", "0"),
            ("1,0", "0-1"),
            ("0-3,2-5,8", "0-5,8"),
            (" 3-3,5\n", "3,5"),
        ];
        for (text, wanted) in cases {
            assert_eq!(text.parse::<IdSet>().unwrap().to_string(), wanted, "{text:?}");
        }
        for text in [
            ",",
            "a",
            "-1",
            "1-",
            "3-1",
            "1,,2",
            "+1",
            "99999999999",
            "2000000",
            "0-7:2/4",
        ] {
            assert_eq!(text.parse::<IdSet>(), Err(BadIdSet), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn intersection_is_that_of_the_members(a in proptest::collection::btree_set(0_u32..40, 0..20),
                                               b in proptest::collection::btree_set(0_u32..40, 0..20)) {
            let set = |ids: &std::collections::BTreeSet<u32>| {
                IdSet::normalised(ids.iter().map(|&id| (id, id)).collect())
            };
            let both: std::collections::BTreeSet<u32> = a.intersection(&b).copied().collect();
            let found = set(&a).intersection(&set(&b));
            prop_assert_eq!(&found, &set(&both));
            prop_assert_eq!(found.to_string().parse::<IdSet>().unwrap(), found);
        }
    }
}
