//! Reads arbitrary bytes as a checkpoint of another engine. Errors are fine, panics are bugs.
//!
//! Checksums of what looks like a header are made right first: random bytes would hardly ever get past them.

#![no_main]

use ckpt::archive::Limits;
use ckpt::foreign;
use libfuzzer_sys::fuzz_target;

/// Size of a tar block.
const BLOCK: usize = 512;
/// Enough for any seed, too little to spend time on bombs.
const LIMITS: Limits = Limits {
    content: 64 << 20,
    expansion: 1000,
    expansion_floor: 16 << 20,
};

fuzz_target!(|data: &[u8]| {
    let mut tar = data.to_vec();
    for block in tar.chunks_exact_mut(BLOCK).filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    let _ = foreign::Family::of_start(data);
    let _ = foreign::verify(data, LIMITS);
    let _ = foreign::verify(&tar[..], LIMITS);
});
