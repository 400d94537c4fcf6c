//! What a reader of tar streams accepts, and what the writer writes.
//!
//! The two are different constants on purpose: a build that writes up to a limit must be readable by builds that accept a
//! little less or more, and foreign tars may be larger than ours.

/// Longest path that [`super::Packer`] writes, bytes. Paths longer than `PATH_MAX` exist where programs work with
/// directory descriptors; nothing real is longer than this.
pub const WRITE_PATH: usize = 32 * 1024;
/// Deepest directory that [`super::Packer`] writes, components.
pub const WRITE_DEPTH: usize = 2048;
/// Largest PAX header that [`super::Packer`] writes, bytes. It holds all extended attributes of one file.
pub const WRITE_PAX: u64 = 2 * 1024 * 1024;
/// Most data regions that [`super::Packer`] writes for one sparse file; what follows them is written as data.
pub const WRITE_REGIONS: usize = 1 << 16;

/// Longest file name, bytes (`NAME_MAX` of every Linux file system).
pub const NAME_MAX: usize = 255;
/// Longest symbolic link target, bytes (`PATH_MAX` without its NUL).
pub const TARGET_MAX: usize = 4095;
/// Longest name of an extended attribute, bytes (`XATTR_NAME_MAX`).
pub const XATTR_NAME_MAX: usize = 255;
/// Largest value of an extended attribute, bytes (`XATTR_SIZE_MAX`).
pub const XATTR_VALUE_MAX: usize = 64 * 1024;
/// Largest minor number of a device (20 bits in Linux).
pub const MINOR_MAX: u32 = (1 << 20) - 1;
/// Largest major number of a device (12 bits in Linux).
pub const MAJOR_MAX: u32 = (1 << 12) - 1;
/// Most zero bytes accepted after the end of a tar: the largest record size in use (`tar -b 2048`).
pub const TRAILING_ZEROS: u64 = 1024 * 1024;

/// Bounds on one tar stream that somebody else made. Whatever is beyond them is an error that names the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries. Each is remembered to find duplicates: the default costs 38 MB at most.
    pub entries: u64,
    /// Bytes of content of all entries together, holes not counted: the caller sets it to the space it has.
    pub bytes: u64,
    /// Bytes of one path.
    pub path: usize,
    /// Components of one path.
    pub depth: usize,
    /// Bytes of one PAX header, which is held in memory.
    pub pax: u64,
    /// Data regions of one sparse file, 16 bytes of memory each.
    pub regions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 3_500_000,
            bytes: u64::MAX,
            path: 64 * 1024,
            depth: 4096,
            pax: 4 * 1024 * 1024,
            regions: 1 << 18,
        }
    }
}
