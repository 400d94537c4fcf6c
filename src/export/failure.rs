//! A failed export: what is undone of it, and what state the container is in, asked of the runtime and not assumed.
//!
//! A CRIU that fails undoes what it did. One that is killed does not: tasks go on, for the kernel lets them go, but the
//! freezer may stay closed, the network locked and TCP sockets in repair. What happened to a task in the middle of being changed cannot be undone:
//! CRIU runs code of its own in each, with all signals blocked, and one that is let go there ends by a trap, or stays deaf.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::criu::{BrokenOff, Network, WorkDir, broken_off};
use crate::error::{Error, Fate};
use crate::event::{Event, Events};
use crate::runtime::{Runtime, Target};
use crate::sys::repair::end_repair;

/// What CRIU blocks in a task while it runs code of its own there: every signal but the trap. No C library blocks the two
/// that it uses itself, so this is nobody else's.
const CRIU_BLOCKS: &str = "fffffffffffbfeef";

/// The name of CRIU's log of a dump.
pub(super) const DUMP_LOG: &str = "dump.log";

/// Turns errors of an export into ones that tell how the container is.
pub(super) struct Failing<'a> {
    pub(super) runtime: &'a dyn Runtime,
    pub(super) target: &'a Target,
    /// What the caller calls the container.
    pub(super) called: &'a str,
    pub(super) events: &'a dyn Events,
    /// The container's network namespace, where it has one of its own.
    pub(super) network: Option<Network>,
}

impl<'a> Failing<'a> {
    /// Of a container that runs.
    pub(super) fn new(runtime: &'a dyn Runtime, target: &'a Target, called: &'a str, events: &'a dyn Events) -> Self {
        let network = Network::of(target.pid)
            .inspect_err(|error| tracing::warn!(%error, "the container's network namespace cannot be opened"));
        Self {
            runtime,
            target,
            called,
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
        self.runtime.tidy(self.target);
        let fate = match broken_off(&work.path().join(DUMP_LOG)) {
            Some(broken) => self.undo(&broken),
            None => self.fate(),
        };
        self.dump(source, fate, work.keep_log(DUMP_LOG, &self.target.id))
    }

    fn dump(&self, source: Error, fate: Fate, log: Option<PathBuf>) -> Error {
        Error::Dump {
            container: self.called.to_owned(),
            fate,
            log,
            source: Box::new(source),
        }
    }

    /// The network and its sockets first, so that a container that is thawed finds them as they were.
    fn undo(&self, broken: &BrokenOff) -> Fate {
        if let Some(Err(error)) = self.network.as_ref().map(Network::unlock) {
            self.warn(format!("the container's network is still locked by CRIU: {error}"));
        }
        for (pid, name) in &broken.stopped {
            match end_repair(*pid) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    self.warn(format!("TCP connections of {pid} ({name}) may stand still: {error}"));
                }
                _ => {}
            }
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
        let harmed: Vec<String> = broken.stopped.iter().filter_map(harm).collect();
        match self.fate() {
            Fate::RunsOn if !harmed.is_empty() => Fate::Harmed(harmed),
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

/// What is wrong with a task that CRIU had stopped; `None` where nothing is.
fn harm((pid, name): &(i32, String)) -> Option<String> {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).unwrap_or_default();
    let what = wrong(&status)?;
    Some(format!("{pid} ({name}) {what}"))
}

/// What the text of `/proc/PID/status` says that is wrong; an empty one is that of a task that is gone.
fn wrong(status: &str) -> Option<&'static str> {
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match field("State:") {
        None => Some("has ended since"),
        Some(state) if state.starts_with(['Z', 'X']) => Some("has ended since"),
        Some(_) => (field("SigBlk:")? == CRIU_BLOCKS).then_some("has all signals blocked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_are_not_as_they_were() {
        for (status, expected) in [
            ("", Some("has ended since")),
            (
                "Name:\tx\nState:\tZ (zombie)\nSigBlk:\t0000000000000000\n",
                Some("has ended since"),
            ),
            (
                "State:\tS (sleeping)\nSigBlk:\tfffffffffffbfeef\n",
                Some("has all signals blocked"),
            ),
            // What a program blocks that blocks all it can with its C library.
            ("State:\tS (sleeping)\nSigBlk:\tfffffffe7ffbfeff\n", None),
            ("State:\tD (disk sleep)\nSigBlk:\t0000000000000000\n", None),
        ] {
            assert_eq!(wrong(status), expected, "{status:?}");
        }
    }

    #[test]
    fn a_process_that_nobody_has_waited_for_has_ended() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let task = (child.id() as i32, "sleep".to_owned());
        assert_eq!(harm(&task), None);
        child.kill().unwrap();
        while harm(&task).is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child.wait().unwrap();
        assert_eq!(harm(&task), Some(format!("{} (sleep) has ended since", task.0)));
    }
}
