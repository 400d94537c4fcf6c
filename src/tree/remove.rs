//! Removing whatever is at a name, beneath a directory descriptor: no link is followed and no other mount is entered.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, unlinkat};
use rustix::io::Errno;

use super::dir::{self, DirStack, Stat};
use super::error::{Defect, Error};
use super::path::TreePath;

/// Removes `name` in `dir`, with all that is in it. Nothing there is no error: false is returned. `path` is what messages
/// call it.
pub(super) fn remove(dir: BorrowedFd<'_>, name: &CStr, path: &TreePath) -> Result<bool, Error> {
    let parent = dir::stat_fd(dir).map_err(Error::write("stat", path))?;
    let stat = match dir::stat_at(dir, name) {
        Err(Errno::NOENT) => return Ok(false),
        result => result.map_err(Error::write("stat", path))?,
    };
    if !stat.same_mount(&parent) {
        return Err(Error::entry(path.as_bytes(), Defect::MountPoint(path.clone())));
    }
    if stat.kind != FileType::Directory {
        unlinkat(dir, name, AtFlags::empty()).map_err(Error::write("remove", path))?;
        return Ok(true);
    }
    Removal::new(dir, path)?.run(name, &stat)?;
    Ok(true)
}

/// The removal of a directory, depth first.
struct Removal {
    stack: DirStack,
    /// Per level below the starting directory: path, name in its parent, names still to remove.
    levels: Vec<(TreePath, CString, Vec<CString>)>,
    path: TreePath,
}

impl Removal {
    fn new(dir: BorrowedFd<'_>, path: &TreePath) -> Result<Self, Error> {
        let dir = dir::open_dir_at(dir, c".").map_err(Error::write("open", path))?;
        let stack = DirStack::new(dir).map_err(Error::write("open", path))?;
        Ok(Self {
            stack,
            levels: Vec::new(),
            path: path.clone(),
        })
    }

    fn run(mut self, name: &CStr, stat: &Stat) -> Result<(), Error> {
        self.enter(self.path.clone(), name, stat)?;
        while let Some((path, _, names)) = self.levels.last_mut() {
            let path = path.clone();
            match names.pop() {
                Some(name) => self.child(path.join(name.to_bytes()), &name, stat)?,
                None => self.finish()?,
            }
        }
        Ok(())
    }

    fn child(&mut self, path: TreePath, name: &CStr, top: &Stat) -> Result<(), Error> {
        let dir = self.stack.top().map_err(Error::write("open", &path))?;
        let stat = dir::stat_at(dir, name).map_err(Error::write("stat", &path))?;
        if !stat.same_mount(top) {
            return Err(Error::entry(self.path.as_bytes(), Defect::MountPoint(path)));
        }
        if stat.kind == FileType::Directory {
            return self.enter(path, name, &stat);
        }
        unlinkat(dir, name, AtFlags::empty()).map_err(Error::write("remove", &path))
    }

    fn enter(&mut self, path: TreePath, name: &CStr, stat: &Stat) -> Result<(), Error> {
        let entered = self.stack.push(name, stat).map_err(Error::write("open", &path))?;
        entered.ok_or(Errno::AGAIN).map_err(Error::write("open", &path))?;
        let names = self
            .stack
            .top()
            .and_then(dir::list)
            .map_err(Error::write("list", &path))?;
        self.levels.push((path, name.to_owned(), names));
        Ok(())
    }

    /// The current directory is empty.
    fn finish(&mut self) -> Result<(), Error> {
        let Some((path, name, _)) = self.levels.pop() else {
            return Ok(());
        };
        let back = self.stack.pop().map_err(Error::write("leave", &path))?;
        back.ok_or(Errno::AGAIN).map_err(Error::write("leave", &path))?;
        let dir = self.stack.top().map_err(Error::write("open", &path))?;
        unlinkat(dir, &*name, AtFlags::REMOVEDIR).map_err(Error::write("remove", &path))
    }
}
