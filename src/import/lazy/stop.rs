//! Ends a container whose memory cannot be completed.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use crate::runtime::Runtime;

/// How long a killed process may take to be gone: it may have much memory to give back.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a runtime may take to clean up when its CRIU was killed.
const RESTORE_ENDS: Duration = Duration::from_secs(10);
/// How long between two attempts to delete a container.
const PAUSE: Duration = Duration::from_millis(50);

/// The first process of a container, whatever becomes of its number.
#[derive(Debug)]
pub(super) struct FirstProcess(OwnedFd);

impl FirstProcess {
    /// The process with this number, as this host counts.
    pub(super) fn of(pid: i32) -> std::io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(Self(pidfd_open(pid, PidfdFlags::empty())?))
    }

    pub(super) fn kill(&self) {
        let _ = pidfd_send_signal(&self.0, Signal::KILL);
    }

    fn is_gone(&self) -> bool {
        let mut watched = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        poll(&mut watched, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

/// A runtime's restore under way.
#[derive(Debug)]
pub(super) struct Restoring {
    runtime: Pid,
    process: FirstProcess,
}

impl Restoring {
    /// The restore by this process of a runtime.
    pub(super) fn of(runtime: i32) -> std::io::Result<Self> {
        Ok(Self {
            runtime: Pid::from_raw(runtime).ok_or(std::io::ErrorKind::InvalidInput)?,
            process: FirstProcess::of(runtime)?,
        })
    }

    /// Kills CRIU and what it has restored, and waits for the end of the restore. CRIU would wait for ever for tasks that are
    /// killed, or that touch a page which nobody serves. The runtime sees CRIU end and takes away what it made; killed
    /// itself, it would leave mounts behind. One that has yet to start CRIU is not missed.
    pub(super) fn end(&self) {
        let end = Instant::now() + RESTORE_ENDS;
        while !self.process.is_gone() && Instant::now() < end {
            for child in descendants(self.runtime) {
                let _ = kill_process(child, Signal::KILL);
            }
            std::thread::sleep(PAUSE);
        }
        self.process.kill();
    }
}

/// Processes that descend from this one and are not dead yet.
fn descendants(ancestor: Pid) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let parents: Vec<(Pid, Pid)> = numbers.filter_map(living_with_parent).collect();
    let mut found = vec![ancestor];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        next += 1;
    }
    found.split_off(1)
}

/// A process that is not dead, with its parent: the third and fourth fields of its `stat`.
fn living_with_parent(process: i32) -> Option<(Pid, Pid)> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field, a name in brackets, may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X");
    let parent = Pid::from_raw(fields.next()?.parse().ok()?)?;
    Some((Pid::from_raw(process)?, parent)).filter(|_| !dead)
}

/// Kills a container and has its runtime forget it. Returns when nothing of it runs any more; what is said otherwise is
/// what its runtime says.
///
/// The kernel ends a PID namespace with its first process; where the container has none, the runtime kills by cgroup.
pub(super) fn stop(
    runtime: &dyn Runtime,
    name: &str,
    first: Option<&FirstProcess>,
) -> Result<(), crate::runtime::Error> {
    if let Some(first) = first {
        first.kill();
    }
    let end = Instant::now() + PATIENCE;
    loop {
        let deleted = runtime.delete(name);
        let gone = first.is_none_or(FirstProcess::is_gone);
        if (deleted.is_ok() && gone) || Instant::now() > end {
            return deleted;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Ends the container of an import whose ckpt and guard are both gone, should it run: the mark in its bundle says that its
/// memory was never complete.
pub(super) fn stop_abandoned(runtime: &dyn Runtime, name: &str, bundle: &Path) {
    let Ok(Some(target)) = runtime.inspect(name) else {
        return;
    };
    if target.bundle != bundle {
        return;
    }
    let first = FirstProcess::of(target.pid).ok();
    if let Err(error) = stop(runtime, name, first.as_ref()) {
        tracing::warn!(name, %error, "a container without its memory could not be deleted");
    }
}
