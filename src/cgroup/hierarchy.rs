//! Which hierarchies a host has, where they are mounted, and where in each a process is.
//!
//! /proc/PID/cgroup and mountinfo are both relative to the cgroup namespace of the *reader*, whatever process they
//! describe: their paths fit together as they are.

use std::path::{Path, PathBuf};

use super::record::{GroupPath, HierarchyVersion};
use super::{Error, read::proc_file};
use crate::manifest::CgroupMode;
use crate::mounts::{Mount, MountTable};

/// One line of /proc/PID/cgroup: the place of a process in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The controllers, or `name=NAME`; none for version 2.
    pub controllers: Vec<String>,
    /// The cgroup's path from the root of the reader's cgroup namespace; begins with `/../` when it is outside.
    pub path: PathBuf,
    /// Whether the cgroup has been removed.
    pub deleted: bool,
}

impl Membership {
    /// Parses the content of a /proc/PID/cgroup file.
    ///
    /// # Errors
    /// [`Error::Membership`] names the line that is not `ID:CONTROLLERS:/PATH` in UTF-8.
    pub fn parse(bytes: &[u8]) -> Result<Vec<Self>, Error> {
        let lines = bytes
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .enumerate();
        lines
            .map(|(index, line)| Self::parse_line(line).ok_or(Error::Membership { line: index + 1 }))
            .collect()
    }

    fn parse_line(line: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(line).ok()?.splitn(3, ':');
        let id: u32 = fields.next()?.parse().ok()?;
        let controllers: Vec<_> = fields
            .next()?
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        let path = fields.next()?;
        if !path.starts_with('/') || (controllers.is_empty() && id != 0) {
            return None;
        }
        let removed = path.strip_suffix(" (deleted)");
        Some(Self {
            controllers,
            path: removed.unwrap_or(path).into(),
            deleted: removed.is_some(),
        })
    }

    /// Reads the memberships of a process.
    ///
    /// # Errors
    /// [`Error::Read`] when the process is gone, and as [`parse`](Self::parse).
    pub fn of_process(pid: i32) -> Result<Vec<Self>, Error> {
        Self::parse(&proc_file(&PathBuf::from(format!("/proc/{pid}/cgroup")))?)
    }

    /// The version of the hierarchy.
    #[must_use]
    pub fn version(&self) -> HierarchyVersion {
        if self.controllers.is_empty() {
            HierarchyVersion::V2
        } else {
            HierarchyVersion::V1
        }
    }

    /// The mount through which this cgroup can be reached: of those that show it, the one that shows most.
    #[must_use]
    pub fn mount<'table>(&self, mounts: &'table MountTable) -> Option<&'table Mount> {
        let visible = |mount: &&Mount| {
            mounts
                .mount_at(&mount.mount_point)
                .is_some_and(|top| top.id == mount.id)
        };
        let candidates = mounts
            .iter()
            .filter(|mount| self.is_hierarchy_of(mount))
            .filter(visible);
        let reaching = candidates.filter(|mount| self.path.starts_with(&mount.root));
        reaching.min_by_key(|mount| mount.root.as_os_str().len())
    }

    /// Whether a mount is of this hierarchy. Version 1 names its controllers among the file system's options.
    fn is_hierarchy_of(&self, mount: &Mount) -> bool {
        match self.version() {
            HierarchyVersion::V2 => mount.fs_type == "cgroup2",
            HierarchyVersion::V1 => {
                let names =
                    |controller: &String| mount.super_options.iter().any(|option| option == controller.as_str());
                mount.fs_type == "cgroup" && self.controllers.iter().all(names)
            }
        }
    }

    /// This cgroup's path below a mount of its hierarchy; `None` when it is elsewhere.
    #[must_use]
    pub fn below(&self, mount: &Mount) -> Option<GroupPath> {
        let path = self.path.strip_prefix(&mount.root).ok()?;
        GroupPath::new(path.to_str()?).ok()
    }
}

/// A hierarchy that is mounted on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostHierarchy {
    /// Its version.
    pub version: HierarchyVersion,
    /// Its controllers, or `name=NAME`. For version 2 those of its root.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// The directory of the hierarchy that is mounted there.
    pub mount_root: PathBuf,
}

impl HostHierarchy {
    /// Whether it has this controller.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// The hierarchies that this process can reach. Reads the controllers of version 2 from its root.
///
/// # Errors
/// [`Error::Read`] and [`Error::Membership`] when /proc is not readable or not as it should be.
pub fn hierarchies(mounts: &MountTable) -> Result<Vec<HostHierarchy>, Error> {
    let memberships = Membership::parse(&proc_file(Path::new("/proc/self/cgroup"))?)?;
    Ok(reachable(mounts, &memberships))
}

fn reachable(mounts: &MountTable, memberships: &[Membership]) -> Vec<HostHierarchy> {
    let known = memberships
        .iter()
        .filter_map(|membership| Some((membership, membership.mount(mounts)?)));
    let host = known.map(|(membership, mount)| HostHierarchy {
        version: membership.version(),
        controllers: match membership.version() {
            HierarchyVersion::V1 => membership.controllers.clone(),
            HierarchyVersion::V2 => controllers_of(&mount.mount_point),
        },
        mount_point: mount.mount_point.clone(),
        mount_root: mount.root.clone(),
    });
    host.collect()
}

/// The controllers that a cgroup of version 2 has; none where they cannot be read.
pub(super) fn controllers_of(directory: &Path) -> Vec<String> {
    let bytes = proc_file(&directory.join("cgroup.controllers")).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// How cgroups are mounted; `None` where they are not. A named hierarchy alone has no controllers and does not count.
#[must_use]
pub fn mode(mounts: &MountTable) -> Option<CgroupMode> {
    let named = |mount: &Mount| {
        mount
            .super_options
            .iter()
            .any(|option| option.to_string_lossy().starts_with("name="))
    };
    let v1 = mounts.iter().any(|mount| mount.fs_type == "cgroup" && !named(mount));
    let v2 = mounts.iter().any(|mount| mount.fs_type == "cgroup2");
    match (v1, v2) {
        (true, true) => Some(CgroupMode::Hybrid),
        (true, false) => Some(CgroupMode::V1),
        (false, true) => Some(CgroupMode::V2),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let text = b"12:cpu,cpuacct:/ct1\n1:name=systemd:/a:b\n0::/../x (deleted)\n";
        let found = Membership::parse(text).unwrap();
        assert_eq!(found[0].controllers, ["cpu", "cpuacct"]);
        assert_eq!(found[0].version(), HierarchyVersion::V1);
        assert_eq!(found[1].path, Path::new("/a:b"));
        assert_eq!(found[2].version(), HierarchyVersion::V2);
        assert_eq!((found[2].path.as_path(), found[2].deleted), (Path::new("/../x"), true));
    }

    #[test]
    fn malformed_lines_are_refused() {
        for line in ["x::/", "1:cpu", "1:cpu:rel", "3::/", "-1:cpu:/", ":cpu:/"] {
            let text = format!("0::/\n{line}\n");
            assert!(
                matches!(Membership::parse(text.as_bytes()), Err(Error::Membership { line: 2 })),
                "{line}"
            );
        }
        assert!(matches!(
            Membership::parse(b"0::/\xff\n"),
            Err(Error::Membership { line: 1 })
        ));
    }

    #[test]
    fn the_mount_that_shows_most_is_chosen() {
        let table = MountTable::parse(
            b"1 0 0:1 / / rw - tmpfs t rw\n\
              2 1 0:2 /ct1 /in/memory rw - cgroup cgroup rw,memory\n\
              3 1 0:2 / /cg/memory rw - cgroup cgroup rw,memory\n\
              4 1 0:3 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
              5 1 0:4 /other /cg/unified rw - cgroup2 cgroup2 rw\n\
              6 1 0:9 / /hidden rw - cgroup cgroup rw,pids\n\
              7 6 0:8 / /hidden rw - tmpfs t rw\n",
        )
        .unwrap();
        let memberships = Membership::parse(b"5:pids:/\n3:cpuacct,cpu:/\n2:memory:/ct1/a\n0::/ct1\n").unwrap();
        let points: Vec<_> = memberships
            .iter()
            .map(|membership| membership.mount(&table).map(|mount| mount.id))
            .collect();
        assert_eq!(points, [None, Some(4), Some(3), None]);
        let inside = memberships[2].below(table.by_id(2).unwrap()).unwrap();
        assert_eq!(inside.as_str(), "a");
        assert_eq!(memberships[2].below(table.by_id(5).unwrap()), None);
    }

    #[test]
    fn modes_are_told_apart() {
        let v1 = "1 0 0:1 / /a rw - cgroup c rw,memory\n";
        let named = "2 0 0:2 / /b rw - cgroup c rw,name=systemd\n";
        let v2 = "3 0 0:3 / /c rw - cgroup2 c rw\n";
        let cases = [
            (format!("{v1}{named}"), Some(CgroupMode::V1)),
            (format!("{v1}{v2}"), Some(CgroupMode::Hybrid)),
            (format!("{named}{v2}"), Some(CgroupMode::V2)),
            (v2.to_owned(), Some(CgroupMode::V2)),
            (String::new(), None),
        ];
        for (text, wanted) in cases {
            assert_eq!(mode(&MountTable::parse(text.as_bytes()).unwrap()), wanted, "{text}");
        }
    }
}
