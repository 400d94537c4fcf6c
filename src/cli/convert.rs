//! `ckpt convert`: an archive in another form.

use std::path::PathBuf;
use std::process::ExitCode;

use super::args::{ConvertArgs, ConvertRequest};
use super::remake::{Parts, Remake, warn};
use super::render::{Stop, Ui, text};
use super::{Outcome, wrong_usage};
use crate::event::Events;
use crate::foreign::{self, Converted, Left, SealOptions};

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
    let remake = Remake::new("convert", &request.input, &request.output, request.threads);
    remake.refuse_terminal(ui)?;
    let report = {
        let progress = ui.progress();
        convert(&remake, &request, &progress)?
    };
    remake.show(&report, report.archive.as_deref(), || sentence(&report), ui)?;
    Ok(ExitCode::SUCCESS)
}

fn convert(remake: &Remake<'_>, request: &ConvertRequest, events: &dyn Events) -> Result<Report, Stop> {
    let Parts { material, sink, spool } = remake.read(events)?;
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
    let converted = converted.map_err(|error| remake.fail(&error))?;
    warn(&converted.left, events);
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

fn sentence(report: &Report) -> String {
    let identity = report.identity.as_ref();
    let identity = identity.map_or_else(String::new, |identity| format!(", sha256:{identity}"));
    let (entries, size) = (report.entries, text::bytes(report.archive_bytes));
    let (form, compression) = (report.form, &report.compression);
    format!("an archive of {form}{identity} ({entries} entries in {size}, {compression})")
}
