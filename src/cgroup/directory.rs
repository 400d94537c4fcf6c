//! A cgroup opened from the container's own downwards, one name at a time.
//!
//! The names come from an archive. Each was checked to be a plain name, and each is opened without following symbolic
//! links, so that nothing above the container's cgroup is reached. openat2 would do it in one call, but kernels that CRIU
//! still supports lack it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::plan::Place;
use super::record::MAX_VALUE;
use crate::sys::read;

const DIRECTORY: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// An open cgroup directory.
pub(super) struct Directory(OwnedFd);

impl Directory {
    /// Opens a directory of this host.
    pub(super) fn open_host(path: &Path) -> io::Result<Self> {
        let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
        Ok(Self(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// Opens the cgroup at a place.
    pub(super) fn open(place: &Place) -> io::Result<Self> {
        let mut here = Self::open_host(&place.directory)?;
        for name in place.group.names() {
            here = here.below(name)?;
        }
        Ok(here)
    }

    /// Opens a cgroup below.
    pub(super) fn below(&self, name: &str) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(&self.0, name, DIRECTORY, Mode::empty())?))
    }

    /// Makes a cgroup below; false where it already is.
    pub(super) fn create(&self, name: &str) -> io::Result<bool> {
        match rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Reads a file.
    pub(super) fn read(&self, file: &str) -> io::Result<String> {
        let file = rustix::fs::openat(&self.0, file, FILE | OFlags::RDONLY, Mode::empty())?;
        let bytes = read::bounded_from(std::fs::File::from(file), MAX_VALUE as u64)?;
        String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// Writes a file in one call, as the kernel wants it.
    pub(super) fn write(&self, file: &str, value: &str) -> io::Result<()> {
        let file = rustix::fs::openat(&self.0, file, FILE | OFlags::WRONLY | OFlags::TRUNC, Mode::empty())?;
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, value.as_bytes()))?;
        if written == value.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Gives a file, or the directory itself, to an owner.
    pub(super) fn own(&self, file: Option<&str>, uid: u32, gid: u32, mode: u32) -> io::Result<()> {
        use rustix::fs::{AtFlags, Gid, Uid};
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let (name, flags) = (file.unwrap_or("."), AtFlags::SYMLINK_NOFOLLOW);
        rustix::fs::chownat(&self.0, name, uid, gid, flags)?;
        // After the owner: chown clears set-id bits. A cgroup directory holds no links that chmod could follow.
        Ok(rustix::fs::chmodat(
            &self.0,
            name,
            Mode::from_raw_mode(mode),
            AtFlags::empty(),
        )?)
    }
}
