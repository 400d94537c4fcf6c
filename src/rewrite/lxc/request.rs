//! What an importer asks of an LXC configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::refusal::Refusal;
use crate::lxc::network::is_interface_name;
use crate::rewrite::layout::Name;

/// Longest hostname, bytes: the kernel's __NEW_UTS_LEN.
const MAX_HOSTNAME_BYTES: usize = 64;
/// Most characters of an absolute path that is written: PATH_MAX without its terminator.
const MAX_PATH_BYTES: usize = 4095;

/// A container's name, and the directory that LXC keeps it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The name.
    pub name: String,
    /// LXC's directory of containers (`lxc-* -P`), absolute.
    pub lxcpath: String,
}

impl Home {
    /// The container's own directory.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("{}/{}", self.lxcpath.trim_end_matches('/'), self.name)
    }

    /// Where its root file system is when nobody says otherwise.
    #[must_use]
    pub fn rootfs(&self) -> String {
        format!("{}/rootfs", self.directory())
    }

    /// Where its fstab is put.
    #[must_use]
    pub fn fstab(&self) -> String {
        format!("{}/fstab", self.directory())
    }
}

/// One path for another, with everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathMap {
    /// The path in the archive, absolute.
    pub from: String,
    /// The path on this host, absolute.
    pub to: String,
}

/// What is asked of one interface; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InterfaceRequest {
    /// The bridge, or what a macvlan is stacked on.
    pub link: Option<String>,
    /// The name of the veth pair's end on the host.
    pub veth: Option<String>,
    /// The hardware address.
    pub hwaddr: Option<String>,
    /// All IPv4 addresses, each with its prefix length.
    pub ipv4: Option<Vec<String>>,
    /// All IPv6 addresses, each with its prefix length.
    pub ipv6: Option<Vec<String>>,
    /// The IPv4 gateway, or `auto`, or `dev`.
    pub ipv4_gateway: Option<String>,
    /// The IPv6 gateway, or `auto`, or `dev`.
    pub ipv6_gateway: Option<String>,
}

/// What an importer asks of an LXC configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LxcRequest {
    /// What the container was on the source host.
    pub old: Home,
    /// What it is to be here.
    pub new: Home,
    /// Its root file system here, a directory; [`Home::rootfs`] when `None`.
    pub rootfs: Option<String>,
    /// Its hostname. When `None`, one that was the container's name becomes the new name.
    pub hostname: Option<String>,
    /// Requests by the interface's name in the container.
    pub interfaces: BTreeMap<String, InterfaceRequest>,
    /// Paths of the source host for which there are others here.
    pub map_paths: Vec<PathMap>,
    /// Paths that are used here as they are named in the archive.
    pub allow_paths: Vec<String>,
    /// Whether hooks and network scripts may run here.
    pub allow_hooks: bool,
    /// Sources of mounts, by the target from the container's root (`data`, `/data`).
    pub map_mounts: BTreeMap<String, String>,
    /// Targets whose mounts are made here from what the archive names.
    pub allow_mounts: Vec<String>,
    /// The values of `lxc.idmap`, all of them.
    pub id_map: Option<Vec<String>>,
    /// The value of `lxc.cgroup.dir`. When `None`, components that were the container's name become the new name.
    pub cgroup_dir: Option<String>,
    /// Whether old keys are translated, as LXC 3 and later need it.
    pub upgrade: bool,
    /// Whether AppArmor profiles and SELinux contexts are taken away, as a host without them needs it: LXC has CRIU
    /// restore them, and CRIU refuses.
    pub drop_labels: bool,
}

impl LxcRequest {
    /// A request that only moves a container from one home to another.
    #[must_use]
    pub fn moving(old: Home, new: Home) -> Self {
        Self {
            old,
            new,
            rootfs: None,
            hostname: None,
            interfaces: BTreeMap::new(),
            map_paths: Vec::new(),
            allow_paths: Vec::new(),
            allow_hooks: false,
            map_mounts: BTreeMap::new(),
            allow_mounts: Vec::new(),
            id_map: None,
            cgroup_dir: None,
            upgrade: true,
            drop_labels: false,
        }
    }

    /// Whether the container gets another name.
    pub(super) fn is_renamed(&self) -> bool {
        self.old.name != self.new.name
    }

    /// The root file system here.
    pub(super) fn rootfs(&self) -> String {
        self.rootfs.clone().unwrap_or_else(|| self.new.rootfs())
    }

    /// Refuses what cannot stand in a configuration.
    pub(super) fn check(&self) -> Result<(), Vec<Refusal>> {
        let mut refusals = Vec::new();
        let mut need = |fits: bool, what: &'static str, value: &str| {
            if !fits {
                let value = value.to_owned();
                refusals.push(Refusal::Value { what, value });
            }
        };
        need(Name::new(&self.new.name).is_some(), "container name", &self.new.name);
        need(is_path(&self.new.lxcpath), "absolute path", &self.new.lxcpath);
        let mapped = self.map_paths.iter().flat_map(|map| [&map.from, &map.to]);
        for path in mapped.chain(self.map_mounts.values()).chain(&self.rootfs) {
            need(is_path(path), "absolute path", path);
        }
        if let Some(hostname) = &self.hostname {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
            let fits = !hostname.is_empty() && hostname.len() <= MAX_HOSTNAME_BYTES && hostname.bytes().all(plain);
            need(fits, "hostname", hostname);
        }
        if let Some(dir) = &self.cgroup_dir {
            let fits = !dir.is_empty() && !dir.starts_with('/') && dir.split('/').all(|part| part != "..");
            need(fits, "cgroup below LXC's", dir);
        }
        for map in self.id_map.iter().flatten() {
            need(is_id_map(map), "identifier map", map);
        }
        for interface in self.interfaces.values() {
            interface.check(&mut need);
        }
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }
}

impl InterfaceRequest {
    fn check(&self, need: &mut impl FnMut(bool, &'static str, &str)) {
        for name in self.link.iter().chain(&self.veth) {
            need(is_interface_name(name), "interface name", name);
        }
        if let Some(address) = &self.hwaddr {
            need(is_hwaddr(address), "hardware address", address);
        }
        for address in self.ipv4.iter().flatten() {
            need(
                is_network_address::<Ipv4Addr>(address, 32),
                "IPv4 address with a prefix length",
                address,
            );
        }
        for address in self.ipv6.iter().flatten() {
            need(
                is_network_address::<Ipv6Addr>(address, 128),
                "IPv6 address with a prefix length",
                address,
            );
        }
        let word = |gateway: &str| gateway == "auto" || gateway == "dev";
        let gateways = [(&self.ipv4_gateway, true), (&self.ipv6_gateway, false)];
        for (gateway, v4) in gateways {
            if let Some(gateway) = gateway {
                let address = gateway.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4() == v4);
                need(address || word(gateway), "gateway", gateway);
            }
        }
    }
}

fn is_path(path: &str) -> bool {
    let clean = path.split('/').all(|part| part != "..") && !path.contains(char::is_control);
    path.starts_with('/') && path.len() <= MAX_PATH_BYTES && clean
}

fn is_hwaddr(address: &str) -> bool {
    let byte = |part: &str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
    address.split(':').count() == 6 && address.split(':').all(byte)
}

fn is_network_address<A: std::str::FromStr>(text: &str, most: u8) -> bool {
    let parts = text.split_once('/');
    parts.is_some_and(|(address, prefix)| address.parse::<A>().is_ok() && prefix.parse().is_ok_and(|n: u8| n <= most))
}

/// `u|g CONTAINER HOST RANGE`, as LXC writes it.
fn is_id_map(text: &str) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    let [kind, numbers @ ..] = words.as_slice() else {
        return false;
    };
    matches!(*kind, "u" | "g") && numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok())
}
