//! Changes of overlays: captured from real overlay mounts, applied to plain copies and to other overlays. Needs root.
//!
//! Every test runs itself again in a private mount namespace, so that no mount outlives it.

#[path = "support/tree.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use ckpt::capture::Mount;
use ckpt::capture::rootfs::{Capture, Wanted, plan};
use ckpt::manifest::RootfsMode;
use ckpt::tree::{self, Namespace, Options, TreePath, deleted, open_root};
use support::{ALL, Look, Node, acl, assert_same, chmod, chown, look, mknod, run, set_mtime, set_xattr, sparse};

/// Whether this process is the one inside; else runs the test of this name there.
fn inside(test: &str) -> bool {
    const INSIDE: &str = "CKPT_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut command = Command::new("unshare");
    command
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
fn mounts() -> Vec<Mount> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines()
        .map(|line| {
            let (left, right) = line.split_once(" - ").unwrap();
            let left: Vec<_> = left.split(' ').collect();
            let right: Vec<_> = right.split(' ').collect();
            Mount {
                mount_point: left[4].into(),
                root: left[3].into(),
                fs_type: right[0].to_owned(),
                super_options: right[2].as_bytes().to_vec(),
            }
        })
        .collect()
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
    look(root, Look { root: true, ..ALL })
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
