//! What comes and goes in a tree while it is packed, and is no part of it.
//!
//! CRIU makes and removes directories in the container that it dumps. Names that are its own are not looked at; the
//! directories they are in are packed as the first walk over the tree saw them, for their times change with it, and an overlay
//! copies them up.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};

use super::dir::Stat;
use super::path::TreePath;

/// Names that come and go.
#[derive(Debug, Clone, Copy)]
pub struct Transient {
    /// Whether they may be in the directory of this path. There are few such directories: what is seen of them is kept.
    pub places: fn(&TreePath) -> bool,
    /// Whether a name in such a directory is one of them.
    pub names: fn(&CStr) -> bool,
}

impl Transient {
    /// Nothing does.
    pub const NONE: Self = Self {
        places: |_| false,
        names: |_| false,
    };
}

/// What the first walk saw of the places, for the second.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<TreePath, Place>);

#[derive(Debug, Default)]
struct Place {
    stat: Option<Stat>,
    names: Option<Vec<CString>>,
}

impl Places {
    /// What was seen of the directory first; `now` is what is seen of it now.
    pub fn stat(&mut self, path: &TreePath, now: Stat) -> Stat {
        *self.place(path).stat.get_or_insert(now)
    }

    /// The names that were seen in it, if it was listed before.
    pub fn names(&self, path: &TreePath) -> Option<Vec<CString>> {
        self.0.get(path)?.names.clone()
    }

    /// Keeps the names that are seen in it first.
    pub fn keep(&mut self, path: &TreePath, names: &[CString]) {
        self.place(path).names = Some(names.to_vec());
    }

    fn place(&mut self, path: &TreePath) -> &mut Place {
        self.0.entry(path.clone()).or_default()
    }
}
