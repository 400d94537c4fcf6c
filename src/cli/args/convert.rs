//! Arguments of the commands that make an archive of another one: `seal`, `convert`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::export::{CompressArg, compression};
use super::{UsageError, value};
use crate::archive::{Compression, Level};
use crate::request::{Input, Output};

const SEAL_EXAMPLES: &str = "Examples:
  ckpt seal checkpoint.tar.zst -o web.ckpt
  ssh a cat checkpoint.tar | ckpt seal - -o web.ckpt

Every entry stays as it is: the engine that made the checkpoint restores the sealed archive as its own. OUT may be FILE: it \
is replaced when the new archive is complete, and not before.";

/// Arguments of `ckpt seal`.
#[derive(Debug, Clone, Args)]
#[command(after_help = SEAL_EXAMPLES)]
pub struct SealArgs {
    /// The checkpoint that podman, CRI-O or containerd made, or - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Where the archive is written to, or - for standard output
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::FilePath)]
    output: PathBuf,
    /// How the archive is compressed
    #[arg(short, long, value_enum, value_name = "HOW", default_value = "zstd")]
    compress: CompressArg,
    /// Level of compression: 1 to 19 for zstd, 1 to 9 for gzip
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = value::level)]
    level: Option<Level>,
    /// Threads that compress, one per processor if not given; the archive is the same with any number
    #[arg(long, value_name = "N", value_parser = value::threads)]
    threads: Option<NonZeroUsize>,
}

/// What `ckpt seal` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealRequest {
    /// The checkpoint.
    pub input: Input,
    /// The archive.
    pub output: Output,
    /// How it is compressed.
    pub compression: Compression,
    /// Threads.
    pub threads: NonZeroUsize,
}

impl TryFrom<SealArgs> for SealRequest {
    type Error = UsageError;

    fn try_from(args: SealArgs) -> Result<Self, UsageError> {
        Ok(Self {
            input: value::input(args.file),
            output: value::output(args.output),
            compression: compression(args.compress, args.level, false)?,
            threads: args.threads.unwrap_or_else(value::default_threads),
        })
    }
}
