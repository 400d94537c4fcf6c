//! The layers below an overlay, seen as the overlay shows them.
//!
//! The kernel's rules in user space, so that no mount has to be made for looking: the topmost layer that has a name decides;
//! directories merge down to the first that is opaque or meets something else; whiteouts hide. Only a renamed directory of
//! a lower layer (`redirect`), which no image layer holds, is refused instead of resolved.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::dir::{self, Stat};
use super::error::Error;
use super::overlay::Namespace;
use super::path::TreePath;
use super::xattr::{self, Object};

/// Layers, the topmost first.
#[derive(Debug)]
pub struct Layers {
    roots: Vec<OwnedFd>,
    namespace: Namespace,
}

/// A directory of the merged layers.
#[derive(Debug, Clone)]
pub(crate) struct Merged {
    pub path: TreePath,
    /// The layers it is merged from, topmost first.
    layers: Vec<usize>,
}

/// A name in a merged directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visible {
    pub stat: Stat,
    /// Position in [`Merged::layers`] of the layer that it comes from.
    at: usize,
}

impl Layers {
    /// The layers of an overlay, the topmost first, or one directory by itself.
    #[must_use]
    pub const fn new(roots: Vec<OwnedFd>, namespace: Namespace) -> Self {
        Self { roots, namespace }
    }

    /// The merged root.
    pub(crate) fn root(&self) -> Merged {
        Merged {
            path: TreePath::root(),
            layers: (0..self.roots.len()).collect(),
        }
    }

    /// What is visible in a merged directory.
    pub(crate) fn list(&self, merged: &Merged) -> Result<BTreeMap<CString, Visible>, Error> {
        // None stands for a whiteout: it hides the name in the layers below.
        let mut names: BTreeMap<CString, Option<Visible>> = BTreeMap::new();
        for (at, layer) in merged.layers.iter().enumerate() {
            let dir = self.open(*layer, &merged.path)?;
            let has_xattr_whiteouts =
                self.overlay_xattr(dir.as_fd(), b"opaque", &merged.path)?.as_deref() == Some(b"x");
            for name in dir::list(&dir).map_err(Error::read("list", &merged.path))? {
                if names.contains_key(&name) {
                    continue;
                }
                let path = merged.path.join(name.to_bytes());
                let stat = dir::stat_at(dir.as_fd(), &name).map_err(Error::read("stat", &path))?;
                let hidden = stat.is_whiteout()
                    || has_xattr_whiteouts && self.is_xattr_whiteout(dir.as_fd(), &name, &stat, &path)?;
                names.insert(name, (!hidden).then_some(Visible { stat, at }));
            }
        }
        Ok(names
            .into_iter()
            .filter_map(|(name, visible)| Some((name, visible?)))
            .collect())
    }

    /// The merged directory of a name that is visible as a directory.
    pub(crate) fn enter(&self, merged: &Merged, name: &CStr, visible: &Visible) -> Result<Merged, Error> {
        let path = merged.path.join(name.to_bytes());
        let mut layers = Vec::new();
        for &layer in &merged.layers[visible.at..] {
            let parent = self.open(layer, &merged.path)?;
            let stat = match dir::stat_at(parent.as_fd(), name) {
                Err(Errno::NOENT) => continue,
                result => result.map_err(Error::read("stat", &path))?,
            };
            // A whiteout, or anything else that is no directory, hides what is below it.
            if stat.kind != FileType::Directory {
                break;
            }
            let dir = dir::open_dir_at(&parent, name).map_err(Error::read("open", &path))?;
            if self.overlay_xattr(dir.as_fd(), b"redirect", &path)?.is_some() {
                return Err(Error::Redirected { path });
            }
            layers.push(layer);
            if self.overlay_xattr(dir.as_fd(), b"opaque", &path)?.as_deref() == Some(b"y") {
                break;
            }
        }
        Ok(Merged { path, layers })
    }

    /// Target of a symbolic link that is visible in a merged directory.
    pub(crate) fn read_link(&self, merged: &Merged, name: &CStr, visible: &Visible) -> Result<Vec<u8>, Error> {
        let path = merged.path.join(name.to_bytes());
        let dir = self.open(merged.layers[visible.at], &merged.path)?;
        let target = rustix::fs::readlinkat(&dir, name, Vec::new()).map_err(Error::read("read link", &path))?;
        Ok(target.into_bytes())
    }

    fn open(&self, layer: usize, path: &TreePath) -> Result<OwnedFd, Error> {
        dir::open_beneath(self.roots[layer].as_fd(), path).map_err(Error::read("open", path))
    }

    /// Value of one of overlayfs's own attributes of a directory.
    fn overlay_xattr(&self, dir: BorrowedFd<'_>, name: &[u8], path: &TreePath) -> Result<Option<Vec<u8>>, Error> {
        let name = [self.namespace.prefix(), name].concat();
        xattr::get(Object::Open(dir), &name).map_err(Error::read("read extended attributes of", path))
    }

    /// A whiteout in the form of an empty file with an attribute, which only directories marked for it have.
    fn is_xattr_whiteout(&self, dir: BorrowedFd<'_>, name: &CStr, stat: &Stat, path: &TreePath) -> Result<bool, Error> {
        if stat.kind != FileType::RegularFile || stat.size != 0 {
            return Ok(false);
        }
        let attribute = [self.namespace.prefix(), b"whiteout"].concat();
        let value = xattr::get(Object::Named(dir, name), &attribute);
        Ok(value
            .map_err(Error::read("read extended attributes of", path))?
            .is_some())
    }
}
