//! Who is at the other end of a connection within this host.
//!
//! CRIU reaches a page server over TCP on the loopback interface, where any process can knock. Memory is exchanged only with
//! a process that descends from one that ckpt itself started.
//!
//! CRIU's socket is corked: the kernel holds back what does not fill a segment, for 200 ms at most. At the end of a dump that
//! is the header that says so, and the container stands still for it. [`Peer::push`] has it sent at once.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;

use rustix::net::sockopt::set_tcp_nodelay;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// The other end of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its socket, where the kernel lets it be shared.
    socket: Option<OwnedFd>,
}

impl Peer {
    /// Has the kernel send what it holds back. Where that cannot be done, it is sent later.
    pub(super) fn push(&self) {
        if let Some(socket) = &self.socket {
            let _ = set_tcp_nodelay(socket, true);
        }
    }
}

/// The other end of `stream`, if that is a socket of the process `ancestor` or of one of its descendants, in the network
/// namespace of the caller.
///
/// # Errors
/// Where the addresses or /proc cannot be read.
pub(super) fn descendant(stream: &TcpStream, ancestor: i32) -> io::Result<Option<Peer>> {
    let (SocketAddr::V4(ours), SocketAddr::V4(theirs)) = (stream.local_addr()?, stream.peer_addr()?) else {
        return Ok(None);
    };
    let table = fs::read_to_string("/proc/self/net/tcp")?;
    let Some(inode) = inode(&table, theirs, ours) else {
        return Ok(None);
    };
    let link = format!("socket:[{inode}]");
    let parents = parents()?;
    let mut family = parents.keys().filter(|pid| is_below(&parents, **pid, ancestor));
    let held = family.find_map(|pid| Some((*pid, descriptor(*pid, &link)?)));
    Ok(held.map(|(pid, descriptor)| Peer {
        socket: share(pid, descriptor),
    }))
}

/// A descriptor of ours for another process's.
fn share(pid: i32, descriptor: i32) -> Option<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    pidfd_getfd(process, descriptor, PidfdGetfdFlags::empty()).ok()
}

/// The inode of the socket with these addresses in the text of `/proc/net/tcp`.
fn inode(table: &str, local: SocketAddrV4, remote: SocketAddrV4) -> Option<u64> {
    let (local, remote) = (shown(local), shown(remote));
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let found = fields.get(1) == Some(&local.as_str()) && fields.get(2) == Some(&remote.as_str());
        found.then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

/// An address as the table has it: the address as a number of this machine, the port as a number.
fn shown(address: SocketAddrV4) -> String {
    format!(
        "{:08X}:{:04X}",
        u32::from_ne_bytes(address.ip().octets()),
        address.port()
    )
}

/// Every process of this host with its parent.
fn parents() -> io::Result<HashMap<i32, i32>> {
    let mut parents = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name before may hold anything, parentheses too.
        let parent = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        if let Some(parent) = parent {
            parents.insert(pid, parent);
        }
    }
    Ok(parents)
}

fn is_below(parents: &HashMap<i32, i32>, mut pid: i32, ancestor: i32) -> bool {
    // A process that ends meanwhile can make a circle of the table, but no longer than it.
    for _ in 0..=parents.len() {
        if pid == ancestor {
            return true;
        }
        match parents.get(&pid) {
            Some(parent) => pid = *parent,
            None => return false,
        }
    }
    false
}

/// The number of the descriptor that a process has for a socket.
fn descriptor(pid: i32, link: &str) -> Option<i32> {
    let mut descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let found = descriptors.find(|entry| fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == link))?;
    found.file_name().to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::*;

    #[test]
    fn this_process_and_its_children_are_told_from_others() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let this = std::process::id() as i32;
        let peer = descendant(&server, this).unwrap().expect("this process");
        assert!(peer.socket.is_some());
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        assert!(
            descendant(&server, child.id() as i32).unwrap().is_none(),
            "a child that has no such socket"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        let parent = std::os::unix::process::parent_id() as i32;
        assert!(descendant(&server, parent).unwrap().is_some(), "a descendant");
    }

    #[test]
    fn the_table_s_form_is_the_kernel_s() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100\n\
             \x20  1: 0100007F:D431 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 20\n";
        let at = |port| SocketAddrV4::new([127, 0, 0, 1].into(), port);
        assert_eq!(inode(table, at(0xd431), at(0x1f90)), Some(4242));
        assert_eq!(inode(table, at(0x1f90), at(0xd431)), None);
    }

    #[test]
    fn what_a_corked_socket_holds_back_comes_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        rustix::net::sockopt::set_tcp_cork(&client, true).unwrap();
        client.write_all(b"the end").unwrap();
        server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut buffer = [0; 7];
        assert!(server.read(&mut buffer).is_err(), "held back");
        descendant(&server, std::process::id() as i32).unwrap().unwrap().push();
        server.read_exact(&mut buffer).unwrap();
    }

    #[test]
    fn circles_end() {
        let parents = HashMap::from([(2, 3), (3, 2)]);
        assert!(!is_below(&parents, 2, 1));
        assert!(is_below(&parents, 2, 3));
    }
}
