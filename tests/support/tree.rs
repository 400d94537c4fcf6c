//! Trees for tests: made from a description, and looked at in detail by a walker that shares no code with the library.
#![allow(dead_code, reason = "every test binary uses another part")]

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::fs::{AtFlags, CWD, Gid, Mode, SeekFrom, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};

/// Everything about an object that a copy has to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub kind: char,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: (i64, i64),
    pub size: u64,
    pub content: Vec<u8>,
    /// Where its data is: offset and length.
    pub data: Vec<(u64, u64)>,
    pub device: u64,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path of this inode.
    pub first_link: PathBuf,
}

/// What of a tree is compared.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub xattrs: bool,
    pub holes: bool,
    pub nanoseconds: bool,
    /// Whether the root directory itself counts.
    pub root: bool,
    /// Kinds of objects whose hard links count.
    pub links: &'static str,
}

pub const ALL: Look = Look {
    xattrs: true,
    holes: true,
    nanoseconds: true,
    root: true,
    links: "flcbps",
};

/// Every object of a tree by its relative path.
pub fn look(root: &Path, look: Look) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    let mut links = HashMap::new();
    visit(root, Path::new(""), look, &mut links, &mut nodes);
    if !look.root {
        nodes.remove(Path::new(""));
    }
    nodes
}

fn visit(
    root: &Path,
    path: &Path,
    look: Look,
    links: &mut HashMap<(u64, u64), PathBuf>,
    nodes: &mut BTreeMap<PathBuf, Node>,
) {
    let full = root.join(path);
    let meta = fs::symlink_metadata(&full).unwrap_or_else(|e| panic!("{full:?}: {e}"));
    let kind = match meta.file_type() {
        t if t.is_dir() => 'd',
        t if t.is_file() => 'f',
        t if t.is_symlink() => 'l',
        t if t.is_char_device() => 'c',
        t if t.is_block_device() => 'b',
        t if t.is_fifo() => 'p',
        _ => 's',
    };
    let first_link = match kind {
        kind if !look.links.contains(kind) => path.to_owned(),
        _ => links
            .entry((meta.dev(), meta.ino()))
            .or_insert_with(|| path.to_owned())
            .clone(),
    };
    let content = match kind {
        'f' => fs::read(&full).unwrap(),
        'l' => fs::read_link(&full).unwrap().into_os_string().into_vec(),
        _ => Vec::new(),
    };
    let data = if kind == 'f' && look.holes {
        data_regions(&full, meta.len())
    } else {
        Vec::new()
    };
    let xattrs = if look.xattrs { xattrs(&full) } else { BTreeMap::new() };
    nodes.insert(
        path.to_owned(),
        Node {
            kind,
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            mtime: (meta.mtime(), if look.nanoseconds { meta.mtime_nsec() } else { 0 }),
            size: if kind == 'f' { meta.len() } else { 0 },
            content,
            data,
            device: if matches!(kind, 'c' | 'b') { meta.rdev() } else { 0 },
            xattrs,
            first_link,
        },
    );
    if kind == 'd' {
        let mut names: Vec<_> = fs::read_dir(&full)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        for name in names {
            visit(root, &path.join(name), look, links, nodes);
        }
    }
}

fn data_regions(path: &Path, size: u64) -> Vec<(u64, u64)> {
    let file = fs::File::open(path).unwrap();
    let mut regions = Vec::new();
    let mut at = 0;
    while at < size {
        let Ok(start) = rustix::fs::seek(&file, SeekFrom::Data(at)) else {
            break;
        };
        let end = rustix::fs::seek(&file, SeekFrom::Hole(start)).unwrap();
        regions.push((start, end - start));
        at = end;
    }
    regions
}

pub fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65536];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let names = names[..len].split(|&b| b == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 65536];
            let len = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            (name.to_vec(), value[..len].to_vec())
        })
        .collect()
}

/// Fails with the differing objects alone.
pub fn assert_same(left: &BTreeMap<PathBuf, Node>, right: &BTreeMap<PathBuf, Node>) {
    let mut differences = String::new();
    for path in left.keys().chain(right.keys().filter(|path| !left.contains_key(*path))) {
        let (l, r) = (left.get(path), right.get(path));
        if l != r {
            differences += &format!("{path:?}\n  left  {}\n  right {}\n", short(l), short(r));
        }
    }
    assert!(differences.is_empty(), "trees differ:\n{differences}");
}

fn short(node: Option<&Node>) -> String {
    let mut node = node.cloned();
    if let Some(node) = &mut node {
        node.content.truncate(40);
    }
    format!("{node:?}")
}

/// Whether this process may do everything. Where it may not, the test that asks says that it is skipped; in continuous
/// integration that is a failure.
pub fn is_privileged() -> bool {
    let privileged = rustix::process::geteuid().is_root();
    if !privileged {
        assert!(std::env::var_os("CI").is_none(), "cannot run in CI: needs root");
        eprintln!("SKIPPED: needs root");
    }
    privileged
}

/// As much of the metadata as this process may restore.
pub fn scope() -> ckpt::tree::Scope {
    if rustix::process::geteuid().is_root() {
        ckpt::tree::Scope::Everything
    } else {
        ckpt::tree::Scope::Own
    }
}

/// Path of bytes.
pub fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

pub fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap_or_else(|e| panic!("{name} on {path:?}: {e}"));
}

pub fn chown(path: &Path, uid: u32, gid: u32) {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(CWD, path, uid, gid, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub fn chmod(path: &Path, mode: u32) {
    rustix::fs::chmod(path, Mode::from(mode)).unwrap();
}

pub fn set_mtime(path: &Path, sec: i64, nsec: i64) {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: sec,
            tv_nsec: nsec as _,
        },
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub fn mknod(path: &Path, kind: rustix::fs::FileType, major: u32, minor: u32) {
    rustix::fs::mknodat(CWD, path, kind, Mode::from(0o640), rustix::fs::makedev(major, minor)).unwrap();
}

/// A file capability, `cap_net_raw+ep`.
pub const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An ACL that lets user 1000 read, on an object of mode 640.
pub fn acl() -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    for (tag, perm, id) in [
        (1_u16, 6_u16, u32::MAX),
        (2, 4, 1000),
        (4, 4, u32::MAX),
        (16, 4, u32::MAX),
        (32, 0, u32::MAX),
    ] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(perm.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// A tree with one of everything.
pub fn zoo(root: &Path) {
    use rustix::fs::FileType;
    fs::create_dir_all(root.join("dir/deeper")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("dir/file"), b"content").unwrap();
    fs::write(root.join("dir/deeper/nothing"), b"").unwrap();
    fs::write(root.join("block"), [7; 512]).unwrap();
    fs::hard_link(root.join("dir/file"), root.join("zz-link")).unwrap();
    std::os::unix::fs::symlink("../nowhere/at all", root.join("dir/symlink")).unwrap();
    std::os::unix::fs::symlink("t".repeat(300), root.join("long-symlink")).unwrap();
    rustix::fs::linkat(
        CWD,
        root.join("dir/symlink"),
        CWD,
        root.join("symlink-link"),
        AtFlags::empty(),
    )
    .unwrap();
    mknod(&root.join("null"), FileType::CharacterDevice, 1, 3);
    mknod(&root.join("loop"), FileType::BlockDevice, 7, 1_000_000);
    mknod(&root.join("fifo"), FileType::Fifo, 0, 0);
    rustix::fs::linkat(CWD, root.join("fifo"), CWD, root.join("fifo-link"), AtFlags::empty()).unwrap();
    // Names.
    fs::write(root.join(path(b"not utf-8 \xff\xfe")), b"1").unwrap();
    fs::write(root.join("new\nline"), b"2").unwrap();
    fs::write(root.join("ünïcödé"), b"3").unwrap();
    fs::write(root.join("n".repeat(255)), b"4").unwrap();
    fs::write(root.join("h".repeat(100)), b"5").unwrap();
    fs::write(root.join("i".repeat(101)), b"6").unwrap();
    let long = root.join("d".repeat(200)).join("e".repeat(200));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("file"), b"7").unwrap();
    fs::hard_link(long.join("file"), long.join("link")).unwrap();
    fs::write(long.join(path(b"stray \xff")), b"8").unwrap();
    // Holes.
    sparse(&root.join("hole-at-end"), 1 << 20, &[(0, b"begin")]);
    sparse(&root.join("hole-at-start"), (1 << 20) + 5, &[(1 << 20, b"end!!")]);
    sparse(&root.join("all-hole"), 3 << 20, &[]);
    sparse(&root.join("ünusual-hole"), 1 << 26, &[(1 << 16, b"a"), (1 << 25, b"b")]);
    sparse(&long.join("hole"), 1 << 20, &[(1 << 19, b"middle")]);
    // Metadata.
    let file = root.join("meta");
    fs::write(&file, b"m").unwrap();
    chown(&file, 3_000_000_000, 2_097_152);
    set_xattr(&file, "user.newline", b"a\n30 path=evil\n\0b");
    set_xattr(&file, "user.a=b%c", b"");
    set_xattr(&file, "trusted.t", &[0, 1, 2, 255]);
    set_xattr(&file, "security.capability", &CAPABILITY);
    set_xattr(&file, "system.posix_acl_access", &acl());
    set_xattr(&root.join("dir"), "system.posix_acl_default", &acl());
    set_xattr(&root.join("dir/symlink"), "trusted.on-a-link", b"x");
    set_xattr(&root.join("null"), "trusted.on-a-device", b"x");
    chmod(&root.join("block"), 0o6755);
    chmod(&root.join("empty"), 0o1777);
    chmod(&root.join("dir"), 0o2750);
    chown(&root.join("dir/symlink"), 12, 34);
    set_mtime(&root.join("dir/symlink"), 1_000_000_000, 7);
    set_mtime(&root.join("block"), -1_000_000, 500_000_000);
    set_mtime(&root.join("null"), 0, 0);
    set_mtime(&root.join("meta"), 9_000_000_000, 1);
    set_mtime(&root.join("dir/deeper"), 1_111_111_111, 111_111_111);
    set_mtime(&root.join("dir"), 1_222_222_222, 0);
    set_mtime(root, 1_333_333_333, 3);
}

/// A file of this size with data only at these places.
pub fn sparse(path: &Path, size: u64, data: &[(u64, &[u8])]) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (offset, bytes) in data {
        file.write_all_at(bytes, *offset).unwrap();
    }
}

/// Runs a program that has to succeed.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a program that reads its input, which has to succeed.
pub fn run_with(command: &mut Command, input: &[u8]) -> Output {
    use std::process::Stdio;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{command:?}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        output
    })
}

/// The tar of a tree as the library packs it; its length is the one that was measured.
pub fn pack(root: &Path) -> Vec<u8> {
    let mut measured = ckpt::tree::Packer::new(ckpt::tree::open_root(root).unwrap())
        .measure()
        .unwrap();
    let mut tar = Vec::new();
    measured.write(&mut tar).unwrap();
    assert_eq!(
        tar.len() as u64,
        measured.size(),
        "the measured size is the written size"
    );
    tar
}

/// Unpacks a tar into a new directory, with every permission that this process has.
pub fn unpack(tar: &[u8], into: &Path) -> Result<ckpt::tree::Summary, ckpt::tree::Error> {
    use std::os::fd::AsFd;
    fs::create_dir_all(into).unwrap();
    let options = ckpt::tree::Options {
        devices: true,
        scope: scope(),
        ..Default::default()
    };
    ckpt::tree::apply_full(ckpt::tree::open_root(into).unwrap().as_fd(), tar, options)
}
