//! `ckpt report`: a checkpoint as one page for a browser.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::Outcome;
use super::archive::Archive;
use super::args::ReportArgs;
use super::inspect::Inspection;
use super::look::{LOG, Look};
use super::memory::walk;
use super::render::failure::Failure;
use super::render::{Stop, Ui, print};
use crate::criu::wire::PAGE_SIZE;
use crate::error::ErrorKind;
use crate::images::{ProcessRegions, Want};
use crate::report::{Coverage, MappingCells, Span, page, timeline};

/// Mappings that are listed of a process, the largest ones.
const MAPPINGS: usize = 1000;
/// Processes whose mappings are listed.
const PROCESSES: usize = 300;

/// What the page shows.
#[derive(Serialize)]
struct Data {
    version: &'static str,
    file: String,
    inspection: Inspection,
    timeline: Vec<Span>,
    mappings: BTreeMap<u32, Vec<MappingCells>>,
    /// Mappings that are not listed, by process.
    cut_mappings: BTreeMap<u32, usize>,
}

/// Writes the page.
pub fn run(args: ReportArgs, ui: &Ui) -> Outcome {
    let archive = Archive::new(args.file, None, "report on");
    let look = archive.look()?;
    let want = Want {
        environment: args.env,
        ..Want::default()
    };
    let inspection = Inspection::of(&archive, &look, want)?;
    let log = look.entry(LOG).unwrap_or_default();
    let mut data = Data {
        version: env!("CARGO_PKG_VERSION"),
        file: file_name(&archive.name()),
        inspection,
        timeline: timeline(&String::from_utf8_lossy(&log)),
        mappings: BTreeMap::new(),
        cut_mappings: BTreeMap::new(),
    };
    // What is wrong with the images is among the problems of the inspection already.
    if let Ok(processes) = ProcessRegions::read(look.images(), None) {
        cover(&archive, &look, &processes, args.no_pages, &mut data)?;
    }
    let title = format!("{}: checkpoint", data.inspection.manifest.container.name);
    let text = page(&title, &data);
    write(&args.output, &text)?;
    if args.output != Path::new("-") && !ui.quiet() {
        let size = super::render::text::bytes(text.len() as u64);
        let name = args.output.display().to_string();
        print(|out| writeln!(out, "{} ({size})", super::render::text::visible(&name)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A name without the directories of whoever makes the page.
fn file_name(name: &str) -> String {
    let name = Path::new(name)
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "standard input".to_owned())
}

/// Fills the cells of every mapping: from pagemaps alone, or, where zeros are to be told, from the pages.
fn cover(
    archive: &Archive,
    look: &Look,
    processes: &[ProcessRegions],
    no_pages: bool,
    data: &mut Data,
) -> Result<(), Stop> {
    let processes = &processes[..processes.len().min(PROCESSES)];
    let mut covered: Vec<Vec<Coverage>> = processes
        .iter()
        .map(|process| process.mappings.iter().map(Coverage::new).collect())
        .collect();
    let mut note = |number: usize, address: u64, zero: bool| {
        let next = processes[number]
            .mappings
            .partition_point(|mapping| mapping.start.0 <= address);
        if let Some(coverage) = next.checked_sub(1).and_then(|at| covered[number].get_mut(at)) {
            coverage.page(address, zero);
        }
    };
    // A pipe has gone by.
    let looked = !no_pages && (look.archived().is_some() || !archive.passes_once());
    if looked {
        walk::walk(archive, look, processes, &mut |number, address, bytes| {
            for (at, page) in bytes.chunks(PAGE_SIZE as usize).enumerate() {
                note(
                    number,
                    address + at as u64 * PAGE_SIZE,
                    page.iter().all(|byte| *byte == 0),
                );
            }
            Ok(())
        })?;
    } else {
        for (number, process) in processes.iter().enumerate() {
            for region in process.parts.iter().flat_map(|part| &part.regions) {
                for at in (0..region.length).step_by(PAGE_SIZE as usize) {
                    note(number, region.address + at, false);
                }
            }
        }
    }
    for (process, covered) in processes.iter().zip(&covered) {
        let mut cells: Vec<MappingCells> = covered.iter().map(|coverage| coverage.cells(looked)).collect();
        if cells.len() > MAPPINGS {
            data.cut_mappings.insert(process.pid, cells.len() - MAPPINGS);
            cells.sort_by_key(|cells| std::cmp::Reverse(cells.length));
            cells.truncate(MAPPINGS);
            cells.sort_by_key(|cells| cells.start);
        }
        data.mappings.insert(process.pid, cells);
    }
    Ok(())
}

/// Writes the page beside its place and puts it there whole. It may hold secrets: only its owner can read it.
fn write(path: &PathBuf, text: &str) -> Result<(), Stop> {
    if path == Path::new("-") {
        return print(|out| out.write_all(text.as_bytes()));
    }
    let failed = |error: std::io::Error| {
        let what = format!("cannot write {}", path.display());
        Stop::from(Failure::new(what, ErrorKind::Other, &error))
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let mut options = OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(&part);
    let written = made.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        std::fs::rename(&part, path)
    });
    written.map_err(|error| {
        // It is of no use to anybody.
        let _ = std::fs::remove_file(&part);
        failed(error)
    })
}
