//! `/proc/PID/mountinfo`, parsed byte by byte.
//!
//! Paths are bytes: nothing here assumes UTF-8. The kernel writes a space, tab, newline, backslash and `#` as `\ooo`
//! (`mangle()` in fs/proc_namespace.c), and a comma inside an option value as `\054` (`seq_show_option()`): a field is
//! first split, then unescaped, so that none of these bytes is mistaken for a separator. The order of options is kept,
//! because file systems give it a meaning (overlay lists its layers from the top down).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::Error;
use crate::sys::read;

/// The largest mountinfo that is read, bytes. The kernel allows 100,000 mounts in a namespace (fs.mount-max) and a line
/// is seldom longer than 300 bytes; a table of this size is no container's.
const MAX_BYTES: u64 = 64 << 20;

/// One mount, a line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Identifier of the mount; reused after an unmount.
    pub id: u32,
    /// Identifier of the mount that this one is mounted on. For the root of a namespace it names no mount of the table.
    pub parent: u32,
    /// The file system's device number.
    pub device: Device,
    /// The directory or file of the file system that is mounted. `/` for a whole file system, else a bind mount or a
    /// subvolume. For a namespace file it is no path: `net:[4026532281]`.
    pub root: PathBuf,
    /// Where it is mounted, seen from the root directory of the process.
    pub mount_point: PathBuf,
    /// Options of this mount (`rw`, `nosuid`, `relatime`), in order.
    pub options: Vec<OsString>,
    /// Its sharing with other mounts, in order.
    pub propagation: Vec<Propagation>,
    /// The file system type, with its subtype (`fuse.sshfs`).
    pub fs_type: OsString,
    /// What was mounted, as the file system tells it; may be empty.
    pub source: OsString,
    /// Options of the file system, in order.
    pub super_options: Vec<OsString>,
}

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Device {
    /// The driver.
    pub major: u32,
    /// The device of that driver.
    pub minor: u32,
}

/// An optional field of a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Propagation {
    /// Events are shared within this peer group.
    Shared(u32),
    /// Events are received from this peer group.
    Master(u32),
    /// The nearest peer group below the root of the process that events come from.
    PropagateFrom(u32),
    /// The mount cannot be bound.
    Unbindable,
    /// A field that a newer kernel has.
    Other(OsString),
}

impl Mount {
    /// The value of a file system option `name=value`, the last one where it is repeated.
    #[must_use]
    pub fn super_option(&self, name: &str) -> Option<&OsStr> {
        self.super_options.iter().rev().find_map(|option| {
            let rest = option.as_bytes().strip_prefix(name.as_bytes())?;
            Some(OsStr::from_bytes(rest.strip_prefix(b"=")?))
        })
    }

    /// Whether what is mounted has been unlinked since: the kernel marks its name.
    #[must_use]
    pub fn root_deleted(&self) -> bool {
        self.root.as_os_str().as_bytes().ends_with(b"//deleted")
    }
}

/// All mounts that a process sees, in the kernel's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountTable {
    mounts: Vec<Mount>,
}

impl MountTable {
    /// Reads the mounts of a process; `pid` is in the PID namespace of `/proc`.
    ///
    /// # Errors
    /// [`Error::Read`] when the process is gone or the file is too large, [`Error::Syntax`] as [`parse`](Self::parse).
    pub fn of_process(pid: i32) -> Result<Self, Error> {
        Self::read(&PathBuf::from(format!("/proc/{pid}/mountinfo")))
    }

    /// Reads the mounts of this process.
    ///
    /// # Errors
    /// As [`of_process`](Self::of_process).
    pub fn of_self() -> Result<Self, Error> {
        Self::read(Path::new("/proc/self/mountinfo"))
    }

    fn read(path: &Path) -> Result<Self, Error> {
        let bytes = read::bounded(path, MAX_BYTES).map_err(|source| Error::Read {
            path: path.into(),
            source,
        })?;
        Self::parse(&bytes)
    }

    /// Parses the content of a mountinfo file.
    ///
    /// # Errors
    /// [`Error::Syntax`] names the line and the field that is missing or malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if text.is_empty() {
            return Ok(Self::default());
        }
        let lines = text.split(|&byte| byte == b'\n').enumerate();
        let mounts =
            lines.map(|(index, line)| parse_line(line).map_err(|field| Error::Syntax { line: index + 1, field }));
        Ok(Self {
            mounts: mounts.collect::<Result<_, _>>()?,
        })
    }

    /// Writes the table as the kernel would, which [`parse`](Self::parse) reads back.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for mount in &self.mounts {
            write_line(mount, &mut out);
        }
        out
    }

    /// The mounts, in the kernel's order.
    pub fn iter(&self) -> std::slice::Iter<'_, Mount> {
        self.mounts.iter()
    }

    /// The mount with this identifier.
    #[must_use]
    pub fn by_id(&self, id: u32) -> Option<&Mount> {
        self.mounts.iter().find(|mount| mount.id == id)
    }

    /// The mount whose mount point is `path`, where one is visible: the topmost of a stack, and not one that a mount
    /// on a directory above hides. `path` is absolute and holds no symbolic links; `.` and `//` are ignored.
    #[must_use]
    pub fn mount_at(&self, path: &Path) -> Option<&Mount> {
        let mount = self.mount_of(path)?;
        same_path(&mount.mount_point, path).then_some(mount)
    }

    /// The mount that `path` lives on: the path walked from the root, stepping onto each mount met. `path` as for
    /// [`mount_at`](Self::mount_at). `None` when the path is not absolute, has `..`, or the process's root directory
    /// is not itself on a mount of the table (a chroot into a plain directory).
    #[must_use]
    pub fn mount_of(&self, path: &Path) -> Option<&Mount> {
        if !path.is_absolute() {
            return None;
        }
        let mut walked = PathBuf::new();
        let mut current = None;
        for component in path.components() {
            match component {
                Component::RootDir | Component::Normal(_) => walked.push(component),
                Component::CurDir => continue,
                Component::ParentDir | Component::Prefix(_) => return None,
            }
            current = self.top_of_stack(current, &walked);
        }
        current
    }

    /// The mounts on a directory below `path`, `path` itself left out, in the kernel's order; hidden ones too.
    pub fn below<'table>(&'table self, path: &Path) -> impl Iterator<Item = &'table Mount> + use<'table> {
        let path: PathBuf = path.components().collect();
        self.mounts
            .iter()
            .filter(move |mount| mount.mount_point.starts_with(&path) && mount.mount_point != path)
    }

    /// What is mounted at `path` on `under`, and on that, and so on. A stack cannot be longer than the table, which
    /// ends the walk through a malformed table whose mounts are each other's parents.
    fn top_of_stack<'a>(&'a self, under: Option<&'a Mount>, path: &Path) -> Option<&'a Mount> {
        let mut top = under;
        for _ in 0..self.mounts.len() {
            match self.mounted_on(top, path) {
                Some(mount) => top = Some(mount),
                None => break,
            }
        }
        top
    }

    /// The mount at `path` whose parent is `parent`; without a parent, one whose parent the process cannot see.
    fn mounted_on(&self, parent: Option<&Mount>, path: &Path) -> Option<&Mount> {
        self.mounts.iter().rev().find(|mount| {
            // Most mounts differ here; the search for an unseen parent is only made for the few that do not.
            mount.mount_point == path
                && match parent {
                    // The initial ramdisk's rootfs is its own parent.
                    Some(parent) => mount.parent == parent.id && mount.id != parent.id,
                    None => mount.parent == mount.id || self.by_id(mount.parent).is_none(),
                }
        })
    }
}

impl<'a> IntoIterator for &'a MountTable {
    type Item = &'a Mount;
    type IntoIter = std::slice::Iter<'a, Mount>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn same_path(a: &Path, b: &Path) -> bool {
    a.components().eq(b.components())
}

/// Parses one line; the error is the name of the bad field.
fn parse_line(line: &[u8]) -> Result<Mount, &'static str> {
    let mut fields = Fields { rest: Some(line) };
    let mount = Mount {
        id: decimal(fields.next("mount id")?).ok_or("mount id")?,
        parent: decimal(fields.next("parent id")?).ok_or("parent id")?,
        device: device(fields.next("device")?).ok_or("device")?,
        root: path(fields.next("root")?),
        mount_point: path(fields.next("mount point")?),
        options: options(fields.next("mount options")?),
        propagation: propagation(&mut fields)?,
        fs_type: unescape(fields.next("file system type")?),
        source: unescape(fields.next("mount source")?),
        // Some file systems print a space in their own options unescaped; nothing follows, so the rest is theirs.
        super_options: options(fields.rest.ok_or("super options")?),
    };
    if !mount.mount_point.is_absolute() {
        return Err("mount point");
    }
    Ok(mount)
}

/// The fields of a line, separated by single spaces: two in a row enclose an empty field, an unnamed source.
struct Fields<'line> {
    rest: Option<&'line [u8]>,
}

impl<'line> Fields<'line> {
    fn next(&mut self, name: &'static str) -> Result<&'line [u8], &'static str> {
        let rest = self.rest.ok_or(name)?;
        let mut parts = rest.splitn(2, |&byte| byte == b' ');
        let field = parts.next().unwrap_or_default();
        self.rest = parts.next();
        Ok(field)
    }
}

/// The optional fields and the `-` that ends them.
fn propagation(fields: &mut Fields<'_>) -> Result<Vec<Propagation>, &'static str> {
    let mut found = Vec::new();
    loop {
        match fields.next("separator")? {
            b"-" => return Ok(found),
            field => found.push(optional_field(field).ok_or("optional field")?),
        }
    }
}

fn optional_field(field: &[u8]) -> Option<Propagation> {
    let tagged = |tag: &[u8]| field.strip_prefix(tag);
    if let Some(group) = tagged(b"shared:") {
        decimal(group).map(Propagation::Shared)
    } else if let Some(group) = tagged(b"master:") {
        decimal(group).map(Propagation::Master)
    } else if let Some(group) = tagged(b"propagate_from:") {
        decimal(group).map(Propagation::PropagateFrom)
    } else if field == b"unbindable" {
        Some(Propagation::Unbindable)
    } else {
        (!field.is_empty()).then(|| Propagation::Other(unescape(field)))
    }
}

/// A decimal number of digits only: `str::parse` would take a sign as well.
fn decimal(field: &[u8]) -> Option<u32> {
    if !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn device(field: &[u8]) -> Option<Device> {
    let colon = field.iter().position(|&byte| byte == b':')?;
    Some(Device {
        major: decimal(&field[..colon])?,
        minor: decimal(&field[colon + 1..])?,
    })
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(unescape(field))
}

fn options(field: &[u8]) -> Vec<OsString> {
    field.split(|&byte| byte == b',').map(unescape).collect()
}

/// Undoes `\ooo`. A backslash that no three octal digits follow stays: file systems that print options without escaping
/// them exist.
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        match octal(rest) {
            Some(byte) => {
                out.push(byte);
                rest = &rest[4..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(out)
}

/// The byte that a `\ooo` at the start of `text` stands for.
fn octal(text: &[u8]) -> Option<u8> {
    let [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', ..] = text else {
        return None;
    };
    Some((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'))
}

fn write_line(mount: &Mount, out: &mut Vec<u8>) {
    let Device { major, minor } = mount.device;
    out.extend_from_slice(format!("{} {} {major}:{minor}", mount.id, mount.parent).as_bytes());
    for field in [mount.root.as_os_str(), mount.mount_point.as_os_str()] {
        out.push(b' ');
        escape(field, out);
    }
    out.push(b' ');
    write_options(&mount.options, out);
    for field in &mount.propagation {
        out.push(b' ');
        match field {
            Propagation::Shared(group) => out.extend_from_slice(format!("shared:{group}").as_bytes()),
            Propagation::Master(group) => out.extend_from_slice(format!("master:{group}").as_bytes()),
            Propagation::PropagateFrom(group) => out.extend_from_slice(format!("propagate_from:{group}").as_bytes()),
            Propagation::Unbindable => out.extend_from_slice(b"unbindable"),
            Propagation::Other(text) => escape(text, out),
        }
    }
    out.extend_from_slice(b" -");
    for field in [&mount.fs_type, &mount.source] {
        out.push(b' ');
        escape(field, out);
    }
    out.push(b' ');
    write_options(&mount.super_options, out);
    out.push(b'\n');
}

fn write_options(options: &[OsString], out: &mut Vec<u8>) {
    for (index, option) in options.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        escape(option, out);
    }
}

fn escape(text: &OsStr, out: &mut Vec<u8>) {
    for &byte in text.as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' | b',' => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RUNC: &[u8] = include_bytes!("../../fixtures/proc/mountinfo-runc");
    const STACKED: &[u8] = include_bytes!("../../fixtures/proc/mountinfo-stacked");

    fn one(line: &str) -> Mount {
        MountTable::parse(line.as_bytes())
            .unwrap()
            .iter()
            .next()
            .unwrap()
            .clone()
    }

    #[test]
    fn every_field_is_read() {
        let mount = one("36 35 98:0 /mnt1 /mnt2 rw,noatime shared:7 master:1 - ext3 /dev/root rw,errors=continue\n");
        assert_eq!(
            mount,
            Mount {
                id: 36,
                parent: 35,
                device: Device { major: 98, minor: 0 },
                root: "/mnt1".into(),
                mount_point: "/mnt2".into(),
                options: vec!["rw".into(), "noatime".into()],
                propagation: vec![Propagation::Shared(7), Propagation::Master(1)],
                fs_type: "ext3".into(),
                source: "/dev/root".into(),
                super_options: vec!["rw".into(), "errors=continue".into()],
            }
        );
        assert_eq!(mount.super_option("errors"), Some(OsStr::new("continue")));
        assert_eq!(mount.super_option("err"), None);
    }

    #[test]
    fn escapes_are_undone_after_splitting() {
        let mount =
            one(r"1 0 0:1 /a\040b /c\011d\134e\012\043 rw - fuse.x\040y s\054t rw,lowerdir=/l1\054x:/l2,k=\999");
        assert_eq!(mount.root, Path::new("/a b"));
        assert_eq!(mount.mount_point, Path::new("/c\td\\e\n#"));
        assert_eq!(mount.fs_type, "fuse.x y");
        assert_eq!(mount.source, "s,t");
        assert_eq!(mount.super_options, ["rw", "lowerdir=/l1,x:/l2", r"k=\999"]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_kept() {
        let table = MountTable::parse(b"1 0 0:1 / /\xff\\377 rw - tmpfs \xfe rw\n").unwrap();
        let mount = table.iter().next().unwrap();
        assert_eq!(mount.mount_point.as_os_str().as_bytes(), b"/\xff\xff");
        assert_eq!(mount.source.as_bytes(), b"\xfe");
    }

    #[test]
    fn odd_lines_of_real_kernels_are_read() {
        let cases = [
            ("an empty source", "1 0 0:1 / /x rw - tmpfs  rw", "", 1),
            (
                "a namespace file",
                "1 0 0:4 net:[4026532281] /run/netns/a rw - nsfs nsfs rw",
                "nsfs",
                1,
            ),
            (
                "a space in super options",
                "1 0 0:1 / /x rw - 9p src rw,a=b c",
                "src",
                2,
            ),
            (
                "an unknown optional field",
                "1 0 0:1 / /x rw new:3 - tmpfs s rw",
                "s",
                1,
            ),
        ];
        for (name, line, source, super_options) in cases {
            let mount = one(line);
            assert_eq!(mount.source, source, "{name}");
            assert_eq!(mount.super_options.len(), super_options, "{name}");
        }
        assert!(one("1 0 0:1 /f//deleted /x rw - tmpfs s rw").root_deleted());
    }

    #[test]
    fn malformed_lines_are_refused_by_field() {
        let cases = [
            ("", "mount id"),
            ("+1 0 0:1 / /x rw - tmpfs s rw", "mount id"),
            ("1 99999999999 0:1 / /x rw - tmpfs s rw", "parent id"),
            ("1 0 01 / /x rw - tmpfs s rw", "device"),
            ("1 0 0: / /x rw - tmpfs s rw", "device"),
            ("1 0 0:1 / x rw - tmpfs s rw", "mount point"),
            ("1 0 0:1 / /x", "mount options"),
            ("1 0 0:1 / /x rw", "separator"),
            ("1 0 0:1 / /x rw shared:1", "separator"),
            ("1 0 0:1 / /x rw shared:x - tmpfs s rw", "optional field"),
            ("1 0 0:1 / /x rw  - tmpfs s rw", "optional field"),
            ("1 0 0:1 / /x rw - tmpfs", "mount source"),
            ("1 0 0:1 / /x rw - tmpfs s", "super options"),
        ];
        for (line, wanted) in cases {
            let text = format!("9 8 0:2 / / rw - tmpfs s rw\n{line}\n");
            match MountTable::parse(text.as_bytes()) {
                Err(Error::Syntax { line: 2, field }) => assert_eq!(field, wanted, "{line:?}"),
                other => panic!("{line:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn lookups_in_a_container() {
        let table = MountTable::parse(RUNC).unwrap();
        let cases = [
            ("/", Some("/"), true),
            ("/etc/passwd", Some("/"), false),
            ("/proc/self/status", Some("/proc"), false),
            ("/proc//sys/", Some("/proc/sys"), true),
            ("/dev/./pts/0", Some("/dev/pts"), false),
            ("/data", Some("/data"), true),
            ("/database", Some("/"), false),
            ("/data/../etc", None, false),
            ("data", None, false),
        ];
        for (path, wanted, exact) in cases {
            let found = table.mount_of(Path::new(path)).map(|mount| mount.mount_point.as_path());
            assert_eq!(found, wanted.map(Path::new), "{path}");
            assert_eq!(table.mount_at(Path::new(path)).is_some(), exact, "{path}");
        }
        let below: Vec<_> = table
            .below(Path::new("/dev/"))
            .map(|mount| mount.mount_point.to_str().unwrap())
            .collect();
        assert_eq!(below, ["/dev/pts", "/dev/shm", "/dev/mqueue"]);
    }

    #[test]
    fn lookups_see_what_is_on_top() {
        let table = MountTable::parse(STACKED).unwrap();
        let id = |path: &str| table.mount_of(Path::new(path)).map(|mount| mount.id);
        assert_eq!(
            id("/a"),
            Some(12),
            "the topmost of a stack, whatever the order of lines"
        );
        assert_eq!(id("/b/c"), Some(21), "a mount on /b hides the older one on /b/c");
        assert!(table.mount_at(Path::new("/b/c")).is_none());
        assert_eq!(id("/d"), Some(1));
    }

    #[test]
    fn a_chroot_has_mounts_without_visible_parents() {
        let table = MountTable::parse(
            b"30 5 0:9 / /proc rw - proc proc rw\n31 5 0:8 / /dev rw - tmpfs t rw\n32 31 0:7 / /dev/pts rw - devpts d rw\n",
        )
        .unwrap();
        let id = |path: &str| table.mount_of(Path::new(path)).map(|mount| mount.id);
        assert_eq!(id("/proc/1"), Some(30));
        assert_eq!(id("/dev/pts/1"), Some(32));
        assert_eq!(id("/etc"), None);
    }

    #[test]
    fn a_table_of_loops_ends() {
        let table = MountTable::parse(
            b"1 2 0:1 / /a rw - tmpfs s rw\n2 1 0:1 / /a rw - tmpfs s rw\n3 3 0:1 / / rw - tmpfs s rw\n",
        )
        .unwrap();
        assert_eq!(table.mount_of(Path::new("/a")).map(|mount| mount.id), Some(3));
    }

    #[test]
    fn this_process_lives_on_mounts() {
        let table = MountTable::of_self().unwrap();
        let proc = table.mount_of(Path::new("/proc/self/status")).unwrap();
        assert_eq!(proc.fs_type, "proc");
        assert_eq!(MountTable::parse(&table.to_bytes()).unwrap(), table);
    }

    fn bytes() -> impl Strategy<Value = OsString> {
        proptest::collection::vec(1_u8..=255, 0..12).prop_map(OsString::from_vec)
    }

    fn optional() -> impl Strategy<Value = Propagation> {
        prop_oneof![
            any::<u32>().prop_map(Propagation::Shared),
            any::<u32>().prop_map(Propagation::Master),
            any::<u32>().prop_map(Propagation::PropagateFrom),
            Just(Propagation::Unbindable),
            bytes().prop_map(|tail| {
                let mut text = OsString::from("x_");
                text.push(tail);
                Propagation::Other(text)
            }),
        ]
    }

    prop_compose! {
        fn mount()(
            id in any::<u32>(), parent in any::<u32>(), major in any::<u32>(), minor in any::<u32>(),
            root in bytes(), point in bytes(),
            options in proptest::collection::vec(bytes(), 1..4),
            propagation in proptest::collection::vec(optional(), 0..3),
            fs_type in bytes(), source in bytes(),
            super_options in proptest::collection::vec(bytes(), 1..4),
        ) -> Mount {
            let mut mount_point = OsString::from("/");
            mount_point.push(point);
            Mount {
                id, parent, device: Device { major, minor }, root: root.into(), mount_point: mount_point.into(),
                options, propagation, fs_type, source, super_options,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(mounts in proptest::collection::vec(mount(), 0..5)) {
            let table = MountTable { mounts };
            prop_assert_eq!(MountTable::parse(&table.to_bytes()).unwrap(), table);
        }

        #[test]
        fn no_input_panics(input in proptest::collection::vec(any::<u8>(), 0..200), path in "[/a.]{0,6}") {
            if let Ok(table) = MountTable::parse(&input) {
                let _ = table.mount_of(Path::new(&path));
            }
        }
    }
}
