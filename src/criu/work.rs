//! The directory that CRIU works in: its images and its log.
//!
//! Private (0700), locked while ckpt lives, removed on drop. One that a killed ckpt left behind is recognised by being
//! unlocked, and removed by the next one.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::Error;

/// Where work directories are made unless the caller names another place.
const BASE: &str = "/var/lib/ckpt/work";
/// Where they are in memory: a file system that is gone after a reboot.
const MEMORY: &str = "/run/ckpt";
/// Where logs of failed dumps and restores are kept.
const LOGS: &str = "/var/lib/ckpt/logs";
/// How many logs are kept there; the oldest go first.
const KEPT_LOGS: usize = 20;
/// How their names begin; nothing else in a directory is looked at.
const PREFIX: &str = ".ckpt-work-";
/// How often a directory is made before giving up.
const ATTEMPTS: usize = 16;

/// A work directory.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    /// The caller named it: its content stays.
    kept: bool,
    _lock: Option<File>,
}

impl WorkDir {
    /// Makes a private work directory, after removing those that killed processes left behind.
    ///
    /// # Errors
    /// Where the directory cannot be made.
    pub fn create() -> Result<Self, Error> {
        let base = Path::new(BASE);
        private_dir(base).map_err(|error| Error::io("making", base, error))?;
        Self::create_in(base)
    }

    /// The same in memory, for what is small and nobody else is to see.
    ///
    /// # Errors
    /// Where the directory cannot be made.
    pub fn in_memory() -> Result<Self, Error> {
        let base = Path::new(MEMORY);
        private_dir(base).map_err(|error| Error::io("making", base, error))?;
        Self::create_in(base)
    }

    /// The same in a directory of the caller's, for what has to be on its file system.
    ///
    /// # Errors
    /// Where the directory cannot be made.
    pub fn create_in(base: &Path) -> Result<Self, Error> {
        sweep(base, PREFIX);
        let (path, lock) =
            locked_dir(base, PREFIX).map_err(|error| Error::io("making a work directory in", base, error))?;
        Ok(Self {
            path,
            kept: false,
            _lock: Some(lock),
        })
    }

    /// Removes from `base` what killed processes left there, without making anything.
    pub fn clear(base: &Path) {
        sweep(base, PREFIX);
    }

    /// Uses the directory that the caller named, made when missing; its content stays.
    ///
    /// # Errors
    /// Where the directory cannot be made.
    pub fn at(path: &Path) -> Result<Self, Error> {
        private_dir(path).map_err(|error| Error::io("making", path, error))?;
        let path = fs::canonicalize(path).map_err(|error| Error::io("resolving", path, error))?;
        Ok(Self {
            path,
            kept: true,
            _lock: None,
        })
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory inside for CRIU's images, made now.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn images(&self) -> Result<PathBuf, Error> {
        let path = self.path.join("images");
        private_dir(&path).map_err(|error| Error::io("making", &path, error))?;
        Ok(path)
    }

    /// Keeps the log `name` of a failed run for the user and tells where it is; `None` where there is no log.
    pub fn keep_log(&self, name: &str, container: &str) -> Option<PathBuf> {
        let log = self.path.join(name);
        if self.kept {
            return log.exists().then_some(log);
        }
        let kept = Path::new(LOGS).join(format!("{container}-{}-{name}", std::process::id()));
        private_dir(Path::new(LOGS)).ok()?;
        fs::copy(log, &kept).ok()?;
        prune(Path::new(LOGS));
        Some(kept)
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if self.kept {
            let _ = fs::remove_dir_all(self.path.join("images"));
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a work directory stays behind");
        }
    }
}

fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a directory that nobody else sweeps as long as the returned lock is held.
///
/// The lock is on the directory itself, not on a file in it: there is no moment at which a killed process leaves a directory
/// that cannot be told from one that is just being made. One that is swept in the moment before it is locked is made anew.
pub(super) fn locked_dir(base: &Path, prefix: &str) -> io::Result<(PathBuf, File)> {
    for _ in 0..ATTEMPTS {
        let path = tempfile::Builder::new().prefix(prefix).tempdir_in(base)?.keep();
        let Ok(lock) = File::open(&path) else { continue };
        let locked = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
        if locked && path.exists() {
            return Ok((path, lock));
        }
    }
    Err(io::Error::other("every new directory was swept at once"))
}

/// Removes the directories whose owner is gone.
pub(super) fn sweep(base: &Path, prefix: &str) {
    sweep_after(base, prefix, |_| {});
}

/// The same, after `undo` has had each.
pub(super) fn sweep_after(base: &Path, prefix: &str, undo: impl Fn(&Path)) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
            continue;
        }
        let Ok(directory) = File::open(entry.path()) else {
            continue;
        };
        if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            undo(&entry.path());
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn prune(logs: &Path) {
    let mut files: Vec<_> = fs::read_dir(logs)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    files.sort();
    for (_, path) in files.iter().rev().skip(KEPT_LOGS) {
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_directory_is_swept_and_a_living_one_stays() {
        let base = tempfile::tempdir().unwrap();
        let (dead, lock) = locked_dir(base.path(), PREFIX).unwrap();
        fs::write(dead.join("core-1.img"), "x").unwrap();
        drop(lock);
        let (alive, _lock) = locked_dir(base.path(), PREFIX).unwrap();
        let stranger = base.path().join("a-stranger-s");
        fs::create_dir(&stranger).unwrap();
        sweep(base.path(), PREFIX);
        assert_eq!([dead, alive, stranger].map(|path| path.exists()), [false, true, true]);
    }

    #[test]
    fn a_named_directory_keeps_its_log_and_loses_its_images() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("work");
        let work = WorkDir::at(&path).unwrap();
        fs::write(work.images().unwrap().join("core-1.img"), "x").unwrap();
        fs::write(path.join("dump.log"), "x").unwrap();
        assert_eq!(work.keep_log("dump.log", "c1"), Some(path.join("dump.log")));
        drop(work);
        assert!(path.join("dump.log").exists() && !path.join("images").exists());
    }
}
