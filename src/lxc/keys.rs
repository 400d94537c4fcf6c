//! LXC's keys: the new names (LXC 2.1 and later), the old ones (LXC 1 and 2), and how a key's values add up.
//!
//! The new names are those of LXC 6's `config_jump_table`, the old ones those that its lxc-update-config translates.

/// Path of the root file system.
pub const ROOTFS_PATH: &str = "lxc.rootfs.path";
/// Where the root file system is mounted while the container starts.
pub const ROOTFS_MOUNT: &str = "lxc.rootfs.mount";
/// Storage of the root file system; old, new configurations have it as `TYPE:` before the path.
pub const ROOTFS_BACKEND: &str = "lxc.rootfs.backend";
/// A file of mounts.
pub const MOUNT_FSTAB: &str = "lxc.mount.fstab";
/// One mount.
pub const MOUNT_ENTRY: &str = "lxc.mount.entry";
/// Standard mounts.
pub const MOUNT_AUTO: &str = "lxc.mount.auto";
/// The hostname.
pub const UTS_NAME: &str = "lxc.uts.name";
/// Another configuration that is read in its place.
pub const INCLUDE: &str = "lxc.include";
/// A range of user or group identifiers.
pub const IDMAP: &str = "lxc.idmap";
/// Number of terminals.
pub const TTY_MAX: &str = "lxc.tty.max";
/// How many terminals a file system of the container's own has room for.
pub const PTY_MAX: &str = "lxc.pty.max";
/// What /dev/console is connected to.
pub const CONSOLE_PATH: &str = "lxc.console.path";
/// Where the console's output is written.
pub const CONSOLE_LOGFILE: &str = "lxc.console.logfile";
/// LXC's log.
pub const LOG_FILE: &str = "lxc.log.file";
/// AppArmor profile.
pub const APPARMOR_PROFILE: &str = "lxc.apparmor.profile";
/// SELinux context.
pub const SELINUX_CONTEXT: &str = "lxc.selinux.context";
/// File of the seccomp policy.
pub const SECCOMP_PROFILE: &str = "lxc.seccomp.profile";
/// Socket of a program that decides system calls.
pub const SECCOMP_PROXY: &str = "lxc.seccomp.notify.proxy";
/// The container's cgroup.
pub const CGROUP_DIR: &str = "lxc.cgroup.dir";
/// Namespaces of the host that the container keeps.
pub const NAMESPACE_KEEP: &str = "lxc.namespace.keep";

/// Namespaces of another container, or of a process; always with the namespace behind it.
pub const NAMESPACE_SHARE: &str = "lxc.namespace.share";

/// How the values of a key add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The last value counts; an empty one takes it away.
    Scalar,
    /// Every value counts; an empty one takes all away.
    List,
    /// `KEY.NAME`: the last value of each name counts. The bare key without a value takes all names away.
    Named,
    /// `KEY.NAME`: every value of each name counts. The bare key without a value takes all names away.
    NamedList,
}

use Shape::{List, Named, NamedList, Scalar};

/// Keys but for those of networks: new name, shape, old name (empty: the same or none).
const KEYS: &[(&str, Shape, &str)] = &[
    ("lxc.arch", Scalar, ""),
    (APPARMOR_PROFILE, Scalar, "lxc.aa_profile"),
    ("lxc.apparmor.allow_incomplete", Scalar, "lxc.aa_allow_incomplete"),
    ("lxc.apparmor.allow_nesting", Scalar, ""),
    ("lxc.apparmor.raw", List, ""),
    ("lxc.autodev.tmpfs.size", Scalar, ""),
    ("lxc.autodev", Scalar, ""),
    ("lxc.cap.drop", List, ""),
    ("lxc.cap.keep", List, ""),
    ("lxc.cgroup2", NamedList, ""),
    ("lxc.cgroup.dir.monitor.pivot", Scalar, ""),
    ("lxc.cgroup.dir.monitor", Scalar, ""),
    ("lxc.cgroup.dir.container.inner", Scalar, ""),
    ("lxc.cgroup.dir.container", Scalar, ""),
    (CGROUP_DIR, Scalar, ""),
    ("lxc.cgroup.relative", Scalar, ""),
    ("lxc.cgroup", NamedList, ""),
    ("lxc.console.buffer.size", Scalar, ""),
    (CONSOLE_LOGFILE, Scalar, ""),
    (CONSOLE_PATH, Scalar, "lxc.console"),
    ("lxc.console.rotate", Scalar, ""),
    ("lxc.console.size", Scalar, ""),
    ("lxc.environment.runtime", List, ""),
    ("lxc.environment.hooks", List, ""),
    ("lxc.environment", List, ""),
    ("lxc.ephemeral", Scalar, ""),
    ("lxc.execute.cmd", Scalar, ""),
    ("lxc.group", List, ""),
    ("lxc.hook.version", Scalar, ""),
    ("lxc.hook", NamedList, ""),
    (IDMAP, List, "lxc.id_map"),
    (INCLUDE, List, ""),
    ("lxc.init.cmd", Scalar, "lxc.init_cmd"),
    ("lxc.init.gid", Scalar, "lxc.init_gid"),
    ("lxc.init.groups", List, ""),
    ("lxc.init.uid", Scalar, "lxc.init_uid"),
    ("lxc.init.cwd", Scalar, ""),
    ("lxc.keyring.session", Scalar, ""),
    (LOG_FILE, Scalar, "lxc.logfile"),
    ("lxc.log.level", Scalar, "lxc.loglevel"),
    ("lxc.log.syslog", Scalar, "lxc.syslog"),
    ("lxc.monitor.unshare", Scalar, ""),
    ("lxc.monitor.signal.pdeath", Scalar, ""),
    (MOUNT_AUTO, List, ""),
    (MOUNT_ENTRY, List, ""),
    (MOUNT_FSTAB, Scalar, "lxc.mount"),
    ("lxc.namespace.clone", List, ""),
    (NAMESPACE_KEEP, List, ""),
    (NAMESPACE_SHARE, Named, ""),
    ("lxc.no_new_privs", Scalar, ""),
    ("lxc.prlimit", Named, "lxc.limit"),
    ("lxc.proc", Named, ""),
    (PTY_MAX, Scalar, "lxc.pts"),
    ("lxc.rootfs.managed", Scalar, ""),
    (ROOTFS_MOUNT, Scalar, ""),
    ("lxc.rootfs.options", Scalar, ""),
    (ROOTFS_PATH, Scalar, "lxc.rootfs"),
    ("lxc.sched.core", Scalar, ""),
    ("lxc.seccomp.allow_nesting", Scalar, ""),
    ("lxc.seccomp.notify.cookie", Scalar, ""),
    (SECCOMP_PROXY, Scalar, ""),
    (SECCOMP_PROFILE, Scalar, "lxc.seccomp"),
    ("lxc.selinux.context.keyring", Scalar, ""),
    (SELINUX_CONTEXT, Scalar, "lxc.se_context"),
    ("lxc.signal.halt", Scalar, "lxc.haltsignal"),
    ("lxc.signal.reboot", Scalar, "lxc.rebootsignal"),
    ("lxc.signal.stop", Scalar, "lxc.stopsignal"),
    ("lxc.start.auto", Scalar, ""),
    ("lxc.start.delay", Scalar, ""),
    ("lxc.start.order", Scalar, ""),
    ("lxc.sysctl", Named, ""),
    ("lxc.time.offset.boot", Scalar, ""),
    ("lxc.time.offset.monotonic", Scalar, ""),
    ("lxc.tty.dir", Scalar, "lxc.devttydir"),
    (TTY_MAX, Scalar, "lxc.tty"),
    (UTS_NAME, Scalar, "lxc.utsname"),
];

/// When LXC runs hooks.
const HOOKS: &[&str] = &[
    "autodev",
    "clone",
    "destroy",
    "mount",
    "post-stop",
    "pre-mount",
    "pre-start",
    "start",
    "start-host",
    "stop",
];

/// Keys below a network's.
const NETWORK_KEYS: &[(&str, Shape)] = &[
    ("flags", Scalar),
    ("hwaddr", Scalar),
    ("ipv4.address", List),
    ("ipv4.gateway", Scalar),
    ("ipv6.address", List),
    ("ipv6.gateway", Scalar),
    ("link", Scalar),
    ("l2proxy", Scalar),
    ("macvlan.mode", Scalar),
    ("ipvlan.mode", Scalar),
    ("ipvlan.isolation", Scalar),
    ("mtu", Scalar),
    ("name", Scalar),
    ("script.down", Scalar),
    ("script.up", Scalar),
    ("type", Scalar),
    ("vlan.id", Scalar),
    ("veth.mode", Scalar),
    ("veth.n_rxqueues", Scalar),
    ("veth.n_txqueues", Scalar),
    ("veth.pair", Scalar),
    ("veth.ipv4.route", List),
    ("veth.ipv6.route", List),
    ("veth.vlan.id", Scalar),
    ("veth.vlan.tagged.id", List),
];

/// A key, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// One of the container.
    Plain {
        /// The new name, whole: `lxc.cgroup2.memory.max`.
        name: String,
        /// How its values add up.
        shape: Shape,
        /// Whether it is written with its old name.
        old: bool,
    },
    /// One of a network.
    Network {
        /// The number; `None` for `lxc.network.X`, which means the network begun last.
        number: Option<u32>,
        /// The part behind the number, in its new form; `None` for the network as a whole.
        part: Option<&'static str>,
        /// How its values add up.
        shape: Shape,
        /// Whether it is written with its old name.
        old: bool,
    },
    /// `lxc.net` or `lxc.network` itself: without a value it takes all networks away.
    AllNetworks {
        /// Whether it is written with its old name.
        old: bool,
    },
    /// An old key without a new one: `lxc.rootfs.backend`, `lxc.pivotdir`, `lxc.kmsg`.
    Dropped,
    /// None that LXC knows.
    Unknown,
}

impl Key {
    /// Resolves a key as it is written.
    #[must_use]
    pub fn resolve(key: &str) -> Self {
        match key {
            "lxc.net" => Self::AllNetworks { old: false },
            "lxc.network" => Self::AllNetworks { old: true },
            ROOTFS_BACKEND | "lxc.pivotdir" | "lxc.kmsg" => Self::Dropped,
            _ => {
                let network = key
                    .strip_prefix("lxc.net.")
                    .map(|rest| network(rest, false))
                    .or_else(|| Some(network(key.strip_prefix("lxc.network.")?, true)));
                network.unwrap_or_else(|| plain(key))
            }
        }
    }

    /// Whether only LXC before version 3 reads it as it is written.
    #[must_use]
    pub fn is_old(&self) -> bool {
        match self {
            Self::Plain { old, .. } | Self::Network { old, .. } | Self::AllNetworks { old } => *old,
            Self::Dropped => true,
            Self::Unknown => false,
        }
    }
}

fn plain(key: &str) -> Key {
    for (name, shape, old_name) in KEYS {
        for (known, old) in [(*name, false), (*old_name, true)] {
            let Some(rest) = key.strip_prefix(known).filter(|_| !known.is_empty()) else {
                continue;
            };
            let name_of = rest.strip_prefix('.').filter(|_| matches!(shape, Named | NamedList));
            let named = name_of.is_some_and(|named| takes_name(name, named));
            let bare = rest.is_empty() && *name != NAMESPACE_SHARE;
            if bare || named {
                return Key::Plain {
                    name: format!("{name}{rest}"),
                    shape: *shape,
                    old,
                };
            }
        }
    }
    Key::Unknown
}

/// Whether LXC takes `KEY.NAME`. Most names become names of files below a directory of the kernel's; LXC itself does not
/// look at slashes in them.
fn takes_name(key: &str, name: &str) -> bool {
    match key {
        "lxc.hook" => HOOKS.contains(&name),
        _ => !name.is_empty() && !name.contains('/'),
    }
}

fn network(rest: &str, old: bool) -> Key {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, part) = rest.split_at(digits);
    let number = match (number, old) {
        ("", true) => None,
        // LXC refuses numbers from INT_MAX on.
        (number, _) => match number.parse::<i32>() {
            Ok(number) if number < i32::MAX => number.try_into().ok(),
            _ => return Key::Unknown,
        },
    };
    let part = match (number, part.strip_prefix('.')) {
        (Some(_), Some(part)) => part,
        (None, None) => part,
        (Some(_), None) if part.is_empty() => {
            return Key::Network {
                number,
                part: None,
                shape: Scalar,
                old,
            };
        }
        _ => return Key::Unknown,
    };
    let part = match part {
        "ipv4" if old => "ipv4.address",
        "ipv6" if old => "ipv6.address",
        other => other,
    };
    let known = NETWORK_KEYS.iter().find(|(name, _)| *name == part);
    known.map_or(Key::Unknown, |(name, shape)| Key::Network {
        number,
        part: Some(name),
        shape: *shape,
        old,
    })
}

/// The new name of a network's key.
#[must_use]
pub fn network_key(number: u32, part: &str) -> String {
    format!("lxc.net.{number}.{part}")
}

/// The old name of one of the container's keys; `None` where it had no other.
#[must_use]
pub fn old_name(key: &str) -> Option<&'static str> {
    let known = KEYS.iter().find(|(name, ..)| *name == key);
    known.map(|(_, _, old)| *old).filter(|old| !old.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_names_meet() {
        for (key, name, old) in [
            ("lxc.rootfs", "lxc.rootfs.path", true),
            ("lxc.rootfs.path", "lxc.rootfs.path", false),
            ("lxc.rootfs.mount", "lxc.rootfs.mount", false),
            ("lxc.mount", "lxc.mount.fstab", true),
            ("lxc.mount.entry", "lxc.mount.entry", false),
            ("lxc.utsname", "lxc.uts.name", true),
            ("lxc.tty", "lxc.tty.max", true),
            ("lxc.console.logfile", "lxc.console.logfile", false),
            ("lxc.limit.nofile", "lxc.prlimit.nofile", true),
            (
                "lxc.cgroup.memory.limit_in_bytes",
                "lxc.cgroup.memory.limit_in_bytes",
                false,
            ),
            ("lxc.cgroup.dir.container", "lxc.cgroup.dir.container", false),
            ("lxc.cgroup2", "lxc.cgroup2", false),
            ("lxc.hook.pre-start", "lxc.hook.pre-start", false),
        ] {
            match Key::resolve(key) {
                Key::Plain {
                    name: found, old: is, ..
                } => assert_eq!((&*found, is), (name, old), "{key}"),
                other => panic!("{key}: {other:?}"),
            }
        }
    }

    #[test]
    fn networks_have_numbers_or_an_order() {
        for (key, number, part, old) in [
            ("lxc.net.0.type", Some(0), Some("type"), false),
            ("lxc.net.12", Some(12), None, false),
            ("lxc.network.type", None, Some("type"), true),
            ("lxc.network.ipv4", None, Some("ipv4.address"), true),
            ("lxc.network.ipv4.gateway", None, Some("ipv4.gateway"), true),
            ("lxc.network.3.veth.pair", Some(3), Some("veth.pair"), true),
        ] {
            let Key::Network {
                number: n,
                part: p,
                old: o,
                ..
            } = Key::resolve(key)
            else {
                panic!("{key}");
            };
            assert_eq!((n, p, o), (number, part, old), "{key}");
        }
    }

    #[test]
    fn what_lxc_does_not_know_is_unknown() {
        for key in [
            "lxc.net.0.ipv4",
            "lxc.net.x.type",
            "lxc.net.2147483647.type",
            "lxc.net.0type",
            "lxc.utsnames",
            "lxc.cgroup2.",
            "lxc.namespace.share",
            "lxc.hook.nothing",
            "lxc.proc.../sys/kernel/core_pattern",
            "lxc.tty.max.x",
            "lxc.tty .max",
            "lxc.",
        ] {
            assert_eq!(Key::resolve(key), Key::Unknown, "{key}");
        }
    }
}
