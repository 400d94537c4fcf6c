//! `ckpt seal`: a checkpoint of another engine becomes an archive with manifest and checksums.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::{SealArgs, SealRequest};
use super::remake::{Parts, Remake, warn};
use super::render::failure::Failure;
use super::render::{Stop, Ui, text};
use super::{Outcome, wrong_usage};
use crate::error::ErrorKind;
use crate::event::Events;
use crate::foreign::{self, Left, SealOptions};
use crate::manifest::EngineName;

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
    let remake = Remake::new("seal", &request.input, &request.output, request.threads);
    remake.refuse_terminal(ui)?;
    let report = {
        let progress = ui.progress();
        seal(&remake, &request, &progress)?
    };
    remake.show(&report, report.archive.as_deref(), || sentence(&report), ui)?;
    Ok(ExitCode::SUCCESS)
}

fn seal(remake: &Remake<'_>, request: &SealRequest, events: &dyn Events) -> Result<Report, Stop> {
    let Parts { material, sink, .. } = remake.read(events)?;
    if material.ours {
        let what = format!(
            "cannot seal {}: it is an archive of ckpt, and sealed already",
            remake.name()
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
    let sealed = foreign::seal(material, sink, options, events).map_err(|error| remake.fail(&error))?;
    warn(&sealed.left, events);
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

fn sentence(report: &Report) -> String {
    let engine = report.engine.map_or_else(String::new, |engine| engine.to_string());
    let (identity, entries, size) = (&report.identity, report.entries, text::bytes(report.archive_bytes));
    format!("sealed, sha256:{identity} ({entries} entries of {engine} in {size})")
}
