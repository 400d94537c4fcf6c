//! An archive of a dump that somebody else made: CRIU's images in a directory, and the bundle that they belong to.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::archiving::{Archiving, Dumped};
use super::contents::Contents;
use super::failure::DUMP_LOG;
use super::images::Images;
use super::{Report, lxc, open_sink};
use crate::criu::Hook;
use crate::error::Error;
use crate::event::{Event, Events, Phase};
use crate::request::{ExportRequest, RuntimeKind};
use crate::runtime::{self, Target};

/// CRIU's statistics, and the mark of a complete dump.
const STATS: &str = "stats-dump";

/// Writes the archive. Nothing but the output is written to.
pub(super) fn export(
    request: &ExportRequest,
    images: &Path,
    bundle: &Path,
    kind: RuntimeKind,
    events: &dyn Events,
    interrupted: Hook<'_>,
) -> Result<Report, Error> {
    events.emit(Event::Phase {
        phase: Phase::Inspect,
        total: None,
    });
    let (mut request, target) = (request.clone(), target(bundle, kind)?);
    if let Ok(runtime) = runtime::open(kind, None) {
        runtime.fix(&mut request.dump);
    }
    let request = &request;
    check_complete(images)?;
    let version = runtime::open(kind, None).and_then(|runtime| runtime.version());
    let mut contents = Contents::of_images(request, kind, version.ok(), &target)?;
    contents.add_entries(lxc::foreign_entries(&target, images)?);
    let sink = open_sink(&request.output)?;
    let stats = images.join(STATS);
    let log = images.join(DUMP_LOG);
    let dumped = Dumped {
        images,
        log: log.exists().then_some(log.as_path()),
        frozen: Duration::ZERO,
        stats: stats.exists().then_some(stats.as_path()),
    };
    std::thread::scope(|scope| {
        let mut archiving = Archiving::new(scope, request, contents, sink, events)?;
        let images = Images::list(dumped.images)?;
        archiving.images_and_files(&images, interrupted)?;
        archiving.finish(&target.id, &images, &dumped)
    })
}

/// The container as its bundle describes it. No process of it is known.
fn target(bundle: &Path, kind: RuntimeKind) -> Result<Target, Error> {
    let bundle = fs::canonicalize(bundle).map_err(|error| Error::io("resolving", bundle, error))?;
    if kind == RuntimeKind::Lxc {
        return Ok(runtime::lxc::dumped(&bundle)?);
    }
    let path = bundle.join("config.json");
    let text = fs::read(&path).map_err(|error| Error::io("reading", &path, error))?;
    let spec: serde_json::Value = serde_json::from_slice(&text).map_err(|source| Error::Json {
        entry: "config.json",
        source,
    })?;
    let root = spec.pointer("/root/path").and_then(serde_json::Value::as_str);
    Ok(Target {
        id: bundle
            .file_name()
            .map_or_else(|| "container".to_owned(), |name| name.to_string_lossy().into_owned()),
        pid: 0,
        status: "dumped".to_owned(),
        rootfs: bundle.join(root.unwrap_or("rootfs")),
        bundle,
        created: None,
        spec,
        lxc: None,
    })
}

/// Without an inventory there is no dump; without CRIU's statistics it may be one that was refused.
fn check_complete(images: &Path) -> Result<(), Error> {
    let inventory = images.join("inventory.img");
    fs::metadata(&inventory).map_err(|error| Error::io("looking for CRIU's images:", &inventory, error))?;
    Ok(())
}
