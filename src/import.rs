//! One import: verify the archive, plan what changes for this host, prepare it, and restore.

mod adopt;
mod contents;
mod describe;
mod lazy;
mod lxc;
mod podman;
mod processes;
mod restore;
mod small;
mod thin;

use std::path::{Path, PathBuf};

use crate::cgroup::CgroupRecord;
use crate::criu::Hook;
use crate::error::Error;
use crate::event::{Event, Events, Phase};
use crate::lxc::Source;
use crate::manifest::Manifest;
use crate::process::Listing;
use crate::request::{ImportRequest, RuntimeKind};
use crate::rewrite::plan::RestoreCommand;
use crate::rewrite::podman::PodmanConfig;
use crate::rewrite::{self, Inputs, LxcInputs, Plan, Spec};
use crate::runtime;

use contents::Archive;
pub use lazy::{GuardOrder, LazyState, LazyStatus, guard, lazy_imports};
use lazy::{LazyArchive, Memory};
pub use processes::wait_for_job;
use restore::Finishing;
use small::Small;

/// What an import came to.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The container runs.
    Restored(Restored),
    /// The bundle and CRIU's images are in place, nothing was restored.
    Ready {
        /// The container's name.
        container: String,
        /// The bundle.
        bundle: PathBuf,
        /// CRIU's images.
        images: PathBuf,
    },
    /// Only planned.
    Planned(Box<Plan>),
}

/// A container that an import restored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// Its name.
    pub container: String,
    /// Its runtime.
    pub runtime: String,
    /// Its first process, as this host sees it.
    pub pid: i32,
    /// Its bundle.
    pub bundle: PathBuf,
    /// It is a job of the caller's terminal, which is its until it ends.
    #[serde(skip)]
    pub job: bool,
    /// Pages of memory that followed while it ran; `None` where all of it was there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub followed: Option<u64>,
}

/// Imports what the request names. `interrupted` is asked now and then: a yes undoes everything.
///
/// # Errors
/// Whatever fails, nothing is left on this host but what [`Error::Restore`] names, and the same import can be run again.
pub fn import(request: &ImportRequest, events: &dyn Events, interrupted: Hook<'_>) -> Result<Outcome, Error> {
    if !request.dry_run && !request.no_restore {
        runtime::need_root()?;
    }
    if request.runtime == Some(RuntimeKind::Podman) {
        podman::judge(request)?;
        let archive = Archive::receive(request, events, interrupted)?;
        return podman::run(archive, request, events, interrupted);
    }
    if request.lazy {
        return run(LazyArchive::open(request, interrupted)?, request, events, interrupted);
    }
    let archive = Archive::receive(request, events, interrupted)?;
    if podman::is_for(request, archive.manifest()) {
        return podman::run(archive, request, events, interrupted);
    }
    run(archive, request, events, interrupted)
}

/// An archive that is open, as far as the steps of an import are the same for all.
trait Opened: rewrite::Contents {
    /// What its small entries say.
    fn small(&self) -> &Small;
    fn manifest(&self) -> &Manifest {
        &self.small().manifest
    }
    fn spec(&self) -> &Spec {
        &self.small().spec
    }
    fn cgroups(&self) -> Option<&CgroupRecord> {
        self.small().cgroups.as_ref()
    }
    fn listing(&self) -> Option<&Listing> {
        self.small().listing.as_ref()
    }
    fn lxc(&self) -> Option<&Source> {
        self.small().lxc.as_ref()
    }
    /// The memory that is yet to follow when the images are placed; `None` where it is among them.
    fn memory(&mut self) -> Option<Memory>;
    /// Where the images are that the plan has in `directory`.
    fn images(&self, directory: &Path) -> PathBuf {
        directory.to_owned()
    }
    /// Nothing more is read from it.
    fn clear(&mut self) {}
}

impl Opened for Archive<'_> {
    fn small(&self) -> &Small {
        &self.small
    }

    fn memory(&mut self) -> Option<Memory> {
        None
    }

    fn images(&self, directory: &Path) -> PathBuf {
        Archive::images(self, directory)
    }

    fn clear(&mut self) {
        Archive::clear(self);
    }
}

fn run(
    mut archive: impl Opened,
    request: &ImportRequest,
    events: &dyn Events,
    interrupted: Hook<'_>,
) -> Result<Outcome, Error> {
    clear_abandoned(request, &archive, events)?;
    let plan = rehearse(request, Candidate::of(&archive))?;
    if request.dry_run {
        return Ok(Outcome::Planned(Box::new(plan)));
    }
    for warning in &plan.warnings {
        let message = warning.to_string();
        events.emit(Event::Warning { message });
    }
    events.emit(Event::Phase {
        phase: Phase::Prepare,
        total: None,
    });
    let applied = rewrite::apply(&plan, &mut archive, events).map_err(rewrite::Error::from)?;
    archive.clear();
    let Some(command) = plan.restore() else {
        applied.commit();
        let images = rewrite::Layout::at(plan.bundle.clone()).images();
        return Ok(Outcome::Ready {
            container: plan.name.to_string(),
            bundle: plan.bundle,
            images,
        });
    };
    let restored = restore_prepared(&plan, command, applied, &mut archive, events, interrupted)?;
    Ok(Outcome::Restored(restored))
}

/// Restores what the plan has prepared, and removes what only the restore needed.
fn restore_prepared(
    plan: &Plan,
    command: &RestoreCommand,
    applied: rewrite::Applied<'_>,
    archive: &mut impl Opened,
    events: &dyn Events,
    interrupted: Hook<'_>,
) -> Result<Restored, Error> {
    adopt::give_root_its_mode(plan, archive.manifest(), &archive.images(&command.images))?;
    let memory = archive.memory();
    let finishing = Finishing {
        cgroups: archive.cgroups(),
        events,
    };
    let (images, eager) = (archive.images(&command.images), memory.is_none());
    let command = RestoreCommand {
        images: images.clone(),
        ..command.clone()
    };
    let restored = restore::restore(plan, &command, applied, memory, &finishing, interrupted)?;
    if command.processes.is_some() {
        processes::clear(plan, events);
    } else if eager {
        discard(&images, events);
    }
    Ok(restored)
}

/// The container has its memory: that of its images is of no more use.
fn discard(images: &Path, events: &dyn Events) {
    if let Err(error) = contents::discard_memory(images) {
        let message = format!("memory images stay behind in {}: {error}", images.display());
        events.emit(Event::Warning { message });
    }
}

/// The small entries of an archive that decide about its import.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The manifest.
    pub manifest: &'a Manifest,
    /// The configuration.
    pub spec: &'a Spec,
    /// The cgroup record.
    pub cgroups: Option<&'a CgroupRecord>,
    /// The processes and their files, where the archive is of processes.
    pub listing: Option<&'a Listing>,
    /// The configuration of a container of LXC.
    pub lxc: Option<&'a Source>,
    /// podman's configuration of the container, where the archive has one.
    pub podman: Option<&'a PodmanConfig>,
}

impl<'a> Candidate<'a> {
    fn of(archive: &'a impl Opened) -> Self {
        Self {
            manifest: archive.manifest(),
            spec: archive.spec(),
            cgroups: archive.cgroups(),
            listing: archive.listing(),
            lxc: archive.lxc(),
            podman: None,
        }
    }
}

/// The plan of an import, made from the small entries of its archive alone: nothing is changed, and whether the archive is
/// whole is another question.
///
/// # Errors
/// Where the import would be refused, with every reason; where this host cannot be looked at.
pub fn rehearse(request: &ImportRequest, candidate: Candidate<'_>) -> Result<Plan, Error> {
    let Candidate {
        manifest,
        spec,
        cgroups: record,
        listing,
        lxc: source,
        podman: _,
    } = candidate;
    if request.runtime == Some(RuntimeKind::Podman) || podman::is_for(request, manifest) {
        return podman::rehearse(request, candidate);
    }
    if manifest.runtime.name == rewrite::processes::RUNTIME {
        return processes::rehearse(request, manifest, listing, record);
    }
    let here = source.map(|source| lxc::host(request, source)).transpose()?;
    let cgroups = describe::summary(record);
    let inputs = Inputs {
        manifest,
        spec,
        cgroups: &cgroups,
        request,
        lxc: source
            .zip(here.as_ref())
            .map(|(source, here)| LxcInputs { source, here }),
    };
    let host = describe::host(inputs)?;
    let mut plan = rewrite::plan(inputs, &host).map_err(rewrite::Error::from)?;
    // The configuration of a container of LXC is its administrator's: what was set beside it is set again, not written there.
    if let Some(record) = record.filter(|_| !request.ignore_cgroup_limits && source.is_none()) {
        describe::add_limits(&mut plan, record)?;
    }
    Ok(plan)
}

/// An import into this bundle that was killed left what nobody needs and would be refused for.
fn clear_abandoned(request: &ImportRequest, archive: &impl Opened, events: &dyn Events) -> Result<(), Error> {
    if request.dry_run {
        return Ok(());
    }
    let manifest = archive.manifest();
    let name = request.name.as_deref().unwrap_or(&manifest.container.id);
    let bundle = match (archive.lxc(), &request.bundle) {
        (Some(source), _) => lxc::host(request, source)?.lxcpath.join(name),
        (None, Some(bundle)) => bundle.clone(),
        (None, None) => match rewrite::Name::new(name) {
            Some(name) => rewrite::Layout::of(&name).bundle().to_owned(),
            None => return Ok(()),
        },
    };
    for failure in lazy::clear_abandoned(request, manifest, name, &bundle) {
        let message = format!("left behind by an import that was killed: {failure}");
        events.emit(Event::Warning { message });
    }
    Ok(())
}
