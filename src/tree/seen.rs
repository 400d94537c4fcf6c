//! The paths of a tar that have been seen, to find one that comes twice.
//!
//! Sixty-three bits of a keyed hash per path: about 11 to 22 bytes of memory each, and no tar can be made so that two of its
//! paths collide. Among three million paths the chance that any two do by accident is one in a million; that tar is refused.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use super::path::TreePath;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seen {
    keys: RandomState,
    hashes: HashSet<u64, BuildHasherDefault<Identity>>,
}

/// The lowest bit says whether the path is a directory.
const DIRECTORY: u64 = 1;

impl Seen {
    /// Remembers a path. False when it was there.
    pub fn insert(&mut self, path: &TreePath, directory: bool) -> bool {
        let hash = self.keys.hash_one(path) & !DIRECTORY;
        let other = if directory { hash } else { hash | DIRECTORY };
        !self.hashes.contains(&other) && self.hashes.insert(hash | u64::from(directory))
    }

    /// Whether the path was seen as anything but a directory.
    pub fn has_file(&self, path: &TreePath) -> bool {
        self.hashes.contains(&(self.keys.hash_one(path) & !DIRECTORY))
    }
}

/// The values are hashes already.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        // The table takes its tag from the top bits and the bucket from the low ones, of which one is the flag.
        self.0 = value.rotate_right(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_once_whatever_its_kind() {
        let path = |p: &str| TreePath::parse(p.as_bytes(), 100, 10).unwrap();
        let mut seen = Seen::default();
        assert!(seen.insert(&path("a"), false));
        assert!(seen.insert(&path("b"), true));
        assert!(!seen.insert(&path("a"), false));
        assert!(!seen.insert(&path("a"), true));
        assert!(!seen.insert(&path("b"), false));
        assert!(seen.has_file(&path("a")));
        assert!(!seen.has_file(&path("b")));
        assert!(!seen.has_file(&path("c")));
    }
}
