//! The archive format, version 1: an ordinary tar in independent frames, with checksums, a seek table and an index.
//!
//! `docs/format.md` describes it for those who write another reader. [`format`](mod@format) declares the entries,
//! `header` the tar headers, `frames` the compression, `index` and `sums` what is at the end.
//!
//! ```text
//! writing:  Writer -> framer -> {pool: compress, contenthash} -> Sink -> Durable
//! reading:  Source -> Reader -> {pool: decompress, contenthash} -> Staged<Unverified> -> verify -> Staged<Verified>
//! looking:  Source -> Indexed -> one entry, verified
//! paging:   Source -> Indexed -> Frames -> any bytes of any entry, verified
//! ```

mod compress;
mod contenthash;
mod crew;
mod deframer;
mod digest;
mod error;
mod extract;
pub mod format;
mod framedigest;
mod framer;
mod frames;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod header;
mod index;
mod indexed;
mod indexed_entry;
mod input;
pub mod limits;
mod locate;
mod opening;
mod outlet;
mod pace;
mod path;
mod pool;
mod random;
mod reader;
mod seektable;
mod segment;
mod sink;
mod source;
mod sparse;
mod stagedir;
mod staging;
mod sums;
mod tail;
mod tarstream;
mod thin;
mod writer;

pub use digest::{Digest, NotADigest};
pub use error::{Error, FrameProblem, HeaderProblem, NameProblem, TailProblem, TrailerProblem};
pub use extract::{Blocks, Treatment};
pub use framedigest::FrameDigest;
pub use frames::{Codec, Compression, Level};
pub use index::{Entry, Frame, Index};
pub use indexed::Indexed;
pub use indexed_entry::IndexedEntry;
pub use limits::Limits;
pub use path::ArchivePath;
pub use random::{EntryAt, FrameFault, Frames, Piece};
pub use reader::{EntryReader, Proof, Reader, ReaderOptions};
pub use segment::{Segment, SegmentWriter};
pub use sink::{Durable, Sink};
pub use source::Source;
pub use staging::{Later, Staged, StagedEntry, Unverified, Verified};
pub use thin::BLOCK as THIN_BLOCK;
pub use writer::{EntryWriter, Summary, Writer, WriterOptions};

/// A thread for each processor that this process may run on.
fn available_threads() -> std::num::NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(std::num::NonZeroUsize::MIN)
}
