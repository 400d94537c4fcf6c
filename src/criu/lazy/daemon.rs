//! CRIU's lazy-pages daemon.

use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::net::sockopt;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::super::{Error, log};

/// The daemon's log in CRIU's work directory.
const LOG: &str = "lazy-pages.log";
/// How the kernel names the descriptor that a task's faults come from.
const USERFAULTFD: &str = "anon_inode:[userfaultfd]";
/// Program name in messages.
const PROGRAM: &str = "criu lazy-pages";

/// How much may wait in the daemon's connection on its way to us, bytes. The daemon sends without waiting, and gives up when
/// that fails: every thread of the container may be in a page fault at once, and the kernel counts nearly 1 KiB for each
/// request. This is room for tens of thousands; what is not used costs nothing.
const REQUESTS: usize = 32 << 20;

/// Makes the connection between a page server and a daemon: our end, and the daemon's.
///
/// # Errors
/// [`Error::Lazy`].
pub fn connection() -> Result<(UnixStream, UnixStream), Error> {
    let fault = |source| Error::Lazy {
        operation: "preparing the connection to",
        source,
    };
    let (ours, theirs) = UnixStream::pair().map_err(fault)?;
    // Without CAP_NET_ADMIN, as much as the host allows.
    if sockopt::set_socket_send_buffer_size_force(&theirs, REQUESTS).is_err() {
        sockopt::set_socket_send_buffer_size(&theirs, REQUESTS).map_err(|error| fault(error.into()))?;
    }
    Ok((ours, theirs))
}

/// The daemon. Dropping it kills it: **the container must be gone before**, or its memory must be complete.
#[derive(Debug)]
pub struct LazyDaemon {
    pid: Pid,
    exited: OwnedFd,
    log: PathBuf,
    /// Where this process started it.
    child: Option<Child>,
}

impl LazyDaemon {
    /// Starts it for the images in a directory; it will wait for the restore in `work`, which must be the restore's own work
    /// directory, and ask the other end of `pages` for memory. Returns when the restore can begin.
    ///
    /// It gets the connected socket itself, so that there is no port which anybody else could connect to.
    ///
    /// # Errors
    /// [`Error::Run`]; [`Error::LazyEnded`] where it is not able, with what it logged.
    pub fn start(images: &Path, work: &Path, pages: UnixStream) -> Result<Self, Error> {
        let mut child = Self::command(images, work, pages).spawn().map_err(fault)?;
        let ready = child.stdout.take();
        let mut daemon = Self::running(Pid::from_child(&child), work)?;
        daemon.child = Some(child);
        let mut byte = [0];
        match ready.map(|mut ready| ready.read_exact(&mut byte)) {
            Some(Ok(())) => Ok(daemon),
            _ => Err(daemon.ended()),
        }
    }

    /// The one with this process number, which another process has started to work in `work`.
    ///
    /// # Errors
    /// [`Error::Run`] where there is none.
    pub fn running(pid: Pid, work: &Path) -> Result<Self, Error> {
        let exited = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| fault(error.into()))?;
        let (log, child) = (work.join(LOG), None);
        Ok(Self {
            pid,
            exited,
            log,
            child,
        })
    }

    fn command(images: &Path, work: &Path, pages: UnixStream) -> Command {
        let mut command = Command::new("criu");
        command
            .arg("lazy-pages")
            .arg("--images-dir")
            .arg(images)
            // Where the restore looks for the daemon's socket.
            .arg("--work-dir")
            .arg(work)
            // Memory comes from a page server, on a connection that exists: its standard input.
            .arg("--page-server")
            .args(["--ps-socket", "0"])
            // It says there that it listens.
            .args(["--status-fd", "1"])
            .args(["--log-file", LOG])
            // Errors only: more is a line for every page.
            .arg("-v1")
            .env_remove("CRIU_CONFIG_FILE")
            .stdin(Stdio::from(OwnedFd::from(pages)))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A Ctrl-C at the terminal is for ckpt, which ends the container before this.
            .process_group(0);
        command
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether tasks still depend on it for their memory.
    ///
    /// # Errors
    /// Where it cannot be looked at: then they may.
    pub fn has_tasks(&self) -> Result<bool, Error> {
        let directory = PathBuf::from(format!("/proc/{}/fd", self.pid.as_raw_nonzero()));
        let fault = |source| Error::io("listing", &directory, source);
        let mut any = false;
        for entry in std::fs::read_dir(&directory).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            any = true;
            if std::fs::read_link(entry.path()).is_ok_and(|target| target == Path::new(USERFAULTFD)) {
                return Ok(true);
            }
        }
        if any {
            Ok(false)
        } else {
            // The kernel takes all of them away at once, before it says that the process has ended.
            Err(fault(std::io::ErrorKind::NotFound.into()))
        }
    }

    /// Kills it.
    pub fn kill(&self) {
        let _ = pidfd_send_signal(&self.exited, Signal::KILL);
    }

    /// What it logged of its failure.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        log::error_lines(&self.log)
    }

    /// The error that it ended too early, with what it logged; it has ended, or is ended now.
    #[must_use]
    pub fn ended(&self) -> Error {
        self.kill();
        let lines = self.complaints();
        Error::LazyEnded { lines }
    }
}

/// The error that one did not get ready that was to work in `work`, with what it logged.
#[must_use]
pub fn complaint(work: &Path) -> Error {
    let lines = log::error_lines(&work.join(LOG));
    Error::LazyEnded { lines }
}

fn fault(source: std::io::Error) -> Error {
    Error::Run {
        program: PROGRAM.to_owned(),
        source,
    }
}

impl Drop for LazyDaemon {
    fn drop(&mut self) {
        self.kill();
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

/// Readable when it has ended.
impl AsFd for LazyDaemon {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.exited.as_fd()
    }
}
