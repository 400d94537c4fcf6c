//! The private directory that an archive is staged in.
//!
//! Invariants: it is one that this process has just made; entries are created in it by names of one or two components,
//! exclusively and without following links. It is removed on drop, with all that is in it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::error::Error;
use super::format::DIRECTORIES;
use super::path::ArchivePath;

/// A private directory that is removed on drop.
pub(super) struct Directory {
    pub path: PathBuf,
    descriptor: OwnedFd,
    pub keep: bool,
}

impl Directory {
    /// Makes a directory of a new name in `parent`.
    pub(super) fn create(parent: &Path) -> Result<Self, Error> {
        /// Attempts: names are of the process and a counter, so that only leftovers of a killed process collide.
        const ATTEMPTS: u32 = 1000;
        let process = std::process::id();
        for attempt in 0..ATTEMPTS {
            let path = parent.join(format!("ckpt-import-{process}-{attempt}"));
            match rustix::fs::mkdirat(CWD, &path, Mode::RWXU) {
                Ok(()) => {
                    let descriptor = open_directory(CWD, &path).map_err(|errno| failed("open it", &path, errno))?;
                    return Ok(Self {
                        path,
                        descriptor,
                        keep: false,
                    });
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed("create a directory in it", parent, errno)),
            }
        }
        Err(failed("create a directory in it", parent, Errno::EXIST))
    }

    /// Creates the file of an entry.
    pub(super) fn create_file(&self, name: &ArchivePath) -> Result<File, Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.at(name, flags)
            .map_err(|errno| failed("create it", &self.path.join(name.as_str()), errno))
    }

    /// Opens the file of an entry.
    pub(super) fn open(&self, name: &ArchivePath) -> Result<File, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.at(name, flags)
            .map_err(|errno| failed("open it", &self.path.join(name.as_str()), errno))
    }

    /// Component by component: a name has no more than two, and neither is a link.
    fn at(&self, name: &ArchivePath, flags: OFlags) -> Result<File, Errno> {
        let mode = Mode::RUSR | Mode::WUSR;
        let Some(directory) = name.directory() else {
            return rustix::fs::openat(&self.descriptor, name.as_str(), flags, mode).map(File::from);
        };
        debug_assert!(DIRECTORIES.contains(&directory), "the format has no other");
        if flags.contains(OFlags::CREATE) {
            match rustix::fs::mkdirat(&self.descriptor, directory, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        let beneath = open_directory(&self.descriptor, directory)?;
        rustix::fs::openat(&beneath, name.file_name(), flags, mode).map(File::from)
    }

    /// An error about the file of an entry.
    pub(super) fn failed(&self, operation: &'static str, name: &ArchivePath, source: io::Error) -> Error {
        Error::File {
            operation,
            path: self.path.join(name.as_str()),
            source,
        }
    }

    /// Creates the file of an entry with this content.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = ArchivePath::try_from(name)?;
        let mut file = self.create_file(&path)?;
        io::Write::write_all(&mut file, content).map_err(|source| self.failed("write it", &path, source))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn open_directory<P: rustix::path::Arg>(at: impl std::os::fd::AsFd, name: P) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn failed(operation: &'static str, path: &Path, errno: Errno) -> Error {
    Error::File {
        operation,
        path: path.to_owned(),
        source: errno.into(),
    }
}
