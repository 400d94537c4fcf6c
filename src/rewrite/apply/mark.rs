//! The mark of an import under way: a locked file in the bundle.
//!
//! A killed ckpt cannot take away what it made. The kernel frees its lock, and the next import into the same bundle sees from
//! the mark that nobody needs what is there. The mark goes before the container is let run, so that a bundle whose
//! container runs never has one; only that of a lazy import keeps it until all of the container's memory is there.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::undo::{UndoFailure, unmount_below};
use super::{remove, replace};
use crate::rewrite::layout::Layout;

/// The file's name in the bundle.
const MARK: &str = ".ckpt-import";

/// A mark that this process holds.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    _lock: File,
}

impl Mark {
    /// Marks a bundle.
    pub(super) fn set(bundle: &Path) -> std::io::Result<Self> {
        let path = bundle.join(MARK);
        let lock = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { path, _lock: lock })
    }

    /// Takes the mark away: what is in the bundle is needed from here on.
    pub(super) fn clear(&self) -> std::io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// Empties the bundle of an import that was killed, and gives the one its place back that it replaced. Any other directory, one
/// without a mark or with a living owner, is left as it is. Returns what could not be taken away.
#[must_use]
pub fn clear_abandoned(bundle: &Path) -> Vec<UndoFailure> {
    let mut failures = Vec::new();
    if let Some(_lock) = lock_abandoned(bundle) {
        unmount_below(bundle, &mut failures);
        failures.extend(remove::inside(bundle));
    }
    if failures.is_empty() {
        let aside = Layout::at(bundle.to_owned()).aside();
        failures.extend(replace::put_back(bundle, &aside));
    }
    failures
}

/// Whether an import into this bundle was killed.
#[must_use]
pub fn is_abandoned(bundle: &Path) -> bool {
    lock_abandoned(bundle).is_some()
}

/// The mark without an owner, locked.
fn lock_abandoned(bundle: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let lock = options.open(bundle.join(MARK)).ok()?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_killed_import_left_is_cleared() {
        let bundle = tempfile::tempdir().unwrap();
        let file = bundle.path().join("config.json");
        std::fs::write(&file, "{}").unwrap();
        assert!(clear_abandoned(bundle.path()).is_empty());
        assert!(file.exists(), "a bundle without a mark is somebody's");
        let mark = Mark::set(bundle.path()).unwrap();
        assert!(clear_abandoned(bundle.path()).is_empty());
        assert!(file.exists(), "its import lives");
        drop(mark);
        assert!(clear_abandoned(bundle.path()).is_empty());
        assert!(!file.exists() && bundle.path().exists());
    }

    #[test]
    fn a_cleared_mark_leaves_the_bundle_alone() {
        let bundle = tempfile::tempdir().unwrap();
        let mark = Mark::set(bundle.path()).unwrap();
        let file = bundle.path().join("config.json");
        std::fs::write(&file, "{}").unwrap();
        mark.clear().unwrap();
        drop(mark);
        assert!(clear_abandoned(bundle.path()).is_empty());
        assert!(file.exists());
    }
}
