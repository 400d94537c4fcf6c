//! Bringing a restored container's links back: into the bridge, up, and as LXC would have made them.
//!
//! CRIU makes the host's ends anew: with the MTU that is usual and with any hardware address. A bridge takes the smallest
//! MTU of its ports, and as its own the lowest of their hardware addresses, so one restored container could change
//! the network of all others. LXC, when it starts a container, gives both ends the same MTU, and the host's end an address
//! that begins with `fe`; here the same is done.

use super::{Error, HostEnd, here, inside, is_bridge, pairs};
use crate::sys::rtnetlink::{Change, Interface, Netlink};

/// First byte of the hardware address of a host's end: higher than those of real cards, so no bridge takes it for its own.
const PRIVATE: u8 = 0xfe;

/// What a link is to be on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The name of the container's end, in the container.
    pub inside: String,
    /// The bridge that the host's end is to be a port of.
    pub bridge: Option<String>,
}

/// A change that is to be made, with the words for it.
#[derive(Debug, PartialEq, Eq)]
struct Step<'a> {
    what: &'static str,
    operation: &'static str,
    change: Change<'a>,
}

/// Brings back the links of the container that process `pid` is in, and reads them again.
///
/// # Errors
/// [`Error::NoHostEnd`], [`Error::NoBridge`], [`Error::NotABridge`], [`Error::Change`], [`Error::NotBack`].
pub fn bring_back(pid: i32, wanted: &[Wanted]) -> Result<Vec<HostEnd>, Error> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let inside = inside(pid)?;
    let netlink = Netlink::open().map_err(Error::Host)?;
    let here_before = here()?;
    for wanted in wanted {
        let end = end_of(wanted, &inside, &here_before)?;
        let address = private(&end.address);
        for step in steps(&end, wanted, &inside, &here_before, &address)? {
            netlink.change(end.index, step.change).map_err(|source| Error::Change {
                operation: step.operation,
                name: end.name.clone(),
                source,
            })?;
        }
    }
    let here = here()?;
    wanted.iter().map(|wanted| check(wanted, &inside, &here)).collect()
}

/// Removes the interface of that name from this host, if it is there: the end of a pair that a failed restore made, which
/// the kernel would take away too, but some time later.
///
/// # Errors
/// [`Error::Host`], [`Error::Change`].
pub fn remove(name: &str) -> Result<(), Error> {
    let netlink = Netlink::open().map_err(Error::Host)?;
    let here = netlink.interfaces().map_err(Error::Host)?;
    let Some(interface) = here.iter().find(|interface| interface.name == name) else {
        return Ok(());
    };
    match netlink.remove(interface.index) {
        // The kernel was quicker.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => Ok(()),
        removed => removed.map_err(|source| Error::Change {
            operation: "removing",
            name: name.to_owned(),
            source,
        }),
    }
}

fn end_of(wanted: &Wanted, inside: &[Interface], here: &[Interface]) -> Result<HostEnd, Error> {
    let ends = pairs(inside, here);
    ends.into_iter()
        .find(|end| end.inside == wanted.inside)
        .ok_or_else(|| Error::NoHostEnd {
            inside: wanted.inside.clone(),
        })
}

/// Reads back what was made of a link.
fn check(wanted: &Wanted, inside: &[Interface], here: &[Interface]) -> Result<HostEnd, Error> {
    let end = end_of(wanted, inside, here)?;
    let address = private(&end.address);
    if let Some(step) = steps(&end, wanted, inside, here, &address)?.first() {
        return Err(Error::NotBack {
            name: end.name,
            what: step.what,
        });
    }
    Ok(end)
}

/// What is to be changed of a host's end, in order: it is up last.
fn steps<'a>(
    end: &HostEnd,
    wanted: &Wanted,
    inside: &[Interface],
    here: &[Interface],
    address: &'a [u8],
) -> Result<Vec<Step<'a>>, Error> {
    let mut steps = Vec::new();
    let mut step = |what, operation, change| {
        steps.push(Step {
            what,
            operation,
            change,
        });
    };
    let other = inside.iter().find(|interface| interface.name == end.inside);
    if let Some(mtu) = other.map(|other| other.mtu).filter(|mtu| *mtu != end.mtu) {
        step("MTU", "setting the MTU of", Change::Mtu(mtu));
    }
    if end.address != address {
        step(
            "hardware address",
            "setting the hardware address of",
            Change::Address(address),
        );
    }
    if let Some(bridge) = wanted
        .bridge
        .as_deref()
        .filter(|name| end.bridge.as_deref() != Some(*name))
    {
        let index = bridge_index(bridge, wanted, here)?;
        step("bridge", "putting into its bridge", Change::Master(Some(index)));
    }
    if !end.up {
        step("state up", "bringing up", Change::Up(true));
    }
    Ok(steps)
}

fn bridge_index(name: &str, wanted: &Wanted, here: &[Interface]) -> Result<u32, Error> {
    let (inside, bridge) = (wanted.inside.clone(), name.to_owned());
    match here.iter().find(|interface| interface.name == name) {
        Some(found) if is_bridge(found) => Ok(found.index),
        Some(found) => Err(Error::NotABridge {
            inside,
            bridge,
            kind: found.kind.clone(),
        }),
        None => Err(Error::NoBridge { inside, bridge }),
    }
}

/// The address as LXC has it for a host's end.
fn private(address: &[u8]) -> Vec<u8> {
    let mut address = address.to_vec();
    if let Some(first) = address.first_mut() {
        *first = PRIVATE;
    }
    address
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use super::super::testing::{Container, interface, with_container};
    use super::*;
    use crate::sys::netns;

    fn wanted(bridge: Option<&str>) -> Vec<Wanted> {
        vec![Wanted {
            inside: "eth0".to_owned(),
            bridge: bridge.map(str::to_owned),
        }]
    }

    /// The pair as CRIU leaves it where the configuration names no bridge.
    fn as_restored(container: &Container, mtu: u32) {
        let netlink = Netlink::open().unwrap();
        let index = interface("vethc1").unwrap().index;
        netlink.change(index, Change::Up(false)).unwrap();
        netlink.change(index, Change::Master(None)).unwrap();
        netlink.change(index, Change::Address(&[2, 0, 0, 0, 0, 1])).unwrap();
        let namespace = File::open(format!("/proc/{}/ns/net", container.pid())).unwrap();
        netns::within(namespace.as_fd(), || {
            let netlink = Netlink::open()?;
            let eth0 = interface("eth0").unwrap().index;
            netlink.change(eth0, Change::Mtu(mtu))?;
            netlink.change(eth0, Change::Up(true))
        })
        .unwrap();
    }

    #[test]
    fn as_root_a_link_comes_back_as_lxc_makes_it() {
        with_container(|container| {
            as_restored(container, 9000);
            let ends = bring_back(container.pid(), &wanted(Some("br1"))).unwrap();
            let end = interface("vethc1").unwrap();
            assert_eq!(end.master, Some(interface("br1").unwrap().index));
            assert_eq!(
                (end.up, end.mtu, end.address.clone()),
                (true, 9000, vec![0xfe, 0, 0, 0, 0, 1])
            );
            assert_eq!(
                (ends[0].name.as_str(), ends[0].bridge.as_deref()),
                ("vethc1", Some("br1"))
            );
            // What is as it should be is not touched again.
            bring_back(container.pid(), &wanted(Some("br1"))).unwrap();
        });
    }

    #[test]
    fn as_root_a_link_without_a_bridge_comes_up() {
        with_container(|container| {
            as_restored(container, 1500);
            bring_back(container.pid(), &wanted(None)).unwrap();
            let end = interface("vethc1").unwrap();
            assert_eq!((end.up, end.master), (true, None));
        });
    }

    #[test]
    fn as_root_what_is_no_bridge_is_told() {
        with_container(|container| {
            as_restored(container, 1500);
            let bring = |bridge| bring_back(container.pid(), &wanted(Some(bridge))).unwrap_err();
            let missing = bring("br9");
            assert!(matches!(missing, Error::NoBridge { .. }), "{missing}");
            let lo = bring("lo");
            assert_eq!(lo.to_string(), "lo, for the container's interface eth0, is no bridge");
            let veth = bring("vethc1");
            assert!(veth.to_string().ends_with("but a veth"), "{veth}");
            let mut other = wanted(None);
            other[0].inside = "eth7".to_owned();
            let none = bring_back(container.pid(), &other).unwrap_err();
            assert!(matches!(none, Error::NoHostEnd { .. }), "{none}");
            assert!(
                !interface("vethc1").unwrap().up,
                "a link that cannot come back stays down"
            );
        });
    }

    #[test]
    fn as_root_what_a_failed_restore_left_is_removed() {
        with_container(|container| {
            remove("vethc1").unwrap();
            assert_eq!(interface("vethc1"), None);
            assert!(super::super::of_container(container.pid()).unwrap().is_empty());
            remove("vethc1").unwrap();
        });
    }
}
