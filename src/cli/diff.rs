//! `ckpt diff`: what is different between two checkpoints, of the same container or of two.
//!
//! Exit status as that of diff(1): 0 where nothing is different, 1 where something is, above that where they cannot be compared.

mod compare;
mod pages;
mod show;

use std::process::ExitCode;

pub use compare::Difference;

use super::Outcome;
use super::archive::Archive;
use super::args::DiffArgs;
use super::inspect::Inspection;
use super::look::{Look, SPEC};
use super::render::{Stop, Ui};
use crate::images::Want;

/// Something is different.
const DIFFERENT: u8 = 1;
/// They cannot be compared, and no other code says why.
const TROUBLE: u8 = 2;

/// One of the two.
pub struct Side {
    archive: Archive,
    inspection: Inspection,
    spec: Option<serde_json::Value>,
}

/// Compares two archives.
pub fn run(args: DiffArgs, ui: &Ui) -> Outcome {
    compared(&args, ui).map_err(|stop| match stop {
        // The exit code 1 says something else here.
        Stop::Failed(mut failure) if failure.exit_code == DIFFERENT => {
            failure.exit_code = TROUBLE;
            Stop::Failed(failure)
        }
        stop => stop,
    })
}

fn compared(args: &DiffArgs, ui: &Ui) -> Outcome {
    let (one, one_look) = Side::new(args.before.clone(), args)?;
    let (other, other_look) = Side::new(args.after.clone(), args)?;
    let memory = if args.no_pages {
        pages::sizes(&one, &other)
    } else {
        pages::compare(&one, &one_look, &other, &other_look)?
    };
    let difference = Difference::of(&one, &other, memory, args);
    ui.result(&difference, |out| show::sheet(&difference, args).write(out))?;
    Ok(if difference.same {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DIFFERENT)
    })
}

impl Side {
    fn new(file: std::path::PathBuf, args: &DiffArgs) -> Result<(Self, Look), Stop> {
        let archive = Archive::new(file, None, "compare");
        let look = archive.look()?;
        let want = Want {
            environment: args.env,
            ..Want::default()
        };
        let spec = look.entry(SPEC).and_then(|text| serde_json::from_slice(&text).ok());
        let inspection = Inspection::of(&archive, &look, want)?;
        let side = Self {
            archive,
            inspection,
            spec,
        };
        Ok((side, look))
    }
}

/// The JSON Schema of a [`Difference`].
pub fn schema() -> String {
    super::render::json::schema_of::<Difference>()
}
