//! What a tree is made of: entries, their kinds and their metadata.

use std::collections::BTreeMap;

use super::path::TreePath;
use super::sparse::Map;

/// Extended attributes by name (with its namespace, `user.x`), in bytewise order.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A point in time of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Seconds since 1970, negative before.
    pub sec: i64,
    /// Nanoseconds after that second, below 10⁹.
    pub nsec: u32,
}

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl Device {
    /// The device number of an overlay whiteout.
    pub const WHITEOUT: Self = Self { major: 0, minor: 0 };
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Its length, bytes, holes included.
        size: u64,
        /// Where its data is, when it has holes.
        sparse: Option<Map>,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink(
        /// Its target, not interpreted.
        Vec<u8>,
    ),
    /// Another name of an entry that came before.
    HardLink(
        /// That entry.
        TreePath,
    ),
    /// A character device.
    Char(
        /// Its number.
        Device,
    ),
    /// A block device.
    Block(
        /// Its number.
        Device,
    ),
    /// A FIFO.
    Fifo,
}

impl Kind {
    /// Bytes of content that follow the headers in the tar, without padding and without a sparse map.
    #[must_use]
    pub fn data_len(&self) -> u64 {
        match self {
            Self::File { size, sparse: None } => *size,
            Self::File { sparse: Some(map), .. } => map.data_len(),
            _ => 0,
        }
    }
}

/// Metadata of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Permission bits, set-id and sticky bits: the low twelve bits of `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last modification.
    pub mtime: Time,
    /// Extended attributes that travel (see [`super::xattr`]).
    pub xattrs: Xattrs,
}

/// One object of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: TreePath,
    /// What it is.
    pub kind: Kind,
    /// Its metadata. Of a hard link it is that of the file it names.
    pub meta: Meta,
}
