//! Preparations on real mounts, namespaces and cgroups, and that nothing of them stays. These tests need root.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mount::{MountFlags, mount};
use serde_json::{Value, json};

use super::*;
use crate::capture::DELETED_FILES;
use crate::event::Event;
use crate::mounts::MountTable;
use crate::request::{MapMount, Netns};
use crate::rewrite::HostView;
use crate::rewrite::plan::Step;
use crate::rewrite::testing::{Case, make_diff};
use crate::sys::testing::in_private_mounts;

/// An archive in memory.
#[derive(Default)]
struct Archive {
    entries: BTreeMap<&'static str, Vec<u8>>,
    /// The step, counted from 0, before which the import is stopped.
    stop_at: Option<usize>,
    steps: usize,
    spoil_images: bool,
    external: bool,
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
struct Heard(Mutex<Vec<String>>);

impl Events for Heard {
    fn emit(&self, event: Event) {
        if let Event::Warning { message } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

/// The tar of these files alone, without the directories they are in: podman's are so.
fn bare_tar(files: &[(&str, &str)]) -> Vec<u8> {
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
fn tar(files: &[(&str, &str)]) -> Vec<u8> {
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
struct Area {
    path: PathBuf,
    cgroup: String,
}

impl Area {
    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Every file and mount of the area, and the cgroups of the test.
    fn everything(&self) -> Vec<String> {
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

fn in_area<T: Send>(test: impl FnOnce(&Area) -> T + Send) -> T {
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
fn full(area: &Area) -> (Case, Archive) {
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
fn overlay(area: &Area) -> (Case, Archive) {
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
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(|error| format!("{error}; "))
        .collect()
}

/// The mounts of this thread, which is in a mount namespace of its own.
fn mounts() -> MountTable {
    MountTable::of_process(rustix::thread::gettid().as_raw_nonzero().get()).unwrap()
}

fn plan(case: &mut Case) -> Plan {
    case.host.paths = HostView::look(&case.questions());
    case.plan().unwrap_or_else(|refusals| panic!("{refusals}"))
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref()).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

#[test]
fn as_root_a_full_archive_is_prepared_and_taken_away() {
    in_area(|area| {
        let (mut case, mut archive) = full(area);
        let before = area.everything();
        let plan = plan(&mut case);
        let heard = Heard::default();
        let applied = apply(&plan, &mut archive, &heard).unwrap();

        let bundle = &plan.bundle;
        assert_eq!(
            bundle.metadata().unwrap().permissions().mode() & 0o7777,
            0o711,
            "a user namespace passes"
        );
        assert_eq!(read(bundle.join("rootfs/bin/sh")), "shell");
        assert_eq!(read(bundle.join("shm/PostgreSQL.1")), "shared");
        let table = mounts();
        let shm = table.mount_at(&bundle.join("shm")).unwrap();
        assert_eq!(shm.fs_type, "tmpfs");
        assert_eq!(shm.super_option("size").unwrap(), "32000k");
        assert_eq!(shm.options, ["rw", "nosuid", "nodev", "noexec", "relatime"]);
        assert_eq!(read(bundle.join("mounts/1/data")), "volume");
        assert_eq!(read(bundle.join("mounts/7/content")), "file");
        assert_eq!(table.mount_at(&bundle.join("netns")).unwrap().fs_type, "nsfs");
        let images = bundle.join("checkpoint");
        for path in ["", "inventory.img", "parent", "parent/pages-1.img", "link"] {
            let metadata = images.join(path).symlink_metadata().unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (100_000, 0), "{path:?}");
        }
        assert_eq!(
            fs::metadata("/etc/passwd").unwrap().uid(),
            0,
            "links are given away, not followed"
        );
        assert_eq!(
            serde_json::from_str::<Value>(&read(bundle.join("config.json"))).unwrap(),
            plan.config
        );
        assert_eq!(
            bundle.join("config.json").metadata().unwrap().permissions().mode() & 0o7777,
            0o600
        );
        let cgroup = area.path("cgroup").join(&area.cgroup).join("box");
        assert!(
            cgroup.exists() && !cgroup.join("web").exists(),
            "the runtime makes the last one"
        );

        // The runtime made its cgroup, and mounted something; then the restore failed.
        fs::create_dir_all(cgroup.join("web/below")).unwrap();
        fs::create_dir(bundle.join("criu-root")).unwrap();
        rustix::mount::mount_bind(area.path("base"), bundle.join("criu-root")).unwrap();
        let left = applied.roll_back();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(area.everything(), before);
        assert!(heard.0.lock().unwrap().is_empty());

        // The same import, at once.
        apply(&plan, &mut archive, &heard).unwrap().commit();
        assert_eq!(read(bundle.join("rootfs/bin/sh")), "shell");
        fs::remove_dir(cgroup).unwrap();
        fs::remove_dir(area.path("cgroup").join(&area.cgroup)).unwrap();
    });
}

#[test]
fn as_root_a_diff_is_mounted_over_its_base() {
    in_area(|area| {
        let (mut case, mut archive) = overlay(area);
        fs::set_permissions(area.path("base"), fs::Permissions::from_mode(0o1751)).unwrap();
        let before = area.everything();
        let plan = plan(&mut case);
        let applied = apply(&plan, &mut archive, &crate::event::Silent).unwrap();
        let merged = plan.bundle.join("rootfs");
        assert_eq!(
            merged.metadata().unwrap().permissions().mode() & 0o7777,
            0o1751,
            "as below"
        );
        assert_eq!(
            (read(merged.join("added")), read(merged.join("kept"))),
            ("added".into(), "changed".into())
        );
        assert!(!merged.join("deleted").exists() && !merged.join("tree").exists());
        assert_eq!(read(area.path("base/deleted")), "deleted", "the base is not written to");
        assert!(archive.external);
        assert!(plan.bundle.join("checkpoint/netns-1.img").exists());
        assert!(applied.roll_back().is_empty());
        assert_eq!(
            area.everything(),
            before,
            "the bundle that was there stays, and is empty again"
        );
    });
}

#[test]
fn as_root_a_stop_before_any_step_leaves_nothing() {
    in_area(|area| {
        for made in [full, overlay] {
            let (mut case, _) = made(area);
            let before = area.everything();
            let plan = plan(&mut case);
            let steps = plan.steps.iter().filter(|step| step.is_preparation()).count();
            for stop_at in 0..steps {
                let (_, mut archive) = made(area);
                archive.stop_at = Some(stop_at);
                let error = apply(&plan, &mut archive, &crate::event::Silent).unwrap_err();
                assert!(matches!(error.fault, Fault::Stopped(_)), "{error}");
                assert_eq!((error.number, error.left.len()), (stop_at + 1, 0));
                assert_eq!(area.everything(), before, "stopped at step {}", stop_at + 1);
            }
        }
    });
}

/// A preparation with one thing that fails within a step.
type Failure = (
    &'static str,
    fn(&Area) -> (Case, Archive),
    fn(&mut Archive),
    &'static str,
);

const FAILURES: &[Failure] = &[
    (
        "root file system missing",
        full,
        |archive| drop(archive.entries.remove("rootfs.tar")),
        "rootfs.tar",
    ),
    (
        "root file system damaged",
        full,
        |archive| drop(archive.entries.insert("rootfs.tar", vec![1; 700])),
        "rootfs.tar",
    ),
    (
        "shared memory missing",
        full,
        |archive| drop(archive.entries.remove("devshm-checkpoint.tar")),
        "devshm",
    ),
    (
        "shared memory too large",
        full,
        |archive| {
            let large = "x".repeat(33 << 20);
            archive
                .entries
                .insert("devshm-checkpoint.tar", tar(&[("large", &large)]));
        },
        "devshm",
    ),
    (
        "mount missing",
        full,
        |archive| drop(archive.entries.remove("volumes/vol.tar")),
        "volumes/vol.tar",
    ),
    (
        "two files for one",
        full,
        |archive| {
            archive.entries.insert("volumes/f.tar", tar(&[("f", ""), ("g", "")]));
        },
        "must hold one file",
    ),
    (
        "a directory for a file",
        full,
        |archive| {
            archive.entries.insert("volumes/f.tar", tar(&[("f/g", "")]));
        },
        "must hold one file",
    ),
    ("images", full, |archive| archive.spoil_images = true, "images"),
    (
        "changes missing",
        overlay,
        |archive| drop(archive.entries.remove("rootfs-diff.tar")),
        "rootfs-diff.tar",
    ),
    (
        "deleted is no list",
        overlay,
        |archive| drop(archive.entries.insert(DELETED_FILES, b"{}".to_vec())),
        "not a JSON array",
    ),
    (
        "deleted upwards",
        overlay,
        |archive| deleted(archive, "../outside"),
        "`..`",
    ),
    (
        "deleted upwards from within",
        overlay,
        |archive| deleted(archive, "tree/../../outside"),
        "`..`",
    ),
    (
        "deleted the root",
        overlay,
        |archive| deleted(archive, "./"),
        "root of the tree",
    ),
    (
        "deleted with a NUL",
        overlay,
        |archive| deleted(archive, "a\\u0000b"),
        "NUL",
    ),
];

fn deleted(archive: &mut Archive, path: &str) {
    archive
        .entries
        .insert(DELETED_FILES, format!("[\"kept\", \"{path}\"]").into_bytes());
}

#[test]
fn as_root_a_failure_within_any_step_leaves_nothing_and_names_it() {
    in_area(|area| {
        for (name, made, spoil, message) in FAILURES {
            let (mut case, mut archive) = made(area);
            let before = area.everything();
            let plan = plan(&mut case);
            spoil(&mut archive);
            let error = apply(&plan, &mut archive, &crate::event::Silent).expect_err(name);
            let text = chain(&error);
            assert!(text.contains(message), "{name}: {text}");
            assert!(error.left.is_empty(), "{name}: {:?}", error.left);
            assert_eq!(area.everything(), before, "{name}");
        }
        assert_eq!(read(area.path("outside")), "outside");
    });
}

#[test]
fn as_root_system_calls_that_fail_leave_nothing() {
    in_area(|area| {
        let spoilt: [fn(&mut Step); 4] = [
            |step| {
                if let Step::MakeShm { options, .. } = step {
                    options.push("size=many".into())
                }
            },
            |step| {
                if let Step::NewNetns { pin } = step {
                    *pin = "/proc/pin".into()
                }
            },
            |step| {
                if let Step::MakeCgroup { directories, .. } = step {
                    directories.push("/proc/box/web".into())
                }
            },
            |step| {
                if let Step::WriteConfig { path } = step {
                    *path = "/proc/config.json".into()
                }
            },
        ];
        for spoil in spoilt {
            let (mut case, mut archive) = full(area);
            let before = area.everything();
            let mut plan = plan(&mut case);
            plan.steps.iter_mut().for_each(spoil);
            let error = apply(&plan, &mut archive, &crate::event::Silent).unwrap_err();
            assert!(matches!(error.fault, Fault::Io { .. }), "{:?}", error.fault);
            assert_eq!(area.everything(), before, "{:?}", error.fault);
        }
        // An overlay over nothing.
        let (mut case, mut archive) = overlay(area);
        let before = area.everything();
        let mut plan = plan(&mut case);
        for step in &mut plan.steps {
            if let Step::OverlayRootfs { work, upper, .. } = step {
                *work = upper.join("within");
            }
        }
        apply(&plan, &mut archive, &crate::event::Silent).unwrap_err();
        assert_eq!(area.everything(), before);
    });
}

#[test]
fn as_root_a_list_of_deleted_files_cannot_leave_the_root_file_system() {
    in_area(|area| {
        symlink(area.path(""), area.path("base/up")).unwrap();
        let (mut case, mut archive) = overlay(area);
        let before = area.everything();
        let plan = plan(&mut case);
        deleted(&mut archive, "up/outside");
        let applied = apply(&plan, &mut archive, &crate::event::Silent).unwrap();
        assert_eq!(read(plan.bundle.join("rootfs/up/outside")), "outside");
        assert!(applied.roll_back().is_empty());
        assert_eq!(area.everything(), before);
        // The link itself can be deleted.
        deleted(&mut archive, "up");
        let applied = apply(&plan, &mut archive, &crate::event::Silent).unwrap();
        assert!(plan.bundle.join("rootfs/up").symlink_metadata().is_err());
        assert_eq!(read(area.path("outside")), "outside");
        assert!(applied.roll_back().is_empty());
    });
}

#[test]
fn as_root_what_cannot_be_taken_away_is_told() {
    in_area(|area| {
        let (mut case, mut archive) = full(area);
        let plan = plan(&mut case);
        let heard = Heard::default();
        let applied = apply(&plan, &mut archive, &heard).unwrap();
        // A process that outlived the failed restore holds the container's cgroup.
        let cgroup = area.path("cgroup").join(&area.cgroup).join("box/web");
        fs::create_dir(&cgroup).unwrap();
        let mut process = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(cgroup.join("cgroup.procs"), process.id().to_string()).unwrap();
        drop(applied);
        let told = heard.0.lock().unwrap().clone();
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(told.iter().any(|message| message.contains("box/web")), "{told:?}");
        assert!(!plan.bundle.exists(), "all else is gone");
        assert!(remove::cgroup(&area.path("cgroup").join(&area.cgroup)).is_empty());
    });
}

#[test]
fn as_root_nothing_that_was_there_is_used_or_removed() {
    in_area(|area| {
        // Between the plan and its application somebody was faster.
        type Faster = fn(&Area);
        let cases: [(&str, Faster); 3] = [
            ("the bundle has a file now", |area| {
                fs::create_dir_all(area.path("containers/new/web")).unwrap();
                fs::write(area.path("containers/new/web/mine"), "mine").unwrap();
            }),
            ("the bundle is a link now", |area| {
                fs::create_dir_all(area.path("containers/new")).unwrap();
                symlink(area.path("base"), area.path("containers/new/web")).unwrap();
            }),
            ("the cgroup is there now", |area| {
                fs::create_dir_all(area.path("cgroup").join(&area.cgroup).join("box/web")).unwrap();
            }),
        ];
        for (name, faster) in cases {
            let (mut case, mut archive) = full(area);
            let plan = plan(&mut case);
            faster(area);
            let before = area.everything();
            apply(&plan, &mut archive, &crate::event::Silent).expect_err(name);
            assert_eq!(area.everything(), before, "{name}");
            fs::remove_dir_all(area.path("containers/new")).ok();
            remove::cgroup(&area.path("cgroup").join(&area.cgroup));
        }
    });
}

#[test]
fn a_tree_deeper_than_descriptors_go_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    let deep = tree.join("d/".repeat(1500));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), "").unwrap();
    fs::create_dir_all(tree.join("e/".repeat(150))).unwrap();
    let failures = remove::tree(&tree);
    assert!(failures.is_empty() && !tree.exists(), "{failures:?}");
}

#[test]
fn as_root_removing_stops_at_mounts_and_links() {
    in_area(|area| {
        let tree = area.path("srv/tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(tree.join("mounted")).unwrap();
        symlink(area.path("base"), tree.join("a/link")).unwrap();
        rustix::mount::mount_bind(area.path("base"), tree.join("mounted")).unwrap();
        let failures = remove::tree(&tree);
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert_eq!(failures[0].path, tree.join("mounted"));
        assert!(!tree.join("a").exists());
        assert_eq!(read(area.path("base/kept")), "kept");
    });
}
