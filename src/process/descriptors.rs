//! The descriptors of processes, as their links in /proc tell them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::proc::{Process, Tree};

/// Terminals in a tree's descriptors.
const TERMINALS: [&str; 3] = ["/dev/pts/", "/dev/tty", "/dev/console"];
/// The end of a pseudoterminal whose other end is a terminal.
const MASTERS: [&str; 2] = ["/dev/ptmx", "/dev/pts/ptmx"];

/// A descriptor of a process: its number, and what its link in /proc says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) pid: i32,
    pub(super) number: String,
    pub(super) target: String,
}

impl Descriptor {
    pub(super) fn is_terminal(&self) -> bool {
        TERMINALS.iter().any(|prefix| self.target.starts_with(prefix))
    }

    pub(super) fn is_master(&self) -> bool {
        MASTERS.contains(&self.target.as_str())
    }

    pub(super) fn is_pipe(&self) -> bool {
        self.target.starts_with("pipe:")
    }

    /// The inode of a socket: `socket:[123]`.
    pub(super) fn socket(&self) -> Option<u32> {
        self.target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    }
}

/// The descriptors of a process; none of one that is gone.
pub(super) fn of(pid: i32) -> Vec<Descriptor> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            Some(Descriptor {
                pid,
                number: entry.file_name().to_string_lossy().into_owned(),
                target: fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned(),
            })
        })
        .collect()
}

/// Those of a tree.
pub(super) fn of_tree(tree: &Tree) -> Vec<Descriptor> {
    tree.pids().into_iter().flat_map(of).collect()
}

/// Which process outside of the tree has each of these.
pub(super) fn held_outside<'a>(
    wanted: &BTreeSet<&'a str>,
    inside: &BTreeSet<i32>,
    table: &BTreeMap<i32, Process>,
) -> BTreeMap<&'a str, i32> {
    let mut held = BTreeMap::new();
    if wanted.is_empty() {
        return held;
    }
    for pid in table.keys().filter(|pid| !inside.contains(pid)) {
        for descriptor in of(*pid) {
            if let Some(known) = wanted.get(descriptor.target.as_str()) {
                held.entry(*known).or_insert(*pid);
            }
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_descriptor_is() {
        let descriptor = |target: &str| Descriptor {
            pid: 1,
            number: "0".into(),
            target: target.into(),
        };
        assert_eq!(descriptor("socket:[12]").socket(), Some(12));
        assert_eq!(descriptor("pipe:[12]").socket(), None);
        assert!(descriptor("pipe:[12]").is_pipe());
        assert!(descriptor("/dev/pts/3").is_terminal() && !descriptor("/dev/null").is_terminal());
        assert!(descriptor("/dev/ptmx").is_master());
    }
}
