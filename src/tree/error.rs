//! Errors of packing and unpacking trees. Every one names the file or the entry.

use std::io;

use super::header::HeaderDefect;
use super::path::{Escaped, PathDefect, TreePath};
use super::pax::PaxDefect;
use super::sparse::MapDefect;
use crate::error::ErrorKind;

/// An error of this module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused something while a tree was read.
    #[error("cannot {op} `{path}`")]
    Read {
        /// What was tried.
        op: &'static str,
        /// On what, relative to the tree.
        path: TreePath,
        /// Why it failed.
        source: io::Error,
    },
    /// The system refused something while a tree was written.
    #[error("cannot {op} `{path}`")]
    Write {
        /// What was tried.
        op: &'static str,
        /// On what, relative to the tree.
        path: TreePath,
        /// Why it failed.
        source: io::Error,
    },
    /// A file is not as it was when the tree was measured.
    #[error("`{path}` changed while the tree was packed")]
    Changed {
        /// The file.
        path: TreePath,
    },
    /// A file was added since the tree was measured.
    #[error("`{path}` appeared while the tree was packed")]
    Appeared {
        /// The file.
        path: TreePath,
    },
    /// One or more files were removed since the tree was measured.
    #[error("a file after `{after}` vanished while the tree was packed")]
    Vanished {
        /// The last file before the gap, in the order of the tar.
        after: TreePath,
    },
    /// A file cannot be put into a tar within the limits of this format.
    #[error("`{path}` cannot be packed: {reason}")]
    Unpackable {
        /// The file.
        path: TreePath,
        /// The limit that it exceeds.
        reason: Unpackable,
    },
    /// A directory of a lower layer was renamed there: the files it stands for are elsewhere.
    #[error("`{path}` of a lower layer is a renamed directory (overlayfs redirect_dir)")]
    Redirected {
        /// The directory.
        path: TreePath,
    },
    /// The tar could not be written to where it goes.
    #[error("cannot write the tar")]
    Output(#[source] io::Error),
    /// The tar could not be read from where it comes from.
    #[error("cannot read the tar")]
    Input(#[source] io::Error),
    /// An entry of a tar is malformed or not allowed.
    #[error("tar entry `{entry}`: {defect}")]
    Entry {
        /// The name of the entry as the tar spells it.
        entry: EntryName,
        /// What is wrong.
        defect: Defect,
    },
    /// The list of deleted files is malformed or not allowed.
    #[error("list of deleted files: {0}")]
    Deleted(#[from] super::deleted::Defect),
    /// The directory that a tree should be unpacked into holds something already.
    #[error("the directory to unpack into is not empty: it holds `{found}`")]
    NotEmpty {
        /// One of the files in it.
        found: EntryName,
    },
}

impl Error {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. }
            | Self::Changed { .. }
            | Self::Appeared { .. }
            | Self::Vanished { .. }
            | Self::Unpackable { .. }
            | Self::Redirected { .. }
            | Self::Output(_) => ErrorKind::Dump,
            Self::Write { .. } | Self::NotEmpty { .. } => ErrorKind::Restore,
            Self::Input(_) | Self::Entry { .. } | Self::Deleted(_) => ErrorKind::Archive,
        }
    }

    /// For `map_err` on a system call that reads `path`.
    pub(super) fn read<E: Into<io::Error>>(op: &'static str, path: &TreePath) -> impl FnOnce(E) -> Self {
        move |source| Self::Read {
            op,
            path: path.clone(),
            source: source.into(),
        }
    }

    /// For `map_err` on a system call that writes `path`.
    pub(super) fn write<E: Into<io::Error>>(op: &'static str, path: &TreePath) -> impl FnOnce(E) -> Self {
        move |source| Self::Write {
            op,
            path: path.clone(),
            source: source.into(),
        }
    }

    /// A defect of an entry.
    pub(crate) fn entry(name: &[u8], defect: impl Into<Defect>) -> Self {
        Self::Entry {
            entry: EntryName::new(name),
            defect: defect.into(),
        }
    }
}

/// The name of an entry, for messages: as the tar spells it, control characters escaped, cut when long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryName(String);

impl EntryName {
    pub(super) fn new(raw: &[u8]) -> Self {
        Self(Escaped(raw).to_string())
    }
}

impl std::fmt::Display for EntryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a file does not fit into the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unpackable {
    /// Its path is too long.
    #[error("its path is longer than {0} bytes")]
    Path(usize),
    /// It lies too deep.
    #[error("it is more than {0} directories deep")]
    Depth(usize),
    /// Its extended attributes are too large.
    #[error("its extended attributes exceed {0} bytes")]
    Xattrs(u64),
}

/// What is wrong with an entry of a tar. The first group is wrong in itself, the second in its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// The header block is malformed.
    #[error(transparent)]
    Header(#[from] HeaderDefect),
    /// The PAX header is malformed.
    #[error(transparent)]
    Pax(#[from] PaxDefect),
    /// The path of the entry is not allowed.
    #[error(transparent)]
    Path(#[from] PathDefect),
    /// The name that a hard link refers to is not allowed.
    #[error("hard link target: {0}")]
    LinkPath(PathDefect),
    /// The sparse map is malformed.
    #[error(transparent)]
    Map(#[from] MapDefect),
    /// A sparse file in none of the known forms.
    #[error("sparse file in an unknown form")]
    SparseForm,
    /// The text of a sparse map is malformed.
    #[error("sparse map is not a list of decimal numbers")]
    SparseText,
    /// A sparse map has too many regions.
    #[error("sparse map has more than {0} regions")]
    SparseRegions(usize),
    /// The data of a sparse file is not as long as its map says.
    #[error("data of {data} bytes for a sparse map of {map}")]
    SparseLength {
        /// Bytes of data in the tar.
        data: u64,
        /// Bytes that the map describes.
        map: u64,
    },
    /// An entry type that has no place here.
    #[error("entry type {0:?} is not supported")]
    Type(char),
    /// A global PAX header, which would change every entry after it.
    #[error("global PAX header")]
    GlobalHeader,
    /// Extension headers (PAX, GNU long name or link) of one kind repeated, or PAX and GNU mixed.
    #[error("more than one extension header of a kind, or PAX and GNU extensions mixed")]
    MixedExtensions,
    /// An extension header with no entry after it.
    #[error("extension header without an entry")]
    Orphan,
    /// An extension header is larger than the limit.
    #[error("extension header of {0} bytes")]
    ExtensionSize(u64),
    /// Bytes that are not zero behind the content of an extension header, which some readers take for records.
    #[error("data in the padding of an extension header")]
    Padding,
    /// Header and PAX header disagree about the size.
    #[error("header says {header} bytes, PAX header says {pax}")]
    SizeDisagreement {
        /// In the header.
        header: u64,
        /// In the PAX header.
        pax: u64,
    },
    /// Content where none can be.
    #[error("{0} bytes of content in an entry that has none")]
    Content(u64),
    /// A regular file whose name ends in a slash, which some readers take for a directory.
    #[error("file with the name of a directory")]
    FileNamedAsDirectory,
    /// The root of the tree as something else than a directory.
    #[error("the root of the tree is not a directory")]
    RootKind,
    /// A symbolic link target that is empty, too long, or holds a NUL.
    #[error("symbolic link target is empty, too long or holds a NUL")]
    Target,
    /// An owner that cannot be.
    #[error("owner or group {0} is out of range")]
    Owner(u64),
    /// A device number that cannot be.
    #[error("device number is out of range")]
    DeviceNumber,
    /// An extended attribute of a namespace that does not travel.
    #[error("extended attribute `{0}` is not allowed here")]
    Xattr(EntryName),

    /// The tar ends within an entry or without its end marker.
    #[error("the tar is truncated here")]
    Truncated,
    /// Bytes after the end marker, or a lone zero block.
    #[error("data after the end of the tar")]
    Trailing,
    /// More entries than the limit.
    #[error("more than {0} entries")]
    Entries(u64),
    /// More content than the limit.
    #[error("content of more than {0} bytes")]
    Bytes(u64),
    /// The same path twice.
    #[error("the tar has this path twice")]
    Duplicate,
    /// A hard link to something the tar has not brought before, or to a directory.
    #[error("hard link to `{0}`, which the tar does not have before it as a file")]
    LinkTarget(TreePath),
    /// A parent is no directory (a symbolic link is never followed).
    #[error("`{0}` is not a directory")]
    ParentKind(TreePath),
    /// A directory on the way is a mount point.
    #[error("`{0}` is on another mount")]
    MountPoint(TreePath),
    /// A device node where none belongs.
    #[error("device node")]
    DeviceNode,
    /// A parent directory that neither the tar nor the lower layers have.
    #[error("directory `{0}` is missing")]
    MissingParent(TreePath),
}
