//! Mounts: the `mountpoints` images, one for each mount namespace.

use schemars::JsonSchema;
use serde::Serialize;

use super::error::Error;
use super::limits::MAX_MOUNTS;
use super::proto;
use super::record::{MOUNTS, Records};
use super::source::{ImageSource, check_size};
use super::text::text;

/// Bits of a kernel's device number that are the minor one.
const MINOR_BITS: u32 = 20;

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Mount {
    /// Number of the mount namespace in the images.
    pub namespace: u64,
    /// Its number.
    pub id: u32,
    /// That of the mount that it is on.
    pub parent: u32,
    /// Where it is.
    pub mountpoint: String,
    /// The directory or file of the file system that is there.
    pub root: String,
    /// The file system.
    pub filesystem: String,
    /// Its device, or what stands for one.
    pub source: String,
    /// Options of the mount.
    pub flags: Vec<&'static str>,
    /// Options of the file system.
    pub options: String,
    /// Device number, `MAJOR:MINOR`.
    pub device: String,
    /// Number of the group of mounts that it shares events with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<u32>,
    /// Number of the group of mounts that it receives events of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<u32>,
    /// The key of an external mount, whose content is not in the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<String>,
}

/// All mounts, by namespace and mount point.
pub(super) fn read(images: &dyn ImageSource) -> Result<Vec<Mount>, Error> {
    let (mut mounts, mut bytes) = (Vec::new(), 0);
    for (namespace, name) in images.numbered("mountpoints") {
        let image = images.read(&name)?;
        bytes += image.len() as u64;
        check_size(&name, bytes)?;
        for entry in Records::of(MOUNTS, &name, &image)?.decoded() {
            if mounts.len() == MAX_MOUNTS {
                return Err(Error::too_many(&name, "mounts", MAX_MOUNTS));
            }
            mounts.push(mount(namespace, &entry?));
        }
    }
    // CRIU writes children before parents.
    mounts.sort_by(|one: &Mount, other| (one.namespace, &one.mountpoint).cmp(&(other.namespace, &other.mountpoint)));
    Ok(mounts)
}

fn mount(namespace: u64, entry: &proto::Mount) -> Mount {
    let external = entry.ext_mount == Some(true) || entry.ext_key.is_some();
    let key = entry.ext_key.as_deref().map(text).filter(|key| !key.is_empty());
    Mount {
        namespace,
        id: entry.mnt_id,
        parent: entry.parent_mnt_id,
        mountpoint: text(&entry.mountpoint),
        root: text(&entry.root),
        filesystem: filesystem(entry),
        source: text(&entry.source),
        flags: flags(entry.flags),
        options: text(&entry.options),
        device: format!(
            "{}:{}",
            entry.root_dev >> MINOR_BITS,
            entry.root_dev & ((1 << MINOR_BITS) - 1)
        ),
        shared: entry.shared_id.filter(|id| *id > 0),
        master: entry.master_id.filter(|id| *id > 0),
        external: key.or_else(|| external.then(|| text(&entry.mountpoint))),
    }
}

/// CRIU's numbers: `fstype` in its `mnt.proto`.
fn filesystem(entry: &proto::Mount) -> String {
    let name = match entry.fstype {
        1 => "proc",
        2 => "sysfs",
        3 => "devtmpfs",
        4 => "binfmt_misc",
        5 => "tmpfs",
        6 => "devpts",
        7 => "simfs",
        8 => "pstore",
        9 => "securityfs",
        10 => "fusectl",
        11 => "debugfs",
        12 => "cgroup",
        13 => "aufs",
        14 => "mqueue",
        15 => "fuse",
        17 => "overlay",
        18 => "autofs",
        19 => "tracefs",
        23 => "cgroup2",
        _ => return entry.fsname.as_deref().map_or_else(|| "other".to_owned(), text),
    };
    name.to_owned()
}

/// MS_* of mount(2).
fn flags(bits: u32) -> Vec<&'static str> {
    const NAMES: [(u32, &str); 7] = [
        (2, "nosuid"),
        (4, "nodev"),
        (8, "noexec"),
        (1 << 10, "noatime"),
        (1 << 11, "nodiratime"),
        (1 << 21, "relatime"),
        (1 << 8, "nosymfollow"),
    ];
    let set = NAMES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name);
    std::iter::once(if bits & 1 != 0 { "ro" } else { "rw" })
        .chain(set)
        .collect()
}
