//! The cgroups of a container: recorded with their limits at export, made and limited again at import.
//!
//! ```text
//! export:  record(Subject)       /proc and cgroupfs -> CgroupRecord -> cgroup.json
//! import:  CgroupRecord + TargetCgroups -> plan_apply (pure) -> ApplyPlan -> apply -> Report (every value read back)
//!          CgroupRecord + config.json   -> resources_for_spec (pure): limits changed after creation reach the runtime
//! ```
//!
//! Version 1 and 2 are described alike: a hierarchy has a version and controllers, and each controller is looked for on
//! the target wherever it is mounted there. So a hybrid host needs no case of its own.

mod apply;
mod configured;
mod directory;
mod enable;
mod expect;
mod files;
#[cfg(test)]
mod fixture;
mod hierarchy;
mod idset;
mod plan;
mod read;
mod record;
mod spec;
mod target;
mod tasks;
mod translate;
mod tree;
mod warning;
mod weight;

use std::io;
use std::path::PathBuf;

pub use apply::{Cause, Problem, Report, apply};
pub use configured::{Configured, configured};
pub use enable::enable_controllers;
pub use expect::Expect;
pub use hierarchy::{HostHierarchy, Membership, hierarchies, mode};
pub use idset::{BadIdSet, IdSet};
pub use plan::{ApplyPlan, Place, Step, Write, counterpart, plan_apply};
pub use read::{Subject, record};
pub use record::{
    CgroupRecord, DEFAULT_DEVICE, DeviceLimit, Group, GroupPath, Hierarchy, HierarchyVersion, MAX_RECORD_BYTES, Owner,
    RECORD_VERSION, SetLimit, Unread, UnreadReason,
};

pub use spec::{Change, SpecChanges, resources_for_spec};
pub use target::{TargetCgroups, TargetHierarchy};
pub use tree::{Created, Snapshot, below, create_parent, remove_empty};
pub use warning::Warning;

use crate::error::ErrorKind;

/// What cgroup work can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory of /proc or of a cgroup could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A cgroup could not be made.
    #[error("cannot make cgroup {}", path.display())]
    Create {
        /// Its directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A cgroup could not be removed.
    #[error("cannot remove cgroup {}", path.display())]
    Remove {
        /// Its directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of /proc/PID/cgroup is not as the kernel writes it.
    #[error("/proc/PID/cgroup line {line}: malformed")]
    Membership {
        /// Number of the line, from 1.
        line: usize,
    },
    /// A path of a cgroup is absolute, too long, or leads upwards.
    #[error("bad cgroup path {path:?}")]
    Path {
        /// The path.
        path: String,
    },
    /// There is more of something than a record may hold.
    #[error("cgroup record: {found} {what}, at most {limit} are accepted")]
    TooMuch {
        /// Of what.
        what: Bound,
        /// How much there is.
        found: usize,
        /// How much is accepted.
        limit: usize,
    },
    /// The record is of a version that this build does not read.
    #[error("cgroup record: version {found}, this build reads version {RECORD_VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// The configuration that limits are to be merged into is not as the OCI specification has it.
    #[error("config.json: {field} is no object")]
    Spec {
        /// The field.
        field: &'static str,
    },
    /// The record is no JSON of its shape.
    #[error("cgroup record: malformed")]
    Json {
        /// Why.
        source: serde_json::Error,
    },
    /// The record says something that cannot be.
    #[error("cgroup record: bad {what} of group {group}")]
    Record {
        /// The cgroup.
        group: GroupPath,
        /// The field.
        what: &'static str,
    },
}

impl Error {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } | Self::Membership { .. } => ErrorKind::Host,
            Self::Create { .. } | Self::Remove { .. } => ErrorKind::Restore,
            Self::Spec { .. } => ErrorKind::Other,
            Self::Path { .. }
            | Self::TooMuch { .. }
            | Self::Version { .. }
            | Self::Json { .. }
            | Self::Record { .. } => ErrorKind::Archive,
        }
    }
}

/// Something that a record holds a bounded number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Bytes of the entry.
    RecordBytes,
    /// Hierarchies.
    Hierarchies,
    /// Cgroups of a hierarchy.
    Groups,
    /// Tasks of a hierarchy.
    Tasks,
}

impl Bound {
    fn check(self, found: usize, limit: usize) -> Result<(), Error> {
        if found > limit {
            Err(Error::TooMuch {
                what: self,
                found,
                limit,
            })
        } else {
            Ok(())
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::RecordBytes => "bytes",
            Self::Hierarchies => "hierarchies",
            Self::Groups => "cgroups",
            Self::Tasks => "tasks",
        })
    }
}
