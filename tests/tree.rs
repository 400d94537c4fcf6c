//! Trees as tars and back: our own, and those of GNU tar and Python. Most of it needs root: owners, devices, `trusted.*`.
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
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use ckpt::tree::{self, Limits, Packer, TreePath, open_root};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use support::{
    ALL, Look, assert_same, chmod, chown, is_privileged, look, pack, run, run_with, set_mtime, set_xattr, sparse,
    unpack, zoo,
};

#[test]
fn everything_survives_packing_and_unpacking() {
    if !is_privileged() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    zoo(&from);
    let before = look(&from, ALL);
    let tar = pack(&from);
    unpack(&tar, &to).unwrap();
    assert_same(&before, &look(&to, ALL));
    assert_eq!(pack(&to), tar, "the copy packs to the same bytes");
}

#[test]
fn gnu_tar_restores_what_we_pack() {
    if !is_privileged() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    zoo(&from);
    fs::create_dir(&to).unwrap();
    let tar = pack(&from);
    let mut command = Command::new("tar");
    command
        .args(["-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C"])
        .arg(&to);
    let output = run_with(&mut command, &tar);
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    // It finds some of the zoo's times odd, and restores them.
    assert_eq!(
        complaints
            .lines()
            .filter(|line| !line.contains("time stamp"))
            .collect::<Vec<_>>(),
        [""; 0]
    );
    assert_same(&look(&from, ALL), &look(&to, ALL));
}

#[test]
fn python_restores_what_we_pack() {
    if !is_privileged() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    zoo(&from);
    fs::create_dir(&to).unwrap();
    let script = "import io, sys, tarfile\n\
        tar = tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()))\n\
        tar.extractall(sys.argv[1], numeric_owner=True, **({'filter': 'fully_trusted'} if hasattr(tarfile, 'fully_trusted_filter') else {}))\n";
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(&to);
    run_with(&mut command, &pack(&from));
    // Python restores no extended attributes, no times of links, others through floating point, and makes links anew.
    let seen = Look {
        xattrs: false,
        nanoseconds: false,
        links: "fcbp",
        ..ALL
    };
    let (mut expected, mut found) = (look(&from, seen), look(&to, seen));
    for node in expected.values_mut().chain(found.values_mut()) {
        if node.kind == 'l' {
            node.mtime = (0, 0);
        }
        if node.mtime.0 < 0 {
            node.mtime.0 = -1;
        }
    }
    assert_same(&expected, &found);
}

/// A tree that every format of GNU tar can hold.
fn plain_tree(root: &Path) {
    zoo(root);
    for name in ["meta", "block"] {
        fs::remove_file(root.join(name)).unwrap();
    }
    sparse(
        &root.join("many-holes"),
        8 << 20,
        &(0..100).map(|i| (i * 65536, &b"x"[..])).collect::<Vec<_>>(),
    );
}

#[test]
fn we_restore_what_gnu_tar_packs() {
    if !is_privileged() {
        return;
    }
    let posix: &[&str] = &["--format=posix", "--xattrs", "--xattrs-include=*"];
    let cases: [(&[&str], bool); 6] = [
        (posix, true),
        (&["--format=posix", "--xattrs", "--xattrs-include=*", "--sparse"], true),
        (&["--format=posix", "--sparse", "--sparse-version=0.0"], false),
        (&["--format=posix", "--sparse", "--sparse-version=0.1"], false),
        (&["--format=gnu"], false),
        (&["--format=gnu", "--sparse"], false),
    ];
    for (arguments, is_full) in cases {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        if is_full {
            zoo(&from)
        } else {
            plain_tree(&from)
        }
        let mut command = Command::new("tar");
        command
            .args(["-c", "--numeric-owner"])
            .args(arguments)
            .arg("-C")
            .arg(&from)
            .arg(".");
        let tar = run(&mut command).stdout;
        unpack(&tar, &to).unwrap_or_else(|e| panic!("{arguments:?}: {e}"));
        let posix = arguments.contains(&"--format=posix");
        let holes = arguments.contains(&"--sparse");
        // GNU tar makes every FIFO one of its own.
        let seen = Look {
            xattrs: is_full,
            nanoseconds: posix,
            holes,
            root: true,
            links: "fl",
        };
        assert_same(&look(&from, seen), &look(&to, seen));
    }
}

#[test]
fn we_restore_what_python_packs() {
    if !is_privileged() {
        return;
    }
    for format in ["PAX_FORMAT", "GNU_FORMAT"] {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        plain_tree(&from);
        for name in ["ünusual-hole", "all-hole", "many-holes"] {
            fs::remove_file(from.join(name)).unwrap();
        }
        let script = "import sys, tarfile\n\
            tar = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=getattr(tarfile, sys.argv[2]))\n\
            tar.add(sys.argv[1], arcname='.')\n\
            tar.close()\n";
        let tar = run(Command::new("python3").args(["-c", script]).arg(&from).arg(format)).stdout;
        unpack(&tar, &to).unwrap_or_else(|e| panic!("{format}: {e}"));
        let seen = Look {
            xattrs: false,
            nanoseconds: false,
            holes: false,
            root: true,
            links: "f",
        };
        assert_same(&look(&from, seen), &look(&to, seen));
    }
}

// Random trees.

/// One object to make, in a directory chosen among those made before.
#[derive(Debug, Clone)]
struct Object {
    parent: prop::sample::Index,
    name: Vec<u8>,
    kind: ObjectKind,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Clone)]
enum ObjectKind {
    Directory,
    File(Vec<u8>),
    Sparse(u64, Vec<(u64, Vec<u8>)>),
    Symlink(Vec<u8>),
    Link(prop::sample::Index),
    Fifo,
    Device(u32, u32),
}

fn file_name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        Just(b'a'),
        Just(b'.'),
        Just(b' '),
        Just(b'\n'),
        Just(b'='),
        Just(0xff),
        1_u8..=255
    ];
    prop_oneof![4 => prop::collection::vec(byte.clone(), 1..12), 1 => prop::collection::vec(byte, 90..255)]
        .prop_filter("a file name", |name| {
            !matches!(&name[..], b"." | b"..") && !name.contains(&b'/')
        })
}

fn object_kind() -> impl Strategy<Value = ObjectKind> {
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..max);
    prop_oneof![
        4 => Just(ObjectKind::Directory),
        4 => bytes(1500_usize).prop_map(ObjectKind::File),
        2 => (0..1_u64 << 20, prop::collection::vec((0..1_u64 << 20, bytes(5000)), 0..5))
            .prop_map(|(size, data)| ObjectKind::Sparse(size, data)),
        2 => prop::collection::vec(1_u8.., 1..300).prop_map(ObjectKind::Symlink),
        2 => any::<prop::sample::Index>().prop_map(ObjectKind::Link),
        1 => Just(ObjectKind::Fifo),
        1 => (0..4096_u32, 0..1_u32 << 20).prop_map(|(major, minor)| ObjectKind::Device(major, minor)),
    ]
}

fn object() -> impl Strategy<Value = Object> {
    let id = prop_oneof![Just(0), 1..100_000_u32, 2_000_000..3_000_000_u32, Just(u32::MAX - 1)];
    let name = prop::collection::vec(
        prop_oneof![Just(b'='), Just(b'%'), 0x21_u8..0x7f, Just(0xe9), Just(b'\n')],
        1..20,
    );
    let xattr = (name, prop::collection::vec(any::<u8>(), 0..100));
    (
        any::<prop::sample::Index>(),
        file_name(),
        object_kind(),
        0..0o10000_u32,
        (id.clone(), id),
        (-2_000_000_000..8_000_000_000_i64, 0..1_000_000_000_i64),
        prop::collection::vec(xattr, 0..3),
    )
        .prop_map(|(parent, name, kind, mode, owner, mtime, xattrs)| Object {
            parent,
            name,
            kind,
            mode,
            owner,
            mtime,
            xattrs,
        })
}

/// Makes a tree; objects whose name is taken are left out.
fn make(root: &Path, objects: &[Object]) {
    fs::create_dir(root).unwrap();
    let mut directories = vec![root.to_owned()];
    let mut others = Vec::new();
    let mut metadata = Vec::new();
    for object in objects {
        let path = object.parent.get(&directories).join(support::path(&object.name));
        if path.symlink_metadata().is_ok() {
            continue;
        }
        match &object.kind {
            ObjectKind::Directory => {
                fs::create_dir(&path).unwrap();
                directories.push(path.clone());
            }
            ObjectKind::File(content) => fs::write(&path, content).unwrap(),
            ObjectKind::Sparse(size, data) => {
                sparse(
                    &path,
                    *size,
                    &data.iter().map(|(at, bytes)| (*at, &bytes[..])).collect::<Vec<_>>(),
                );
            }
            ObjectKind::Symlink(target) => std::os::unix::fs::symlink(support::path(target), &path).unwrap(),
            ObjectKind::Link(_) if others.is_empty() => continue,
            ObjectKind::Link(of) => {
                fs::hard_link(of.get(&others), &path).unwrap();
                continue;
            }
            ObjectKind::Fifo => support::mknod(&path, rustix::fs::FileType::Fifo, 0, 0),
            ObjectKind::Device(major, minor) => {
                support::mknod(&path, rustix::fs::FileType::CharacterDevice, *major, *minor);
            }
        }
        if !matches!(object.kind, ObjectKind::Directory) {
            others.push(path.clone());
        }
        metadata.push((path, object));
    }
    for (path, object) in metadata.iter().rev() {
        chown(path, object.owner.0, object.owner.1);
        let namespace = if matches!(object.kind, ObjectKind::File(_) | ObjectKind::Directory) {
            "user"
        } else {
            "trusted"
        };
        for (name, value) in &object.xattrs {
            let name = [namespace.as_bytes(), b".", name].concat();
            rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
        }
        if !matches!(object.kind, ObjectKind::Symlink(_)) {
            chmod(path, object.mode);
        }
        set_mtime(path, object.mtime.0, object.mtime.1);
    }
}

/// Names of a tar, as the library reads it.
fn our_listing(tar: &[u8]) -> Result<Vec<Vec<u8>>, tree::Error> {
    let mut names = Vec::new();
    tree::check(tar, Limits::default(), |entry| {
        names.push(if entry.path.is_root() {
            b".".to_vec()
        } else {
            entry.path.as_bytes().to_vec()
        });
        Ok(())
    })?;
    Ok(names)
}

/// Names of tars, as Python reads them; none where it refuses. Leading `./` and trailing `/` do not count.
fn python_listings(tars: &[Vec<u8>]) -> Vec<Option<Vec<Vec<u8>>>> {
    let script = "import io, os, struct, sys, tarfile\n\
        data = sys.stdin.buffer.read()\n\
        while data:\n\
        \x20   n = struct.unpack('<Q', data[:8])[0]\n\
        \x20   tar, data = data[8:8 + n], data[8 + n:]\n\
        \x20   try:\n\
        \x20       opened = tarfile.open(fileobj=io.BytesIO(tar), mode='r:')\n\
        \x20       names = opened.getnames()\n\
        \x20       # At a header it does not like, Python just stops.\n\
        \x20       assert not tar[opened.offset:].strip(b'\\0')\n\
        \x20       print(' '.join(os.fsencode(name).hex() for name in names))\n\
        \x20   except Exception:\n\
        \x20       print('error')\n";
    let input: Vec<u8> = tars
        .iter()
        .flat_map(|tar| [&(tar.len() as u64).to_le_bytes()[..], tar].concat())
        .collect();
    let output = run_with(Command::new("python3").args(["-c", script]), &input).stdout;
    let lines = String::from_utf8(output).unwrap();
    lines
        .lines()
        .map(|line| (line != "error").then(|| line.split(' ').filter(|hex| !hex.is_empty()).map(name_of_hex).collect()))
        .collect()
}

fn name_of_hex(hex: &str) -> Vec<u8> {
    let bytes: Vec<u8> = (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    bare(&bytes)
}

/// Without leading `./` and trailing `/`.
fn bare(mut name: &[u8]) -> Vec<u8> {
    while let Some(rest) = name.strip_prefix(b"./") {
        name = rest;
    }
    let name = name.strip_suffix(b"/").unwrap_or(name);
    if name.is_empty() { b".".to_vec() } else { name.to_vec() }
}

/// Names of a tar, as GNU tar reads it; none where it complains.
fn gnu_listing(tar: &[u8]) -> Option<Vec<Vec<u8>>> {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(tar).unwrap();
    let mut command = Command::new("tar");
    let output = command
        .args(["-t", "-P", "--quoting-style=literal", "--null", "-f"])
        .arg(file.path())
        .output()
        .unwrap();
    if !output.status.success() {
        return None;
    }
    // Names end in newlines, and hold some: those that hold any are not compared here.
    Some(
        output
            .stdout
            .split(|&b| b == b'\n')
            .filter(|name| !name.is_empty())
            .map(bare)
            .collect(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn random_trees_survive(objects in prop::collection::vec(object(), 0..25)) {
        if !is_privileged() {
            return Ok(());
        }
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        make(&from, &objects);
        let before = look(&from, ALL);
        let tar = pack(&from);
        unpack(&tar, &to).unwrap();
        assert_same(&before, &look(&to, ALL));
    }
}

#[test]
fn random_trees_are_restored_by_gnu_tar_and_listed_by_python() {
    if !is_privileged() {
        return;
    }
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut tars = Vec::new();
    for _ in 0..20 {
        let objects = prop::collection::vec(object(), 0..25)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        make(&from, &objects);
        fs::create_dir(&to).unwrap();
        let mut command = Command::new("tar");
        command
            .args(["-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C"])
            .arg(&to);
        let tar = pack(&from);
        run_with(&mut command, &tar);
        assert_same(&look(&from, ALL), &look(&to, ALL));
        tars.push(tar);
    }
    for (tar, theirs) in tars.iter().zip(python_listings(&tars)) {
        assert_eq!(
            theirs.map(|names| shown(&names)),
            our_listing(tar).ok().map(|names| shown(&names))
        );
    }
}

/// Tars with a few bytes changed, checksums made right again: whatever we accept lists as Python and GNU tar list it.
#[test]
fn what_is_accepted_is_understood_alike() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    fs::create_dir_all(root.join("dir")).unwrap();
    fs::write(root.join("dir/file"), b"content").unwrap();
    fs::write(root.join("l".repeat(120)), b"long").unwrap();
    fs::hard_link(root.join("dir/file"), root.join("m-link")).unwrap();
    std::os::unix::fs::symlink("s".repeat(120), root.join("symlink")).unwrap();
    sparse(
        &root.join("t-holes"),
        1 << 20,
        &(0..8).map(|i| (i * 65536, &b"x"[..])).collect::<Vec<_>>(),
    );
    set_xattr(&root.join("dir/file"), "user.a", b"x\n13 path=evil\n");
    let gnu = |arguments: &[&str]| {
        run(Command::new("tar")
            .arg("-c")
            .args(arguments)
            .arg("-C")
            .arg(&root)
            .arg("."))
        .stdout
    };
    let originals = [
        pack(&root),
        gnu(&["--format=gnu", "--sparse"]),
        gnu(&["--format=posix", "--sparse", "--sparse-version=0.0"]),
        gnu(&["--format=posix", "--sparse", "--sparse-version=0.1"]),
    ];
    let mut random = Random(1);
    let mut tars = originals.to_vec();
    while tars.len() < 500 {
        let mut tar = originals[random.below(originals.len())].clone();
        mutate(&mut tar, &mut random);
        if our_listing(&tar).is_ok() && !originals.contains(&tar) {
            tars.push(tar);
        }
    }
    let mut differences = Vec::new();
    let mut compared = 0;
    for (i, (tar, python)) in tars.iter().zip(python_listings(&tars)).enumerate() {
        let ours = our_listing(tar).unwrap();
        let gnu = gnu_listing(tar).filter(|_| !ours.iter().any(|name| name.contains(&b'\n')));
        // One that refuses what we accept does no harm; one that reads something else does.
        for (who, theirs) in [("Python", python), ("GNU tar", gnu)] {
            compared += usize::from(theirs.is_some());
            if let Some(theirs) = theirs.filter(|theirs| *theirs != ours) {
                differences.push(format!("{i}: {} but {who}: {}", shown(&ours), shown(&theirs)));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(compared > 900, "only {compared} of 1000 were read by others");
}

fn shown(names: &[Vec<u8>]) -> String {
    names
        .iter()
        .map(|name| name[..name.len().min(20)].escape_ascii().to_string())
        .collect::<Vec<_>>()
        .join(" ")
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Changes a few bytes of one header or PAX header.
fn mutate(tar: &mut [u8], random: &mut Random) {
    let headers: Vec<usize> = (0..tar.len() / 512)
        .map(|i| i * 512)
        .filter(|&at| tar[at + 257..].starts_with(b"ustar"))
        .collect();
    let at = headers[random.below(headers.len())];
    let pax = tar[at + 156] == b'x' && random.below(3) > 0;
    let interesting = b"\0 /.0179xLKgS=\n\xff\x80";
    for _ in 0..=random.below(2) {
        let offset = if pax {
            512 + random.below(100)
        } else {
            random.below(512)
        };
        tar[at + offset] = match random.below(3) {
            0 => random.below(256) as u8,
            _ => interesting[random.below(interesting.len())],
        };
    }
    let block: &mut [u8; 512] = (&mut tar[at..at + 512]).try_into().unwrap();
    raw_tar::sign(block);
}

// What happens between measuring and writing.

/// The error of writing a tree that `change` changes after it was measured.
fn changed_meanwhile(change: impl FnOnce(&Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "c", "e"] {
        fs::write(dir.path().join(name), vec![1; 5000]).unwrap();
    }
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("d/file"), b"1").unwrap();
    sparse(&dir.path().join("sparse"), 1 << 20, &[(1 << 19, b"x")]);
    let mut measured = Packer::new(open_root(dir.path()).unwrap()).measure().unwrap();
    change(dir.path());
    let mut tar = Vec::new();
    let error = measured.write(&mut tar).unwrap_err();
    assert!(tar.len() as u64 <= measured.size(), "never more than was measured");
    assert_eq!(error.kind(), ckpt::ErrorKind::Dump);
    error.to_string()
}

#[test]
fn a_change_between_measuring_and_writing_is_named() {
    let resize = |name: &'static str, len| {
        move |root: &Path| {
            fs::File::options()
                .write(true)
                .open(root.join(name))
                .unwrap()
                .set_len(len)
                .unwrap()
        }
    };
    assert_eq!(
        changed_meanwhile(resize("c", 9000)),
        "`c` changed while the tree was packed"
    );
    assert_eq!(
        changed_meanwhile(resize("c", 0)),
        "`c` changed while the tree was packed"
    );
    assert_eq!(
        changed_meanwhile(resize("d/file", 1000)),
        "`d/file` changed while the tree was packed"
    );
    assert_eq!(
        changed_meanwhile(|root| fs::write(root.join("b"), b"").unwrap()),
        "`b` appeared while the tree was packed"
    );
    assert_eq!(
        changed_meanwhile(|root| fs::write(root.join("zz"), b"").unwrap()),
        "`zz` appeared while the tree was packed"
    );
    assert_eq!(
        changed_meanwhile(|root| fs::remove_file(root.join("c")).unwrap()),
        "a file after `a` vanished while the tree was packed"
    );
    assert_eq!(
        changed_meanwhile(|root| fs::remove_file(root.join("sparse")).unwrap()),
        "a file after `e` vanished while the tree was packed"
    );
    assert_eq!(
        changed_meanwhile(|root| set_xattr(&root.join("e"), "user.x", &[0; 2000])),
        "`e` changed while the tree was packed"
    );
    assert_eq!(
        changed_meanwhile(|root| fs::File::options()
            .write(true)
            .open(root.join("sparse"))
            .unwrap()
            .write_all_at(b"y", 9)
            .unwrap()),
        "`sparse` changed while the tree was packed"
    );
    let replace = |root: &Path| {
        fs::remove_file(root.join("a")).unwrap();
        fs::create_dir(root.join("a")).unwrap();
    };
    assert_eq!(changed_meanwhile(replace), "`a` changed while the tree was packed");
}

#[test]
fn reading_a_file_meanwhile_changes_nothing() {
    // Preallocated space is a hole until it is in the page cache.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("preallocated");
    let file = fs::File::create(&path).unwrap();
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 1 << 20).unwrap();
    file.set_len(2 << 20).unwrap();
    let mut measured = Packer::new(open_root(dir.path()).unwrap()).measure().unwrap();
    fs::read(&path).unwrap();
    let mut tar = Vec::new();
    measured.write(&mut tar).unwrap();
    assert_eq!(tar.len() as u64, measured.size());
}

#[test]
fn a_hole_is_found_in_a_file_whose_attributes_take_a_block() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir(&from).unwrap();
    sparse(&from.join("file"), 3649, &[]);
    set_xattr(&from.join("file"), "user.large", &[7; 2000]);
    unpack(&pack(&from), &to).unwrap();
    assert_same(&look(&from, ALL), &look(&to, ALL));
}

// What cannot be packed, and what is not.

#[test]
fn an_unreadable_file_is_an_error_that_names_it() {
    // A file of sysfs that can only be written, also by root.
    let root = open_root("/sys/bus/cpu").unwrap();
    let error = Packer::only(root, c"uevent").measure().unwrap_err();
    assert_eq!(error.to_string(), "cannot open `uevent`");
    assert_eq!(error.kind(), ckpt::ErrorKind::Dump);
}

#[test]
fn a_directory_without_permission_is_an_error_that_names_it() {
    const INSIDE: &str = "CKPT_TEST_UNPRIVILEGED";
    if let Some(root) = std::env::var_os(INSIDE) {
        let error = Packer::new(open_root(&root).unwrap()).measure().unwrap_err();
        println!("{error}: {}", std::error::Error::source(&error).unwrap());
        return;
    }
    use std::os::unix::process::CommandExt;
    if !is_privileged() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    chmod(dir.path(), 0o755);
    for name in ["file", "closed"] {
        let root = dir.path().join(format!("tree-{name}"));
        fs::create_dir_all(root.join("open")).unwrap();
        match name {
            "file" => fs::write(root.join("open/file"), b"").unwrap(),
            _ => fs::create_dir(root.join("open/closed")).unwrap(),
        }
        chmod(&root.join("open").join(name), 0);
        let mut command = Command::new(&program);
        command.args([
            "--exact",
            "a_directory_without_permission_is_an_error_that_names_it",
            "--nocapture",
        ]);
        let output = run(command.env(INSIDE, &root).current_dir("/").uid(65534).gid(65534));
        let expected = format!("cannot open `open/{name}`: Permission denied (os error 13)");
        assert!(
            String::from_utf8_lossy(&output.stdout).contains(&expected),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}

#[test]
fn sockets_are_left_out_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    fs::write(dir.path().join("zz"), b"").unwrap();
    let mut measured = Packer::new(open_root(dir.path()).unwrap()).measure().unwrap();
    assert_eq!(measured.report().sockets.count, 1);
    assert_eq!(measured.report().sockets.first[0].to_string(), "socket");
    let mut tar = Vec::new();
    measured.write(&mut tar).unwrap();
    assert_eq!(our_listing(&tar).unwrap(), [&b"."[..], b"zz"]);
}

#[test]
fn paths_can_be_left_out_prefixed_and_packed_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::write(dir.path().join("a/b/c"), b"").unwrap();
    fs::write(dir.path().join("a/bb"), b"").unwrap();
    fs::hard_link(dir.path().join("a/bb"), dir.path().join("d")).unwrap();
    let path = |text: &str| TreePath::parse(text.as_bytes(), 100, 10).unwrap();
    let names = |packer: Packer| {
        let mut tar = Vec::new();
        packer.measure().unwrap().write(&mut tar).unwrap();
        our_listing(&tar)
            .unwrap()
            .iter()
            .map(|name| String::from_utf8(name.clone()).unwrap())
            .collect::<Vec<_>>()
    };
    let packer = || Packer::new(open_root(dir.path()).unwrap());
    assert_eq!(names(packer()), [".", "a", "a/b", "a/b/c", "a/bb", "d"]);
    assert_eq!(names(packer().exclude(path("a/b"))), [".", "a", "a/bb", "d"]);
    assert_eq!(names(packer().exclude(path("a"))), [".", "d"]);
    assert_eq!(
        names(packer().prefix(path("x/y"))),
        ["x/y", "x/y/a", "x/y/a/b", "x/y/a/b/c", "x/y/a/bb", "x/y/d"]
    );
    assert_eq!(names(Packer::only(open_root(dir.path()).unwrap(), c"d")), ["d"]);
    assert_eq!(
        names(Packer::only(open_root(dir.path()).unwrap(), c"a")),
        ["a", "a/b", "a/b/c", "a/bb"]
    );
}

#[test]
fn a_tree_deeper_than_paths_and_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir(&from).unwrap();
    let depth = 650;
    let mut at = open_root(&from).unwrap();
    for i in 0..depth {
        rustix::fs::mkdirat(&at, "deeper", rustix::fs::Mode::from(0o700)).unwrap();
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        at = rustix::fs::openat(&at, "deeper", flags, rustix::fs::Mode::empty()).unwrap();
        rustix::fs::openat(
            &at,
            format!("f{i}"),
            rustix::fs::OFlags::CREATE,
            rustix::fs::Mode::from(0o600),
        )
        .unwrap();
    }
    let tar = pack(&from);
    assert_eq!(our_listing(&tar).unwrap().len(), 2 * depth + 1);
    unpack(&tar, &to).unwrap();
    assert_eq!(pack(&to), tar);
    run(Command::new("rm").arg("-r").args([&from, &to]));
}

#[test]
fn without_privilege_what_a_user_may_set_is_restored() {
    if !is_privileged() {
        return;
    }
    use std::os::fd::AsFd;
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir_all(&to).unwrap();
    fs::create_dir(&from).unwrap();
    fs::write(from.join("file"), b"x").unwrap();
    chown(&from.join("file"), 5, 6);
    chmod(&from.join("file"), 0o640);
    for name in ["user.a", "trusted.b"] {
        set_xattr(&from.join("file"), name, b"1");
    }
    let options = tree::Options {
        scope: tree::Scope::Own,
        ..tree::Options::default()
    };
    tree::apply_full(open_root(&to).unwrap().as_fd(), &pack(&from)[..], options).unwrap();
    let file = &look(&to, ALL)[Path::new("file")];
    assert_eq!((file.uid, file.gid, file.mode), (0, 0, 0o640));
    assert_eq!(file.xattrs.keys().collect::<Vec<_>>(), [b"user.a"]);
}

/// Entries in an order that no sorted walk has, and directories that come after what is in them.
#[test]
fn metadata_of_directories_survives_any_order() {
    let times = |name: &str, mtime: &str| raw_tar::record(name, mtime.as_bytes());
    let tar = raw_tar::Tar::new()
        .pax(&times("mtime", "100.5"))
        .directory("a/")
        .file("a/1", b"")
        .pax(&times("mtime", "200"))
        .directory("b/")
        .file("a/2", b"")
        .file("c/d/early", b"")
        .pax(&times("mtime", "300"))
        .directory("c/d/")
        .file("b/x", b"")
        .pax(&times("mtime", "400"))
        .directory("c/")
        .file("c/d/late", b"")
        .pax(&times("mtime", "500"))
        .directory("./")
        .file("late", b"")
        .finish();
    let dir = tempfile::tempdir().unwrap();
    unpack(&tar, &dir.path().join("to")).unwrap();
    let found = look(&dir.path().join("to"), ALL);
    for (path, mtime) in [
        ("a", (100, 500_000_000)),
        ("b", (200, 0)),
        ("c/d", (300, 0)),
        ("c", (400, 0)),
        ("", (500, 0)),
    ] {
        assert_eq!(found[Path::new(path)].mtime, mtime, "{path}");
        assert_eq!(found[Path::new(path)].mode, 0o755, "{path}");
    }
}
