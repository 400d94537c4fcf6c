//! Removing what an import made: never through a link, never into another mount.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, unlinkat};
use rustix::io::Errno;

use super::undo::{UndoFailure, gone};

/// How directories are opened: for reading their entries, not through a link.
const DIRECTORY: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::RDONLY)
    .union(OFlags::CLOEXEC);

/// How deep directories are opened within each other, a descriptor each: far below the usual limit of 1024 descriptors,
/// which an archive could otherwise exhaust with a deep tree. What is deeper is moved up first.
const MAX_DEPTH: usize = 100;

/// Removes a directory and everything in it.
pub(super) fn tree(path: &Path) -> Vec<UndoFailure> {
    let mut failures = inside(path);
    if failures.is_empty()
        && let Err(errno) = gone(rustix::fs::rmdir(path))
    {
        failures.push(UndoFailure {
            path: path.to_owned(),
            source: errno.into(),
        });
    }
    failures
}

/// Removes everything in a directory.
pub(super) fn inside(path: &Path) -> Vec<UndoFailure> {
    let mut failures = Vec::new();
    match rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()) {
        Ok(top) => {
            let mut removal = Removal {
                top,
                moved: Vec::new(),
                failures: Vec::new(),
            };
            removal.run(path);
            failures = removal.failures;
        }
        Err(Errno::NOENT) => {}
        Err(errno) => failures.push(UndoFailure {
            path: path.to_owned(),
            source: errno.into(),
        }),
    }
    failures
}

/// The removal of everything in a directory.
struct Removal {
    top: OwnedFd,
    /// Directories that were too deep and were moved to the top, to be removed from there.
    moved: Vec<CString>,
    failures: Vec<UndoFailure>,
}

impl Removal {
    fn run(&mut self, path: &Path) {
        let Ok(top) = self.top.try_clone() else {
            return self.fail(path, Errno::MFILE);
        };
        self.empty(top.as_fd(), path, 0);
        let mut next = 0;
        while let Some(name) = self.moved.get(next).cloned() {
            next += 1;
            let at = path.join(OsStr::from_bytes(name.to_bytes()));
            if let Err(errno) = self.remove(top.as_fd(), &name, FileType::Directory, &at, 0) {
                self.fail(&at, errno);
            }
        }
    }

    fn fail(&mut self, path: &Path, errno: Errno) {
        self.failures.push(UndoFailure {
            path: path.to_owned(),
            source: errno.into(),
        });
    }

    fn empty(&mut self, directory: BorrowedFd<'_>, path: &Path, depth: usize) {
        let entries = match names(directory) {
            Ok(entries) => entries,
            Err(errno) => return self.fail(path, errno),
        };
        for (name, kind) in entries {
            let at = path.join(OsStr::from_bytes(name.to_bytes()));
            if let Err(errno) = self.remove(directory, &name, kind, &at, depth) {
                self.fail(&at, errno);
            }
        }
    }

    fn remove(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
        path: &Path,
        depth: usize,
    ) -> Result<(), Errno> {
        if kind != FileType::Directory {
            match gone(unlinkat(directory, name, AtFlags::empty())) {
                // A directory after all, on a file system that does not tell types in listings.
                Err(Errno::ISDIR | Errno::PERM) => {}
                other => return other,
            }
        }
        let within = match open_beneath(directory, name) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        if depth == MAX_DEPTH {
            return self.move_up(directory, name);
        }
        let before = self.failures.len();
        self.empty(within.as_fd(), path, depth + 1);
        if self.failures.len() > before {
            return Ok(());
        }
        gone(unlinkat(directory, name, AtFlags::REMOVEDIR))
    }

    fn move_up(&mut self, directory: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        let moved = CString::new(format!(".ckpt-undo-{}", self.moved.len())).map_err(|_| Errno::INVAL)?;
        rustix::fs::renameat_with(directory, name, &self.top, &moved, RenameFlags::NOREPLACE)?;
        self.moved.push(moved);
        Ok(())
    }
}

/// Opens a directory in another, unless it is a link or a mount point.
fn open_beneath(directory: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(directory, name, DIRECTORY, Mode::empty(), resolve) {
        // Before Linux 5.6, and under seccomp filters that do not know it. A mount of the same file system goes unnoticed
        // there, until its mount point cannot be removed.
        Err(Errno::NOSYS | Errno::PERM) => {
            let opened = rustix::fs::openat(directory, name, DIRECTORY, Mode::empty())?;
            let device = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).map(|stat| stat.st_dev);
            if device(opened.as_fd())? == device(directory)? {
                Ok(opened)
            } else {
                Err(Errno::XDEV)
            }
        }
        other => other,
    }
}

/// The entries of a directory. They are collected first: removing while reading may skip some.
fn names(directory: BorrowedFd<'_>) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            entries.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    Ok(entries)
}

/// Removes a cgroup and the cgroups in it. Their files cannot be removed and go with them.
pub(super) fn cgroup(path: &Path) -> Vec<UndoFailure> {
    let below: Vec<PathBuf> = std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    let mut failures: Vec<UndoFailure> = below.iter().flat_map(|below| cgroup(below)).collect();
    if let Err(errno) = gone(rustix::fs::rmdir(path)) {
        failures.push(UndoFailure {
            path: path.to_owned(),
            source: errno.into(),
        });
    }
    failures
}
