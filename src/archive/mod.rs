//! The archive format, version 1: an ordinary tar in independent frames, with checksums, a seek table and an index.

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Independent zstd frames.
    Zstd {
        /// Level, 1 to 19.
        level: i32,
    },
    /// Independent gzip members.
    Gzip {
        /// Level, 1 to 9.
        level: u32,
    },
    /// Plain tar.
    None,
}
