//! How a failure is told: what failed, why, what state things are in now, and what to do.
//!
//! Every subcommand ends its failures here, so that they all look the same: on a terminal one line each, with
//! `--json` one object on one line. Causes are the error's chain of sources, from the outermost inwards.

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Style};
use schemars::JsonSchema;
use serde::Serialize;

use super::text;
use crate::error::ErrorKind;

const RED: Style = AnsiColor::Red.on_default().bold();
const BOLD: Style = Style::new().bold();

/// A failure, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Failure {
    /// Class of the error, which decides the exit code.
    pub kind: ErrorKind,
    /// The exit code.
    pub exit_code: u8,
    /// What failed, and for which container or file.
    pub what: String,
    /// Why, from the outermost cause inwards.
    pub causes: Vec<String>,
    /// The state that the container and the files are in now, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The whole log of CRIU, where it was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Failure {
    /// A failure of `kind` with the chain of `error` as its causes.
    pub fn new(what: impl Into<String>, kind: ErrorKind, error: &dyn Error) -> Self {
        Self {
            causes: chain(error),
            ..Self::bare(what, kind)
        }
    }

    /// A failure that `what` says all of.
    pub fn bare(what: impl Into<String>, kind: ErrorKind) -> Self {
        let exit_code = kind.exit_code();
        Self {
            kind,
            exit_code,
            what: what.into(),
            causes: Vec::new(),
            state: None,
            log: None,
            advice: None,
        }
    }

    /// Says what state things are in.
    pub fn state(mut self, state: Option<String>) -> Self {
        self.state = state;
        self
    }

    /// Names the log.
    pub fn log(mut self, log: Option<PathBuf>) -> Self {
        self.log = log;
        self
    }

    /// Says what to do.
    pub fn advice(mut self, advice: Option<String>) -> Self {
        self.advice = advice;
        self
    }

    /// Writes it to standard error. That standard error is gone is nothing anybody could be told.
    pub fn print(&self, json: bool) {
        let mut stderr = anstream::stderr().lock();
        let _ = if json {
            writeln!(stderr, "{}", super::json::line(&super::json::Line::Error(self.clone())))
        } else {
            write!(stderr, "{}", self.render())
        };
    }

    /// The text for people, with colours as escape sequences.
    pub fn render(&self) -> String {
        let mut out = format!("{RED}ckpt:{RED:#} {BOLD}{}{BOLD:#}\n", text::printable(&self.what));
        let causes = self.causes.iter().map(|cause| ("cause", cause));
        let log = self.log.as_ref().map(|path| path.display().to_string());
        let rest = [("state", &self.state), ("log", &log), ("to do", &self.advice)];
        let rest = rest
            .into_iter()
            .filter_map(|(label, line)| Some((label, line.as_ref()?)));
        for (label, line) in causes.chain(rest) {
            let line = flush_left(&text::printable(line)).join("\n         ");
            out.push_str(&format!("  {:<7}{line}\n", format!("{label}:")));
        }
        out
    }
}

/// The lines of a text, those after the first without the indentation that all of them have.
fn flush_left(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.trim_end().lines().collect();
    let indentation = |line: &&str| line.len() - line.trim_start_matches(' ').len();
    let common = lines.iter().skip(1).map(indentation).min().unwrap_or(0);
    lines.iter_mut().skip(1).for_each(|line| *line = &line[common..]);
    lines
}

/// The messages of an error and its sources, without those that only repeat the one before.
fn chain(error: &dyn Error) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let message = error.to_string();
        if causes.last() != Some(&message) {
            causes.push(message);
        }
        next = error.source();
    }
    causes
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read {path}")]
    struct Outer {
        path: &'static str,
        source: io::Error,
    }

    fn failure() -> Failure {
        let source = io::Error::other("line 1\n\x1b[31mline 2");
        Failure::new(
            "cannot export container web",
            ErrorKind::Dump,
            &Outer { path: "/x", source },
        )
        .state(Some("web runs on".to_owned()))
        .advice(Some("run ckpt check".to_owned()))
    }

    #[test]
    fn text_for_people() {
        let text = anstream::adapter::strip_str(&failure().render()).to_string();
        insta::assert_snapshot!(text, @r"
        ckpt: cannot export container web
          cause: cannot read /x
          cause: line 1
                 \x1b[31mline 2
          state: web runs on
          to do: run ckpt check
        ");
    }

    #[test]
    fn repeated_messages_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Wrapper(#[source] io::Error);
        assert_eq!(chain(&Wrapper(io::Error::other("full"))), ["full"]);
    }
}
