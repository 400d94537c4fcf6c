//! What can go wrong with a container runtime.

use std::io;
use std::path::PathBuf;

use crate::error::ErrorKind;
use crate::lxc::Finding;

/// An error of a runtime.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program is not installed.
    #[error("{program} is not installed: it was not found in PATH")]
    NotInstalled {
        /// The program.
        program: &'static str,
    },
    /// Not root.
    #[error("only root can checkpoint and restore containers; those of rootless podman nobody can, as CRIU needs root")]
    NotRoot,
    /// No runtime at all is installed.
    #[error("no container runtime is installed: none of {programs} was found in PATH")]
    NoneInstalled {
        /// The programs that were looked for.
        programs: String,
    },
    /// No runtime knows the container.
    #[error("no container {id:?} (asked: {runtimes})")]
    NotFound {
        /// The identifier.
        id: String,
        /// The runtimes that were asked, and those that are not installed.
        runtimes: String,
    },
    /// Several runtimes have a container of that name.
    #[error("several runtimes have a container {id:?} ({runtimes}): choose one with --runtime")]
    Ambiguous {
        /// The identifier.
        id: String,
        /// The runtimes that were asked.
        runtimes: String,
    },
    /// The container is in a state that cannot be dumped.
    #[error("container {id:?} is {status}: only a running one can be exported")]
    NotRunning {
        /// The identifier.
        id: String,
        /// Its state.
        status: String,
    },
    /// An identifier that no runtime accepts.
    #[error("{id:?} is not a container identifier")]
    BadId {
        /// What was given.
        id: String,
    },
    /// The program could not be run.
    #[error("running {program}")]
    Run {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The program failed.
    #[error("{program} ended with {status}: {message}")]
    Failed {
        /// The program and its subcommand.
        program: String,
        /// Its exit status.
        status: String,
        /// What it said.
        message: String,
    },
    /// What the program says, or a file of its, cannot be read.
    #[error("{what} of container {id:?} is not the JSON expected")]
    Json {
        /// What was read.
        what: &'static str,
        /// The container.
        id: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A configuration file could not be read.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A switch that this runtime cannot express.
    #[error("{runtime} has no {option}")]
    Unsupported {
        /// The runtime.
        runtime: &'static str,
        /// The switch, as ckpt's user typed it.
        option: String,
    },
    /// A container that this runtime cannot export.
    #[error("{runtime} cannot export container {id:?}: {why}")]
    Refused {
        /// The runtime.
        runtime: &'static str,
        /// The container.
        id: String,
        /// Why.
        why: String,
    },
    /// The configuration has something that cannot be checkpointed.
    #[error("container {id:?} cannot be checkpointed{}", listed(.findings))]
    Blocked {
        /// The container.
        id: String,
        /// What stands in the way.
        findings: Vec<Finding>,
    },
    /// The restore ended well, and the container does not run.
    #[error("container {id:?} is {status} after its restore")]
    NotRestored {
        /// The container.
        id: String,
        /// Its state.
        status: String,
    },
    /// Something that the runtime's command needs could not be made.
    #[error("making {}", path.display())]
    Prepare {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// This host makes `lxc-checkpoint` crash.
    #[error(
        "lxc-checkpoint of LXC {version} crashes where the cgroups of version 2 have no controllers, as in {}: have no such \
         hierarchy mounted beside those of version 1, or boot with version 2 alone", mount.display()
    )]
    LxcCrashes {
        /// LXC's version.
        version: String,
        /// Where the hierarchy is mounted.
        mount: PathBuf,
    },
    /// `lxc-checkpoint` cannot dump a container that it has restored.
    #[error(
        "container {id:?} was restored, and LXC {version} cannot dump a restored container again where cgroups are of version 2 alone \
         (its monitor does not know its freezer): stop and start it, and it can be exported"
    )]
    LxcOnce {
        /// The container.
        id: String,
        /// LXC's version.
        version: String,
    },
    /// The freezer could not be used.
    #[error("opening or closing the freezer of container {id:?}")]
    Freezer {
        /// The container.
        id: String,
        /// Why.
        source: io::Error,
    },
    /// A configuration of LXC that is not read.
    #[error(transparent)]
    Lxc(#[from] crate::lxc::Error),
    /// Another export or import of the same container is under way.
    #[error("another ckpt ({holder}) is working on container {id:?}")]
    Busy {
        /// The container.
        id: String,
        /// Who holds the lock.
        holder: String,
    },
    /// The lock file could not be used.
    #[error("locking {}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Of processes.
    #[error(transparent)]
    Process(#[from] crate::process::Error),
    /// CRIU's option file cannot hold a value.
    #[error(transparent)]
    Option(#[from] crate::criu::Error),
}

impl Error {
    /// The class of this error.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotInstalled { .. } | Self::NoneInstalled { .. } | Self::NotRoot | Self::LxcCrashes { .. } => {
                ErrorKind::Host
            }
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Ambiguous { .. }
            | Self::BadId { .. }
            | Self::Unsupported { .. }
            | Self::Refused { .. }
            | Self::Option(_) => ErrorKind::Usage,
            Self::Process(error) => error.kind(),
            Self::NotRunning { .. } | Self::Busy { .. } | Self::Blocked { .. } | Self::LxcOnce { .. } => {
                ErrorKind::Dump
            }
            Self::NotRestored { .. } => ErrorKind::Restore,
            _ => ErrorKind::Other,
        }
    }
}

impl Error {
    /// What to do about it, where that is not the same for every error of its class.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        let text = match self {
            Self::NotInstalled { .. } => {
                "install it, or have the directory that it is in in PATH (sudo and ssh may set another PATH than your shell's)"
            }
            Self::NoneInstalled { .. } => {
                "install the runtime that runs the container, or have the directory that it is in in PATH (sudo and ssh may \
                 set another PATH than your shell's)"
            }
            Self::NotRunning { status, .. } if status == "paused" => "resume it with its runtime, and export again",
            Self::NotRunning { .. } => "start it, and export again: what does not run has no memory to save",
            Self::Busy { .. } => "wait until that one has ended, and run the same command again",
            Self::Unsupported { .. } => "leave that switch out",
            _ => return None,
        };
        Some(text)
    }
}

/// Each finding on a line of its own, with what to change.
fn listed(findings: &[Finding]) -> String {
    let line = |finding: &Finding| format!("\n  - {finding}\n      {}", finding.advice());
    findings.iter().map(line).collect()
}
