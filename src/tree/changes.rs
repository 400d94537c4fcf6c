//! What an overlay changed: the selection of objects to pack, and the names it hides of the layers below.
//!
//! The upper layer tells *which* objects changed, the merged view tells *what* they are now: packed from there, a file of
//! which only the metadata was copied up (`metacopy`) has its content, and a renamed directory (`redirect`) has all that
//! is in it. So the tar needs neither attribute, and importing it needs no such option of overlayfs.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::dir::{self, DirStack, Stat};
use super::error::Error;
use super::layers::{Layers, Merged, Visible};
use super::meta::Meta;
use super::overlay::{self, Namespace, OPAQUE, OPAQUE_YES};
use super::path::TreePath;
use super::transient::{Places, Transient};
use super::walk::{Select, Walk};
use super::xattr::{self, Object};

/// Selects the changed objects of an overlay's merged view.
#[derive(Debug)]
pub(crate) struct Changes {
    upper: OwnedFd,
    namespace: Namespace,
    /// Directories of the upper layer down to the current one, or to the renamed one that it is in.
    stack: Option<DirStack>,
    /// How many levels the current directory is inside a renamed directory, which is packed whole.
    whole: usize,
    /// While deleted paths are collected.
    hidden: Option<Hidden>,
}

/// Collects what is in the layers below and not in the merged view.
#[derive(Debug)]
struct Hidden {
    lower: Layers,
    /// For each level what the layers below have there: the directory and its names.
    levels: Vec<Option<(Merged, BTreeMap<CString, Visible>)>>,
    paths: Vec<TreePath>,
}

impl Changes {
    /// Of an overlay with this upper directory.
    pub fn new(upper: OwnedFd, namespace: Namespace) -> Self {
        Self {
            upper,
            namespace,
            stack: None,
            whole: 0,
            hidden: None,
        }
    }

    /// The paths of the layers below that the overlay hides, in the order of a walk. A directory that is hidden as a whole
    /// is one path. What the overlay replaces by another object is not among them.
    pub fn deleted(&mut self, merged: OwnedFd, lower: Layers, transient: Transient) -> Result<Vec<TreePath>, Error> {
        self.hidden = Some(Hidden {
            lower,
            levels: Vec::new(),
            paths: Vec::new(),
        });
        let mut places = Places::default();
        let mut walk = Walk::new(merged, self, false, transient, &mut places)?;
        while walk.next()?.is_some() {}
        Ok(self.hidden.take().map(|hidden| hidden.paths).unwrap_or_default())
    }

    fn upper_dir(&self, path: &TreePath) -> Result<BorrowedFd<'_>, Error> {
        let top = self.stack.as_ref().ok_or(Errno::BADF).and_then(DirStack::top);
        top.map_err(Error::read("open", path))
    }

    /// Names that the upper layer has in the current directory, without those that it only hides.
    fn upper_names(&self, path: &TreePath, merged: &[CString]) -> Result<Vec<CString>, Error> {
        let merged: HashSet<&CStr> = merged.iter().map(CString::as_c_str).collect();
        let dir = self.upper_dir(path)?;
        let mut names = Vec::new();
        for name in dir::list(dir).map_err(Error::read("list", path))? {
            let path = path.join(name.to_bytes());
            let stat = dir::stat_at(dir, &name).map_err(Error::read("stat", &path))?;
            if stat.is_whiteout() {
                continue;
            }
            if merged.contains(&*name) {
                names.push(name);
            } else if self.upper_xattr(&path, &name, b"whiteout")?.is_none() {
                // The merged view does not show it: this is not the upper layer of that view.
                return Err(Error::Changed { path });
            }
        }
        Ok(names)
    }

    /// One of overlayfs's attributes of a name in the current upper directory.
    fn upper_xattr(&self, path: &TreePath, name: &CStr, attribute: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let attribute = [self.namespace.prefix(), attribute].concat();
        let object = Object::Named(self.upper_dir(path)?, name);
        xattr::get(object, &attribute).map_err(Error::read("read extended attributes of", path))
    }

    fn is_redirected(&self, path: &TreePath, name: &CStr) -> Result<bool, Error> {
        Ok(self.upper_xattr(path, name, b"redirect")?.is_some())
    }
}

impl Select for Changes {
    fn begin(&mut self) -> Result<(), Error> {
        let root = TreePath::root();
        let upper = dir::open_dir_at(&self.upper, c".").map_err(Error::read("open", &root))?;
        self.stack = Some(DirStack::new(upper).map_err(Error::read("open", &root))?);
        self.whole = 0;
        match &mut self.hidden {
            Some(hidden) => hidden.begin(),
            None => Ok(()),
        }
    }

    fn names(&mut self, path: &TreePath, dir: BorrowedFd<'_>) -> Result<Vec<CString>, Error> {
        let merged = dir::list(dir).map_err(Error::read("list", path))?;
        if let Some(hidden) = &mut self.hidden {
            hidden.compare(path, &merged);
        }
        match self.whole {
            0 => self.upper_names(path, &merged),
            _ => Ok(merged),
        }
    }

    fn enter(&mut self, path: &TreePath, name: &CStr) -> Result<(), Error> {
        if let Some(hidden) = &mut self.hidden {
            hidden.enter(name)?;
        }
        if self.whole > 0 || self.is_redirected(path, name)? {
            self.whole += 1;
            return Ok(());
        }
        let stat = dir::stat_at(self.upper_dir(path)?, name).map_err(Error::read("stat", path))?;
        let stack = self
            .stack
            .as_mut()
            .ok_or(Errno::BADF)
            .map_err(Error::read("open", path))?;
        let entered = stack.push(name, &stat).map_err(Error::read("open", path))?;
        entered.ok_or_else(|| Error::Changed { path: path.clone() })
    }

    fn leave(&mut self, path: &TreePath) -> Result<(), Error> {
        if let Some(hidden) = &mut self.hidden {
            hidden.levels.pop();
        }
        if self.whole > 0 {
            self.whole -= 1;
            return Ok(());
        }
        let Some(stack) = &mut self.stack else { return Ok(()) };
        let back = stack.pop().map_err(Error::read("leave", path))?;
        back.ok_or_else(|| Error::Changed { path: path.clone() })
    }

    fn adjust(&mut self, path: &TreePath, name: &CStr, stat: &Stat, meta: &mut Meta) -> Result<(), Error> {
        overlay::to_tar(&mut meta.xattrs);
        if stat.kind != FileType::Directory || self.whole > 0 || path.is_root() {
            return Ok(());
        }
        let opaque = self.upper_xattr(path, name, b"opaque")?.as_deref() == Some(OPAQUE_YES);
        if opaque || self.is_redirected(path, name)? {
            meta.xattrs.insert(OPAQUE.to_vec(), OPAQUE_YES.to_vec());
        }
        Ok(())
    }
}

impl Hidden {
    fn begin(&mut self) -> Result<(), Error> {
        let root = self.lower.root();
        let names = self.lower.list(&root)?;
        self.levels = vec![Some((root, names))];
        Ok(())
    }

    /// Notes the names of the current level that the merged view does not have.
    fn compare(&mut self, path: &TreePath, merged: &[CString]) {
        let Some(Some((_, names))) = self.levels.last() else {
            return;
        };
        // Both are sorted.
        let missing = names.keys().filter(|name| merged.binary_search(name).is_err());
        self.paths.extend(missing.map(|name| path.join(name.to_bytes())));
    }

    fn enter(&mut self, name: &CStr) -> Result<(), Error> {
        let Self { lower, levels, .. } = self;
        let child = match levels.last() {
            Some(Some((merged, names))) => match names.get(name) {
                Some(visible) if visible.stat.kind == FileType::Directory => {
                    let child = lower.enter(merged, name, visible)?;
                    let names = lower.list(&child)?;
                    Some((child, names))
                }
                _ => None,
            },
            _ => None,
        };
        levels.push(child);
        Ok(())
    }
}
