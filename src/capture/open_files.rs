//! Single files of the host, chosen by their paths: those that processes have open or mapped.
//!
//! The entry is a tar of the host's root directory with nothing in it but these files and the directories that lead to them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use super::{Error, Part, warnings};
use crate::tree::{self, Packer, Select, TreePath, open_root};

/// Name of the entry.
pub const FILES: &str = "files.tar";

/// Files of the host, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The names that are seen in each directory, by its path; the root's is empty.
    names: BTreeMap<Vec<u8>, BTreeSet<CString>>,
}

impl Chosen {
    /// These files; `None` where there are none. What is no absolute path is left out.
    pub fn of<'a>(paths: impl Iterator<Item = &'a Path>) -> Option<Self> {
        let mut chosen = Self::default();
        paths.for_each(|path| chosen.add(path));
        (!chosen.names.is_empty()).then_some(chosen)
    }

    fn add(&mut self, path: &Path) {
        let mut directory = Vec::new();
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let Ok(text) = CString::new(name.as_bytes()) else {
                return;
            };
            self.names.entry(directory.clone()).or_default().insert(text);
            if !directory.is_empty() {
                directory.push(b'/');
            }
            directory.extend(name.as_bytes());
        }
    }

    /// Measures them.
    ///
    /// # Errors
    /// What cannot be read, with its path.
    pub fn capture(self) -> Result<(Part, Vec<String>), Error> {
        let root = Path::new("/");
        let open = |source| Error::Open {
            path: root.to_owned(),
            source,
        };
        let packer = Packer::selecting(open_root(root).map_err(open)?, self).cross_mounts(true);
        let measured = packer.measure().map_err(|source| Error::Pack {
            root: root.to_owned(),
            source,
        })?;
        let warnings = warnings(FILES, measured.report());
        Ok((Part::tree(FILES, root, measured), warnings))
    }
}

impl Select for Chosen {
    fn names(&mut self, path: &TreePath, _: BorrowedFd<'_>) -> Result<Vec<CString>, tree::Error> {
        let directory = if path.is_root() { &[][..] } else { path.as_bytes() };
        let names = self.names.get(directory).into_iter().flatten();
        Ok(names.map(|name: &CString| CStr::to_owned(name)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tar_has_the_files_and_what_leads_to_them() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        for name in ["sub/a", "sub/b", "c"] {
            std::fs::write(at(name), name).unwrap();
        }
        let paths = [at("sub/a"), at("c")];
        let (mut part, warnings) = Chosen::of(paths.iter().map(std::path::PathBuf::as_path))
            .unwrap()
            .capture()
            .unwrap();
        assert_eq!((part.name(), warnings.len()), ("files.tar", 0));
        let mut bytes = Vec::new();
        part.write(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, part.size());
        let mut archive = tar::Archive::new(&bytes[..]);
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        let base = directory.path().strip_prefix("/").unwrap().display().to_string();
        assert!(names.contains(&format!("{base}/sub/a")), "{names:?}");
        assert!(names.contains(&format!("{base}/c")), "{names:?}");
        assert!(!names.iter().any(|name| name.ends_with("/b")), "{names:?}");
        assert_eq!(Chosen::of(std::iter::empty()), None);
    }
}
