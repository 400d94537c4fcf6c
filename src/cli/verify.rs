//! `ckpt verify`: every byte of an archive.

use std::io::{self, Read};
use std::process::ExitCode;

use super::Outcome;
use super::archive::Archive;
use super::args::VerifyArgs;
use super::render::{Ui, text};
use crate::archive::{Proof, Reader, Source};
use crate::event::{Event, Events, Phase};

/// What `--json` prints.
#[derive(Debug, serde::Serialize)]
struct Report {
    archive: String,
    identity: String,
    entries: usize,
    content_bytes: u64,
    archive_bytes: u64,
    /// Whether a signature is in the archive. It is not checked.
    signed: bool,
}

/// Reads an archive from its first to its last byte.
pub fn run(args: VerifyArgs, ui: &Ui) -> Outcome {
    let archive = Archive::new(args.file, args.threads, "verify");
    let source = archive.source()?;
    let options = archive.options(&source);
    let verified = {
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
        Reader::new(counted, options).and_then(Reader::finish)
    };
    let report = report(archive.name(), &verified.map_err(|error| archive.fail(&error))?);
    if !ui.quiet() || ui.json() {
        ui.result(&report, |out| {
            let (content, stored) = (text::bytes(report.content_bytes), text::bytes(report.archive_bytes));
            let (name, identity) = (text::visible(&report.archive), &report.identity);
            writeln!(
                out,
                "{name}: good, sha256:{identity} ({} entries, {content} in {stored})",
                report.entries
            )
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn report(archive: String, proof: &Proof) -> Report {
    let entries = proof.index.entries();
    Report {
        archive,
        identity: proof.identity.to_string(),
        entries: entries.len(),
        content_bytes: entries.iter().map(|entry| entry.size).sum(),
        archive_bytes: proof.stored_bytes,
        signed: proof.signature.is_some(),
    }
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
