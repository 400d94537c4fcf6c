//! Sockets as the kernel lists them: which TCP connections are established, and which Unix sockets are connected to which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::sys::netns;

/// The state of an established connection in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";
/// Protocol number of `NETLINK_SOCK_DIAG`.
const SOCK_DIAG: u32 = 4;
/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const REQUEST_DUMP: u16 = 0x1 | 0x300;
/// `NLMSG_DONE` and `NLMSG_ERROR`.
const DONE: u16 = 3;
const ERROR: u16 = 2;
/// `UDIAG_SHOW_NAME` and `UDIAG_SHOW_PEER`, and the attributes they make: `UNIX_DIAG_NAME`, `UNIX_DIAG_PEER`.
const SHOW: u32 = 1 | 4;
const NAME: u16 = 0;
const PEER: u16 = 2;
/// `SOCK_DGRAM`.
const DATAGRAM: u8 = 2;
/// Lengths of the head of an attribute.
const ATTRIBUTE: usize = 4;
/// Lengths of `struct nlmsghdr`, `struct unix_diag_req` and `struct unix_diag_msg`.
const HEADER: usize = 16;
const QUESTION: usize = 24;
const ANSWER: usize = 16;
/// The kernel fills packets of at most 32 KiB.
const PACKET: usize = 64 << 10;

/// The inodes of established TCP connections in the network namespace of a process.
pub(super) fn established(pid: i32) -> BTreeSet<u32> {
    let tables = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default());
    tables.iter().flat_map(|table| in_table(table)).collect()
}

/// The fourth field is the state, the tenth the inode.
fn in_table(table: &str) -> impl Iterator<Item = u32> {
    table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (*fields.get(3)? == ESTABLISHED)
            .then(|| fields.get(9)?.parse().ok())
            .flatten()
    })
}

/// A Unix socket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct UnixSocket {
    /// It sends datagrams.
    pub(super) datagram: bool,
    /// The name it is bound to; one that a listening socket has accepted has that one's.
    pub(super) name: Option<Vec<u8>>,
    /// The inode of the socket that it is connected to.
    pub(super) peer: Option<u32>,
}

/// The Unix sockets in the network namespace of a process, by inode. Nothing where the kernel does not tell: CRIU says it
/// then, later.
pub(super) fn unix(pid: i32) -> BTreeMap<u32, UnixSocket> {
    let asked = File::open(format!("/proc/{pid}/ns/net")).and_then(|namespace| netns::within(namespace.as_fd(), ask));
    asked
        .inspect_err(|error| tracing::debug!(%error, "Unix sockets cannot be listed"))
        .unwrap_or_default()
}

fn ask() -> io::Result<BTreeMap<u32, UnixSocket>> {
    let protocol = rustix::net::Protocol::from_raw(std::num::NonZeroU32::MIN.saturating_add(SOCK_DIAG - 1));
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(protocol),
    )?;
    rustix::net::send(&socket, &question(), SendFlags::empty())?;
    let mut sockets = BTreeMap::new();
    let mut packet = vec![0; PACKET];
    loop {
        let (_, length) = rustix::net::recv(&socket, &mut packet[..], RecvFlags::empty())?;
        let bytes = packet.get(..length).unwrap_or_default();
        if length == 0 || !take(bytes, &mut sockets)? {
            return Ok(sockets);
        }
    }
}

/// `struct nlmsghdr { u32 len; u16 type; u16 flags; u32 seq; u32 pid; }` and `struct unix_diag_req { u8 family; u8 protocol;
/// u16 pad; u32 states; u32 ino; u32 show; u32 cookie[2]; }`.
fn question() -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + QUESTION);
    message.extend(((HEADER + QUESTION) as u32).to_ne_bytes());
    message.extend(BY_FAMILY.to_ne_bytes());
    message.extend(REQUEST_DUMP.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([AddressFamily::UNIX.as_raw() as u8, 0, 0, 0]);
    message.extend(u32::MAX.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    message.extend(SHOW.to_ne_bytes());
    message.extend([0; 8]);
    message
}

/// Takes one packet; false when it was the last.
fn take(mut bytes: &[u8], sockets: &mut BTreeMap<u32, UnixSocket>) -> io::Result<bool> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    while !bytes.is_empty() {
        let length = u32_at(bytes, 0).ok_or_else(bad)? as usize;
        let message = bytes.get(..length).filter(|_| length >= HEADER).ok_or_else(bad)?;
        match u16_at(message, 4).ok_or_else(bad)? {
            DONE => return Ok(false),
            ERROR => return Err(bad()),
            _ => {}
        }
        sockets.extend(socket(&message[HEADER..]));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

/// `struct unix_diag_msg { u8 family; u8 type; u8 state; u8 pad; u32 ino; u32 cookie[2]; }` and its attributes.
fn socket(message: &[u8]) -> Option<(u32, UnixSocket)> {
    let inode = u32_at(message, 4)?;
    let mut socket = UnixSocket {
        datagram: message.get(1) == Some(&DATAGRAM),
        ..UnixSocket::default()
    };
    let mut attributes = message.get(ANSWER..)?;
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        let length = usize::from(length).max(ATTRIBUTE);
        let value = attributes.get(ATTRIBUTE..length)?;
        match kind {
            NAME => socket.name = Some(value.to_vec()),
            PEER => socket.peer = u32_at(value, 0),
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some((inode, socket))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn established_connections_of_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 17 1 0 100 0 0 10 0\n\
                     1: 0100007F:1F90 0100007F:D000 01 00000000:00000000 00:00000000 00000000 0 0 18 1 0 20 4 30 10 -1\n";
        assert_eq!(in_table(table).collect::<Vec<_>>(), [18]);
    }

    #[test]
    fn as_root_the_kernel_tells_the_peer_of_a_socket() {
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let inode = |stream: &std::os::unix::net::UnixStream| {
            let file = File::from(stream.as_fd().try_clone_to_owned().unwrap());
            u32::try_from(file.metadata().unwrap().ino()).unwrap()
        };
        let own = i32::try_from(std::process::id()).unwrap();
        let sockets = unix(own);
        let found = &sockets[&inode(&one)];
        assert_eq!((found.peer, found.datagram), (Some(inode(&other)), false));
        assert_eq!(found.name, None);
    }

    #[test]
    fn what_is_cut_is_refused_or_empty_and_never_a_panic() {
        let mut message = vec![0; HEADER + ANSWER];
        message.extend([8, 0, 2, 0, 9, 0, 0, 0]);
        message.extend([6, 0, 0, 0, b'/', b'x', 0, 0]);
        let length = message.len() as u32;
        message[..4].copy_from_slice(&length.to_ne_bytes());
        message[HEADER + 4] = 7;
        message[HEADER + 1] = DATAGRAM;
        let mut sockets = BTreeMap::new();
        assert!(take(&message, &mut sockets).unwrap());
        let found = UnixSocket {
            datagram: true,
            name: Some(b"/x".to_vec()),
            peer: Some(9),
        };
        assert_eq!(sockets, [(7, found)].into());
        for cut in 1..message.len() {
            assert!(take(&message[..cut], &mut BTreeMap::new()).is_err(), "{cut}");
        }
    }
}
