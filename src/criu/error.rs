//! What can go wrong between ckpt and CRIU.

use std::io;
use std::path::PathBuf;

use crate::error::ErrorKind;

/// An error of a CRIU session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory of the session could not be used.
    #[error("{operation} {path}", path = path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The runtime could not be started or waited for.
    #[error("running {program}")]
    Run {
        /// The program.
        program: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The runtime ended before CRIU reached the expected action.
    #[error("{program} ended with {status} before CRIU reached {expected}{}", quote(.lines))]
    Ended {
        /// The program.
        program: String,
        /// Its exit status.
        status: String,
        /// The action that was waited for.
        expected: &'static str,
        /// The last error lines of CRIU's log and of the runtime.
        lines: Vec<String>,
    },
    /// The runtime failed after everything was acknowledged.
    #[error("{program} ended with {status}{}", quote(.lines))]
    Failed {
        /// The program.
        program: String,
        /// Its exit status.
        status: String,
        /// The last error lines of CRIU's log and of the runtime.
        lines: Vec<String>,
    },
    /// The action script's answer did not reach it: the script or CRIU is gone.
    #[error("CRIU no longer waits for the answer to {action}")]
    AnswerLost {
        /// The action.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A value cannot be written into CRIU's option file.
    #[error("the value of {option} cannot be given to CRIU: it has a quote, a backslash or a line break")]
    OptionValue {
        /// The option.
        option: String,
    },
    /// The command `ckpt` that the action script calls cannot be found.
    #[error("cannot find the ckpt command for CRIU's action script")]
    NoHelper(#[source] io::Error),
    /// An image of CRIU has another form than expected.
    #[error("{image} is not a CRIU image of the expected form: {why}")]
    Image {
        /// The image's name.
        image: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// CRIU's lazy-pages daemon could not be talked to.
    #[error("{operation} CRIU's lazy-pages daemon")]
    Lazy {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// CRIU's lazy-pages daemon ended while it was needed.
    #[error("CRIU's lazy-pages daemon ended too early{}", quote(.lines))]
    LazyEnded {
        /// The last error lines of its log.
        lines: Vec<String>,
    },
    /// What CRIU sent is not the page server's protocol.
    #[error("CRIU does not speak the page server protocol that its version says")]
    Wire(#[from] super::wire::WireError),
    /// CRIU sent a command that has no place there.
    #[error("CRIU sent the page server command {command:?}, which has no place in a lazy restore")]
    WrongCommand {
        /// The command.
        command: super::wire::Command,
    },
    /// CRIU asked for pages that the images do not have.
    #[error("CRIU asks for memory of process {pid} at {address:#x}, which the archive does not have")]
    NoPages {
        /// The process, in the container.
        pid: u64,
        /// The address.
        address: u64,
    },
    /// Memory that CRIU asked for cannot be had.
    #[error("memory of the container cannot be read")]
    Pages(#[source] super::lazy::SourceError),
    /// The conversation with CRIU's worker broke off.
    #[error("{operation} CRIU's worker (criu swrk)")]
    Rpc {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// CRIU's worker said no.
    #[error("CRIU refused {request}{}", reason(*.errno, .message.as_deref()))]
    Refused {
        /// What was asked.
        request: &'static str,
        /// CRIU's `errno`, where it named one.
        errno: Option<i32>,
        /// The first error that it logged.
        message: Option<String>,
    },
    /// What `ckpt criu-rpc` was told to do is not understood.
    #[error("the order for CRIU is not understood")]
    Order(#[source] serde_json::Error),
    /// The caller asked to stop.
    #[error("stopped by a signal")]
    Interrupted,
}

impl Error {
    /// The class of this error. Whether it counts as a failed dump or a failed restore is for the pipeline to say.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoHelper(_) => ErrorKind::Host,
            Self::OptionValue { .. } => ErrorKind::Usage,
            _ => ErrorKind::Other,
        }
    }

    pub(crate) fn io(operation: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Io {
            operation,
            path: path.into(),
            source: source.into(),
        }
    }
}

fn quote(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n    {line}")).collect()
}

fn reason(errno: Option<i32>, message: Option<&str>) -> String {
    let errno = errno.map(|number| io::Error::from_raw_os_error(number).to_string());
    let parts = [errno.as_deref(), message.map(str::trim)];
    parts.into_iter().flatten().map(|part| format!(": {part}")).collect()
}
