//! Tars and lists made to harm: each is refused, named by its one defect, and touches nothing outside the tree.
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
#[path = "support/tar_defects.rs"]
mod tar_defects;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;

use ckpt::ErrorKind;
use ckpt::tree::{self, Error, Limits, Namespace, Options, TreePath, deleted, open_root};
use raw_tar::{Tar, record};
use support::{ALL, assert_same, look};
use tar_defects::Case;

/// A directory with a tree to unpack into and things beside it that must stay as they are.
struct Sandbox(tempfile::TempDir);

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("tree")).unwrap();
        fs::create_dir_all(dir.path().join("outside/dir")).unwrap();
        fs::write(dir.path().join("outside/victim"), b"victim").unwrap();
        fs::write(dir.path().join("outside/dir/victim"), b"victim").unwrap();
        Self(dir)
    }

    fn tree(&self) -> std::path::PathBuf {
        self.0.path().join("tree")
    }

    fn outside(&self) -> std::path::PathBuf {
        self.0.path().join("outside")
    }

    /// Does something to the tree and checks that nothing happened outside.
    fn attempt<T>(&self, attempt: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> T) -> T {
        let before = look(&self.outside(), ALL);
        let result = attempt(open_root(self.tree()).unwrap().as_fd());
        assert_same(&before, &look(&self.outside(), ALL));
        let names: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 2, "nothing appeared beside the tree: {names:?}");
        result
    }
}

fn options() -> Options {
    Options {
        limits: small(),
        scope: support::scope(),
        ..Options::default()
    }
}

fn small() -> Limits {
    Limits {
        entries: 20,
        bytes: 100_000,
        path: 2000,
        depth: 10,
        pax: 10_000,
        regions: 50,
    }
}

fn text(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

fn bombs() -> Vec<Case> {
    let files = (0..21).fold(Tar::new(), |tar, i| tar.file(&format!("f{i}"), b""));
    let bytes = (0..3).fold(Tar::new(), |tar, i| tar.file(&format!("f{i}"), &[0; 40_000]));
    let mut claims = Tar::new().patched_type("terabyte", b'0', 1 << 40);
    claims.extend([0; 1024]);
    vec![
        ("too many entries", files.finish(), "`f20`: more than 20 entries"),
        (
            "too many bytes",
            bytes.finish(),
            "`f2`: content of more than 100000 bytes",
        ),
        (
            "a file that claims a tebibyte",
            claims,
            "`terabyte`: content of more than 100000 bytes",
        ),
    ]
}

#[test]
fn each_defect_is_named_by_reading_and_by_unpacking() {
    for (name, tar, expected) in tar_defects::all().into_iter().chain(bombs()) {
        let error = tree::check(&tar[..], small(), |_| Ok(())).expect_err(name);
        assert!(
            text(&error).contains(expected),
            "{name}: {} (not: {expected})",
            text(&error)
        );
        assert_eq!(error.kind(), ErrorKind::Archive, "{name}");
        let sandbox = Sandbox::new();
        let unpacked = sandbox.attempt(|tree| {
            tree::apply_full(
                tree,
                &tar[..],
                Options {
                    devices: true,
                    ..options()
                },
            )
        });
        assert_eq!(
            text(&unpacked.expect_err(name)),
            text(&error),
            "{name}: unpacking says the same"
        );
    }
}

#[test]
fn an_attribute_with_a_newline_is_an_attribute() {
    let injected = record("SCHILY.xattr.user.a", b"x\n13 path=evil\n");
    let tar = Tar::new().pax(&injected).file("honest", b"").finish();
    let sandbox = Sandbox::new();
    sandbox
        .attempt(|tree| tree::apply_full(tree, &tar[..], options()))
        .unwrap();
    assert!(!sandbox.tree().join("evil").exists());
    assert_eq!(
        support::xattrs(&sandbox.tree().join("honest"))[&b"user.a"[..]],
        b"x\n13 path=evil\n"
    );
}

#[test]
fn nothing_is_made_through_a_symbolic_link_of_the_tar() {
    let outside = "../outside";
    for (name, tar) in [
        (
            "file through a link",
            Tar::new().typed("l", b'2', outside).file("l/new", b"x").finish(),
        ),
        (
            "directory through a link",
            Tar::new().typed("l", b'2', outside).directory("l/new/").finish(),
        ),
        (
            "file through a link deeper",
            Tar::new().typed("l", b'2', outside).file("l/dir/new", b"x").finish(),
        ),
        (
            "link through a link",
            Tar::new()
                .typed("l", b'2', outside)
                .file("f", b"")
                .typed("l/new", b'1', "f")
                .finish(),
        ),
        (
            "link to a file through a link",
            Tar::new()
                .typed("l", b'2', outside)
                .typed("a", b'1', "l/victim")
                .finish(),
        ),
        (
            "link over a directory, then a file in it",
            Tar::new()
                .directory("d/")
                .typed("d", b'2', outside)
                .file("d/x", b"")
                .finish(),
        ),
        (
            "chain of links",
            Tar::new()
                .typed("a", b'2', "..")
                .typed("b", b'2', "a/outside")
                .file("b/new", b"")
                .finish(),
        ),
    ] {
        let sandbox = Sandbox::new();
        let error = sandbox
            .attempt(|tree| tree::apply_full(tree, &tar[..], options()))
            .expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Archive, "{name}: {}", text(&error));
    }
}

#[test]
fn metadata_is_set_on_no_target_of_a_link() {
    let tar = Tar::new().typed("l", b'2', "../outside/victim").finish();
    let sandbox = Sandbox::new();
    sandbox
        .attempt(|tree| tree::apply_full(tree, &tar[..], options()))
        .unwrap();
}

#[test]
fn devices_are_made_only_where_they_belong() {
    for kind in [b'3', b'4'] {
        let tar = Tar::new().device("disk", kind, 8, 0).finish();
        let sandbox = Sandbox::new();
        let error = sandbox
            .attempt(|tree| tree::apply_full(tree, &tar[..], options()))
            .unwrap_err();
        assert_eq!(text(&error), "tar entry `disk`: device node");
        assert!(!sandbox.tree().join("disk").exists());
    }
}

#[test]
fn attributes_of_unknown_namespaces_are_refused_and_host_labels_left_out() {
    let sandbox = Sandbox::new();
    for name in ["security.other", "system.other", "other"] {
        let tar = Tar::new()
            .pax(&record(&format!("SCHILY.xattr.{name}"), b"x"))
            .file("a", b"")
            .finish();
        let error = sandbox
            .attempt(|tree| tree::apply_full(tree, &tar[..], options()))
            .unwrap_err();
        assert_eq!(
            text(&error),
            format!("tar entry `a`: extended attribute `{name}` is not allowed here")
        );
    }
    let tar = Tar::new()
        .pax(&record("SCHILY.xattr.security.selinux", b"x"))
        .file("a", b"")
        .finish();
    sandbox
        .attempt(|tree| tree::apply_full(tree, &tar[..], options()))
        .unwrap();
    assert_eq!(support::xattrs(&sandbox.tree().join("a")).len(), 0);
}

#[test]
fn a_tree_that_is_not_empty_is_not_unpacked_into() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.tree().join("there"), b"x").unwrap();
    let tar = Tar::new().file("a", b"").finish();
    let error = sandbox
        .attempt(|tree| tree::apply_full(tree, &tar[..], options()))
        .unwrap_err();
    assert_eq!(
        text(&error),
        "the directory to unpack into is not empty: it holds `there`"
    );
}

// Changes onto an existing tree, whose links lead where they like.

fn existing(sandbox: &Sandbox) {
    let tree = sandbox.tree();
    symlink("../outside", tree.join("out")).unwrap();
    symlink("../outside/victim", tree.join("victim-link")).unwrap();
    fs::create_dir_all(tree.join("dir/sub")).unwrap();
    symlink("../../outside", tree.join("dir/out")).unwrap();
    fs::hard_link(sandbox.outside().join("victim"), tree.join("victim-hard-link")).unwrap();
}

#[test]
fn a_change_goes_through_no_link_of_the_tree() {
    for (name, tar) in [
        ("file through a link", Tar::new().file("out/new", b"x").finish()),
        (
            "file through a deeper link",
            Tar::new().file("dir/out/new", b"x").finish(),
        ),
        ("directory through a link", Tar::new().directory("out/new/").finish()),
        (
            "over a file behind a link",
            Tar::new().file("out/victim", b"x").finish(),
        ),
        (
            "hard link to what the tar does not bring",
            Tar::new().typed("new", b'1', "out/victim").finish(),
        ),
        (
            "hard link to a file of the tree",
            Tar::new().typed("new", b'1', "victim-hard-link").finish(),
        ),
    ] {
        let sandbox = Sandbox::new();
        existing(&sandbox);
        let error = sandbox
            .attempt(|tree| tree::apply_diff_plain(tree, &tar[..], &[], options()))
            .expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Archive, "{name}: {}", text(&error));
    }
}

#[test]
fn a_change_replaces_links_and_not_what_they_point_to() {
    for (name, tar) in [
        ("file over a link", Tar::new().file("victim-link", b"new").finish()),
        (
            "file over a link to a directory",
            Tar::new().file("out", b"new").finish(),
        ),
        (
            "directory over a link to a directory",
            Tar::new().directory("out/").file("out/victim", b"x").finish(),
        ),
        (
            "file over a hard link",
            Tar::new().file("victim-hard-link", b"new").finish(),
        ),
        (
            "file over a directory with links",
            Tar::new().file("dir", b"new").finish(),
        ),
    ] {
        let sandbox = Sandbox::new();
        existing(&sandbox);
        let victim = || fs::read(sandbox.outside().join("victim")).unwrap();
        let unpacked = tree::apply_diff_plain(open_root(sandbox.tree()).unwrap().as_fd(), &tar[..], &[], options());
        unpacked.unwrap_or_else(|e| panic!("{name}: {}", text(&e)));
        assert_eq!(victim(), b"victim", "{name}");
        assert!(sandbox.outside().join("dir/victim").exists(), "{name}");
    }
}

fn delete(sandbox: &Sandbox, json: &str) -> Result<(), Error> {
    let paths = deleted::parse(json.as_bytes(), &deleted::Limits::default())?;
    let tar = Tar::new().finish();
    sandbox
        .attempt(|tree| tree::apply_diff_plain(tree, &tar[..], &paths, options()))
        .map(drop)
}

#[test]
fn deletions_stay_in_the_tree() {
    for (json, expected) in [
        (r#"["/../outside/victim"]"#, "`..` in the path"),
        (r#"["../outside/victim"]"#, "`..` in the path"),
        (r#"["/dir/../../outside"]"#, "`..` in the path"),
        (r#"["//outside"]"#, "absolute path"),
        (r#"["/out/victim"]"#, "`out/victim`: `out` is not a directory"),
        (r#"["/dir/out/dir"]"#, "`dir/out/dir`: `dir/out` is not a directory"),
        (r#"["/"]"#, "empty path"),
        (r#"["/."]"#, "the root of the tree cannot be deleted"),
    ] {
        let sandbox = Sandbox::new();
        existing(&sandbox);
        let error = delete(&sandbox, json).unwrap_err();
        assert!(text(&error).contains(expected), "{json}: {}", text(&error));
        assert_eq!(error.kind(), ErrorKind::Archive);
    }
}

#[test]
fn deletions_take_links_and_not_what_they_point_to() {
    let sandbox = Sandbox::new();
    existing(&sandbox);
    fs::remove_file(sandbox.tree().join("victim-hard-link")).unwrap();
    delete(&sandbox, r#"["/out", "/victim-link", "/dir", "/was/never/there"]"#).unwrap();
    assert_eq!(fs::read_dir(sandbox.tree()).unwrap().count(), 0);
}

// Changes into the upper directory of an overlay.

fn into_upper(tar: &[u8], paths: &[&str]) -> Result<(), Error> {
    let sandbox = Sandbox::new();
    let paths: Vec<_> = paths
        .iter()
        .map(|path| TreePath::parse(path.as_bytes(), 100, 10).unwrap())
        .collect();
    let options = Options {
        devices: true,
        ..options()
    };
    sandbox
        .attempt(|upper| tree::apply_diff_overlay(upper, Namespace::Trusted, None, tar, &paths, options))
        .map(drop)
}

#[test]
fn an_upper_layer_gets_no_mark_that_the_change_did_not_earn() {
    let attribute = |name: &str, value: &[u8]| record(&format!("SCHILY.xattr.{name}"), value);
    for (name, tar, expected) in [
        (
            "whiteout as a device",
            Tar::new().device("etc", b'3', 0, 0).finish(),
            "`etc`: device node",
        ),
        (
            "redirect",
            Tar::new()
                .pax(&attribute("trusted.overlay.redirect", b"/etc"))
                .directory("d/")
                .finish(),
            "`d/`: extended attribute `trusted.overlay.redirect` is not allowed here",
        ),
        (
            "metacopy",
            Tar::new()
                .pax(&attribute("trusted.overlay.metacopy", b""))
                .file("f", b"")
                .finish(),
            "`f`: extended attribute `trusted.overlay.metacopy` is not allowed here",
        ),
        (
            "opaque file",
            Tar::new()
                .pax(&attribute("trusted.overlay.opaque", b"y"))
                .file("f", b"")
                .finish(),
            "`f`: extended attribute `trusted.overlay.opaque` is not allowed here",
        ),
        (
            "opaque with another value",
            Tar::new()
                .pax(&attribute("trusted.overlay.opaque", b"x"))
                .directory("d/")
                .finish(),
            "`d/`: extended attribute `trusted.overlay.opaque` is not allowed here",
        ),
    ] {
        assert_eq!(
            text(&into_upper(&tar, &[]).expect_err(name)),
            format!("tar entry {expected}"),
            "{name}"
        );
    }
}

#[test]
fn a_directory_that_the_change_does_not_describe_is_missing() {
    let file = Tar::new().file("a/b/c", b"").finish();
    assert_eq!(
        text(&into_upper(&file, &[]).unwrap_err()),
        "tar entry `a/b/c`: directory `a` is missing"
    );
    let nothing = Tar::new().finish();
    assert_eq!(
        text(&into_upper(&nothing, &["a/b"]).unwrap_err()),
        "tar entry `a/b`: directory `a` is missing"
    );
}

mod never_panics {
    use super::*;
    use proptest::prelude::*;

    /// Blocks of a tar with some bytes of each changed and the checksums of headers made right again.
    fn mutated() -> impl Strategy<Value = Vec<u8>> {
        let cases: Vec<Vec<u8>> = tar_defects::all()
            .into_iter()
            .map(|(_, tar, _)| tar)
            .filter(|tar| tar.len() >= 1024 && tar.len() < 10_000)
            .collect();
        let change = (
            any::<prop::sample::Index>(),
            prop_oneof![any::<u8>(), Just(b'0'), Just(b'7'), Just(0xff), Just(0)],
        );
        (prop::sample::select(cases), prop::collection::vec(change, 1..6)).prop_map(|(mut tar, changes)| {
            for (at, byte) in changes {
                let at = at.index(tar.len());
                tar[at] = byte;
                let start = at / 512 * 512;
                if let Some(block) = tar.get_mut(start..start + 512)
                    && block[257..].starts_with(b"ustar")
                {
                    raw_tar::sign(block.try_into().unwrap());
                }
            }
            tar
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

        #[test]
        fn on_a_mutated_tar(tar in mutated()) {
            let _ = tree::check(&tar[..], small(), |_| Ok(()));
        }

        #[test]
        fn on_any_list_of_deleted_files(json in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = deleted::parse(&json, &deleted::Limits::default());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn unpacking_a_mutated_tar_stays_inside(tar in mutated()) {
            let sandbox = Sandbox::new();
            // FIFOs and the like are made; what is outside stays.
            let _ = sandbox.attempt(|tree| tree::apply_full(tree, &tar[..], Options { devices: true, ..options() }));
            let sandbox = Sandbox::new();
            existing(&sandbox);
            fs::remove_file(sandbox.tree().join("victim-hard-link")).unwrap();
            let _ = sandbox.attempt(|tree| tree::apply_diff_plain(tree, &tar[..], &[], options()));
        }
    }
}
