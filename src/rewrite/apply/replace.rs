//! What makes room for an import: set aside until the import has succeeded, and only then removed.

use std::path::Path;

use super::remove;
use super::undo::{UndoFailure, gone, unmount_below};

/// Removes what was set aside: a file, or a bundle with all that is mounted in it. Nothing there is no failure.
pub(super) fn remove(aside: &Path) -> Vec<UndoFailure> {
    let mut failures = Vec::new();
    if aside.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        unmount_below(aside, &mut failures);
        // Nothing is removed through a mount that stays.
        if failures.is_empty() {
            failures.extend(remove::tree(aside));
        }
    } else if let Err(errno) = gone(rustix::fs::unlink(aside)) {
        failures.push(UndoFailure {
            path: aside.to_owned(),
            source: errno.into(),
        });
    }
    failures
}

/// Gives a bundle back its place that an import set aside which was then killed. `bundle` is where it was: nothing, or an
/// empty directory. Any other, and an aside that nobody made, is left as it is.
pub(super) fn put_back(bundle: &Path, aside: &Path) -> Option<UndoFailure> {
    if !aside.is_dir() || gone(rustix::fs::rmdir(bundle)).is_err() {
        return None;
    }
    let failed = rustix::fs::rename(aside, bundle).err()?;
    Some(UndoFailure {
        path: aside.to_owned(),
        source: failed.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_set_aside_comes_back_only_where_nothing_is() {
        let home = tempfile::tempdir().unwrap();
        let (bundle, aside) = (home.path().join("web"), home.path().join("web~replaced"));
        assert!(put_back(&bundle, &aside).is_none());
        assert!(!bundle.exists(), "there is nothing to put back");
        fs::create_dir(&aside).unwrap();
        fs::write(aside.join("config.json"), "old").unwrap();
        fs::create_dir(&bundle).unwrap();
        fs::write(bundle.join("config.json"), "new").unwrap();
        assert!(put_back(&bundle, &aside).is_none());
        assert_eq!(fs::read(bundle.join("config.json")).unwrap(), b"new");
        fs::remove_file(bundle.join("config.json")).unwrap();
        assert!(put_back(&bundle, &aside).is_none());
        assert_eq!(fs::read(bundle.join("config.json")).unwrap(), b"old");
        assert!(!aside.exists());
    }

    #[test]
    fn files_and_trees_are_removed_and_nothing_is_no_failure() {
        let home = tempfile::tempdir().unwrap();
        let aside = home.path().join("aside");
        assert!(remove(&aside).is_empty());
        fs::write(&aside, "x").unwrap();
        assert!(remove(&aside).is_empty() && !aside.exists());
        fs::create_dir_all(aside.join("a/b")).unwrap();
        assert!(remove(&aside).is_empty() && !aside.exists());
    }
}
