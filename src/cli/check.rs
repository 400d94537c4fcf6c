//! `ckpt check`: what this host can do, and whether it can restore a given archive.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Style};

use super::Outcome;
use super::args::CheckArgs;
use super::render::{Ui, text};
use crate::ability::{self, Check, Facts, Level};
use crate::error::ErrorKind;

const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();

/// Looks and reports; a line that is an error makes the exit code that of a host that is not able.
pub fn run(args: &CheckArgs, ui: &Ui) -> Outcome {
    let checks = ability::checks(&Facts::gather(args.runtime.into()));
    ui.result(&checks, |out| checks.iter().try_for_each(|check| line(out, check)))?;
    let able = checks.iter().all(|check| check.level != Level::Error);
    Ok(if able {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(ErrorKind::Host.exit_code())
    })
}

fn line(out: &mut dyn Write, check: &Check) -> io::Result<()> {
    let (style, word) = match check.level {
        Level::Ok => (GREEN, "ok"),
        Level::Warning => (YELLOW, "warning"),
        Level::Error => (RED, "error"),
    };
    writeln!(
        out,
        "{style}{word:<9}{style:#}{:<14}{}",
        check.subject,
        text::visible(&check.message)
    )?;
    match check.advice {
        Some(advice) => writeln!(out, "{:<23}{advice}", ""),
        None => Ok(()),
    }
}
