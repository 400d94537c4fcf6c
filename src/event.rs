//! What the library tells while it works. The library never prints: the caller draws these.

use std::path::PathBuf;
use std::time::Duration;

/// A step of an export or an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// The container and the host are looked at.
    Inspect,
    /// CRIU dumps the container's processes.
    Dump,
    /// Memory images are written into the archive.
    Memory,
    /// Files of the container are written into the archive.
    Files,
    /// The archive is synchronised to disk and put in place.
    Commit,
    /// The archive is read and verified.
    Verify,
    /// Bundle, files, mounts and cgroups are prepared.
    Prepare,
    /// The runtime restores the container.
    Restore,
    /// The container runs, and its memory follows.
    Follow,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A phase begins; `total` is the number of content bytes it will handle where that is known.
    Phase {
        /// The phase.
        phase: Phase,
        /// Bytes it will handle.
        total: Option<u64>,
    },
    /// Content bytes handled since the phase began.
    Progress {
        /// Bytes so far.
        bytes: u64,
    },
    /// Something the user should know that is not an error.
    Warning {
        /// The text, one line.
        message: String,
    },
    /// A container runs whose memory is yet to follow: a lazy import goes on.
    Running {
        /// Its name.
        container: String,
        /// Its runtime.
        runtime: String,
        /// Its first process, as this host sees it.
        pid: i32,
        /// Its bundle.
        bundle: PathBuf,
    },
    /// How long the container was frozen, known when it is over.
    Frozen {
        /// From the first task stopped to the acknowledgement.
        duration: Duration,
    },
}

/// Receives the events of one export or import, possibly from several threads.
pub trait Events: Send + Sync {
    /// Called for each event, in order within one thread. Must not block for long: CRIU may be waiting.
    fn emit(&self, event: Event);
}

/// Drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Events for Silent {
    fn emit(&self, _: Event) {}
}
