//! What takes the place of sockets whose other end was outside of a tree: new connections to whoever listens there now.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use super::messages::InheritFd;
use crate::criu::Error;

/// What is written where nobody listens.
const NULL: &str = "/dev/null";

/// A connection to be made for a socket of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Substitute {
    /// The inode of the socket that was dumped.
    pub inode: u32,
    /// The socket to connect to, which is only written to.
    pub socket: PathBuf,
    /// What is written first.
    pub greeting: String,
}

/// Connections that a worker inherits which is started while this is there.
#[derive(Debug, Default)]
pub(super) struct Substitutes(Vec<(u32, OwnedFd)>);

impl Substitutes {
    /// Makes the connections. Where nobody listens, what the tree writes is dropped.
    pub(super) fn make(wanted: &[Substitute]) -> Result<Self, Error> {
        let make = |one: &Substitute| {
            let made = one.connect().or_else(|error| {
                tracing::info!(%error, socket = %one.socket.display(), "nobody takes what is written");
                File::options().read(true).write(true).open(NULL).map(OwnedFd::from)
            });
            let fd = made.map_err(|error| Error::io("opening", Path::new(NULL), error))?;
            fcntl_setfd(&fd, FdFlags::empty())
                .map_err(|error| Error::io("handing down a connection to", &one.socket, error))?;
            Ok((one.inode, fd))
        };
        wanted.iter().map(make).collect::<Result<_, Error>>().map(Self)
    }

    /// As a request names them.
    pub(super) fn named(&self) -> Vec<InheritFd> {
        let named = |(inode, fd): &(u32, OwnedFd)| InheritFd {
            key: format!("socket:[{inode}]"),
            fd: fd.as_raw_fd(),
        };
        self.0.iter().map(named).collect()
    }
}

impl Substitute {
    /// How a dump is told to leave the other end out.
    #[must_use]
    pub fn external(inode: u32) -> String {
        format!("unix[{inode}]")
    }

    fn connect(&self) -> io::Result<OwnedFd> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.shutdown(Shutdown::Read)?;
        stream.write_all(self.greeting.as_bytes())?;
        Ok(stream.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn substitute(socket: PathBuf) -> Substitute {
        Substitute {
            inode: 7,
            socket,
            greeting: "hello\n".into(),
        }
    }

    #[test]
    fn who_listens_is_greeted_and_the_request_names_the_connection() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let made = Substitutes::make(&[substitute(path)]).unwrap();
        let named = made.named();
        assert_eq!(named[0].key, "socket:[7]");
        assert_eq!(named[0].fd, made.0[0].1.as_raw_fd());
        let (mut taken, _) = listener.accept().unwrap();
        drop(made);
        let mut text = String::new();
        taken.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello\n");
    }

    #[test]
    fn where_nobody_listens_it_is_dropped() {
        let made = Substitutes::make(&[substitute("/nonexistent/socket".into())]).unwrap();
        let path = std::fs::read_link(format!("/proc/self/fd/{}", made.0[0].1.as_raw_fd())).unwrap();
        assert_eq!(path, Path::new(NULL));
    }
}
