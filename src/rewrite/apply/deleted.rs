//! `deleted.files`: what the container deleted of the files below its changes.
//!
//! The list comes from the archive; crafted ones have deleted files of hosts (podman#27977). Each path is opened beneath the
//! mounted root file system, without links, and only the overlay's upper layer is written.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Fault, remove};
use crate::rewrite::spec::MAX_PATH_BYTES;

/// The entry with the list, a JSON array of paths.
pub const DELETED_FILES: &str = "deleted.files";
/// Largest list that is read, bytes: half a million long paths.
const MAX_LIST_BYTES: u64 = 64 << 20;

/// Reads the list.
pub(super) fn read(from: &mut dyn Read) -> Result<Vec<String>, Fault> {
    let list = serde_json::from_reader(from.take(MAX_LIST_BYTES)).map_err(Fault::DeletedList)?;
    // podman writes `null` for an empty list.
    Ok(Option::<Vec<String>>::unwrap_or_default(list))
}

/// Deletes each path beneath `root`, the mounted root file system at `at`. One that is gone already is no error.
pub(super) fn delete(root: &OwnedFd, at: &Path, list: &[String]) -> Result<(), Fault> {
    list.iter().try_for_each(|path| delete_one(root, at, path))
}

fn delete_one(root: &OwnedFd, at: &Path, path: &str) -> Result<(), Fault> {
    let wrong = |problem| Fault::DeletedPath {
        path: path.to_owned(),
        problem,
    };
    let relative = path.trim_start_matches("./").trim_matches('/');
    if relative.is_empty() || relative == "." || path.len() > MAX_PATH_BYTES {
        return Err(wrong("names what cannot be deleted"));
    }
    if relative.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(wrong("names a path that is not plain"));
    }
    let (above, name) = relative.rsplit_once('/').unwrap_or((".", relative));
    let name = CString::new(name).map_err(|_| wrong("names a path with a NUL"))?;
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let directory = match rustix::fs::openat2(root, above, flags, Mode::empty(), resolve) {
        Ok(directory) => directory,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(Errno::LOOP) => return Err(wrong("names a path through a link")),
        Err(errno) => return Err(Fault::io("open", &at.join(above))(errno)),
    };
    match remove::entry(directory.as_fd(), &name, &at.join(relative)).pop() {
        None => Ok(()),
        Some(failure) => Err(Fault::Io {
            operation: "delete",
            path: failure.path,
            source: failure.source,
        }),
    }
}
