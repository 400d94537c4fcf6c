//! The host's ends of a container's network links: found, cut off while the container is on its way, brought back.
//!
//! ```text
//! export:  of_container(pid) -> HostEnd -> Cut (down; up again on drop) -> Cut::keep when the container is gone
//! import:  bring_back(pid, Wanted): MTU, hardware address, bridge, up; read back
//! ```
//!
//! Which interface of the host belongs to a container is asked of the kernel, not of a configuration: the two ends of a
//! veth pair name each other. An end is cut off when CRIU has written everything and not before: CRIU's own lock in the
//! container's network namespace holds until then, and a link without carrier would be dumped as one, with routes that
//! the kernel refuses to take back (`can not contain DEAD or LINKDOWN`).
//! Invariants: what a [`Cut`] took down goes up again unless [`Cut::keep`] is called, also when ckpt is killed: the record
//! that it leaves is undone by the action script that waits for ckpt's answer, or else by the next ckpt ([`heal`]). Only
//! ends that are ports of a bridge are taken down; the routes through any other would be lost.

mod back;
mod cut;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

pub use back::{Wanted, bring_back, remove};
pub use cut::{Cut, RECORD, heal};

use crate::error::ErrorKind;
use crate::sys::netns;
use crate::sys::rtnetlink::{Interface, Netlink};

/// The kind of interface that comes in pairs.
const VETH: &str = "veth";
/// The kind of interface that ckpt puts ends of veth pairs into.
const BRIDGE: &str = "bridge";

/// What work on network links can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network namespace of a process cannot be looked at.
    #[error("looking at the network interfaces of process {pid}")]
    Container {
        /// The process.
        pid: i32,
        /// Why.
        source: io::Error,
    },
    /// The interfaces of this host cannot be listed.
    #[error("listing the network interfaces of this host")]
    Host(#[source] io::Error),
    /// An interface of this host cannot be changed.
    #[error("{operation} interface {name}")]
    Change {
        /// What was tried.
        operation: &'static str,
        /// The interface.
        name: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The record of what is cut off cannot be written.
    #[error("writing {}", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A restored container has no such link to this host.
    #[error("the container's interface {inside} has no other end on this host")]
    NoHostEnd {
        /// The container's interface.
        inside: String,
    },
    /// The bridge is not there.
    #[error("this host has no bridge {bridge} for the container's interface {inside}")]
    NoBridge {
        /// The container's interface.
        inside: String,
        /// The bridge.
        bridge: String,
    },
    /// What is to be a bridge is something else.
    #[error("{bridge}, for the container's interface {inside}, is no bridge{}", kind.as_ref().map(|kind| format!(" but a {kind}")).unwrap_or_default())]
    NotABridge {
        /// The container's interface.
        inside: String,
        /// Its name.
        bridge: String,
        /// What it is, where it is a virtual interface.
        kind: Option<String>,
    },
    /// A link did not become what it should.
    #[error("interface {name} of this host did not take its {what}")]
    NotBack {
        /// The interface.
        name: String,
        /// What is not as it should be.
        what: &'static str,
    },
}

impl Error {
    /// The class of this error.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoBridge { .. } | Self::NotABridge { .. } => ErrorKind::Host,
            _ => ErrorKind::Other,
        }
    }
}

/// The end of a container's veth pair that is on this host.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HostEnd {
    /// The name of the container's end, in the container.
    pub inside: String,
    /// Its own name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Whether it is up.
    pub up: bool,
    /// Its maximum transmission unit, bytes.
    pub mtu: u32,
    /// Its hardware address.
    pub address: Vec<u8>,
    /// The bridge that it is a port of.
    pub bridge: Option<String>,
}

/// The host's ends of the links of the container that process `pid` is in; none where it has the host's network, or where
/// the other ends are somewhere else.
///
/// # Errors
/// [`Error::Container`] where the process's namespace cannot be entered, [`Error::Host`].
pub fn of_container(pid: i32) -> Result<Vec<HostEnd>, Error> {
    let namespace = |whose: &str| std::fs::read_link(format!("/proc/{whose}/ns/net")).ok();
    // Numbers of one namespace must not be compared with themselves.
    let theirs = namespace(&pid.to_string());
    if theirs.is_some() && theirs == namespace("thread-self") {
        return Ok(Vec::new());
    }
    Ok(pairs(&inside(pid)?, &here()?))
}

/// The interfaces of this host.
///
/// # Errors
/// [`Error::Host`].
pub fn here() -> Result<Vec<Interface>, Error> {
    Netlink::open()
        .and_then(|netlink| netlink.interfaces())
        .map_err(Error::Host)
}

/// Whether an interface is a bridge that ends of veth pairs can be put into.
#[must_use]
pub fn is_bridge(interface: &Interface) -> bool {
    interface.kind.as_deref() == Some(BRIDGE)
}

fn inside(pid: i32) -> Result<Vec<Interface>, Error> {
    let look = || {
        let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
        netns::within(namespace.as_fd(), || Netlink::open()?.interfaces())
    };
    look().map_err(|source| Error::Container { pid, source })
}

/// Of a pair, each end has the other's number, and says that it is in another namespace.
fn pairs(inside: &[Interface], here: &[Interface]) -> Vec<HostEnd> {
    let is_end = |interface: &&Interface| interface.kind.as_deref() == Some(VETH) && interface.peer_elsewhere;
    let other = |end: &Interface| {
        here.iter()
            .filter(is_end)
            .find(|other| Some(other.index) == end.peer && other.peer == Some(end.index))
    };
    let ends = inside.iter().filter(is_end);
    ends.filter_map(|end| Some(host_end(&end.name, other(end)?, here)))
        .collect()
}

fn host_end(inside: &str, end: &Interface, here: &[Interface]) -> HostEnd {
    let master = here.iter().find(|master| Some(master.index) == end.master);
    HostEnd {
        inside: inside.to_owned(),
        name: end.name.clone(),
        index: end.index,
        up: end.up,
        mtu: end.mtu,
        address: end.address.clone(),
        bridge: master
            .filter(|master| is_bridge(master))
            .map(|master| master.name.clone()),
    }
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::*;

    fn veth(index: u32, name: &str, peer: u32) -> Interface {
        Interface {
            index,
            name: name.to_owned(),
            kind: Some(VETH.to_owned()),
            peer: Some(peer),
            peer_elsewhere: true,
            ..Interface::default()
        }
    }

    #[test]
    fn the_ends_of_a_pair_name_each_other() {
        let inside = [veth(2, "eth0", 7), veth(3, "eth1", 9), veth(4, "eth2", 8)];
        let bridge = Interface {
            index: 3,
            name: "br0".to_owned(),
            kind: Some(BRIDGE.to_owned()),
            ..Interface::default()
        };
        let mut port = veth(7, "vethc1", 2);
        port.master = Some(3);
        // 8 is the end of another container's pair, 9 is there twice over in numbers only: it is no veth.
        let here = [
            bridge,
            port,
            veth(8, "stranger", 99),
            Interface {
                kind: None,
                ..veth(9, "eth0", 3)
            },
        ];
        let found = pairs(&inside, &here);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (
                found[0].inside.as_str(),
                found[0].name.as_str(),
                found[0].bridge.as_deref()
            ),
            ("eth0", "vethc1", Some("br0"))
        );
    }

    #[test]
    fn a_process_that_is_gone_has_no_interfaces() {
        let error = of_container(i32::MAX).unwrap_err();
        assert!(matches!(error, Error::Container { pid: i32::MAX, .. }), "{error}");
    }

    #[test]
    fn a_process_with_the_host_s_network_has_no_links() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(of_container(own).unwrap(), []);
    }

    #[test]
    fn as_root_a_link_is_found_with_its_bridge() {
        testing::with_container(|container| {
            let found = of_container(container.pid()).unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!((found[0].inside.as_str(), found[0].name.as_str()), ("eth0", "vethc1"));
            assert_eq!((found[0].up, found[0].bridge.as_deref()), (true, Some("br0")));
        });
    }
}
