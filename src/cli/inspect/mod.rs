//! `ckpt inspect`: what an archive says of itself, and what CRIU's images in it say.
//!
//! Without options, a short view; each option shows one part in full and nothing else. JSON has every part always, but
//! environments and mappings, which are long and may be secret, only where they are asked for.

mod inspection;
mod processes;
mod sections;
mod sheet;

use std::process::ExitCode;

pub use inspection::{Inspection, schema};
pub use processes::short;

use super::Outcome;
use super::archive::Archive;
use super::args::InspectArgs;
use super::render::{Stop, Ui};
use crate::images::{Part, Want};

/// Shows what is in archives.
pub fn run(args: InspectArgs, ui: &Ui) -> Outcome {
    let mut inspections = Vec::new();
    for file in &args.archives {
        let archive = Archive::new(file.clone(), None, "inspect");
        let inspection = Inspection::of(&archive, &archive.look()?, want(&args))?;
        require(&archive, &inspection, &args)?;
        inspections.push(inspection);
    }
    match inspections.as_slice() {
        [one] => ui.result(one, |out| show(one, &args).write(out))?,
        several => ui.result(&several, |out| {
            several.iter().enumerate().try_for_each(|(number, inspection)| {
                let gap = if number > 0 { "\n" } else { "" };
                writeln!(out, "{gap}{}:", super::render::text::visible(&inspection.file))?;
                show(inspection, &args).write(out)
            })
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The memory of an archive's processes.
pub fn memory(sheet: &mut super::render::sheet::Sheet, inspection: &Inspection) {
    sections::memory(sheet, &inspection.inside.memory, &inspection.inside.processes);
}

fn want(args: &InspectArgs) -> Want {
    Want {
        environment: args.parts.ps_tree_env || args.parts.all,
        mappings: args.parts.maps,
        pid: args.parts.pid,
    }
}

fn show(inspection: &Inspection, args: &InspectArgs) -> super::render::sheet::Sheet {
    match args.parts.any() {
        false => sheet::whole(inspection),
        true => sections::chosen(inspection, &args.parts),
    }
}

/// A part that was asked for by name and cannot be shown is an error; in the short view it is a line.
fn require(archive: &Archive, inspection: &Inspection, args: &InspectArgs) -> Result<(), Stop> {
    let parts = &args.parts;
    if parts.stats
        && let Some(problem) = &inspection.statistics_problem
    {
        return Err(archive.fail_problem(problem));
    }
    let needs = |part| match part {
        Part::Processes => parts.processes() || parts.pid.is_some(),
        Part::Memory => parts.ps_tree_cmd || parts.ps_tree_env || parts.memory || parts.maps,
        Part::Files => parts.files || parts.sockets,
        Part::Mounts => parts.mounts,
        Part::Network => parts.network,
        Part::Cgroups => parts.cgroups,
        Part::Host => false,
    };
    match inspection.inside.problems.iter().find(|problem| needs(problem.part)) {
        Some(problem) => Err(archive.fail_problem(&problem.problem)),
        None => Ok(()),
    }
}
