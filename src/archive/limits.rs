//! What is written, and the bounds of what is accepted.
//!
//! Invariant: whatever the writer makes is within the default [`Limits`] of the reader, except for an archive that
//! expands beyond [`MAX_EXPANSION`].

/// Content bytes of a frame that is written: large enough for zstd to find its matches, small enough that a pool of
/// frames for 8 threads stays below 32 MiB. A multiple of the tar block, so that padding never needs a frame of its own.
pub const FRAME_SIZE: usize = 1 << 20;

/// Content bytes of a frame that is accepted. More than is written, so that the size can be tuned within version 1.
pub const MAX_FRAME_CONTENT: usize = 4 << 20;

/// An entry of this size or more shares no frame with the data of another: it can be read and decoded alone.
pub const LARGE_ENTRY: u64 = 64 << 10;

/// Length in bytes of an entry's name: `NAME_MAX`, so that a component is a file name anywhere.
pub const MAX_NAME: usize = 255;

/// Number of entries. CRIU writes about six images a process and one a thread.
pub const MAX_ENTRIES: usize = 1 << 17;

/// Number of data frames: 512 GiB of content in frames as they are written.
pub const MAX_FRAMES: usize = 1 << 19;

/// Frames that there may be for nothing, for each entry, and for how many bytes of content one more. What is written has at
/// most three for each entry (what is before a header of its own frame, that header, the content), and one for each
/// [`FRAME_SIZE`].
pub const SPARE_FRAMES: u64 = 16;
/// See [`SPARE_FRAMES`].
pub const FRAMES_PER_ENTRY: u64 = 3;
/// See [`SPARE_FRAMES`].
pub const LEAST_FRAME: u64 = 64 << 10;

/// Content bytes of the whole archive, unless the caller sets a lower or higher bound. Above what the frames can hold.
pub const MAX_CONTENT: u64 = 512 << 30;

/// Size of a memory image or a nested tar: so large that sums of sizes do not overflow.
pub const MAX_FILE: u64 = 1 << 45;

/// Size of `ckpt.json`; parsed as a whole before anything is verified.
pub const MAX_MANIFEST: u64 = 1 << 20;

/// Size of the JSON entries (`config.dump`, `spec.dump`, …); a config.json of a few thousand mounts is 1 MiB.
pub const MAX_JSON: u64 = 16 << 20;

/// Size of `deleted.files`: one path for each deleted file.
pub const MAX_LIST: u64 = 64 << 20;

/// Size of `stats-dump` and `dump.log`.
pub const MAX_LOG: u64 = 1 << 30;

/// Size of `index.json`: 45 MiB for [`MAX_FRAMES`] frames, the rest for [`MAX_ENTRIES`] names of usual length.
pub const MAX_INDEX: u64 = 64 << 20;

/// Size of `SHA256SUMS`: [`MAX_ENTRIES`] lines.
pub const MAX_SUMS: u64 = 32 << 20;

/// Size of an index or a list of digests up to which one is parsed that is wrong anyhow, to say what is wrong with it.
pub const MAX_EXPLAINED: u64 = 4 << 20;

/// Size of `SHA256SUMS.sig`.
pub const MAX_SIGNATURE: u64 = 16 << 10;

/// Content below this size may be any multiple of what is stored: a process may well have filled its memory with one byte.
pub const EXPANSION_FLOOR: u64 = 16 << 30;

/// Above [`EXPANSION_FLOOR`], how many times the stored size the content may be. Memory compresses 2 to 10 times; zstd
/// alone reaches 20,000 times on zeros.
pub const MAX_EXPANSION: u64 = 1000;

/// The largest mtime a ustar header holds, in seconds.
pub const MAX_MTIME: u64 = 0o77_777_777_777;

/// How many frames so much content of so many entries may be in.
pub(super) fn frames_for(entries: u64, content: u64) -> usize {
    let frames = SPARE_FRAMES + entries.saturating_mul(FRAMES_PER_ENTRY) + content / LEAST_FRAME;
    usize::try_from(frames).unwrap_or(MAX_FRAMES)
}

/// The bounds that a caller may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Content bytes of all entries together, for example the free space of where they go.
    pub content: u64,
    /// How many times the stored size the content may be, once it is larger than `expansion_floor`.
    pub expansion: u64,
    /// Content bytes from which on the expansion is bounded.
    pub expansion_floor: u64,
}

impl Limits {
    /// Whether so much content of so many stored bytes is a decompression bomb.
    pub(super) fn is_bomb(&self, content: u64, stored: u64) -> bool {
        content > self.expansion_floor && content / self.expansion.max(1) > stored
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            content: MAX_CONTENT,
            expansion: MAX_EXPANSION,
            expansion_floor: EXPANSION_FLOOR,
        }
    }
}
