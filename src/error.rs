//! The error of the whole library, and the class of each error that the exit code is made from.

use std::fmt;
use std::path::PathBuf;

/// The class of an error: what the caller can do about it. Each has its exit code (`docs/exit-codes.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// Something failed that no other class describes (exit code 1).
    Other,
    /// The request itself is wrong (exit code 2).
    Usage,
    /// This host cannot do it: no CRIU, no kernel support, no privilege (exit code 3).
    Host,
    /// The archive is damaged, hostile, or of an unknown version (exit code 4).
    Archive,
    /// The runtime knows no such container (exit code 5).
    NotFound,
    /// The export failed; the container runs on (exit code 6).
    Dump,
    /// The restore failed; nothing of it is left on this host (exit code 7).
    Restore,
    /// The archive asks for something that needs a flag that names it (exit code 8).
    Policy,
}

impl ErrorKind {
    /// The exit code of the command for an error of this class.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::Host => 3,
            Self::Archive => 4,
            Self::NotFound => 5,
            Self::Dump => 6,
            Self::Restore => 7,
            Self::Policy => 8,
        }
    }
}

/// What became of a container whose export failed, as its runtime says afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It runs on.
    RunsOn,
    /// It runs on, but a CRIU that was killed has left tasks of it as they must not be: each with what is wrong.
    Harmed(Vec<String>),
    /// Its runtime gives it another state.
    Is(String),
    /// Its runtime knows it no more.
    Gone,
    /// Its runtime could not be asked.
    Unknown,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RunsOn => f.write_str("runs on"),
            Self::Harmed(tasks) => write!(
                f,
                "runs on, but not all of what CRIU had stopped is as it was: {}",
                tasks.join(", ")
            ),
            Self::Is(status) => write!(f, "is {status}"),
            Self::Gone => f.write_str("is gone"),
            Self::Unknown => f.write_str("is in an unknown state: its runtime does not answer"),
        }
    }
}

/// Any error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An export failed after its container was found.
    #[error("container {container} {fate}")]
    Dump {
        /// The container.
        container: String,
        /// What became of it.
        fate: Fate,
        /// CRIU's log, where there is one.
        log: Option<PathBuf>,
        /// What went wrong.
        source: Box<Error>,
    },
    /// The archive is in place, and the container could not be ended as it should.
    #[error("ending the container, whose archive is complete")]
    Ending(#[source] Box<Error>),
    /// A restore failed after the bundle was made.
    #[error("restoring container {container}")]
    Restore {
        /// The container.
        container: String,
        /// CRIU's log, where there is one.
        log: Option<PathBuf>,
        /// What could not be taken away again; empty when nothing is left.
        left: Vec<String>,
        /// What went wrong.
        source: Box<Error>,
    },
    /// Of the archive.
    #[error(transparent)]
    Archive(#[from] crate::archive::Error),
    /// Of an archive that another engine made.
    #[error(transparent)]
    Foreign(#[from] crate::foreign::Error),
    /// Of a CRIU session.
    #[error(transparent)]
    Criu(#[from] crate::criu::Error),
    /// Of the runtime.
    #[error(transparent)]
    Runtime(#[from] crate::runtime::Error),
    /// Of the plan of an import, or of its preparation.
    #[error(transparent)]
    Rewrite(#[from] crate::rewrite::Error),
    /// Of the mounts.
    #[error(transparent)]
    Mounts(#[from] crate::mounts::Error),
    /// Of the facts about this host.
    #[error(transparent)]
    Host(#[from] crate::host::Error),
    /// Of the capture of files.
    #[error(transparent)]
    Capture(#[from] crate::capture::Error),
    /// A bind mount that was named does not exist.
    #[error("the container has no bind mount at {destination} (it has: {})", listed(.known))]
    NoSuchMount {
        /// What was named.
        destination: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// The archive given as the parent cannot be one.
    #[error("{} cannot be the parent: {why}", path.display())]
    Parent {
        /// The archive.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// Memory images were to be in memory, and cannot be.
    #[error("memory images cannot be in memory (--images-in memory): {why}")]
    ImagesInMemory {
        /// Why.
        why: &'static str,
    },
    /// Incremental dumps need a kernel that tracks which pages were written.
    #[error("this kernel does not track memory (CONFIG_MEM_SOFT_DIRTY): --pre-dump and --parent are not possible")]
    NoMemoryTracking,
    /// The archive is incremental to one that was not given.
    #[error("the archive is incremental to the one with identity {identity}: give it with --parent")]
    ParentMissing {
        /// The identity of the missing one.
        identity: String,
    },
    /// The archive cannot be imported lazily.
    #[error("--lazy is not possible: {why}")]
    NotLazy {
        /// Why.
        why: &'static str,
    },
    /// Lazy imports need a kernel that lets CRIU serve page faults.
    #[error("this kernel has no userfaultfd for root (CONFIG_USERFAULTFD): --lazy is not possible")]
    NoUserfaultfd,
    /// A container ran before its memory was complete, and had to be stopped.
    #[error("the container was stopped: its memory could not be completed ({pages} of {total} pages were there)")]
    Incomplete {
        /// Pages that were fetched.
        pages: u64,
        /// Pages there are to fetch.
        total: u64,
        /// Why.
        source: Box<Error>,
    },
    /// The guard of a lazy import ended before it was over.
    #[error("the process that guards the container while its memory is incomplete has ended")]
    NoGuard,
    /// An entry cannot be read, or not be placed.
    #[error("entry {entry} of the archive")]
    Entry {
        /// The entry.
        entry: String,
        /// Why.
        source: crate::rewrite::apply::ContentsError,
    },
    /// A tar of files cannot be unpacked.
    #[error("unpacking {entry}")]
    Tree {
        /// The entry.
        entry: String,
        /// Why.
        source: crate::tree::Error,
    },
    /// An entry that an import needs is not in the archive.
    #[error("the archive has no entry {entry}")]
    NoEntry {
        /// The entry.
        entry: &'static str,
    },
    /// There is less free space than an archive needs that is unpacked on its way in.
    #[error(
        "unpacking it in {} needs {} MiB at least, and {} MiB are free there",
        directory.display(), needed.div_ceil(1 << 20), free >> 20
    )]
    NoRoom {
        /// Where it is unpacked.
        directory: PathBuf,
        /// What is needed at least, bytes.
        needed: u64,
        /// What is free, bytes.
        free: u64,
    },
    /// Of the network links.
    #[error(transparent)]
    Links(#[from] crate::links::Error),
    /// Of a configuration of LXC.
    #[error(transparent)]
    Lxc(#[from] crate::lxc::Error),
    /// Of the cgroups.
    #[error(transparent)]
    Cgroup(#[from] crate::cgroup::Error),
    /// A small entry could not be written as JSON.
    #[error("writing {entry} as JSON")]
    Json {
        /// The entry.
        entry: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A file of the host.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// What there is, in one line.
fn listed(known: &[String]) -> String {
    if known.is_empty() {
        "none at all".to_owned()
    } else {
        known.join(", ")
    }
}

impl Error {
    /// What to do about it, where that is not the same for every error of its class.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Dump { source, .. } | Self::Restore { source, .. } => source.advice(),
            Self::Runtime(error) => error.advice(),
            _ => None,
        }
    }

    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Dump { source, .. } => match source.kind() {
                kind @ (ErrorKind::Usage | ErrorKind::Host) => kind,
                _ => ErrorKind::Dump,
            },
            Self::Ending(_) => ErrorKind::Dump,
            Self::Restore { .. } => ErrorKind::Restore,
            Self::Archive(error) => error.kind(),
            Self::Foreign(error) => error.kind(),
            Self::Criu(error) => error.kind(),
            Self::Runtime(error) => error.kind(),
            Self::Rewrite(error) => error.kind(),
            Self::Mounts(error) => error.kind(),
            Self::Cgroup(error) => error.kind(),
            Self::Lxc(error) => error.kind(),
            Self::Host(error) => error.kind(),
            Self::Links(error) => error.kind(),
            Self::Capture(error) => error.kind(),
            Self::NoEntry { .. } => ErrorKind::Archive,
            Self::Tree { source, .. } => source.kind(),
            Self::Entry { .. } => ErrorKind::Restore,
            Self::NoMemoryTracking | Self::NoUserfaultfd | Self::ImagesInMemory { .. } | Self::NoRoom { .. } => {
                ErrorKind::Host
            }
            Self::NoSuchMount { .. } | Self::Parent { .. } | Self::ParentMissing { .. } => ErrorKind::Usage,
            Self::NotLazy { .. } => ErrorKind::Usage,
            Self::Incomplete { .. } | Self::NoGuard => ErrorKind::Restore,
            Self::Json { .. } | Self::Io { .. } => ErrorKind::Other,
        }
    }

    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>, source: impl Into<std::io::Error>) -> Self {
        Self::Io {
            operation,
            path: path.into(),
            source: source.into(),
        }
    }
}
