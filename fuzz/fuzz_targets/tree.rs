//! Reads arbitrary bytes as a tar of a tree, and as a list of deleted files. Errors are fine, panics are bugs.
//!
//! Checksums of what looks like a header are made right first: random bytes would hardly ever get past them.

#![no_main]

use ckpt::tree::{Limits, check, deleted};
use libfuzzer_sys::fuzz_target;

/// Size of a tar block.
const BLOCK: usize = 512;

fuzz_target!(|data: &[u8]| {
    let mut tar = data.to_vec();
    for block in tar.chunks_exact_mut(BLOCK).filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    let limits = Limits { entries: 1000, bytes: 1 << 30, path: 5000, depth: 100, pax: 1 << 16, regions: 1000 };
    let _ = check(&tar[..], limits, |_| Ok(()));
    let _ = deleted::parse(data, &deleted::Limits::default());
});
