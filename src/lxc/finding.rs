//! What of a configuration cannot be checkpointed, or will not be the same afterwards, and what to change.

use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use super::effective::Place;
use super::keys::network_key;

/// One thing that is wrong with a configuration.
///
/// `Display` says what, [`advice`](Finding::advice) what to do, [`blocks`](Finding::blocks) whether it must be done first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    // The text.
    /// LXC refuses the line.
    #[error("{place}: LXC takes no line that begins with lxc. and has no =")]
    Malformed {
        /// Where.
        place: Place,
    },
    /// The line is not UTF-8.
    #[error("{place}: the setting is not UTF-8 and is not understood")]
    NotText {
        /// Where.
        place: Place,
    },
    /// LXC stops reading at the NUL.
    #[error("{place}: a NUL ends the configuration here, LXC does not read what follows")]
    Nul {
        /// Where.
        place: Place,
    },
    /// LXC does not know the key.
    #[error("{place}: LXC has no key {key}")]
    UnknownKey {
        /// The key.
        key: String,
        /// Where.
        place: Place,
    },
    /// LXC 3 and later do not know the key any more.
    #[error("{place}: {key} is a key of LXC before version 3")]
    OldKey {
        /// The key.
        key: String,
        /// The one in its place, where there is one.
        new: Option<String>,
        /// Where.
        place: Place,
    },
    /// LXC 7 and later do not know the key any more.
    #[error("{place}: {key} limits a cgroup of version 1, LXC 7 does not take it")]
    CgroupV1Key {
        /// The key.
        key: String,
        /// Where.
        place: Place,
    },
    /// LXC refuses the key without a value.
    #[error("{place}: LXC takes no lxc.mount.fstab without a value")]
    EmptyFstab {
        /// Where.
        place: Place,
    },
    /// An included file is not known.
    #[error("{place}: the included {name} cannot be read")]
    IncludeMissing {
        /// What is included.
        name: String,
        /// Where.
        place: Place,
    },
    /// Includes name each other.
    #[error("{place}: too many includes, or includes in a circle")]
    IncludesTooMany {
        /// Where.
        place: Place,
    },
    /// An old network key before any network.
    #[error("{place}: {key} belongs to no network")]
    NetworkBeforeType {
        /// The key.
        key: String,
        /// Where.
        place: Place,
    },

    // What CRIU cannot do, or LXC cannot have it do.
    /// The console is a terminal of the host.
    #[error("the container has a console{}", at(.place.as_ref()))]
    Console {
        /// Where it is set; `None` for LXC's default.
        place: Option<Place>,
    },
    /// The container has terminals.
    #[error("the container has {count} terminals of the host ({place})")]
    Ttys {
        /// How many.
        count: String,
        /// Where.
        place: Place,
    },
    /// No root file system of its own.
    #[error("the container has no root file system of its own")]
    NoRootfs,
    /// The root file system is no directory.
    #[error("the root file system is of the type {backend} ({place})")]
    Backend {
        /// The type.
        backend: String,
        /// Where.
        place: Place,
    },
    /// The type of a network cannot be checkpointed.
    #[error("network {number} is of the type {kind}, which cannot move with the container ({place})")]
    NetworkType {
        /// The network.
        number: u32,
        /// Its type.
        kind: String,
        /// Where.
        place: Place,
    },
    /// A network has no type.
    #[error("network {number} has no type")]
    NetworkUntyped {
        /// The network.
        number: u32,
    },
    /// The container uses the host's network.
    #[error("network {number} is the host's own ({place})")]
    NetworkOfHost {
        /// The network.
        number: u32,
        /// Where.
        place: Place,
    },
    /// A veth pair whose host end has another name at each start.
    #[error("network {number} ({interface}) has no name for its interface on the host")]
    VethUnnamed {
        /// The network.
        number: u32,
        /// Its interface in the container.
        interface: String,
    },
    /// A macvlan that is stacked on nothing.
    #[error("network {number} is a macvlan without the host's interface below it")]
    MacvlanUnlinked {
        /// The network.
        number: u32,
    },
    /// One of several networks has no name in the container.
    #[error("network {number} has no name in the container, LXC will tell CRIU that it is {interface}")]
    InterfaceUnnamed {
        /// The network.
        number: u32,
        /// The name that is guessed.
        interface: String,
    },
    /// A veth pair with routes on the host.
    #[error("network {number} has routes on the host, which nothing sets on a restore ({place})")]
    VethRouted {
        /// The network.
        number: u32,
        /// Where.
        place: Place,
    },
    /// A bind mount whose target is a path of the host.
    #[error("the bind mount at {target} is named by a path of the host, LXC names it wrongly to CRIU ({place})")]
    MountAbsolute {
        /// The target as it is written.
        target: String,
        /// Where.
        place: Place,
    },
    /// A mount that cannot be read.
    #[error("{place}: the mount has no target")]
    MountIncomplete {
        /// Where.
        place: Place,
    },
    /// A namespace of another container.
    #[error("the {kind} namespace is shared with {with} ({place})")]
    NamespaceShared {
        /// Its type.
        kind: String,
        /// Whose it is.
        with: String,
        /// Where.
        place: Place,
    },
    /// Namespaces of the host.
    #[error("the container keeps namespaces of the host: {kinds} ({place})")]
    NamespaceKept {
        /// Their types.
        kinds: String,
        /// Where.
        place: Place,
    },
    /// System calls are decided by another program.
    #[error("system calls are decided by the program at {socket}, and CRIU cannot save that connection ({place})")]
    SeccompProxy {
        /// The socket.
        socket: String,
        /// Where.
        place: Place,
    },
    /// A security label that CRIU is told to restore.
    #[error("{key} is {value}: LXC has CRIU restore that label, which fails on a host that does not have it ({place})")]
    Label {
        /// The key.
        key: &'static str,
        /// The label.
        value: String,
        /// Where.
        place: Place,
    },
}

fn at(place: Option<&Place>) -> String {
    place.map_or_else(String::new, |place| format!(" ({place})"))
}

impl Finding {
    /// Whether a checkpoint or the restore of it cannot work while it is so.
    #[must_use]
    pub fn blocks(&self) -> bool {
        !matches!(
            self,
            Self::Nul { .. }
                | Self::Backend { .. }
                | Self::NetworkOfHost { .. }
                | Self::InterfaceUnnamed { .. }
                | Self::VethRouted { .. }
                | Self::NamespaceKept { .. }
                | Self::Label { .. }
        )
    }

    /// What to change.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::Malformed { .. } => "write KEY = VALUE, or begin the line with #".to_owned(),
            Self::NotText { .. } => "write it in UTF-8".to_owned(),
            Self::Nul { .. } => "remove the NUL".to_owned(),
            Self::UnknownKey { .. } => "remove the line, or correct the key".to_owned(),
            Self::OldKey { new: Some(new), .. } => {
                format!("lxc-update-config translates the configuration; here, write {new}")
            }
            Self::OldKey { new: None, .. } => "remove the line, nothing takes its place".to_owned(),
            Self::CgroupV1Key { .. } => "write the limit as lxc.cgroup2.FILE".to_owned(),
            Self::EmptyFstab { .. } => "remove the line".to_owned(),
            Self::IncludeMissing { .. } => "restore the file, or remove the line".to_owned(),
            Self::IncludesTooMany { .. } => "have no file include itself".to_owned(),
            Self::NetworkBeforeType { .. } => "begin the network with its lxc.network.type".to_owned(),
            Self::Console { .. } => "set lxc.console.path = none and start the container again".to_owned(),
            Self::Ttys { .. } => "set lxc.tty.max = 0, after all includes, and start the container again".to_owned(),
            Self::NoRootfs => "give it one with lxc.rootfs.path".to_owned(),
            Self::Backend { .. } => {
                "its files have to be on the other host before the import, or in the archive".to_owned()
            }
            _ => self.mount_advice().unwrap_or_else(|| self.network_advice()),
        }
    }

    fn mount_advice(&self) -> Option<String> {
        let text = match self {
            Self::MountAbsolute { .. } => "name the target from the container's root, without a / before it".to_owned(),
            Self::MountIncomplete { .. } => "write SOURCE TARGET TYPE OPTIONS 0 0".to_owned(),
            Self::NamespaceShared { kind, .. } => format!("remove lxc.namespace.share.{kind}"),
            Self::NamespaceKept { .. } => "remove lxc.namespace.keep".to_owned(),
            Self::SeccompProxy { .. } => "remove lxc.seccomp.notify.proxy".to_owned(),
            Self::Label { key, .. } => format!("set {key} = (nothing) where the hosts have no such label"),
            _ => return None,
        };
        Some(text)
    }

    fn network_advice(&self) -> String {
        match self {
            Self::NetworkType { number, .. } | Self::NetworkUntyped { number } => {
                format!(
                    "make it {} = veth, with a bridge as its link",
                    network_key(*number, "type")
                )
            }
            Self::NetworkOfHost { .. } => "the container's connections end when it moves".to_owned(),
            Self::VethUnnamed { number, .. } => {
                format!(
                    "set {} = NAME and start the container again",
                    network_key(*number, "veth.pair")
                )
            }
            Self::MacvlanUnlinked { number } => format!("set {} = INTERFACE", network_key(*number, "link")),
            Self::InterfaceUnnamed { number, .. } => format!("set {} = NAME", network_key(*number, "name")),
            Self::VethRouted { .. } => "use a bridge, or set the routes on the new host".to_owned(),
            _ => String::new(),
        }
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Finding", 3)?;
        fields.serialize_field("blocks", &self.blocks())?;
        fields.serialize_field("message", &self.to_string())?;
        fields.serialize_field("advice", &self.advice())?;
        fields.end()
    }
}
