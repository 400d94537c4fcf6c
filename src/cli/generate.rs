//! `ckpt completions` and `ckpt man`: what a package needs beside the program, from the definitions in `args`.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::args::{Cli, CompletionsArgs, ManArgs};
use super::render::failure::Failure;
use super::render::print;
use super::{Outcome, exit_codes};
use crate::error::ErrorKind;

const MANUAL: &str = "ckpt manual";
/// Month of the release, which every manual page bears; changed with the version.
const RELEASED: &str = "2026-11";
/// What ckpt is, for its own page.
const DESCRIPTION: &str = "ckpt moves running containers as files.

An export freezes a container with CRIU and writes its memory, configuration, limits, mounts and file changes into one \
checksummed archive. An import, on this or any other host, verifies that archive, adapts it to the host and goes on \
running the container where it stopped.";
/// What changes ckpt's behaviour without being typed.
const ENVIRONMENT: [(&str, &str); 3] = [
    (
        "CKPT_LOG",
        "What is told for diagnosis, for example ckpt=debug; overrides -v.",
    ),
    (
        "NO_COLOR",
        "When set to anything but the empty string, nothing is coloured.",
    ),
    (
        "SOURCE_DATE_EPOCH",
        "Seconds since 1970 that an archive gives as the time of its checkpoint, so that the same input gives the same bytes.",
    ),
];

/// What ckpt keeps on a host.
const FILES: [(&str, &str); 4] = [
    (
        "/var/lib/ckpt/containers",
        "Bundles of imported containers, unless --bundle names another place.",
    ),
    (
        "/var/lib/ckpt/work",
        "What CRIU and ckpt work in; removed after each command.",
    ),
    (
        "/var/lib/ckpt/logs",
        "CRIU's logs of failed exports and imports; the oldest go first.",
    ),
    (
        "/run/ckpt",
        "Locks, sockets, and what an export works in; removed after each command.",
    ),
];

/// Prints the completions of a shell.
pub fn completions(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ckpt", &mut script);
    print(|out| out.write_all(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the man pages into a directory.
pub fn man(args: &ManArgs) -> Outcome {
    for (name, page) in man_pages() {
        let path = args.directory.join(name);
        fs::write(&path, page).map_err(|source| Error { path }.because(&source))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A page that could not be written.
#[derive(Debug)]
struct Error {
    path: PathBuf,
}

impl Error {
    fn because(self, source: &io::Error) -> Failure {
        Failure::new(
            format!("cannot write {}", self.path.display()),
            ErrorKind::Other,
            source,
        )
    }
}

/// The man pages, by file name: one for `ckpt` and one for each command that people type.
#[must_use]
pub fn man_pages() -> Vec<(String, Vec<u8>)> {
    let mut root = Cli::command().long_about(DESCRIPTION);
    root.build();
    let commands: Vec<_> = root
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .cloned()
        .collect();
    let pages = commands.iter().map(|command| page(command, &["ckpt"]));
    let names: Vec<String> = commands
        .iter()
        .map(|command| format!("ckpt-{}", command.get_name()))
        .collect();
    let names: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .chain(["criu", "runc", "crun"])
        .collect();
    [page(&root, &names)].into_iter().chain(pages).collect()
}

fn page(command: &clap::Command, see_also: &[&str]) -> (String, Vec<u8>) {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .date(RELEASED)
        .manual(MANUAL)
        .source(format!("ckpt {}", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    // Writing into memory cannot fail.
    let _ = sections(&man, command, see_also, &mut text);
    (format!("{name}.1"), text)
}

fn sections(man: &Man, command: &clap::Command, see_also: &[&str], out: &mut Vec<u8>) -> io::Result<()> {
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    let mut rest = Roff::new();
    if command.has_subcommands() {
        subcommands(&mut rest, command);
    }
    examples(&mut rest, command);
    if command.has_subcommands() {
        exit_status(&mut rest);
        items(&mut rest, "ENVIRONMENT", &ENVIRONMENT);
        items(&mut rest, "FILES", &FILES);
    }
    rest.control("SH", ["SEE ALSO"]);
    let pages = see_also
        .iter()
        .map(|name| format!("{name}({})", if *name == "criu" || *name == "runc" { 8 } else { 1 }));
    rest.text([roman(pages.collect::<Vec<_>>().join(", "))]);
    rest.to_writer(out)
}

fn subcommands(roff: &mut Roff, root: &clap::Command) {
    roff.control("SH", ["COMMANDS"]);
    for command in root.get_subcommands().filter(|command| !command.is_hide_set()) {
        item(
            roff,
            command.get_name(),
            &command.get_about().map(ToString::to_string).unwrap_or_default(),
        );
    }
}

/// What follows the options in `--help`, line by line as it stands there.
fn examples(roff: &mut Roff, command: &clap::Command) {
    let Some(text) = command.get_after_help().map(ToString::to_string) else {
        return;
    };
    let (commands, remarks) = text.split_once("\n\n").unwrap_or((&text, ""));
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in commands.lines().skip(1) {
        roff.text([roman(line.trim_start())]);
    }
    roff.control("fi", []);
    // The list of exit codes at the end of the main help is a section of its own here.
    if !remarks.is_empty() && !command.has_subcommands() {
        roff.control("SH", ["NOTES"]);
        roff.text([roman(remarks.replace('\n', " "))]);
    }
}

fn exit_status(roff: &mut Roff) {
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in exit_codes() {
        item(roff, &code.to_string(), meaning);
    }
}

fn items(roff: &mut Roff, title: &str, list: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (name, text) in list {
        item(roff, name, text);
    }
}

fn item(roff: &mut Roff, name: &str, text: &str) {
    roff.control("TP", []);
    roff.text([bold(name)]);
    roff.text([roman(text)]);
}
