//! What goes into an archive, in the archive's order.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{describe, records};
use crate::archive::{ArchivePath, Sink, Writer};
use crate::criu::Hook;
use crate::criu::images::{PE_LAZY, PE_PARENT, PE_PRESENT, Pagemap};
use crate::criu::stats::DumpStats;
use crate::error::Error;
use crate::event::{Event, Events, Phase};
use crate::manifest::Manifest;
use crate::request::ExportRequest;
use crate::runtime::{Runtime, Target};

/// Directory of CRIU's images in an archive.
const IMAGES: &str = "checkpoint";

/// What CRIU left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dumped<'a> {
    /// Its images.
    pub(super) images: &'a Path,
    /// Its log, where there is one.
    pub(super) log: Option<&'a Path>,
    /// How long the container has been frozen.
    pub(super) frozen: Duration,
    /// Statistics that CRIU wrote, of a dump that somebody else made.
    pub(super) stats: Option<&'a Path>,
}

/// What goes into an archive, before it is written.
#[derive(Debug)]
pub(super) struct Contents {
    manifest: Manifest,
    spec: serde_json::Value,
    timestamp: u64,
    files: Files,
    cgroup_of: Option<i32>,
}

impl Contents {
    pub(super) fn new(manifest: Manifest, spec: serde_json::Value, timestamp: u64, files: Files, cgroup_of: Option<i32>) -> Self {
        Self { manifest, spec, timestamp, files, cgroup_of }
    }

    /// Time of all entries, seconds since 1970.
    pub(super) const fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Writes every entry. The container is frozen meanwhile, so that its memory and its files agree.
    pub(super) fn write(
        mut self,
        writer: &mut Writer<Sink>,
        dumped: &Dumped<'_>,
        events: &dyn Events,
        interrupted: Hook<'_>,
    ) -> Result<(), Error> {
        let mut captured = self.files.capture(events)?;
        self.manifest.filesystem = captured.describe();
        for (destination, entry) in captured.mounts() {
            let mount = self.manifest.bind_mounts.iter_mut().find(|mount| mount.destination == destination);
            mount.into_iter().for_each(|mount| mount.entry = Some(entry.clone()));
        }
        self.small_entries(writer)?;
        events.emit(Event::Phase { phase: Phase::Files, total: Some(captured.size()) });
        captured.write(writer)?;
        let images = Images::list(dumped.images)?;
        events.emit(Event::Phase { phase: Phase::Memory, total: Some(images.size) });
        images.write(writer, events, interrupted)?;
        add(writer, "stats-dump", &images.stats(dumped)?)?;
        if let Some(log) = dumped.log {
            add(writer, "dump.log", &log_text(log)?)?;
        }
        Ok(())
    }

    fn small_entries(&self, writer: &mut Writer<Sink>) -> Result<(), Error> {
        add_json(writer, "ckpt.json", &self.manifest)?;
        add_json(writer, "config.dump", &records::config_dump(&self.manifest))?;
        add_json(writer, "spec.dump", &self.spec)?;
        add(writer, "bind.mounts", &mounts::bind::to_json(&self.manifest.bind_mounts)?)?;
        add(writer, "network.status", records::NETWORK_STATUS)?;
        if let Some(pid) = self.cgroup_of {
            add_json(writer, "cgroup.json", &cgroup::record(pid)?)?;
        }
        Ok(())
    }
}

fn add(writer: &mut Writer<Sink>, name: &str, content: &[u8]) -> Result<(), Error> {
    Ok(writer.add_bytes(&ArchivePath::try_from(name)?, content)?)
}

fn add_json(writer: &mut Writer<Sink>, name: &'static str, value: &impl serde::Serialize) -> Result<(), Error> {
    add(writer, name, &records::text(value).map_err(|source| Error::Json { entry: name, source })?)
}

/// CRIU's log, of a very long one the end: its last lines say most.
fn log_text(path: &Path) -> Result<Vec<u8>, Error> {
    let mut file = File::open(path).map_err(|error| Error::io("opening", path, error))?;
    let read = |file: &mut File| -> io::Result<Vec<u8>> {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MAX_LOG)))?;
        let mut text = Vec::new();
        file.take(MAX_LOG).read_to_end(&mut text)?;
        Ok(text)
    };
    read(&mut file).map_err(|error| Error::io("reading", path, error))
}
