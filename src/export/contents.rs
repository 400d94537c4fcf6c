//! What goes into an archive before memory and files, and what is known of them beforehand.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::describe;
use super::files::Files;
use super::lxc;
use super::parent::Parent;
use super::processes::{self, Processes};
use super::records::{self, Records};
use crate::archive::{ArchivePath, Sink, Writer};
use crate::cgroup::{self, CgroupRecord};
use crate::error::Error;
use crate::foreign;
use crate::host;
use crate::manifest::{Host, Manifest};
use crate::mounts::{self, MountTable};
use crate::request::{ExportRequest, RootfsChoice, RuntimeKind};
use crate::runtime::{Engine, Runtime, Target};

/// How much of CRIU's log goes into an archive, bytes from its end.
const LOG_KEPT: u64 = 16 * 1024 * 1024;

/// What goes into an archive, before it is written.
#[derive(Debug)]
pub(super) struct Contents {
    manifest: Manifest,
    spec: serde_json::Value,
    timestamp: u64,
    files: Files,
    /// Whose cgroups are recorded, and whether all that is in them is the container's.
    cgroup_of: Option<(i32, bool)>,
    lxc: Vec<(&'static str, Vec<u8>)>,
    parent: Option<Parent>,
    processes: Option<Processes>,
    engine: Option<Engine>,
}

/// The engine of a container, its runtime with its version, and this host.
type Answers = (Option<Engine>, (RuntimeKind, String), Host);

/// Asks for what a manifest says beside the container. Each is asked of a program, which takes some
/// hundredths of a second.
fn ask(runtime: &dyn Runtime, target: &Target) -> Result<Answers, Error> {
    let ((engine, version), host) = std::thread::scope(|scope| {
        let host = scope.spawn(host::manifest);
        scope.spawn(|| runtime.ask_ahead());
        let engine = runtime.engine(target).map(|engine| {
            let version = match &engine {
                Some(engine) => Ok(engine.runtime.clone()),
                None => runtime.version().map(|version| (runtime.kind(), version)),
            };
            (engine, version)
        });
        let host = host.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        engine.map(|engine| (engine, host))
    })?;
    Ok((engine, version?, host?))
}

impl Contents {
    /// What is exported of a running container.
    pub(super) fn of_container(
        request: &ExportRequest,
        runtime: &dyn Runtime,
        target: &Target,
        work: &Path,
    ) -> Result<Self, Error> {
        let (engine, version, host) = ask(runtime, target)?;
        let volumes = engine.as_ref().map_or(&[][..], |engine| &engine.volumes);
        let is_container = runtime.kind() != RuntimeKind::Process;
        let binds = mounts::bind::of_container(&target.spec, &target.bundle, target.pid)?;
        // The root file system of a process is the host's.
        let rootfs = if is_container {
            request.rootfs
        } else {
            RootfsChoice::None
        };
        let files = Files::plan(rootfs, target, &binds, &request.with_mounts, volumes)?;
        let processes = (!is_container)
            .then(|| Processes::survey(request, target, work))
            .transpose()?;
        let parent = request
            .parent
            .as_deref()
            .map(|path| Parent::open(path, target))
            .transpose()?;
        let timestamp = describe::timestamp(request);
        let mut manifest = describe::manifest(request, host, version, target, binds, timestamp);
        if let Some(engine) = &engine {
            describe::engine(&mut manifest, engine);
        }
        manifest.parent = parent.as_ref().map(Parent::identity);
        if !is_container {
            manifest.namespaces = processes::namespaces(target.pid);
        }
        Ok(Self {
            manifest,
            spec: target.spec.clone(),
            timestamp,
            files,
            cgroup_of: Some((target.pid, is_container)),
            lxc: lxc::entries(target)?,
            parent,
            processes,
            engine,
        })
    }

    /// What is exported of a dump that somebody else made.
    pub(super) fn of_images(
        request: &ExportRequest,
        kind: RuntimeKind,
        version: Option<String>,
        target: &Target,
    ) -> Result<Self, Error> {
        let binds = mounts::bind::declared(&target.spec, &target.bundle)?
            .into_iter()
            .map(describe::declared)
            .collect::<Vec<_>>();
        let files = Files::plan(request.rootfs, target, &binds, &request.with_mounts, &[])?;
        let timestamp = describe::timestamp(request);
        let version = version.unwrap_or_else(|| "unknown".to_owned());
        let manifest = describe::manifest(request, host::manifest()?, (kind, version), target, binds, timestamp);
        Ok(Self {
            manifest,
            spec: target.spec.clone(),
            timestamp,
            files,
            cgroup_of: None,
            lxc: Vec::new(),
            parent: None,
            processes: None,
            engine: None,
        })
    }

    /// Adds small entries, which come after those that all archives have.
    pub(super) fn add_entries(&mut self, entries: Vec<(&'static str, Vec<u8>)>) {
        self.lxc.extend(entries);
    }

    /// Puts the parent's images beside the images directory, where CRIU looks for them; the path is relative to that.
    pub(super) fn place_parent(&self, beside: &Path) -> Result<Option<PathBuf>, Error> {
        self.parent.as_ref().map(|parent| parent.place(beside)).transpose()
    }

    /// The file in which an engine keeps what the container says.
    pub(super) fn engine_log(&self) -> Option<PathBuf> {
        self.engine.as_ref()?.log.clone()
    }

    /// Time of all entries, seconds since 1970.
    pub(super) const fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Writes the entries before memory; what is left are the files.
    pub(super) fn write_head(mut self, writer: &mut Writer<Sink>) -> Result<Files, Error> {
        self.files.settle()?;
        describe::files(&mut self.manifest, &self.files);
        let records = match &self.engine {
            None => Records::of_runtime(&self.manifest)?,
            Some(engine) => Records::of_engine(engine)?,
        };
        if self.engine.is_some() {
            let engine = foreign::engine_of_podman(&records.config, &self.spec, &records.network);
            self.manifest.engine = Some(engine?);
        }
        small_entries(writer, &self.manifest, &self.spec, &records, self.cgroup_of)?;
        if let Some(processes) = &mut self.processes {
            let listing = processes.listing()?;
            let text = listing.to_json().map_err(|source| Error::Json {
                entry: "files.json",
                source,
            })?;
            add(writer, "files.json", &text)?;
            self.files.with_open(processes::travelling(&listing));
        }
        for (name, content) in &self.lxc {
            add(writer, name, content)?;
        }
        Ok(self.files)
    }
}

/// The entries before memory.
fn small_entries(
    writer: &mut Writer<Sink>,
    manifest: &Manifest,
    spec: &serde_json::Value,
    records: &Records,
    cgroup_of: Option<(i32, bool)>,
) -> Result<(), Error> {
    add_json(writer, "ckpt.json", manifest)?;
    add(writer, "config.dump", &records.config)?;
    add_json(writer, "spec.dump", spec)?;
    add(writer, "bind.mounts", &mounts::bind::to_json(&manifest.bind_mounts)?)?;
    add(writer, "network.status", &records.network)?;
    if let Some(record) = cgroup_of.map(cgroups).transpose()?.flatten() {
        add(writer, "cgroup.json", &record.to_json()?)?;
    }
    Ok(())
}

fn cgroups((pid, is_container): (i32, bool)) -> Result<Option<CgroupRecord>, Error> {
    let mounts = MountTable::of_self()?;
    if !is_container {
        return processes::cgroups(pid, &mounts);
    }
    let subject = cgroup::Subject {
        pid,
        mounts: &mounts,
        directories: Default::default(),
    };
    Ok(Some(cgroup::record(&subject)?))
}

pub(super) fn add(writer: &mut Writer<Sink>, name: &str, content: &[u8]) -> Result<(), Error> {
    Ok(writer.add_bytes(&ArchivePath::try_from(name)?, content)?)
}

fn add_json(writer: &mut Writer<Sink>, name: &'static str, value: &impl serde::Serialize) -> Result<(), Error> {
    add(
        writer,
        name,
        &records::text(value).map_err(|source| Error::Json { entry: name, source })?,
    )
}

/// A log, of a very long one the end: its last lines say most.
pub(super) fn log_text(path: &Path) -> Result<Vec<u8>, Error> {
    let mut file = File::open(path).map_err(|error| Error::io("opening", path, error))?;
    let read = |file: &mut File| -> io::Result<Vec<u8>> {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_KEPT)))?;
        let mut text = Vec::new();
        file.take(LOG_KEPT).read_to_end(&mut text)?;
        Ok(text)
    };
    read(&mut file).map_err(|error| Error::io("reading", path, error))
}
