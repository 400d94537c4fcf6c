//! For tests: the hosts of `fixtures/cgroup`, recorded as if they were this one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::read::{Roots, record_at};
use super::record::{CgroupRecord, GroupPath, HierarchyVersion};
use super::{HostHierarchy, Subject, TargetCgroups, TargetHierarchy};
use crate::manifest::CgroupMode;
use crate::mounts::MountTable;

pub(super) fn directory(host: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cgroup").join(host)
}

/// The mounts of a fixture host, its cgroups where the fixture is.
pub(super) fn mounts(host: &str) -> MountTable {
    let text = std::fs::read_to_string(directory(host).join("mountinfo")).unwrap();
    let root = directory(host)
        .to_str()
        .unwrap()
        .replace('\\', r"\134")
        .replace(' ', r"\040");
    MountTable::parse(text.replace("@ROOT@", &root).as_bytes()).unwrap()
}

/// The record of a fixture host's container, without what depends on where the fixture was checked out and by whom.
pub(super) fn recorded(host: &str) -> CgroupRecord {
    let mut record = recorded_as_is(host);
    let root = directory(host).to_str().unwrap().to_owned();
    for hierarchy in &mut record.hierarchies {
        hierarchy.mount_point = hierarchy.mount_point.replace(&root, "");
        for group in &mut hierarchy.groups {
            group.delegated.clear();
            (group.owner.uid, group.owner.gid, group.owner.mode) = (0, 0, "0755".to_owned());
        }
    }
    for unread in &mut record.unread {
        unread.what = unread.what.replace(&root, "");
    }
    record
}

pub(super) fn recorded_as_is(host: &str) -> CgroupRecord {
    let (mounts, directory) = (mounts(host), directory(host));
    let subject = Subject {
        pid: 4242,
        mounts: &mounts,
        directories: BTreeMap::new(),
    };
    record_at(
        &subject,
        &Roots {
            proc: &directory.join("proc"),
            sys: &directory.join("sys"),
        },
    )
    .unwrap()
}

fn hierarchy(version: HierarchyVersion, controllers: &[&str], mount_point: &str) -> TargetHierarchy {
    let controllers = controllers.iter().map(|&name| name.to_owned()).collect();
    let host = HostHierarchy {
        version,
        controllers,
        mount_point: mount_point.into(),
        mount_root: "/".into(),
    };
    TargetHierarchy {
        host,
        path: GroupPath::new("new/ct2").unwrap(),
    }
}

/// A host with two CPUs and a disk under another number.
pub(super) fn target(mode: CgroupMode) -> TargetCgroups {
    use HierarchyVersion::{V1, V2};
    let v1 = |names: &[&str]| hierarchy(V1, names, &format!("/cg/{}", names.join(",")));
    let hierarchies = match mode {
        CgroupMode::Unknown => Vec::new(),
        CgroupMode::V2 => vec![hierarchy(
            V2,
            &["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "misc"],
            "/cg",
        )],
        CgroupMode::V1 => vec![
            v1(&["cpu"]),
            v1(&["cpuset"]),
            v1(&["memory"]),
            v1(&["blkio"]),
            v1(&["pids"]),
            v1(&["devices"]),
            v1(&["hugetlb"]),
            v1(&["net_cls", "net_prio"]),
            v1(&["name=systemd"]),
        ],
        CgroupMode::Hybrid => vec![
            v1(&["cpu"]),
            v1(&["memory"]),
            v1(&["name=systemd"]),
            hierarchy(V2, &["cpuset", "io", "hugetlb", "pids", "misc"], "/cg/unified"),
        ],
    };
    TargetCgroups {
        mode,
        hierarchies,
        devices: BTreeMap::from([("/dev/sda".to_owned(), (259, 3))]),
        cpus: Some("0-1".parse().unwrap()),
        mems: Some("0".parse().unwrap()),
        keep_owners: false,
    }
}
