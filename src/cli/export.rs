//! `ckpt export`.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use super::args::{ExportArgs, UsageError};
use super::render::failure::Failure;
use super::render::json::{Exported, Line};
use super::render::{Stop, Ui, text};
use super::signals::Interrupted;
use super::{Outcome, wrong_usage};
use crate::criu;
use crate::error::{Error, ErrorKind, Fate};
use crate::export::Report;
use crate::request::{ContainerRef, ExportRequest, Output, ProcessRef, RuntimeKind, Subject};

/// Exports a container.
pub fn run(args: ExportArgs, ui: &Ui) -> Outcome {
    let request = ExportRequest::try_from(args).map_err(|error| wrong_usage("export", &error, ui))?;
    if request.output == Output::Stdout && io::stdout().is_terminal() {
        return Err(wrong_usage("export", &UsageError::OutputIsTerminal, ui));
    }
    let interrupted = Interrupted::listen().map_err(|error| Stop::signals(&error))?;
    let report = {
        let progress = ui.progress();
        crate::export::export(&request, &progress, &|| interrupted.yes())
    };
    let report = report.map_err(|error| failure(&request, &error))?;
    show(&request, &report, ui)?;
    Ok(ExitCode::SUCCESS)
}

/// Says what was made: on standard output, or on standard error where the archive itself went to standard output.
fn show(request: &ExportRequest, report: &Report, ui: &Ui) -> Result<(), Stop> {
    let exported = Exported {
        container: report.container.clone(),
        archive: report.archive.clone(),
        identity: report.identity.to_string(),
        content_bytes: report.content_bytes,
        archive_bytes: report.archive_bytes,
        frozen_seconds: report.frozen.map(|frozen| frozen.as_secs_f64()),
        running: report.running,
    };
    match request.output {
        Output::Stdout if ui.quiet() => Ok(()),
        Output::Stdout => {
            ui.tell(&Line::Exported(exported), &sentence(report));
            Ok(())
        }
        Output::File(_) if ui.quiet() && !ui.json() => Ok(()),
        Output::File(_) => ui.result(&exported, |out| writeln!(out, "{}", text::visible(&sentence(report)))),
    }
}

fn sentence(report: &Report) -> String {
    let place = report
        .archive
        .as_ref()
        .map(|path| format!(" to {}", path.display()))
        .unwrap_or_default();
    let sizes = format!(
        "{} of content in {}",
        text::bytes(report.content_bytes),
        text::bytes(report.archive_bytes)
    );
    let frozen = report
        .frozen
        .map(|frozen| format!(", frozen for {}", text::seconds(frozen)))
        .unwrap_or_default();
    let running = if report.running && report.frozen.is_some() {
        "; it runs on"
    } else {
        ""
    };
    format!("{} exported{place} ({sizes}{frozen}){running}", report.container)
}

/// What failed, what state the container and the archive are in, and what to do.
fn failure(request: &ExportRequest, error: &Error) -> Failure {
    let what = format!("cannot export {}", subject(request));
    let kind = error.kind();
    let advice = match error.advice() {
        _ if stopped(error) => None,
        Some(advice) => Some(advice.to_owned()),
        None => advice(request, kind),
    };
    match error {
        Error::Dump {
            container,
            fate,
            log,
            source,
        } => Failure::new(what, kind, source)
            .state(Some(format!("{container} {fate}; {}", archive(request, fate, source))))
            .log(log.clone())
            .advice(match &**source {
                _ if stopped(error) => None,
                Error::Ending(_) => {
                    Some("end the container with its runtime, or let it run on; the archive is good".to_owned())
                }
                _ => broken(fate).or(advice),
            }),
        // It failed before the container was touched.
        other => Failure::new(what, kind, other)
            .state(Some(archive(request, &Fate::RunsOn, other)))
            .advice(advice),
    }
}

/// Whether somebody asked for it, who then knows what to do.
fn stopped(error: &Error) -> bool {
    match error {
        Error::Dump { source, .. } => stopped(source),
        Error::Criu(criu::Error::Interrupted) => true,
        _ => false,
    }
}

fn subject(request: &ExportRequest) -> String {
    match &request.subject {
        Subject::Container(container) => format!("container {}", container.id),
        Subject::Process(ProcessRef::Pid(pid)) => format!("process {pid}"),
        Subject::Process(ProcessRef::Unit(unit)) => format!("unit {unit}"),
        Subject::Images { images, .. } => format!("the images in {}", images.display()),
    }
}

/// The archive after a failure.
fn archive(request: &ExportRequest, fate: &Fate, error: &Error) -> String {
    match (&request.output, fate) {
        (Output::Stdout, _) if matches!(error, Error::Ending(_)) => "its archive is complete".to_owned(),
        (Output::File(path), _) if matches!(error, Error::Ending(_)) => format!("{} is complete", path.display()),
        (Output::Stdout, _) => "what went to standard output is no archive".to_owned(),
        // It ends only once its archive is complete; that something failed afterwards does not unmake it.
        (Output::File(path), Fate::Gone) => format!("`ckpt verify {}` tells whether it is complete", path.display()),
        (Output::File(path), _) => format!("{} was not written, an older one is as it was", path.display()),
    }
}

/// What to do about a container that a CRIU that was killed has broken.
fn broken(fate: &Fate) -> Option<String> {
    let text = match fate {
        Fate::Harmed(_) => {
            "if the container needs what is no longer as it was, start it anew, or import an older archive"
        }
        Fate::Is(status) if status == "stopped" => "start the container anew, or import an older archive",
        _ => return None,
    };
    Some(text.to_owned())
}

fn advice(request: &ExportRequest, kind: ErrorKind) -> Option<String> {
    let advice = match kind {
        ErrorKind::Host => "run `ckpt check`: it says what this host lacks",
        ErrorKind::NotFound => not_found(request),
        ErrorKind::Dump => "mend the cause and export again; `ckpt check` says what this host cannot dump",
        _ => return None,
    };
    Some(advice.to_owned())
}

fn not_found(request: &ExportRequest) -> &'static str {
    match &request.subject {
        Subject::Container(ContainerRef {
            runtime: Some(RuntimeKind::Lxc),
            ..
        }) => "`lxc-ls --fancy`, with -P LXCPATH where that is another, shows what there is",
        Subject::Container(ContainerRef {
            runtime: Some(RuntimeKind::Podman),
            ..
        }) => "`podman ps --all` shows what there is; containers of rootless podman nobody can checkpoint",
        Subject::Container(container) if container.state_root.is_none() => {
            "`runc list`, `crun list`, `lxc-ls --fancy` and `podman ps --all` show what there is; for a runtime with a state \
             directory of its own (as containerd gives it) name that with --runtime-root. Containers of rootless podman \
             nobody can checkpoint"
        }
        Subject::Process(_) => "`ps -e` shows the processes, `systemctl list-units` the units that there are",
        _ => "`runc --root DIR list` or `crun --root DIR list` shows what there is",
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use clap::Parser as _;

    use super::super::args::{Cli, Command};
    use super::*;
    use crate::archive::Digest;
    use crate::runtime;

    fn request(line: &str) -> ExportRequest {
        match Cli::try_parse_from(["ckpt", "export"].into_iter().chain(line.split(' ')))
            .unwrap()
            .command
        {
            Command::Export(args) => ExportRequest::try_from(*args).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn told(line: &str, error: &Error) -> String {
        anstream::adapter::strip_str(&failure(&request(line), error).render()).to_string()
    }

    #[test]
    fn a_failed_dump_names_cause_state_log_and_advice() {
        let lines = vec!["(00.01) Error (criu/sk-inet.c:191): inet: Connected TCP socket".to_owned()];
        let ended = criu::Error::Ended {
            program: "runc".into(),
            status: "exit status: 1".into(),
            expected: "post-dump",
            lines,
        };
        let error = Error::Dump {
            container: "db".into(),
            fate: Fate::RunsOn,
            log: Some("/var/lib/ckpt/logs/db.log".into()),
            source: Box::new(ended.into()),
        };
        insta::assert_snapshot!(told("db -o db.ckpt", &error), @"
        ckpt: cannot export container db
          cause: runc ended with exit status: 1 before CRIU reached post-dump
                 (00.01) Error (criu/sk-inet.c:191): inet: Connected TCP socket
          state: db runs on; db.ckpt was not written, an older one is as it was
          log:   /var/lib/ckpt/logs/db.log
          to do: mend the cause and export again; `ckpt check` says what this host cannot dump
        ");
    }

    #[test]
    fn without_a_runtime_one_is_to_be_installed() {
        let programs = "runc, crun, lxc-checkpoint, podman".into();
        let error = runtime::Error::NoneInstalled { programs }.into();
        insta::assert_snapshot!(told("web -o web.ckpt", &error), @"
        ckpt: cannot export container web
          cause: no container runtime is installed: none of runc, crun, lxc-checkpoint, podman was found in PATH
          state: web.ckpt was not written, an older one is as it was
          to do: install the runtime that runs the container, or have the directory that it is in in PATH (sudo and ssh may set another PATH than your shell's)
        ");
    }

    #[test]
    fn advice_is_of_the_error_where_its_class_says_too_little() {
        let id = || "web".to_owned();
        let (status, holder) = ("paused".to_owned(), "pid 7".to_owned());
        for (error, advice) in [
            (runtime::Error::NotRunning { id: id(), status }, "resume it"),
            (
                runtime::Error::Busy { id: id(), holder },
                "wait until that one has ended",
            ),
            (runtime::Error::NotInstalled { program: "crun" }, "install it, or have"),
        ] {
            let text = told("web -o f", &error.into());
            assert!(text.contains(&format!("to do: {advice}")), "{text}");
        }
    }

    #[test]
    fn an_unknown_container_is_told_with_where_to_look() {
        let error = runtime::Error::NotFound {
            id: "web".into(),
            runtimes: "runc, crun".into(),
        }
        .into();
        insta::assert_snapshot!(told("web -o -", &error), @r#"
        ckpt: cannot export container web
          cause: no container "web" (asked: runc, crun)
          state: what went to standard output is no archive
          to do: `runc list`, `crun list`, `lxc-ls --fancy` and `podman ps --all` show what there is; for a runtime with a state directory of its own (as containerd gives it) name that with --runtime-root. Containers of rootless podman nobody can checkpoint
        "#);
    }

    #[test]
    fn a_container_that_is_gone_has_an_archive_to_look_at() {
        let source = Box::new(criu::Error::Interrupted.into());
        let error = Error::Dump {
            container: "w".into(),
            fate: Fate::Gone,
            log: None,
            source,
        };
        assert!(told("w -o w.ckpt", &error).contains("state: w is gone; `ckpt verify w.ckpt` tells"));
    }

    #[test]
    fn the_result_is_one_sentence() {
        let report = Report {
            container: "web".into(),
            archive: Some(PathBuf::from("web.ckpt")),
            identity: Digest::of(b""),
            content_bytes: 3 << 20,
            archive_bytes: 1 << 20,
            frozen: Some(Duration::from_millis(420)),
            running: false,
        };
        assert_eq!(
            sentence(&report),
            "web exported to web.ckpt (3.0 MiB of content in 1.0 MiB, frozen for 0.42 s)"
        );
        let report = Report {
            archive: None,
            running: true,
            ..report
        };
        let want = "web exported (3.0 MiB of content in 1.0 MiB, frozen for 0.42 s); it runs on";
        assert_eq!(sentence(&report), want);
        // A dump of somebody else: nothing was frozen, and nothing is known to run.
        let foreign = Report { frozen: None, ..report };
        assert_eq!(sentence(&foreign), "web exported (3.0 MiB of content in 1.0 MiB)");
    }
}
