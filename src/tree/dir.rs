//! Directories by descriptor: opened beneath a root without following symbolic links, listed in order, and kept on a
//! stack that needs few descriptors however deep a tree is.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, SeekFrom, StatxFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use super::meta::{Device, Time};
use super::path::TreePath;

/// Longest path given to the kernel at once, bytes: below `PATH_MAX` with room to spare.
const PATH_AT_ONCE: usize = 4000;
/// How often `openat2` is tried again when a rename elsewhere makes it unsure (it then answers `EAGAIN`).
const RESOLVE_TRIES: u32 = 64;
/// Buffer for directory entries, bytes.
const LISTING_BUFFER: usize = 32 * 1024;
/// Descriptors that a [`DirStack`] keeps open. Deeper trees cost a reopening per directory, not more descriptors.
const OPEN_LEVELS: usize = 64;

/// What is known of an object by `statx`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stat {
    pub kind: FileType,
    /// Low twelve bits.
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub dev: (u32, u32),
    pub ino: u64,
    pub size: u64,
    pub mtime: Time,
    pub ctime: Time,
    pub rdev: Device,
    /// Of kernels from 5.8 on.
    mount: Option<u64>,
}

impl Stat {
    /// Whether it is on the same mount as `other` (the same device where the kernel does not tell mounts).
    pub fn same_mount(&self, other: &Self) -> bool {
        match (self.mount, other.mount) {
            (Some(a), Some(b)) => a == b,
            _ => self.dev == other.dev,
        }
    }

    /// Whether it is the same object as `other`.
    pub fn same_object(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }

    /// Whether it is an overlay whiteout.
    pub fn is_whiteout(&self) -> bool {
        self.kind == FileType::CharacterDevice && self.rdev == Device::WHITEOUT
    }
}

/// Looks at a name in a directory, not following it.
pub(crate) fn stat_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<Stat, Errno> {
    statx(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Looks at an open object.
pub(crate) fn stat_fd(fd: impl AsFd) -> Result<Stat, Errno> {
    statx(fd.as_fd(), c"", AtFlags::EMPTY_PATH)
}

fn statx(dir: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<Stat, Errno> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let stat = fs::statx(dir, name, flags | AtFlags::NO_AUTOMOUNT, wanted)?;
    let time = |t: fs::StatxTimestamp| Time {
        sec: t.tv_sec,
        nsec: t.tv_nsec,
    };
    let has_mount = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
    Ok(Stat {
        kind: FileType::from_raw_mode(stat.stx_mode.into()),
        mode: u32::from(stat.stx_mode) & 0o7777,
        nlink: stat.stx_nlink,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        dev: (stat.stx_dev_major, stat.stx_dev_minor),
        ino: stat.stx_ino,
        size: stat.stx_size,
        mtime: time(stat.stx_mtime),
        ctime: time(stat.stx_ctime),
        rdev: Device {
            major: stat.stx_rdev_major,
            minor: stat.stx_rdev_minor,
        },
        mount: has_mount.then_some(stat.stx_mnt_id),
    })
}

/// Opens the root of a tree by a path of the host, following symbolic links as the host's user means them.
///
/// # Errors
/// The system's.
pub fn open_root(path: impl Arg) -> Result<OwnedFd, std::io::Error> {
    Ok(fs::openat(
        CWD,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Opens a directory by its name in another.
pub(crate) fn open_dir_at(dir: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(dir, name, flags, Mode::empty())
}

/// Opens a directory beneath `root`. Fails with `ELOOP` or `ENOTDIR` where a component is a symbolic link, with `EXDEV`
/// where it is on another mount.
pub(crate) fn open_beneath(root: BorrowedFd<'_>, path: &TreePath) -> Result<OwnedFd, Errno> {
    if path.is_root() {
        return open_dir_at(root, c".");
    }
    let mount = stat_fd(root)?;
    let mut dir = None;
    for part in parts(path.as_bytes()) {
        let opened = open_part(dir.as_ref().map_or(root, AsFd::as_fd), part, &mount)?;
        dir = Some(opened);
    }
    dir.ok_or(Errno::INVAL)
}

/// Cuts a path at slashes into parts that the kernel takes at once.
fn parts(mut path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (part, rest) = match path.len() {
            0 => return None,
            len if len <= PATH_AT_ONCE => (path, &[][..]),
            _ => {
                let at = path[..PATH_AT_ONCE].iter().rposition(|&b| b == b'/')?;
                (&path[..at], &path[at + 1..])
            }
        };
        path = rest;
        Some(part)
    })
}

fn open_part(dir: BorrowedFd<'_>, path: &[u8], mount: &Stat) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    for _ in 0..RESOLVE_TRIES {
        match fs::openat2(dir, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Kernels before 5.6, and seccomp filters that do not know the call.
            Err(Errno::NOSYS | Errno::PERM) => break,
            result => return result,
        }
    }
    open_by_component(dir, path, mount)
}

/// The same one component at a time.
fn open_by_component(dir: BorrowedFd<'_>, path: &[u8], mount: &Stat) -> Result<OwnedFd, Errno> {
    let mut dir = open_dir_at(dir, c".")?;
    for name in path.split(|&b| b == b'/') {
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        dir = open_dir_at(&dir, &name)?;
        if !stat_fd(&dir)?.same_mount(mount) {
            return Err(Errno::XDEV);
        }
    }
    Ok(dir)
}

/// Names in a directory, sorted bytewise, without `.` and `..`.
pub(crate) fn list(dir: impl AsFd) -> Result<Vec<CString>, Errno> {
    fs::seek(&dir, SeekFrom::Start(0))?;
    let mut buffer = vec![MaybeUninit::uninit(); LISTING_BUFFER];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Any name in a directory; none when it is empty.
pub(crate) fn first_name(dir: impl AsFd) -> Result<Option<CString>, Errno> {
    Ok(list(dir)?.into_iter().next())
}

/// The directories from the root of a walk down to the current one.
///
/// Only the deepest [`OPEN_LEVELS`] and the root are open; the others are opened again through `..` when the walk comes
/// back to them, and must then be the very same directories.
#[derive(Debug)]
pub(crate) struct DirStack {
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    fd: Option<OwnedFd>,
    stat: Stat,
}

impl DirStack {
    pub fn new(root: OwnedFd) -> Result<Self, Errno> {
        let stat = stat_fd(&root)?;
        Ok(Self {
            levels: vec![Level { fd: Some(root), stat }],
        })
    }

    /// The current directory.
    pub fn top(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.levels
            .last()
            .and_then(|level| level.fd.as_ref())
            .map(AsFd::as_fd)
            .ok_or(Errno::BADF)
    }

    /// Depth of the current directory, 0 for the root.
    pub fn depth(&self) -> usize {
        self.levels.len() - 1
    }

    /// Enters a directory of the current one. None when another object has taken its place since `expected` was seen.
    pub fn push(&mut self, name: &CStr, expected: &Stat) -> Result<Option<()>, Errno> {
        let fd = open_dir_at(self.top()?, name)?;
        let stat = stat_fd(&fd)?;
        if !stat.same_object(expected) {
            return Ok(None);
        }
        self.levels.push(Level { fd: Some(fd), stat });
        if let Some(far) = self.levels.len().checked_sub(1 + OPEN_LEVELS)
            && far > 0
        {
            self.levels[far].fd = None;
        }
        Ok(Some(()))
    }

    /// Leaves the current directory; nothing happens at the root. None when the tree was moved about meanwhile.
    pub fn pop(&mut self) -> Result<Option<()>, Errno> {
        if self.levels.len() < 2 {
            return Ok(Some(()));
        }
        let left = self.levels.pop().and_then(|level| level.fd).ok_or(Errno::BADF)?;
        if let Some(level) = self.levels.last_mut()
            && level.fd.is_none()
        {
            let parent = open_dir_at(&left, c"..")?;
            if !stat_fd(&parent)?.same_object(&level.stat) {
                return Ok(None);
            }
            level.fd = Some(parent);
        }
        Ok(Some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs as stdfs;
    use std::os::unix::fs::symlink;

    #[test]
    fn opening_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        stdfs::create_dir_all(dir.path().join("a/b")).unwrap();
        symlink("a", dir.path().join("link")).unwrap();
        symlink("/etc", dir.path().join("a/out")).unwrap();
        let root = open_root(dir.path()).unwrap();
        let path = |p: &str| TreePath::parse(p.as_bytes(), 100, 10).unwrap();
        let by_component =
            |root: BorrowedFd<'_>, path: &TreePath| open_by_component(root, path.as_bytes(), &stat_fd(root).unwrap());
        for open in [&open_beneath as &dyn Fn(_, &_) -> _, &by_component] {
            assert!(open(root.as_fd(), &path("a/b")).is_ok());
            assert!(matches!(
                open(root.as_fd(), &path("link/b")),
                Err(Errno::LOOP | Errno::NOTDIR)
            ));
            assert!(matches!(
                open(root.as_fd(), &path("link")),
                Err(Errno::LOOP | Errno::NOTDIR)
            ));
            assert!(matches!(
                open(root.as_fd(), &path("a/out")),
                Err(Errno::LOOP | Errno::NOTDIR)
            ));
            assert!(matches!(open(root.as_fd(), &path("a/none")), Err(Errno::NOENT)));
        }
    }

    #[test]
    fn long_paths_are_cut_at_slashes() {
        let path = "abc/".repeat(3000);
        let path = path.trim_end_matches('/').as_bytes();
        let cut: Vec<_> = parts(path).collect();
        assert!(cut.len() > 2 && cut.iter().all(|part| part.len() <= PATH_AT_ONCE));
        assert_eq!(cut.join(&b'/'), path);
        assert_eq!(parts(b"a/b").collect::<Vec<_>>(), [b"a/b"]);
    }

    #[test]
    fn stack_goes_deeper_than_it_has_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let mut stack = DirStack::new(open_root(dir.path()).unwrap()).unwrap();
        let root = stat_fd(stack.top().unwrap()).unwrap();
        let depth = 5 * OPEN_LEVELS;
        for _ in 0..depth {
            fs::mkdirat(stack.top().unwrap(), "d", Mode::RWXU).unwrap();
            let stat = stat_at(stack.top().unwrap(), c"d").unwrap();
            stack.push(c"d", &stat).unwrap().unwrap();
            assert!(stack.levels.iter().filter(|level| level.fd.is_some()).count() <= OPEN_LEVELS + 1);
        }
        for _ in 0..depth {
            stack.pop().unwrap().unwrap();
        }
        assert!(stat_fd(stack.top().unwrap()).unwrap().same_object(&root));
    }

    #[test]
    fn stack_notices_a_moved_directory() {
        let dir = tempfile::tempdir().unwrap();
        let mut stack = DirStack::new(open_root(dir.path()).unwrap()).unwrap();
        for _ in 0..OPEN_LEVELS + 2 {
            fs::mkdirat(stack.top().unwrap(), "d", Mode::RWXU).unwrap();
            let stat = stat_at(stack.top().unwrap(), c"d").unwrap();
            stack.push(c"d", &stat).unwrap().unwrap();
        }
        stdfs::rename(dir.path().join("d/d"), dir.path().join("elsewhere")).unwrap();
        let mut result = Some(());
        while stack.depth() > 0 && result.is_some() {
            result = stack.pop().unwrap();
        }
        assert_eq!(result, None);
    }
}
