//! Which cgroup each hierarchy's part of the images is restored into: CRIU's `cgroup-root`, where the runtime does not say
//! it, or not right.
//!
//! - runc before 1.2 names the roots of version 1 hierarchies only: on a version 2 host a renamed container would be
//!   restored into the cgroup that it was dumped in.
//! - crun names one root for all hierarchies. Where it uses version 2 and the kernel has version 1 hierarchies beside it,
//!   CRIU would make that cgroup in those as well, which fails (`Failed writing 0-1 to cpuset//c1/cpuset.cpus`).

use crate::cgroup::{self, Membership};
use crate::manifest::CgroupMode;
use crate::mounts::MountTable;
use crate::request::RuntimeKind;

/// The values of `cgroup-root`, `CONTROLLER:PATH`, for a container in `cgroup`. The version 2 hierarchy has no name.
pub(crate) fn cgroup_roots(kind: RuntimeKind, cgroup: Option<&str>) -> Vec<String> {
    let mode = MountTable::of_self().ok().and_then(|mounts| cgroup::mode(&mounts));
    let own = i32::try_from(std::process::id())
        .ok()
        .and_then(|pid| Membership::of_process(pid).ok());
    roots(kind, cgroup, mode, &own.unwrap_or_default())
}

/// `own` is where this process, and so the runtime, is: in hierarchies that the runtime does not use, tasks stay there.
fn roots(kind: RuntimeKind, cgroup: Option<&str>, mode: Option<CgroupMode>, own: &[Membership]) -> Vec<String> {
    let mut roots: Vec<String> = cgroup.map(|path| format!(":{path}")).into_iter().collect();
    if kind == RuntimeKind::Crun && mode == Some(CgroupMode::V2) {
        for membership in own {
            let path = membership.path.display();
            roots.extend(membership.controllers.iter().map(|name| format!("{name}:{path}")));
        }
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_of_each_runtime_and_version() {
        let own = Membership::parse(b"9:name=systemd:/\n2:cpu,cpuacct:/a\n0::/init\n").unwrap();
        let beside = [":/box/c1", "name=systemd:/", "cpu:/a", "cpuacct:/a"];
        let cases: [(RuntimeKind, Option<CgroupMode>, &[&str]); 5] = [
            (RuntimeKind::Runc, Some(CgroupMode::V2), &[":/box/c1"]),
            (RuntimeKind::Runc, Some(CgroupMode::Hybrid), &[":/box/c1"]),
            (RuntimeKind::Crun, Some(CgroupMode::V2), &beside),
            (RuntimeKind::Crun, Some(CgroupMode::V1), &[":/box/c1"]),
            (RuntimeKind::Crun, None, &[":/box/c1"]),
        ];
        for (kind, mode, expected) in cases {
            assert_eq!(roots(kind, Some("/box/c1"), mode, &own), expected, "{kind:?} {mode:?}");
        }
        assert!(roots(RuntimeKind::Runc, None, Some(CgroupMode::V2), &own).is_empty());
    }
}
