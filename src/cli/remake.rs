//! What the commands have in common that make an archive of another one: `seal` and `convert`.

use std::io::{self, IsTerminal as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::args::UsageError;
use super::render::failure::Failure;
use super::render::{Stop, Ui, text};
use super::wrong_usage;
use crate::archive::{Limits, Sink};
use crate::event::{Event, Events};
use crate::foreign::{self, Left, Material, ReadOptions};
use crate::request::{Input, Output};

/// One archive to read, and one to write.
pub struct Remake<'a> {
    command: &'static str,
    archive: Archive,
    output: &'a Output,
    threads: NonZeroUsize,
}

/// What is read, and where it goes.
pub struct Parts {
    /// What was read.
    pub material: Material,
    /// Where the archive is written.
    pub sink: Sink,
    /// Where there is room for what cannot be read twice.
    pub spool: PathBuf,
}

impl<'a> Remake<'a> {
    /// For a command; nothing is opened yet.
    pub fn new(command: &'static str, input: &Input, output: &'a Output, threads: NonZeroUsize) -> Self {
        Self {
            command,
            archive: Archive::of(input.clone(), threads, command),
            output,
            threads,
        }
    }

    /// Refuses to write an archive to a terminal.
    pub fn refuse_terminal(&self, ui: &Ui) -> Result<(), Stop> {
        if *self.output == Output::Stdout && io::stdout().is_terminal() {
            return Err(wrong_usage(self.command, &UsageError::OutputIsTerminal, ui));
        }
        Ok(())
    }

    /// The name of what is read, in messages.
    pub fn name(&self) -> String {
        self.archive.name()
    }

    /// Says what is wrong with what is read.
    pub fn fail(&self, error: &foreign::Error) -> Stop {
        self.archive.fail_foreign(error)
    }

    /// Reads the one archive, and opens the other before: whoever cannot write need not wait.
    pub fn read(&self, events: &dyn Events) -> Result<Parts, Stop> {
        let source = self.archive.source()?;
        let sink = match self.output {
            Output::Stdout => Sink::stdout(),
            Output::File(path) => Sink::create(path),
        };
        let sink = sink.map_err(|error| self.not_written(&error))?;
        let spool = spool(self.output);
        let reading = ReadOptions {
            spool: &spool,
            threads: self.threads,
            limits: Limits::default(),
            stop: foreign::Stop::NEVER,
        };
        let material = Material::read(source, reading, events).map_err(|error| self.fail(&error))?;
        Ok(Parts { material, sink, spool })
    }

    /// Shows the result, unless the archive itself is on standard output. `line` says it for people, after the name of the
    /// new archive.
    pub fn show(
        &self,
        report: &impl serde::Serialize,
        path: Option<&Path>,
        line: impl FnOnce() -> String,
        ui: &Ui,
    ) -> Result<(), Stop> {
        if *self.output == Output::Stdout || (ui.quiet() && !ui.json()) {
            return Ok(());
        }
        let place = path.unwrap_or(Path::new("-")).display().to_string();
        ui.result(report, |out| writeln!(out, "{}: {}", text::visible(&place), line()))
    }

    fn not_written(&self, error: &crate::archive::Error) -> Stop {
        let place = match self.output {
            Output::Stdout => "standard output".to_owned(),
            Output::File(path) => path.display().to_string(),
        };
        Failure::new(format!("cannot write {place}"), error.kind(), error).into()
    }
}

/// Warns of what could not be kept as it was.
pub fn warn(left: &[Left], events: &dyn Events) {
    for Left { entry, why } in left {
        let message = format!("{entry}: {why}");
        events.emit(Event::Warning { message });
    }
}

/// Beside the archive that is made: there is room for as much again.
fn spool(output: &Output) -> PathBuf {
    let beside = match output {
        Output::File(path) => path.parent(),
        Output::Stdout => None,
    };
    match beside {
        Some(directory) if directory.as_os_str().is_empty() => PathBuf::from("."),
        Some(directory) if directory.is_dir() && directory != Path::new("/dev") => directory.to_owned(),
        _ => std::env::temp_dir(),
    }
}
