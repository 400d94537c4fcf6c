//! What can be wrong with an archive that another engine made.

use std::io;

use crate::archive;
use crate::error::ErrorKind;
use crate::tree;

/// See the module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Of the file that the archive is read from or written to, or of the archive that is made.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// It cannot be read.
    #[error("cannot read it")]
    Read {
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write it")]
    Write {
        /// Why.
        source: io::Error,
    },
    /// What it is unpacked into for the time being cannot be used.
    #[error("cannot keep it in a temporary file")]
    Spool {
        /// Why.
        source: io::Error,
    },
    /// It does not decompress.
    #[error("its {compression} compression is damaged after {stored} bytes")]
    Damaged {
        /// The compression.
        compression: archive::Codec,
        /// Bytes that were read.
        stored: u64,
        /// What the decompressor says.
        source: io::Error,
    },
    /// It is compressed with something that no engine compresses with by itself.
    #[error("it is compressed with {name}; archives of checkpoints are zstd, gzip or not compressed")]
    Compression {
        /// The compression.
        name: &'static str,
    },
    /// It expands beyond all bounds.
    #[error("it expands to more than {content} bytes, out of {stored}: more than is accepted")]
    Bomb {
        /// Bytes of content so far.
        content: u64,
        /// Bytes that were read.
        stored: u64,
    },
    /// The tar is malformed or not allowed.
    #[error("the tar is not acceptable")]
    Tar {
        /// Why.
        #[source]
        source: tree::Error,
    },
    /// Something else than a plain file.
    #[error("entry {entry}: it is {found}, where only plain files belong")]
    Kind {
        /// The entry.
        entry: String,
        /// What it is.
        found: &'static str,
    },
    /// A name is there twice.
    #[error("entry {entry}: it is there twice")]
    Repeated {
        /// The entry.
        entry: String,
    },
    /// An entry is larger than one of its name may be.
    #[error("entry {entry}: {size} bytes are more than the {limit} that are accepted")]
    TooLarge {
        /// The entry.
        entry: String,
        /// Its size.
        size: u64,
        /// The most.
        limit: u64,
    },
    /// Too many entries.
    #[error("entry {entry}: more than {limit} entries")]
    TooMany {
        /// The first that is too many.
        entry: String,
        /// The most.
        limit: usize,
    },
    /// An archive of ckpt's whose manifest was taken away would pass for one that never had checksums.
    #[error("entry {entry}: only archives of ckpt have it, and this one does not begin with ckpt.json as they do")]
    Ours {
        /// The entry.
        entry: String,
    },
    /// An entry is not there that every checkpoint has.
    #[error("it is no checkpoint of podman, CRI-O or containerd: it has no {entry}")]
    Missing {
        /// The entry.
        entry: &'static str,
    },
    /// A document is not what it should be.
    #[error("entry {entry}: {problem}")]
    Document {
        /// The entry.
        entry: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// A document is not JSON of the form that engines write.
    #[error("entry {entry}: it is not what engines write there")]
    Json {
        /// The entry.
        entry: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A list of bind mounts is not acceptable.
    #[error("entry bind.mounts: it is not acceptable")]
    Binds {
        /// Why.
        #[source]
        source: crate::mounts::Error,
    },
    /// A list of deleted files is not acceptable.
    #[error("entry deleted.files: it is not acceptable")]
    Deleted {
        /// Why.
        #[source]
        source: tree::deleted::Defect,
    },
    /// A tar inside the archive is malformed or not allowed.
    #[error("entry {entry}: it is not acceptable")]
    Nested {
        /// The entry.
        entry: String,
        /// Why.
        #[source]
        source: tree::Error,
    },
    /// CRIU's images do not fit together.
    #[error("CRIU's images do not fit together: {}", faults.join("; "))]
    Faults {
        /// What is wrong, each with the image.
        faults: Vec<String>,
    },
    /// It holds only what was changed since another one.
    #[error("entry {entry}: the images are incremental to others, which an archive of ckpt cannot refer to by a link")]
    Incremental {
        /// The link.
        entry: String,
    },
    /// The archive cannot be given this form.
    #[error("it cannot be made an archive of {form}: {why}")]
    Form {
        /// The form.
        form: &'static str,
        /// Why.
        why: String,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Which form it has cannot be told.
    #[error("it is neither an archive of ckpt nor a checkpoint of podman, CRI-O or containerd")]
    Unknown,
}

impl Error {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Archive(error) => error.kind(),
            Self::Read { .. } | Self::Write { .. } | Self::Spool { .. } | Self::Interrupted => ErrorKind::Other,
            Self::Form { .. } | Self::Incremental { .. } => ErrorKind::Usage,
            _ => ErrorKind::Archive,
        }
    }

    /// Whether it is that the content is more than was allowed, which is no fault of the archive where that is the free space.
    pub(crate) fn is_of_content_limit(&self) -> bool {
        match self {
            Self::Bomb { .. } => true,
            Self::Tar { source } | Self::Nested { source, .. } => matches!(
                source,
                tree::Error::Entry {
                    defect: tree::Defect::Bytes(_),
                    ..
                }
            ),
            _ => false,
        }
    }

    /// Recovers the error that passed through [`std::io::Read`] as an [`io::Error`].
    pub(crate) fn from_io(error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(|source| Self::Read { source })
    }

    /// The error of a tar, where the input's own may be inside.
    pub(crate) fn of_tar(error: tree::Error) -> Self {
        match error {
            tree::Error::Input(source) => Self::from_io(source),
            source => Self::Tar { source },
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}
