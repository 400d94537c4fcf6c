//! Mounts of a process: `/proc/PID/mountinfo` parsed, and the container's bind-mount map.

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
}

impl Error {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } | Self::Syntax { .. } => ErrorKind::Host,
        }
    }
}
