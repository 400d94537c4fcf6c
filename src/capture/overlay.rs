//! The layers of an overlay mount, from its line in mountinfo.
//!
//! Overlayfs has `\:` and `\\` in `lowerdir`, `upperdir` and `workdir` for colons and backslashes of paths (not in
//! `lowerdir+`, which holds one path); the kernel's own escapes in mountinfo are undone before. Paths may be relative to a
//! directory that nobody recorded: podman changes into its storage directory when the option would be too long.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::tree::{Layers, Namespace, open_root};

/// What is wrong with the layers of an overlay.
#[derive(Debug, thiserror::Error)]
pub enum Defect {
    /// It has no lower layer in its options.
    #[error("its options name no lower layer")]
    NoLower,
    /// A layer cannot be opened.
    #[error("cannot open layer `{}`", path.display())]
    Open {
        /// The layer.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A path is relative, and no directory above the mount has it.
    #[error("layer `{}` is relative, and to nothing above the mount point", .0.display())]
    Relative(PathBuf),
}

/// The layers of an overlay, by path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overlay {
    /// Lower layers, the topmost first.
    pub lower: Vec<PathBuf>,
    /// The upper layer; none of a read-only overlay.
    pub upper: Option<PathBuf>,
    /// Where overlayfs keeps its attributes.
    pub namespace: Namespace,
}

impl Overlay {
    /// Reads the options of an overlay's file system, as mountinfo has them.
    ///
    /// # Errors
    /// [`Defect::NoLower`].
    pub fn parse(super_options: &[OsString]) -> Result<Self, Defect> {
        let mut overlay = Self::default();
        for option in super_options.iter().map(|option| option.as_bytes()) {
            let (key, value) = match option.iter().position(|&b| b == b'=') {
                Some(at) => (&option[..at], &option[at + 1..]),
                None => (option, &[][..]),
            };
            match key {
                b"lowerdir" => overlay.lower.extend(split_lower(value)),
                b"lowerdir+" => overlay.lower.push(path(value.to_vec())),
                b"upperdir" => overlay.upper = Some(path(unescape(value))),
                b"userxattr" => overlay.namespace = Namespace::User,
                _ => {}
            }
        }
        if overlay.lower.is_empty() {
            Err(Defect::NoLower)
        } else {
            Ok(overlay)
        }
    }

    /// Opens the upper layer, if there is one, and the lower layers of an overlay that is mounted on `mount_point`.
    ///
    /// # Errors
    /// A layer that cannot be found or opened.
    pub fn open(&self, mount_point: &Path) -> Result<(Option<OwnedFd>, Layers), Defect> {
        let base = self.base(mount_point)?;
        let open = |path: &PathBuf| {
            let path = base.join(path);
            open_root(&path).map_err(|source| Defect::Open { path, source })
        };
        let upper = self.upper.as_ref().map(open).transpose()?;
        let lower = self.lower.iter().map(open).collect::<Result<_, _>>()?;
        Ok((upper, Layers::new(lower, self.namespace)))
    }

    /// The directory that relative paths are relative to: the nearest one above the mount point that has all of them.
    fn base(&self, mount_point: &Path) -> Result<PathBuf, Defect> {
        let relative: Vec<&PathBuf> = self
            .lower
            .iter()
            .chain(&self.upper)
            .filter(|path| path.is_relative())
            .collect();
        let Some(first) = relative.first() else {
            return Ok(PathBuf::new());
        };
        let base = mount_point
            .ancestors()
            .find(|base| relative.iter().all(|path| base.join(path).is_dir()));
        base.map(Path::to_path_buf)
            .ok_or_else(|| Defect::Relative((*first).clone()))
    }
}

fn path(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

/// Undoes overlayfs's `\c`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        // The kernel keeps a backslash at the very end.
        bytes.push(if byte == b'\\' {
            rest.next().copied().unwrap_or(byte)
        } else {
            byte
        });
    }
    bytes
}

/// Splits a `lowerdir` at its colons. Layers behind `::` hold only data, which no directory listing shows.
fn split_lower(value: &[u8]) -> Vec<PathBuf> {
    let mut layers = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at <= value.len() {
        match value.get(at) {
            Some(b'\\') => at += 1,
            Some(b':') | None => {
                if at == start {
                    break;
                }
                layers.push(path(unescape(&value[start..at])));
                start = at + 1;
            }
            Some(_) => {}
        }
        at += 1;
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Result<Overlay, Defect> {
        Overlay::parse(&options.iter().map(OsString::from).collect::<Vec<_>>())
    }

    fn lower(options: &[&str]) -> Vec<String> {
        let lower = parse(options).unwrap().lower;
        lower.iter().map(|path| path.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn options_as_kernels_write_them() {
        let options = [
            "rw",
            "lowerdir=/l/A:/l/B",
            "upperdir=/u",
            "workdir=/w",
            "redirect_dir=on",
            "userxattr",
        ];
        let overlay = parse(&options).unwrap();
        assert_eq!(overlay.lower, [Path::new("/l/A"), Path::new("/l/B")]);
        assert_eq!(overlay.upper.as_deref(), Some(Path::new("/u")));
        assert_eq!(overlay.namespace, Namespace::User);
        let one_by_one = ["lowerdir+=/a:b", r"lowerdir+=/c\d", "datadir+=/e"];
        assert_eq!(lower(&one_by_one), ["/a:b", r"/c\d"]);
    }

    #[test]
    fn colons_and_backslashes_of_paths() {
        assert_eq!(lower(&[r"lowerdir=/a\:b:/c\\d:/e f,g"]), ["/a:b", r"/c\d", "/e f,g"]);
        assert_eq!(lower(&["lowerdir=/a::/data1:/data2"]), ["/a"]);
        let upper = parse(&["lowerdir=/a", r"upperdir=/x\:y"]).unwrap().upper;
        assert_eq!(upper.as_deref(), Some(Path::new("/x:y")));
    }

    #[test]
    fn an_overlay_has_lower_layers() {
        assert!(matches!(parse(&["rw", "upperdir=/u"]), Err(Defect::NoLower)));
    }

    #[test]
    fn relative_layers_are_looked_for_above_the_mount() {
        let dir = tempfile::tempdir().unwrap();
        for layer in ["l/A", "l/B", "id/diff", "id/merged"] {
            std::fs::create_dir_all(dir.path().join(layer)).unwrap();
        }
        let overlay = parse(&["lowerdir=l/A:l/B", "upperdir=id/diff"]).unwrap();
        assert_eq!(overlay.base(&dir.path().join("id/merged")).unwrap(), dir.path());
        let missing = parse(&["lowerdir=l/none-of-this-name"]).unwrap();
        assert!(matches!(
            missing.base(&dir.path().join("id/merged")),
            Err(Defect::Relative(_))
        ));
    }
}
