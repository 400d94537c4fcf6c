//! Changes of a container onto the files below them.
//!
//! A change is a tar of what was added and changed, and a list of what was deleted; both are untrusted. Onto a plain copy of
//! the files below, deletions come first, so that what the tar has at a deleted path stays. Onto an overlay, deletions
//! come last and become whiteouts where the tar has nothing, and opaque directories where it has one.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, FileType, Mode, XattrFlags};
use rustix::io::Errno;

use super::check::Summary;
use super::dir;
use super::error::{Defect, Error};
use super::meta::Device;
use super::overlay::{Namespace, OPAQUE_YES};
use super::path::{PathDefect, TreePath};
use super::remove::remove;
use super::restore;
use super::unpack::{Options, Target, unpack};
use super::xattr::{self, Object};

/// Unpacks a whole tree into an empty directory.
///
/// # Errors
/// As [`unpack`].
pub fn apply_full(dir: BorrowedFd<'_>, tar: impl Read, options: Options) -> Result<Summary, Error> {
    unpack(tar, dir, Target::Fresh, options)
}

/// Applies a change to a plain copy of the files below it. Paths in `deleted` that do not exist are no error.
///
/// # Errors
/// As [`unpack`]; a deleted path that leads through a symbolic link or onto another mount.
pub fn apply_diff_plain(
    dir: BorrowedFd<'_>,
    tar: impl Read,
    deleted: &[TreePath],
    options: Options,
) -> Result<Summary, Error> {
    for path in deleted {
        delete(dir, path)?;
    }
    unpack(tar, dir, Target::Over, options)
}

/// Applies a change to the empty upper directory of an overlay. `lower` gives the metadata of directories that the change
/// has files in but no entry for (podman's archives); without it such a change is refused.
///
/// # Errors
/// As [`unpack`]; [`Defect::MissingParent`].
pub fn apply_diff_overlay(
    upper: BorrowedFd<'_>,
    namespace: Namespace,
    lower: Option<BorrowedFd<'_>>,
    tar: impl Read,
    deleted: &[TreePath],
    options: Options,
) -> Result<Summary, Error> {
    let summary = unpack(tar, upper, Target::Upper { namespace, lower }, options)?;
    for path in deleted {
        white_out(upper, namespace, lower, path)?;
    }
    Ok(summary)
}

/// The directory of a deleted path, and its name there.
fn parts(path: &TreePath) -> Result<(TreePath, CString), Error> {
    let (parent, name) = path
        .split()
        .ok_or_else(|| Error::entry(path.as_bytes(), PathDefect::Empty))?;
    let name = CString::new(name).map_err(|_| Error::entry(path.as_bytes(), PathDefect::Nul))?;
    Ok((parent, name))
}

fn delete(root: BorrowedFd<'_>, path: &TreePath) -> Result<(), Error> {
    let (parent, name) = parts(path)?;
    let Some(dir) = open_existing(root, path, &parent)? else {
        return Ok(());
    };
    keeping_time(&dir, &parent, || remove(dir.as_fd(), &name, path).map(drop))
}

/// The directory of a deleted path; none when it does not exist.
fn open_existing(root: BorrowedFd<'_>, path: &TreePath, parent: &TreePath) -> Result<Option<OwnedFd>, Error> {
    match dir::open_beneath(root, parent) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR) => Err(Error::entry(path.as_bytes(), Defect::ParentKind(parent.clone()))),
        Err(Errno::XDEV) => Err(Error::entry(path.as_bytes(), Defect::MountPoint(parent.clone()))),
        Err(e) => Err(Error::write("open", parent)(e)),
    }
}

/// Does something in a directory that leaves its modification time as it was.
fn keeping_time(dir: &OwnedFd, path: &TreePath, change: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    let before = dir::stat_fd(dir).map_err(Error::write("stat", path))?;
    change()?;
    restore::set_time(dir.as_fd(), before.mtime, path)
}

fn white_out(
    upper: BorrowedFd<'_>,
    namespace: Namespace,
    lower: Option<BorrowedFd<'_>>,
    path: &TreePath,
) -> Result<(), Error> {
    let (parent, name) = parts(path)?;
    let dir = match open_existing(upper, path, &parent)? {
        Some(dir) => dir,
        None => match make_like_below(upper, lower, path, &parent)? {
            Some(dir) => dir,
            // Nothing below that could be hidden.
            None => return Ok(()),
        },
    };
    match dir::stat_at(dir.as_fd(), &name) {
        Err(Errno::NOENT) if is_hidden(upper, namespace, &parent)? => Ok(()),
        Err(Errno::NOENT) => keeping_time(&dir, &parent, || {
            let number = fs::makedev(Device::WHITEOUT.major, Device::WHITEOUT.minor);
            fs::mknodat(&dir, &*name, FileType::CharacterDevice, Mode::empty(), number)
                .map_err(Error::write("create whiteout for", path))
        }),
        Ok(stat) if stat.kind == FileType::Directory => {
            let dir = dir::open_dir_at(&dir, &name).map_err(Error::write("open", path))?;
            fs::fsetxattr(&dir, namespace.opaque(), OPAQUE_YES, XattrFlags::empty())
                .map_err(Error::write("make opaque", path))
        }
        // It hides what is below by itself.
        Ok(_) => Ok(()),
        Err(e) => Err(Error::write("stat", path)(e)),
    }
}

/// Whether a directory of the upper layer is, or is in, an opaque one. What is in it below is hidden already, and a whiteout
/// in it would be listed: overlayfs filters listings of merged directories only.
fn is_hidden(upper: BorrowedFd<'_>, namespace: Namespace, path: &TreePath) -> Result<bool, Error> {
    let mut at = TreePath::root();
    for name in path.components() {
        at = at.join(name);
        let dir = dir::open_beneath(upper, &at).map_err(Error::write("open", &at))?;
        let opaque = xattr::get(Object::Open(dir.as_fd()), namespace.opaque());
        if opaque
            .map_err(Error::write("read extended attributes of", &at))?
            .as_deref()
            == Some(OPAQUE_YES)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes the directory of a deleted path that the tar does not have, like the one below. None when there is none below.
fn make_like_below(
    upper: BorrowedFd<'_>,
    lower: Option<BorrowedFd<'_>>,
    path: &TreePath,
    parent: &TreePath,
) -> Result<Option<OwnedFd>, Error> {
    let lower = lower.ok_or_else(|| Error::entry(path.as_bytes(), Defect::MissingParent(parent.clone())))?;
    let mut at = TreePath::root();
    let mut dir = dir::open_beneath(upper, &at).map_err(Error::write("open", &at))?;
    for name in parent.components() {
        let above = at.clone();
        at = at.join(name);
        if let Some(there) = open_existing(upper, path, &at)? {
            dir = there;
            continue;
        }
        let Some(meta) = restore::of_directory(lower, &at)? else {
            return Ok(None);
        };
        let make = || fs::mkdirat(&dir, name, Mode::RWXU).map_err(Error::write("create directory", &at));
        keeping_time(&dir, &above, make)?;
        dir = dir::open_beneath(upper, &at).map_err(Error::write("open", &at))?;
        restore::open_object(dir.as_fd(), &meta, restore::Scope::Everything, &at)?;
    }
    Ok(Some(dir))
}
