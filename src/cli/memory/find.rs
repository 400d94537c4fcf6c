//! What is found in memory.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::super::archive::Archive;
use super::super::args::MemoryArgs;
use super::super::render::{Stop, Ui, text};
use super::walk;
use crate::images::{Address, Finder, Found, ProcessRegions, Scanner};

/// Matches that `--json` lists: they are in memory until all are found.
const MOST_MATCHES: usize = 1 << 20;
/// Bytes of a match that are shown.
const SHOWN: usize = 4096;

/// What `--json` prints.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Matches {
    /// The matches, in the order of the pages images of each process.
    pub matches: Vec<Match>,
    /// Whether there are more than are listed.
    pub cut: bool,
    /// Bytes that were searched.
    pub searched: u64,
    /// Bytes that are in the images of a parent, and were not.
    pub in_parent: u64,
}

/// A match.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Match {
    /// Address of its first byte.
    pub address: Address,
    /// Process id.
    pub pid: u32,
    /// Name of the process.
    pub process: String,
    /// The mapping that it is in: a path, or a name in brackets.
    pub mapping: String,
    /// Protection of the mapping.
    pub protection: String,
    /// Its length, bytes.
    pub length: u64,
    /// Its bytes as text; what is not printable ASCII is `\xNN`.
    pub text: String,
    /// What is before it, likewise.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub before: String,
    /// What is after it, likewise.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub after: String,
}

/// Searches the memory of the processes.
pub fn run(archive: &Archive, finder: Finder, args: &MemoryArgs, ui: &Ui) -> Result<(), Stop> {
    let look = archive.look()?;
    let processes = walk::processes(archive, &look, args.pid)?;
    let mut scanners: Vec<Scanner> = processes
        .iter()
        .map(|_| Scanner::new(finder.clone(), args.context))
        .collect();
    let mut result = Ok(());
    super::output(args.output.as_deref(), |out| {
        let mut tell = Tell::new(out, ui.json(), &processes);
        result = walk::walk(archive, &look, &processes, &mut |number, address, bytes| {
            scanners[number].feed(address, bytes, &mut |found| tell.found(number, found))
        });
        for (number, scanner) in scanners.iter_mut().enumerate() {
            if result.is_ok() {
                result = scanner.finish(&mut |found| tell.found(number, found));
            }
        }
        if result.is_ok() { tell.end() } else { Ok(()) }
    })?;
    result
}

/// Tells matches, at once or, as JSON, at the end.
struct Tell<'a> {
    out: &'a mut dyn Write,
    json: Option<Matches>,
    processes: &'a [ProcessRegions],
    count: u64,
}

impl<'a> Tell<'a> {
    fn new(out: &'a mut dyn Write, json: bool, processes: &'a [ProcessRegions]) -> Self {
        Self {
            out,
            json: json.then(Matches::default),
            processes,
            count: 0,
        }
    }

    fn found(&mut self, number: usize, found: Found<'_>) -> Result<(), Stop> {
        let one = Match::of(&self.processes[number], found);
        self.count += 1;
        match &mut self.json {
            Some(json) if json.matches.len() < MOST_MATCHES => json.matches.push(one),
            Some(json) => json.cut = true,
            None => self.line(&one).map_err(|error| Stop::stdout(&error))?,
        }
        Ok(())
    }

    fn line(&mut self, one: &Match) -> io::Result<()> {
        if self.count == 1 {
            writeln!(self.out, "{:<12}  {:>6}  MATCH, and where it is", "ADDRESS", "PID")?;
        }
        let Match {
            address,
            pid,
            before,
            after,
            ..
        } = one;
        let place = format!("{} {}", one.protection, text::visible(&one.mapping));
        writeln!(self.out, "{address}  {pid:>6}  {before}{}{after}  ({place})", one.text)
    }

    fn end(self) -> io::Result<()> {
        let (searched, in_parent) = self.processes.iter().fold((0, 0), |(stored, parent), process| {
            (stored + process.stored(), parent + process.in_parent)
        });
        if let Some(json) = self.json {
            let json = Matches {
                searched,
                in_parent,
                ..json
            };
            return writeln!(self.out, "{}", serde_json::to_string_pretty(&json)?);
        }
        let what = if self.count == 1 { "match" } else { "matches" };
        writeln!(self.out, "{} {what} in {}", self.count, text::bytes(searched))?;
        if in_parent > 0 {
            writeln!(
                self.out,
                "not searched: {} in the images of a parent",
                text::bytes(in_parent)
            )?;
        }
        Ok(())
    }
}

impl Match {
    fn of(process: &ProcessRegions, found: Found<'_>) -> Self {
        let mapping = process.mapping(found.address);
        Self {
            address: Address(found.address),
            pid: process.pid,
            process: process.name.clone(),
            mapping: mapping.map_or_else(|| "[none]".to_owned(), |mapping| mapping.label()),
            protection: mapping.map(|mapping| mapping.protection.clone()).unwrap_or_default(),
            length: found.bytes.len() as u64,
            text: printable(&found.bytes[..found.bytes.len().min(SHOWN)]),
            before: printable(found.before),
            after: printable(found.after),
        }
    }
}

/// Bytes as printable ASCII: what is shown can be told apart, whatever it was.
fn printable(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| match byte {
            b'\\' => "\\\\".chars().collect::<Vec<_>>(),
            0x20..0x7f => vec![char::from(*byte)],
            _ => format!("\\x{byte:02x}").chars().collect(),
        })
        .collect()
}

/// The JSON Schema of [`Matches`].
pub fn schema() -> String {
    super::super::render::json::schema_of::<Matches>()
}
