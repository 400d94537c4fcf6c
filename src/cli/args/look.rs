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
