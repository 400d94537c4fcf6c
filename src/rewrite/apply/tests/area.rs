//! Where the tests of this module work, and the archives that they prepare there.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mount::{MountFlags, mount};
use serde_json::json;

use crate::capture::DELETED_FILES;
use crate::event::{Event, Events};
use crate::mounts::MountTable;
use crate::request::{MapMount, Netns};
use crate::rewrite::HostView;
use crate::rewrite::apply::{Contents, ContentsError};
use crate::rewrite::plan::{Plan, Step};
use crate::rewrite::testing::{Case, make_diff};
use crate::sys::testing::in_private_mounts;
use crate::tree;

/// An archive in memory.
#[derive(Default)]
pub(super) struct Archive {
    pub(super) entries: BTreeMap<&'static str, Vec<u8>>,
    /// The step, counted from 0, before which the import is stopped.
    pub(super) stop_at: Option<usize>,
    steps: usize,
    pub(super) spoil_images: bool,
    pub(super) external: bool,
}

impl Contents for Archive {
    fn open<'a>(&'a mut self, entry: &str) -> Result<Option<Box<dyn Read + 'a>>, ContentsError> {
        Ok(self
            .entries
            .get(entry)
            .map(|bytes| Box::new(bytes.as_slice()) as Box<dyn Read>))
    }

    fn place_images(&mut self, directory: &Path) -> Result<(), ContentsError> {
        assert_eq!(directory.metadata()?.permissions().mode() & 0o7777, 0o700);
        fs::create_dir(directory.join("parent"))?;
        fs::write(directory.join("parent/pages-1.img"), "pages")?;
        fs::write(directory.join("inventory.img"), "inventory")?;
        symlink("/etc/passwd", directory.join("link"))?;
        if self.spoil_images {
            Err("no space".into())
        } else {
            Ok(())
        }
    }

    fn make_netns_external(&mut self, directory: &Path) -> Result<(), ContentsError> {
        self.external = true;
        Ok(fs::write(directory.join("netns-1.img"), "external")?)
    }

    fn proceed(&mut self, _: &Step) -> Result<(), ContentsError> {
        self.steps += 1;
        if self.stop_at == Some(self.steps - 1) {
            Err("stopped here".into())
        } else {
            Ok(())
        }
    }
}

/// Hears what is told when something is left behind.
#[derive(Default)]
pub(super) struct Heard(pub(super) Mutex<Vec<String>>);

impl Events for Heard {
    fn emit(&self, event: Event) {
        if let Event::Warning { message } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

/// The tar of these files alone, without the directories they are in: podman's are so.
pub(super) fn bare_tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The tar of a tree with these files.
pub(super) fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (path, content) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let mut packed = Vec::new();
    let root = tree::open_root(directory.path()).unwrap();
    tree::Packer::new(root).measure().unwrap().write(&mut packed).unwrap();
    packed
}

static AREAS: AtomicU32 = AtomicU32::new(0);

/// Where a test works: a tmpfs with a version 2 cgroup mount, in a mount namespace of its own.
pub(super) struct Area {
    path: PathBuf,
    pub(super) cgroup: String,
}

impl Area {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Every file and mount of the area, and the cgroups of the test.
    pub(super) fn everything(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut todo = vec![self.path.clone()];
        while let Some(directory) = todo.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let metadata = path.symlink_metadata().unwrap();
                found.push(format!(
                    "{} {:o} {}:{}",
                    path.display(),
                    metadata.mode(),
                    metadata.uid(),
                    metadata.gid()
                ));
                if metadata.is_dir() && path != self.path("cgroup") {
                    todo.push(path);
                }
            }
        }
        let table = mounts();
        found.extend(
            table
                .below(&self.path)
                .map(|mount| format!("mount {}", mount.mount_point.display())),
        );
        found.push(format!("cgroup {}", self.path("cgroup").join(&self.cgroup).exists()));
        found.sort();
        found
    }
}

pub(super) fn in_area<T: Send>(test: impl FnOnce(&Area) -> T + Send) -> T {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    in_private_mounts(|| {
        mount("tmpfs", &path, "tmpfs", MountFlags::empty(), None).unwrap();
        let area = Area {
            path,
            // Tests of one process run at the same time, and all see the same hierarchy.
            cgroup: format!(
                "ckpt-test-{}-{}",
                std::process::id(),
                AREAS.fetch_add(1, Ordering::Relaxed)
            ),
        };
        fs::create_dir(area.path("cgroup")).unwrap();
        mount("cgroup2", area.path("cgroup"), "cgroup2", MountFlags::empty(), None).unwrap();
        for directory in ["base", "srv", "containers/here"] {
            fs::create_dir_all(area.path(directory)).unwrap();
        }
        fs::write(area.path("base/kept"), "kept").unwrap();
        fs::write(area.path("base/deleted"), "deleted").unwrap();
        fs::create_dir(area.path("base/tree")).unwrap();
        fs::write(area.path("base/tree/below"), "below").unwrap();
        fs::set_permissions(area.path("base"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(area.path("outside"), "outside").unwrap();
        test(&area)
    })
}

/// podman's container: a full root file system, /dev/shm, mounts that travel, a network namespace, a cgroup, a user
/// namespace.
pub(super) fn full(area: &Area) -> (Case, Archive) {
    let mut case = Case::of("podman-rootful.json");
    case.request.bundle = Some(area.path("containers/new/web"));
    case.request.netns = Netns::New;
    case.request.allow_devices = vec!["/dev/fuse".to_owned()];
    case.request.allow_mounts = ["/etc/resolv.conf", "/etc/hosts", "/etc/hostname"]
        .map(str::to_owned)
        .to_vec();
    case.spec["linux"]["cgroupsPath"] = json!(format!("/{}/box/web", area.cgroup));
    case.spec["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    case.host.cgroup.mountpoints = vec![area.path("cgroup")];
    for archived in &mut case.manifest.bind_mounts {
        archived.entry = match archived.destination.as_str() {
            "/vol" => Some("volumes/vol.tar".to_owned()),
            "/etc/f" => Some("volumes/f.tar".to_owned()),
            _ => None,
        };
    }
    let source = area.path("srv").display().to_string();
    for destination in ["/etc/resolv.conf", "/etc/hosts", "/etc/hostname", "/run/.containerenv"] {
        let source = format!("{source}/file");
        case.request.map_mounts.push(MapMount {
            destination: destination.into(),
            source: source.into(),
        });
    }
    fs::write(area.path("srv/file"), "mapped").unwrap();
    case.request.allow_mounts.clear();
    let mut archive = Archive::default();
    archive
        .entries
        .insert("rootfs.tar", tar(&[("bin/sh", "shell"), ("etc/hosts", "")]));
    archive
        .entries
        .insert("devshm-checkpoint.tar", tar(&[("PostgreSQL.1", "shared")]));
    archive.entries.insert("volumes/vol.tar", tar(&[("data", "volume")]));
    archive.entries.insert("volumes/f.tar", tar(&[("f", "file")]));
    (case, archive)
}

/// An overlay over `base`, into which a network namespace is handed.
pub(super) fn overlay(area: &Area) -> (Case, Archive) {
    let mut case = Case::plain();
    make_diff(&mut case);
    case.request.bundle = Some(area.path("containers/here"));
    case.request.root = Some(area.path("base"));
    case.request.netns = Netns::Path("/proc/self/ns/net".into());
    case.spec["linux"].as_object_mut().unwrap().shift_remove("cgroupsPath");
    let mut archive = Archive::default();
    archive
        .entries
        .insert("rootfs-diff.tar", bare_tar(&[("added", "added"), ("kept", "changed")]));
    archive
        .entries
        .insert(DELETED_FILES, br#"["deleted", "/tree", "gone/already"]"#.to_vec());
    (case, archive)
}

/// An error with all that caused it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(|error| format!("{error}; "))
        .collect()
}

/// The mounts of this thread, which is in a mount namespace of its own.
pub(super) fn mounts() -> MountTable {
    MountTable::of_process(rustix::thread::gettid().as_raw_nonzero().get()).unwrap()
}

pub(super) fn plan(case: &mut Case) -> Plan {
    case.host.paths = HostView::look(&case.questions());
    case.plan().unwrap_or_else(|refusals| panic!("{refusals}"))
}

pub(super) fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref()).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}
