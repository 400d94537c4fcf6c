//! Giving CRIU's images to the user who has to read them.
//!
//! Tasks of a container in a user namespace open the images themselves while they are restored, as that namespace's root:
//! `Unable to open timens-0.img: Permission denied` otherwise. The images hold the container's whole memory, so they are
//! given to that one user and not opened to everybody.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::Fault;
use crate::rewrite::plan::Owner;

const DIRECTORY: OFlags = OFlags::DIRECTORY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::RDONLY)
    .union(OFlags::CLOEXEC);

/// Gives a directory and everything in it to a user. Links are given themselves, not what they lead to.
pub(super) fn give(path: &Path, owner: Owner) -> Result<(), Fault> {
    let give = || -> Result<(), Errno> {
        let directory = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?;
        give_inside(&directory, owner)
    };
    give().map_err(Fault::io("give away the images in", path))
}

fn give_inside(directory: &OwnedFd, owner: Owner) -> Result<(), Errno> {
    let (uid, gid) = (Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)));
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            let within = rustix::fs::openat(directory, name, DIRECTORY, Mode::empty())?;
            give_inside(&within, owner)?;
        } else {
            rustix::fs::chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    rustix::fs::fchown(directory.as_fd(), uid, gid)
}
