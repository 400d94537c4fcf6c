//! What overlayfs keeps in extended attributes, and how that travels in a tar.
//!
//! In the tar of an upper layer the attributes have the names they have in an upper layer mounted without `userxattr`:
//! * `trusted.overlay.opaque` = `y` on a directory: it hides the directory of that name below;
//! * `trusted.overlay.overlay.NAME`: an attribute that the container itself calls `trusted.overlay.NAME`.
//!
//! Nothing else of `trusted.overlay.*` belongs there: a `redirect` or `metacopy` made by somebody else would make the
//! kernel show files of the lower layers where the tar has none.

use super::error::{Defect, EntryName, Error};
use super::meta::{Entry, Kind, Xattrs};

/// Marks an opaque directory in a tar.
pub(crate) const OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// Its value.
pub(crate) const OPAQUE_YES: &[u8] = b"y";
/// Prefix of overlayfs's own attributes.
pub(crate) const OWN: &[u8] = b"trusted.overlay.";
/// Prefix of attributes that the container calls like overlayfs's own.
pub(crate) const ESCAPED: &[u8] = b"trusted.overlay.overlay.";
/// The same two where the overlay is mounted with `userxattr`.
const USER_OWN: &[u8] = b"user.overlay.";
const USER_ESCAPED: &[u8] = b"user.overlay.overlay.";
const USER_OPAQUE: &[u8] = b"user.overlay.opaque";

/// Where overlayfs keeps its attributes on a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Namespace {
    /// In `trusted.overlay.*`.
    #[default]
    Trusted,
    /// In `user.overlay.*`: mounted with the option `userxattr`.
    User,
}

impl Namespace {
    /// Name of the attribute that marks an opaque directory.
    #[must_use]
    pub const fn opaque(self) -> &'static [u8] {
        match self {
            Self::Trusted => OPAQUE,
            Self::User => USER_OPAQUE,
        }
    }

    /// Prefix of all its attributes.
    #[must_use]
    pub const fn prefix(self) -> &'static [u8] {
        match self {
            Self::Trusted => OWN,
            Self::User => USER_OWN,
        }
    }
}

/// Renames attributes of the merged view of an overlay for a tar of its upper layer.
pub(crate) fn to_tar(xattrs: &mut Xattrs) {
    rename(xattrs, OWN, ESCAPED);
}

/// Makes the attributes of an entry those of a plain file system.
pub(super) fn to_plain(name: &[u8], entry: &mut Entry) -> Result<(), Error> {
    take_opaque(name, entry)?;
    rename(&mut entry.meta.xattrs, ESCAPED, OWN);
    Ok(())
}

/// Makes the attributes of an entry those of an upper layer.
pub(super) fn to_upper(name: &[u8], entry: &mut Entry, namespace: Namespace) -> Result<(), Error> {
    let opaque = take_opaque(name, entry)?;
    let xattrs = &mut entry.meta.xattrs;
    if namespace == Namespace::User {
        rename(xattrs, ESCAPED, OWN);
        rename(xattrs, USER_OWN, USER_ESCAPED);
    }
    if opaque {
        xattrs.insert(namespace.opaque().to_vec(), OPAQUE_YES.to_vec());
    }
    Ok(())
}

/// Takes the mark of an opaque directory off; refuses every other attribute of overlayfs.
fn take_opaque(name: &[u8], entry: &mut Entry) -> Result<bool, Error> {
    let opaque = match entry.meta.xattrs.remove(OPAQUE) {
        None => false,
        Some(value) if entry.kind == Kind::Directory && value == OPAQUE_YES => true,
        Some(_) => return Err(Error::entry(name, Defect::Xattr(EntryName::new(OPAQUE)))),
    };
    match entry
        .meta
        .xattrs
        .keys()
        .find(|key| key.starts_with(OWN) && !key.starts_with(ESCAPED))
    {
        Some(own) => Err(Error::entry(name, Defect::Xattr(EntryName::new(own)))),
        None => Ok(opaque),
    }
}

/// Replaces a prefix of all names that have it.
fn rename(xattrs: &mut Xattrs, from: &[u8], to: &[u8]) {
    let names: Vec<_> = xattrs.keys().filter(|name| name.starts_with(from)).cloned().collect();
    let renamed: Vec<_> = names
        .iter()
        .filter_map(|name| Some(([to, &name[from.len()..]].concat(), xattrs.remove(name)?)))
        .collect();
    xattrs.extend(renamed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Meta, TreePath};

    fn directory(names: &[&str]) -> Entry {
        let xattrs = names
            .iter()
            .map(|name| (name.as_bytes().to_vec(), b"y".to_vec()))
            .collect();
        Entry {
            path: TreePath::root(),
            kind: Kind::Directory,
            meta: Meta {
                xattrs,
                ..Meta::default()
            },
        }
    }

    fn names(entry: &Entry) -> Vec<String> {
        entry
            .meta
            .xattrs
            .keys()
            .map(|name| String::from_utf8(name.clone()).unwrap())
            .collect()
    }

    #[test]
    fn marks_become_those_of_the_target() {
        let tar = [
            "trusted.overlay.opaque",
            "trusted.overlay.overlay.origin",
            "user.overlay.x",
            "user.y",
        ];
        let mut plain = directory(&tar);
        to_plain(b"d", &mut plain).unwrap();
        assert_eq!(names(&plain), ["trusted.overlay.origin", "user.overlay.x", "user.y"]);
        let mut trusted = directory(&tar);
        to_upper(b"d", &mut trusted, Namespace::Trusted).unwrap();
        assert_eq!(names(&trusted), tar);
        let mut user = directory(&tar);
        to_upper(b"d", &mut user, Namespace::User).unwrap();
        assert_eq!(
            names(&user),
            [
                "trusted.overlay.origin",
                "user.overlay.opaque",
                "user.overlay.overlay.x",
                "user.y"
            ]
        );
    }

    #[test]
    fn marks_that_show_lower_files_are_refused() {
        for bad in [
            "trusted.overlay.redirect",
            "trusted.overlay.metacopy",
            "trusted.overlay.whiteout",
        ] {
            assert!(to_plain(b"d", &mut directory(&[bad])).is_err());
            assert!(to_upper(b"d", &mut directory(&[bad]), Namespace::Trusted).is_err());
        }
        let mut file = directory(&["trusted.overlay.opaque"]);
        file.kind = Kind::Fifo;
        assert!(to_plain(b"f", &mut file).is_err());
    }

    #[test]
    fn what_the_container_calls_so_is_escaped() {
        let mut entry = directory(&["trusted.overlay.opaque", "trusted.x"]);
        to_tar(&mut entry.meta.xattrs);
        assert_eq!(names(&entry), ["trusted.overlay.overlay.opaque", "trusted.x"]);
    }
}
