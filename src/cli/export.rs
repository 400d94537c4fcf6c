//! `ckpt export`.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use super::args::{ExportArgs, UsageError};
use super::render::failure::Failure;
use super::render::{Stop, Ui};
use super::{Outcome, wrong_usage};
use crate::error::ErrorKind;
use crate::request::{ExportRequest, Output, Subject};

/// Exports a container.
pub fn run(args: ExportArgs, ui: &Ui) -> Outcome {
    let request = ExportRequest::try_from(args).map_err(|error| wrong_usage("export", &error, ui))?;
    if request.output == Output::Stdout && io::stdout().is_terminal() {
        return Err(wrong_usage("export", &UsageError::OutputIsTerminal, ui));
    }
    pipeline(&request, ui)?;
    Ok(ExitCode::SUCCESS)
}

fn pipeline(request: &ExportRequest, ui: &Ui) -> Result<(), Stop> {
    let _progress = ui.progress();
    let error = io::Error::other("the pipeline is not part of this build");
    Err(failure(request, ErrorKind::Other, &error).into())
}

/// What failed, what state the container and the archive are in, and what to do.
fn failure(request: &ExportRequest, kind: ErrorKind, error: &dyn std::error::Error) -> Failure {
    let what = format!("cannot export {}", subject(request));
    Failure::new(what, kind, error)
        .state(state(request, kind))
        .advice(advice(request, kind))
}

fn subject(request: &ExportRequest) -> String {
    match &request.subject {
        Subject::Container(container) => format!("container {}", container.id),
        Subject::Images { images, .. } => format!("the images in {}", images.display()),
    }
}

fn state(request: &ExportRequest, kind: ErrorKind) -> Option<String> {
    let container = match &request.subject {
        Subject::Container(container) if kind == ErrorKind::Dump => format!("{} runs on; ", container.id),
        Subject::Container(_) if kind == ErrorKind::Other => return None,
        _ => String::new(),
    };
    let archive = match &request.output {
        Output::File(path) => format!("{} was not written; an older one is as it was", path.display()),
        Output::Stdout => "what was written to standard output is not an archive".to_owned(),
    };
    Some(format!("{container}{archive}"))
}

fn advice(request: &ExportRequest, kind: ErrorKind) -> Option<String> {
    let advice = match kind {
        ErrorKind::Host => "run `ckpt check`: it says what this host lacks".to_owned(),
        ErrorKind::NotFound => not_found(request),
        ErrorKind::Dump => "mend the cause and export again; `ckpt check` says what this host cannot dump".to_owned(),
        _ => return None,
    };
    Some(advice)
}

fn not_found(request: &ExportRequest) -> String {
    match &request.subject {
        Subject::Container(container) if container.state_root.is_none() => {
            "list containers with `runc list` and `crun list`; for a runtime with a state directory of its own \
             (podman, containerd, …) name that with --runtime-root"
                .to_owned()
        }
        _ => "list what is there with `runc --root DIR list` or `crun --root DIR list`".to_owned(),
    }
}
