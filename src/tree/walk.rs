//! A walk over a tree: depth first, names of a directory in bytewise order, without following links.
//!
//! The order is the same wherever the tree lies. A directory comes before what is in it. Memory is one listing per level,
//! never the whole tree.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::FileType;

use super::dir::{self, DirStack, Stat};
use super::error::{Error, Unpackable};
use super::limits;
use super::meta::Meta;
use super::path::TreePath;
use super::transient::{Places, Transient};

/// Chooses what of each directory a walk sees.
pub(crate) trait Select: std::fmt::Debug + Send {
    /// Names to see in the current directory, which is open as `dir`, in bytewise order.
    fn names(&mut self, path: &TreePath, dir: BorrowedFd<'_>) -> Result<Vec<CString>, Error>;

    /// A walk begins, possibly not the first.
    fn begin(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// The walk is about to enter `name` in the current directory.
    fn enter(&mut self, _path: &TreePath, _name: &CStr) -> Result<(), Error> {
        Ok(())
    }

    /// The walk left the current directory for its parent.
    fn leave(&mut self, _path: &TreePath) -> Result<(), Error> {
        Ok(())
    }

    /// Last word on the metadata of an object in the current directory.
    fn adjust(&mut self, _path: &TreePath, _name: &CStr, _stat: &Stat, _meta: &mut Meta) -> Result<(), Error> {
        Ok(())
    }
}

/// Everything.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct All;

impl Select for All {
    fn names(&mut self, path: &TreePath, dir: BorrowedFd<'_>) -> Result<Vec<CString>, Error> {
        dir::list(dir).map_err(Error::read("list", path))
    }
}

/// One name of the root, and everything in it.
#[derive(Debug, Clone)]
pub(crate) struct Only(pub CString);

impl Select for Only {
    fn names(&mut self, path: &TreePath, dir: BorrowedFd<'_>) -> Result<Vec<CString>, Error> {
        if path.is_root() {
            Ok(vec![self.0.clone()])
        } else {
            All.names(path, dir)
        }
    }
}

/// An object that a walk came to.
#[derive(Debug)]
pub(crate) struct Visit {
    pub path: TreePath,
    /// Its name in [`Walk::dir`]; `.` for the root.
    pub name: CString,
    pub stat: Stat,
    /// It is on another mount than the root: of a directory nothing more is seen, of a file the content is not the tree's.
    pub mount_point: bool,
}

/// A walk that is under way.
pub(crate) struct Walk<'s> {
    select: &'s mut dyn Select,
    stack: DirStack,
    /// Per level: its path, and the names still to come, in reverse order.
    levels: Vec<(TreePath, Vec<CString>)>,
    root: Stat,
    /// Whether other mounts are entered.
    cross_mounts: bool,
    transient: Transient,
    places: &'s mut Places,
    enter: Enter,
}

/// What the next step enters before it goes on.
enum Enter {
    /// The root has not been seen.
    Start,
    /// The root has been seen, not what is in it.
    Root,
    Directory(Visit),
    Nothing,
}

impl<'s> Walk<'s> {
    pub fn new(
        root: OwnedFd,
        select: &'s mut dyn Select,
        cross_mounts: bool,
        transient: Transient,
        places: &'s mut Places,
    ) -> Result<Self, Error> {
        select.begin()?;
        let path = TreePath::root();
        let mut stat = dir::stat_fd(&root).map_err(Error::read("stat", &path))?;
        if (transient.places)(&path) {
            stat = places.stat(&path, stat);
        }
        let stack = DirStack::new(root).map_err(Error::read("stat", &path))?;
        Ok(Self {
            select,
            stack,
            levels: Vec::new(),
            root: stat,
            cross_mounts,
            transient,
            places,
            enter: Enter::Start,
        })
    }

    /// The directory that the last visit was in.
    pub fn dir(&self) -> Result<BorrowedFd<'_>, Error> {
        self.stack.top().map_err(Error::read("open", &TreePath::root()))
    }

    /// The selection.
    pub fn select(&mut self) -> &mut dyn Select {
        self.select
    }

    /// Does not enter the directory that the last visit was.
    pub fn skip(&mut self) {
        self.enter = Enter::Nothing;
    }

    /// The next object, the root first.
    pub fn next(&mut self) -> Result<Option<Visit>, Error> {
        match std::mem::replace(&mut self.enter, Enter::Nothing) {
            Enter::Start => {
                self.enter = Enter::Root;
                return Ok(Some(self.visit_root()));
            }
            Enter::Root => self.open_level(TreePath::root())?,
            Enter::Directory(visit) => self.descend(&visit)?,
            Enter::Nothing => {}
        }
        while let Some((path, names)) = self.levels.last_mut() {
            let Some(name) = names.pop() else {
                self.ascend()?;
                continue;
            };
            let path = path.join(name.to_bytes());
            return self.visit(path, name).map(Some);
        }
        Ok(None)
    }

    fn visit_root(&self) -> Visit {
        Visit {
            path: TreePath::root(),
            name: c".".to_owned(),
            stat: self.root,
            mount_point: false,
        }
    }

    fn visit(&mut self, path: TreePath, name: CString) -> Result<Visit, Error> {
        if path.as_bytes().len() > limits::WRITE_PATH {
            return Err(Error::Unpackable {
                path,
                reason: Unpackable::Path(limits::WRITE_PATH),
            });
        }
        let mut stat = dir::stat_at(self.dir()?, &name).map_err(Error::read("stat", &path))?;
        let now = stat;
        if (self.transient.places)(&path) {
            stat = self.places.stat(&path, now);
        }
        let mount_point = !self.cross_mounts && !stat.same_mount(&self.root);
        if stat.kind == FileType::Directory && !mount_point {
            let (path, name) = (path.clone(), name.clone());
            self.enter = Enter::Directory(Visit {
                path,
                name,
                stat: now,
                mount_point,
            });
        }
        Ok(Visit {
            path,
            name,
            stat,
            mount_point,
        })
    }

    fn descend(&mut self, visit: &Visit) -> Result<(), Error> {
        if self.stack.depth() >= limits::WRITE_DEPTH {
            let reason = Unpackable::Depth(limits::WRITE_DEPTH);
            return Err(Error::Unpackable {
                path: visit.path.clone(),
                reason,
            });
        }
        self.select.enter(&visit.path, &visit.name)?;
        let entered = self
            .stack
            .push(&visit.name, &visit.stat)
            .map_err(Error::read("open", &visit.path))?;
        entered.ok_or_else(|| Error::Changed {
            path: visit.path.clone(),
        })?;
        self.open_level(visit.path.clone())
    }

    fn open_level(&mut self, path: TreePath) -> Result<(), Error> {
        let mut names = self.names(&path)?;
        names.reverse();
        self.levels.push((path, names));
        Ok(())
    }

    fn names(&mut self, path: &TreePath) -> Result<Vec<CString>, Error> {
        let place = (self.transient.places)(path);
        if let Some(names) = self.places.names(path).filter(|_| place) {
            return Ok(names);
        }
        let dir = self.stack.top().map_err(Error::read("open", path))?;
        let mut names = self.select.names(path, dir.as_fd())?;
        if place {
            names.retain(|name| !(self.transient.names)(name));
            self.places.keep(path, &names);
        }
        Ok(names)
    }

    fn ascend(&mut self) -> Result<(), Error> {
        let Some((left, _)) = self.levels.pop() else {
            return Ok(());
        };
        if self.levels.is_empty() {
            return Ok(());
        }
        let back = self.stack.pop().map_err(Error::read("leave", &left))?;
        back.ok_or_else(|| Error::Changed { path: left.clone() })?;
        self.select.leave(&left)
    }
}
