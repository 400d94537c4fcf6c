//! The steps of a plan up to the restore, with a guard that takes away what they made.
//!
//! Invariants:
//!
//! - everything made is noted before anything else can fail, and taken away in reverse order unless the import is
//!   committed, so the same import can be run again at once;
//! - nothing that was there before is changed or removed: directories are new, or were empty and are emptied again;
//! - taking away never follows a link and never crosses into another mount;
//! - what could not be taken away is told, never dropped.

mod contents;
mod mark;
mod owners;
mod put_files;
mod remove;
mod replace;
mod steps;
mod undo;

use std::path::{Path, PathBuf};

pub use contents::{Contents, ContentsError};
pub use mark::{clear_abandoned, is_abandoned};
pub use undo::{Made, UndoFailure};

use super::plan::Plan;
use crate::error::ErrorKind;
use crate::event::Events;
use crate::tree;
use undo::Undo;

/// What made a step fail.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A system call failed.
    #[error("cannot {operation} {path:?}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// An entry of the archive cannot be read.
    #[error("cannot read the entry {entry:?}")]
    Entry {
        /// The entry.
        entry: String,
        /// Why.
        source: ContentsError,
    },
    /// An entry of the archive cannot be unpacked.
    #[error("cannot unpack the entry {entry:?}")]
    Tree {
        /// The entry.
        entry: String,
        /// Why.
        source: tree::Error,
    },
    /// An entry that the manifest names is missing.
    #[error("the archive has no entry {entry:?}")]
    MissingEntry {
        /// The entry.
        entry: String,
    },
    /// CRIU's images cannot be put in place.
    #[error("cannot put CRIU's images into {path:?}")]
    Images {
        /// Their directory.
        path: PathBuf,
        /// Why.
        source: ContentsError,
    },
    /// A bind mount of a file travels, and its entry holds something else.
    #[error("the entry {entry:?} must hold one file, for the mount at {destination}")]
    NotOneFile {
        /// The entry.
        entry: String,
        /// Where the mount is in the container.
        destination: String,
    },
    /// The caller stopped the import.
    #[error("stopped")]
    Stopped(#[source] ContentsError),
}

impl Fault {
    fn io(operation: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.to_owned();
        move |errno| Self::Io {
            operation,
            path,
            source: errno.into(),
        }
    }

    fn std(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("step {number} of the import failed{}", left_behind(.left))]
pub struct ApplyError {
    /// Its number in the plan, from 1.
    pub number: usize,
    /// Why.
    #[source]
    pub fault: Fault,
    /// What could not be taken away afterwards; usually nothing.
    pub left: Vec<UndoFailure>,
}

impl ApplyError {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &self.fault {
            Fault::NotOneFile { .. } | Fault::MissingEntry { .. } => ErrorKind::Archive,
            Fault::Tree { source, .. } => source.kind(),
            _ => ErrorKind::Restore,
        }
    }
}

fn left_behind(left: &[UndoFailure]) -> String {
    if left.is_empty() {
        return String::new();
    }
    let left: Vec<_> = left.iter().map(ToString::to_string).collect();
    format!(" (left behind: {})", left.join("; "))
}

/// A prepared import. Dropped, it takes everything away that the steps made; [`Applied::commit`] keeps it.
#[derive(Debug)]
#[must_use = "dropping it takes away what was prepared"]
pub struct Applied<'a> {
    undo: Undo<'a>,
}

impl Applied<'_> {
    /// The container runs: everything stays.
    pub fn commit(self) {
        self.undo.disarm();
    }

    /// The container is about to run: should this process die from here on, nobody takes for abandoned what it needs.
    pub fn settle(&mut self) {
        self.undo.unmark();
    }

    /// The restore failed: everything goes. Returns what could not be taken away.
    #[must_use]
    pub fn roll_back(self) -> Vec<UndoFailure> {
        self.undo.run()
    }
}

/// Does the steps of a plan up to the restore.
///
/// # Errors
/// When a step fails; what the steps before it made is gone, but for what the error names.
pub fn apply<'a>(plan: &Plan, contents: &mut dyn Contents, events: &'a dyn Events) -> Result<Applied<'a>, ApplyError> {
    let mut run = steps::Run {
        plan,
        contents,
        undo: Undo::new(events),
    };
    let steps = plan.steps.iter().enumerate().filter(|(_, step)| step.is_preparation());
    for (index, step) in steps {
        if let Err(fault) = run.step(step) {
            return Err(ApplyError {
                number: index + 1,
                fault,
                left: run.undo.run(),
            });
        }
    }
    Ok(Applied { undo: run.undo })
}

#[cfg(test)]
mod tests;
