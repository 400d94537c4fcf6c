//! Arguments of the commands that packagers, CRIU and ckpt itself call: `completions`, `man`, `criu-action`, `criu-rpc`,
//! `lazy-guard`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{RuntimeArg, UsageError};
use crate::import::GuardOrder;

const COMPLETIONS_EXAMPLES: &str = "Examples:
  ckpt completions bash > /etc/bash_completion.d/ckpt
  ckpt completions zsh > /usr/local/share/zsh/site-functions/_ckpt
  ckpt completions fish > ~/.config/fish/completions/ckpt.fish";

/// Arguments of `ckpt completions`.
#[derive(Debug, Clone, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: clap_complete::Shell,
}

/// Arguments of `ckpt man`.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// Where the pages are written; the directory must be there
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}

/// Arguments of `ckpt criu-action`.
#[derive(Debug, Clone, Args)]
pub struct CriuActionArgs {
    /// The socket that ckpt listens on
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// Put back what a session that was killed has left cut off, and ask nothing
    #[arg(long)]
    pub undo: bool,
}

/// Arguments of `ckpt criu-rpc`.
#[derive(Debug, Clone, Args)]
pub struct CriuRpcArgs {
    /// What is to be done, as JSON
    #[arg(long, value_name = "JSON", required_unless_present = "first")]
    pub order: Option<String>,
    /// Restore as the first process of a PID namespace, and stay; the order is in the environment
    #[arg(long, conflicts_with = "order")]
    pub first: bool,
}

/// Arguments of `ckpt lazy-guard`.
#[derive(Debug, Clone, Args)]
pub struct LazyGuardArgs {
    /// The container's runtime
    #[arg(long, value_enum)]
    runtime: RuntimeArg,
    /// The runtime's state directory
    #[arg(long, value_name = "DIR")]
    runtime_root: Option<PathBuf>,
    /// The container
    #[arg(long, value_name = "NAME")]
    container: String,
    /// Its bundle
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
    /// CRIU's images
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Where CRIU works in the restore
    #[arg(long, value_name = "DIR")]
    work: PathBuf,
}

impl TryFrom<LazyGuardArgs> for GuardOrder {
    type Error = UsageError;

    fn try_from(args: LazyGuardArgs) -> Result<Self, UsageError> {
        Ok(Self {
            runtime: Option::from(args.runtime).ok_or(UsageError::OtherRuntimeWithoutName)?,
            state_root: args.runtime_root,
            container: args.container,
            bundle: args.bundle,
            images: args.images,
            work: args.work,
        })
    }
}
