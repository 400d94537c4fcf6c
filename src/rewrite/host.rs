//! What a plan has to know about this host, gathered before it is made.
//!
//! The plan asks first (`plan::questions`), [`HostView::look`] answers by reading only, and the plan is then a function of
//! the answers. What concerns runtimes and cgroups is filled in by those who know them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lxc::Includes;
use crate::manifest::CgroupMode;

/// What is at a path of this host. Links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// Nothing, or nothing that can be reached.
    Missing,
    /// A directory without entries.
    EmptyDirectory,
    /// A directory with entries.
    Directory,
    /// A regular file.
    File,
    /// A socket.
    Socket,
    /// Anything else.
    Other,
}

impl PathKind {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(self) -> bool {
        matches!(self, Self::EmptyDirectory | Self::Directory)
    }

    fn at(path: &Path) -> Self {
        use std::os::unix::fs::FileTypeExt as _;

        let Ok(metadata) = std::fs::metadata(path) else {
            return Self::Missing;
        };
        let kind = metadata.file_type();
        if kind.is_dir() {
            // A directory that cannot be listed counts as one with entries: nothing is put into it.
            let empty = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
            if empty { Self::EmptyDirectory } else { Self::Directory }
        } else if kind.is_file() {
            Self::File
        } else if kind.is_socket() {
            Self::Socket
        } else {
            Self::Other
        }
    }
}

/// How cgroups are on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupView {
    /// How the hierarchies are mounted.
    pub mode: CgroupMode,
    /// Whether systemd manages them.
    pub systemd: bool,
    /// Every controller that can be used, under the names of its own version (`memory`, `io`, `blkio`, …).
    pub controllers: BTreeSet<String>,
    /// Where the hierarchies that hold containers are mounted: each version 1 hierarchy, or the version 2 one.
    pub mountpoints: Vec<PathBuf>,
}

/// LXC on this host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LxcHost {
    /// The directory of containers.
    pub lxcpath: PathBuf,
    /// Its version's first number.
    pub major: Option<u32>,
    /// What the archived configuration's includes have here.
    pub includes: Includes,
    /// The network interfaces.
    pub interfaces: BTreeSet<String>,
    /// Those of them that are bridges.
    pub bridges: BTreeSet<String>,
    /// Whether AppArmor is at work.
    pub apparmor: bool,
    /// Whether CRIU sees it.
    pub securityfs: bool,
    /// Whether SELinux is at work.
    pub selinux: bool,
}

/// Facts about this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostView {
    /// What is at each path that the plan asked about.
    pub paths: BTreeMap<PathBuf, PathKind>,
    /// Version of the runtime that the container is restored with; `None` where it is not installed.
    pub runtime: Option<String>,
    /// Whether that runtime has a container of the new name.
    pub name_taken: bool,
    /// A process whose root file system is in the bundle.
    pub bundle_user: Option<i32>,
    /// Cgroups.
    pub cgroup: CgroupView,
    /// Fingerprint of the files at the request's `root`, where it was taken; see the manifest's `filesystem.base`.
    pub base: Option<String>,
}

impl HostView {
    /// Answers what is at each of the paths.
    #[must_use]
    pub fn look(paths: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, PathKind> {
        paths.iter().map(|path| (path.clone(), PathKind::at(path))).collect()
    }

    /// What is at a path that was asked about.
    #[must_use]
    pub fn kind(&self, path: &Path) -> PathKind {
        self.paths.get(path).copied().unwrap_or(PathKind::Missing)
    }
}

/// A limit of the cgroup record that is set, that is: differs from what the kernel gives a new cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// The controller, under the name of its own version.
    pub controller: String,
    /// The cgroup, relative to the container's; empty for the container's own.
    pub cgroup: String,
    /// The file, `memory.max`.
    pub file: String,
    /// Its content.
    pub value: String,
}

/// What a plan has to know about the archive's cgroup record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CgroupSummary {
    /// The limits that are set.
    pub limits: Vec<Limit>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_at_paths_of_every_kind() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), b"x").unwrap();
        std::fs::create_dir(at("empty")).unwrap();
        std::fs::create_dir_all(at("full/entry")).unwrap();
        std::os::unix::fs::symlink("full", at("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let expected = [
            ("file", PathKind::File),
            ("empty", PathKind::EmptyDirectory),
            ("full", PathKind::Directory),
            ("link", PathKind::Directory),
            ("socket", PathKind::Socket),
            ("nothing", PathKind::Missing),
        ];
        let seen = HostView::look(&expected.iter().map(|(name, _)| at(name)).collect());
        for (name, kind) in expected {
            assert_eq!(seen[&at(name)], kind, "{name}");
        }
    }
}
