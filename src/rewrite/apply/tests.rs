//! Preparations on real mounts, namespaces and cgroups, and that nothing of them stays. These tests need root.

mod area;
mod failures;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use serde_json::Value;

use super::*;
use area::*;

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
