//! Judges an effective configuration: what LXC or CRIU cannot checkpoint is named before anything is frozen.

use super::effective::{Effective, Place};
use super::finding::Finding;
use super::fstab::{Fstab, MountEntry};
use super::keys;
use super::network::{Network, NetworkType};

/// The first version of LXC that does not read the old keys.
const NO_OLD_KEYS: u32 = 3;
/// The first version of LXC without `lxc.cgroup.*` for version 1.
const NO_CGROUP_V1: u32 = 7;

/// What a configuration is judged for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// Major version of the LXC that reads it; `None` when any may.
    pub lxc: Option<u32>,
    /// The file that `lxc.mount.fstab` names.
    pub fstab: Option<&'a Fstab>,
}

/// Everything that stands in the way of a checkpoint, or changes by it, in the order of the subjects.
#[must_use]
pub fn judge(effective: &Effective, context: Context<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = effective.findings().to_vec();
    findings.retain(|finding| context.lxc.is_some_and(|major| major >= NO_OLD_KEYS) || !is_old_key(finding));
    if context.lxc.is_some_and(|major| major >= NO_CGROUP_V1) {
        findings.extend(cgroup_v1(effective));
    }
    findings.extend(terminals(effective));
    findings.extend(rootfs(effective));
    let networks: Vec<_> = effective.networks().collect();
    findings.extend(
        networks
            .iter()
            .flat_map(|network| judge_network(network, networks.len())),
    );
    findings.extend(mounts(effective));
    findings.extend(context.fstab.into_iter().flat_map(fstab));
    findings.extend(isolation(effective));
    findings
}

fn is_old_key(finding: &Finding) -> bool {
    matches!(finding, Finding::OldKey { .. })
}

fn cgroup_v1(effective: &Effective) -> impl Iterator<Item = Finding> {
    let kept = |name: &str| name == "relative" || name == "dir" || name.starts_with("dir.");
    let limits = effective.below("lxc.cgroup").filter(move |(name, _)| !kept(name));
    limits.flat_map(|(name, entries)| {
        entries.iter().map(move |entry| Finding::CgroupV1Key {
            key: format!("lxc.cgroup.{name}"),
            place: entry.place.clone(),
        })
    })
}

fn terminals(effective: &Effective) -> Vec<Finding> {
    let mut findings = Vec::new();
    let console = effective.get(keys::CONSOLE_PATH);
    let works = match console {
        Some(entry) => entry.value == "none",
        None => hosts_terminals(effective),
    };
    if !works {
        findings.push(Finding::Console {
            place: console.map(|entry| entry.place.clone()),
        });
    }
    if let Some(ttys) = effective
        .get(keys::TTY_MAX)
        .filter(|entry| entry.value.parse() != Ok(0_u32))
    {
        findings.push(Finding::Ttys {
            count: ttys.value.clone(),
            place: ttys.place.clone(),
        });
    }
    findings
}

/// Whether the container's terminals are those of the host. A console that LXC makes of one of them it hands over to CRIU
/// itself (`tty[rdev:dev]`, kept in `tty.info`); one in a file system of the container's own it cannot make at a restore.
fn hosts_terminals(effective: &Effective) -> bool {
    effective
        .get(keys::PTY_MAX)
        .is_none_or(|entry| entry.value.parse() == Ok(0_u32))
}

fn rootfs(effective: &Effective) -> Option<Finding> {
    let Some(path) = effective.get(keys::ROOTFS_PATH) else {
        return Some(Finding::NoRootfs);
    };
    let (backend, _) = path.value.split_once(':')?;
    (!matches!(backend, "dir" | "btrfs")).then(|| Finding::Backend {
        backend: backend.to_owned(),
        place: path.place.clone(),
    })
}

fn judge_network(network: &Network<'_>, of: usize) -> Vec<Finding> {
    let number = network.number();
    let place = |part| network.get(part).map(|entry| entry.place.clone());
    let (Some(kind), Some(type_place)) = (network.kind(), place("type")) else {
        return vec![Finding::NetworkUntyped { number }];
    };
    let mut findings = Vec::new();
    match kind {
        NetworkType::Other(kind) => findings.push(Finding::NetworkType {
            number,
            kind,
            place: type_place,
        }),
        NetworkType::None => findings.push(Finding::NetworkOfHost {
            number,
            place: type_place,
        }),
        NetworkType::Empty => {}
        NetworkType::Macvlan if network.get("link").is_none() => findings.push(Finding::MacvlanUnlinked { number }),
        NetworkType::Macvlan => findings.extend(unnamed(network, of)),
        NetworkType::Veth => {
            if network.get("veth.pair").is_none() {
                let interface = network.interface();
                findings.push(Finding::VethUnnamed { number, interface });
            }
            findings.extend(unnamed(network, of));
            let routed = ["veth.ipv4.route", "veth.ipv6.route"].into_iter().find_map(place);
            findings.extend(routed.map(|place| Finding::VethRouted { number, place }));
        }
    }
    findings
}

/// With one network alone, LXC's guess of the name is right.
fn unnamed(network: &Network<'_>, of: usize) -> Option<Finding> {
    (of > 1 && network.get("name").is_none()).then(|| Finding::InterfaceUnnamed {
        number: network.number(),
        interface: network.interface(),
    })
}

fn mounts(effective: &Effective) -> impl Iterator<Item = Finding> {
    effective.all(keys::MOUNT_ENTRY).iter().filter_map(|entry| {
        let mount = MountEntry::parse(&entry.value)?;
        judge_mount(&mount, &entry.place)
    })
}

fn judge_mount(mount: &MountEntry, place: &Place) -> Option<Finding> {
    let place = place.clone();
    if mount.target.is_empty() {
        return Some(Finding::MountIncomplete { place });
    }
    (mount.is_bind() && mount.target.starts_with('/')).then(|| Finding::MountAbsolute {
        target: mount.target.clone(),
        place,
    })
}

fn fstab(fstab: &Fstab) -> impl Iterator<Item = Finding> {
    fstab.entries().filter_map(|(index, entry)| {
        let place = Place {
            file: Some("fstab".to_owned()),
            line: index + 1,
        };
        match entry {
            None => Some(Finding::NotText { place }),
            Some(mount) if mount.target.is_empty() => Some(Finding::MountIncomplete { place }),
            Some(_) => None,
        }
    })
}

fn isolation(effective: &Effective) -> Vec<Finding> {
    let shared = effective.below(keys::NAMESPACE_SHARE).flat_map(|(kind, entries)| {
        entries.iter().map(move |entry| Finding::NamespaceShared {
            kind: kind.to_owned(),
            with: entry.value.clone(),
            place: entry.place.clone(),
        })
    });
    let mut findings: Vec<Finding> = shared.collect();
    findings.extend(effective.get(keys::NAMESPACE_KEEP).map(|entry| Finding::NamespaceKept {
        kinds: entry.value.clone(),
        place: entry.place.clone(),
    }));
    findings.extend(effective.get(keys::SECCOMP_PROXY).map(|entry| Finding::SeccompProxy {
        socket: entry.value.clone(),
        place: entry.place.clone(),
    }));
    for key in [keys::APPARMOR_PROFILE, keys::SELINUX_CONTEXT] {
        findings.extend(effective.get(key).map(|entry| Finding::Label {
            key,
            value: entry.value.clone(),
            place: entry.place.clone(),
        }));
    }
    findings
}

#[cfg(test)]
mod tests;
