//! The cgroup: its path under the new name and parent, and the limits.

use super::{Planner, Step};
use crate::rewrite::host::{CgroupView, Limit, PathKind};
use crate::rewrite::refusal::Refusal;
use crate::rewrite::spec::names::{self, CgroupsPath};

impl Planner<'_> {
    pub(super) fn plan_cgroup(&mut self) {
        let Some(archived) = self.read(names::cgroups_path) else {
            return;
        };
        let parent = self.cgroup_parent(archived.as_ref());
        let old = self.old_names();
        let renamed = match archived {
            Some(path) if self.is_renamed() => Some(path.renamed(&old, self.name.as_str())),
            other => other,
        };
        let path = match (renamed, parent) {
            (Some(path), Some(parent)) => Some(path.within(&parent)),
            (None, Some(parent)) => Some(names::plain(&parent, self.name.as_str())),
            (path, None) => path,
        };
        let Some(path) = path else { return };
        names::set_cgroups_path(&mut self.editor, &path);
        match &path {
            CgroupsPath::Systemd { .. } => self.need_systemd(&path),
            CgroupsPath::Cgroupfs(_) => self.make_cgroup(&path),
        }
    }

    /// The parent that was asked for, if it can be one for a path of this form.
    fn cgroup_parent(&mut self, archived: Option<&CgroupsPath>) -> Option<String> {
        let parent = self.request.cgroup_parent.clone()?;
        let systemd = matches!(archived, Some(CgroupsPath::Systemd { .. })) && !parent.starts_with('/');
        let slice = !systemd || (parent.ends_with(".slice") && !parent.contains('/'));
        if is_parent(&parent) && slice {
            Some(parent)
        } else {
            self.refuse(Refusal::CgroupParent { parent });
            None
        }
    }

    fn need_systemd(&mut self, path: &CgroupsPath) {
        self.systemd_cgroup = true;
        self.cgroup_path = path.cgroup();
        if !self.cgroup.systemd {
            self.refuse(Refusal::NoSystemd { path: path.text() });
        }
    }

    /// A relative path is below the runtime's own cgroup, which only the runtime knows: it makes and removes that.
    fn make_cgroup(&mut self, path: &CgroupsPath) {
        let Some(absolute) = path.absolute() else { return };
        let below = absolute.trim_start_matches('/');
        let directories: Vec<_> = self
            .cgroup
            .mountpoints
            .iter()
            .map(|mountpoint| mountpoint.join(below))
            .collect();
        let mut taken: Vec<_> = directories.clone();
        taken.retain(|directory| self.look(directory).is_some_and(PathKind::is_directory));
        // A container of that name has its cgroup, and is refused already.
        let named = self.host.is_some_and(|host| host.name_taken);
        if let (Some(directory), false) = (taken.first(), named) {
            self.refuse(Refusal::CgroupTaken {
                path: absolute.to_owned(),
                directory: directory.clone(),
            });
        }
        self.cgroup_path = Some(absolute.to_owned());
        self.steps.push(Step::MakeCgroup {
            path: absolute.to_owned(),
            directories,
            own: false,
        });
    }

    /// Every recorded limit is applied, or the importer said that none is; none is dropped silently.
    pub(super) fn plan_limits(&mut self) {
        if self.request.ignore_cgroup_limits || self.cgroups.limits.is_empty() {
            return;
        }
        let lacking = |limit: &&Limit| !has_controller(self.cgroup, &limit.controller);
        let refused = self.cgroups.limits.iter().filter(lacking).cloned();
        self.refusals.extend(refused.map(|limit| Refusal::Controller { limit }));
        self.steps.push(Step::ApplyLimits {
            limits: self.cgroups.limits.clone(),
        });
    }
}

/// Whether this can be the path of a cgroup above others.
pub(in crate::rewrite) fn is_parent(path: &str) -> bool {
    let bounded = !path.is_empty() && path.len() <= crate::rewrite::spec::MAX_PATH_BYTES;
    let upwards = path.split('/').any(|part| part == "..");
    let odd = path.contains(':') || path.chars().any(char::is_control);
    bounded && !upwards && !odd
}

/// Whether a controller of either version can be used here, under the name that this host's version has for it.
pub(in crate::rewrite) fn has_controller(host: &CgroupView, controller: &str) -> bool {
    let other = match controller {
        "blkio" => "io",
        "io" => "blkio",
        "cpuacct" => "cpu",
        // Part of every version 2 cgroup (and of every version 1 one that CRIU dumps), not a controller to enable.
        "cgroup" | "freezer" | "devices" => return true,
        same => same,
    };
    host.controllers.contains(controller) || host.controllers.contains(other)
}
