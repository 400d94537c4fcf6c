//! What can be wrong with images.

use std::fmt;

use crate::error::ErrorKind;

/// What is wrong with images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An image that is needed is not there.
    #[error("there is no image {image}")]
    Missing {
        /// Its name.
        image: String,
    },
    /// An image is not as CRIU writes it.
    #[error("image {image} {problem}")]
    Image {
        /// Its name.
        image: String,
        /// What is wrong.
        problem: Problem,
    },
    /// There is more of something than is accepted.
    #[error("image {image} has more {what} than the {limit} that are accepted")]
    TooMany {
        /// The image.
        image: String,
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// An image, or a part of it, cannot be read.
    #[error("image {image} cannot be read")]
    Read {
        /// Its name.
        image: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no such process.
    #[error("there is no process {pid}")]
    NoProcess {
        /// The process id that was asked for.
        pid: u32,
    },
    /// The process had ended, and has no memory.
    #[error("process {pid} had ended: it has no memory")]
    Ended {
        /// The process id that was asked for.
        pid: u32,
    },
}

/// What is wrong with one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Another magic number.
    Magic,
    /// It ends within a record.
    CutOff,
    /// A record is longer than any of its kind.
    TooLong,
    /// A record is no message of its kind.
    Message,
    /// No record, where one must be.
    Empty,
    /// The image is larger than any of its kind.
    TooLarge,
    /// Mappings or ranges of pages that are out of order, overlap or have no length.
    Order,
    /// More pages than its pages image has.
    Pages,
    /// A process is its own ancestor, or there twice.
    Tree,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Magic => "has another magic number",
            Self::CutOff => "is cut off",
            Self::TooLong => "has a record that is longer than any of its kind",
            Self::Message => "has a record that cannot be decoded",
            Self::Empty => "is empty",
            Self::TooLarge => "is larger than any of its kind",
            Self::Order => "has ranges that are not in order",
            Self::Pages => "has more pages than its pages image",
            Self::Tree => "has processes that are no tree",
        })
    }
}

impl Error {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoProcess { .. } | Self::Ended { .. } => ErrorKind::Usage,
            Self::Read { source, .. } => kind_of(source.as_ref()),
            _ => ErrorKind::Archive,
        }
    }

    pub(super) fn image(image: &str, problem: Problem) -> Self {
        Self::Image {
            image: image.to_owned(),
            problem,
        }
    }

    pub(super) fn too_many(image: &str, what: &'static str, limit: usize) -> Self {
        Self::TooMany {
            image: image.to_owned(),
            what,
            limit: limit as u64,
        }
    }

    pub(super) fn read(image: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Read {
            image: image.to_owned(),
            source: source.into(),
        }
    }
}

/// The class of what an archive said, wherever in the chain; what it did not say is not right with the archive.
fn kind_of(error: &(dyn std::error::Error + 'static)) -> ErrorKind {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<crate::archive::Error>() {
            return error.kind();
        }
        next = error.source();
    }
    ErrorKind::Archive
}
