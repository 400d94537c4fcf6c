//! Where CRIU puts its images and its log while memory streams past them: into memory, for they are small.
//!
//! What may not be small are the contents of tmpfs mounts, which CRIU writes among its images. Where those could fill the
//! file system in memory, all of it goes to disk.

use std::path::{Path, PathBuf};

use crate::criu::WorkDir;
use crate::error::Error;
use crate::mounts::MountTable;
use crate::sys::space;

/// Left free in memory for the images themselves, some 100 KiB a process, and for the log, bytes.
const MARGIN: u64 = 64 << 20;

/// The directories of one dump.
pub(super) struct Place {
    /// The one that the user named for logs.
    named: Option<WorkDir>,
    private: WorkDir,
}

impl Place {
    /// Directories for a dump of the container whose first process is `pid`; logs go to `work_path` where the user named one.
    pub(super) fn of_dump(pid: i32, work_path: Option<&Path>) -> Result<Self, Error> {
        let named = work_path.map(WorkDir::at).transpose()?;
        let private = match WorkDir::in_memory() {
            Ok(directory) if fits(directory.path(), tmpfs_content(pid)) => directory,
            _ => named
                .as_ref()
                .map_or_else(WorkDir::create, |named| WorkDir::create_in(named.path()))?,
        };
        Ok(Self { named, private })
    }

    /// Where CRIU works and logs.
    pub(super) fn work(&self) -> &WorkDir {
        self.named.as_ref().unwrap_or(&self.private)
    }

    /// A directory of ckpt's own for files that are as small as the images.
    pub(super) fn private(&self) -> &Path {
        self.private.path()
    }

    /// The directory for the images, made now.
    pub(super) fn images(&self) -> Result<PathBuf, Error> {
        Ok(self.private.images()?)
    }
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
