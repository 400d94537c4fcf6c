//! Arguments of the commands that make an archive of another one: `seal`, `convert`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::export::{CompressArg, compression};
use super::{UsageError, value};
use crate::archive::{Compression, Level};
use crate::manifest::EngineName;
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

const CONVERT_EXAMPLES: &str = "Examples:
  ckpt convert web.ckpt --to podman -o web.tar.zst
  ckpt convert checkpoint.tar --to ckpt -o web.ckpt
  ckpt convert web.ckpt --to ckpt --compress none -o web.tar

What the form cannot hold is named, entry by entry, on standard error and with --json. Without --compress: zstd for ckpt and \
podman, none for cri-o and containerd, which read nothing else.";

/// Arguments of `ckpt convert`.
#[derive(Debug, Clone, Args)]
#[command(after_help = CONVERT_EXAMPLES)]
pub struct ConvertArgs {
    /// An archive of ckpt, or a checkpoint of podman, CRI-O or containerd, or - for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Whose form it is given
    #[arg(long, value_enum, value_name = "FORM")]
    to: FormArg,
    /// Where the archive is written to, or - for standard output
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::FilePath)]
    output: PathBuf,
    /// How the archive is compressed
    #[arg(short, long, value_enum, value_name = "HOW")]
    compress: Option<CompressArg>,
    /// Threads that compress and decompress, one per processor if not given
    #[arg(long, value_name = "N", value_parser = value::threads)]
    threads: Option<NonZeroUsize>,
}

/// Whose form an archive has, as `--to` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormArg {
    Ckpt,
    Podman,
    CriO,
    Containerd,
}

/// What `ckpt convert` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvertRequest {
    /// The archive.
    pub input: Input,
    /// The other archive.
    pub output: Output,
    /// The engine whose form it has; none for ckpt.
    pub engine: Option<EngineName>,
    /// How it is compressed.
    pub compression: Compression,
    /// Threads.
    pub threads: NonZeroUsize,
}

impl TryFrom<ConvertArgs> for ConvertRequest {
    type Error = UsageError;

    fn try_from(args: ConvertArgs) -> Result<Self, UsageError> {
        let engine = match args.to {
            FormArg::Ckpt => None,
            FormArg::Podman => Some(EngineName::Podman),
            FormArg::CriO => Some(EngineName::CriO),
            FormArg::Containerd => Some(EngineName::Containerd),
        };
        let usual = match args.to {
            FormArg::Ckpt | FormArg::Podman => CompressArg::Zstd,
            FormArg::CriO | FormArg::Containerd => CompressArg::None,
        };
        Ok(Self {
            input: value::input(args.file),
            output: value::output(args.output),
            engine,
            compression: compression(args.compress.unwrap_or(usual), None, false)?,
            threads: args.threads.unwrap_or_else(value::default_threads),
        })
    }
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
