//! Plain processes: a tree of them, the files that they have open or mapped, and what keeps CRIU from dumping them.
//!
//! A container brings its files along or mounts them; a process uses its host's. So an archive of one says which files, each
//! with its identity ([`Listing`], the entry `files.json`), and an import compares before it touches anything ([`compare()`]).

mod build_id;
mod compare;
mod descriptors;
mod files;
mod find;
mod listing;
mod outside;
mod proc;
mod sockets;
#[cfg(test)]
pub(crate) mod testing;
mod trouble;

use std::io;

pub use compare::{Difference, Found, Here, compare};
pub use files::Survey;
pub use find::{Root, by_pid, by_unit, stop};
pub use listing::{FileKind, Listing, OpenFile, Task, Use};
pub use outside::{JOURNAL, JournalStream, is_in_another_session, journal_of, sends_datagrams};
pub use proc::{Process, Tree};
pub use trouble::{Asked, Trouble, troubles};

use crate::error::ErrorKind;

/// The entry that holds a [`Listing`].
pub const FILES_JSON: &str = "files.json";

/// An error of looking at processes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such process.
    #[error("there is no process {pid}")]
    NoProcess {
        /// Its number.
        pid: i32,
    },
    /// The unit has no process.
    #[error("{unit} has no process on this host: {why}")]
    NoUnit {
        /// The unit.
        unit: String,
        /// What was looked for.
        why: &'static str,
    },
    /// The unit has several processes that descend from no other one of it.
    #[error("{unit} has {} process trees, of which one can be exported: {}", roots.len(), roots.join(", "))]
    SeveralRoots {
        /// The unit.
        unit: String,
        /// Each with its number and name.
        roots: Vec<String>,
    },
    /// What stands in the way of a dump, all of it.
    #[error("{}", list(.0))]
    Troubles(Vec<Trouble>),
    /// systemd does not end a unit.
    #[error("systemd does not take it that {unit} ends, and may start it anew: `systemctl stop {unit}` then: {said}")]
    Stop {
        /// The unit.
        unit: String,
        /// What it said.
        said: String,
    },
    /// The process table could not be read.
    #[error("reading {path}")]
    Proc {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The listing in an archive is not understood.
    #[error("files.json is not understood")]
    Listing(#[source] serde_json::Error),
    /// The listing is of another version.
    #[error(
        "files.json is of version {found}, this ckpt reads {}: use the ckpt that made the archive",
        listing::VERSION
    )]
    Version {
        /// Its version.
        found: u32,
    },
}

impl Error {
    /// The class of this error.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoProcess { .. } | Self::NoUnit { .. } => ErrorKind::NotFound,
            Self::SeveralRoots { .. } => ErrorKind::Usage,
            Self::Troubles(_) => ErrorKind::Dump,
            Self::Listing(_) | Self::Version { .. } => ErrorKind::Archive,
            Self::Proc { .. } | Self::Stop { .. } => ErrorKind::Other,
        }
    }
}

/// One line for one trouble; a list for several.
fn list(troubles: &[Trouble]) -> String {
    match troubles {
        [one] => format!("{one}: {}", one.advice()),
        several => several.iter().fold(
            format!("{} things stand in the way of a dump", several.len()),
            |text, trouble| format!("{text}\n  - {trouble}\n      {}", trouble.advice()),
        ),
    }
}
