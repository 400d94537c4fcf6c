//! What the plan has to know of this host and of the archive's cgroups.

use std::path::Path;

use crate::cgroup::{self, CgroupRecord, GroupPath, TargetCgroups};
use crate::error::Error;
use crate::manifest::{CgroupMode, Manifest};
use crate::mounts::MountTable;
use crate::request::{ImportRequest, RuntimeKind};
use crate::rewrite::{CgroupSummary, CgroupView, Change, HostView, Inputs, Layout, Limit, Name, Plan, questions};
use crate::runtime;
use crate::sys::pidns;
use crate::tree::{self, Layers, Namespace};

/// Where systemd says that it runs, as `sd_booted` looks for it.
const SYSTEMD: &str = "/run/systemd/system";

/// Answers what the plan of these inputs asks.
pub(super) fn host(inputs: Inputs<'_>) -> Result<HostView, Error> {
    let cgroup = cgroup_view()?;
    let (version, name_taken) = runtime_view(inputs.manifest, inputs.request)?;
    Ok(HostView {
        paths: HostView::look(&questions(inputs, &cgroup)),
        runtime: version,
        name_taken,
        bundle_user: bundle_user(inputs),
        cgroup,
        base: base(inputs),
    })
}

/// A process that lives in the bundle which is to be replaced.
fn bundle_user(inputs: Inputs<'_>) -> Option<i32> {
    let name = inputs.request.name.as_deref().unwrap_or(&inputs.manifest.container.id);
    let bundle = Name::new(name).filter(|_| inputs.request.replace)?;
    pidns::rooted_in(&Layout::of(&bundle).rootfs())
}

fn runtime_view(manifest: &Manifest, request: &ImportRequest) -> Result<(Option<String>, bool), Error> {
    let Some(kind) = request
        .runtime
        .or_else(|| RuntimeKind::from_name(&manifest.runtime.name))
    else {
        return Ok((None, false));
    };
    let runtime = match runtime::open(kind, request.state_root.as_deref()) {
        Ok(runtime) => runtime,
        Err(runtime::Error::NotInstalled { .. }) => return Ok((None, false)),
        Err(error) => return Err(error.into()),
    };
    let name = request.name.as_deref().unwrap_or(&manifest.container.id);
    // A name that no runtime accepts is refused by the plan.
    let taken = matches!(runtime.inspect(name), Ok(Some(_)));
    Ok((Some(runtime.version()?), taken))
}

pub(super) fn cgroup_view() -> Result<CgroupView, Error> {
    let mounts = MountTable::of_self()?;
    let mode = cgroup::mode(&mounts).unwrap_or(CgroupMode::V1);
    let hierarchies = cgroup::hierarchies(&mounts)?;
    // Beside version 1 hierarchies runtimes use the version 2 one for its processes alone, but they do make a cgroup there.
    Ok(CgroupView {
        mode,
        systemd: Path::new(SYSTEMD).is_dir(),
        controllers: hierarchies
            .iter()
            .flat_map(|hierarchy| hierarchy.controllers.iter().cloned())
            .collect(),
        mountpoints: hierarchies.into_iter().map(|hierarchy| hierarchy.mount_point).collect(),
    })
}

/// The fingerprint of the files below a diff's changes, where the request gives them.
fn base(inputs: Inputs<'_>) -> Option<String> {
    inputs.manifest.filesystem.base.as_ref()?;
    let root = tree::open_root(inputs.request.root.as_deref()?).ok()?;
    tree::identity(&Layers::new(vec![root], Namespace::Trusted)).ok()
}

/// The limits that somebody has set.
pub(super) fn summary(record: Option<&CgroupRecord>) -> CgroupSummary {
    let set = record.map(CgroupRecord::set_limits).unwrap_or_default();
    let limits = set.into_iter().map(|limit| Limit {
        controller: limit.controller.to_owned(),
        cgroup: limit.group.as_str().to_owned(),
        file: limit.file.to_owned(),
        value: limit.value.into_owned(),
    });
    CgroupSummary {
        limits: limits.collect(),
    }
}

/// Brings the plan's configuration up to the recorded limits: those that were changed after the container was made are
/// not in it, and its runtime would set the old ones with the next update.
pub(super) fn add_limits(plan: &mut Plan, record: &CgroupRecord) -> Result<(), Error> {
    let path = plan
        .config
        .pointer("/linux/cgroupsPath")
        .and_then(serde_json::Value::as_str);
    let path = path.map_or("", |path| path.trim_matches('/'));
    let target = TargetCgroups::at(
        &MountTable::of_self()?,
        &GroupPath::new(path).unwrap_or_default(),
        record,
    )?;
    let changes = cgroup::resources_for_spec(record, &target, &mut plan.config)?;
    plan.changes.extend(changes.changes.into_iter().map(|change| Change {
        pointer: format!("/linux/resources/{}", change.field),
        before: change.before,
        after: change.after,
    }));
    Ok(())
}
