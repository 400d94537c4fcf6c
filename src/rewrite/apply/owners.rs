//! Giving CRIU's images to the user who has to read them.
//!
//! Tasks of a container in a user namespace open the images themselves while they are restored, as that namespace's root:
//! `Unable to open timens-0.img: Permission denied` otherwise. The images hold the container's whole memory, so they are
//! given to that one user and not opened to everybody. A task opens images both before and after it becomes that user; before,
//! it is still of root's group, but without root's power over files: so the group may read.

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

/// Modes of images that are given away.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP);
const DIRECTORY_MODE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP);

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
            if entry.file_type() == FileType::RegularFile {
                rustix::fs::chmodat(directory, name, FILE_MODE, AtFlags::empty())?;
            }
        }
    }
    rustix::fs::fchown(directory.as_fd(), uid, gid)?;
    rustix::fs::fchmod(directory.as_fd(), DIRECTORY_MODE)
}
