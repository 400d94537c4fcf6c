//! What keeps processes from being restored: their numbers, their files, their terminal.

use std::path::PathBuf;

use super::quoted;
use crate::error::ErrorKind;
use crate::process::{Difference, OpenFile};

/// One reason why the import of processes is not planned.
///
/// `Display` says what is wrong, [`advice`](Self::advice) what to do, [`kind`](Self::kind) whose matter it is.
#[derive(Debug, thiserror::Error)]
pub enum ProcessRefusal {
    // The request does not fit the archive.
    /// The processes were in a network namespace of their own.
    #[error("the processes were in a network namespace of their own, which is not in the archive")]
    Netns,
    /// A job of a terminal in a PID namespace of its own.
    #[error("--new-pidns: the processes are a job of a terminal, whose session cannot be in another PID namespace")]
    JobInNamespace,
    /// A job of a terminal without one.
    #[error("the processes are a job of a terminal (--shell-job), and standard input is none")]
    NoTerminal,
    /// Several processes without a namespace that would end them together.
    #[error(
        "--lazy: the archive holds {tasks} processes, which nothing would end together should their memory not be completed"
    )]
    LazyTree {
        /// How many.
        tasks: usize,
    },
    /// A file that is named is not the archive's.
    #[error("{flag} names {}, {}", path.display(), if *.flag == "--allow-file" { "which the processes do not use" } else { "which is not in the archive" })]
    FileUnknown {
        /// The switch.
        flag: &'static str,
        /// The path.
        path: PathBuf,
    },

    // This host lacks something.
    /// A process number is taken.
    #[error("the number {pid} has another process here: {by}")]
    PidTaken {
        /// The number.
        pid: i32,
        /// What has it.
        by: String,
    },
    /// This host gives no such numbers.
    #[error("the number {pid} is beyond this host's largest, {max}")]
    PidTooLarge {
        /// The number.
        pid: i32,
        /// The limit.
        max: i32,
    },
    /// A file is missing, or is another one.
    #[error("{}", difference_of(.path, .expected, .difference))]
    File {
        /// Its path.
        path: String,
        /// How the processes know it.
        expected: Box<OpenFile>,
        /// How it is here.
        difference: Difference,
    },
}

impl ProcessRefusal {
    /// The class of this refusal.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::File {
                expected, difference, ..
            } if expected.archived || difference.is_allowable() => ErrorKind::Policy,
            Self::PidTaken { .. } | Self::PidTooLarge { .. } | Self::File { .. } => ErrorKind::Host,
            Self::Netns
            | Self::JobInNamespace
            | Self::NoTerminal
            | Self::LazyTree { .. }
            | Self::FileUnknown { .. } => ErrorKind::Usage,
        }
    }

    /// What the importer can do about it; `None` where nothing can be done from here.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let text = match self {
            Self::Netns => {
                "--netns PATH names one of this host, --netns new makes one, --netns host takes the host's own"
                    .to_owned()
            }
            Self::JobInNamespace => "leave out --new-pidns".to_owned(),
            Self::NoTerminal => "run ckpt import on a terminal, over ssh with -t, and from a file".to_owned(),
            Self::LazyTree { .. } => "--new-pidns makes a PID namespace that ends them; or leave out --lazy".to_owned(),
            Self::PidTaken { .. } => {
                "end that process, or --new-pidns restores into a PID namespace of its own".to_owned()
            }
            Self::PidTooLarge { .. } => {
                "raise it (sysctl kernel.pid_max), or --new-pidns restores into a PID namespace of its own".to_owned()
            }
            Self::File {
                path,
                expected,
                difference,
            } => file_advice(path, expected, difference),
            Self::FileUnknown { .. } => return None,
        };
        Some(text)
    }
}

/// How a file of this host differs.
fn difference_of(path: &str, expected: &OpenFile, difference: &Difference) -> String {
    match difference {
        Difference::Missing => format!("{path} is not on this host"),
        Difference::Kind { here } => format!("{path} is {} here, not {}", here.name(), expected.kind.name()),
        Difference::Size { here } => format!("{path} has {here} bytes here, not {}", expected.size),
        Difference::Mode { here } => format!("{path} has the mode {here} here, not {}", expected.mode),
        Difference::Build => format!("{path} is another build here"),
        Difference::Content => format!("{path} has the same size here, but other content"),
        Difference::Device { here } => format!(
            "{path} is the device {here} here, not {}",
            expected.rdev.as_deref().unwrap_or("none")
        ),
    }
}

fn file_advice(path: &str, expected: &OpenFile, difference: &Difference) -> String {
    let path = quoted(path);
    match (difference, expected.archived) {
        (Difference::Kind { .. } | Difference::Device { .. }, _) => "move what is there away".to_owned(),
        (Difference::Content, true) => {
            format!("--replace-file {path} puts the archive's there, --allow-file {path} takes it as it is")
        }
        (Difference::Content, false) => {
            format!("copy it from the host that the archive comes from, or --allow-file {path} takes it as it is")
        }
        (Difference::Mode { .. }, false) => format!("chmod {} {path}", expected.mode),
        (_, true) => format!("--replace-file {path} puts the archive's there"),
        (_, false) => "copy it from the host that the archive comes from (ckpt export --files open --files-below DIR \
                       takes such files along)"
            .to_owned(),
    }
}
