//! Removing what an import made: never through a link, never into another mount.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::undo::{UndoFailure, gone};

/// How directories are opened: for reading their entries, not through a link.
const DIRECTORY: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::RDONLY)
    .union(OFlags::CLOEXEC);

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
        Ok(directory) => empty(&directory, path, &mut failures),
        Err(Errno::NOENT) => {}
        Err(errno) => failures.push(UndoFailure {
            path: path.to_owned(),
            source: errno.into(),
        }),
    }
    failures
}

/// Removes what is at `name` in a directory, with everything in it.
pub(super) fn entry(directory: BorrowedFd<'_>, name: &std::ffi::CStr, path: &Path) -> Vec<UndoFailure> {
    let mut failures = Vec::new();
    remove_entry(directory, name, FileType::Unknown, path, &mut failures);
    failures
}

fn empty(directory: &OwnedFd, path: &Path, failures: &mut Vec<UndoFailure>) {
    let entries = match names(directory) {
        Ok(entries) => entries,
        Err(errno) => {
            return failures.push(UndoFailure {
                path: path.to_owned(),
                source: errno.into(),
            });
        }
    };
    for (name, kind) in entries {
        let at = path.join(std::ffi::OsStr::new(&*name.to_string_lossy()));
        remove_entry(directory.as_fd(), &name, kind, &at, failures);
    }
}

fn remove_entry(
    directory: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    kind: FileType,
    path: &Path,
    failures: &mut Vec<UndoFailure>,
) {
    if kind != FileType::Directory {
        match gone(rustix::fs::unlinkat(directory, name, AtFlags::empty())) {
            Ok(()) => return,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => {
                return failures.push(UndoFailure {
                    path: path.to_owned(),
                    source: errno.into(),
                });
            }
        }
    }
    let before = failures.len();
    match open_beneath(directory, name) {
        Ok(within) => empty(&within, path, failures),
        Err(Errno::NOENT) => return,
        Err(errno) => {
            return failures.push(UndoFailure {
                path: path.to_owned(),
                source: errno.into(),
            });
        }
    }
    if failures.len() == before
        && let Err(errno) = gone(rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR))
    {
        failures.push(UndoFailure {
            path: path.to_owned(),
            source: errno.into(),
        });
    }
}

/// Opens a directory in another, unless it is a link or a mount point.
fn open_beneath(directory: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
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
fn names(directory: &OwnedFd) -> Result<Vec<(std::ffi::CString, FileType)>, Errno> {
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
