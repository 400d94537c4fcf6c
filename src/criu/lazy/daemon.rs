//! CRIU's lazy-pages daemon.

use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::super::{Error, log};

/// The daemon's log in CRIU's work directory.
const LOG: &str = "lazy-pages.log";
/// How the kernel names the descriptor that a task's faults come from.
const USERFAULTFD: &str = "anon_inode:[userfaultfd]";
/// Program name in messages.
const PROGRAM: &str = "criu lazy-pages";

/// The daemon. Dropping it kills it: **the container must be gone before**, or its memory must be complete.
#[derive(Debug)]
pub struct LazyDaemon {
    child: Child,
    exited: OwnedFd,
    log: PathBuf,
}

impl LazyDaemon {
    /// Starts it for the images in a directory; it will wait for the restore in `work`, which must be the restore's own work
    /// directory, and ask the other end of `pages` for memory. Returns when the restore can begin.
    ///
    /// It gets the connected socket itself, so that there is no port which anybody else could connect to.
    ///
    /// # Errors
    /// [`Error::Run`]; [`Error::Ended`] where it is not able, with what it logged.
    pub fn start(images: &Path, work: &Path, pages: UnixStream) -> Result<Self, Error> {
        let fault = |source: std::io::Error| Error::Run {
            program: PROGRAM.to_owned(),
            source,
        };
        let mut child = Self::command(images, work, pages).spawn().map_err(fault)?;
        let exited = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).map_err(|error| fault(error.into()))?;
        let ready = child.stdout.take();
        let mut daemon = Self {
            child,
            exited,
            log: work.join(LOG),
        };
        let mut byte = [0];
        match ready.map(|mut ready| ready.read_exact(&mut byte)) {
            Some(Ok(())) => Ok(daemon),
            _ => Err(daemon.failed("it was ready")),
        }
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
        Pid::from_child(&self.child)
    }

    /// Whether tasks still depend on it for their memory.
    ///
    /// # Errors
    /// Where it cannot be looked at: then they may.
    pub fn has_tasks(&self) -> Result<bool, Error> {
        userfaultfds(self.pid()).map(|fds| !fds.is_empty())
    }

    /// What it logged of its failure.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        log::error_lines(&self.log)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Error::Run`].
    pub fn wait(&mut self) -> Result<ExitStatus, Error> {
        let program = || PROGRAM.to_owned();
        self.child.wait().map_err(|source| Error::Run {
            program: program(),
            source,
        })
    }

    /// The error that it ended before something.
    #[must_use]
    pub fn failed(&mut self, expected: &'static str) -> Error {
        let _ = self.child.kill();
        match self.wait() {
            Ok(status) => Error::Ended {
                program: PROGRAM.to_owned(),
                status: status.to_string(),
                expected,
                lines: self.complaints(),
            },
            Err(error) => error,
        }
    }
}

impl Drop for LazyDaemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Readable when it has ended.
impl AsFd for LazyDaemon {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.exited.as_fd()
    }
}

/// Numbers of the descriptors of a daemon that tasks' faults come from. One that is about to end has closed none of them as
/// long as this finds any.
///
/// # Errors
/// Where it is gone: its descriptors then are, too.
pub(crate) fn userfaultfds(daemon: Pid) -> Result<Vec<i32>, Error> {
    let directory = PathBuf::from(format!("/proc/{}/fd", daemon.as_raw_nonzero()));
    let fault = |source| Error::io("listing", &directory, source);
    let (mut found, mut any) = (Vec::new(), false);
    for entry in std::fs::read_dir(&directory).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        any = true;
        // One that is closed meanwhile is none.
        let is_one = std::fs::read_link(entry.path()).is_ok_and(|target| target == Path::new(USERFAULTFD));
        found.extend(
            entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<i32>().ok())
                .filter(|_| is_one),
        );
    }
    if any {
        Ok(found)
    } else {
        // The kernel takes all of them away at once, before it says that the process has ended.
        Err(fault(std::io::ErrorKind::NotFound.into()))
    }
}
