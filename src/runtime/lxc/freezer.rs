//! The freezer of a container, asked of the kernel: LXC tells what it did itself, and knows nothing of a CRIU that was
//! killed and left the freezer closed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cgroup::{HierarchyVersion, Membership};
use crate::mounts::MountTable;

/// The controller of version 1.
const CONTROLLER: &str = "freezer";

/// The cgroups that freeze a process: its own and those above.
#[derive(Debug)]
pub(super) struct Freezer {
    version: HierarchyVersion,
    mount_point: PathBuf,
    directory: PathBuf,
}

impl Freezer {
    /// That of a process; `None` where there is none, or it cannot be reached.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let mounts = MountTable::of_self().ok()?;
        let memberships = Membership::of_process(pid).ok()?;
        let freezes = |membership: &&Membership| membership.controllers.iter().any(|name| name == CONTROLLER);
        let unified = |membership: &&Membership| membership.version() == HierarchyVersion::V2;
        let membership = memberships
            .iter()
            .find(freezes)
            .or_else(|| memberships.iter().find(unified))?;
        let mount = membership.mount(&mounts)?;
        let below = membership.below(mount)?;
        Some(Self {
            version: membership.version(),
            directory: mount.mount_point.join(below.as_str()),
            mount_point: mount.mount_point.clone(),
        })
    }

    /// Whether it is closed.
    pub(super) fn is_closed(&self) -> bool {
        let read = |name| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        match self.version {
            HierarchyVersion::V1 => matches!(read("freezer.state").trim(), "FROZEN" | "FREEZING"),
            HierarchyVersion::V2 => read("cgroup.events").lines().any(|line| line == "frozen 1"),
        }
    }

    /// Opens every cgroup that freezes the process.
    pub(super) fn open(&self) -> io::Result<()> {
        let (asked, file, open) = match self.version {
            HierarchyVersion::V1 => ("freezer.self_freezing", "freezer.state", "THAWED"),
            HierarchyVersion::V2 => ("cgroup.freeze", "cgroup.freeze", "0"),
        };
        let within = |directory: &&Path| directory.starts_with(&self.mount_point);
        for directory in self.directory.ancestors().take_while(within) {
            let closed = fs::read_to_string(directory.join(asked)).is_ok_and(|text| text.trim() == "1");
            if closed {
                fs::write(directory.join(file), open)?;
            }
        }
        Ok(())
    }

    /// Closes the process's own.
    pub(super) fn close(&self) -> io::Result<()> {
        let (file, closed) = match self.version {
            HierarchyVersion::V1 => ("freezer.state", "FROZEN"),
            HierarchyVersion::V2 => ("cgroup.freeze", "1"),
        };
        fs::write(self.directory.join(file), closed)
    }
}
