//! `ckpt seal`: a checkpoint of another engine becomes an archive with manifest and checksums.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::archive::Archive;
use super::args::{SealArgs, SealRequest, UsageError};
use super::render::failure::Failure;
use super::render::{Stop, Ui, text};
use super::{Outcome, wrong_usage};
use crate::archive::{Limits, Sink};
use crate::error::ErrorKind;
use crate::event::{Event, Events};
use crate::foreign::{self, Left, Material, ReadOptions, SealOptions};
use crate::manifest::EngineName;
use crate::request::Output;

/// What `--json` prints.
#[derive(Debug, serde::Serialize)]
struct Report {
    /// None for standard output.
    archive: Option<PathBuf>,
    identity: String,
    engine: Option<EngineName>,
    entries: usize,
    archive_bytes: u64,
    /// What could not be kept as it was.
    left: Vec<Left>,
    /// What whoever restores it should know.
    notes: Vec<String>,
}

/// Seals an archive.
pub fn run(args: SealArgs, ui: &Ui) -> Outcome {
    let request = SealRequest::try_from(args).map_err(|error| wrong_usage("seal", &error, ui))?;
    if request.output == Output::Stdout && io::stdout().is_terminal() {
        return Err(wrong_usage("seal", &UsageError::OutputIsTerminal, ui));
    }
    let archive = Archive::of(request.input.clone(), request.threads, "seal");
    let sealed = {
        let progress = ui.progress();
        seal(&archive, &request, &progress)?
    };
    show(&request, &sealed, ui)?;
    Ok(ExitCode::SUCCESS)
}

fn seal(archive: &Archive, request: &SealRequest, events: &dyn Events) -> Result<Report, Stop> {
    let fail = |error: foreign::Error| archive.fail_foreign(&error);
    let source = archive.source()?;
    // Before the archive is read: whoever cannot write need not wait.
    let sink = sink(&request.output).map_err(|error| not_written(&request.output, &error))?;
    let reading = ReadOptions {
        spool: &spool(&request.output),
        threads: request.threads,
        limits: Limits::default(),
        stop: foreign::Stop::NEVER,
    };
    let material = Material::read(source, reading, events).map_err(fail)?;
    if material.ours {
        let what = format!(
            "cannot seal {}: it is an archive of ckpt, and sealed already",
            archive.name()
        );
        let advice = "ckpt convert gives it another form or compression".to_owned();
        return Err(Failure::bare(what, ErrorKind::Usage).advice(Some(advice)).into());
    }
    let notes = material.notes.clone();
    let options = SealOptions {
        compression: request.compression,
        threads: request.threads,
        stop: foreign::Stop::NEVER,
    };
    let sealed = foreign::seal(material, sink, options, events).map_err(fail)?;
    for Left { entry, why } in &sealed.left {
        let message = format!("{entry}: {why}");
        events.emit(Event::Warning { message });
    }
    Ok(Report {
        archive: sealed.durable.path().map(Path::to_owned),
        identity: sealed.durable.identity().to_string(),
        engine: sealed.manifest.engine.map(|engine| engine.name),
        entries: sealed.entries,
        archive_bytes: sealed.durable.bytes(),
        left: sealed.left,
        notes,
    })
}

/// Where the archive goes.
pub(super) fn sink(output: &Output) -> Result<Sink, crate::archive::Error> {
    match output {
        Output::Stdout => Sink::stdout(),
        Output::File(path) => Sink::create(path),
    }
}

/// Where there is room for what cannot be read twice: beside the archive that is made of it.
pub(super) fn spool(output: &Output) -> PathBuf {
    let beside = match output {
        Output::File(path) => path.parent().map(Path::to_owned),
        Output::Stdout => None,
    };
    match beside {
        Some(directory) if directory.as_os_str().is_empty() => PathBuf::from("."),
        Some(directory) if directory.is_dir() && directory != Path::new("/dev") => directory,
        _ => std::env::temp_dir(),
    }
}

pub(super) fn not_written(output: &Output, error: &crate::archive::Error) -> Stop {
    let place = match output {
        Output::Stdout => "standard output".to_owned(),
        Output::File(path) => path.display().to_string(),
    };
    Failure::new(format!("cannot write {place}"), error.kind(), error).into()
}

fn show(request: &SealRequest, report: &Report, ui: &Ui) -> Result<(), Stop> {
    if matches!(request.output, Output::Stdout) || (ui.quiet() && !ui.json()) {
        return Ok(());
    }
    ui.result(report, |out| {
        let place = report
            .archive
            .as_deref()
            .unwrap_or(Path::new("-"))
            .display()
            .to_string();
        let engine = report.engine.map_or_else(String::new, |engine| engine.to_string());
        let (entries, size) = (report.entries, text::bytes(report.archive_bytes));
        writeln!(
            out,
            "{}: sealed, sha256:{} ({entries} entries of {engine} in {size})",
            text::visible(&place),
            report.identity
        )
    })
}
