//! Who is at the other end of a connection within this host.
//!
//! CRIU reaches a page server over TCP on the loopback interface, where any process can knock. Memory is exchanged only with
//! a process that descends from one that ckpt itself started.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpStream};

/// Whether the other end of `stream` is a socket of the process `ancestor` or of one of its descendants, in the network
/// namespace of the caller.
///
/// # Errors
/// Where the addresses or /proc cannot be read.
pub(super) fn descends(stream: &TcpStream, ancestor: i32) -> io::Result<bool> {
    let (SocketAddr::V4(ours), SocketAddr::V4(theirs)) = (stream.local_addr()?, stream.peer_addr()?) else {
        return Ok(false);
    };
    let table = fs::read_to_string("/proc/self/net/tcp")?;
    let Some(inode) = inode(&table, theirs, ours) else {
        return Ok(false);
    };
    let link = format!("socket:[{inode}]");
    let parents = parents()?;
    let family = parents.keys().filter(|pid| is_below(&parents, **pid, ancestor));
    Ok(family.into_iter().any(|pid| holds(*pid, &link)))
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

fn holds(pid: i32, link: &str) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    descriptors
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .any(|target| target.as_os_str() == link)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn this_process_and_its_children_are_told_from_others() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let this = std::process::id() as i32;
        assert!(descends(&server, this).unwrap());
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        assert!(
            !descends(&server, child.id() as i32).unwrap(),
            "a child that has no such socket"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        let parent = std::os::unix::process::parent_id() as i32;
        assert!(descends(&server, parent).unwrap(), "a descendant");
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
    fn circles_end() {
        let parents = HashMap::from([(2, 3), (3, 2)]);
        assert!(!is_below(&parents, 2, 1));
        assert!(is_below(&parents, 2, 3));
    }
}
