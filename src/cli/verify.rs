//! `ckpt verify`: every byte of an archive; of another engine's, which has no checksums, its structure and CRIU's images.

use std::io::{self, Read};
use std::process::ExitCode;

use super::Outcome;
use super::archive::Archive;
use super::args::VerifyArgs;
use super::render::{Ui, text};
use crate::archive::{Proof, Reader, Source};
use crate::event::{Event, Events, Phase};
use crate::foreign::{self, Family, Faults};
use crate::manifest::EngineName;

/// What `--json` prints.
#[derive(Debug, serde::Serialize)]
struct Report {
    archive: String,
    /// None where another engine made it: there are no checksums to make one of.
    identity: Option<String>,
    entries: usize,
    content_bytes: u64,
    archive_bytes: u64,
    /// Whether a signature is in the archive. It is not checked.
    signed: bool,
    /// The engine that made it, where that was not ckpt.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<EngineName>,
    /// What was looked at instead of checksums.
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<Faults>,
}

/// Reads an archive from its first to its last byte.
pub fn run(args: VerifyArgs, ui: &Ui) -> Outcome {
    let archive = Archive::new(args.file, args.threads, "verify");
    let mut source = archive.source()?;
    let options = archive.options(&source);
    let family = Family::of(&mut source).map_err(|error| archive.fail_foreign(&error))?;
    let report = {
        let progress = ui.progress();
        progress.emit(Event::Phase {
            phase: Phase::Verify,
            total: source.length(),
        });
        let counted = Counted {
            source,
            bytes: 0,
            events: &progress,
        };
        match family {
            Family::Ckpt => Reader::new(counted, options)
                .and_then(Reader::finish)
                .map(|proof| report(archive.name(), &proof))
                .map_err(|error| archive.fail(&error))?,
            Family::Foreign { .. } => foreign::verify(counted, options.limits)
                .map(|verified| foreign_report(archive.name(), verified))
                .map_err(|error| archive.fail_foreign(&error))?,
        }
    };
    if !ui.quiet() || ui.json() {
        ui.result(&report, |out| {
            let (content, stored) = (text::bytes(report.content_bytes), text::bytes(report.archive_bytes));
            let (name, entries) = (text::visible(&report.archive), report.entries);
            let size = format!("({entries} entries, {content} in {stored})");
            match &report.identity {
                Some(identity) => writeln!(out, "{name}: good, sha256:{identity} {size}"),
                None => writeln!(out, "{name}: {}{size}", without_checksums(&report)),
            }
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn report(archive: String, proof: &Proof) -> Report {
    let entries = proof.index.entries();
    Report {
        archive,
        identity: Some(proof.identity.to_string()),
        engine: None,
        images: None,
        entries: entries.len(),
        content_bytes: entries.iter().map(|entry| entry.size).sum(),
        archive_bytes: proof.stored_bytes,
        signed: proof.signature.is_some(),
    }
}

fn foreign_report(archive: String, verified: foreign::Verified) -> Report {
    let foreign::Verified { outline, manifest } = verified;
    Report {
        archive,
        identity: None,
        engine: manifest.engine.map(|engine| engine.name),
        entries: outline.entries.len(),
        content_bytes: outline.content_bytes(),
        archive_bytes: outline.stored_bytes,
        signed: false,
        images: Some(outline.faults),
    }
}

/// What can be said of an archive that nothing binds.
fn without_checksums(report: &Report) -> String {
    let engine = report.engine.map_or_else(String::new, |engine| engine.to_string());
    let mut text = format!("no checksums: {engine} makes none, so a changed byte cannot be seen; ");
    if let Some(images) = &report.images {
        let (count, processes) = (images.images, images.processes);
        text.push_str(&format!(
            "{count} CRIU images of {processes} processes and its structure are good "
        ));
    }
    text
}

/// Tells how far a source has been read.
struct Counted<'a> {
    source: Source,
    bytes: u64,
    events: &'a dyn Events,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.bytes += count as u64;
        self.events.emit(Event::Progress { bytes: self.bytes });
        Ok(count)
    }
}
