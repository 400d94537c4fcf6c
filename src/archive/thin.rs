//! A file without the zero blocks of an entry that need not be in it.
//!
//! What is left is moved together, so where a frame goes depends on the frames before it. Invariants: frames of an entry are
//! placed in their order, by threads that wait for each other no longer than a frame takes to be decoded; a thread that
//! fails wakes the others.

use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::zero::is_zero;

/// Size of the blocks that are left out: a page.
pub const BLOCK: u64 = 4096;

/// Zero blocks in a row that are left out at least. Each gap costs whoever restores an entry in a list, about as much as it
/// costs to have one page.
const LEAST_RUN: u64 = 4;

/// What of a part of an entry is written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    /// Bytes of the part, rising.
    pub kept: Vec<Range<usize>>,
    /// Blocks of the entry, rising.
    pub left_out: Vec<Range<u64>>,
}

impl Cut {
    /// Of the part of an entry that begins at `offset`; blocks outside of `optional` (rising ranges) are kept.
    pub(super) fn of(part: &[u8], offset: u64, optional: &[Range<u64>]) -> Self {
        let mut cut = Self::default();
        let (mut kept, end) = (0, offset + part.len() as u64);
        let mut runs = Runs::default();
        let first = optional.partition_point(|range| range.end * BLOCK <= offset);
        for range in optional[first..].iter().take_while(|range| range.start * BLOCK < end) {
            let blocks = range.start.max(offset.div_ceil(BLOCK))..range.end.min(end / BLOCK);
            for block in blocks {
                let at = (block * BLOCK - offset) as usize;
                if is_zero(&part[at..at + BLOCK as usize]) {
                    runs.add(block);
                }
            }
        }
        cut.left_out = runs.long();
        for blocks in &cut.left_out {
            let at = |block: u64| (block * BLOCK - offset) as usize;
            if kept < at(blocks.start) {
                cut.kept.push(kept..at(blocks.start));
            }
            kept = at(blocks.end);
        }
        if kept < part.len() {
            cut.kept.push(kept..part.len());
        }
        cut
    }

    /// Bytes that are kept.
    fn length(&self) -> u64 {
        self.kept.iter().map(|range| range.len() as u64).sum()
    }
}

/// Blocks in a row.
#[derive(Default)]
struct Runs(Vec<Range<u64>>);

impl Runs {
    fn add(&mut self, block: u64) {
        match self.0.last_mut() {
            Some(last) if last.end == block => last.end += 1,
            _ => self.0.push(block..block + 1),
        }
    }

    fn long(mut self) -> Vec<Range<u64>> {
        self.0.retain(|run| run.end - run.start >= LEAST_RUN);
        self.0
    }
}

/// An entry that is written without some of its zero blocks.
#[derive(Debug)]
pub(super) struct Thin {
    /// Blocks that may be left out, rising.
    pub optional: Vec<Range<u64>>,
    turn: Mutex<Turn>,
    changed: Condvar,
}

/// How far the placing has come.
#[derive(Debug)]
struct Turn {
    /// The frame that is placed next.
    frame: usize,
    /// Where it goes.
    offset: u64,
    left_out: Vec<Range<u64>>,
    failed: bool,
}

impl Thin {
    /// An entry whose first frame this is.
    pub(super) fn new(optional: Vec<Range<u64>>, frame: usize) -> Self {
        Self {
            optional,
            turn: Mutex::new(Turn {
                frame,
                offset: 0,
                left_out: Vec::new(),
                failed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Waits until the frames before are placed; returns where this one goes, `None` where one of them failed.
    pub(super) fn place(&self, frame: usize, cut: &Cut) -> Option<u64> {
        let mut turn = self.turn();
        while turn.frame != frame && !turn.failed {
            turn = self.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        if turn.failed {
            return None;
        }
        let offset = turn.offset;
        turn.frame += 1;
        turn.offset += cut.length();
        turn.left_out.extend(cut.left_out.iter().cloned());
        self.changed.notify_all();
        Some(offset)
    }

    /// Nobody need wait any longer.
    pub(super) fn fail(&self) {
        self.turn().failed = true;
        self.changed.notify_all();
    }

    /// Length of what is placed so far.
    pub(super) fn length(&self) -> u64 {
        self.turn().offset
    }

    /// The blocks that were left out, rising.
    pub(super) fn left_out(self) -> Vec<Range<u64>> {
        let turn = self.turn.into_inner().unwrap_or_else(PoisonError::into_inner);
        turn.left_out
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges may have one")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Blocks of these first bytes.
    fn blocks(bytes: &[u8]) -> Vec<u8> {
        let block = |byte: &u8| [&[*byte][..], &[0; BLOCK as usize - 1]].concat();
        bytes.iter().flat_map(block).collect()
    }

    #[test]
    fn only_long_runs_of_optional_zeros_are_left_out() {
        let content = blocks(&[1, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0]);
        for (optional, left_out) in [
            (vec![0..15], vec![1..5, 10..15]),
            (vec![], vec![]),
            (vec![2..15], vec![10..15]),
            (vec![0..3, 3..12], vec![1..5]),
            (vec![11..99], vec![11..15]),
        ] {
            let cut = Cut::of(&content, 0, &optional);
            assert_eq!(cut.left_out, left_out, "{optional:?}");
        }
        let beyond = Cut::of(&content, BLOCK * 100, &[0..1, 105..110, 200..300]);
        assert_eq!((beyond.left_out, beyond.kept), (vec![], vec![0..content.len()]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// However an entry is cut into frames: with zeros where blocks are left out, it is what it was.
        #[test]
        fn what_is_left_out_is_zero_and_all_else_is_kept(
            bytes in proptest::collection::vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 1..40),
            optional in proptest::collection::btree_set(0_u64..44, 0..12),
            sizes in proptest::collection::vec(1_usize..30_000, 1..20),
        ) {
            let content = blocks(&bytes);
            let bounds: Vec<u64> = optional.into_iter().collect();
            let optional: Vec<Range<u64>> = bounds.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
            let thin = Thin::new(optional.clone(), 7);
            let (mut file, mut at) = (Vec::new(), 0);
            for (number, size) in sizes.iter().cycle().enumerate() {
                let part = &content[at..content.len().min(at + size)];
                let cut = Cut::of(part, at as u64, &thin.optional);
                prop_assert_eq!(thin.place(7 + number, &cut), Some(file.len() as u64));
                cut.kept.iter().for_each(|range| file.extend_from_slice(&part[range.clone()]));
                at += part.len();
                if at == content.len() {
                    break;
                }
            }
            prop_assert_eq!(thin.length(), file.len() as u64);
            let mut rest = file.as_slice();
            let mut whole = Vec::new();
            for blocks in thin.left_out() {
                let allowed = |block| optional.iter().any(|range| range.contains(&block));
                prop_assert!(blocks.clone().all(allowed));
                let before = (blocks.start * BLOCK) as usize - whole.len();
                whole.extend_from_slice(&rest[..before]);
                rest = &rest[before..];
                whole.resize((blocks.end * BLOCK) as usize, 0);
            }
            whole.extend_from_slice(rest);
            prop_assert!(whole == content);
        }
    }

    #[test]
    fn frames_are_placed_in_order_and_a_failure_wakes_those_who_wait() {
        let thin = Thin::new(Vec::new(), 0);
        let cut = || Cut {
            kept: vec![0..10],
            left_out: Vec::new(),
        };
        std::thread::scope(|scope| {
            let second = scope.spawn(|| thin.place(1, &cut()));
            let fourth = scope.spawn(|| thin.place(3, &cut()));
            assert_eq!(thin.place(0, &cut()), Some(0));
            assert_eq!(second.join().expect("thread"), Some(10));
            thin.fail();
            assert_eq!(fourth.join().expect("thread"), None);
        });
    }
}
