//! `ckpt import`.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use super::args::{ImportArgs, UsageError};
use super::render::failure::Failure;
use super::render::{Stop, Ui};
use super::{Outcome, wrong_usage};
use crate::error::ErrorKind;
use crate::request::{ImportRequest, Input};

/// Imports an archive.
pub fn run(args: ImportArgs, ui: &Ui) -> Outcome {
    let request = ImportRequest::try_from(args).map_err(|error| wrong_usage("import", &error, ui))?;
    if request.input == Input::Stdin && io::stdin().is_terminal() {
        return Err(wrong_usage("import", &UsageError::InputIsTerminal, ui));
    }
    pipeline(&request, ui)?;
    Ok(ExitCode::SUCCESS)
}

fn pipeline(request: &ImportRequest, ui: &Ui) -> Result<(), Stop> {
    let _progress = ui.progress();
    let error = io::Error::other("the pipeline is not part of this build");
    Err(failure(request, ErrorKind::Other, &error).into())
}

/// What failed, what state this host is in, and what to do.
fn failure(request: &ImportRequest, kind: ErrorKind, error: &dyn std::error::Error) -> Failure {
    let what = format!("cannot import {}", super::source_name(&request.input));
    Failure::new(what, kind, error)
        .state(state(kind))
        .advice(advice(request, kind))
}

fn state(kind: ErrorKind) -> Option<String> {
    let state = match kind {
        ErrorKind::Other => return None,
        ErrorKind::Restore => "nothing of it is left on this host, and the archive is as it was",
        _ => "nothing was started or changed on this host",
    };
    Some(state.to_owned())
}

fn advice(request: &ImportRequest, kind: ErrorKind) -> Option<String> {
    let file = super::source_name(&request.input);
    let advice = match kind {
        ErrorKind::Host => format!("run `ckpt check {file}`: it says what this host lacks for it"),
        ErrorKind::Archive => super::ARCHIVE_ADVICE.to_owned(),
        ErrorKind::Restore => {
            format!("mend the cause and import again at once; `ckpt check {file}` compares this host with it")
        }
        ErrorKind::Policy => {
            format!("`ckpt import {file} --dry-run` shows what the archive asks for; then allow or map it by name")
        }
        _ => return None,
    };
    Some(advice)
}
