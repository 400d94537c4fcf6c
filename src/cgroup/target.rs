//! The cgroups of this host that a container gets: where a plan writes to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::hierarchy::{self, HostHierarchy, Membership};
use super::idset::IdSet;
use super::read::proc_file;
use super::record::{CgroupRecord, DEFAULT_DEVICE, DeviceLimit, GroupPath, HierarchyVersion};
use super::{Error, hierarchies};
use crate::manifest::CgroupMode;
use crate::mounts::MountTable;

/// Where a container's cgroups are, or will be, and what of this host its limits refer to.
#[derive(Debug, Clone)]
pub struct TargetCgroups {
    /// How cgroups are mounted here.
    pub mode: CgroupMode,
    /// The hierarchies, each with the container's cgroup in it.
    pub hierarchies: Vec<TargetHierarchy>,
    /// The numbers of this host's block devices, by path.
    pub devices: BTreeMap<String, (u32, u32)>,
    /// The CPUs that are online; unknown where absent.
    pub cpus: Option<IdSet>,
    /// The memory nodes that are online; unknown where absent.
    pub mems: Option<IdSet>,
    /// Whether the owners that the record names are given their cgroups again. They are user numbers of another host:
    /// right for a container with the same user namespace mapping, and a decision of the importer.
    pub keep_owners: bool,
}

/// A hierarchy of this host and the container's cgroup in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetHierarchy {
    /// The hierarchy.
    pub host: HostHierarchy,
    /// The container's cgroup, relative to what is mounted.
    pub path: GroupPath,
}

impl TargetHierarchy {
    /// The directory of the container's cgroup.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.host.mount_point.join(self.path.as_str())
    }
}

impl TargetCgroups {
    /// The cgroups at one path in every hierarchy, as runtimes make them for a new container.
    ///
    /// # Errors
    /// Those of [`hierarchies`].
    pub fn at(mounts: &MountTable, path: &GroupPath, record: &CgroupRecord) -> Result<Self, Error> {
        let target = |host| TargetHierarchy {
            host,
            path: path.clone(),
        };
        Ok(Self::new(
            mounts,
            hierarchies(mounts)?.into_iter().map(target).collect(),
            record,
        ))
    }

    /// The cgroups that a restored container is in. A first process that was restored into a cgroup below its container's
    /// is counted back up by the path that the record gives it.
    ///
    /// # Errors
    /// [`Error::Read`] when the process is gone, and those of [`hierarchies`].
    pub fn of_process(mounts: &MountTable, pid: i32, record: &CgroupRecord) -> Result<Self, Error> {
        let mut found = Vec::new();
        for membership in Membership::of_process(pid)? {
            let Some(mount) = membership.mount(mounts) else {
                continue;
            };
            let Some(path) = membership.below(mount) else { continue };
            let controllers = match membership.version() {
                HierarchyVersion::V1 => membership.controllers.clone(),
                HierarchyVersion::V2 => hierarchy::controllers_of(&mount.mount_point),
            };
            let host = HostHierarchy {
                version: membership.version(),
                controllers,
                mount_point: mount.mount_point.clone(),
                mount_root: mount.root.clone(),
            };
            let path = without_nested(path, &nested_path(record, &host));
            found.push(TargetHierarchy { host, path });
        }
        Ok(Self::new(mounts, found, record))
    }

    fn new(mounts: &MountTable, hierarchies: Vec<TargetHierarchy>, record: &CgroupRecord) -> Self {
        let number = |device: &str| Some((device.to_owned(), device_number(device)?));
        Self {
            mode: hierarchy::mode(mounts).unwrap_or(CgroupMode::V2),
            hierarchies,
            devices: record.devices().into_iter().filter_map(number).collect(),
            cpus: online("cpu"),
            mems: online("node"),
            keep_owners: false,
        }
    }

    /// The hierarchy that has this controller, or this `name=NAME`.
    #[must_use]
    pub fn with_controller(&self, controller: &str) -> Option<&TargetHierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.host.has(controller))
    }

    /// How a limit's device is written here: its number, or `default`; `None` for a device that is not here.
    pub(super) fn device_key(&self, limit: &DeviceLimit) -> Option<String> {
        if limit.is_default() {
            return Some(DEFAULT_DEVICE.to_owned());
        }
        let (major, minor) = self.devices.get(limit.device.as_deref()?)?;
        Some(format!("{major}:{minor}"))
    }

    /// The hierarchy of version 2.
    #[must_use]
    pub fn unified(&self) -> Option<&TargetHierarchy> {
        self.hierarchies
            .iter()
            .find(|hierarchy| hierarchy.host.version == HierarchyVersion::V2)
    }
}

/// Where the container's first process (number 1 in its own PID namespace) was below the container's cgroup.
fn nested_path(record: &CgroupRecord, host: &HostHierarchy) -> GroupPath {
    let same = record.hierarchies.iter().find(|hierarchy| {
        hierarchy.version == host.version
            && (host.version == HierarchyVersion::V2 || hierarchy.controllers.iter().any(|name| host.has(name)))
    });
    let group = same.and_then(|hierarchy| hierarchy.groups.iter().find(|group| group.processes.contains(&1)));
    group.map(|group| group.path.clone()).unwrap_or_default()
}

fn without_nested(path: GroupPath, nested: &GroupPath) -> GroupPath {
    if nested.is_empty() {
        return path;
    }
    let above = path
        .as_str()
        .strip_suffix(nested.as_str())
        .map(|above| above.trim_end_matches('/'));
    above.and_then(|above| GroupPath::new(above).ok()).unwrap_or(path)
}

/// The number of a block device of this host. The path comes from an archive: it was checked to lie below /dev, and only a
/// block device's number is ever taken from it.
fn device_number(device: &str) -> Option<(u32, u32)> {
    let stat = rustix::fs::stat(device).ok()?;
    let block = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::BlockDevice;
    block.then(|| (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)))
}

fn online(kind: &str) -> Option<IdSet> {
    let bytes = proc_file(&Path::new("/sys/devices/system").join(kind).join("online")).ok()?;
    std::str::from_utf8(&bytes)
        .ok()?
        .parse()
        .ok()
        .filter(|set: &IdSet| !set.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_first_process_is_counted_back() {
        let path = |text: &str| GroupPath::new(text).unwrap();
        let cases = [
            ("pods/ct2/init.scope", "init.scope", "pods/ct2"),
            ("ct2", "", "ct2"),
            ("ct2", "init.scope", "ct2"),
            ("init.scope", "init.scope", ""),
        ];
        for (now, nested, wanted) in cases {
            assert_eq!(without_nested(path(now), &path(nested)), path(wanted), "{now} {nested}");
        }
    }

    #[test]
    fn only_block_devices_have_numbers() {
        assert_eq!(device_number("/dev/null"), None);
        assert_eq!(device_number("/dev/no-such-device"), None);
    }
}
