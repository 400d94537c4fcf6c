//! The command line as it is typed, and its conversion to the checked requests of [`crate::request`].
//!
//! Flags, help, man pages and completions all come from the definitions here. Raw arguments never leave `cli`: the
//! pipelines take requests, which only the conversions here (and library callers) make. What can be seen to be wrong
//! from the command line alone is refused here, as a usage error, before anything is touched.

mod convert;
mod export;
mod generate;
mod import;
mod look;
mod lxc;
mod read;
mod usage;
pub(super) mod value;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::request::{ImagesIn, RuntimeKind};

pub use convert::{ConvertArgs, ConvertRequest, SealArgs, SealRequest};
pub use export::ExportArgs;
pub use generate::{CompletionsArgs, CriuActionArgs, CriuRpcArgs, LazyGuardArgs, ManArgs};
pub use import::ImportArgs;
pub use look::{DiffArgs, ListArgs, MemoryArgs, ReportArgs};
pub use read::{CatArgs, CheckArgs, ExtractArgs, InspectArgs, LsArgs, Parts, VerifyArgs};
pub use usage::UsageError;

/// Width that help is wrapped at where the terminal is wider or unknown.
const HELP_WIDTH: usize = 100;

const ABOUT: &str = "Move running containers as files";
const EXAMPLES: &str = "Examples:
  ckpt check                     can this host export containers?
  ckpt export web -o web.ckpt    stop the container web and keep it as a file
  ckpt check web.ckpt            on the other host: would it start here?
  ckpt import web.ckpt           go on running it here
  ckpt export web -o - | ssh b ckpt import -

Exit status:
  0 done            3 host not able          6 export failed, the container runs on
  1 other failure   4 archive invalid        7 restore failed, nothing is left of it
  2 wrong usage     5 no such container      8 refused without a flag that allows it";

/// The command line of `ckpt`.
#[derive(Debug, Parser)]
#[command(
    name = "ckpt",
    version,
    about = ABOUT,
    after_help = EXAMPLES,
    max_term_width = HELP_WIDTH,
    propagate_version = false,
    infer_subcommands = false,
    subcommand_required = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Messages")]
pub struct GlobalArgs {
    /// Print results, and errors, as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but errors and the results that were asked for
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// How progress is shown on standard error
    #[arg(long, global = true, value_enum, value_name = "HOW", default_value_t)]
    pub progress: ProgressArg,
    /// Tell more of what happens inside, for diagnosis (-vv: still more)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

// Variants below have no doc comments: clap would spread every help page over three times the lines for them.

/// How progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressArg {
    // A bar on a terminal, lines elsewhere.
    #[default]
    Auto,
    // One line per phase.
    Plain,
    // One JSON object per line.
    Json,
    // Warnings only.
    None,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Freeze a running container and write it into one archive
    #[command(alias = "checkpoint")]
    Export(Box<ExportArgs>),
    /// Restore a container from an archive
    #[command(alias = "restore")]
    Import(Box<ImportArgs>),
    /// Read a whole archive and check every byte of it
    Verify(VerifyArgs),
    /// Show what archives hold: container, host, processes, memory, files, sockets, mounts
    #[command(alias = "show")]
    Inspect(InspectArgs),
    /// Show the memory of processes, and find texts in it
    Memory(MemoryArgs),
    /// Compare two checkpoints: processes, files, sockets, mounts, memory, configuration
    Diff(DiffArgs),
    /// Write a page for a browser that shows a checkpoint
    Report(ReportArgs),
    /// List the checkpoints in directories
    List(ListArgs),
    /// List the entries of an archive
    Ls(LsArgs),
    /// Write one entry of an archive to standard output
    Cat(CatArgs),
    /// Unpack an archive, or some of its entries, into a directory
    Extract(ExtractArgs),
    /// Make a checkpoint of podman, CRI-O or containerd an archive with checksums
    Seal(SealArgs),
    /// Give an archive another form: that of ckpt, podman, CRI-O or containerd, or another compression
    Convert(ConvertArgs),
    /// Say whether this host can export containers, or can restore a given archive
    Check(CheckArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
    /// Write the man pages into a directory
    #[command(hide = true)]
    Man(ManArgs),
    /// Called by CRIU while it dumps or restores; not for people
    #[command(hide = true)]
    CriuAction(CriuActionArgs),
    /// Drives CRIU for the dump or restore of processes; not for people
    #[command(hide = true)]
    CriuRpc(CriuRpcArgs),
    /// Watches over a lazy import; not for people
    #[command(hide = true)]
    LazyGuard(LazyGuardArgs),
}

/// A runtime as `--runtime` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RuntimeArg {
    Auto,
    Runc,
    Crun,
    Podman,
    Lxc,
    Process,
}

impl From<RuntimeArg> for Option<RuntimeKind> {
    fn from(arg: RuntimeArg) -> Self {
        match arg {
            RuntimeArg::Auto => None,
            RuntimeArg::Runc => Some(RuntimeKind::Runc),
            RuntimeArg::Crun => Some(RuntimeKind::Crun),
            RuntimeArg::Lxc => Some(RuntimeKind::Lxc),
            RuntimeArg::Podman => Some(RuntimeKind::Podman),
            RuntimeArg::Process => Some(RuntimeKind::Process),
        }
    }
}

/// The runtime and its state directory: a directory of LXC's containers makes it LXC.
fn runtime_of(
    runtime: RuntimeArg,
    root: Option<std::path::PathBuf>,
    lxcpath: Option<std::path::PathBuf>,
) -> Result<(Option<RuntimeKind>, Option<std::path::PathBuf>), UsageError> {
    match (runtime.into(), lxcpath) {
        (kind, None) => Ok((kind, root)),
        (None | Some(RuntimeKind::Lxc), Some(path)) => Ok((Some(RuntimeKind::Lxc), Some(path))),
        (Some(_), Some(_)) => Err(UsageError::LxcPathOfOther),
    }
}

/// How CRIU treats cgroups, under runc's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CgroupsModeArg {
    Soft,
    Full,
    Strict,
    Ignore,
}

impl From<CgroupsModeArg> for String {
    fn from(arg: CgroupsModeArg) -> Self {
        let name = match arg {
            CgroupsModeArg::Soft => "soft",
            CgroupsModeArg::Full => "full",
            CgroupsModeArg::Strict => "strict",
            CgroupsModeArg::Ignore => "ignore",
        };
        name.to_owned()
    }
}

/// Where memory images are until they are restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImagesInArg {
    Auto,
    Memory,
    Disk,
}

impl From<ImagesInArg> for ImagesIn {
    fn from(arg: ImagesInArg) -> Self {
        match arg {
            ImagesInArg::Auto => Self::Auto,
            ImagesInArg::Memory => Self::Memory,
            ImagesInArg::Disk => Self::Disk,
        }
    }
}

/// A namespace that CRIU can leave empty. It knows no other than the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EmptyNsArg {
    Network,
}

impl From<EmptyNsArg> for String {
    fn from(arg: EmptyNsArg) -> Self {
        match arg {
            EmptyNsArg::Network => "network".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_visible_argument_has_one_line_of_help() {
        let mut root = Cli::command();
        root.build();
        for command in root.get_subcommands() {
            for arg in command.get_arguments() {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let place = format!("{} --{}", command.get_name(), arg.get_id());
                assert!(!help.is_empty(), "{place} has no help");
                assert!(!help.contains('\n'), "{place}: {help}");
                assert!(!help.ends_with('.'), "{place}: {help}");
            }
        }
    }
}
