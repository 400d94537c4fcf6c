//! `ckpt convert`: an archive in another form.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::archive::Archive;
use super::args::{ConvertArgs, ConvertRequest, UsageError};
use super::render::{Stop, Ui, text};
use super::seal::{not_written, sink, spool};
use super::{Outcome, wrong_usage};
use crate::archive::Limits;
use crate::event::{Event, Events};
use crate::foreign::{self, Converted, Left, Material, ReadOptions, SealOptions};
use crate::request::Output;

/// What `--json` prints.
#[derive(Debug, serde::Serialize)]
struct Report {
    /// None for standard output.
    archive: Option<PathBuf>,
    form: &'static str,
    compression: String,
    /// Of ckpt's form alone.
    identity: Option<String>,
    entries: usize,
    archive_bytes: u64,
    /// What could not be kept, or not as it was.
    left: Vec<Left>,
    /// What whoever restores it should know.
    notes: Vec<String>,
}

/// Converts an archive.
pub fn run(args: ConvertArgs, ui: &Ui) -> Outcome {
    let request = ConvertRequest::try_from(args).map_err(|error| wrong_usage("convert", &error, ui))?;
    if request.output == Output::Stdout && io::stdout().is_terminal() {
        return Err(wrong_usage("convert", &UsageError::OutputIsTerminal, ui));
    }
    let archive = Archive::of(request.input.clone(), request.threads, "convert");
    let report = {
        let progress = ui.progress();
        convert(&archive, &request, &progress)?
    };
    if matches!(request.output, Output::Stdout) || (ui.quiet() && !ui.json()) {
        return Ok(ExitCode::SUCCESS);
    }
    ui.result(&report, |out| {
        let place = report
            .archive
            .as_deref()
            .unwrap_or(Path::new("-"))
            .display()
            .to_string();
        let identity = report.identity.as_ref().map(|identity| format!(", sha256:{identity}"));
        let (place, size) = (text::visible(&place), text::bytes(report.archive_bytes));
        let (entries, form, compression) = (report.entries, report.form, &report.compression);
        let identity = identity.unwrap_or_default();
        writeln!(
            out,
            "{place}: an archive of {form}{identity} ({entries} entries in {size}, {compression})"
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn convert(archive: &Archive, request: &ConvertRequest, events: &dyn Events) -> Result<Report, Stop> {
    let fail = |error: foreign::Error| archive.fail_foreign(&error);
    let source = archive.source()?;
    let sink = sink(&request.output).map_err(|error| not_written(&request.output, &error))?;
    let spool = spool(&request.output);
    let reading = ReadOptions {
        spool: &spool,
        threads: request.threads,
        limits: Limits::default(),
        stop: foreign::Stop::NEVER,
    };
    let material = Material::read(source, reading, events).map_err(fail)?;
    let notes = material.notes.clone();
    let codec = request.compression.codec();
    let converted = match request.engine {
        Some(engine) => foreign::convert(material, engine, codec, sink, &spool, events),
        None => {
            let options = SealOptions {
                compression: request.compression,
                threads: request.threads,
                stop: foreign::Stop::NEVER,
            };
            foreign::seal(material, sink, options, events).map(Converted::from)
        }
    };
    let converted = converted.map_err(fail)?;
    for Left { entry, why } in &converted.left {
        let message = format!("{entry}: {why}");
        events.emit(Event::Warning { message });
    }
    Ok(Report {
        archive: converted.path,
        form: request.engine.map_or("ckpt", |engine| engine.as_str()),
        compression: codec.to_string(),
        identity: converted.identity.map(|identity| identity.to_string()),
        entries: converted.entries,
        archive_bytes: converted.bytes,
        left: converted.left,
        notes,
    })
}
