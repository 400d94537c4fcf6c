//! `ckpt criu-action`: the end of CRIU's action script that asks the session.

use std::process::ExitCode;

use super::Outcome;
use super::args::CriuActionArgs;
use super::render::failure::Failure;
use crate::criu;
use crate::error::ErrorKind;

/// Asks the session whether CRIU may go on. Whatever goes wrong is a no, which CRIU sees as an exit status other than 0.
pub fn run(args: &CriuActionArgs) -> Outcome {
    if args.undo {
        return match criu::undo_action(&args.socket) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => Err(Failure::new("a link of the container stays down", ErrorKind::Other, &error).into()),
        };
    }
    let action = std::env::var("CRTOOLS_SCRIPT_ACTION").unwrap_or_default();
    let init_pid = std::env::var("CRTOOLS_INIT_PID").ok();
    match criu::run_action(&args.socket, &action, init_pid.as_deref()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::new(format!("{action} was refused"), ErrorKind::Other, &error).into()),
    }
}
