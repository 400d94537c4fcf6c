//! Changes of overlays: captured from real overlay mounts, applied to plain copies and to other overlays. Needs root.
//!
//! Every test runs itself again in a private mount namespace, so that no mount outlives it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that cannot run says so"
)]

#[path = "support/raw_tar.rs"]
mod raw_tar;
#[path = "support/tree.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use ckpt::capture::rootfs::{Capture, Wanted, plan};
use ckpt::manifest::RootfsMode;
use ckpt::mounts::MountTable;
use ckpt::tree::{self, Namespace, Options, TreePath, deleted, open_root};
use support::{ALL, Node, acl, assert_same, chmod, chown, look, mknod, run, set_mtime, set_xattr, sparse};

/// Whether this process is the one inside; else runs the test of this name there.
fn inside(test: &str) -> bool {
    const INSIDE: &str = "CKPT_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if !support::is_privileged() {
        return false;
    }
    // Directories that are mounted on cannot be removed inside; out here nothing is mounted any more.
    let scratch = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command
        .env("TMPDIR", scratch.path())
        .args(["--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    let output = run(&mut command);
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "{test} ran inside"
    );
    false
}

/// An overlay in a directory of its own.
struct Overlay {
    dir: tempfile::TempDir,
    options: &'static str,
}

impl Overlay {
    /// Lower layers are `lower-0` (topmost), `lower-1`…, filled by `fill`; then mounted on `merged`.
    fn new(options: &'static str, layers: usize, fill: impl FnOnce(&[PathBuf])) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lower: Vec<_> = (0..layers).map(|i| dir.path().join(format!("lower-{i}"))).collect();
        for dir in lower.iter().chain(&[
            dir.path().join("upper"),
            dir.path().join("work"),
            dir.path().join("merged"),
        ]) {
            fs::create_dir(dir).unwrap();
        }
        fill(&lower);
        let overlay = Self { dir, options };
        overlay.mount("upper", "work", "merged");
        overlay
    }

    fn mount(&self, upper: &str, work: &str, merged: &str) {
        let mut lower: Vec<_> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("lower-"))
            .collect();
        lower.sort();
        let lower = lower
            .iter()
            .map(|path| path.to_str().unwrap())
            .collect::<Vec<_>>()
            .join(":");
        let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let options = format!(
            "lowerdir={lower},upperdir={},workdir={}{}",
            path(upper),
            path(work),
            self.options
        );
        run(Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options])
            .arg(self.path(merged)));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn merged(&self) -> PathBuf {
        self.path("merged")
    }
}

/// Mounts of this process.
fn mounts() -> MountTable {
    MountTable::of_self().unwrap()
}

fn capture(wanted: Wanted, rootfs: &Path) -> Capture {
    plan(wanted, rootfs, &mounts()).unwrap().capture().unwrap()
}

fn entries(capture: &mut Capture) -> BTreeMap<String, Vec<u8>> {
    let parts = capture.parts.iter_mut().map(|part| {
        let mut bytes = Vec::new();
        part.write(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, part.size());
        (part.name().to_owned(), bytes)
    });
    parts.collect()
}

fn deleted_paths(entries: &BTreeMap<String, Vec<u8>>) -> Vec<TreePath> {
    entries.get("deleted.files").map_or_else(Vec::new, |json| {
        deleted::parse(json, &deleted::Limits::default()).unwrap()
    })
}

/// A directory of another file system's inode numbers says nothing; all else has to be the same. What overlayfs puts on
/// the root of a merged view is the mount's, not the container's.
fn seen(root: &Path) -> BTreeMap<PathBuf, Node> {
    look(root, ALL)
}

const EVERYTHING: Options = Options {
    limits: tree::Limits {
        entries: 10_000,
        bytes: 1 << 30,
        path: 4096,
        depth: 100,
        pax: 1 << 20,
        regions: 1000,
    },
    devices: true,
    scope: tree::Scope::Everything,
};

/// Captures the changes of an overlay and applies them in both ways: each must look like the overlay.
fn round_trip(overlay: &Overlay) -> BTreeMap<String, Vec<u8>> {
    let expected = seen(&overlay.merged());
    let mut capture = capture(Wanted::Auto, &overlay.merged());
    assert_eq!(capture.mode, RootfsMode::Diff);
    let entries = entries(&mut capture);
    let (tar, deleted) = (&entries["rootfs-diff.tar"][..], deleted_paths(&entries));
    for path in &deleted {
        assert!(
            !expected.contains_key(support::path(path.as_bytes())),
            "{path} is deleted and there"
        );
    }

    // A plain copy of the files below: the merged view of an overlay without changes.
    for name in [
        "upper-none",
        "work-none",
        "merged-none",
        "plain",
        "upper-2",
        "work-2",
        "merged-2",
    ] {
        fs::create_dir(overlay.path(name)).unwrap();
    }
    overlay.mount("upper-none", "work-none", "merged-none");
    let copy = format!("{}/.", overlay.path("merged-none").display());
    run(Command::new("cp").args(["-a", &copy]).arg(overlay.path("plain")));
    let below = tree::identity(&tree::Layers::new(
        vec![open_root(overlay.path("plain")).unwrap()],
        Namespace::Trusted,
    ));
    assert_eq!(
        capture.base,
        Some(below.unwrap()),
        "a plain copy has the identity of the layers"
    );

    let plain = open_root(overlay.path("plain")).unwrap();
    tree::apply_diff_plain(plain.as_fd(), tar, &deleted, EVERYTHING).unwrap();
    assert_same(&expected, &seen(&overlay.path("plain")));

    let namespace = if overlay.options.contains("userxattr") {
        Namespace::User
    } else {
        Namespace::Trusted
    };
    let upper = open_root(overlay.path("upper-2")).unwrap();
    tree::apply_diff_overlay(upper.as_fd(), namespace, None, tar, &deleted, EVERYTHING).unwrap();
    overlay.mount("upper-2", "work-2", "merged-2");
    assert_same(&expected, &seen(&overlay.path("merged-2")));

    // Through an overlay that is mounted, which makes its whiteouts itself.
    let through = open_root(overlay.path("merged-none")).unwrap();
    tree::apply_diff_plain(through.as_fd(), tar, &deleted, EVERYTHING).unwrap();
    assert_same(&expected, &seen(&overlay.path("merged-none")));

    // And the second generation: the changes of that overlay are the same changes.
    let mut again = plan(Wanted::Diff, &overlay.path("merged-2"), &mounts())
        .unwrap()
        .capture()
        .unwrap();
    assert_eq!(self::entries(&mut again), entries);
    entries
}

fn listing(json: &[u8]) -> Vec<String> {
    deleted::parse(json, &deleted::Limits::default())
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Files of an image in two layers, the upper of which hides things of the lower.
fn image(lower: &[PathBuf]) {
    let (top, bottom) = (&lower[0], &lower[1]);
    for dir in [
        "etc/sub",
        "dir/sub/deep",
        "hidden-below",
        "opaque-below",
        "gone",
        "replaced-by-file",
        "renamed",
    ] {
        fs::create_dir_all(bottom.join(dir)).unwrap();
    }
    for file in [
        "etc/passwd",
        "etc/sub/a",
        "etc/sub/b",
        "dir/f1",
        "dir/f2",
        "dir/sub/f3",
        "dir/sub/deep/f4",
        "gone/x",
        "hidden-below/x",
        "opaque-below/x",
        "replaced-by-file/x",
        "replaced-by-dir",
        "renamed/1",
        "renamed/2",
        "chmod",
        "chown",
        "xattr",
        "touch",
        "append",
    ] {
        fs::write(bottom.join(file), file).unwrap();
    }
    fs::hard_link(bottom.join("etc/passwd"), bottom.join("etc/passwd-link")).unwrap();
    symlink("etc/passwd", bottom.join("link")).unwrap();
    set_xattr(&bottom.join("xattr"), "user.old", b"old");
    fs::create_dir_all(top.join("opaque-below")).unwrap();
    set_xattr(&top.join("opaque-below"), "trusted.overlay.opaque", b"y");
    fs::write(top.join("opaque-below/y"), b"y").unwrap();
    mknod(&top.join("hidden-below"), rustix::fs::FileType::CharacterDevice, 0, 0);
    fs::create_dir(top.join("etc")).unwrap();
    fs::write(top.join("etc/hosts"), b"hosts").unwrap();
    sparse(&top.join("sparse"), 1 << 20, &[(1 << 19, b"x")]);
}

#[test]
fn every_kind_of_change_arrives() {
    if !inside("every_kind_of_change_arrives") {
        return;
    }
    let overlay = Overlay::new("", 2, image);
    let root = overlay.merged();
    // Added.
    fs::create_dir_all(root.join("new/dir")).unwrap();
    fs::write(root.join("new/dir/file"), b"added").unwrap();
    fs::hard_link(root.join("new/dir/file"), root.join("new/link")).unwrap();
    symlink("/absolute/../target", root.join("new/symlink")).unwrap();
    mknod(&root.join("new/fifo"), rustix::fs::FileType::Fifo, 0, 0);
    mknod(&root.join("new/null"), rustix::fs::FileType::CharacterDevice, 1, 3);
    set_xattr(&root.join("new/dir"), "system.posix_acl_default", &acl());
    fs::write(root.join("dir/added"), b"added to an old directory").unwrap();
    // Modified.
    fs::write(root.join("etc/passwd"), b"modified").unwrap();
    fs::OpenOptions::new().append(true).open(root.join("append")).unwrap();
    chmod(&root.join("chmod"), 0o4711);
    chown(&root.join("chown"), 1234, 5678);
    set_xattr(&root.join("xattr"), "user.new", b"new");
    rustix::fs::lremovexattr(root.join("xattr"), "user.old").unwrap();
    set_mtime(&root.join("touch"), 1_234_567_890, 987_654_321);
    chmod(&root.join("dir/sub"), 0o700);
    sparse(&root.join("sparse"), 1 << 21, &[(1 << 20, b"y")]);
    // Deleted.
    fs::remove_file(root.join("dir/f1")).unwrap();
    fs::remove_file(root.join("dir/sub/deep/f4")).unwrap();
    fs::remove_dir_all(root.join("gone")).unwrap();
    fs::remove_file(root.join("link")).unwrap();
    // Renamed.
    fs::rename(root.join("dir/f2"), root.join("dir/f2-renamed")).unwrap();
    // Replaced by another kind.
    fs::remove_dir_all(root.join("replaced-by-file")).unwrap();
    fs::write(root.join("replaced-by-file"), b"file").unwrap();
    fs::remove_file(root.join("replaced-by-dir")).unwrap();
    fs::create_dir(root.join("replaced-by-dir")).unwrap();
    fs::write(root.join("replaced-by-dir/in"), b"in").unwrap();
    // Removed and made anew: opaque. Then a whiteout inside what is new.
    fs::remove_dir_all(root.join("etc/sub")).unwrap();
    fs::create_dir(root.join("etc/sub")).unwrap();
    fs::write(root.join("etc/sub/b"), b"new b").unwrap();
    fs::write(root.join("etc/sub/c"), b"c").unwrap();
    fs::remove_file(root.join("etc/sub/c")).unwrap();
    set_mtime(&root.join("dir"), 1_000_000_001, 1);

    let entries = round_trip(&overlay);
    assert_eq!(
        listing(&entries["deleted.files"]),
        ["gone", "link", "dir/f1", "dir/f2", "dir/sub/deep/f4", "etc/sub/a"]
    );
}

#[test]
fn an_overlay_without_changes_has_no_list_of_deleted_files() {
    if !inside("an_overlay_without_changes_has_no_list_of_deleted_files") {
        return;
    }
    let overlay = Overlay::new("", 2, image);
    let entries = round_trip(&overlay);
    assert_eq!(entries.keys().collect::<Vec<_>>(), ["rootfs-diff.tar"]);
}

/// Mounts an overlay with the changes that `change` makes on it, and takes the round trip.
fn changed(options: &'static str, change: impl FnOnce(&Path)) -> BTreeMap<String, Vec<u8>> {
    let overlay = Overlay::new(options, 2, image);
    change(&overlay.merged());
    round_trip(&overlay)
}

fn rename(root: &Path, from: &str, to: &str) {
    fs::rename(root.join(from), root.join(to)).unwrap();
}

#[test]
fn renamed_directories_and_metadata_only_copies_are_resolved() {
    if !inside("renamed_directories_and_metadata_only_copies_are_resolved") {
        return;
    }
    let entries = changed(",redirect_dir=on,metacopy=on", |root| {
        rename(root, "renamed", "renamed-away");
        rename(root, "dir/sub", "moved");
        fs::write(root.join("moved/new"), b"in a moved directory").unwrap();
        fs::remove_file(root.join("moved/f3")).unwrap();
        fs::create_dir(root.join("renamed")).unwrap();
        fs::write(root.join("renamed/2"), b"another at the old place").unwrap();
        chmod(&root.join("chmod"), 0o600);
        chown(&root.join("moved/deep/f4"), 7, 8);
        let upper = root.parent().unwrap().join("upper");
        assert!(support::xattrs(&upper.join("moved")).contains_key(&b"trusted.overlay.redirect"[..]));
        assert!(support::xattrs(&upper.join("chmod")).contains_key(&b"trusted.overlay.metacopy"[..]));
    });
    assert_eq!(listing(&entries["deleted.files"]), ["dir/sub", "renamed/1"]);
}

#[test]
fn attributes_in_the_user_namespace() {
    if !inside("attributes_in_the_user_namespace") {
        return;
    }
    let overlay = Overlay::new(",userxattr", 1, |lower| {
        fs::create_dir_all(lower[0].join("d/e")).unwrap();
        fs::write(lower[0].join("d/1"), b"1").unwrap();
        fs::write(lower[0].join("d/e/2"), b"2").unwrap();
    });
    let root = overlay.merged();
    fs::remove_dir_all(root.join("d")).unwrap();
    fs::create_dir_all(root.join("d/e")).unwrap();
    fs::write(root.join("d/3"), b"3").unwrap();
    assert!(support::xattrs(&overlay.path("upper/d")).contains_key(&b"user.overlay.opaque"[..]));
    let entries = round_trip(&overlay);
    assert_eq!(listing(&entries["deleted.files"]), ["d/1", "d/e/2"]);
}

#[test]
fn an_overlay_in_a_container_keeps_its_own_marks() {
    if !inside("an_overlay_in_a_container_keeps_its_own_marks") {
        return;
    }
    // What a container engine inside the container writes; overlayfs escapes it in its upper layer.
    changed("", |root| {
        fs::create_dir_all(root.join("var/inner/diff/d")).unwrap();
        set_xattr(&root.join("var/inner/diff/d"), "trusted.overlay.opaque", b"y");
        set_xattr(&root.join("var/inner/diff/d"), "trusted.overlay.origin", b"x");
        let upper = root.parent().unwrap().join("upper/var/inner/diff/d");
        assert!(support::xattrs(&upper).contains_key(&b"trusted.overlay.overlay.opaque"[..]));
    });
}

#[test]
fn layers_with_odd_names_are_found() {
    if !inside("layers_with_odd_names_are_found") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let names = [
        "lo:wer",
        "com,ma",
        "back\\slash",
        "spa ce",
        "upper:up",
        "work",
        "merged here",
    ];
    for name in names {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    for name in &names[..4] {
        fs::write(dir.path().join(name).join("file"), name).unwrap();
        fs::write(dir.path().join(name).join(format!("in {}", name.len())), name).unwrap();
    }
    // The mount program passes `\\,` for a comma; overlayfs takes `\\:` for a colon.
    let options = "lowerdir=lo\\:wer:com\\,ma:back\\\\slash:spa ce,upperdir=upper\\:up,workdir=work";
    let merged = dir.path().join("merged here");
    let mut mount = Command::new("mount");
    mount
        .args(["-t", "overlay", "overlay", "-o", options])
        .arg(&merged)
        .current_dir(dir.path());
    run(&mut mount);
    fs::remove_file(merged.join("in 10")).unwrap();
    fs::write(merged.join("new"), b"new").unwrap();
    let mut capture = plan(Wanted::Diff, &merged, &mounts()).unwrap().capture().unwrap();
    let entries = entries(&mut capture);
    assert_eq!(listing(&entries["deleted.files"]), ["in 10"]);
    let mut seen = Vec::new();
    tree::check(&entries["rootfs-diff.tar"][..], EVERYTHING.limits, |entry| {
        seen.push(entry.path.to_string());
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, [".", "new"]);
}

#[test]
fn a_read_only_overlay_has_no_changes() {
    if !inside("a_read_only_overlay_has_no_changes") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "merged"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join(name), name).unwrap();
    }
    let options = format!("lowerdir={0}/a:{0}/b", dir.path().display());
    let merged = dir.path().join("merged");
    run(Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &options])
        .arg(&merged));
    let mut capture = capture(Wanted::Auto, &merged);
    assert_eq!(capture.mode, RootfsMode::Diff);
    assert!(capture.base.is_some());
    let entries = entries(&mut capture);
    assert_eq!(entries.keys().collect::<Vec<_>>(), ["rootfs-diff.tar"]);
    assert_eq!(entries["rootfs-diff.tar"], [0; 1024]);
}

#[test]
fn a_plain_directory_is_taken_whole_and_an_overlay_on_demand() {
    if !inside("a_plain_directory_is_taken_whole_and_an_overlay_on_demand") {
        return;
    }
    let overlay = Overlay::new("", 2, image);
    let root = overlay.merged();
    fs::write(root.join("new"), b"new").unwrap();
    fs::remove_file(root.join("link")).unwrap();
    let plain = overlay.path("plain");
    fs::create_dir(&plain).unwrap();
    support::zoo(&plain);
    for (rootfs, wanted) in [(&root, Wanted::Full), (&plain, Wanted::Full), (&plain, Wanted::Auto)] {
        let expected = seen(rootfs);
        let mut capture = capture(wanted, rootfs);
        assert_eq!((capture.mode, &capture.base), (RootfsMode::Full, &None));
        let entries = entries(&mut capture);
        let into = tempfile::tempdir().unwrap();
        let unlimited = Options {
            limits: tree::Limits::default(),
            ..EVERYTHING
        };
        tree::apply_full(
            open_root(into.path()).unwrap().as_fd(),
            &entries["rootfs.tar"][..],
            unlimited,
        )
        .unwrap();
        assert_same(&expected, &seen(into.path()));
    }
    let refused = plan(Wanted::Diff, &plain, &mounts()).unwrap_err();
    assert!(
        refused
            .to_string()
            .ends_with("is not an overlay: what changed in it cannot be told, only all of it can be taken")
    );
    let nothing = capture(Wanted::None, &root);
    assert_eq!((nothing.mode, nothing.parts.len()), (RootfsMode::None, 0));
}

/// What CRIU does in a container while it dumps.
fn criu_passes_by(place: &Path) {
    let directory = place.join("cr-tmpfs.aB3xYz");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("x"), b"").unwrap();
    fs::remove_dir_all(&directory).unwrap();
    fs::create_dir(place.join("cr-tmpfs.000000")).unwrap();
}

#[test]
fn what_criu_makes_while_files_are_taken_is_no_part_of_them() {
    if !inside("what_criu_makes_while_files_are_taken_is_no_part_of_them") {
        return;
    }
    let with_tmp = |lower: &[PathBuf]| {
        image(lower);
        fs::create_dir(lower[0].join("tmp")).unwrap();
        chmod(&lower[0].join("tmp"), 0o1777);
    };
    let overlay = Overlay::new("", 2, with_tmp);
    let root = overlay.merged();
    fs::write(root.join("new"), b"new").unwrap();
    let plain = overlay.path("plain");
    fs::create_dir_all(plain.join("tmp/kept")).unwrap();
    let bare = overlay.path("bare");
    fs::create_dir(&bare).unwrap();
    fs::write(bare.join("file"), b"x").unwrap();
    for (rootfs, place) in [(&root, "tmp"), (&plain, "tmp"), (&bare, "")] {
        let before = entries(&mut capture(Wanted::Auto, rootfs));
        let mut taken = capture(Wanted::Auto, rootfs);
        criu_passes_by(&rootfs.join(place));
        assert!(entries(&mut taken) == before, "{}", rootfs.display());
    }
    // Anything else that appears is somebody's file.
    let mut taken = capture(Wanted::Auto, &plain);
    fs::create_dir(plain.join("tmp/kept/cr-tmpfs.000000")).unwrap();
    let error = taken.parts[0].write(&mut Vec::new()).unwrap_err();
    let why = std::error::Error::source(&error).expect("why").to_string();
    assert_eq!(why, "`tmp/kept/cr-tmpfs.000000` appeared while the tree was packed");
}

#[test]
fn an_overlay_whose_layers_are_out_of_reach_is_taken_whole() {
    if !inside("an_overlay_whose_layers_are_out_of_reach_is_taken_whole") {
        return;
    }
    let overlay = Overlay::new("", 1, |_| {});
    fs::write(overlay.merged().join("new"), b"new").unwrap();
    fs::rename(overlay.path("lower-0"), overlay.path("moved")).unwrap();
    let refused = plan(Wanted::Diff, &overlay.merged(), &mounts()).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("cannot use the layers of the overlay on"),
        "{refused}"
    );
    let capture = capture(Wanted::Auto, &overlay.merged());
    assert_eq!(capture.mode, RootfsMode::Full);
    assert!(
        capture.warnings[0].contains("cannot open layer"),
        "{:?}",
        capture.warnings
    );
}

#[test]
fn what_is_mounted_in_a_root_file_system_is_left_out_and_what_is_behind_is_not() {
    if !inside("what_is_mounted_in_a_root_file_system_is_left_out_and_what_is_behind_is_not") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("rootfs");
    fs::create_dir_all(root.join("proc/behind")).unwrap();
    fs::write(root.join("resolv.conf"), b"behind").unwrap();
    fs::write(dir.path().join("host-file"), b"of the host").unwrap();
    let expected = seen(&root);
    run(Command::new("mount")
        .args(["-t", "tmpfs", "tmpfs"])
        .arg(root.join("proc")));
    fs::write(root.join("proc/mounted"), b"x").unwrap();
    run(Command::new("mount")
        .arg("--bind")
        .arg(dir.path().join("host-file"))
        .arg(root.join("resolv.conf")));
    let entries = entries(&mut capture(Wanted::Full, &root));
    let into = dir.path().join("into");
    support::unpack(&entries["rootfs.tar"], &into).unwrap();
    assert_same(&expected, &seen(&into));

    // Without a clone of the mount, as when a tree is packed by itself: empty objects, and a report of them.
    let mut measured = tree::Packer::new(open_root(&root).unwrap()).measure().unwrap();
    let points: Vec<_> = measured
        .report()
        .mount_points
        .first
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(points, ["proc", "resolv.conf"]);
    let mut tar = Vec::new();
    measured.write(&mut tar).unwrap();
    let into = dir.path().join("into-2");
    support::unpack(&tar, &into).unwrap();
    assert_eq!(fs::read(into.join("resolv.conf")).unwrap(), b"");
    assert_eq!(fs::read_dir(into.join("proc")).unwrap().count(), 0);

    // All of it when asked for.
    let mut measured = tree::Packer::new(open_root(&root).unwrap())
        .cross_mounts(true)
        .measure()
        .unwrap();
    let mut tar = Vec::new();
    measured.write(&mut tar).unwrap();
    let into = dir.path().join("into-3");
    support::unpack(&tar, &into).unwrap();
    assert_eq!(fs::read(into.join("resolv.conf")).unwrap(), b"of the host");
    assert_eq!(fs::read(into.join("proc/mounted")).unwrap(), b"x");
}

#[test]
fn a_change_enters_no_mount_of_the_tree() {
    if !inside("a_change_enters_no_mount_of_the_tree") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("d/mnt")).unwrap();
    run(Command::new("mount")
        .args(["-t", "tmpfs", "tmpfs"])
        .arg(dir.path().join("d/mnt")));
    fs::write(dir.path().join("d/mnt/victim"), b"x").unwrap();
    let root = open_root(dir.path()).unwrap();
    let apply = |tar: &[u8], path: &[u8]| {
        let deleted: Vec<_> = TreePath::parse(path, 100, 10).ok().into_iter().collect();
        tree::apply_diff_plain(root.as_fd(), tar, &deleted, EVERYTHING)
            .unwrap_err()
            .to_string()
    };
    let nothing = raw_tar::Tar::new().finish();
    let file = |name: &str| raw_tar::Tar::new().file(name, b"").finish();
    let directory = raw_tar::Tar::new().directory("d/mnt/").finish();
    assert_eq!(
        apply(&file("d/mnt/new"), b""),
        "tar entry `d/mnt/new`: `d/mnt` is on another mount"
    );
    assert_eq!(
        apply(&file("d/mnt"), b""),
        "tar entry `d/mnt`: `d/mnt` is on another mount"
    );
    assert_eq!(apply(&file("d"), b""), "tar entry `d`: `d/mnt` is on another mount");
    assert_eq!(
        apply(&directory, b""),
        "tar entry `d/mnt/`: `d/mnt` is on another mount"
    );
    assert_eq!(
        apply(&nothing, b"d/mnt/victim"),
        "tar entry `d/mnt/victim`: `d/mnt` is on another mount"
    );
    assert_eq!(
        apply(&nothing, b"d/mnt"),
        "tar entry `d/mnt`: `d/mnt` is on another mount"
    );
    assert_eq!(apply(&nothing, b"d"), "tar entry `d`: `d/mnt` is on another mount");
    assert!(dir.path().join("d/mnt/victim").exists());
}

#[test]
fn a_full_disk_names_the_file() {
    if !inside("a_full_disk_names_the_file") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k,nr_inodes=10", "tmpfs"])
        .arg(dir.path()));
    let unpack = |tar: &[u8], into: &str| {
        let error = support::unpack(tar, &dir.path().join(into)).unwrap_err();
        assert_eq!(error.kind(), ckpt::ErrorKind::Restore);
        format!("{error}: {}", std::error::Error::source(&error).unwrap())
    };
    let tar = raw_tar::Tar::new()
        .file("small", b"x")
        .file("large", &vec![1; 100_000])
        .finish();
    assert_eq!(
        unpack(&tar, "a"),
        "cannot write `large`: No space left on device (os error 28)"
    );
    fs::remove_dir_all(dir.path().join("a")).unwrap();
    let many = (0..20).fold(raw_tar::Tar::new(), |tar, i| tar.file(&format!("f{i:02}"), b""));
    assert_eq!(
        unpack(&many.finish(), "b"),
        "cannot create `f08`: No space left on device (os error 28)"
    );
}

#[test]
fn shared_memory_comes_with_the_options_of_its_tmpfs() {
    if !inside("shared_memory_comes_with_the_options_of_its_tmpfs") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let shm = dir.path().join("shm");
    fs::create_dir(&shm).unwrap();
    let options = "size=128k,nr_inodes=50,mode=1770";
    run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "shm"])
        .arg(&shm));
    fs::write(shm.join("PostgreSQL.123"), b"shared").unwrap();
    sparse(&shm.join("sem.x"), 65536, &[(4096, b"x")]);
    let config = serde_json::json!({"mounts": [{"destination": "/dev/shm", "type": "bind", "source": shm}]});
    let source = ckpt::capture::devshm::source(&config, Path::new("/")).unwrap();
    let (options, warnings) = ckpt::capture::devshm::options(&source, &mounts()).unwrap();
    assert_eq!(options, ["size=128k", "nr_inodes=50", "mode=1770"].map(str::to_owned));
    assert_eq!(warnings, [""; 0]);
    let (mut part, warnings) = ckpt::capture::devshm::capture(&source).unwrap();
    assert_eq!(warnings, [""; 0]);
    let expected = seen(&shm);
    let mut tar = Vec::new();
    part.write(&mut tar).unwrap();
    assert_eq!((part.name(), part.size()), ("devshm-checkpoint.tar", tar.len() as u64));
    let into = dir.path().join("into");
    fs::create_dir(&into).unwrap();
    run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", &options.join(","), "shm"])
        .arg(&into));
    let no_devices = Options {
        devices: false,
        ..EVERYTHING
    };
    tree::apply_full(open_root(&into).unwrap().as_fd(), &tar[..], no_devices).unwrap();
    assert_same(&expected, &seen(&into));
}

/// The rootfs-diff.tar and deleted.files of podman 5.4.2: without directories that were there before, and with a directory
/// that was removed and made anew among the deleted ones although the tar has a file in it.
#[test]
fn changes_as_podman_writes_them() {
    if !inside("changes_as_podman_writes_them") {
        return;
    }
    let overlay = Overlay::new("", 1, |lower| {
        for dir in ["etc/old", "opt/dir/sub", "opt/gone", "srv"] {
            fs::create_dir_all(lower[0].join(dir)).unwrap();
        }
        for file in ["etc/old/a", "etc/old/b", "opt/dir/one", "opt/dir/two", "opt/gone/x"] {
            fs::write(lower[0].join(file), file).unwrap();
        }
        chmod(&lower[0].join("opt/dir"), 0o2750);
        chown(&lower[0].join("etc"), 12, 34);
        set_mtime(&lower[0].join("opt"), 1_000_000_000, 5);
    });
    let fixture = |name: &str| fs::read(Path::new("fixtures/tree/podman-5.4.2").join(name)).unwrap();
    let tar = &fixture("rootfs-diff.tar")[..];
    let deleted = deleted::parse(&fixture("deleted.files"), &deleted::Limits::default()).unwrap();
    for name in [
        "plain", "upper-2", "work-2", "merged-2", "upper-3", "work-3", "merged-3",
    ] {
        fs::create_dir(overlay.path(name)).unwrap();
    }
    let before = seen(&overlay.merged());

    let below = open_root(overlay.merged()).unwrap();
    let upper = open_root(overlay.path("upper-2")).unwrap();
    let lower = Some(below.as_fd());
    tree::apply_diff_overlay(upper.as_fd(), Namespace::Trusted, lower, tar, &deleted, EVERYTHING).unwrap();
    overlay.mount("upper-2", "work-2", "merged-2");
    let copy = format!("{}/.", overlay.merged().display());
    run(Command::new("cp").args(["-a", &copy]).arg(overlay.path("plain")));
    overlay.mount("upper-3", "work-3", "merged-3");
    for root in ["plain", "merged-3"] {
        let root = open_root(overlay.path(root)).unwrap();
        tree::apply_diff_plain(root.as_fd(), tar, &deleted, EVERYTHING).unwrap();
    }

    for root in ["plain", "merged-2", "merged-3"] {
        let found = seen(&overlay.path(root));
        let names: Vec<_> = found.keys().map(|path| path.to_str().unwrap()).collect();
        let expected = [
            "",
            "added",
            "count",
            "etc",
            "etc/old",
            "etc/old/c",
            "opt",
            "opt/dir",
            "opt/dir/sub",
            "opt/dir/two",
            "srv",
            "srv/fifo",
            "srv/new",
            "srv/new/dir",
            "srv/new/hard",
            "srv/new/link",
        ];
        assert_eq!(names, expected, "{root}");
        // What the change does not describe is as it was.
        for path in ["etc", "opt", "opt/dir", "opt/dir/sub", "opt/dir/two"] {
            assert_eq!(found[Path::new(path)], before[Path::new(path)], "{path} in {root}");
        }
        assert_eq!(found[Path::new("srv/new")].mtime, (981_173_106, 0), "{root}");
        assert_eq!(
            found[Path::new("srv/new/hard")].first_link,
            Path::new("added"),
            "{root}"
        );
    }
}

#[test]
fn whiteouts_made_of_attributes_hide_too() {
    if !inside("whiteouts_made_of_attributes_hide_too") {
        return;
    }
    let overlay = Overlay::new("", 2, |lower| {
        fs::create_dir_all(lower[1].join("d")).unwrap();
        ["d/hidden", "d/shown", "d/other"]
            .iter()
            .for_each(|file| fs::write(lower[1].join(file), file).unwrap());
        fs::create_dir(lower[0].join("d")).unwrap();
        set_xattr(&lower[0].join("d"), "trusted.overlay.opaque", b"x");
        fs::write(lower[0].join("d/hidden"), b"").unwrap();
        set_xattr(&lower[0].join("d/hidden"), "trusted.overlay.whiteout", b"y");
    });
    let root = overlay.merged();
    assert!(!root.join("d/hidden").exists(), "this kernel knows them");
    fs::remove_file(root.join("d/other")).unwrap();
    let entries = round_trip(&overlay);
    assert_eq!(listing(&entries["deleted.files"]), ["d/other"]);
}

#[test]
fn a_renamed_directory_of_a_lower_layer_is_refused_by_name() {
    if !inside("a_renamed_directory_of_a_lower_layer_is_refused_by_name") {
        return;
    }
    let overlay = Overlay::new(",redirect_dir=on", 2, |lower| {
        fs::create_dir(lower[1].join("old")).unwrap();
        fs::create_dir(lower[0].join("new")).unwrap();
        set_xattr(&lower[0].join("new"), "trusted.overlay.redirect", b"old");
    });
    let error = plan(Wanted::Diff, &overlay.merged(), &mounts())
        .unwrap()
        .capture()
        .unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        cause,
        "`new` of a lower layer is a renamed directory (overlayfs redirect_dir)"
    );
    let capture = capture(Wanted::Auto, &overlay.merged());
    assert_eq!(capture.mode, RootfsMode::Full);
}
