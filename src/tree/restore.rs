//! Metadata onto an object that has just been made.
//!
//! The order matters: a change of owner clears capabilities and set-id bits, an access ACL sets permission bits, and all of
//! them change nothing but the inode's times, which come last.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::dir;
use super::error::Error;
use super::meta::{Meta, Time, Xattrs};
use super::path::TreePath;
use super::xattr::{self, Object, Travels};

/// How much of the metadata is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of it. Needs root.
    Everything,
    /// What a user may set on files of their own: no owners, no `trusted.*`, no capabilities.
    Own,
}

/// Takes from the metadata what is not restored.
pub(super) fn narrow(meta: &mut Meta, scope: Scope) {
    meta.xattrs.retain(|name, _| {
        let own = !name.starts_with(b"trusted.") && !name.starts_with(b"security.");
        xattr::travels(name) == Travels::Yes && (scope == Scope::Everything || own)
    });
}

/// Of an open file or directory.
pub(super) fn open_object(fd: BorrowedFd<'_>, meta: &Meta, scope: Scope, path: &TreePath) -> Result<(), Error> {
    if scope == Scope::Everything {
        fs::fchown(fd, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
            .map_err(Error::write("set owner of", path))?;
    }
    set_xattrs(Object::Open(fd), &meta.xattrs, path)?;
    fs::fchmod(fd, Mode::from(meta.mode)).map_err(Error::write("set mode of", path))?;
    set_time(fd, meta.mtime, path)
}

/// Of a symbolic link, device or FIFO, by its name in an open directory.
pub(super) fn named_object(
    dir: BorrowedFd<'_>,
    name: &CStr,
    symlink: bool,
    meta: &Meta,
    scope: Scope,
    path: &TreePath,
) -> Result<(), Error> {
    if scope == Scope::Everything {
        let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
        fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Error::write("set owner of", path))?;
    }
    set_xattrs(Object::Named(dir, name), &meta.xattrs, path)?;
    if !symlink {
        // There is no fchmodat that follows no link on older kernels: through a descriptor of the object itself.
        fs::openat(
            dir,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .and_then(|fd| fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), Mode::from(meta.mode)))
        .map_err(Error::write("set mode of", path))?;
    }
    fs::utimensat(dir, name, &times(meta.mtime), AtFlags::SYMLINK_NOFOLLOW).map_err(Error::write("set time of", path))
}

fn set_xattrs(object: Object<'_>, xattrs: &Xattrs, path: &TreePath) -> Result<(), Error> {
    xattr::replace(object, xattrs).map_err(|(_, e)| Error::write("set extended attributes of", path)(e))
}

/// The modification time of an open file or directory; the access time stays.
pub(super) fn set_time(fd: BorrowedFd<'_>, mtime: Time, path: &TreePath) -> Result<(), Error> {
    fs::futimens(fd, &times(mtime)).map_err(Error::write("set time of", path))
}

fn times(mtime: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.sec,
            tv_nsec: mtime.nsec.into(),
        },
    }
}

/// Metadata of a directory in another tree; none where it has no directory there.
pub(super) fn of_directory(root: BorrowedFd<'_>, path: &TreePath) -> Result<Option<Meta>, Error> {
    let dir = match dir::open_beneath(root, path) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(None),
        result => result.map_err(Error::read("open", path))?,
    };
    let stat = dir::stat_fd(&dir).map_err(Error::read("stat", path))?;
    let xattrs = xattr::read(Object::Open(std::os::fd::AsFd::as_fd(&dir)), |_| {})
        .map_err(Error::read("read extended attributes of", path))?;
    Ok(Some(Meta {
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        mtime: stat.mtime,
        xattrs,
    }))
}
