//! What can be wrong with an archive, or with reading and writing one.
//!
//! Invariant: every rejection names the entry, or the byte region where no entry can be named.

use std::io;
use std::path::PathBuf;

use super::frames::Codec;
use crate::error::ErrorKind;

/// An error of the archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The archive cannot be read.
    #[error("cannot read the archive at byte {offset}")]
    Read {
        /// Offset in the file.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The archive cannot be written.
    #[error("cannot write the archive")]
    Write {
        /// What the system said.
        source: io::Error,
    },
    /// An entry is added whose size has to be known before its content.
    #[error("entry {entry}: its size must be known before its content")]
    Unsized {
        /// The entry.
        entry: String,
    },
    /// Compressed frames of an entry whose size is not known yet cannot be set aside.
    #[error("cannot set compressed memory aside in `{}`", path.display())]
    Spool {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The content of an entry that is being added cannot be read.
    #[error("entry {entry}: cannot read its content")]
    Content {
        /// The entry.
        entry: String,
        /// What the system said.
        source: io::Error,
    },
    /// An output or input file cannot be used.
    #[error("{}: cannot {operation}", path.display())]
    File {
        /// What was attempted.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The target of an archive is a directory.
    #[error("{}: is a directory", path.display())]
    IsDirectory {
        /// The target.
        path: PathBuf,
    },
    /// A thread cannot be started, or ended without a result.
    #[error("a worker thread failed")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
    /// An earlier operation on this writer or reader failed.
    #[error("an earlier operation on this archive failed")]
    Poisoned,
    /// An option is out of range.
    #[error("{option}: {value} is not between {least} and {most}")]
    Option {
        /// Its name.
        option: &'static str,
        /// The value.
        value: i64,
        /// The least value.
        least: i64,
        /// The greatest value.
        most: i64,
    },
    /// Not the name of a compression.
    #[error("{name:?} is no compression: use zstd, gzip or none")]
    Compression {
        /// The name.
        name: String,
    },
    /// An entry was given more or fewer bytes than its size says.
    #[error("entry {entry}: {size} bytes were announced, {given} were given")]
    Size {
        /// The entry.
        entry: String,
        /// The size in its header.
        size: u64,
        /// What was given (for too many: at least).
        given: u64,
    },
    /// The writer makes this entry by itself.
    #[error("entry {entry}: is made by the writer itself")]
    Reserved {
        /// The entry.
        entry: String,
    },

    /// A name that no entry may have.
    #[error("entry \"{name}\": {problem}")]
    Name {
        /// The name, escaped.
        name: String,
        /// What is wrong with it.
        problem: NameProblem,
    },
    /// Not an archive of ckpt.
    #[error("not a ckpt archive: {problem}")]
    NotAnArchive {
        /// Why not.
        problem: &'static str,
    },
    /// The first entry is another than the manifest.
    #[error("not a ckpt archive: its first entry is \"{entry}\", not \"ckpt.json\"")]
    NoManifest {
        /// The first entry.
        entry: String,
    },
    /// The archive was made by a newer ckpt.
    #[error("the archive has format version {found}; this ckpt reads up to {newest}: use a newer ckpt")]
    TooNew {
        /// Its version.
        found: u64,
        /// The newest version that is read.
        newest: u32,
    },
    /// The archive was made by a much older ckpt.
    #[error("the archive has format version {found}; this ckpt reads from {oldest} on: use an older ckpt")]
    TooOld {
        /// Its version.
        found: u64,
        /// The oldest version that is read.
        oldest: u32,
    },
    /// The manifest is not what its version says.
    #[error("entry ckpt.json: not a manifest")]
    Manifest {
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A tar header is not as the format prescribes.
    #[error("entry \"{entry}\": header at byte {offset} of the tar stream: {problem}")]
    Header {
        /// The entry's name as far as it is known, escaped; or the entry before it.
        entry: String,
        /// Offset in the uncompressed stream.
        offset: u64,
        /// What is wrong.
        problem: HeaderProblem,
    },
    /// A name that the format does not know.
    #[error("entry {entry}: no entry of that name belongs into an archive")]
    Unknown {
        /// The entry.
        entry: String,
    },
    /// An entry is there twice, or beside one that excludes it.
    #[error("entry {entry}: repeats {other}")]
    Repeated {
        /// The entry.
        entry: String,
        /// The one before.
        other: String,
    },
    /// An entry is not at its place.
    #[error("entry {entry}: must not follow {after}")]
    Order {
        /// The entry.
        entry: String,
        /// The one before.
        after: String,
    },
    /// An entry that every archive has is not there.
    #[error("entry {entry}: missing")]
    Missing {
        /// The entry.
        entry: String,
    },
    /// An entry is larger than any of its name may be.
    #[error("entry {entry}: {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The entry.
        entry: String,
        /// Its size.
        size: u64,
        /// The bound.
        limit: u64,
    },
    /// There are too many entries.
    #[error("entry {entry}: more than {limit} entries")]
    TooManyEntries {
        /// The first one too many.
        entry: String,
        /// The bound.
        limit: usize,
    },
    /// There are too many frames.
    #[error("entry {entry}: more than {limit} frames")]
    TooManyFrames {
        /// The entry that reaches into the first frame too many.
        entry: String,
        /// The bound.
        limit: usize,
    },
    /// The content of all entries is larger than the caller allows.
    #[error("entry {entry}: with it the content is {content} bytes, at most {limit} are allowed")]
    TooMuchContent {
        /// The entry.
        entry: String,
        /// Content bytes up to its end.
        content: u64,
        /// The bound.
        limit: u64,
    },
    /// The archive expands like a decompression bomb.
    #[error("entry {entry}: the content is more than {limit} times what is stored")]
    Expansion {
        /// The entry.
        entry: String,
        /// The bound.
        limit: u64,
    },
    /// A frame is damaged or not as the format prescribes.
    #[error("frame at byte {offset} (entry {entry}): {problem}")]
    Frame {
        /// Offset in the file.
        offset: u64,
        /// The entry that was being read.
        entry: String,
        /// What is wrong.
        problem: FrameProblem,
    },
    /// The archive ends too early.
    #[error("truncated at byte {offset} (entry {entry})")]
    Truncated {
        /// Length of what is there.
        offset: u64,
        /// The entry that was being read.
        entry: String,
    },
    /// The bytes after an entry's content, up to the next block, are not zero.
    #[error("entry {entry}: padding is not zero")]
    Padding {
        /// The entry.
        entry: String,
    },
    /// The content of an entry is not what `SHA256SUMS` says.
    #[error("entry {entry}: content does not match its digest in SHA256SUMS")]
    Digest {
        /// The entry.
        entry: String,
    },
    /// A stored frame is not what the index says.
    #[error("entry {entry}: frame {frame} does not match its digest in index.json")]
    FrameDigest {
        /// An entry in that frame.
        entry: String,
        /// Number of the frame, from 0.
        frame: usize,
    },
    /// The archive has no frames that could be read one by one.
    #[error("only archives compressed with zstd can be read in parts; this one is {}", match .codec { Codec::Gzip => "compressed with gzip", _ => "not compressed" })]
    NoFrames {
        /// What it is compressed with.
        codec: Codec,
    },
    /// The index or the list of digests is not what the content prescribes.
    #[error("entry {entry}: {problem}")]
    Tail {
        /// `index.json`, `SHA256SUMS`, `SHA256SUMS.sig` or the entry that it is wrong about.
        entry: String,
        /// What is wrong.
        problem: TailProblem,
    },
    /// What follows the last entry is not what the format prescribes.
    #[error("{problem} at byte {offset}, after the last entry")]
    Trailer {
        /// Offset in the file.
        offset: u64,
        /// What is wrong.
        problem: TrailerProblem,
    },
}

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameProblem {
    /// It is empty.
    #[error("the name is empty")]
    Empty,
    /// It is too long.
    #[error("the name is {length} bytes long, at most {} are allowed", super::limits::MAX_NAME)]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It begins with `/`.
    #[error("the name is absolute")]
    Absolute,
    /// It has a byte that no name has.
    #[error("the name holds the byte {byte:#04x}")]
    Byte {
        /// The byte.
        byte: u8,
    },
    /// It has a component `.` or `..`.
    #[error("the name has a component \".\" or \"..\"")]
    Dots,
    /// It has an empty component.
    #[error("the name has an empty component")]
    EmptyComponent,
    /// It has more than two components.
    #[error("the name has more than two components")]
    TooDeep,
}

/// What is wrong with a tar header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderProblem {
    /// It is no ustar header.
    #[error("no ustar header")]
    Magic,
    /// Its checksum is wrong.
    #[error("checksum is wrong")]
    Checksum,
    /// It is of a type that has no place here.
    #[error("is a {kind}; only regular files belong into an archive")]
    Type {
        /// The type.
        kind: &'static str,
    },
    /// A field is not what the format prescribes.
    #[error("field {field} is not canonical")]
    Field {
        /// The field.
        field: &'static str,
    },
    /// A PAX header is larger than one with a path and a size can be.
    #[error("PAX header of {size} bytes")]
    PaxSize {
        /// Its size.
        size: u64,
    },
    /// The records of a PAX header are not those that the format prescribes.
    #[error("PAX records are not canonical")]
    PaxRecords,
    /// The header of a directory precedes another entry than the first one of that directory.
    #[error("is a directory, but not that of the entry after it")]
    Directory,
    /// The time differs from that of the first entry.
    #[error("mtime differs from that of the first entry")]
    Mtime,
}

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameProblem {
    /// It begins with other bytes than a frame.
    #[error("no frame begins here")]
    Magic,
    /// Its header has a flag or field that the format does not allow.
    #[error("header is not as the format prescribes")]
    Header,
    /// Its content is empty or larger than a frame's may be.
    #[error("content of {size} bytes")]
    ContentSize {
        /// The size in its header.
        size: u64,
    },
    /// It is longer than its content can need.
    #[error("longer than its content can need")]
    StoredSize,
    /// A block has a type or size that is not allowed.
    #[error("a block is not as the format prescribes")]
    Block,
    /// Its bytes are not those that the index has the digest of.
    #[error("does not match its digest in index.json")]
    Digest,
    /// It does not decompress to what its header says.
    #[error("does not decompress to what its header says")]
    Decode,
    /// It is a stored frame, but not the one that its content prescribes.
    #[error("is not stored as the format prescribes")]
    NotCanonical,
    /// The entries at the end begin in a compressed frame or within one, or are cut otherwise than prescribed.
    #[error("the entries at the end are not in frames as the format prescribes")]
    Tail,
}

/// What is wrong with `index.json`, `SHA256SUMS` or its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TailProblem {
    /// It cannot be parsed, or is not written as prescribed.
    #[error("not as the format prescribes")]
    Malformed,
    /// It names an entry that the archive does not have at that place.
    #[error("listed, but not in the archive at that place")]
    NotThere,
    /// It does not name an entry that the archive has.
    #[error("in the archive, but not listed")]
    NotListed,
    /// It says another size or offset.
    #[error("size or offset differs from what the index says")]
    Geometry,
    /// It says other frames than there are.
    #[error("the frames of the archive are not those that it lists")]
    Frames,
}

/// What is wrong after the last entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrailerProblem {
    /// The end-of-archive blocks are not two zero blocks.
    #[error("end-of-archive mark is not two zero blocks")]
    EndMark,
    /// The seek table is not the one that the frames prescribe.
    #[error("seek table does not match the frames")]
    SeekTable,
    /// The end member of a gzip archive is wrong.
    #[error("end member does not match the archive")]
    EndMember,
    /// More bytes follow.
    #[error("trailing data")]
    TrailingData,
}

impl Error {
    /// The class of this error: [`ErrorKind::Archive`] where the archive itself is at fault.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Spool { .. }
            | Self::Unsized { .. }
            | Self::Content { .. }
            | Self::File { .. }
            | Self::IsDirectory { .. }
            | Self::Thread { .. }
            | Self::Poisoned
            | Self::Size { .. }
            | Self::Reserved { .. } => ErrorKind::Other,
            Self::Option { .. } | Self::Compression { .. } | Self::NoFrames { .. } => ErrorKind::Usage,
            _ => ErrorKind::Archive,
        }
    }

    /// Recovers the error that passed through [`std::io::Read`] or [`std::io::Write`] as an [`io::Error`].
    ///
    /// # Errors
    /// The error itself, where it is another one.
    pub fn from_io(error: io::Error) -> Result<Self, io::Error> {
        error.downcast::<Self>()
    }
}

impl From<Error> for io::Error {
    /// The system's own error for a failed write, so that its kind survives; otherwise one that carries this error.
    fn from(error: Error) -> Self {
        match error {
            Error::Write { source } => source,
            error if error.kind() == ErrorKind::Archive => Self::new(io::ErrorKind::InvalidData, error),
            error => Self::other(error),
        }
    }
}
