//! Mounts of a process: `/proc/PID/mountinfo` parsed, and the container's bind-mount map.

pub mod bind;
mod mountinfo;

pub use mountinfo::{Device, Mount, MountTable, Propagation};

use std::path::PathBuf;

use crate::error::ErrorKind;

/// Why mounts could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of /proc could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line of mountinfo is not as the kernel writes it.
    #[error("mountinfo line {line}: bad or missing {field}")]
    Syntax {
        /// Number of the line, from 1.
        line: usize,
        /// The field.
        field: &'static str,
    },
    /// The configuration's mounts are not as the OCI specification has them.
    #[error("config.json: bad or missing {field} of mount {index}")]
    Config {
        /// Number of the mount, from 0.
        index: usize,
        /// The field.
        field: &'static str,
    },
    /// The source of a bind mount cannot be looked at, on the host or in the container.
    #[error("cannot look at bind mount source {}", path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A bind mount to be written has permissions that are no octal digits.
    #[error("bad permissions of bind mount {destination}")]
    Permissions {
        /// The bind mount.
        destination: String,
    },
    /// The `bind.mounts` entry is no JSON of its shape.
    #[error("bind.mounts: malformed")]
    Json {
        /// Why.
        source: serde_json::Error,
    },
    /// The `bind.mounts` entry has an element that cannot be accepted.
    #[error("bind.mounts: bad {field} of element {index}")]
    External {
        /// Number of the element, from 0.
        index: usize,
        /// The field.
        field: &'static str,
    },
}

impl Error {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } | Self::Syntax { .. } => ErrorKind::Host,
            Self::Config { .. } | Self::Source { .. } | Self::Permissions { .. } => ErrorKind::Other,
            Self::Json { .. } | Self::External { .. } => ErrorKind::Archive,
        }
    }
}
