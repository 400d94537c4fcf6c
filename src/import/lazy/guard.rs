//! The guard of a lazy import: a process of its own that outlives ckpt.
//!
//! CRIU's daemon ends when it loses its page server, and tasks then read zeros where their memory is missing. So the guard
//! starts the daemon and holds a duplicate of ckpt's end of its connection: when ckpt is gone before all memory is there, the
//! daemon still waits for an answer, and tasks that touch a missing page wait in the kernel. The guard then ends the container,
//! after it the daemon, and clears the bundle for the next import. A daemon that ends by itself takes the container with it
//! as fast as a signal can.
//!
//! Duplicates of the tasks' userfaultfds would hold tasks even then, but CRIU closes one when its task is complete, and relies
//! on that to leave its epoll set: with a duplicate open it hears of the next fault or fork of that task on a descriptor that
//! it has closed, and gives up (seen with 200 processes).

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::process::Pid;

use super::stop::{FirstProcess, Restoring, stop};
use crate::criu::{self, lazy::LazyDaemon};
use crate::error::Error;
use crate::request::RuntimeKind;
use crate::runtime::{self, ContainerLock};

/// Where guards have their locks, beside those of containers.
const BASE: &str = "/run/ckpt";
/// How long the guard may take to start or to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an import waits for the guard of a killed one.
const TURN: Duration = Duration::from_secs(90);
/// How long a killed ckpt may still hold its lock.
const LAST_BREATH: Duration = Duration::from_secs(2);
/// How often it looks.
const PAUSE: Duration = Duration::from_millis(10);

/// The guard is ready, or has taken on what it was asked to.
const DONE: u8 = b'y';
/// The restore has begun: it ends with ckpt.
const RESTORE: u8 = b's';
/// The container is restored: from here on it ends with ckpt and with the daemon.
const WATCH: u8 = b'w';
/// All memory is there.
const RELEASE: u8 = b'r';
/// Length of a message: one of the above and a process number, where it is about any.
const MESSAGE: usize = 5;
/// Room for the one descriptor that comes with the guard's first message.
const ONE_DESCRIPTOR: usize = rustix::cmsg_space!(ScmRights(1));

/// What a guard watches over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardOrder {
    /// The container's runtime.
    pub runtime: RuntimeKind,
    /// The runtime's state directory.
    pub state_root: Option<PathBuf>,
    /// The container.
    pub container: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// CRIU's images.
    pub images: PathBuf,
    /// Where CRIU works in the restore.
    pub work: PathBuf,
}

/// ckpt's side of a guard.
#[derive(Debug)]
pub(super) struct Guard {
    child: Child,
    channel: UnixStream,
}

impl Guard {
    /// Starts a guard, which starts CRIU's daemon. Returns what to serve the daemon on.
    pub(super) fn start(order: &GuardOrder) -> Result<(Self, LazyDaemon, UnixStream), Error> {
        let (channel, theirs) = UnixStream::pair().map_err(fault("connecting to"))?;
        channel
            .set_read_timeout(Some(PATIENCE))
            .map_err(fault("connecting to"))?;
        let mut command = Command::new(criu::helper()?);
        command.arg("lazy-guard").args(["--runtime", order.runtime.name()]);
        if let Some(root) = &order.state_root {
            command.arg("--runtime-root").arg(root);
        }
        command
            .args(["--container", &order.container])
            .arg("--bundle")
            .arg(&order.bundle);
        command
            .arg("--images")
            .arg(&order.images)
            .arg("--work")
            .arg(&order.work);
        command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.process_group(0).spawn().map_err(fault("starting"))?;
        drop(command);
        let guard = Self { child, channel };
        let (daemon, connection) = guard.daemon().map_err(fault("waiting for"))?;
        let Some((daemon, connection)) = daemon.zip(connection) else {
            return Err(criu::lazy::complaint(&order.work).into());
        };
        Ok((guard, LazyDaemon::running(daemon, &order.work)?, connection))
    }

    /// The guard's first message: the daemon's process number and our end of its connection; neither where it is not able.
    fn daemon(&self) -> io::Result<(Option<Pid>, Option<UnixStream>)> {
        let mut message = [0; MESSAGE];
        let mut space = [MaybeUninit::uninit(); ONE_DESCRIPTOR];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut message)];
        let received = recvmsg(&self.channel, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let mut descriptors = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let connection = descriptors.next().and_then(|mut descriptors| descriptors.next());
        if received.bytes != MESSAGE {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (_, pid) = parts_of(message);
        Ok((Pid::from_raw(pid), connection.map(UnixStream::from)))
    }

    /// Has it watch over the restore by this process of the runtime.
    pub(super) fn watch_restore(&self, runtime: i32) -> Result<(), Error> {
        self.say(RESTORE, runtime)?;
        self.answer()
    }

    /// Has it watch over the container whose first process this is. Must be done before its tasks may run.
    pub(super) fn watch(&self, first: i32) -> Result<(), Error> {
        self.say(WATCH, first)?;
        self.answer()
    }

    /// Has it let go of everything and end: the memory is complete, or the container is gone.
    pub(super) fn release(&self) -> Result<(), Error> {
        self.say(RELEASE, 0)?;
        // The answer is its end.
        let mut rest = Vec::new();
        (&self.channel).read_to_end(&mut rest).map_err(fault("releasing"))?;
        Ok(())
    }

    fn say(&self, what: u8, process: i32) -> Result<(), Error> {
        let message = message(what, process);
        (&self.channel).write_all(&message).map_err(fault("talking to"))
    }

    fn answer(&self) -> Result<(), Error> {
        let mut answer = [0];
        (&self.channel).read_exact(&mut answer).map_err(fault("waiting for"))
    }
}

/// Readable when it has ended.
impl AsFd for Guard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.release();
        let _ = self.child.wait();
    }
}

fn message(what: u8, process: i32) -> [u8; MESSAGE] {
    let mut message = [what; MESSAGE];
    message[1..].copy_from_slice(&process.to_le_bytes());
    message
}

fn parts_of([what, process @ ..]: [u8; MESSAGE]) -> (u8, i32) {
    (what, i32::from_le_bytes(process))
}

fn fault(operation: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::io(operation, "the guard of the lazy import", source)
}

/// The guard itself: returns when it is no longer needed.
///
/// # Errors
/// Where it cannot begin to watch; its starter sees it end.
pub fn guard(order: &GuardOrder) -> Result<(), Error> {
    let _lock = lock(order.runtime, &order.container).map_err(fault("locking for"))?;
    let channel = io::stdin().as_fd().try_clone_to_owned().map_err(fault("connecting"))?;
    let channel = UnixStream::from(channel);
    let (ours, theirs) = criu::lazy::connection()?;
    let started = LazyDaemon::start(&order.images, &order.work, theirs);
    let pid = started.as_ref().map_or(0, |daemon| daemon.pid().as_raw_nonzero().get());
    // Where ckpt is gone already, reading from it tells.
    let _ = announce(&channel, pid, &ours);
    let mut watch = Watch {
        channel,
        daemon: started?,
        _connection: ours,
        restoring: None,
        first: None,
    };
    if watch.until_released() {
        // It has ended, or is about to: its container is complete or gone.
        return Ok(());
    }
    watch.end(order)
}

/// Tells ckpt the daemon's process number, and hands it a duplicate of its end of the connection.
fn announce(channel: &UnixStream, daemon: i32, connection: &UnixStream) -> io::Result<()> {
    let message = message(DONE, daemon);
    let mut space = [MaybeUninit::uninit(); ONE_DESCRIPTOR];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let connection = [connection.as_fd()];
    if daemon != 0 && !control.push(SendAncillaryMessage::ScmRights(&connection)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(channel, &[IoSlice::new(&message)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for the guard of a killed import of the same name, which is about to take away what that left; at once where there
/// is none, or where that import lives.
pub(in crate::import) fn wait_for_guard(kind: RuntimeKind, name: &str) {
    let begin = Instant::now();
    while begin.elapsed() < TURN {
        let Ok(file) = lock_file(kind, name, false) else { return };
        let free = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if free || (begin.elapsed() > LAST_BREATH && ContainerLock::take(kind, name).is_err()) {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

fn lock_file(kind: RuntimeKind, name: &str, create: bool) -> io::Result<File> {
    let path = Path::new(BASE).join(format!("guard-{}-{name}", kind.name()));
    OpenOptions::new()
        .read(true)
        .write(create)
        .create(create)
        .mode(0o600)
        .open(path)
}

fn lock(kind: RuntimeKind, name: &str) -> io::Result<File> {
    let file = lock_file(kind, name, true)?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

struct Watch {
    channel: UnixStream,
    daemon: LazyDaemon,
    _connection: UnixStream,
    restoring: Option<Restoring>,
    first: Option<FirstProcess>,
}

impl Watch {
    fn answer(&mut self) -> io::Result<()> {
        self.channel.write_all(&[DONE])
    }

    /// True when ckpt says that all is well, false when it is gone.
    fn until_released(&mut self) -> bool {
        let mut daemon_lives = true;
        loop {
            let mut watched = vec![PollFd::from_borrowed_fd(self.channel.as_fd(), PollFlags::IN)];
            if daemon_lives {
                watched.push(PollFd::from_borrowed_fd(self.daemon.as_fd(), PollFlags::IN));
            }
            if poll(&mut watched, None).is_err() {
                continue;
            }
            let asked = !watched[0].revents().is_empty();
            daemon_lives &= watched.get(1).is_none_or(|daemon| daemon.revents().is_empty());
            if asked && let Some(released) = self.take_message() {
                return released;
            }
            // What comes after this is for ckpt to do: it has seen the same.
            if let (false, Some(first)) = (daemon_lives, &self.first) {
                first.kill();
            }
        }
    }

    /// Takes a message; whether it was the last one, and if so whether all is well.
    fn take_message(&mut self) -> Option<bool> {
        let mut message = [0; MESSAGE];
        if self.channel.read_exact(&mut message).is_err() {
            return Some(false);
        }
        match parts_of(message) {
            (RELEASE, _) => Some(true),
            (RESTORE | WATCH, _) if self.watch(message).is_ok() => None,
            _ => Some(false),
        }
    }

    fn watch(&mut self, message: [u8; MESSAGE]) -> io::Result<()> {
        match parts_of(message) {
            (RESTORE, runtime) => self.restoring = Some(Restoring::of(runtime)?),
            (_, first) => self.first = Some(FirstProcess::of(first)?),
        }
        self.answer()
    }

    /// Ends the container, then the daemon.
    fn end(&mut self, order: &GuardOrder) -> Result<(), Error> {
        if let Some(first) = &self.first {
            first.kill();
        }
        let Some(restoring) = &self.restoring else {
            return Ok(());
        };
        restoring.end();
        let runtime = runtime::open(order.runtime, order.state_root.as_deref())?;
        stop(&*runtime, &order.container, self.first.as_ref())?;
        self.daemon.kill();
        for failure in crate::rewrite::apply::clear_abandoned(&order.bundle) {
            tracing::warn!(%failure, "left behind");
        }
        Ok(())
    }
}
