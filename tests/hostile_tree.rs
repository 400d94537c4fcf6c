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

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;

use ckpt::ErrorKind;
use ckpt::tree::{self, Error, Limits, Namespace, Options, TreePath, deleted, open_root};
use raw_tar::{Tar, record};
use support::{ALL, assert_same, look};

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

/// A tar and what is said of it, by reading alone.
type Case = (&'static str, Vec<u8>, &'static str);

fn malformed() -> Vec<Case> {
    vec![
        ("empty input", Vec::new(), "tar entry ``: the tar is truncated here"),
        (
            "no end marker",
            Tar::new().file("a", b"x").unfinished(),
            "tar entry `a`: the tar is truncated here",
        ),
        (
            "one zero block at the end",
            [Tar::new().file("a", b"x").unfinished(), vec![0; 512]].concat(),
            "truncated",
        ),
        (
            "ends within a header",
            Tar::new().file("a", b"x").unfinished()[..300].to_vec(),
            "truncated",
        ),
        (
            "ends within content",
            Tar::new().file("a", &[7; 2000]).unfinished()[..1000].to_vec(),
            "`a`: the tar is truncated",
        ),
        (
            "ends within padding",
            Tar::new().file("a", b"x").unfinished()[..700].to_vec(),
            "`a`: the tar is truncated",
        ),
        (
            "lone zero block",
            [
                Tar::new().file("a", b"").unfinished(),
                vec![0; 512],
                Tar::new().file("b", b"").finish(),
            ]
            .concat(),
            "`a`: data after the end",
        ),
        (
            "garbage behind the end",
            [Tar::new().file("a", b"").finish(), b"x".to_vec()].concat(),
            "`a`: data after the end",
        ),
        (
            "another tar behind the end",
            [Tar::new().file("a", b"").finish(), Tar::new().file("b", b"").finish()].concat(),
            "`a`: data after the end",
        ),
        (
            "zeros without end",
            [Tar::new().file("a", b"").finish(), vec![0; 2 << 20]].concat(),
            "`a`: data after the end",
        ),
        (
            "wrong checksum",
            Tar::new().corrupt("a", 0, b'b').finish(),
            "`b`: header checksum is wrong",
        ),
        (
            "no magic",
            Tar::new().patched("a", 257, &[0; 8]).finish(),
            "`a`: neither a POSIX nor a GNU tar header",
        ),
        (
            "negative size",
            Tar::new().patched("a", 124, &[0xff; 12]).finish(),
            "`a`: header field size is not a number",
        ),
        (
            "size beyond 63 bits",
            Tar::new()
                .patched("a", 124, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff")
                .finish(),
            "`a`: header field size is not a number",
        ),
        (
            "size with a letter",
            Tar::new().patched("a", 124, b"0000000000x\0").finish(),
            "`a`: header field size is not a number",
        ),
        (
            "text behind the NUL of a name",
            Tar::new().patched("a\0b", 0, b"a\0b").finish(),
            "`a`: header field name holds text behind a NUL",
        ),
        (
            "unknown entry type",
            Tar::new().typed("a", b'Z', "").finish(),
            "`a`: entry type 'Z' is not supported",
        ),
        (
            "GNU dump directory",
            Tar::new().typed("a", b'D', "").finish(),
            "`a`: entry type 'D' is not supported",
        ),
        (
            "GNU multi-volume",
            Tar::new().typed("a", b'M', "").finish(),
            "`a`: entry type 'M' is not supported",
        ),
        (
            "contiguous file",
            Tar::new().typed("a", b'7', "").finish(),
            "`a`: entry type '7' is not supported",
        ),
        (
            "solaris header",
            Tar::new().typed("a", b'X', "").finish(),
            "`a`: entry type 'X' is not supported",
        ),
        (
            "directory with content",
            Tar::new().with_content("a/", b'5', b"x").finish(),
            "`a/`: 1 bytes of content",
        ),
        (
            "link with content",
            Tar::new().with_content("a", b'2', b"x").finish(),
            "`a`: 1 bytes of content",
        ),
        (
            "file named as a directory",
            Tar::new().with_content("a/", b'0', b"x").finish(),
            "`a/`: file with the name of a directory",
        ),
        (
            "root as a file",
            Tar::new().with_content(".", b'0', b"x").finish(),
            "`.`: the root of the tree is not a directory",
        ),
        (
            "root as a link",
            Tar::new().typed("./.", b'2', "/").finish(),
            "the root of the tree is not a directory",
        ),
        (
            "symbolic link to nothing",
            Tar::new().typed("a", b'2', "").finish(),
            "`a`: symbolic link target is empty",
        ),
        (
            "device number too large",
            Tar::new().device("a", b'3', 0o7777777, 0).finish(),
            "`a`: device number is out of range",
        ),
        (
            "size of 64 bits in PAX",
            Tar::new()
                .pax(&record("size", b"18446744073709551615"))
                .file("a", b"")
                .finish(),
            "malformed value of PAX key `size`",
        ),
        (
            "size of 63 bits in PAX",
            Tar::new()
                .pax(&record("size", b"9223372036854775807"))
                .file("a", b"")
                .finish(),
            "`a`: content of more than 100000 bytes",
        ),
        (
            "owner that means no change",
            Tar::new().pax(&record("uid", b"4294967295")).file("a", b"").finish(),
            "`a`: owner or group 4294967295 is out of range",
        ),
        (
            "owner beyond 32 bits",
            Tar::new().pax(&record("gid", b"4294967296")).file("a", b"").finish(),
            "is out of range",
        ),
    ]
}

fn paths() -> Vec<Case> {
    let long = "n".repeat(256);
    vec![
        (
            "absolute name",
            Tar::new().file("/etc/passwd", b"").finish(),
            "`/etc/passwd`: absolute path",
        ),
        (
            "absolute name in PAX",
            Tar::new().pax(&record("path", b"/outside/x")).file("a", b"").finish(),
            "`/outside/x`: absolute",
        ),
        (
            "absolute long name",
            Tar::new().gnu_long(b'L', b"/outside/x\0").file("a", b"").finish(),
            "`/outside/x`: absolute",
        ),
        (
            "absolute by prefix",
            Tar::new().patched("a", 345, b"/").finish(),
            "`//a`: absolute path",
        ),
        (
            "dot dot",
            Tar::new().file("../outside/new", b"").finish(),
            "`../outside/new`: `..` in the path",
        ),
        (
            "dot dot within",
            Tar::new().file("a/../../outside/new", b"").finish(),
            "`..` in the path",
        ),
        (
            "dot dot at the end",
            Tar::new().typed("a/..", b'5', "").finish(),
            "`..` in the path",
        ),
        (
            "dot dot in PAX",
            Tar::new()
                .pax(&record("path", b"../outside/new"))
                .file("a", b"")
                .finish(),
            "`..` in the path",
        ),
        (
            "dot dot by prefix",
            Tar::new().patched("outside", 345, b"..").finish(),
            "`../outside`: `..` in the path",
        ),
        (
            "prefix in a GNU header",
            Tar::new()
                .patched_all("a", &[(257, b"ustar  \0"), (345, b"../outside")])
                .finish(),
            "`a`: header field prefix holds text",
        ),
        (
            "dot dot in a sparse name",
            Tar::new()
                .pax(
                    &[
                        record("GNU.sparse.major", b"1"),
                        record("GNU.sparse.minor", b"0"),
                        record("GNU.sparse.name", b"../x"),
                        record("GNU.sparse.realsize", b"0"),
                    ]
                    .concat(),
                )
                .file("a", &block(b"0\n"))
                .finish(),
            "`../x`: `..` in the path",
        ),
        (
            "empty component",
            Tar::new().file("a//b", b"").finish(),
            "`a//b`: empty or `.` component",
        ),
        (
            "dot component",
            Tar::new().file("a/./b", b"").finish(),
            "`a/./b`: empty or `.` component",
        ),
        ("empty name", Tar::new().file("", b"").finish(), "``: empty path"),
        (
            "NUL in a PAX name",
            Tar::new().pax(&record("path", b"a\0b")).file("a", b"").finish(),
            "malformed value of PAX key `path`",
        ),
        (
            "name of 256 bytes",
            Tar::new().pax(&record("path", long.as_bytes())).file("a", b"").finish(),
            "file name of 256 bytes",
        ),
        (
            "path too long",
            Tar::new()
                .pax(&record("path", "a/".repeat(1001).as_bytes()))
                .file("a", b"")
                .finish(),
            "path of 2002 bytes",
        ),
        (
            "path too deep",
            Tar::new().file("1/2/3/4/5/6/7/8/9/10/11", b"").finish(),
            "nested too deeply",
        ),
        (
            "hard link out",
            Tar::new().typed("a", b'1', "../outside/victim").finish(),
            "`a`: hard link target: `..` in the path",
        ),
        (
            "hard link to an absolute name",
            Tar::new().typed("a", b'1', "/outside/victim").finish(),
            "hard link target: absolute path",
        ),
        (
            "hard link to nothing",
            Tar::new().typed("a", b'1', "").finish(),
            "hard link target: empty path",
        ),
        (
            "hard link forward",
            Tar::new().typed("a", b'1', "b").file("b", b"").finish(),
            "`a`: hard link to `b`, which",
        ),
        (
            "hard link to itself",
            Tar::new().typed("a", b'1', "a").finish(),
            "`a`: hard link to `a`, which",
        ),
        (
            "hard link to a directory",
            Tar::new().directory("d/").typed("a", b'1', "d").finish(),
            "`a`: hard link to `d`, which",
        ),
        (
            "file twice",
            Tar::new().file("a", b"").file("a", b"").finish(),
            "`a`: the tar has this path twice",
        ),
        (
            "file twice in two spellings",
            Tar::new().file("a", b"").file("./a", b"").finish(),
            "`./a`: the tar has this path twice",
        ),
        (
            "directory twice",
            Tar::new().directory("d/").directory("d/").finish(),
            "`d/`: the tar has this path twice",
        ),
        (
            "directory, then file of its name",
            Tar::new().directory("d/").file("d", b"").finish(),
            "`d`: the tar has this path twice",
        ),
        (
            "root twice",
            Tar::new().directory("./").directory(".").finish(),
            "`.`: the tar has this path twice",
        ),
    ]
}

fn extensions() -> Vec<Case> {
    let path = |name: &str| record("path", name.as_bytes());
    let giant = |kind: u8| {
        let mut tar = Tar::new().patched_type("x", kind, 3 << 30);
        tar.extend([b'x'; 5000]);
        tar
    };
    vec![
        (
            "global PAX header",
            Tar::new().global(&path("evil")).file("a", b"").finish(),
            "global PAX header",
        ),
        (
            "two PAX headers",
            Tar::new().pax(&path("b")).pax(&path("c")).file("a", b"").finish(),
            "more than one extension header",
        ),
        (
            "PAX, then long name",
            Tar::new()
                .pax(&path("b"))
                .gnu_long(b'L', b"c\0")
                .file("a", b"")
                .finish(),
            "extensions mixed",
        ),
        (
            "long name, then PAX",
            Tar::new()
                .gnu_long(b'L', b"c\0")
                .pax(&path("b"))
                .file("a", b"")
                .finish(),
            "extensions mixed",
        ),
        (
            "long link, then PAX",
            Tar::new()
                .gnu_long(b'K', b"c\0")
                .pax(&path("b"))
                .typed("a", b'2', "t")
                .finish(),
            "extensions mixed",
        ),
        (
            "two long names",
            Tar::new()
                .gnu_long(b'L', b"b\0")
                .gnu_long(b'L', b"c\0")
                .file("a", b"")
                .finish(),
            "more than one extension",
        ),
        (
            "long name with two names",
            Tar::new().gnu_long(b'L', b"b\0c\0").file("a", b"").finish(),
            "NUL in the path",
        ),
        (
            "empty long name",
            Tar::new().gnu_long(b'L', b"\0").file("a", b"").finish(),
            "NUL in the path",
        ),
        (
            "PAX header without an entry",
            Tar::new().file("a", b"").pax(&path("b")).finish(),
            "extension header without an entry",
        ),
        (
            "long name without an entry",
            Tar::new().file("a", b"").gnu_long(b'L', b"b\0").finish(),
            "extension header without an entry",
        ),
        (
            "the same key twice",
            Tar::new().pax(&[path("b"), path("c")].concat()).file("a", b"").finish(),
            "PAX key `path` twice",
        ),
        (
            "unknown key",
            Tar::new()
                .pax(&record("SCHILY.acl.access", b"u::rwx"))
                .file("a", b"")
                .finish(),
            "unknown PAX key `SCHILY.acl.access`",
        ),
        (
            "charset that changes names",
            Tar::new().pax(&record("hdrcharset", b"EBCDIC")).file("a", b"").finish(),
            "PAX key `hdrcharset`",
        ),
        (
            "record length too small",
            Tar::new().pax(b"5 path=evil\n").file("a", b"").finish(),
            "malformed PAX record",
        ),
        (
            "record length too large",
            Tar::new().pax(b"99 path=evil\n").file("a", b"").finish(),
            "malformed PAX record",
        ),
        (
            "record length without end",
            Tar::new()
                .pax(b"99999999999999999999999999 path=evil\n")
                .file("a", b"")
                .finish(),
            "malformed PAX record",
        ),
        (
            "record without newline",
            Tar::new().pax(b"11 path=abcd").file("a", b"").finish(),
            "malformed PAX record",
        ),
        (
            "sizes that disagree",
            Tar::new().pax(&record("size", b"1024")).file("a", b"x").finish(),
            "`a`: header says 1 bytes, PAX header says 1024",
        ),
        (
            "size in PAX hides an entry",
            Tar::new()
                .pax(&record("size", b"0"))
                .file("a", &Tar::new().file("evil", b"").unfinished())
                .finish(),
            "`a`: header says 512 bytes, PAX header says 0",
        ),
        ("giant PAX header", giant(b'x'), "extension header of 3221225472 bytes"),
        ("giant long name", giant(b'L'), "extension header of 3221225472 bytes"),
        ("giant long link", giant(b'K'), "extension header of 3221225472 bytes"),
        (
            "records in the padding of a PAX header",
            Tar::new().pax_padded(&path("b"), &path("evil")).file("a", b"").finish(),
            "data in the padding of an extension header",
        ),
        (
            "PAX header larger than the tar",
            Tar::new().patched_type("x", b'x', 9000),
            "the tar is truncated here",
        ),
        (
            "attribute name too long",
            Tar::new()
                .pax(&record(&format!("SCHILY.xattr.user.{}", "x".repeat(300)), b""))
                .file("a", b"")
                .finish(),
            "malformed value of PAX key `SCHILY.xattr.user.",
        ),
        (
            "attribute without a name",
            Tar::new().pax(&record("SCHILY.xattr.", b"")).file("a", b"").finish(),
            "malformed value of PAX key",
        ),
    ]
}

/// Pads to whole blocks.
fn block(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn sparse() -> Vec<Case> {
    let pax = |map: &[u8], size: &str| {
        let keys = [
            record("GNU.sparse.major", b"1"),
            record("GNU.sparse.minor", b"0"),
            record("GNU.sparse.name", b"s"),
            record("GNU.sparse.realsize", size.as_bytes()),
        ];
        Tar::new().pax(&keys.concat()).file("a", map).finish()
    };
    let old = |map: &str, blocks: &str| {
        let keys = [
            record("GNU.sparse.size", b"10"),
            record("GNU.sparse.numblocks", blocks.as_bytes()),
            record("GNU.sparse.map", map.as_bytes()),
        ];
        Tar::new().pax(&keys.concat()).file("a", b"xx").finish()
    };
    let gnu = |regions: &[(u64, u64)], size, data: &[u8]| Tar::new().gnu_sparse("a", regions, size, data).finish();
    let many = format!("51\n{}", "0\n0\n".repeat(51));
    vec![
        (
            "regions overlap",
            pax(&[block(b"2\n0\n2\n1\n2\n"), b"xxxx".to_vec()].concat(), "10"),
            "`s`: regions of the sparse map overlap",
        ),
        (
            "region behind the end",
            pax(&[block(b"1\n9\n2\n"), b"xx".to_vec()].concat(), "10"),
            "reach behind the end",
        ),
        (
            "region wraps around",
            pax(&block(b"1\n9223372036854775807\n9223372036854775807\n"), "10"),
            "reach behind the end",
        ),
        (
            "more data than the map",
            pax(&[block(b"1\n0\n2\n"), b"xxx".to_vec()].concat(), "10"),
            "data of 3 bytes for a sparse map of 2",
        ),
        (
            "less data than the map",
            pax(&[block(b"1\n0\n3\n"), b"xx".to_vec()].concat(), "10"),
            "data of 2 bytes for a sparse map of 3",
        ),
        (
            "map is not decimal",
            pax(&block(b"1\n0x1\n2\n"), "10"),
            "`s`: sparse map is not a list of decimal numbers",
        ),
        (
            "map number without end",
            pax(&[b'1'; 1024], "10"),
            "sparse map is not a list of decimal numbers",
        ),
        (
            "map larger than the content",
            pax(&block(b"9\n0\n0\n"), "10"),
            "sparse map is not a list of decimal numbers",
        ),
        (
            "too many regions",
            pax(&block(many.as_bytes()), "10"),
            "sparse map has more than 50 regions",
        ),
        (
            "count of a thousand million regions",
            pax(&block(b"1000000000\n"), "10"),
            "sparse map has more than 50 regions",
        ),
        (
            "keys of one form without its map",
            Tar::new()
                .pax(&record("GNU.sparse.realsize", b"10"))
                .file("a", b"")
                .finish(),
            "`a`: sparse file in an unknown form",
        ),
        (
            "keys of two forms",
            Tar::new()
                .pax(
                    &[
                        record("GNU.sparse.major", b"1"),
                        record("GNU.sparse.minor", b"0"),
                        record("GNU.sparse.numblocks", b"0"),
                        record("GNU.sparse.name", b"s"),
                        record("GNU.sparse.realsize", b"0"),
                    ]
                    .concat(),
                )
                .file("a", &block(b"0\n"))
                .finish(),
            "`s`: sparse file in an unknown form",
        ),
        (
            "sparse directory",
            Tar::new()
                .pax(&record("GNU.sparse.name", b"s"))
                .directory("a/")
                .finish(),
            "sparse file in an unknown form",
        ),
        (
            "0.1 map of an odd length",
            old("0,2,5", "1"),
            "`a`: sparse file in an unknown form",
        ),
        (
            "0.1 map of a length beyond 63 bits",
            old("0,2", "9223372036854775807"),
            "`a`: sparse file in an unknown form",
        ),
        (
            "0.1 map of another length",
            old("0,2", "2"),
            "`a`: sparse file in an unknown form",
        ),
        (
            "0.1 map out of order",
            old("5,1,0,1", "2"),
            "`a`: regions of the sparse map overlap",
        ),
        (
            "old GNU regions overlap",
            gnu(&[(0, 2), (1, 2)], 10, b"xxxx"),
            "`a`: regions of the sparse map overlap",
        ),
        (
            "old GNU region behind the end",
            gnu(&[(0, 20)], 10, &[0; 20]),
            "reach behind the end",
        ),
        (
            "old GNU data of another length",
            gnu(&[(0, 4)], 10, b"xx"),
            "data of 2 bytes for a sparse map of 4",
        ),
        (
            "old GNU with too many regions",
            gnu(&vec![(0, 0); 60], 10, b""),
            "sparse map has more than 50 regions",
        ),
        (
            "old GNU type in a POSIX header",
            Tar::new().with_content("a", b'S', b"").finish(),
            "`a`: sparse file in an unknown form",
        ),
    ]
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
    for (name, tar, expected) in [malformed(), paths(), extensions(), sparse(), bombs()]
        .into_iter()
        .flatten()
    {
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
        let cases: Vec<Vec<u8>> = [malformed(), paths(), extensions(), sparse()]
            .into_iter()
            .flatten()
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
