//! A container of LXC in the words of the OCI runtime specification: what there is of it, nothing made up.
//!
//! No runtime reads it. It is there for tools that show archives, and for what ckpt does alike for all runtimes: bind
//! mounts, identifier maps, namespaces.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::LxcFacts;
use crate::lxc::{Effective, MountEntry, keys};

/// The version of the specification whose words are used.
const OCI_VERSION: &str = "1.0.2";
/// What LXC starts where the configuration does not say.
const DEFAULT_INIT: &str = "/sbin/init";
/// Files of `/proc/PID/ns` with the specification's names.
const NAMESPACES: [(&str, &str); 8] = [
    ("cgroup", "cgroup"),
    ("ipc", "ipc"),
    ("mnt", "mount"),
    ("net", "network"),
    ("pid", "pid"),
    ("time", "time"),
    ("user", "user"),
    ("uts", "uts"),
];

/// The directory of its root file system.
pub(super) fn rootfs(effective: &Effective) -> PathBuf {
    let value = effective
        .get(keys::ROOTFS_PATH)
        .map_or("", |entry| entry.value.as_str());
    let path = match value.split_once(':') {
        Some((backend, path)) if !backend.contains('/') => path,
        _ => value,
    };
    PathBuf::from(path)
}

/// See the module.
pub(super) fn spec(facts: &LxcFacts, rootfs: &Path, pid: i32) -> Value {
    let value = |key| facts.effective.get(key).map(|entry| entry.value.as_str());
    let init = value("lxc.init.cmd")
        .or_else(|| value("lxc.execute.cmd"))
        .unwrap_or(DEFAULT_INIT);
    let mut spec = json!({
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": false,
            "cwd": value("lxc.init.cwd").unwrap_or("/"),
            "args": init.split_whitespace().collect::<Vec<_>>(),
        },
        "root": {"path": rootfs},
        "mounts": mounts(facts, rootfs),
        "linux": {"namespaces": namespaces(pid)},
        "annotations": {"org.linuxcontainers.lxc.lxcpath": facts.lxcpath},
    });
    if let Some(hostname) = value(keys::UTS_NAME) {
        spec["hostname"] = hostname.into();
    }
    for (kind, key) in [("u", "uidMappings"), ("g", "gidMappings")] {
        let maps = id_maps(&facts.effective, kind);
        if !maps.is_empty() {
            // Of a container that does not run any more its maps are all that tells.
            if pid == 0 {
                spec["linux"]["namespaces"] = json!([{"type": "user"}]);
            }
            spec["linux"][key] = maps.into();
        }
    }
    spec
}

/// The namespaces that are not those of this process.
fn namespaces(pid: i32) -> Vec<Value> {
    let link = |whose: &str, file: &str| fs::read_link(format!("/proc/{whose}/ns/{file}")).ok();
    let own = |file: &str| {
        let theirs = link(&pid.to_string(), file);
        theirs.is_some() && theirs != link("self", file)
    };
    let kinds = NAMESPACES.into_iter().filter(|(file, _)| own(file));
    kinds.map(|(_, kind)| json!({"type": kind})).collect()
}

fn id_maps(effective: &Effective, kind: &str) -> Vec<Value> {
    let map = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [of, inside, outside, size] = words.as_slice() else {
            return None;
        };
        let number = |text: &str| text.parse::<u32>().ok();
        (*of == kind).then_some(())?;
        Some(json!({"containerID": number(inside)?, "hostID": number(outside)?, "size": number(size)?}))
    };
    effective
        .all(keys::IDMAP)
        .iter()
        .filter_map(|entry| map(&entry.value))
        .collect()
}

/// The mounts of the fstab and of the configuration, in the order in which LXC makes them.
fn mounts(facts: &LxcFacts, rootfs: &Path) -> Vec<Value> {
    let fstab = facts.source.fstab.iter().flat_map(|fstab| fstab.entries());
    let entries = facts.effective.all(keys::MOUNT_ENTRY);
    let all = fstab
        .filter_map(|(_, entry)| entry)
        .chain(entries.iter().filter_map(|entry| MountEntry::parse(&entry.value)));
    all.filter(is_made).map(|entry| mount(&entry, rootfs)).collect()
}

/// An optional mount whose source is not there is none.
fn is_made(entry: &MountEntry) -> bool {
    !(entry.is_bind() && entry.has_option("optional") && !Path::new(&entry.source).exists())
}

fn mount(entry: &MountEntry, rootfs: &Path) -> Value {
    let kind = if entry.is_bind() { "bind" } else { &entry.fstype };
    json!({
        "destination": destination(&entry.target, rootfs),
        "type": kind,
        "source": entry.source,
        "options": entry.options.split(',').filter(|option| !option.is_empty()).collect::<Vec<_>>(),
    })
}

/// A target from the container's root. LXC takes a relative one from there, an absolute one from the host's.
pub(crate) fn destination(target: &str, rootfs: &Path) -> String {
    let target = Path::new(target);
    let inside = target.strip_prefix(rootfs).unwrap_or(target);
    let inside = inside.strip_prefix("/").unwrap_or(inside);
    format!("/{}", inside.display().to_string().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lxc::{Config, Source};

    #[test]
    fn a_configuration_is_described() {
        let text = b"lxc.uts.name = web\nlxc.rootfs.path = dir:/var/lib/lxc/web/rootfs\n\
            lxc.init.cmd = /bin/sh /run.sh\nlxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 200000 65536\n\
            lxc.mount.entry = /srv/data data none bind,create=dir 0 0\n\
            lxc.mount.entry = /nowhere/at/all x none bind,optional 0 0\n\
            lxc.mount.entry = tmpfs run tmpfs defaults 0 0\n";
        let source = Source {
            config: Config::parse(text).unwrap(),
            ..Source::default()
        };
        let facts = LxcFacts {
            lxcpath: "/var/lib/lxc".into(),
            effective: source.effective(),
            source,
            findings: Vec::new(),
        };
        let rootfs = rootfs(&facts.effective);
        assert_eq!(rootfs, Path::new("/var/lib/lxc/web/rootfs"));
        let spec = spec(&facts, &rootfs, 0);
        assert_eq!(spec["hostname"], "web");
        assert_eq!(spec["process"]["args"], json!(["/bin/sh", "/run.sh"]));
        assert_eq!(
            spec["mounts"],
            json!([
                {"destination": "/data", "type": "bind", "source": "/srv/data", "options": ["bind", "create=dir"]},
                {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["defaults"]},
            ])
        );
        assert_eq!(spec["linux"]["uidMappings"][0]["hostID"], 100_000);
        assert_eq!(spec["linux"]["gidMappings"][0]["hostID"], 200_000);
    }

    #[test]
    fn targets_are_taken_from_the_container_s_root() {
        let rootfs = Path::new("/c/rootfs");
        for (target, expected) in [
            ("data", "/data"),
            ("data/", "/data"),
            ("/data", "/data"),
            ("/c/rootfs/data", "/data"),
        ] {
            assert_eq!(destination(target, rootfs), expected, "{target}");
        }
    }

    #[test]
    fn a_root_file_system_may_name_its_backend() {
        for (value, expected) in [("/r", "/r"), ("dir:/r", "/r"), ("/a:b", "/a:b")] {
            let config = Config::parse(format!("lxc.rootfs.path = {value}\n").as_bytes()).unwrap();
            let effective = Effective::new(&config, &crate::lxc::Includes::new());
            assert_eq!(rootfs(&effective), Path::new(expected), "{value}");
        }
    }
}
