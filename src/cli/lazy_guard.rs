//! `ckpt lazy-guard`: the process that ends a container whose memory nobody can complete any more.

use std::process::ExitCode;

use super::args::LazyGuardArgs;
use super::render::Ui;
use super::render::failure::Failure;
use super::{Outcome, wrong_usage};
use crate::import::{self, GuardOrder};

/// Watches until the lazy import that started it is over.
pub fn run(args: LazyGuardArgs, ui: &Ui) -> Outcome {
    let order = GuardOrder::try_from(args).map_err(|error| wrong_usage("lazy-guard", &error, ui))?;
    match import::guard(&order) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::new("cannot guard a lazy import", error.kind(), &error).into()),
    }
}
