//! `ckpt memory`: the memory of processes, its sizes, its bytes, and what can be found in it.

mod dump;
mod find;
pub mod walk;

pub use find::schema;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use super::Outcome;
use super::archive::Archive;
use super::args::MemoryArgs;
use super::inspect::Inspection;
use super::render::sheet::Sheet;
use super::render::{Stop, Ui, print};
use crate::error::ErrorKind;
use crate::images::{Finder, Part, Want};

/// Shows memory.
pub fn run(args: MemoryArgs, ui: &Ui) -> Outcome {
    let archive = Archive::new(args.file.clone(), None, "look into the memory of");
    match (finder(&args)?, args.pid) {
        (Some(finder), _) => find::run(&archive, finder, &args, ui)?,
        (None, Some(pid)) => dump::run(&archive, pid, &args)?,
        (None, None) => sizes(&archive, &args, ui)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What is to be found, if anything.
fn finder(args: &MemoryArgs) -> Result<Option<Finder>, Stop> {
    let made = match (&args.search, &args.regex, args.strings) {
        (Some(text), ..) => Finder::text(text),
        (_, Some(expression), _) => Finder::regex(expression),
        (_, _, Some(least)) => Finder::strings(least.into()),
        _ => return Ok(None),
    };
    made.map(Some).map_err(|error| {
        let what = "this cannot be searched for";
        super::render::failure::Failure::new(what, ErrorKind::Usage, &error).into()
    })
}

/// The memory of each process.
fn sizes(archive: &Archive, args: &MemoryArgs, ui: &Ui) -> Result<(), Stop> {
    let inspection = Inspection::of(archive, &archive.look()?, Want::default())?;
    let needed = [Part::Processes, Part::Memory];
    let problems = &inspection.inside.problems;
    if let Some(problem) = problems.iter().find(|problem| needed.contains(&problem.part)) {
        return Err(archive.fail_problem(&problem.problem));
    }
    let mut sheet = Sheet::default();
    super::inspect::memory(&mut sheet, &inspection);
    let json = serde_json::json!({
        "memory": inspection.inside.memory,
        "processes": inspection.inside.processes.iter().map(|process| serde_json::json!({
            "pid": process.pid, "name": process.name, "memory": process.memory,
        })).collect::<Vec<_>>(),
    });
    output(args.output.as_deref(), |out| match ui.json() {
        true => writeln!(out, "{json:#}"),
        false => sheet.write(out),
    })
}

/// Writes to the file that was named, or to standard output.
fn output(path: Option<&Path>, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Stop> {
    let Some(path) = path else { return print(write) };
    let failed = |error: io::Error| {
        let what = format!("cannot write {}", path.display());
        Stop::from(super::render::failure::Failure::new(what, ErrorKind::Other, &error))
    };
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    let mut out = io::BufWriter::new(anstream::StripStream::new(file));
    write(&mut out).and_then(|()| out.flush()).map_err(failed)
}
