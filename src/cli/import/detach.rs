//! `ckpt import --lazy --detach`: the import is done by a second process, the worker, which goes on when the container runs.
//!
//! The worker is this very command again, told by its environment. Its standard input is a connection to the first process:
//! one byte says that the container runs. Until then it writes where the first one would; from then on nowhere, so that
//! nobody waits for it to close anything. When the first process is gone before that, the import is undone.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use super::Interrupted;
use crate::cli::Outcome;
use crate::cli::render::Ui;
use crate::cli::render::failure::Failure;
use crate::cli::render::progress::Progress;
use crate::error::ErrorKind;
use crate::event::{Event, Events};
use crate::import::{Outcome as Imported, Restored};

/// Tells the worker that it is one.
const VARIABLE: &str = "CKPT_LAZY_WORKER";
/// How often the first process looks whether it was asked to stop.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Whether this process is a worker.
pub fn is_worker() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Starts a worker and waits until its container runs, or until it ends.
pub fn launch() -> Outcome {
    let fault = |error: io::Error| Failure::new("cannot go on in the background", ErrorKind::Other, &error);
    let interrupted = Interrupted::listen().map_err(fault)?;
    let (channel, theirs) = UnixStream::pair().map_err(fault)?;
    channel.set_read_timeout(Some(LOOK_UP)).map_err(fault)?;
    let mut worker = start(theirs).map_err(fault)?;
    if runs(&channel, &worker, &interrupted) {
        return Ok(ExitCode::SUCCESS);
    }
    let status = worker.wait().map_err(fault)?;
    let failed = ErrorKind::Other.exit_code();
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(failed);
    Ok(ExitCode::from(code))
}

fn start(channel: UnixStream) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).env(VARIABLE, "1");
    // A group of its own: a Ctrl-C at the terminal is passed on below, once.
    command.stdin(Stdio::from(OwnedFd::from(channel))).process_group(0);
    command.spawn()
}

/// Waits for the worker's byte; false where it ends without.
fn runs(mut channel: &UnixStream, worker: &Child, interrupted: &Interrupted) -> bool {
    let mut told = false;
    loop {
        match channel.read(&mut [0]) {
            Ok(count) => return count > 0,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => return false,
        }
        if interrupted.yes() && !told {
            told = kill_process(Pid::from_child(worker), Signal::INT).is_ok();
        }
    }
}

/// The worker's events: shown until the container runs, then nowhere.
#[derive(Debug)]
pub struct Detaching<'a> {
    ui: &'a Ui,
    progress: Mutex<Option<Progress>>,
    detached: AtomicBool,
}

impl<'a> Detaching<'a> {
    /// Shows progress like any other import for now.
    pub fn new(ui: &'a Ui) -> Self {
        Self {
            ui,
            progress: Mutex::new(Some(ui.progress())),
            detached: AtomicBool::new(false),
        }
    }

    /// Whether the first process is gone before the container runs.
    pub fn is_abandoned(&self) -> bool {
        let stdin = io::stdin();
        let mut watched = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::RDHUP)];
        !self.detached.load(Ordering::Acquire) && poll(&mut watched, Some(&Timespec::default())).is_ok_and(|n| n > 0)
    }

    /// Says what a foreground import says at its end, and lets go of the first process and its streams.
    fn detach(&self, restored: Restored) {
        drop(self.progress.lock().unwrap_or_else(PoisonError::into_inner).take());
        let _ = super::show(&Imported::Restored(restored), self.ui);
        self.detached.store(true, Ordering::Release);
        if let Err(error) = let_go() {
            tracing::warn!(%error, "the streams of the caller stay open");
        }
    }
}

/// Standard input goes last: its closing is what the first process must not see before the byte.
fn let_go() -> io::Result<()> {
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?).write_all(&[1])?;
    rustix::stdio::dup2_stdin(&nothing)?;
    Ok(())
}

impl Events for Detaching<'_> {
    fn emit(&self, event: Event) {
        if let Event::Running {
            container,
            runtime,
            pid,
            bundle,
        } = event
        {
            return self.detach(Restored {
                job: false,
                container,
                runtime,
                pid,
                bundle,
                followed: None,
            });
        }
        if let Some(progress) = &*self.progress.lock().unwrap_or_else(PoisonError::into_inner) {
            progress.emit(event);
        }
    }
}
