//! A failed export: what is undone of it, and what state the container is in, asked of the runtime and not assumed.
//!
//! A CRIU that fails undoes what it did. One that is killed does not: tasks go on, for the kernel lets them go, but the
//! freezer may stay closed and the network locked. What happened to a task in the middle of being changed cannot be undone:
//! CRIU runs code of its own in each, and one that is let go there ends by a trap.

use std::fs;
use std::path::{Path, PathBuf};

use crate::criu::{BrokenOff, Network, WorkDir, broken_off};
use crate::error::{Error, Fate};
use crate::event::{Event, Events};
use crate::runtime::{Runtime, Target};

/// The name of CRIU's log of a dump.
pub(super) const DUMP_LOG: &str = "dump.log";

/// Turns errors of an export into ones that tell how the container is.
pub(super) struct Failing<'a> {
    pub(super) runtime: &'a dyn Runtime,
    pub(super) target: &'a Target,
    pub(super) events: &'a dyn Events,
    /// The container's network namespace, where it has one of its own.
    pub(super) network: Option<Network>,
}

impl<'a> Failing<'a> {
    /// Of a container that runs.
    pub(super) fn new(runtime: &'a dyn Runtime, target: &'a Target, events: &'a dyn Events) -> Self {
        let network = Network::of(target.pid)
            .inspect_err(|error| tracing::warn!(%error, "the container's network namespace cannot be opened"));
        Self {
            runtime,
            target,
            events,
            network: network.ok().flatten(),
        }
    }

    /// Before CRIU was started.
    pub(super) fn error(&self, source: Error) -> Error {
        self.dump(source, self.fate(), None)
    }

    /// After CRIU has ended: undoes what it left, and keeps its log where the user finds it.
    pub(super) fn after_dump(&self, source: Error, work: &WorkDir) -> Error {
        let fate = match broken_off(&work.path().join(DUMP_LOG)) {
            Some(broken) => self.undo(&broken),
            None => self.fate(),
        };
        self.dump(source, fate, work.keep_log(DUMP_LOG, &self.target.id))
    }

    fn dump(&self, source: Error, fate: Fate, log: Option<PathBuf>) -> Error {
        Error::Dump {
            container: self.target.id.clone(),
            fate,
            log,
            source: Box::new(source),
        }
    }

    /// The network first, so that a container that is thawed finds it as it was.
    fn undo(&self, broken: &BrokenOff) -> Fate {
        if let Some(Err(error)) = self.network.as_ref().map(Network::unlock) {
            self.warn(format!("the container's network is still locked by CRIU: {error}"));
        }
        let id = &self.target.id;
        let changed = match (self.fate(), self.target.status.as_str()) {
            (Fate::Is(now), "running") if now == "paused" => self.runtime.resume(id),
            (Fate::Is(now), "paused") if now == "running" => self.runtime.pause(id),
            _ => Ok(()),
        };
        if let Err(error) = changed {
            self.warn(format!(
                "the container is not {} as it was: {error}",
                self.target.status
            ));
        }
        let ended: Vec<String> = broken
            .stopped
            .iter()
            .filter(|(pid, _)| !lives(*pid))
            .map(shown)
            .collect();
        match self.fate() {
            Fate::RunsOn if !ended.is_empty() => Fate::RunsWithout(ended),
            fate => fate,
        }
    }

    fn warn(&self, message: String) {
        self.events.emit(Event::Warning { message });
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

fn shown((pid, name): &(i32, String)) -> String {
    format!("{pid} ({name})")
}

/// Whether a process is there and has not ended.
fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    // The name before may hold anything, parentheses too.
    stat.is_ok_and(|text| {
        text.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_nobody_has_waited_for_has_ended() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        while lives(pid) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child.wait().unwrap();
        assert!(!lives(pid) && lives(std::process::id() as i32));
    }
}
