//! One `criu swrk` and the conversation with it.
//!
//! Every message is one packet of a SEQPACKET socket, so that a worker that dies in the middle of something is seen as the
//! end of the conversation and not as half a message.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use prost::Message as _;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::messages::{Kind, Notification, Request, Response};
use crate::criu::Error;

/// Longest answer, bytes. Real ones have some hundred; the longest part is one line of CRIU's log.
const LONGEST: usize = 64 << 10;

/// A directory that a worker inherits.
///
/// CRIU 4.1 takes an images directory only under a name that is a link, as those in /proc are, and looks the descriptor of a
/// request up under the number of whoever asks, who has none in another PID namespace. Under this name it is CRIU's own
/// descriptor, whatever the namespace.
#[derive(Debug)]
pub struct Handed(File);

impl Handed {
    /// Opens it.
    ///
    /// # Errors
    /// Where there is no such directory.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let directory = File::open(path).map_err(|error| Error::io("opening", path, error))?;
        fcntl_setfd(&directory, FdFlags::empty()).map_err(|error| Error::io("handing down", path, error))?;
        Ok(Self(directory))
    }

    /// Its name in a worker that is started while this is there.
    #[must_use]
    pub fn name(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }
}

/// A worker of CRIU.
#[derive(Debug)]
pub struct Worker {
    socket: OwnedFd,
    child: Child,
}

impl Worker {
    /// Starts `program swrk FD`; `prepare` may change the command before.
    ///
    /// # Errors
    /// [`Error::Run`] where it cannot be started.
    pub fn start(program: &Path, prepare: impl FnOnce(&mut Command)) -> Result<Self, Error> {
        let fault = |source: io::Error| Error::Run {
            program: "criu swrk".to_owned(),
            source,
        };
        let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (socket, theirs) = pair.map_err(|error| fault(error.into()))?;
        // CRIU is told the number, so the descriptor keeps it. Standard input, which needs no such care, must stay what it is:
        // CRIU restores a shell job onto the terminal there.
        fcntl_setfd(&theirs, FdFlags::empty()).map_err(|error| fault(error.into()))?;
        let mut command = Command::new(program);
        command.arg("swrk").arg(theirs.as_raw_fd().to_string());
        prepare(&mut command);
        let child = command.spawn().map_err(fault)?;
        Ok(Self { socket, child })
    }

    /// Gives up on answers that take longer than `patience`.
    ///
    /// # Errors
    /// [`Error::Rpc`] where the socket does not take it.
    pub fn with_patience(self, patience: Duration) -> Result<Self, Error> {
        set_socket_timeout(self.socket.as_fd(), Timeout::Recv, Some(patience))
            .map_err(|error| fault("preparing the connection to", error.into()))?;
        Ok(self)
    }

    /// Sends a request and waits for its answer. Meanwhile `notified` is asked at each step that CRIU tells of, if the request
    /// wanted that; a no makes CRIU undo what it did.
    ///
    /// # Errors
    /// [`Error::Rpc`] where CRIU is gone or speaks another protocol, [`Error::Refused`] where it says no.
    pub fn call(
        &mut self,
        request: &Request,
        notified: &mut dyn FnMut(&Notification) -> bool,
    ) -> Result<Response, Error> {
        self.send(request)?;
        loop {
            let answer = self.receive()?;
            if answer.kind() != Kind::Notify {
                return judged(request.kind(), answer);
            }
            let goes_on = notified(&answer.notify.unwrap_or_default());
            self.send(&Request {
                kind: Kind::Notify.into(),
                notify_success: Some(goes_on),
                ..Request::default()
            })?;
        }
    }

    /// The same for requests at which CRIU tells of no steps.
    ///
    /// # Errors
    /// As [`Worker::call`].
    pub fn ask(&mut self, request: &Request) -> Result<Response, Error> {
        self.call(request, &mut |_| true)
    }

    /// Lets it end and waits for that.
    ///
    /// # Errors
    /// Where it cannot be waited for.
    pub fn finish(self) -> io::Result<ExitStatus> {
        let Self { socket, mut child } = self;
        drop(socket);
        child.wait()
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn send(&self, request: &Request) -> Result<(), Error> {
        rustix::net::send(&self.socket, &request.encode_to_vec(), SendFlags::NOSIGNAL)
            .map(drop)
            .map_err(|error| fault("asking", error.into()))
    }

    fn receive(&self) -> Result<Response, Error> {
        let mut space = vec![MaybeUninit::uninit(); LONGEST];
        let (packet, length) = loop {
            match rustix::net::recv(&self.socket, &mut space[..], RecvFlags::TRUNC) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(fault("waiting for", error.into())),
                Ok(((packet, _), length)) => break (packet, length),
            }
        };
        if length == 0 {
            return Err(fault("waiting for", io::ErrorKind::UnexpectedEof.into()));
        }
        if length > packet.len() {
            return Err(fault("understanding", io::ErrorKind::FileTooLarge.into()));
        }
        Response::decode(&*packet).map_err(|error| fault("understanding", io::Error::other(error)))
    }
}

fn fault(operation: &'static str, source: io::Error) -> Error {
    Error::Rpc { operation, source }
}

/// An answer that is a yes to what was asked.
fn judged(asked: Kind, answer: Response) -> Result<Response, Error> {
    if answer.success && answer.kind() == asked {
        return Ok(answer);
    }
    Err(Error::Refused {
        request: asked.name(),
        errno: answer.cr_errno.filter(|number| *number != 0),
        // The first error of a log may be the one that is none: a limit that CRIU would have liked to raise.
        message: answer
            .cr_errmsg
            .filter(|text| !text.trim().is_empty() && !text.contains("RLIMIT_NOFILE")),
    })
}
