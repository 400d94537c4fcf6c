//! Records of lazy imports, for those who want to know how far one is: one small file each, replaced as a whole.
//!
//! The last record of a container stays until the next lazy import of that name, or a reboot. A record whose process is gone
//! is that of an import that was killed, and its container with it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::guard::GuardOrder;
use crate::error::Error;
use crate::sys::read;

/// Where records are: a file system in memory, gone after a reboot as containers are.
const BASE: &str = "/run/ckpt/lazy";
/// What their names end in.
const SUFFIX: &str = ".json";
/// Longest record that is read, bytes.
const MAX_RECORD: u64 = 64 << 10;

/// How far a lazy import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LazyState {
    /// The container does not run yet.
    Restoring,
    /// It runs, and its memory follows.
    Following,
    /// All of its memory is there.
    Complete,
    /// The import failed; no container is left.
    Failed,
    /// The import was killed; its container was stopped.
    Killed,
}

/// What is known of a lazy import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LazyStatus {
    /// The container.
    pub container: String,
    /// Its runtime.
    pub runtime: String,
    /// How far it is.
    pub state: LazyState,
    /// Pages that have been fetched.
    pub pages: u64,
    /// Pages there are to fetch.
    pub total_pages: u64,
    /// The archive.
    pub archive: PathBuf,
    /// The process that serves it.
    pub process: i32,
    /// When that process started, in the kernel's ticks: numbers of processes are used again.
    pub started: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The record of the import that this process does.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    status: LazyStatus,
}

impl Record {
    /// Begins the record, in place of an earlier one of the same container.
    pub(super) fn begin(order: &GuardOrder, archive: &Path, total_pages: u64) -> Self {
        let process = rustix::process::getpid().as_raw_nonzero().get();
        let runtime = order.runtime.name();
        let record = Self {
            path: Path::new(BASE).join(format!("{runtime}-{}{SUFFIX}", order.container)),
            status: LazyStatus {
                container: order.container.clone(),
                runtime: runtime.to_owned(),
                state: LazyState::Restoring,
                pages: 0,
                total_pages,
                archive: archive.to_owned(),
                process,
                started: started(process).unwrap_or(0),
                error: None,
            },
        };
        record.keep();
        record
    }

    /// Notes how far it is.
    pub(super) fn note(&mut self, state: LazyState, pages: u64, error: Option<&Error>) {
        self.status.state = state;
        self.status.pages = pages;
        self.status.error = error.map(in_full);
        self.keep();
    }

    /// An import does not fail for want of a record.
    fn keep(&self) {
        if let Err(error) = self.write() {
            tracing::warn!(path = %self.path.display(), %error, "the record of a lazy import could not be written");
        }
    }

    fn write(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(BASE)?;
        let text = serde_json::to_vec(&self.status)?;
        let new = self.path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(new, &self.path)
    }
}

/// An error with its causes, on one line.
fn in_full(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// The lazy imports that there are records of, or those of this container's name, in the order of their names.
///
/// # Errors
/// Where the records cannot be read.
pub fn lazy_imports(container: Option<&str>) -> Result<Vec<LazyStatus>, Error> {
    imports_in(Path::new(BASE), container)
}

fn imports_in(base: &Path, container: Option<&str>) -> Result<Vec<LazyStatus>, Error> {
    let fault = |source| Error::io("reading", base, source);
    let entries = match fs::read_dir(base) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fault)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(fault)?.path();
        if !path.to_string_lossy().ends_with(SUFFIX) {
            continue;
        }
        // One that is replaced meanwhile is there under its name all the time; another file is none of ours.
        let status = read::bounded(&path, MAX_RECORD).ok().and_then(|text| parse(&text));
        found.extend(status.filter(|status| container.is_none_or(|name| status.container == name)));
    }
    found.sort_by(|a, b| (&a.container, &a.runtime).cmp(&(&b.container, &b.runtime)));
    Ok(found)
}

fn parse(text: &[u8]) -> Option<LazyStatus> {
    let mut status: LazyStatus = serde_json::from_slice(text).ok()?;
    let under_way = matches!(status.state, LazyState::Restoring | LazyState::Following);
    if under_way && started(status.process) != Some(status.started) {
        status.state = LazyState::Killed;
    }
    Some(status)
}

/// When a process started: the 22nd field of its `stat`. The second, a name in brackets, may hold anything.
fn started(process: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(container: &str, state: LazyState) -> LazyStatus {
        let process = rustix::process::getpid().as_raw_nonzero().get();
        LazyStatus {
            container: container.to_owned(),
            runtime: "runc".to_owned(),
            state,
            pages: 1,
            total_pages: 2,
            archive: "/data/x.ckpt".into(),
            process,
            started: started(process).unwrap(),
            error: None,
        }
    }

    #[test]
    fn records_are_found_by_name_and_strange_files_are_not() {
        let base = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "runc-b.json",
                serde_json::to_vec(&status("b", LazyState::Following)).unwrap(),
            ),
            (
                "runc-a.json",
                serde_json::to_vec(&status("a", LazyState::Complete)).unwrap(),
            ),
            (
                "runc-c.new",
                serde_json::to_vec(&status("c", LazyState::Complete)).unwrap(),
            ),
            ("d.json", b"{".to_vec()),
        ] {
            fs::write(base.path().join(name), text).unwrap();
        }
        let names = |wanted| -> Vec<_> {
            let found = imports_in(base.path(), wanted).unwrap();
            found.into_iter().map(|status| status.container).collect()
        };
        assert_eq!(names(None), ["a", "b"]);
        assert_eq!(names(Some("b")), ["b"]);
        assert_eq!(names(Some("c")), [""; 0]);
        assert_eq!(imports_in(&base.path().join("none"), None).unwrap(), []);
    }

    #[test]
    fn an_import_whose_process_is_gone_was_killed() {
        for (state, expected) in [
            (LazyState::Restoring, LazyState::Killed),
            (LazyState::Following, LazyState::Killed),
            (LazyState::Complete, LazyState::Complete),
            (LazyState::Failed, LazyState::Failed),
        ] {
            let living = status("a", state);
            assert_eq!(parse(&serde_json::to_vec(&living).unwrap()).unwrap(), living);
            // Another process with the same number.
            let other = LazyStatus {
                started: living.started + 1,
                ..living
            };
            assert_eq!(parse(&serde_json::to_vec(&other).unwrap()).unwrap().state, expected);
        }
    }
}
