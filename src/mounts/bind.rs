//! The bind mounts of a container: what its configuration declares, what they come from, and which mounts nobody declared.
//!
//! A bind mount lives on the host, so an importer has to find or make every source again. The runtimes hand CRIU one
//! external mount for each bind mount *of the configuration*, mounted or not, and look at its source at restore: so the map is
//! made from the configuration and keeps its order and spelling. What the process's mountinfo adds are the mounts that no
//! configuration names ([`undeclared`]): CRIU cannot dump those, and it is better said before anything is frozen.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType as InodeType, Mode, OFlags, Stat};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Error, Mount, MountTable};
use crate::manifest::{BindMount, FileType};

/// The most bind mounts that a `bind.mounts` entry may list. fs.mount-max allows 100,000 mounts in a namespace, and
/// containers with more than a hundred are rare.
const MAX_EXTERNAL: usize = 4096;

/// File systems that CRIU makes anew instead of asking for the host's (criu/filesystems.c). All others, disks above
/// all, have to be declared.
const RECREATED: [&str; 16] = [
    "autofs",
    "binfmt_misc",
    "cgroup",
    "cgroup2",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "mqueue",
    "overlay",
    "proc",
    "pstore",
    "securityfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

/// The bind mounts that a configuration declares, in its order. Reads the sources' types from disk; `pid`, the container's
/// first process, is asked where a source has been unlinked since.
///
/// # Errors
/// [`Error::Config`] for a configuration of another shape, [`Error::Source`] for a source that cannot be looked at.
pub fn of_container(spec: &Value, bundle: &Path, pid: i32) -> Result<Vec<BindMount>, Error> {
    let inside = ContainerRoot::open(pid)?;
    declared(spec, bundle)?
        .into_iter()
        .map(|bind| bind.look(&inside))
        .collect()
}

/// A bind mount as a configuration declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Where it is in the container, as the configuration spells it.
    pub destination: String,
    /// Where it comes from; a relative source has been completed with the bundle's path.
    pub source: String,
    /// Its options.
    pub options: Vec<String>,
}

/// The bind mounts of a configuration, in its order: those of type `bind` and those with the option `bind` or `rbind`,
/// as the runtimes tell them apart.
///
/// # Errors
/// [`Error::Config`] names the first mount of another shape.
pub fn declared(spec: &Value, bundle: &Path) -> Result<Vec<Declared>, Error> {
    let mut binds = Vec::new();
    for (index, mount) in mounts_of(spec)?.iter().enumerate() {
        let bad = |field| Error::Config { index, field };
        let destination = mount["destination"].as_str().ok_or(bad("destination"))?;
        let options = strings(&mount["options"]).ok_or(bad("options"))?;
        if mount["type"] != "bind" && !options.iter().any(|option| option == "bind" || option == "rbind") {
            continue;
        }
        let source = bundle.join(mount["source"].as_str().ok_or(bad("source"))?);
        let source = source.into_os_string().into_string().map_err(|_| bad("source"))?;
        binds.push(Declared {
            destination: destination.to_owned(),
            source,
            options,
        });
    }
    Ok(binds)
}

/// The mounts of a container that CRIU cannot dump because no configuration declares them: bind mounts of something outside, and
/// file systems that live on the host. Pure; the table is the container's.
///
/// Left out are the mounts that a runtime makes and declares by itself: the root, masked paths, cgroups, and the host's
/// device nodes that a user-namespaced container gets in /dev.
///
/// # Errors
/// [`Error::Config`] for a configuration of another shape.
pub fn undeclared<'table>(spec: &Value, table: &'table MountTable) -> Result<Vec<&'table Mount>, Error> {
    let mut known = vec![PathBuf::from("/")];
    for (index, mount) in mounts_of(spec)?.iter().enumerate() {
        known.push(
            mount["destination"]
                .as_str()
                .ok_or(Error::Config {
                    index,
                    field: "destination",
                })?
                .into(),
        );
    }
    known.extend(
        strings(&spec["linux"]["maskedPaths"])
            .unwrap_or_default()
            .into_iter()
            .map(PathBuf::from),
    );
    Ok(table
        .iter()
        .filter(|mount| !known.contains(&mount.mount_point) && is_external(mount, table))
        .collect())
}

fn is_external(mount: &Mount, table: &MountTable) -> bool {
    let fs_type = mount.fs_type.to_string_lossy();
    let family = fs_type.split('.').next().unwrap_or_default();
    let on_dev_node = family == "devtmpfs" && mount.mount_point.starts_with("/dev");
    if family.starts_with("cgroup") || on_dev_node {
        return false;
    }
    // CRIU makes a bind mount again from a mount of the same file system that holds its root.
    let has_root =
        |other: &Mount| other.id != mount.id && other.device == mount.device && mount.root.starts_with(&other.root);
    let whole = mount.root == Path::new("/");
    if whole {
        !RECREATED.contains(&family)
    } else {
        !table.iter().any(has_root)
    }
}

fn mounts_of(spec: &Value) -> Result<&[Value], Error> {
    match &spec["mounts"] {
        Value::Null => Ok(&[]),
        Value::Array(mounts) => Ok(mounts),
        _ => Err(Error::Config {
            index: 0,
            field: "mounts",
        }),
    }
}

/// An array of strings; absent or null is empty, anything else is `None`.
fn strings(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

impl Declared {
    /// Adds what the source is. The host's file is what an importer has to provide, so that is looked at first.
    fn look(self, inside: &ContainerRoot) -> Result<BindMount, Error> {
        let stat = rustix::fs::stat(self.source.as_str())
            .map_err(io::Error::from)
            .or_else(|source| inside.stat(&self.destination).map_err(|_| source))
            .map_err(|source| Error::Source {
                path: self.source.clone().into(),
                source,
            })?;
        let file_type = match InodeType::from_raw_mode(stat.st_mode) {
            InodeType::Directory => FileType::Directory,
            _ => FileType::File,
        };
        Ok(BindMount {
            destination: self.destination,
            source: self.source,
            options: self.options,
            file_type,
            permissions: format!("{:04o}", stat.st_mode & 0o7777),
            entry: None,
        })
    }
}

/// The root directory of a container, as its first process sees it.
struct ContainerRoot(OwnedFd);

impl ContainerRoot {
    fn open(pid: i32) -> Result<Self, Error> {
        let path = PathBuf::from(format!("/proc/{pid}/root"));
        rustix::fs::openat(
            CWD,
            &path,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map(Self)
        .map_err(|source| Error::Read {
            path,
            source: source.into(),
        })
    }

    /// Looks at a path of the container; its symbolic links cannot lead out.
    fn stat(&self, path: &str) -> io::Result<Stat> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS;
        let file = rustix::fs::openat2(&self.0, path, flags, Mode::empty(), resolve)?;
        Ok(rustix::fs::fstat(file)?)
    }
}

/// An element of the `bind.mounts` entry, in the shape that CRI-O gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct External {
    /// Where it comes from on the source host.
    pub source: String,
    /// Where it is in the container.
    pub destination: String,
    /// Whether a directory or a file is mounted.
    pub file_type: FileType,
    /// Permission bits of the source.
    pub permissions: u32,
}

/// The content of the `bind.mounts` entry for these bind mounts.
///
/// # Errors
/// [`Error::Permissions`] when a mount's permissions are not octal digits.
pub fn to_json(mounts: &[BindMount]) -> Result<Vec<u8>, Error> {
    let external = mounts.iter().map(|mount| {
        let permissions = u32::from_str_radix(&mount.permissions, 8).map_err(|_| Error::Permissions {
            destination: mount.destination.clone(),
        })?;
        let (source, destination) = (mount.source.clone(), mount.destination.clone());
        // CRI-O keeps the permission bits alone: a Go file mode has set-uid and its like elsewhere.
        Ok(External {
            source,
            destination,
            file_type: mount.file_type,
            permissions: permissions & 0o777,
        })
    });
    let external = external.collect::<Result<Vec<_>, Error>>()?;
    serde_json::to_vec_pretty(&external).map_err(|source| Error::Json { source })
}

/// Reads a `bind.mounts` entry, ours or CRI-O's. Strict: the entry is untrusted, and what is skipped here would be a mount
/// that nobody was asked about.
///
/// # Errors
/// [`Error::Json`] for anything but the array, [`Error::External`] for more than 4096 elements, paths that are not
/// absolute or hold `..` or NUL, a destination named twice, and permissions beyond 0777.
pub fn from_json(bytes: &[u8]) -> Result<Vec<External>, Error> {
    let mounts: Vec<External> = serde_json::from_slice(bytes).map_err(|source| Error::Json { source })?;
    if mounts.len() > MAX_EXTERNAL {
        return Err(Error::External {
            index: MAX_EXTERNAL,
            field: "count",
        });
    }
    let mut destinations = std::collections::BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        let bad = |field| Err(Error::External { index, field });
        if !is_plain(&mount.source) {
            return bad("source");
        } else if !is_plain(&mount.destination) || !destinations.insert(&mount.destination) {
            return bad("destination");
        } else if mount.permissions > 0o777 {
            return bad("permissions");
        }
    }
    Ok(mounts)
}

/// Whether a path is absolute and stays what it says when it is joined to another root.
fn is_plain(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0') && !path.split('/').any(|name| name == "..")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    #[test]
    fn binds_are_told_from_other_mounts() {
        let spec = json!({"mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/a", "type": "bind", "source": "/srv/a", "options": ["ro"]},
            {"destination": "/b", "type": "none", "source": "sub/b", "options": ["rbind", "rw"], "x": 1},
            {"destination": "/c", "source": "/srv/c", "options": ["bind"]},
            {"destination": "/d", "type": "tmpfs", "source": "bind", "options": null},
        ]});
        let found = declared(&spec, Path::new("/bundle")).unwrap();
        let short: Vec<_> = found
            .iter()
            .map(|bind| (bind.destination.as_str(), bind.source.as_str()))
            .collect();
        assert_eq!(short, [("/a", "/srv/a"), ("/b", "/bundle/sub/b"), ("/c", "/srv/c")]);
        assert_eq!(found[1].options, ["rbind", "rw"]);
        assert_eq!(declared(&json!({}), Path::new("/bundle")).unwrap(), []);
    }

    #[test]
    fn a_configuration_of_another_shape_is_refused() {
        let cases = [
            (json!({"mounts": {}}), 0, "mounts"),
            (json!({"mounts": [{"type": "bind"}]}), 0, "destination"),
            (
                json!({"mounts": [{"destination": "/a"}, {"destination": "/b", "options": "ro"}]}),
                1,
                "options",
            ),
            (json!({"mounts": [{"destination": "/b", "options": [1]}]}), 0, "options"),
            (json!({"mounts": [{"destination": "/b", "type": "bind"}]}), 0, "source"),
        ];
        for (spec, index, field) in cases {
            match declared(&spec, Path::new("/")) {
                Err(Error::Config { index: i, field: f }) => assert_eq!((i, f), (index, field), "{spec}"),
                other => panic!("{spec}: {other:?}"),
            }
        }
    }

    #[test]
    fn sources_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("d")).unwrap();
        std::fs::set_permissions(path("d"), std::fs::Permissions::from_mode(0o1750)).unwrap();
        std::fs::write(path("f"), "").unwrap();
        std::fs::set_permissions(path("f"), std::fs::Permissions::from_mode(0o640)).unwrap();
        let spec = json!({"mounts": [
            {"destination": "/x", "type": "bind", "source": "d"},
            {"destination": "/y", "type": "bind", "source": path("f")},
        ]});
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let binds = of_container(&spec, dir.path(), pid).unwrap();
        let short: Vec<_> = binds
            .iter()
            .map(|bind| (bind.file_type, bind.permissions.as_str()))
            .collect();
        assert_eq!(short, [(FileType::Directory, "1750"), (FileType::File, "0640")]);

        std::fs::remove_file(path("f")).unwrap();
        match of_container(&spec, dir.path(), pid) {
            Err(Error::Source { path: missing, .. }) => assert_eq!(missing, path("f")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_source_that_is_gone_is_looked_at_in_the_container() {
        let spec = json!({"mounts": [{"destination": "/proc/self", "type": "bind", "source": "/nonexistent/source"}]});
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        assert_eq!(
            of_container(&spec, Path::new("/"), pid).unwrap()[0].file_type,
            FileType::Directory
        );
    }

    #[test]
    fn mounts_that_criu_cannot_dump_are_found() {
        let table = MountTable::parse(include_bytes!("../../fixtures/proc/mountinfo-undeclared")).unwrap();
        let spec = json!({
            "mounts": [{"destination": "/data"}, {"destination": "/proc"}, {"destination": "/dev"}],
            "linux": {"maskedPaths": ["/proc/kcore"]},
        });
        let found = undeclared(&spec, &table).unwrap();
        let points: Vec<_> = found.iter().map(|mount| mount.mount_point.to_str().unwrap()).collect();
        assert_eq!(points, ["/data/disk", "/etc/late", "/mnt/sshfs", "/mnt/fuse"]);
    }

    #[test]
    fn the_entry_has_the_shape_of_cri_o() {
        let mount = BindMount {
            destination: "/d".into(),
            source: "/s".into(),
            options: vec!["rbind".into()],
            file_type: FileType::Directory,
            permissions: "1755".into(),
            entry: None,
        };
        let json = to_json(std::slice::from_ref(&mount)).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&json).unwrap(),
            json!([{"source": "/s", "destination": "/d", "file_type": "directory", "permissions": 493}])
        );
        assert_eq!(from_json(&json).unwrap()[0].permissions, 0o755);
        let odd = BindMount {
            permissions: "rwx".into(),
            ..mount
        };
        assert!(matches!(to_json(&[odd]), Err(Error::Permissions { .. })));
    }

    #[test]
    fn hostile_entries_are_refused() {
        let one = |source: &str, destination: &str, permissions: u32| json!([{"source": source, "destination": destination, "file_type": "file", "permissions": permissions}]);
        let twice = json!([one("/s", "/d", 0)[0], one("/t", "/d", 0)[0]]);
        let many = Value::Array(
            (0..=MAX_EXTERNAL)
                .map(|n| one("/s", &format!("/{n}"), 0)[0].clone())
                .collect(),
        );
        let cases = [
            (one("s", "/d", 0), "source"),
            (one("/s/../t", "/d", 0), "source"),
            (one("/s", "d", 0), "destination"),
            (one("/s", "/a/..", 0), "destination"),
            (one("/s", "/a\0", 0), "destination"),
            (one("/s", "/d", 0o1000), "permissions"),
            (twice, "destination"),
            (many, "count"),
        ];
        for (entry, wanted) in cases {
            match from_json(entry.to_string().as_bytes()) {
                Err(Error::External { field, .. }) => assert_eq!(field, wanted),
                other => panic!("{wanted}: {other:?}"),
            }
        }
        for text in [
            "",
            "{}",
            "null",
            r#"[{"source": "/s", "destination": "/d", "file_type": "pipe", "permissions": 1}]"#,
        ] {
            assert!(matches!(from_json(text.as_bytes()), Err(Error::Json { .. })), "{text}");
        }
        let mut unknown = one("/s", "/d", 0);
        unknown[0]["more"] = json!(1);
        assert!(matches!(
            from_json(unknown.to_string().as_bytes()),
            Err(Error::Json { .. })
        ));
    }
}
