//! `ckpt import`.

mod detach;
mod status;

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use super::args::{ImportArgs, UsageError};
use super::render::failure::Failure;
use super::render::{Stop, Ui, text};
use super::signals::Interrupted;
use super::{Outcome, wrong_usage};
use crate::error::{Error, ErrorKind};
use crate::import::Outcome as Imported;
use crate::request::{ImportRequest, Input};
use crate::rewrite;
use detach::Detaching;

/// Imports an archive.
pub fn run(args: ImportArgs, ui: &Ui) -> Outcome {
    if let Some(container) = &args.status {
        return status::run(container.as_deref(), ui);
    }
    let detach = args.detach;
    let request = ImportRequest::try_from(args).map_err(|error| wrong_usage("import", &error, ui))?;
    if request.input == Input::Stdin && io::stdin().is_terminal() {
        return Err(wrong_usage("import", &UsageError::InputIsTerminal, ui));
    }
    if detach && !detach::is_worker() {
        return detach::launch();
    }
    let interrupted = Interrupted::listen().map_err(|error| Stop::signals(&error))?;
    if detach {
        let events = Detaching::new(ui);
        let stop = || interrupted.yes() || events.is_abandoned();
        // What is to be shown was shown when the container began to run.
        crate::import::import(&request, &events, &stop).map_err(|error| failure(&request, &error))?;
        return Ok(ExitCode::SUCCESS);
    }
    let imported = {
        let progress = ui.progress();
        crate::import::import(&request, &progress, &|| interrupted.yes())
    };
    let imported = imported.map_err(|error| failure(&request, &error))?;
    match &imported {
        // The terminal is its own now, and so is what is on it.
        Imported::Restored(restored) if restored.job => crate::import::wait_for_job(restored.pid),
        _ => show(&imported, ui)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what was made. A plan was asked for, so it is shown even where only errors are.
fn show(imported: &Imported, ui: &Ui) -> Result<(), Stop> {
    let planned = matches!(imported, Imported::Planned(_));
    if ui.quiet() && !ui.json() && !planned {
        return Ok(());
    }
    match imported {
        // The plan alone, as its schema says.
        Imported::Planned(plan) => ui.result(&plan.to_json(), |out| lines(out, &plan.lines())),
        other => ui.result(other, |out| lines(out, &[sentence(other)])),
    }
}

fn lines(out: &mut dyn Write, lines: &[String]) -> io::Result<()> {
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{}", text::printable(line)))
}

fn sentence(imported: &Imported) -> String {
    match imported {
        Imported::Restored(restored) => {
            let (bundle, pid) = (restored.bundle.display(), restored.pid);
            if restored.runtime == rewrite::processes::RUNTIME {
                return format!("{} goes on here (process {pid})", restored.container);
            }
            format!(
                "{} goes on here ({}, process {pid}, bundle {bundle})",
                restored.container, restored.runtime
            )
        }
        Imported::Ready {
            container,
            bundle,
            images,
        } => {
            format!(
                "{container} is ready, not restored (bundle {}, images {})",
                bundle.display(),
                images.display()
            )
        }
        Imported::Planned(plan) => plan.lines().join("\n"),
    }
}

/// The state of this host after whatever failed before the first step.
const UNTOUCHED: &str = "nothing was started or changed on this host";

/// What failed, what state this host is in, and what to do.
fn failure(request: &ImportRequest, error: &Error) -> Failure {
    let file = super::source_name(&request.input);
    let what = format!("cannot import {file}");
    let kind = error.kind();
    let advice = error.advice().map(str::to_owned).or_else(|| advice(&file, kind));
    match error {
        Error::Restore { log, left, source, .. } => Failure::new(what, kind, source)
            .state(Some(remains(left)))
            .log(log.clone())
            .advice(advice),
        Error::Rewrite(rewrite::Error::Apply(apply)) => {
            let left: Vec<String> = apply.left.iter().map(ToString::to_string).collect();
            Failure::new(what, kind, apply)
                .state(Some(remains(&left)))
                .advice(advice)
        }
        // Everything that needs the archive's file comes before anything else is touched.
        Error::Archive(error) => Failure::new(what, kind, error)
            .state(Some(UNTOUCHED.to_owned()))
            .advice(advice),
        other => Failure::new(what, kind, other).state(state(kind)).advice(advice),
    }
}

/// What a failed restore left behind.
fn remains(left: &[String]) -> String {
    if left.is_empty() {
        "nothing of it is left on this host, and the archive is as it was".to_owned()
    } else {
        format!(
            "the archive is as it was; this could not be taken away again:\n{}",
            left.join("\n")
        )
    }
}

fn state(kind: ErrorKind) -> Option<String> {
    match kind {
        // What became of the host is in the error itself, if anything did.
        ErrorKind::Other => None,
        _ => Some(UNTOUCHED.to_owned()),
    }
}

fn advice(file: &str, kind: ErrorKind) -> Option<String> {
    let advice = match kind {
        ErrorKind::Host => format!("run `ckpt check {file}`: it says what this host lacks for it"),
        ErrorKind::Archive => super::ARCHIVE_ADVICE.to_owned(),
        ErrorKind::Restore => {
            format!("mend the cause and import again at once; `ckpt check {file}` compares this host with it")
        }
        ErrorKind::Policy => format!("look at what it asks for with `ckpt inspect {file}` before you allow it"),
        _ => return None,
    };
    Some(advice)
}

#[cfg(test)]
mod tests {
    use super::super::args::{Cli, Command};
    use super::*;
    use crate::criu;

    use clap::Parser as _;

    fn request(line: &str) -> ImportRequest {
        match Cli::try_parse_from(["ckpt", "import"].into_iter().chain(line.split(' ')))
            .unwrap()
            .command
        {
            Command::Import(args) => ImportRequest::try_from(*args).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn told(error: &Error) -> String {
        anstream::adapter::strip_str(&failure(&request("web.ckpt"), error).render()).to_string()
    }

    fn restore(left: Vec<String>) -> Error {
        let lines = vec!["(00.1) Error (criu/cr-restore.c:1480): Can't fork for 7: File exists".to_owned()];
        let source = criu::Error::Ended {
            program: "runc".into(),
            status: "exit status: 1".into(),
            expected: "post-restore",
            lines,
        };
        let log = Some("/var/lib/ckpt/logs/web.log".into());
        Error::Restore {
            container: "web".into(),
            log,
            left,
            source: Box::new(source.into()),
        }
    }

    #[test]
    fn a_failed_restore_says_that_nothing_is_left() {
        insta::assert_snapshot!(told(&restore(Vec::new())), @"
        ckpt: cannot import web.ckpt
          cause: runc ended with exit status: 1 before CRIU reached post-restore
                 (00.1) Error (criu/cr-restore.c:1480): Can't fork for 7: File exists
          state: nothing of it is left on this host, and the archive is as it was
          log:   /var/lib/ckpt/logs/web.log
          to do: mend the cause and import again at once; `ckpt check web.ckpt` compares this host with it
        ");
    }

    #[test]
    fn what_could_not_be_taken_away_is_named() {
        let text = told(&restore(vec![
            "the mount /a: busy".into(),
            "the cgroup /b: busy".into(),
        ]));
        assert!(
            text.contains("again:\n         the mount /a: busy\n         the cgroup /b: busy\n"),
            "{text}"
        );
    }
}
