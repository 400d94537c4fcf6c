//! Import into podman: podman makes the container, ckpt puts memory and files in place.
//!
//! podman is given an archive of only what it has to know: its configuration of the container, the OCI configuration and the
//! addresses. It makes container, volumes, network and mounts, and starts the OCI runtime by its monitor, in whose place a
//! stand-in asks ckpt first. Only then are the files unpacked, straight out of the verified archive to where podman has
//! mounted them, and CRIU restores from ckpt's images. So nothing is unpacked twice, and podman's own view is what it would be.

mod fill;
mod host;
mod order;
mod ports;
mod unfinished;
mod view;

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::restore::Finishing;
use super::{Candidate, Opened, Outcome, Restored, describe};
use crate::archive::limits::MAX_JSON;
use crate::criu::{Hook, OptionFile, Running, Session, WorkDir};
use crate::error::Error;
use crate::event::{Event, Events, Phase};
use crate::manifest::{EngineName, Manifest};
use crate::request::{ImagesIn, ImportRequest, Netns, RuntimeKind};
use crate::rewrite::plan::{PodmanCommand, plan_podman};
use crate::rewrite::podman::PodmanConfig;
use crate::rewrite::{self, Inputs, Name, Plan};
use crate::runtime::{self, ContainerLock, Podman, PodmanRestore, Runtime as _};
use host::Seen;
use unfinished::Note;

/// The name of CRIU's log of a restore.
const RESTORE_LOG: &str = "restore.log";

/// Refuses what podman has no place for.
pub(super) fn judge(request: &ImportRequest) -> Result<(), Error> {
    let restore = &request.restore;
    let given = [
        (request.bundle.is_some(), "--bundle"),
        (request.replace, "--replace"),
        (request.root.is_some(), "--root"),
        (request.netns != Netns::Keep, "--netns"),
        (request.hostname.is_some(), "--hostname"),
        (request.console_socket.is_some(), "--console-socket"),
        (request.pid_file.is_some(), "--pid-file"),
        (request.cgroup_parent.is_some(), "--cgroup-parent"),
        (request.no_restore, "--no-restore"),
        (request.lazy, "--lazy"),
        (request.images_in == ImagesIn::Memory, "--images-in memory"),
        (restore.shell_job, "--shell-job"),
        (restore.no_pivot, "--no-pivot"),
        (restore.status_fd.is_some(), "--status-fd"),
    ];
    match given.into_iter().find(|(given, _)| *given) {
        Some((_, flag)) => Err(runtime::Error::Unsupported {
            runtime: "podman",
            option: flag.to_owned(),
        }
        .into()),
        None => Ok(()),
    }
}

/// Whether an archive goes into podman though nobody said so: it comes from there, podman is here, and nothing is asked for
/// that only a plain runtime has.
pub(super) fn is_for(request: &ImportRequest, manifest: &Manifest) -> bool {
    let of_podman = manifest
        .engine
        .as_ref()
        .is_some_and(|engine| engine.name == EngineName::Podman);
    request.runtime.is_none() && of_podman && judge(request).is_ok() && Podman::open(None).is_ok()
}

/// Imports a verified archive.
pub(super) fn run(
    mut archive: impl Opened,
    request: &ImportRequest,
    events: &dyn Events,
    interrupted: Hook<'_>,
) -> Result<Outcome, Error> {
    let config = read(&mut archive, "config.dump")?;
    let config = config.as_deref().and_then(PodmanConfig::parse);
    if !request.dry_run {
        clear_unfinished(request, config.as_ref(), events)?;
    }
    let candidate = Candidate {
        podman: config.as_ref(),
        ..Candidate::of(&archive)
    };
    let (plan, seen) = plan(request, candidate)?;
    if request.dry_run {
        return Ok(Outcome::Planned(Box::new(plan)));
    }
    for warning in &plan.warnings {
        let message = warning.to_string();
        events.emit(Event::Warning { message });
    }
    let (Some(config), Some(command), Some(podman)) = (&config, plan.podman(), &seen.podman) else {
        return Err(runtime::Error::NotInstalled { program: "podman" }.into());
    };
    let importing = Importing {
        plan: &plan,
        command,
        config,
        podman,
        seen: &seen,
        events,
        interrupted,
    };
    Ok(Outcome::Restored(importing.import(&mut archive)?))
}

/// Takes away what a killed import under the same name left.
fn clear_unfinished(request: &ImportRequest, config: Option<&PodmanConfig>, events: &dyn Events) -> Result<(), Error> {
    let name = request.name.as_deref().or(config.map(PodmanConfig::name));
    // What is no name is refused by the plan, and so is an import without podman.
    let Some(name) = name.and_then(Name::new) else {
        return Ok(());
    };
    let storage = request.state_root.as_deref();
    let Ok(podman) = Podman::open(storage) else {
        return Ok(());
    };
    let _lock = ContainerLock::take(RuntimeKind::Podman, name.as_str())?;
    unfinished::clear(&podman, &name, storage, events)
}

/// The plan of an import into podman, made from the small entries of its archive.
///
/// # Errors
/// Where it would be refused, with every reason; where this host cannot be looked at.
pub(super) fn rehearse(request: &ImportRequest, candidate: Candidate<'_>) -> Result<Plan, Error> {
    judge(request)?;
    Ok(plan(request, candidate)?.0)
}

/// The plan, and what it was made of.
fn plan(request: &ImportRequest, candidate: Candidate<'_>) -> Result<(Plan, Seen), Error> {
    let cgroups = describe::summary(candidate.cgroups);
    let inputs = Inputs {
        manifest: candidate.manifest,
        spec: candidate.spec,
        cgroups: &cgroups,
        lxc: None,
        request,
    };
    let seen = host::look(inputs, candidate.podman)?;
    let mut plan = plan_podman(inputs, candidate.podman, &seen.host, &seen.view).map_err(rewrite::Error::from)?;
    // What `podman update` has changed is in the cgroup alone.
    if let Some(record) = candidate.cgroups.filter(|_| !request.ignore_cgroup_limits) {
        describe::add_limits(&mut plan, record)?;
    }
    Ok((plan, seen))
}

/// The content of a small entry.
fn read(archive: &mut impl Opened, entry: &'static str) -> Result<Option<Vec<u8>>, Error> {
    use std::io::Read as _;
    let content = archive.open(entry).map_err(|source| view::unreadable(entry, source))?;
    let Some(content) = content else { return Ok(None) };
    let mut text = Vec::new();
    let read = content.take(MAX_JSON).read_to_end(&mut text);
    read.map_err(|source| view::unreadable(entry, source.into()))?;
    Ok(Some(text))
}

/// An import under way.
struct Importing<'a> {
    plan: &'a Plan,
    command: &'a PodmanCommand,
    config: &'a PodmanConfig,
    podman: &'a Podman,
    seen: &'a Seen,
    events: &'a dyn Events,
    interrupted: Hook<'a>,
}

impl Importing<'_> {
    fn import(&self, archive: &mut impl Opened) -> Result<Restored, Error> {
        let name = self.plan.name.as_str();
        let _lock = ContainerLock::take(RuntimeKind::Podman, name)?;
        self.phase(Phase::Prepare);
        let work = self
            .command
            .work_path
            .as_deref()
            .map_or_else(WorkDir::create, WorkDir::at)?;
        let _underway = self.note().write(&self.plan.name)?;
        match self.restore(archive, &work) {
            Ok(restored) => Ok(restored),
            Err(source) => {
                let left = self.take_away();
                Err(Error::Restore {
                    container: name.to_owned(),
                    log: work.keep_log(RESTORE_LOG, name),
                    left,
                    source: Box::new(source),
                })
            }
        }
    }

    /// What it is about to make.
    fn note(&self) -> Note {
        let command = self.command;
        let renamed = command.words.iter().any(|word| word.starts_with("--name="));
        let id = (!renamed).then_some(self.config.id());
        let names = self.config.volumes().into_iter().map(|volume| volume.name);
        let made = names.filter(|name| !self.seen.view.volumes_taken.contains(name));
        Note::new(id, self.config.image().1, made.collect(), command.storage.as_deref())
    }

    fn phase(&self, phase: Phase) {
        self.events.emit(Event::Phase { phase, total: None });
    }

    fn restore(&self, archive: &mut impl Opened, work: &WorkDir) -> Result<Restored, Error> {
        let images = work.images()?;
        let placed = archive.place_images(&images);
        placed.map_err(|source| view::unreadable("checkpoint/", source))?;
        let network = read(archive, "network.status")?;
        let small = work.path().join("view.tar");
        let config = (self.config, self.seen.view.cgroup_manager.as_str());
        view::write(&small, config, &self.plan.config, network.as_deref(), &images)?;
        let kind = RuntimeKind::from_name(&self.command.runtime);
        let invocation = self.podman.restore_archive(&PodmanRestore {
            archive: &small,
            images: &images,
            work: work.path(),
            runtime: kind.unwrap_or(RuntimeKind::Runc),
            words: &self.command.words,
            options: &self.command.options,
        })?;
        let (session, command) = invocation.prepare()?;
        self.phase(Phase::Restore);
        let running = session.start(command)?;
        let restored = self.go_on(archive, &session, running);
        if restored.is_err() {
            session.settle();
        }
        restored
    }

    /// From the container that podman has made to the one that runs.
    fn go_on(&self, archive: &mut impl Opened, session: &Session, running: Running<'_>) -> Result<Restored, Error> {
        let prepared = running.wait_for_prepared(self.interrupted)?;
        let bundle = prepared.bundle().to_owned();
        let filled = order::put_in_order(&bundle);
        let filled = filled.and_then(|()| self.name_cgroups(session, &bundle));
        let filled = filled.and_then(|()| fill::fill(self.plan, &bundle, &self.seen.view, archive, self.events));
        if let Err(error) = filled {
            return prepared.refuse(error);
        }
        let commit = prepared.accept()?.wait_for_restored(self.interrupted)?;
        let pid = commit.init_pid().unwrap_or_default();
        let finishing = Finishing {
            cgroups: archive.cgroups(),
            events: self.events,
        };
        if let Err(error) = finishing.finish(self.plan, pid) {
            commit.refuse();
            return Err(error);
        }
        commit.acknowledge()?;
        self.describe(pid, bundle)
    }

    /// Tells CRIU the cgroup that podman has chosen, where the OCI runtime does not, or not right.
    fn name_cgroups(&self, session: &Session, bundle: &Path) -> Result<(), Error> {
        let config = configuration(bundle)?;
        let cgroup = text_at(&config, "/linux/cgroupsPath").filter(|path| path.starts_with('/'));
        let mut options = OptionFile::new();
        if let (Some(kind), Some(cgroup)) = (RuntimeKind::from_name(&self.command.runtime), cgroup) {
            for root in runtime::cgroup_roots(kind, Some(cgroup)) {
                options.value("cgroup-root", &root)?;
            }
        }
        Ok(session.add_options(&options)?)
    }

    fn describe(&self, pid: i32, bundle: PathBuf) -> Result<Restored, Error> {
        let now = self.podman.inspect(self.plan.name.as_str())?;
        Ok(Restored {
            job: false,
            container: self.plan.name.to_string(),
            runtime: RuntimeKind::Podman.name().to_owned(),
            pid: now.map_or(pid, |target| target.pid),
            bundle,
            followed: None,
        })
    }

    /// Takes away the container and the volumes that podman has made for this import; what was there before it was refused.
    /// Returns what could not be taken away.
    fn take_away(&self) -> Vec<String> {
        let mut left = Vec::new();
        let name = self.plan.name.as_str();
        if let Err(error) = self.podman.delete(name) {
            left.push(format!("container {name}: {error}"));
        }
        for volume in self.config.volumes() {
            if self.seen.view.volumes_taken.contains(&volume.name) || !self.podman.has_volume(&volume.name) {
                continue;
            }
            if let Err(error) = self.podman.ask(&["volume", "rm", "--force", "--", &volume.name]) {
                left.push(format!("volume {}: {error}", volume.name));
            }
        }
        left
    }
}

/// A value of the configuration that podman has written for the container.
fn text_at<'a>(config: &'a Value, pointer: &str) -> Option<&'a str> {
    config.pointer(pointer).and_then(Value::as_str)
}

/// The OCI configuration of a container that podman has made.
fn configuration(bundle: &Path) -> Result<Value, Error> {
    let path = bundle.join("config.json");
    let text = std::fs::read(&path).map_err(|error| Error::io("reading", &path, error))?;
    serde_json::from_slice(&text).map_err(|source| Error::Json {
        entry: "config.json",
        source,
    })
}
