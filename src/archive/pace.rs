//! At which level to compress while somebody waits for it.
//!
//! Whoever gives the content waits when too many frames are under way; while a container is frozen, each such moment makes
//! it stand still longer. So the level is lowered while that happens, and raised again when the threads have nothing to do.
//! Invariants: a step at a time; at a fixed level nothing ever changes.

use super::frames::Compression;

/// Cuts without waiting after which a higher level is tried.
const PATIENCE: u32 = 16;
/// The most cuts that patience grows to: it doubles whenever a level turns out too high, so that trying costs little.
const MAX_PATIENCE: u32 = 256;

/// How busy the threads are at a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// The caller had to wait for them.
    Behind,
    /// They have as much to do as they should.
    Busy,
    /// Some of them have nothing to do.
    Idle,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    /// Hardest first.
    levels: Vec<i32>,
    step: usize,
    /// Cuts until frames of the current level come out.
    settling: usize,
    /// Frames that may be under way, which are of the level before.
    depth: usize,
    idle: u32,
    patience: u32,
}

impl Pace {
    /// Begins at the hardest level. At most `depth` frames will be under way.
    pub(super) fn new(compression: Compression, depth: usize) -> Self {
        Self {
            levels: compression.ladder(),
            step: 0,
            settling: 0,
            depth,
            idle: 0,
            patience: PATIENCE,
        }
    }

    /// The level of the next frame.
    pub(super) fn level(&self) -> i32 {
        self.levels.get(self.step).copied().unwrap_or_default()
    }

    /// A frame was cut, and this is what the caller met.
    pub(super) fn observe(&mut self, load: Load) {
        let settled = self.settling == 0;
        self.settling = self.settling.saturating_sub(1);
        match load {
            Load::Busy => {}
            Load::Behind => {
                self.idle = 0;
                if settled && self.step + 1 < self.levels.len() {
                    self.step += 1;
                    self.settling = self.depth;
                    self.patience = (self.patience * 2).min(MAX_PATIENCE);
                }
            }
            Load::Idle => {
                self.idle += 1;
                if self.idle >= self.patience {
                    self.idle = 0;
                    self.step = self.step.saturating_sub(1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPTH: usize = 3;

    /// The levels after each of these cuts: `w`aited, `b`usy, `i`dle.
    fn levels(compression: Compression, cuts: &str) -> Vec<i32> {
        let mut pace = Pace::new(compression, DEPTH);
        let observe = |cut| {
            pace.observe(match cut {
                'w' => Load::Behind,
                'b' => Load::Busy,
                _ => Load::Idle,
            });
            pace.level()
        };
        cuts.chars().map(observe).collect()
    }

    fn last(cuts: &str) -> Option<i32> {
        levels(Compression::default().adaptive(), cuts).last().copied()
    }

    #[test]
    fn waiting_lowers_the_level_once_for_all_that_is_under_way() {
        let auto = Compression::default().adaptive();
        let ladder = auto.ladder();
        let (first, second, third) = (ladder[0], ladder[1], ladder[2]);
        assert_eq!(
            levels(auto, "bwwwwwb"),
            [first, second, second, second, second, third, third]
        );
    }

    #[test]
    fn it_stops_at_the_lowest() {
        let ladder = Compression::default().adaptive().ladder();
        assert_eq!(last(&"w".repeat(100)), ladder.last().copied());
    }

    #[test]
    fn idle_threads_raise_it_again() {
        let ladder = Compression::default().adaptive().ladder();
        let patience = 2 * PATIENCE as usize;
        assert_eq!(last(&format!("w{}", "i".repeat(patience - 1))), Some(ladder[1]));
        assert_eq!(last(&format!("w{}", "i".repeat(patience))), Some(ladder[0]));
        assert_eq!(
            last(&format!("w{}", "ib".repeat(patience))),
            Some(ladder[0]),
            "busy threads do not count"
        );
        assert_eq!(last(&"i".repeat(1000)), Some(ladder[0]), "nothing is above the first");
    }

    #[test]
    fn what_failed_is_tried_less_often() {
        let ladder = Compression::default().adaptive().ladder();
        let patience = PATIENCE as usize;
        let failed = format!("w{}w", "i".repeat(2 * patience));
        assert_eq!(last(&failed), Some(ladder[1]));
        assert_eq!(
            last(&format!("{failed}{}", "i".repeat(4 * patience - 1))),
            Some(ladder[1])
        );
        assert_eq!(last(&format!("{failed}{}", "i".repeat(4 * patience))), Some(ladder[0]));
        let often = format!("w{}", "i".repeat(MAX_PATIENCE as usize)).repeat(9);
        assert_eq!(last(&often), Some(ladder[0]), "but never given up");
    }

    #[test]
    fn a_fixed_level_stays() {
        let fixed = Compression::default();
        assert_eq!(levels(fixed, "wwwwwiiiii"), [3; 10]);
        assert_eq!(levels(Compression::None, "wi"), [0; 2]);
    }
}
