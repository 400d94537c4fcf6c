//! Everything that is shown: results on standard output, progress and errors on standard error.
//!
//! Invariants: standard output carries results only; a reader of standard output that goes away ends the command
//! quietly, like every tool in a pipe; text from outside passes [`text::visible`] before a terminal sees it.

pub mod draw;
pub mod failure;
pub mod json;
pub mod progress;
pub mod sheet;
pub mod table;
pub mod text;

use std::io::{self, IsTerminal as _, Write};

use self::failure::Failure;
use self::progress::{Draw, Progress};
use super::args::{GlobalArgs, ProgressArg};
use crate::error::ErrorKind;

/// How this run shows things.
#[derive(Debug, Clone)]
pub struct Ui {
    global: GlobalArgs,
}

/// Why a command ends early.
#[derive(Debug)]
pub enum Stop {
    /// The reader of standard output went away: nobody is left to tell.
    ReaderGone,
    /// It failed, and the user has been told.
    Told(ErrorKind),
    /// It failed.
    Failed(Box<Failure>),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

impl Stop {
    /// Signal handlers that the system refuses.
    pub fn signals(error: &io::Error) -> Self {
        Failure::new("cannot listen to signals", ErrorKind::Other, error).into()
    }

    /// An error of writing to standard output.
    pub fn stdout(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Failure::new("cannot write to standard output", ErrorKind::Other, error).into(),
        }
    }
}

impl Ui {
    /// As the arguments say.
    pub fn new(global: GlobalArgs) -> Self {
        Self { global }
    }

    /// Whether results are JSON.
    pub fn json(&self) -> bool {
        self.global.json
    }

    /// Whether only errors, and results that were asked for, are printed.
    pub fn quiet(&self) -> bool {
        self.global.quiet
    }

    /// Whether errors are JSON: also where standard error is a stream of JSON lines.
    pub fn json_errors(&self) -> bool {
        self.global.json || self.global.progress == ProgressArg::Json
    }

    /// Starts showing progress.
    pub fn progress(&self) -> Progress {
        Progress::start(self.draw())
    }

    fn draw(&self) -> Box<dyn Draw> {
        // Diagnosis writes lines of its own, which a bar would overwrite.
        let bar = io::stderr().is_terminal() && self.global.verbose == 0;
        match self.global.progress {
            ProgressArg::Json => Box::new(draw::Json::default()),
            _ if self.global.quiet => Box::new(draw::Nothing),
            ProgressArg::None => Box::new(draw::Warnings),
            ProgressArg::Auto if bar => Box::new(draw::Bar::new()),
            ProgressArg::Auto | ProgressArg::Plain => Box::new(draw::Plain::default()),
        }
    }

    /// Says something on standard error, as a JSON line where that is a stream of those.
    pub fn tell(&self, json: &json::Line, text: &str) {
        let mut stderr = anstream::stderr().lock();
        let _ = if self.json_errors() {
            writeln!(stderr, "{}", json::line(json))
        } else {
            writeln!(stderr, "ckpt: {}", text::printable(text))
        };
    }

    /// Writes a result: `json` with `--json`, otherwise what `text` writes.
    pub fn result<T: serde::Serialize>(
        &self,
        json: &T,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Stop> {
        print(|out| {
            if self.json() {
                writeln!(out, "{}", pretty(json))
            } else {
                text(out)
            }
        })
    }
}

/// Writes to standard output, buffered, without colours where it is not a terminal.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Stop> {
    let mut out = io::BufWriter::new(anstream::stdout().lock());
    write(&mut out)
        .and_then(|()| out.flush())
        .map_err(|error| Stop::stdout(&error))
}

/// JSON for people and programs alike.
fn pretty<T: serde::Serialize>(value: &T) -> String {
    // Our own types have only string keys and finite numbers, so nothing can fail.
    serde_json::to_string_pretty(value).unwrap_or_default()
}
