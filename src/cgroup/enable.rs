//! Controllers of version 2: a cgroup has the files of one only where every cgroup above it passes it on.

use std::collections::BTreeSet;

use super::directory::Directory;
use super::plan::Place;
use super::record::{CgroupRecord, GroupPath};
use super::target::TargetCgroups;

/// Has the cgroups above a target's pass on the controllers that the recorded limits are of, as runtimes do for theirs. What a
/// cgroup does not pass on shows when the limits are applied, so nothing is told here.
pub fn enable_controllers(record: &CgroupRecord, target: &TargetCgroups) {
    let Some(unified) = target.unified() else { return };
    let limits = record.set_limits();
    let wanted: BTreeSet<&str> = limits.iter().map(|limit| unified_name(limit.controller)).collect();
    let mut group = GroupPath::default();
    for name in unified.path.names() {
        let place = Place {
            directory: unified.host.mount_point.clone(),
            group: group.clone(),
        };
        for controller in &wanted {
            let written = Directory::open(&place)
                .and_then(|directory| directory.write("cgroup.subtree_control", &format!("+{controller}")));
            tracing::debug!(?written, controller, group = group.as_str(), "passing a controller on");
        }
        let Ok(below) = group.join(name) else { return };
        group = below;
    }
}

fn unified_name(controller: &str) -> &str {
    match controller {
        "blkio" => "io",
        "cpuacct" => "cpu",
        same => same,
    }
}
