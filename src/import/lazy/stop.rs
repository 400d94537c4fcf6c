//! Ends a container whose memory cannot be completed.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpgid, kill_process_group, pidfd_open, pidfd_send_signal};

use crate::runtime::Runtime;

/// How long a killed process may take to be gone: it may have much memory to give back.
const PATIENCE: Duration = Duration::from_secs(60);
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

/// A container that may run, and the runtime's restore that may not have ended yet.
#[derive(Debug)]
pub(super) struct Watched {
    first: FirstProcess,
    runtime: Pid,
    restoring: FirstProcess,
}

impl Watched {
    /// The container with this first process, restored by this process of its runtime.
    pub(super) fn of(first: i32, runtime: i32) -> std::io::Result<Self> {
        Ok(Self {
            first: FirstProcess::of(first)?,
            runtime: Pid::from_raw(runtime).ok_or(std::io::ErrorKind::InvalidInput)?,
            restoring: FirstProcess::of(runtime)?,
        })
    }

    /// Its first process.
    pub(super) fn first(&self) -> &FirstProcess {
        &self.first
    }

    /// Kills it, and the restore with it: CRIU waits for ever for tasks that are killed before it has let go of them.
    pub(super) fn kill(&self) {
        self.first.kill();
        if self.restoring.is_gone() {
            return;
        }
        if getpgid(Some(self.runtime)) == Ok(self.runtime) {
            let _ = kill_process_group(self.runtime, Signal::KILL);
        }
        self.restoring.kill();
    }
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
