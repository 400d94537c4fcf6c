//! LXC's configuration as it lies on disk: read without loss, understood as LXC understands it, judged for checkpoints.
//!
//! Nothing here reads a file or runs a program: callers bring the text of the configuration, of what it includes and of
//! its fstab. Changing a configuration for another host is `rewrite::lxc`'s subject. Invariants:
//!
//! - [`Config`] and [`Fstab`] print the very bytes that they were read from, whatever these are;
//! - what LXC would not take for a setting is not taken for one here, and the other way round;
//! - old keys (LXC 1 and 2) and new keys (LXC 2.1 and later) meet in one [`Effective`] view under the new names.

pub mod config;
pub mod effective;
pub mod finding;
pub mod fstab;
mod judge;
pub mod keys;
pub mod network;
pub mod phaul;
pub mod source;
mod text;

pub use config::{Config, Kind, Line, Setting};
pub use effective::{Effective, Entry, Included, Place};
pub use finding::Finding;
pub use fstab::{Fstab, MountEntry};
pub use judge::{Context, judge};
pub use network::{Network, NetworkType};
pub use source::{Includes, Source};

use crate::error::ErrorKind;

/// Largest configuration or fstab that is read, bytes. Real ones have a few KiB.
pub const MAX_BYTES: usize = 1 << 20;

/// A text that is not read, or a change that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is larger than [`MAX_BYTES`].
    #[error("an LXC configuration of {bytes} bytes, more than {MAX_BYTES} are not read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A value that LXC would read as another one: with a line break, NUL, blanks at its ends, or quotes around it.
    #[error("{value:?} cannot be written as the value of {key}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// The line is no setting.
    #[error("line {line} of the configuration is no setting")]
    NoSetting {
        /// Its number, from 1.
        line: usize,
    },
    /// The included texts of an archive are not what they should be.
    #[error("lxc/includes.json is not the list of included files")]
    Includes,
    /// A line of a cgroup record of p.haul that is none.
    #[error("line {line} of lxccg.img is not CONTROLLER/PATH")]
    PhaulLine {
        /// Its number, from 1.
        line: usize,
    },
}

impl Error {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } | Self::PhaulLine { .. } | Self::Includes => ErrorKind::Archive,
            Self::Value { .. } | Self::NoSetting { .. } => ErrorKind::Usage,
        }
    }
}
