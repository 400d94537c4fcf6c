//! Where CRIU puts its images while memory streams past them: into memory, for they are small.
//!
//! What may not be small are the contents of tmpfs mounts, which CRIU writes among its images. Where those could fill the
//! file system in memory, the images go to disk.

use std::path::{Path, PathBuf};

use crate::criu::WorkDir;
use crate::error::Error;
use crate::mounts::MountTable;
use crate::sys::space;

/// Left free in memory for the images themselves, bytes: some 100 KiB a process.
const MARGIN: u64 = 64 << 20;

/// A private directory for the images of the container whose first process is `pid`.
pub(super) fn of_images(pid: i32, work: &WorkDir) -> Result<(WorkDir, PathBuf), Error> {
    let directory = match WorkDir::in_memory() {
        Ok(directory) if fits(directory.path(), tmpfs_content(pid)) => directory,
        _ => WorkDir::create_in(work.path())?,
    };
    let images = directory.images()?;
    Ok((directory, images))
}

fn fits(directory: &Path, content: u64) -> bool {
    space::free(directory).is_ok_and(|free| content.saturating_add(MARGIN) <= free)
}

/// Bytes in the tmpfs mounts of a container; of those that cannot be looked at, none.
fn tmpfs_content(pid: i32) -> u64 {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let Ok(table) = MountTable::of_process(pid) else {
        return 0;
    };
    let tmpfs = table.iter().filter(|mount| mount.fs_type == "tmpfs");
    tmpfs
        .filter_map(|mount| {
            let below = mount.mount_point.strip_prefix("/").ok()?;
            space::used(&root.join(below)).ok()
        })
        .sum()
}
