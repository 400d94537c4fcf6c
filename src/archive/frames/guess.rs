//! What a frame's content is like, found out faster than by compressing it.
//!
//! Invariant: a guess depends on nothing but the content, so that fixed levels make the same bytes.

use std::io;

use zstd::bulk::Compressor;

/// Content that is judged at once. zstd's largest block: whatever is larger may be of several kinds.
pub(in crate::archive) const PIECE: usize = 128 << 10;

/// Bytes that are looked at for each piece, in runs that are spread over it.
const SAMPLE: usize = 4 << 10;
/// Length of a run: short, so that text and tables inside a piece are not missed.
const RUN: usize = 32;

/// Bounds of the chi-square statistic of noise over 256 values: six standard deviations (each 22.6) around 255. Below are
/// counters and the like, which are more even than noise and shrink well.
const NOISE: std::ops::RangeInclusive<f64> = 119.0..=391.0;

/// The level to try with: 8 GB/s on noise.
const TRIAL_LEVEL: i32 = 1;

/// A piece that becomes shorter by less than this part of it is as good as noise: so much is the most that deflate loses.
const WORTH: usize = 64;

/// Whether a sample of the piece has its values spread as noise has.
fn is_even(piece: &[u8]) -> bool {
    if piece.len() < SAMPLE {
        return false;
    }
    let mut counts = [0_u32; 256];
    for run in piece.chunks(piece.len() / (SAMPLE / RUN)) {
        for &byte in &run[..run.len().min(RUN)] {
            counts[usize::from(byte)] += 1;
        }
    }
    let total = f64::from(counts.iter().sum::<u32>());
    let squares: f64 = counts.iter().map(|&count| f64::from(count).powi(2)).sum();
    NOISE.contains(&(squares * 256.0 / total - total))
}

/// Tells noise from what can be compressed.
pub(super) struct Guess {
    trial: Compressor<'static>,
    scratch: Vec<u8>,
}

impl Guess {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            trial: Compressor::new(TRIAL_LEVEL)?,
            scratch: Vec::new(),
        })
    }

    /// Whether no part of the content is worth compressing. What looks like noise is tried, because noise may repeat.
    pub(super) fn is_noise(&mut self, content: &[u8]) -> io::Result<bool> {
        if !content.chunks(PIECE).all(is_even) {
            return Ok(false);
        }
        self.scratch.clear();
        self.scratch.reserve(zstd::zstd_safe::compress_bound(content.len()));
        let stored = self.trial.compress_to_buffer(content, &mut self.scratch)?;
        Ok(stored + content.len() / WORTH >= content.len())
    }
}

#[cfg(test)]
pub(in crate::archive) mod tests {
    use super::*;

    /// Bytes without any order.
    pub(in crate::archive) fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn noise_is_what_no_compressor_shrinks() {
        let mut guess = Guess::new().expect("zstd");
        let mut is_noise = |bytes: &[u8]| guess.is_noise(bytes).expect("zstd");
        for seed in 1..200 {
            assert!(is_noise(&noise(PIECE, seed)), "{seed}");
        }
        let long = noise(1 << 20, 3);
        assert!(is_noise(&long));
        assert!(is_noise(&long[..PIECE + SAMPLE]));
        assert!(!is_noise(&long[..SAMPLE - 1]), "too little to tell");
        assert!(!is_noise(&noise(1000, 4).repeat(132)), "noise that repeats");
        assert!(
            !is_noise(&(0..PIECE).map(|at| at as u8).collect::<Vec<_>>()),
            "a counter"
        );
        assert!(!is_noise(
            &(0..PIECE).map(|at| ((at * at) >> 3) as u8).collect::<Vec<_>>()
        ));
        let mut half = noise(PIECE, 5);
        half[..PIECE / 2].fill(b'x');
        assert!(!is_noise(&half), "half of it");
        let hexadecimal: Vec<u8> = noise(PIECE, 6)
            .iter()
            .map(|byte| b"0123456789abcdef"[usize::from(byte & 15)])
            .collect();
        assert!(!is_noise(&hexadecimal));
        let mut mixed = noise(2 * PIECE, 7);
        mixed[PIECE..].fill(b'x');
        assert!(!is_noise(&mixed), "one piece of two");
    }
}
