//! Arguments of the commands that packagers and CRIU call: `completions`, `man`, `criu-action`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

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
}
