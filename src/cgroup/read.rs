//! Recording: what /proc and the cgroup file systems say of a running container.
//!
//! Reads only. A file that a kernel lacks is no news; one that exists and cannot be read is noted in the record, because a
//! limit that is lost silently is worse than a failed export. Bounds are those of the record.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::files::{self, File, Shape};
use super::hierarchy::{self, Membership};
use super::record::{
    CgroupRecord, DEFAULT_DEVICE, DeviceLimit, Group, GroupPath, Hierarchy, HierarchyVersion, MAX_GROUPS, MAX_TASKS,
    MAX_VALUE, Owner, RECORD_VERSION, Unread, UnreadReason, parse_number,
};
use super::tasks::Tasks;
use super::{Bound, Error};
use crate::manifest::CgroupMode;
use crate::mounts::{Mount, MountTable};
use crate::sys::read;

/// The largest file of /proc that is read, and the largest list of tasks: ten bytes for each of the bounded number.
const MAX_PROC_FILE: u64 = 4 << 20;

/// The container whose cgroups are recorded.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// Its first process, in the PID namespace of /proc.
    pub pid: i32,
    /// The mounts of *this* process, through which cgroups are reached.
    pub mounts: &'a MountTable,
    /// The container's cgroup directory per controller where the runtime tells it (runc's `cgroup_paths`; the empty name
    /// is version 2). What is not told is found out: see [`record`].
    pub directories: BTreeMap<String, PathBuf>,
}

/// Records the cgroups of a container.
///
/// The container's cgroup is the one the runtime told; else the directory of the hierarchy that is mounted inside the
/// container, since its first process may have moved down from there, as systemd does; else that process's own. The root
/// of a hierarchy is noted but not read: it has no limits, and its tree is the whole host's.
///
/// # Errors
/// [`Error::Read`] when the container's process is gone, [`Error::TooMuch`] when there are more cgroups or tasks than a
/// record holds, [`Error::Path`] for cgroups nested too deeply or with names that are not UTF-8.
pub fn record(subject: &Subject<'_>) -> Result<CgroupRecord, Error> {
    record_at(
        subject,
        &Roots {
            proc: Path::new("/proc"),
            sys: Path::new("/sys"),
        },
    )
}

pub(super) fn record_at(subject: &Subject<'_>, roots: &Roots<'_>) -> Result<CgroupRecord, Error> {
    Recorder::new(subject, roots)?.record()
}

/// Where the kernel's file systems are; elsewhere in tests.
pub(super) struct Roots<'a> {
    pub(super) proc: &'a Path,
    pub(super) sys: &'a Path,
}

/// Reads a file of /proc or of a cgroup.
pub(super) fn proc_file(path: &Path) -> Result<Vec<u8>, Error> {
    read::bounded(path, MAX_PROC_FILE).map_err(|source| Error::Read {
        path: path.into(),
        source,
    })
}

struct Recorder<'a> {
    subject: &'a Subject<'a>,
    roots: &'a Roots<'a>,
    /// What the container sees; empty where it cannot be read, which only costs a guess.
    inside: MountTable,
    tasks: Tasks<'a>,
    unread: Vec<Unread>,
}

impl<'a> Recorder<'a> {
    fn new(subject: &'a Subject<'a>, roots: &'a Roots<'a>) -> Result<Self, Error> {
        let inside = proc_file(&roots.proc.join(format!("{}/mountinfo", subject.pid))).unwrap_or_default();
        Ok(Self {
            subject,
            roots,
            inside: MountTable::parse(&inside).unwrap_or_default(),
            tasks: Tasks::new(roots.proc, subject.pid)?,
            unread: Vec::new(),
        })
    }

    fn record(mut self) -> Result<CgroupRecord, Error> {
        let path = self.roots.proc.join(format!("{}/cgroup", self.subject.pid));
        let mut hierarchies = Vec::new();
        for membership in Membership::parse(&proc_file(&path)?)? {
            hierarchies.extend(self.hierarchy(&membership)?);
        }
        // The kernel's default hierarchy exists even where nothing is mounted.
        let mode = hierarchy::mode(self.subject.mounts).unwrap_or(CgroupMode::V2);
        Ok(CgroupRecord {
            version: RECORD_VERSION,
            mode,
            hierarchies,
            unread: self.unread,
        })
    }

    fn hierarchy(&mut self, membership: &Membership) -> Result<Option<Hierarchy>, Error> {
        let name = membership.controllers.join(",");
        let Some(mount) = membership.mount(self.subject.mounts) else {
            self.note(&name, UnreadReason::NotMounted);
            return Ok(None);
        };
        let Some(path) = self.container_path(membership, mount).filter(|_| !membership.deleted) else {
            self.note(&name, UnreadReason::OutOfReach);
            return Ok(None);
        };
        let mut hierarchy = Hierarchy {
            version: membership.version(),
            controllers: membership.controllers.clone(),
            mount_root: mount.root.to_string_lossy().into_owned(),
            mount_point: mount.mount_point.to_string_lossy().into_owned(),
            path,
            groups: Vec::new(),
        };
        if hierarchy.path.is_empty() && mount.root == Path::new("/") {
            self.note(&name, UnreadReason::Root);
            return Ok(Some(hierarchy));
        }
        let directory = mount.mount_point.join(hierarchy.path.as_str());
        if hierarchy.version == HierarchyVersion::V2 {
            hierarchy.controllers = hierarchy::controllers_of(&directory);
        }
        hierarchy.groups = self.tree(&directory, &hierarchy)?;
        Ok(Some(hierarchy))
    }

    /// The container's cgroup in one hierarchy, relative to what is mounted of it.
    fn container_path(&self, membership: &Membership, mount: &Mount) -> Option<GroupPath> {
        let controller = membership.controllers.first().map_or("", String::as_str);
        if let Some(directory) = self.subject.directories.get(controller) {
            let below = directory.strip_prefix(&mount.mount_point).ok()?;
            return GroupPath::new(below.to_str()?).ok();
        }
        let own = membership.below(mount)?;
        let mounted = self
            .inside
            .iter()
            .filter(|inner| inner.device == mount.device && inner.root != mount.root);
        let roots =
            mounted.filter_map(|inner| GroupPath::new(inner.root.strip_prefix(&mount.root).ok()?.to_str()?).ok());
        let above = |root: &GroupPath| !root.is_empty() && Path::new(own.as_str()).starts_with(root.as_str());
        let top = roots.filter(above).min_by_key(|root| root.as_str().len());
        Some(top.unwrap_or(own))
    }

    /// A cgroup and those below it, each after its parent, brothers by name.
    fn tree(&mut self, directory: &Path, hierarchy: &Hierarchy) -> Result<Vec<Group>, Error> {
        let mut groups = Vec::new();
        let mut pending = vec![GroupPath::default()];
        let mut members = Vec::new();
        let mut found = 0;
        while let Some(path) = pending.pop() {
            Bound::Groups.check(groups.len() + pending.len() + 1, MAX_GROUPS)?;
            let here = directory.join(path.as_str());
            let listing = Listing::read(&here)?;
            for name in listing.groups.iter().rev() {
                pending.push(path.join(name)?);
            }
            let tids = self.tids(&here, hierarchy.version);
            found += tids.len();
            Bound::Tasks.check(found, MAX_TASKS)?;
            members.push(tids);
            groups.push(self.group(&here, path, &listing, hierarchy)?);
        }
        for (group, tids) in groups.iter_mut().zip(&members) {
            self.assign(group, tids);
        }
        Ok(groups)
    }

    fn group(
        &mut self,
        here: &Path,
        path: GroupPath,
        listing: &Listing,
        hierarchy: &Hierarchy,
    ) -> Result<Group, Error> {
        let metadata = std::fs::metadata(here).map_err(|source| Error::Read {
            path: here.into(),
            source,
        })?;
        let mut group = Group {
            path,
            owner: owner(&metadata),
            delegated: BTreeMap::new(),
            limits: BTreeMap::new(),
            device_limits: BTreeMap::new(),
            processes: Vec::new(),
            threads: Vec::new(),
        };
        for name in &listing.files {
            let path = here.join(name);
            match std::fs::symlink_metadata(&path) {
                Ok(metadata) if (metadata.uid(), metadata.gid()) != (0, 0) && files::is_delegable(name) => {
                    group.delegated.insert(name.clone(), owner(&metadata));
                }
                _ => {}
            }
            if let Some(file) = kept_file(hierarchy, here, name) {
                self.limit(&mut group, file, name, &path);
            }
        }
        Ok(group)
    }

    fn limit(&mut self, group: &mut Group, file: &File, name: &str, path: &Path) {
        let value = match read::bounded(path, MAX_VALUE as u64) {
            Ok(bytes) => String::from_utf8(bytes).ok(),
            // A file of a controller that the cgroup does not have, or that is switched off: there is no limit.
            Err(error) if is_absent(&error) => return,
            Err(_) => return self.note(&path.to_string_lossy(), UnreadReason::Failed),
        };
        let value = value
            .map(|value| value.trim_end().to_owned())
            .filter(|value| file.shape.accepts(value));
        match (value, file.shape) {
            (None, _) => self.note(&path.to_string_lossy(), UnreadReason::Malformed),
            (Some(value), Shape::Devices) => match device_limits(&value, self.roots.sys) {
                Some(limits) if limits.is_empty() => {}
                Some(limits) => drop(group.device_limits.insert(name.to_owned(), limits)),
                None => self.note(&path.to_string_lossy(), UnreadReason::Malformed),
            },
            (Some(value), Shape::Lines) => {
                let kept: Vec<_> = value.lines().filter(|line| says_something(name, line)).collect();
                if !kept.is_empty() {
                    group.limits.insert(name.to_owned(), kept.join("\n"));
                }
            }
            (Some(value), _) => drop(group.limits.insert(name.to_owned(), value)),
        }
    }

    /// The tasks of one cgroup, threads included, as the host numbers them. A cgroup whose list cannot be read as threads
    /// (a domain above threaded ones) is read as processes.
    fn tids(&mut self, here: &Path, version: HierarchyVersion) -> Vec<i32> {
        let names: &[&str] = match version {
            HierarchyVersion::V1 => &["tasks"],
            HierarchyVersion::V2 => &["cgroup.threads", "cgroup.procs"],
        };
        let list = names.iter().find_map(|name| proc_file(&here.join(name)).ok());
        let Some(list) = list else {
            self.note(&here.join(names[0]).to_string_lossy(), UnreadReason::Failed);
            return Vec::new();
        };
        // 0 is a task that our PID namespace does not see.
        let numbers = list
            .split(|&byte| byte == b'\n')
            .filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok());
        numbers.filter(|&tid| tid > 0).collect()
    }

    /// Sorts a cgroup's tasks into processes, and threads that are elsewhere than their process.
    fn assign(&mut self, group: &mut Group, tids: &[i32]) {
        let here: HashSet<i32> = tids.iter().copied().collect();
        for &tid in tids {
            match self.tasks.find(tid) {
                Some(task) if task.process == tid => group.processes.push(task.inside),
                Some(task) if !here.contains(&task.process) => group.threads.push(task.inside),
                _ => {}
            }
        }
        group.processes.sort_unstable();
        group.threads.sort_unstable();
    }

    fn note(&mut self, what: &str, reason: UnreadReason) {
        if self.unread.len() < MAX_GROUPS {
            self.unread.push(Unread {
                what: what.to_owned(),
                reason,
            });
        }
    }
}

/// The names in a cgroup's directory, sorted.
struct Listing {
    groups: Vec<String>,
    files: Vec<String>,
}

impl Listing {
    fn read(directory: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read {
            path: directory.into(),
            source,
        };
        let mut listing = Self {
            groups: Vec::new(),
            files: Vec::new(),
        };
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_group = entry.file_type().map_err(failed)?.is_dir();
            match entry.file_name().into_string() {
                Ok(name) if is_group => listing.groups.push(name),
                Ok(name) => listing.files.push(name),
                Err(name) if is_group => {
                    return Err(Error::Path {
                        path: name.to_string_lossy().into_owned(),
                    });
                }
                Err(_) => {}
            }
            Bound::Groups.check(listing.groups.len(), MAX_GROUPS)?;
        }
        listing.groups.sort_unstable();
        listing.files.sort_unstable();
        Ok(listing)
    }
}

/// The limit file of this name, where it is to be recorded. Version 1 has files of the cgroup core in every hierarchy, and
/// one of them limits only cpusets.
fn kept_file(hierarchy: &Hierarchy, here: &Path, name: &str) -> Option<&'static File> {
    let file = files::find(hierarchy.version, name)?;
    let own =
        hierarchy.version == HierarchyVersion::V2 || hierarchy.controllers.iter().any(|known| known == file.controller);
    (own && !is_inherited(hierarchy.version, here, name)).then_some(file)
}

/// Whether a cpuset of version 1 is its parent's: there an empty one cannot hold tasks, so whoever does not want to limit
/// a cgroup copies what is above. Kept, it would confine the container to a part of a larger host.
fn is_inherited(version: HierarchyVersion, here: &Path, name: &str) -> bool {
    if version != HierarchyVersion::V1 || !matches!(name, "cpuset.cpus" | "cpuset.mems") {
        return false;
    }
    match (proc_file(&here.join(name)), proc_file(&here.join("..").join(name))) {
        (Ok(own), Ok(above)) => own == above,
        _ => false,
    }
}

fn owner(metadata: &std::fs::Metadata) -> Owner {
    Owner {
        uid: metadata.uid(),
        gid: metadata.gid(),
        mode: format!("{:04o}", metadata.mode() & 0o7777),
    }
}

fn is_absent(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let absent = [Errno::NOENT, Errno::NODEV, Errno::OPNOTSUPP, Errno::INVAL].map(|errno| Some(errno.raw_os_error()));
    absent.contains(&error.raw_os_error())
}

/// Whether a line of a keyed file limits anything: the kernel lists every network interface, RDMA device and resource, and
/// below `oom_kill_disable` its counters.
fn says_something(name: &str, line: &str) -> bool {
    let mut words = line.split_whitespace().skip(1);
    match name {
        "net_prio.ifpriomap" => words.any(|word| word != "0"),
        "memory.oom_control" => line.starts_with("oom_kill_disable "),
        _ => words.any(|word| word != "max" && !word.ends_with("=max")),
    }
}

/// Splits the lines of a file whose values belong to devices; `None` where a line has no device.
fn device_limits(text: &str, sys: &Path) -> Option<Vec<DeviceLimit>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            // BFQ of older kernels prints its default alone.
            let (key, value) = line.split_once(' ').unwrap_or((DEFAULT_DEVICE, line));
            let value = value.trim().to_owned();
            if key == DEFAULT_DEVICE {
                return Some(DeviceLimit {
                    device: Some(key.to_owned()),
                    number: None,
                    value,
                });
            }
            parse_number(key)?;
            Some(DeviceLimit {
                device: device_path(key, sys),
                number: Some(key.to_owned()),
                value,
            })
        })
        .collect()
}

/// The path of a block device, from the name that the kernel gives it.
fn device_path(number: &str, sys: &Path) -> Option<String> {
    let uevent = proc_file(&sys.join(format!("dev/block/{number}/uevent"))).ok()?;
    let name = uevent
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"DEVNAME="))?;
    Some(format!("/dev/{}", std::str::from_utf8(name).ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn fixture_hosts_are_recorded() {
        for host in ["v1", "hybrid", "v2"] {
            insta::assert_json_snapshot!(format!("record-{host}"), fixture::recorded(host));
        }
    }

    #[test]
    fn a_record_is_read_back() {
        for host in ["v1", "hybrid", "v2"] {
            let record = fixture::recorded_as_is(host);
            assert_eq!(
                CgroupRecord::from_json(&record.to_json().unwrap()).unwrap(),
                record,
                "{host}"
            );
        }
    }

    #[test]
    fn the_runtimes_directory_is_preferred() {
        let (mounts, directory) = (fixture::mounts("v2"), fixture::directory("v2"));
        let cgroup = directory.join("sys/fs/cgroup/machine.slice/ct1/system.slice");
        let subject = Subject {
            pid: 4242,
            mounts: &mounts,
            directories: BTreeMap::from([(String::new(), cgroup)]),
        };
        let roots = Roots {
            proc: &directory.join("proc"),
            sys: &directory.join("sys"),
        };
        let record = record_at(&subject, &roots).unwrap();
        assert_eq!(record.hierarchies[0].path.as_str(), "machine.slice/ct1/system.slice");
        assert_eq!(record.hierarchies[0].groups[0].processes, [7]);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let mounts = fixture::mounts("v2");
        let subject = Subject {
            pid: 1_999_999_999,
            mounts: &mounts,
            directories: BTreeMap::new(),
        };
        assert!(matches!(record(&subject), Err(Error::Read { .. })));
    }

    #[test]
    fn lines_of_devices_are_split() {
        let sys = fixture::directory("v2").join("sys");
        let limits = device_limits("default 100\n8:0 200\n\n9:9 rbps=1 wbps=2\n", &sys).unwrap();
        let short: Vec<_> = limits
            .iter()
            .map(|limit| (limit.device.as_deref(), limit.value.as_str()))
            .collect();
        assert_eq!(
            short,
            [
                (Some("default"), "100"),
                (Some("/dev/sda"), "200"),
                (None, "rbps=1 wbps=2")
            ]
        );
        assert_eq!(
            device_limits("250", &sys).unwrap()[0].device.as_deref(),
            Some("default")
        );
        assert_eq!(device_limits("sda 1", &sys), None);
    }

    #[test]
    fn lines_that_limit_nothing_are_left_out() {
        let cases = [
            ("net_prio.ifpriomap", "eth0 0", false),
            ("net_prio.ifpriomap", "eth0 7", true),
            ("rdma.max", "mlx5_0 hca_handle=max hca_object=max", false),
            ("rdma.max", "mlx5_0 hca_handle=2 hca_object=max", true),
            ("misc.max", "sev max", false),
            ("misc.max", "sev 4", true),
            ("memory.oom_control", "oom_kill_disable 0", true),
            ("memory.oom_control", "oom_kill 3", false),
        ];
        for (file, line, kept) in cases {
            assert_eq!(says_something(file, line), kept, "{file} {line}");
        }
    }
}
