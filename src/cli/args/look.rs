//! Arguments of the commands that look into checkpoints: `list`, `memory`, `diff`, `report`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::images::MOST_CONTEXT;

const MEMORY_EXAMPLES: &str = "Examples:
  ckpt memory web.ckpt                              how much each process has
  ckpt memory web.ckpt --pid 7 | less               the bytes, as hexdump -C shows them
  ckpt memory web.ckpt --search password -c 20      in every process
  ckpt memory web.ckpt --pid 7 --regex 'id=[0-9]+'
  ckpt memory web.ckpt --pid 7 --strings -o strings.txt

Pages that an archive has are searched: those that CRIU did not write (never touched, or the same in a file) are not. \
A match may cross pages and frames, but not a gap in memory; one of more than 64 KiB may be cut. Memory may hold \
secrets: what is written to a file is readable for its owner alone.

Exit status 0, whether or not anything matched.";

const LIST_EXAMPLES: &str = "Examples:
  ckpt list                            those of the kubelet, in /var/lib/kubelet/checkpoints
  ckpt list /srv/checkpoints
  ckpt list -l *.tar                   with image, identifier, runtime, addresses and sizes

In a directory, files that are no archives are told on standard error and passed over.";
const DIFF_EXAMPLES: &str = "Examples:
  ckpt diff yesterday.ckpt today.ckpt
  ckpt diff a.ckpt b.ckpt --env --unchanged
  ckpt diff a.tar b.ckpt --json | jq .processes.added

Lines begin with + for what only B has, - for what only A has, ~ for what is not the same.

Exit status: 0 nothing is different, 1 something is, 2 and above they could not be compared.";

const REPORT_EXAMPLES: &str = "Examples:
  ckpt report web.ckpt -o web.html
  ckpt report checkpoint-web.tar -o - > web.html

The page needs no network and no other file: process tree, memory by process, address spaces, timeline, files, sockets, mounts. \
It shows command lines, paths and addresses, and is readable for its owner alone.";

/// Arguments of `ckpt list`.
#[derive(Debug, Clone, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub struct ListArgs {
    /// Directories and archives
    #[arg(value_name = "DIR|FILE", value_hint = ValueHint::AnyPath)]
    pub places: Vec<PathBuf>,
    /// Show images, identifiers, runtimes, addresses and the sizes of parts, too
    #[arg(short, long)]
    pub long: bool,
}

/// Arguments of `ckpt diff`.
#[derive(Debug, Clone, Args)]
#[command(after_help = DIFF_EXAMPLES)]
pub struct DiffArgs {
    /// The first archive
    #[arg(value_name = "A", value_hint = ValueHint::FilePath)]
    pub before: PathBuf,
    /// The second archive
    #[arg(value_name = "B", value_hint = ValueHint::FilePath)]
    pub after: PathBuf,
    /// Compare environments, too, which may hold secrets
    #[arg(long, visible_alias = "ps-tree-env")]
    pub env: bool,
    /// Show what is the same, too
    #[arg(long, visible_alias = "show-unchanged")]
    pub unchanged: bool,
    /// Compare the sizes of memory, not every page of it
    #[arg(long)]
    pub no_pages: bool,
}

/// Arguments of `ckpt report`.
#[derive(Debug, Clone, Args)]
#[command(after_help = REPORT_EXAMPLES)]
pub struct ReportArgs {
    /// The archive, or - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The page to write, or - for standard output; replaced if it is there
    #[arg(short, long, value_name = "PAGE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
    /// Put environments into the page, too, which may hold secrets
    #[arg(long)]
    pub env: bool,
    /// Do not read pages of memory to tell those of zeros
    #[arg(long)]
    pub no_pages: bool,
}

/// Arguments of `ckpt memory`.
#[derive(Debug, Clone, Args)]
#[command(after_help = MEMORY_EXAMPLES)]
pub struct MemoryArgs {
    /// The archive, or - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Only the memory of this process
    #[arg(short, long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Find this text
    #[arg(short, long, value_name = "TEXT", group = "what", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub search: Option<String>,
    /// Find what a regular expression matches
    #[arg(short, long, value_name = "RE", group = "what", visible_alias = "search-regex")]
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub regex: Option<String>,
    /// Find printable texts of at least so many characters, 4 if not given
    #[arg(long, value_name = "N", group = "what", num_args = 0..=1, require_equals = true, default_missing_value = "4")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub strings: Option<u16>,
    /// Show so many bytes before and after each match
    #[arg(short, long, value_name = "N", default_value_t = 0, requires = "what", value_parser = context)]
    pub context: usize,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
}

fn context(word: &str) -> Result<usize, String> {
    let count = word.parse().map_err(|_| "a number of bytes".to_owned())?;
    match count {
        ..=MOST_CONTEXT => Ok(count),
        _ => Err(format!("{MOST_CONTEXT} bytes at most")),
    }
}
