//! One network of a container.

use super::effective::{Effective, Entry};
use super::keys::network_key;

/// Longest name of a network interface, bytes: the kernel's IFNAMSIZ without its terminator.
pub const MAX_INTERFACE_BYTES: usize = 15;

/// What a network is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkType {
    /// A pair of virtual interfaces, one end on the host.
    Veth,
    /// An interface stacked on one of the host.
    Macvlan,
    /// The loopback only.
    Empty,
    /// The host's own network.
    None,
    /// `vlan`, `ipvlan`, `phys`, or what LXC does not know.
    Other(String),
}

/// A network of the effective configuration.
#[derive(Debug, Clone, Copy)]
pub struct Network<'a> {
    effective: &'a Effective,
    number: u32,
    position: usize,
}

impl<'a> Network<'a> {
    pub(super) fn new(effective: &'a Effective, number: u32, position: usize) -> Self {
        Self {
            effective,
            number,
            position,
        }
    }

    /// Its number, as in `lxc.net.NUMBER`.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The value of one of its keys (`link`, `veth.pair`).
    #[must_use]
    pub fn get(&self, part: &str) -> Option<&'a Entry> {
        self.effective.get(&network_key(self.number, part))
    }

    /// What it is made of; `None` when no key says it.
    #[must_use]
    pub fn kind(&self) -> Option<NetworkType> {
        Some(match self.get("type")?.value.as_str() {
            "veth" => NetworkType::Veth,
            "macvlan" => NetworkType::Macvlan,
            "empty" => NetworkType::Empty,
            "none" => NetworkType::None,
            other => NetworkType::Other(other.to_owned()),
        })
    }

    /// Its interface's name in the container. Without `name` LXC tells CRIU `ethN`, N counting all networks.
    #[must_use]
    pub fn interface(&self) -> String {
        let name = self.get("name").map(|entry| entry.value.clone());
        name.unwrap_or_else(|| format!("eth{}", self.position))
    }
}

/// Whether the kernel takes a name for an interface.
#[must_use]
pub fn is_interface_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    !name.is_empty() && name.len() <= MAX_INTERFACE_BYTES && name != "." && name != ".." && name.bytes().all(plain)
}
