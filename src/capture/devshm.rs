//! /dev/shm of a container, where it is a bind mount from the host.
//!
//! CRIU takes along the content of a tmpfs that the container mounted itself. A bind mount is for CRIU somebody else's: its
//! content, in which databases keep their shared memory, has to travel as a file of ours.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{DEVSHM, Error, Part, warnings};
use crate::mounts::MountTable;
use crate::tree::{Packer, open_root};

/// Where it is in every container.
const DESTINATION: &str = "/dev/shm";
/// Options of a tmpfs that its copy has to have, too.
const OPTIONS: [&str; 8] = ["size", "nr_blocks", "nr_inodes", "mode", "uid", "gid", "huge", "noswap"];

/// The directory of this host that a container has at /dev/shm, if it is a bind mount by the container's `config.json`.
/// A relative source is relative to the bundle.
#[must_use]
pub fn source(config: &Value, bundle: &Path) -> Option<PathBuf> {
    let mounts = config.get("mounts")?.as_array()?;
    // Of several mounts on one path the last is the one that is seen.
    let mount = mounts
        .iter()
        .rev()
        .find(|mount| destination(mount) == Some(DESTINATION))?;
    let options = mount.get("options").and_then(Value::as_array).into_iter().flatten();
    let by_option = options
        .filter_map(Value::as_str)
        .any(|option| matches!(option, "bind" | "rbind"));
    let by_type = mount.get("type").and_then(Value::as_str) == Some("bind");
    let source = mount.get("source")?.as_str()?;
    (by_option || by_type).then(|| bundle.join(source))
}

fn destination(mount: &Value) -> Option<&str> {
    mount
        .get("destination")?
        .as_str()
        .map(|path| path.trim_end_matches('/'))
}

/// Measures the content of the directory at `source`; with what the user should know, one line each.
///
/// # Errors
/// What cannot be read, with its path.
pub fn capture(source: &Path) -> Result<(Part, Vec<String>), Error> {
    let root = open_root(&resolve(source)?).map_err(open_error(source))?;
    let measured = Packer::new(root).measure().map_err(|e| Error::Pack {
        root: source.to_owned(),
        source: e,
    })?;
    let warnings = warnings(DEVSHM, measured.report());
    Ok((Part::tree(DEVSHM, source, measured), warnings))
}

/// Options of the tmpfs that the directory at `source` is on, as mountinfo has them; none, and a line for the user, when it
/// is on another file system. `mounts` are those of the host.
///
/// # Errors
/// Where there is no such directory.
pub fn options(source: &Path, mounts: &MountTable) -> Result<(Vec<String>, Vec<String>), Error> {
    Ok(match tmpfs_options(&resolve(source)?, mounts) {
        Some(options) => (options, Vec::new()),
        None => {
            let warning = format!("/dev/shm of the container (`{}`) is not on a tmpfs", source.display());
            (Vec::new(), vec![warning])
        }
    })
}

fn resolve(source: &Path) -> Result<PathBuf, Error> {
    std::fs::canonicalize(source).map_err(open_error(source))
}

fn open_error(source: &Path) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::Open {
        path: source.to_owned(),
        source: error,
    }
}

fn tmpfs_options(path: &Path, mounts: &MountTable) -> Option<Vec<String>> {
    let mount = mounts.mount_of(path).filter(|mount| mount.fs_type == "tmpfs")?;
    let options = mount.super_options.iter().filter_map(|option| option.to_str());
    let kept = options.filter(|option| OPTIONS.contains(&option.split('=').next().unwrap_or(option)));
    Some(kept.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(mount: Value) -> Option<PathBuf> {
        source(
            &json!({ "mounts": [{ "destination": "/proc", "type": "proc" }, mount] }),
            Path::new("/bundle"),
        )
    }

    #[test]
    fn bind_mounts_by_type_and_by_option() {
        let mount = |kind: &str, options: Value, source: &str| json!({ "destination": "/dev/shm", "type": kind, "source": source, "options": options });
        assert_eq!(found(mount("bind", json!(null), "/host/shm")), Some("/host/shm".into()));
        assert_eq!(
            found(mount("none", json!(["rbind", "rw"]), "/host/shm")),
            Some("/host/shm".into())
        );
        assert_eq!(found(mount("bind", json!([]), "shm")), Some("/bundle/shm".into()));
        assert_eq!(found(mount("tmpfs", json!(["size=64m"]), "shm")), None);
        assert_eq!(source(&json!({}), Path::new("/")), None);
    }

    #[test]
    fn a_later_mount_covers_an_earlier_one() {
        let config = json!({ "mounts": [
            { "destination": "/dev/shm", "type": "bind", "source": "/host/shm" },
            { "destination": "/dev/shm/", "type": "tmpfs", "source": "shm" },
        ]});
        assert_eq!(source(&config, Path::new("/")), None);
    }

    #[test]
    fn options_are_those_of_the_innermost_tmpfs() {
        let table = b"1 0 8:1 / / rw - ext4 /dev/vda rw\n\
            2 1 0:20 / /run rw - tmpfs tmpfs rw,size=2k\n\
            3 2 0:21 / /run/shm rw - tmpfs shm rw,size=1k\n\
            4 3 0:22 / /run/shm rw - tmpfs shm rw,size=65536k,nr_inodes=10,mode=1770,inode64,seclabel\n";
        let mounts = MountTable::parse(table).unwrap();
        assert_eq!(
            tmpfs_options(Path::new("/run/shm/a"), &mounts).unwrap(),
            ["size=65536k", "nr_inodes=10", "mode=1770"]
        );
        assert_eq!(tmpfs_options(Path::new("/run/shmx"), &mounts).unwrap(), ["size=2k"]);
        assert_eq!(tmpfs_options(Path::new("/home"), &mounts), None);
    }
}
