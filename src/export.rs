//! One export: freeze the container, take everything into the archive, and only then let it go.

mod archiving;
mod contents;
mod describe;
mod failure;
mod files;
mod foreign;
mod frozen;
mod images;
mod lxc;
mod parent;
mod place;
mod processes;
mod records;

use std::path::PathBuf;
use std::time::Duration;

use crate::archive::{Digest, Sink};
use crate::criu::Hook;
use crate::error::Error;
use crate::event::{Event, Events, Phase};
use crate::request::{ExportRequest, Output, RuntimeKind, Subject};
use crate::runtime::{self, ContainerLock, Runtime, Target};
use crate::sys;

use contents::Contents;
use failure::Failing;
use frozen::Dump;
use place::Place;

/// What an export made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// The container.
    pub container: String,
    /// The archive; `None` for standard output.
    pub archive: Option<PathBuf>,
    /// Its identity: the digest of its `SHA256SUMS`.
    pub identity: Digest,
    /// Bytes of content in it.
    pub content_bytes: u64,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// How long the container was frozen; `None` for images that somebody else made.
    pub frozen: Option<Duration>,
    /// Whether the container runs on.
    pub running: bool,
}

/// Exports what the request names. `interrupted` is asked now and then: a yes refuses the dump, and the container runs on.
///
/// # Errors
/// Whatever fails, an older archive at the same place is untouched; from [`Error::Dump`] the caller learns what state the
/// container is in, which is that it runs.
pub fn export(request: &ExportRequest, events: &dyn Events, interrupted: Hook<'_>) -> Result<Report, Error> {
    match &request.subject {
        Subject::Container(container) => {
            looking(events);
            let (runtime, target) = runtime::find(container)?;
            running(request, (&*runtime, &target, &container.id), events, interrupted)
        }
        Subject::Process(process) => {
            looking(events);
            let (process, target) = runtime::find_process(process)?;
            processes::judge(&request.dump, &target)?;
            running(request, (&process, &target, &target.id), events, interrupted)
        }
        Subject::Images {
            images,
            bundle,
            runtime,
        } => foreign::export(request, images, bundle, *runtime, events, interrupted),
    }
}

fn looking(events: &dyn Events) {
    events.emit(Event::Phase {
        phase: Phase::Inspect,
        total: None,
    });
}

fn running(
    request: &ExportRequest,
    (runtime, target, called): (&dyn Runtime, &Target, &str),
    events: &dyn Events,
    interrupted: Hook<'_>,
) -> Result<Report, Error> {
    let mut request = request.clone();
    runtime.fix(&mut request.dump);
    let request = &request;
    judge(request, runtime.kind(), target, events)?;
    lxc::judge(target, events)?;
    let _lock = ContainerLock::take(runtime.kind(), &target.id)?;
    let failing = Failing::new(runtime, target, called, events);

    let sink = open_sink(&request.output).map_err(|error| failing.error(error))?;
    let place = Place::of_dump(target.pid, request.work_path.as_deref()).map_err(|error| failing.error(error))?;
    let contents =
        Contents::of_container(request, runtime, target, place.work().path()).map_err(|error| failing.error(error))?;
    let dump = Dump {
        request,
        runtime,
        target,
        place: &place,
        events,
        interrupted,
    };
    let taken = dump
        .take(contents, sink)
        .map_err(|error| failing.after_dump(error, place.work()))?;

    let running = request.dump.leave_running || request.dump.pre_dump;
    if !running {
        runtime.ended(&target.id);
    }
    Ok(Report {
        container: called.to_owned(),
        running,
        frozen: Some(taken.frozen),
        ..taken.report
    })
}

/// What can be said before anything is opened or stopped.
fn judge(request: &ExportRequest, kind: RuntimeKind, target: &Target, events: &dyn Events) -> Result<(), Error> {
    if !matches!(target.status.as_str(), "running" | "paused") {
        let (id, status) = (target.id.clone(), target.status.clone());
        return Err(runtime::Error::NotRunning { id, status }.into());
    }
    if (request.dump.pre_dump || request.parent.is_some()) && !sys::probe::memory_tracking().unwrap_or(false) {
        return Err(Error::NoMemoryTracking);
    }
    if kind != RuntimeKind::Process && request.dump.shell_job && !request.dump.leave_running {
        let message = "runtimes may be unable to restore a job of a terminal outside its container".to_owned();
        events.emit(Event::Warning { message });
    }
    Ok(())
}

fn open_sink(output: &Output) -> Result<Sink, Error> {
    Ok(match output {
        Output::File(path) => Sink::create(path)?,
        Output::Stdout => Sink::stdout()?,
    })
}
