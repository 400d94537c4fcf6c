//! The plan of an import: a pure function of the archive, the request and what is known of this host.
//!
//! Invariants:
//!
//! - making a plan touches nothing and asks nothing; what it has to know of the host's paths it tells beforehand
//!   ([`questions`]);
//! - a plan exists only when nothing was refused, and every refusal is found in one pass;
//! - the configuration in the plan differs from the archived one at the recorded pointers and nowhere else.

mod engine;
mod files;
mod lxc;
mod mounts;
mod network;
mod podman;
mod policy;
mod render;
mod request;
mod resources;
mod restore;
mod step;
mod warning;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

pub use lxc::LxcInputs;
pub use podman::{PodmanCommand, PodmanView, plan_podman, podman_questions};
pub(super) use resources::{has_controller, is_parent};
pub(super) use restore::switches;
pub use step::{FileContent, Owner, RestoreCommand, Step};
pub use warning::Warning;

use super::host::{CgroupSummary, CgroupView, HostView, PathKind};
use super::layout::{Layout, Name};
use super::refusal::{Refusal, Refusals};
use super::spec::{Change, Editor, Spec, SpecError};
use crate::manifest::Manifest;
use crate::request::{ImportRequest, RuntimeKind};

/// Version of the plan's JSON form. It goes up when a field changes its meaning or goes away.
pub const PLAN_VERSION: u32 = 1;

/// What the archive and the importer say.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The manifest.
    pub manifest: &'a Manifest,
    /// The archived configuration.
    pub spec: &'a Spec,
    /// The cgroup record, in short.
    pub cgroups: &'a CgroupSummary,
    /// The request. Its paths are absolute: who knows the working directory has made them so.
    pub request: &'a ImportRequest,
    /// What only a container of LXC has; its configuration is that then.
    pub lxc: Option<LxcInputs<'a>>,
}

/// An import, planned.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Plan {
    /// Version of this form, [`PLAN_VERSION`].
    pub version: u32,
    /// The container's name on this host.
    pub name: Name,
    /// The container's identifier on the host it comes from.
    pub source_id: String,
    /// The runtime that made the archive, and its version.
    pub made_by: String,
    /// When the checkpoint was taken, RFC 3339.
    pub checkpointed_at: String,
    /// The bundle.
    pub bundle: PathBuf,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What is changed in config.json, in order.
    pub changes: Vec<Change>,
    /// What the importer should know.
    pub warnings: Vec<Warning>,
    /// The configuration as it is written into the bundle; for a container of LXC what describes it in the archive.
    pub config: Value,
    /// The configuration of a container of LXC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lxc: Option<LxcPlan>,
}

/// The configuration of a container of LXC as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LxcPlan {
    /// The configuration.
    pub config: String,
    /// The file that its `lxc.mount.fstab` names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fstab: Option<String>,
    /// The lines that are changed, those of the configuration first.
    pub changes: Vec<super::lxc::Change>,
}

impl Plan {
    /// The restore; `None` where the request stops before it.
    #[must_use]
    pub fn restore(&self) -> Option<&RestoreCommand> {
        self.steps.iter().find_map(|step| match step {
            Step::Restore(command) => Some(&**command),
            _ => None,
        })
    }

    /// Whether what it restores is plain processes, which no runtime makes cgroups for.
    #[must_use]
    pub fn is_of_processes(&self) -> bool {
        // They have no configuration.
        self.config.is_null() && self.lxc.is_none()
    }
}

/// The JSON Schema of [`Plan::to_json`], the text of `schema/import-plan-v1.schema.json`.
#[must_use]
pub fn plan_schema() -> String {
    format!("{:#}\n", schemars::schema_for!(Plan).to_value())
}

/// Plans an import.
///
/// # Errors
/// Everything that stands in its way, at once.
pub fn plan(inputs: Inputs<'_>, host: &HostView) -> Result<Plan, Refusals> {
    Planner::new(inputs, &host.cgroup, Some(host)).make()
}

/// The paths of this host that the plan of these inputs asks about.
#[must_use]
pub fn questions(inputs: Inputs<'_>, cgroup: &CgroupView) -> BTreeSet<PathBuf> {
    let planner = Planner::new(inputs, cgroup, None);
    let asked = planner.asked.clone();
    drop(planner.make());
    asked.take()
}

/// A plan in the making.
struct Planner<'a> {
    manifest: &'a Manifest,
    archived: &'a Value,
    cgroups: &'a CgroupSummary,
    request: &'a ImportRequest,
    cgroup: &'a CgroupView,
    /// `None` while only the questions are wanted.
    host: Option<&'a HostView>,
    name: Name,
    runtime: Option<RuntimeKind>,
    layout: Layout,
    editor: Editor,
    steps: Vec<Step>,
    warnings: Vec<Warning>,
    refusals: Vec<Refusal>,
    /// The images must call the container's network namespace external.
    external_netns: bool,
    systemd_cgroup: bool,
    cgroup_path: Option<String>,
    lxc: Option<LxcInputs<'a>>,
    lxc_plan: Option<LxcPlan>,
    /// The steps after the restore that bring its network links back.
    lxc_links: Vec<Step>,
    /// The files of the container's directory, written when everything else is in place.
    lxc_steps: Vec<Step>,
    /// What the steps before put there.
    lxc_made: Vec<PathBuf>,
    asked: std::rc::Rc<RefCell<BTreeSet<PathBuf>>>,
}

impl<'a> Planner<'a> {
    fn new(inputs: Inputs<'a>, cgroup: &'a CgroupView, host: Option<&'a HostView>) -> Self {
        let mut refusals = Vec::new();
        let wanted = inputs.request.name.as_deref().unwrap_or(&inputs.manifest.container.id);
        let name = Name::new(wanted).unwrap_or_else(|| {
            refusals.push(Refusal::Name {
                name: wanted.to_owned(),
            });
            Name::placeholder()
        });
        let layout = match (&inputs.lxc, &inputs.request.bundle) {
            (Some(lxc), _) => Layout::at(lxc.here.lxcpath.join(name.as_str())),
            (None, Some(bundle)) => Layout::at(bundle.clone()),
            (None, None) => Layout::of(&name),
        };
        Self {
            manifest: inputs.manifest,
            archived: inputs.spec.value(),
            cgroups: inputs.cgroups,
            request: inputs.request,
            cgroup,
            host,
            name,
            runtime: None,
            layout,
            editor: Editor::new(inputs.spec.value().clone()),
            steps: Vec::new(),
            warnings: Vec::new(),
            refusals,
            external_netns: false,
            systemd_cgroup: false,
            cgroup_path: None,
            lxc: inputs.lxc,
            lxc_plan: None,
            lxc_links: Vec::new(),
            lxc_steps: Vec::new(),
            lxc_made: Vec::new(),
            asked: std::rc::Rc::default(),
        }
    }

    fn make(mut self) -> Result<Plan, Refusals> {
        if let Some(lxc) = self.lxc {
            return self.make_lxc(lxc);
        }
        self.judge_request();
        self.judge_archive();
        let user_namespace = self
            .read(super::spec::namespaces::has_user_namespace)
            .unwrap_or_default();
        self.plan_bundle(user_namespace);
        self.plan_network();
        self.plan_cgroup();
        self.plan_rootfs();
        self.plan_mounts();
        self.plan_images(user_namespace);
        self.plan_names();
        self.steps.push(Step::WriteConfig {
            path: self.layout.config(),
        });
        self.plan_restore();
        self.finish()
    }

    fn make_lxc(mut self, inputs: LxcInputs<'a>) -> Result<Plan, Refusals> {
        self.judge_values();
        self.judge_whole();
        let user_namespace = self
            .read(super::spec::namespaces::has_user_namespace)
            .unwrap_or_default();
        self.plan_bundle(user_namespace);
        self.plan_rootfs();
        self.plan_lxc(inputs);
        self.plan_images(user_namespace);
        self.steps.append(&mut self.lxc_steps);
        self.plan_restore();
        self.finish()
    }

    fn finish(self) -> Result<Plan, Refusals> {
        if let Some(refusals) = Refusals::collect(self.refusals) {
            return Err(refusals);
        }
        let (config, changes) = match self.lxc_plan {
            Some(_) => (self.archived.clone(), Vec::new()),
            None => self.editor.finish(),
        };
        Ok(Plan {
            version: PLAN_VERSION,
            source_id: self.manifest.container.id.clone(),
            made_by: format!("{} {}", self.manifest.runtime.name, self.manifest.runtime.version),
            checkpointed_at: self.manifest.checkpointed_at.clone(),
            bundle: self.layout.bundle().to_owned(),
            name: self.name,
            steps: self.steps,
            changes,
            warnings: self.warnings,
            config,
            lxc: self.lxc_plan,
        })
    }

    /// Reads something of the archived configuration; a wrong shape becomes a refusal.
    fn read<T>(&mut self, reader: impl FnOnce(&'a Value) -> Result<T, SpecError>) -> Option<T> {
        match reader(self.archived) {
            Ok(value) => Some(value),
            Err(error) => {
                self.refuse_once(error);
                None
            }
        }
    }

    /// Several rewrites may read the same wrong value; it is refused once.
    fn refuse_once(&mut self, error: SpecError) {
        let text = error.to_string();
        let known = |refusal: &Refusal| matches!(refusal, Refusal::Spec(other) if other.to_string() == text);
        if !self.refusals.iter().any(known) {
            self.refusals.push(error.into());
        }
    }

    fn refuse(&mut self, refusal: impl Into<Refusal>) {
        self.refusals.push(refusal.into());
    }

    fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }

    /// What is at a path of this host; while the questions are gathered, nothing is known of it.
    fn look(&self, path: &Path) -> Option<PathKind> {
        self.asked.borrow_mut().insert(path.to_owned());
        self.host.map(|host| host.kind(path))
    }

    /// The names that the container had.
    fn old_names(&self) -> [&'a str; 2] {
        [&self.manifest.container.id, &self.manifest.container.name]
    }

    /// Whether it gets another name than the runtime knew it by.
    fn is_renamed(&self) -> bool {
        self.name.as_str() != self.manifest.container.id
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod tests;
