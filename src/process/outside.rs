//! What a tree has to do with processes outside of it though nothing stands in the way of a dump: the journal that its
//! services write to, logs that take datagrams, the session of the shell that it was started from. CRIU wants to be told of
//! each; ckpt finds out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::descriptors::{self, Descriptor};
use super::proc::Tree;
use super::sockets::{self, UnixSocket};

/// Where systemd's journal takes the standard output of services.
pub const JOURNAL: &str = "/run/systemd/journal/stdout";
/// Longest name that the journal is given.
const MAX_NAME: usize = 255;
/// The level that lines without one have: informational, of a daemon (`LOG_INFO`).
const PRIORITY: u32 = 6;

/// A connection to the journal: a socket that the standard output and error of a service's processes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournalStream {
    /// The socket's inode, which is what CRIU knows it by.
    pub inode: u32,
    /// The name that its lines have in the journal.
    pub identifier: String,
    /// The unit that they are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

impl JournalStream {
    /// What the journal is told first by whoever connects to it: name, unit, level, whether lines begin with a level, and
    /// whether they go to syslog, the kernel's log and the console.
    #[must_use]
    pub fn greeting(&self) -> String {
        let unit = self.unit.as_deref().unwrap_or_default();
        format!("{}\n{}\n{PRIORITY}\n1\n0\n0\n0\n", line(&self.identifier), line(unit))
    }
}

/// A text from an archive as part of a line.
fn line(text: &str) -> String {
    let visible = text.chars().filter(|letter| !letter.is_control());
    visible.take(MAX_NAME).collect()
}

/// The connections of a tree to the journal.
#[must_use]
pub fn journal_of(tree: &Tree) -> Vec<JournalStream> {
    let Some(root) = tree.root() else { return Vec::new() };
    let unit = unit_of(root.pid);
    let (sockets, own) = sockets_of(tree);
    let inodes: BTreeSet<u32> = own.iter().map(|(_, inode)| *inode).collect();
    let streams = inodes.into_iter().filter(|inode| is_journal(*inode, &sockets));
    streams
        .map(|inode| JournalStream {
            inode,
            identifier: root.name.clone(),
            unit: unit.clone(),
        })
        .collect()
}

/// Whether a tree sends datagrams to sockets outside that have a name, as to `/dev/log`: these are connected again.
#[must_use]
pub fn sends_datagrams(tree: &Tree) -> bool {
    let (sockets, own) = sockets_of(tree);
    let inside: BTreeSet<u32> = own.iter().map(|(_, inode)| *inode).collect();
    let mut foreign = inside.iter().filter(|inode| {
        let peer = sockets.get(inode).and_then(|socket| socket.peer);
        peer.is_some_and(|peer| peer != 0 && !inside.contains(&peer))
    });
    foreign.any(|inode| is_named_datagram(*inode, &sockets))
}

/// Whether a tree is in somebody else's session and uses no terminal of it: it can be in another one as well. A session
/// whose leader is in another PID namespace has the number 0, and cannot be dumped.
#[must_use]
pub fn is_in_another_session(tree: &Tree) -> bool {
    let other = tree.root().is_some_and(|root| root.sid != root.pid && root.sid != 0);
    other && !descriptors::of_tree(tree).iter().any(Descriptor::is_terminal)
}

/// The Unix sockets around a tree, and its descriptors that are sockets.
fn sockets_of(tree: &Tree) -> (BTreeMap<u32, UnixSocket>, Vec<(Descriptor, u32)>) {
    let own: Vec<_> = descriptors::of_tree(tree)
        .into_iter()
        .filter_map(|descriptor| {
            let inode = descriptor.socket()?;
            Some((descriptor, inode))
        })
        .collect();
    let sockets = own.first().map(|(descriptor, _)| sockets::unix(descriptor.pid));
    (sockets.unwrap_or_default(), own)
}

fn peer(inode: u32, sockets: &BTreeMap<u32, UnixSocket>) -> Option<&UnixSocket> {
    sockets.get(&sockets.get(&inode)?.peer?)
}

/// Whether a socket is connected to the journal. It has accepted the connection at its socket, so that it has its name.
pub(super) fn is_journal(inode: u32, sockets: &BTreeMap<u32, UnixSocket>) -> bool {
    let name = peer(inode, sockets).and_then(|peer| peer.name.as_deref());
    name.is_some_and(|name| name.strip_suffix(b"\0").unwrap_or(name) == JOURNAL.as_bytes())
}

/// Whether a socket sends datagrams to one with a name in the file system.
pub(super) fn is_named_datagram(inode: u32, sockets: &BTreeMap<u32, UnixSocket>) -> bool {
    let peer = peer(inode, sockets).filter(|peer| peer.datagram);
    let name = peer.and_then(|peer| peer.name.as_deref());
    name.is_some_and(|name| name.starts_with(b"/"))
}

/// The service of systemd whose cgroup a process is in.
pub(super) fn unit_of(pid: i32) -> Option<String> {
    unit_in(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// Processes of a service may be in cgroups below its own.
fn unit_in(cgroups: &str) -> Option<String> {
    let paths = cgroups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        matches!(controllers, "" | "name=systemd").then_some(path)
    });
    let service = |path: &str| {
        path.rsplit('/')
            .find(|name| name.ends_with(".service"))
            .map(str::to_owned)
    };
    paths.filter_map(service).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_innermost_service_of_systemd_s_hierarchy() {
        for (cgroups, unit) in [
            ("0::/system.slice/nginx.service\n", Some("nginx.service")),
            (
                "9:pids:/x.service\n1:name=systemd:/system.slice/y.service/worker\n",
                Some("y.service"),
            ),
            ("0::/user.slice/user-0.slice/session-1.scope\n", None),
            ("9:pids:/x.service\n", None),
            ("", None),
        ] {
            assert_eq!(unit_in(cgroups).as_deref(), unit, "{cgroups}");
        }
    }

    #[test]
    fn nothing_of_an_archive_adds_lines_to_a_greeting() {
        let stream = JournalStream {
            inode: 7,
            identifier: "x\ny".into(),
            unit: Some("u.service\n0".into()),
        };
        assert_eq!(stream.greeting(), "xy\nu.service0\n6\n1\n0\n0\n0\n");
    }

    fn connected(name: &[u8], datagram: bool) -> BTreeMap<u32, UnixSocket> {
        let other = UnixSocket {
            datagram,
            name: Some(name.to_vec()),
            peer: None,
        };
        let own = UnixSocket {
            peer: Some(9),
            ..UnixSocket::default()
        };
        [(7, own), (9, other)].into()
    }

    #[test]
    fn the_journal_is_known_by_the_name_of_its_socket() {
        assert!(is_journal(7, &connected(b"/run/systemd/journal/stdout", false)));
        assert!(is_journal(7, &connected(b"/run/systemd/journal/stdout\0", false)));
        assert!(!is_journal(7, &connected(b"/run/other", false)));
        assert!(!is_journal(8, &connected(b"/run/systemd/journal/stdout", false)));
    }

    #[test]
    fn datagrams_go_on_to_what_has_a_name() {
        assert!(is_named_datagram(7, &connected(b"/dev/log", true)));
        assert!(!is_named_datagram(7, &connected(b"/dev/log", false)));
        assert!(!is_named_datagram(7, &connected(b"\0abstract", true)));
    }
}
