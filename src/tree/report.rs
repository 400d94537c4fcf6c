//! What packing a tree saw, besides the bytes.

use std::collections::BTreeSet;

use super::path::{Escaped, TreePath};

/// Paths that a [`Notes`] remembers; of the others only the number is known.
const REMEMBERED: usize = 16;

/// What packing a tree saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries of the tar.
    pub entries: u64,
    /// Bytes of content.
    pub data: u64,
    /// Sockets, which are not in the tar: CRIU makes those in use anew.
    pub sockets: Notes,
    /// Mount points, which are in the tar without what is mounted on them.
    pub mount_points: Notes,
    /// Names of extended attributes that are not in the tar because they belong to the host's file system.
    pub xattrs: BTreeSet<String>,
}

impl Report {
    pub(super) fn left_out(&mut self, xattr: &[u8]) {
        if self.xattrs.len() < REMEMBERED {
            self.xattrs.insert(Escaped(xattr).to_string());
        }
    }
}

/// Some paths, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Vec<TreePath>,
}

impl Notes {
    pub(super) fn add(&mut self, path: &TreePath) {
        self.count += 1;
        if self.first.len() < REMEMBERED {
            self.first.push(path.clone());
        }
    }
}
