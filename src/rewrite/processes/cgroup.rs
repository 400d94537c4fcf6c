//! The cgroup of a tree of processes: the one it had, under the same path, or a new one that the importer names the parent of.
//!
//! A cgroup that is missing is made, and CRIU puts the tasks into it. Limits are applied to a cgroup that the import makes, and never to
//! one that is there: that is somebody's, a unit of systemd's as a rule, and others may be in it.

use std::path::{Path, PathBuf};

use super::{ProcessInputs, ProcessView, name_of};
use crate::cgroup::{CgroupRecord, HostHierarchy};
use crate::rewrite::host::{CgroupView, Limit};
use crate::rewrite::plan::{Step, Warning, has_controller, is_parent};
use crate::rewrite::refusal::Refusal;

/// The mode in which CRIU leaves tasks where it is itself.
const IGNORE: &str = "ignore";

/// A cgroup that is the tree's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCgroup {
    /// Its path.
    pub path: String,
    /// Its directory in each hierarchy.
    pub directories: Vec<PathBuf>,
    /// The importer named its parent.
    pub asked: bool,
    /// The recorded limits.
    pub limits: Vec<Limit>,
    /// Those of them whose controller this host has not.
    pub lacking: Vec<Limit>,
    /// The first of its directories that is there, as far as somebody has looked.
    pub there: Option<PathBuf>,
}

impl OwnCgroup {
    /// Where the tree's cgroup is to be; `None` where it stays in the importer's, or had none of its own.
    #[must_use]
    pub fn of(
        inputs: ProcessInputs<'_>,
        record: Option<&CgroupRecord>,
        limits: Vec<Limit>,
        (here, hierarchies): (&CgroupView, &[HostHierarchy]),
    ) -> Option<Self> {
        let request = inputs.request;
        let (path, directories, asked) = match &request.cgroup_parent {
            Some(parent) => {
                let path = format!("/{}/{}", parent.trim_matches('/'), name_of(inputs).0);
                let below = path.trim_start_matches('/').to_owned();
                let directories = here.mountpoints.iter().map(|mountpoint| mountpoint.join(&below));
                (path, directories.collect(), true)
            }
            None if request.restore.manage_cgroups_mode.as_deref() == Some(IGNORE) => return None,
            None => {
                let directories = recorded(record?, hierarchies);
                let path = record?.hierarchies.first().map(|hierarchy| hierarchy.path.as_str())?;
                (format!("/{path}"), directories, false)
            }
        };
        let limits = if request.ignore_cgroup_limits {
            Vec::new()
        } else {
            limits
        };
        Some(Self {
            there: None,
            lacking: limits
                .iter()
                .filter(|limit| !has_controller(here, &limit.controller))
                .cloned()
                .collect(),
            path,
            directories,
            asked,
            limits,
        })
    }
}

/// The directories of the recorded cgroups in the hierarchies of this host that have the same controllers.
fn recorded(record: &CgroupRecord, hierarchies: &[HostHierarchy]) -> Vec<PathBuf> {
    let here = |controllers: &[String], version| {
        hierarchies.iter().find(|host| {
            host.version == version && (controllers.is_empty() || controllers.iter().any(|name| host.has(name)))
        })
    };
    let directory = |hierarchy: &crate::cgroup::Hierarchy| {
        let host = here(&hierarchy.controllers, hierarchy.version)?;
        Some(host.mount_point.join(Path::new(hierarchy.path.as_str())))
    };
    record.hierarchies.iter().filter_map(directory).collect()
}

/// What stands in the way.
pub(super) fn refusals(inputs: ProcessInputs<'_>, view: &ProcessView<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if let Some(parent) = inputs
        .request
        .cgroup_parent
        .as_ref()
        .filter(|parent| !is_parent(parent))
    {
        let parent = parent.clone();
        refusals.push(Refusal::CgroupParent { parent });
        return refusals;
    }
    let Some(cgroup) = &view.cgroup else { return refusals };
    if let (Some(directory), true) = (&cgroup.there, cgroup.asked) {
        refusals.push(Refusal::CgroupTaken {
            path: cgroup.path.clone(),
            directory: directory.clone(),
        });
    }
    if is_made(cgroup) {
        refusals.extend(
            cgroup
                .lacking
                .iter()
                .cloned()
                .map(|limit| Refusal::Controller { limit }),
        );
    }
    refusals
}

fn is_made(cgroup: &OwnCgroup) -> bool {
    cgroup.there.is_none()
}

/// Makes the cgroup; it goes again where the restore fails.
pub(super) fn make(view: &ProcessView<'_>) -> Option<Step> {
    let cgroup = view.cgroup.as_ref().filter(|cgroup| is_made(cgroup))?;
    Some(Step::MakeCgroup {
        path: cgroup.path.clone(),
        directories: cgroup.directories.clone(),
        // CRIU would set limits of what it makes, also where the importer wants none.
        own: true,
    })
}

/// Sets the recorded limits.
pub(super) fn limit(inputs: ProcessInputs<'_>, view: &ProcessView<'_>) -> Option<Step> {
    let cgroup = view.cgroup.as_ref().filter(|cgroup| is_made(cgroup))?;
    let some = !cgroup.limits.is_empty() && !inputs.request.no_restore;
    some.then(|| Step::ApplyLimits {
        limits: cgroup.limits.clone(),
    })
}

/// What is not set.
pub(super) fn warning(view: &ProcessView<'_>) -> Option<Warning> {
    let cgroup = view
        .cgroup
        .as_ref()
        .filter(|cgroup| !cgroup.asked && !is_made(cgroup))?;
    (!cgroup.limits.is_empty()).then(|| Warning::CgroupStays {
        path: cgroup.path.clone(),
    })
}
