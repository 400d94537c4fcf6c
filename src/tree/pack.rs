//! A directory tree into a tar stream.
//!
//! The archive around it needs the exact size before the first byte, so a tree is walked twice: [`Packer::measure`] counts,
//! [`Measured::write`] writes exactly as many bytes or fails and names the file that changed in between. Memory does not
//! grow with the content: one directory listing per level, eight bytes per entry to name a change, the names of files with
//! several links, and the maps of sparse files.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::dir::{self, Stat};
use super::encode::{self, END};
use super::error::Error;
use super::limits;
use super::meta::{Entry, Kind, Meta, Xattrs};
use super::packed::Packed;
use super::path::TreePath;
use super::record::{MAPPED, Maps, Record};
use super::report::Report;
use super::sparse::{self, Map};
use super::transient::{Places, Transient};
use super::walk::{All, Only, Select, Visit, Walk};
use super::xattr::{self, Object};

/// Bytes read from a file at once.
const COPY: usize = 256 * 1024;

/// What to pack, and how.
#[derive(Debug)]
pub struct Packer {
    root: OwnedFd,
    select: Box<dyn Select>,
    options: Options,
}

#[derive(Debug)]
struct Options {
    prefix: Option<TreePath>,
    exclude: Vec<TreePath>,
    transient: Transient,
    cross_mounts: bool,
    omit_root: bool,
}

impl Packer {
    /// Packs the tree of this directory: the directory itself as `./`, and all in it.
    #[must_use]
    pub fn new(root: OwnedFd) -> Self {
        Self::selecting(root, All)
    }

    /// Packs one object of this directory, and what is in it if it is a directory; not the directory itself.
    #[must_use]
    pub fn only(directory: OwnedFd, name: &CStr) -> Self {
        let mut packer = Self::selecting(directory, Only(name.to_owned()));
        packer.options.omit_root = true;
        packer
    }

    /// Packs what `select` chooses of a tree.
    pub(crate) fn selecting(root: OwnedFd, select: impl Select + 'static) -> Self {
        Self {
            root,
            select: Box::new(select),
            options: Options {
                prefix: None,
                exclude: Vec::new(),
                transient: Transient::NONE,
                cross_mounts: false,
                omit_root: false,
            },
        }
    }

    /// Puts all names beneath a directory of this name, which gets no entry of its own.
    #[must_use]
    pub fn prefix(mut self, prefix: TreePath) -> Self {
        self.options.prefix = Some(prefix);
        self
    }

    /// Leaves out this path, and all beneath it.
    #[must_use]
    pub fn exclude(mut self, path: TreePath) -> Self {
        self.options.exclude.push(path);
        self
    }

    /// Leaves out what comes and goes meanwhile; the directories that it is in are packed as they were measured.
    #[must_use]
    pub fn leave_out(mut self, transient: Transient) -> Self {
        self.options.transient = transient;
        self
    }

    /// Whether other mounts beneath the root are packed too. Else a mount point is packed as an empty directory or file,
    /// and reported.
    #[must_use]
    pub fn cross_mounts(mut self, cross: bool) -> Self {
        self.options.cross_mounts = cross;
        self
    }

    /// Walks the tree and counts the bytes of its tar.
    ///
    /// # Errors
    /// What cannot be read, with its path.
    pub fn measure(mut self) -> Result<Measured, Error> {
        let mut record = Record::default();
        let mut report = Report::default();
        let mut places = Places::default();
        let mut pass = Pass::new(&self.root, &mut *self.select, &self.options, &mut places, None)?;
        while let Some(packed) = pass.next(&mut report)? {
            record.add(&packed);
        }
        record.size += END.len() as u64;
        Ok(Measured {
            packer: self,
            places,
            record,
            report,
        })
    }
}

/// A tree that has been measured.
#[derive(Debug)]
pub struct Measured {
    packer: Packer,
    places: Places,
    record: Record,
    report: Report,
}

impl Measured {
    /// Exact size of the tar, bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.record.size
    }

    /// What was seen, and what is not in the tar.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Writes the tar: exactly [`Measured::size`] bytes.
    ///
    /// # Errors
    /// What cannot be read, with its path; a file that changed since it was measured; or that `out` takes no more.
    pub fn write(&mut self, out: &mut (impl Write + ?Sized)) -> Result<(), Error> {
        let Packer { root, select, options } = &mut self.packer;
        let maps = Some(&self.record.maps);
        let mut pass = Pass::new(root, &mut **select, options, &mut self.places, maps)?;
        let mut buffer = vec![0; COPY];
        let mut written = 0;
        let mut count = 0;
        let mut last = TreePath::root();
        let mut ignored = Report::default();
        while let Some(packed) = pass.next(&mut ignored)? {
            let path = &packed.entry.path;
            self.record.check(count, &packed, &last)?;
            written += packed.len();
            if written + END.len() as u64 > self.record.size {
                return Err(Error::Changed { path: path.clone() });
            }
            packed.write(out, &mut buffer)?;
            count += 1;
            last = path.clone();
        }
        if written + END.len() as u64 != self.record.size {
            return Err(Error::Vanished { after: last });
        }
        out.write_all(&END).map_err(Error::Output)
    }
}

/// One walk.
struct Pass<'a> {
    walk: Walk<'a>,
    options: &'a Options,
    /// Files with more than one link, by device and inode: the entry, and how many links have not been seen.
    links: HashMap<((u32, u32), u64), (TreePath, u32)>,
    /// Of the second walk.
    maps: Option<&'a Maps>,
    ordinal: u64,
    /// Data regions found by the first walk.
    regions: usize,
}

impl<'a> Pass<'a> {
    fn new(
        root: &OwnedFd,
        select: &'a mut dyn Select,
        options: &'a Options,
        places: &'a mut Places,
        maps: Option<&'a Maps>,
    ) -> Result<Self, Error> {
        let root = dir::open_dir_at(root, c".").map_err(Error::read("open", &TreePath::root()))?;
        let walk = Walk::new(root, select, options.cross_mounts, options.transient, places)?;
        Ok(Self {
            walk,
            options,
            links: HashMap::new(),
            maps,
            ordinal: 0,
            regions: 0,
        })
    }

    /// The next entry of the tar.
    fn next(&mut self, report: &mut Report) -> Result<Option<Packed>, Error> {
        while let Some(visit) = self.walk.next()? {
            if self.options.omit_root && visit.path.is_root() {
                continue;
            }
            if self
                .options
                .exclude
                .iter()
                .any(|excluded| visit.path.starts_with(excluded))
            {
                self.walk.skip();
                continue;
            }
            self.ordinal += 1;
            if let Some(packed) = self.pack(visit, report)? {
                report.entries += 1;
                return Ok(Some(packed));
            }
        }
        Ok(None)
    }

    fn pack(&mut self, mut visit: Visit, report: &mut Report) -> Result<Option<Packed>, Error> {
        if visit.mount_point {
            report.mount_points.add(&visit.path);
        }
        let (kind, file) = match self.first_link(&visit) {
            Some(first) => (Kind::HardLink(first), None),
            None if visit.stat.kind == FileType::RegularFile && !visit.mount_point => self.regular(&mut visit)?,
            None => match self.special(&visit)? {
                Some(kind) => (kind, None),
                None => {
                    report.sockets.add(&visit.path);
                    return Ok(None);
                }
            },
        };
        let meta = self.meta(&visit, &kind, file.as_ref(), report)?;
        report.data += kind.data_len();
        self.finish(visit, kind, meta, file).map(Some)
    }

    /// A regular file, open; what is known of it is from then on known of the open file.
    fn regular(&mut self, visit: &mut Visit) -> Result<(Kind, Option<File>), Error> {
        let (file, stat) = self.open(visit)?;
        visit.stat = stat;
        let sparse = self.map(&file, visit)?;
        Ok((
            Kind::File {
                size: stat.size,
                sparse,
            },
            Some(file),
        ))
    }

    /// Anything without content. None for sockets: CRIU makes those in use anew, and nobody can use the others.
    fn special(&self, visit: &Visit) -> Result<Option<Kind>, Error> {
        Ok(Some(match visit.stat.kind {
            FileType::RegularFile => Kind::File { size: 0, sparse: None },
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink(self.target(visit)?),
            FileType::CharacterDevice => Kind::Char(visit.stat.rdev),
            FileType::BlockDevice => Kind::Block(visit.stat.rdev),
            FileType::Fifo => Kind::Fifo,
            _ => return Ok(None),
        }))
    }

    /// Encodes the headers, under the name that the entry gets in the tar.
    fn finish(&self, visit: Visit, kind: Kind, meta: Meta, file: Option<File>) -> Result<Packed, Error> {
        let mut entry = Entry {
            path: self.renamed(&visit.path),
            kind,
            meta,
        };
        if let Kind::HardLink(target) = &mut entry.kind {
            *target = self.renamed(target);
        }
        let head = encode::encode(&entry).map_err(|reason| Error::Unpackable {
            path: visit.path.clone(),
            reason,
        })?;
        entry.path = visit.path;
        Ok(Packed {
            entry,
            head,
            file,
            ordinal: self.ordinal,
            ctime: visit.stat.ctime,
        })
    }

    fn renamed(&self, path: &TreePath) -> TreePath {
        match &self.options.prefix {
            Some(prefix) => path.components().fold(prefix.clone(), |path, name| path.join(name)),
            None => path.clone(),
        }
    }

    /// The entry that this is another name of, if it is.
    fn first_link(&mut self, visit: &Visit) -> Option<TreePath> {
        let Stat {
            kind, nlink, dev, ino, ..
        } = visit.stat;
        if nlink < 2 || matches!(kind, FileType::Directory | FileType::Socket) || visit.mount_point {
            return None;
        }
        let (path, unseen) = self
            .links
            .entry((dev, ino))
            .or_insert_with(|| (visit.path.clone(), nlink));
        *unseen -= 1;
        let first = (*path != visit.path).then(|| path.clone());
        if *unseen == 0 {
            self.links.remove(&(dev, ino));
        }
        first
    }

    /// Opens a regular file for reading, without touching its access time where that is allowed.
    fn open(&self, visit: &Visit) -> Result<(File, Stat), Error> {
        // NONBLOCK: should a FIFO have taken its place, opening it must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let dir = self.walk.dir()?;
        let open = |flags| fs::openat(dir, &*visit.name, flags, Mode::empty());
        let file = match open(flags | OFlags::NOATIME) {
            Err(Errno::PERM) => open(flags),
            result => result,
        };
        let file = file.map_err(Error::read("open", &visit.path))?;
        let stat = dir::stat_fd(&file).map_err(Error::read("stat", &visit.path))?;
        if stat.kind == FileType::RegularFile && stat.same_object(&visit.stat) {
            Ok((file.into(), stat))
        } else {
            Err(Error::Changed {
                path: visit.path.clone(),
            })
        }
    }

    /// Where the data of a file is, if it has holes.
    fn map(&mut self, file: &File, visit: &Visit) -> Result<Option<Map>, Error> {
        let Stat { size, ctime, .. } = visit.stat;
        if let Some(maps) = self.maps {
            return match maps.get(self.ordinal) {
                None => Ok(None),
                // A write into what was a hole changes no size.
                Some((then, _)) if *then != ctime => Err(Error::Changed {
                    path: visit.path.clone(),
                }),
                Some((_, map)) => Ok(Some(map.clone())),
            };
        }
        if self.regions >= MAPPED {
            return Ok(None);
        }
        let map = sparse::scan(file, size, limits::WRITE_REGIONS).map_err(Error::read("find holes of", &visit.path))?;
        self.regions += map.as_ref().map_or(0, |map| map.regions().len() + 1);
        Ok(map)
    }

    fn target(&self, visit: &Visit) -> Result<Vec<u8>, Error> {
        let target = fs::readlinkat(self.walk.dir()?, &*visit.name, Vec::new());
        Ok(target.map_err(Error::read("read link", &visit.path))?.into_bytes())
    }

    fn meta(&mut self, visit: &Visit, kind: &Kind, file: Option<&File>, report: &mut Report) -> Result<Meta, Error> {
        let Stat {
            mode, uid, gid, mtime, ..
        } = visit.stat;
        let xattrs = match kind {
            Kind::HardLink(_) => Xattrs::new(),
            _ => self.xattrs(&visit.path, &visit.name, file, report)?,
        };
        let mut meta = Meta {
            mode,
            uid,
            gid,
            mtime,
            xattrs,
        };
        self.walk
            .select()
            .adjust(&visit.path, &visit.name, &visit.stat, &mut meta)?;
        Ok(meta)
    }

    fn xattrs(&self, path: &TreePath, name: &CStr, file: Option<&File>, report: &mut Report) -> Result<Xattrs, Error> {
        let dir = self.walk.dir()?;
        let object = match file {
            Some(file) => Object::Open(file.as_fd()),
            None if path.is_root() => Object::Open(dir),
            None => Object::Named(dir, name),
        };
        xattr::read(object, |name| report.left_out(name)).map_err(Error::read("read extended attributes of", path))
    }
}
