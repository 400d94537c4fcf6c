//! A tar stream into a directory tree.
//!
//! The tar is untrusted. Every object is made beneath a directory descriptor: its parent is opened without following
//! links and without leaving the mount, the object is created exclusively, never opened if it exists. Metadata of
//! directories is set when the tar has left them, so that their times and default ACLs are not disturbed by what is made
//! in them. After an error the tree is incomplete: the caller removes it.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::check::{Summary, check_place};
use super::dir;
use super::error::{Defect, EntryName, Error};
use super::limits::Limits;
use super::meta::{Device, Entry, Kind, Meta, Time};
use super::overlay::{self, Namespace};
use super::path::TreePath;
use super::read::Reader;
use super::remove::remove;
use super::restore::{self, Scope};
use super::seen::Seen;
use super::sparse::Map;
use super::xattr::{self, Travels};

/// Bytes copied at once.
const COPY: usize = 256 * 1024;
/// Permissions of what is being made, until its own are set: nobody else's.
const PRIVATE: Mode = Mode::RWXU;

/// What a tar is unpacked into.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// An empty directory.
    Fresh,
    /// A tree that the tar is a change of: objects of the tar replace those that are there, directories keep what is in
    /// them.
    Over,
    /// The empty upper directory of an overlay that the tar is a change of.
    Upper {
        /// Where the overlay keeps its attributes.
        namespace: Namespace,
        /// The tree below, for the metadata of directories that the tar has files in but no entry for.
        lower: Option<BorrowedFd<'a>>,
    },
}

/// How a tar is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bounds on the tar.
    pub limits: Limits,
    /// Whether device nodes may be made.
    pub devices: bool,
    /// Owners, `trusted.*` and capabilities are restored, or, without privilege, left out.
    pub scope: Scope,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            devices: false,
            scope: Scope::Everything,
        }
    }
}

/// Unpacks a tar beneath `root`.
///
/// # Errors
/// The first defect of the tar, with its entry; or what the system refused, with the path.
pub fn unpack(input: impl Read, root: BorrowedFd<'_>, target: Target<'_>, options: Options) -> Result<Summary, Error> {
    if !matches!(target, Target::Over)
        && let Some(found) = dir::first_name(root).map_err(Error::write("list", &TreePath::root()))?
    {
        return Err(Error::NotEmpty {
            found: EntryName::new(found.to_bytes()),
        });
    }
    let mut reader = Reader::new(input, options.limits);
    let mut unpacking = Unpacking::new(root, target, options);
    let mut summary = Summary::default();
    while let Some(entry) = reader.next_entry()? {
        summary.entries += 1;
        summary.data += entry.kind.data_len();
        unpacking.entry(&mut reader, entry)?;
    }
    unpacking.settle(None)?;
    Ok(summary)
}

struct Unpacking<'a> {
    root: BorrowedFd<'a>,
    target: Target<'a>,
    options: Options,
    seen: Seen,
    /// Directories whose metadata is still to be set, each beneath the one before.
    pending: Vec<(TreePath, Pending)>,
    /// The last parent.
    parent: Option<(TreePath, OwnedFd)>,
    buffer: Vec<u8>,
}

/// What a directory gets when the tar has left it.
enum Pending {
    /// The metadata of its entry.
    Entry(Meta),
    /// The time it had before something was made in it.
    Time(Time),
}

impl<'a> Unpacking<'a> {
    fn new(root: BorrowedFd<'a>, target: Target<'a>, options: Options) -> Self {
        let buffer = vec![0; COPY];
        Self {
            root,
            target,
            options,
            seen: Seen::default(),
            pending: Vec::new(),
            parent: None,
            buffer,
        }
    }

    fn entry(&mut self, reader: &mut Reader<impl Read>, mut entry: Entry) -> Result<(), Error> {
        check_place(&mut self.seen, reader.name(), &entry)?;
        self.check_policy(reader.name(), &entry)?;
        match self.target {
            Target::Fresh => {}
            Target::Over => overlay::to_plain(reader.name(), &mut entry)?,
            Target::Upper { namespace, .. } => overlay::to_upper(reader.name(), &mut entry, namespace)?,
        }
        restore::narrow(&mut entry.meta, self.options.scope);
        let Some((parent, name)) = entry.path.split() else {
            self.settle(Some(&entry.path))?;
            self.pending.insert(0, (entry.path, Pending::Entry(entry.meta)));
            return Ok(());
        };
        let name = CString::new(name).map_err(|_| Error::entry(reader.name(), super::path::PathDefect::Nul))?;
        let dir = self.enter(reader.name(), &parent)?;
        self.make(reader, dir.as_fd(), &name, &entry)?;
        self.parent = Some((parent, dir));
        if entry.kind == Kind::Directory {
            self.pending.push((entry.path, Pending::Entry(entry.meta)));
        }
        Ok(())
    }

    /// What the entry asks for that may not be wanted here.
    fn check_policy(&self, name: &[u8], entry: &Entry) -> Result<(), Error> {
        let device = match entry.kind {
            Kind::Char(device) => Some((device, matches!(self.target, Target::Upper { .. }))),
            Kind::Block(device) => Some((device, false)),
            _ => None,
        };
        if let Some((device, upper)) = device
            && (!self.options.devices || (upper && device == Device::WHITEOUT))
        {
            return Err(Error::entry(name, Defect::DeviceNode));
        }
        match entry
            .meta
            .xattrs
            .keys()
            .find(|name| xattr::travels(name) == Travels::Unknown)
        {
            Some(unknown) => Err(Error::entry(name, Defect::Xattr(EntryName::new(unknown)))),
            None => Ok(()),
        }
    }

    /// Sets the metadata of directories that the tar has left: all but those that `next` is in.
    fn settle(&mut self, next: Option<&TreePath>) -> Result<(), Error> {
        while let Some((path, _)) = self.pending.last()
            && next.is_none_or(|next| !next.starts_with(path))
        {
            let Some((path, pending)) = self.pending.pop() else {
                break;
            };
            let dir = dir::open_beneath(self.root, &path).map_err(Error::write("open", &path))?;
            match pending {
                Pending::Entry(meta) => restore::open_object(dir.as_fd(), &meta, self.options.scope, &path)?,
                Pending::Time(time) => restore::set_time(dir.as_fd(), time, &path)?,
            }
        }
        Ok(())
    }

    /// Opens the directory that the next object is made in.
    fn enter(&mut self, entry: &[u8], path: &TreePath) -> Result<OwnedFd, Error> {
        self.settle(Some(path))?;
        let dir = match self.parent.take() {
            Some((last, dir)) if last == *path => dir,
            _ => self.open_or_make(entry, path)?,
        };
        if self.pending.last().is_none_or(|(last, _)| last != path) {
            let stat = dir::stat_fd(&dir).map_err(Error::write("stat", path))?;
            self.pending.push((path.clone(), Pending::Time(stat.mtime)));
        }
        Ok(dir)
    }

    fn open_or_make(&mut self, entry: &[u8], path: &TreePath) -> Result<OwnedFd, Error> {
        match dir::open_beneath(self.root, path) {
            Ok(dir) => Ok(dir),
            Err(Errno::NOENT) => self.make_parents(entry, path),
            Err(Errno::LOOP | Errno::NOTDIR) => Err(Error::entry(entry, Defect::ParentKind(path.clone()))),
            Err(Errno::XDEV) => Err(Error::entry(entry, Defect::MountPoint(path.clone()))),
            Err(e) => Err(Error::write("open", path)(e)),
        }
    }

    /// Makes the directories on the way to `path` that the tar has no entry for (yet).
    fn make_parents(&mut self, entry: &[u8], path: &TreePath) -> Result<OwnedFd, Error> {
        let mut at = TreePath::root();
        let mut dir = dir::open_beneath(self.root, &at).map_err(Error::write("open", &at))?;
        for name in path.components() {
            let parent = at.clone();
            at = at.join(name);
            dir = match dir::open_beneath(self.root, &at) {
                Err(Errno::NOENT) => self.make_parent(entry, &dir, &parent, &at, name)?,
                Err(Errno::LOOP | Errno::NOTDIR) => return Err(Error::entry(entry, Defect::ParentKind(at))),
                Err(Errno::XDEV) => return Err(Error::entry(entry, Defect::MountPoint(at))),
                result => result.map_err(Error::write("open", &at))?,
            };
        }
        Ok(dir)
    }

    /// One of them: like the directory below in an overlay, else an ordinary one.
    fn make_parent(
        &mut self,
        entry: &[u8],
        dir: &OwnedFd,
        parent: &TreePath,
        path: &TreePath,
        name: &[u8],
    ) -> Result<OwnedFd, Error> {
        let meta = match self.target {
            Target::Upper { lower: Some(lower), .. } => restore::of_directory(lower, path)?,
            _ => None,
        };
        if meta.is_none() && matches!(self.target, Target::Upper { .. }) {
            return Err(Error::entry(entry, Defect::MissingParent(path.clone())));
        }
        if self.pending.last().is_none_or(|(last, _)| last != parent) {
            let stat = dir::stat_fd(dir).map_err(Error::write("stat", parent))?;
            self.pending.push((parent.clone(), Pending::Time(stat.mtime)));
        }
        fs::mkdirat(dir, name, PRIVATE).map_err(Error::write("create directory", path))?;
        let made = dir::open_beneath(self.root, path).map_err(Error::write("open", path))?;
        match meta {
            Some(meta) => self.pending.push((path.clone(), Pending::Entry(meta))),
            None => fs::fchmod(&made, Mode::from(0o755)).map_err(Error::write("set mode of", path))?,
        }
        Ok(made)
    }

    fn make(
        &mut self,
        reader: &mut Reader<impl Read>,
        dir: BorrowedFd<'_>,
        name: &CStr,
        entry: &Entry,
    ) -> Result<(), Error> {
        let path = &entry.path;
        let scope = self.options.scope;
        match &entry.kind {
            Kind::File { size, sparse } => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let create = || fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR);
                let file = File::from(self.place(dir, name, path, "create", create)?);
                self.content(reader, &file, *size, sparse.as_ref(), path)?;
                return restore::open_object(file.as_fd(), &entry.meta, scope, path);
            }
            Kind::Directory => return self.directory(reader.name(), dir, name, path),
            Kind::HardLink(target) => return self.hard_link(reader.name(), dir, name, path, target),
            Kind::Symlink(target) => {
                self.place(dir, name, path, "create symbolic link", || {
                    fs::symlinkat(target.as_slice(), dir, name)
                })?;
            }
            Kind::Char(device) => self.node(dir, name, path, FileType::CharacterDevice, *device)?,
            Kind::Block(device) => self.node(dir, name, path, FileType::BlockDevice, *device)?,
            Kind::Fifo => self.node(dir, name, path, FileType::Fifo, Device::WHITEOUT)?,
        }
        let symlink = matches!(entry.kind, Kind::Symlink(_));
        restore::named_object(dir, name, symlink, &entry.meta, scope, path)
    }

    /// Creates an object; over an existing tree what is in its place is removed first.
    fn place<T>(
        &self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        path: &TreePath,
        op: &'static str,
        create: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, Error> {
        match create() {
            Err(Errno::EXIST) if matches!(self.target, Target::Over) => {
                remove(dir, name, path)?;
                create().map_err(Error::write(op, path))
            }
            result => result.map_err(Error::write(op, path)),
        }
    }

    fn directory(&self, entry: &[u8], dir: BorrowedFd<'_>, name: &CStr, path: &TreePath) -> Result<(), Error> {
        let create = || fs::mkdirat(dir, name, PRIVATE);
        match create() {
            Err(Errno::EXIST) => {}
            result => return result.map_err(Error::write("create directory", path)),
        }
        let there = dir::stat_at(dir, name).map_err(Error::write("stat", path))?;
        let parent = dir::stat_fd(dir).map_err(Error::write("stat", path))?;
        if !there.same_mount(&parent) {
            return Err(Error::entry(entry, Defect::MountPoint(path.clone())));
        }
        // A directory that is there was made for a file in it, or belongs to the tree below the change.
        if there.kind == FileType::Directory {
            Ok(())
        } else {
            self.place(dir, name, path, "create directory", create)
        }
    }

    fn node(
        &self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        path: &TreePath,
        kind: FileType,
        device: Device,
    ) -> Result<(), Error> {
        let number = fs::makedev(device.major, device.minor);
        let create = || fs::mknodat(dir, name, kind, Mode::RUSR | Mode::WUSR, number);
        self.place(dir, name, path, "create device or FIFO", create)
    }

    fn hard_link(
        &self,
        entry: &[u8],
        dir: BorrowedFd<'_>,
        name: &CStr,
        path: &TreePath,
        target: &TreePath,
    ) -> Result<(), Error> {
        let (parent, target_name) = target
            .split()
            .ok_or_else(|| Error::entry(entry, Defect::LinkTarget(target.clone())))?;
        let from = dir::open_beneath(self.root, &parent).map_err(Error::write("open", &parent))?;
        let link = || fs::linkat(&from, target_name, dir, name, AtFlags::empty());
        self.place(dir, name, path, "create hard link", link)
    }

    fn content(
        &mut self,
        reader: &mut Reader<impl Read>,
        file: &File,
        size: u64,
        sparse: Option<&Map>,
        path: &TreePath,
    ) -> Result<(), Error> {
        let Some(map) = sparse else {
            let mut out = file;
            return copy(reader, &mut self.buffer, size, |bytes, _| out.write_all(bytes), path);
        };
        file.set_len(size).map_err(Error::write("set size of", path))?;
        for region in map.regions() {
            let write = |bytes: &[u8], at| file.write_all_at(bytes, region.offset + at);
            copy(reader, &mut self.buffer, region.len, write, path)?;
        }
        Ok(())
    }
}

/// Copies `len` bytes of content; `write` gets bytes and where they belong, counted from the first.
fn copy(
    reader: &mut Reader<impl Read>,
    buffer: &mut [u8],
    len: u64,
    mut write: impl FnMut(&[u8], u64) -> std::io::Result<()>,
    path: &TreePath,
) -> Result<(), Error> {
    let mut done = 0;
    while done < len {
        let want = usize::try_from(len - done).unwrap_or(usize::MAX).min(buffer.len());
        let got = reader.read_data(&mut buffer[..want])?;
        if got == 0 {
            return Err(Error::entry(reader.name(), Defect::Truncated));
        }
        write(&buffer[..got], done).map_err(Error::write("write", path))?;
        done += got as u64;
    }
    Ok(())
}
