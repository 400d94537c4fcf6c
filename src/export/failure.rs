//! A failed export: what state the container is in, asked of the runtime and not assumed.

use crate::criu::WorkDir;
use crate::error::{Error, Fate};
use crate::runtime::{Runtime, Target};

/// The name of CRIU's log of a dump.
pub(super) const DUMP_LOG: &str = "dump.log";

/// Turns errors of an export into ones that tell how the container is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failing<'a> {
    pub(super) runtime: &'a dyn Runtime,
    pub(super) target: &'a Target,
}

impl Failing<'_> {
    pub(super) fn error(&self, source: Error) -> Error {
        self.dump(source, None)
    }

    /// The same, with CRIU's log kept where the user finds it.
    pub(super) fn with_log(&self, source: Error, work: &WorkDir) -> Error {
        self.dump(source, work.keep_log(DUMP_LOG, &self.target.id))
    }

    fn dump(&self, source: Error, log: Option<std::path::PathBuf>) -> Error {
        Error::Dump {
            container: self.target.id.clone(),
            fate: self.fate(),
            log,
            source: Box::new(source),
        }
    }

    fn fate(&self) -> Fate {
        match self.runtime.inspect(&self.target.id) {
            Ok(Some(now)) if now.pid == self.target.pid && now.status == self.target.status => Fate::RunsOn,
            Ok(Some(now)) => Fate::Is(now.status),
            Ok(None) => Fate::Gone,
            Err(_) => Fate::Unknown,
        }
    }
}
