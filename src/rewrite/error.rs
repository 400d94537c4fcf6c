//! The error of this module.

use super::apply::ApplyError;
use super::refusal::Refusals;
use super::spec::SpecError;
use crate::error::ErrorKind;

/// Why an import was not planned or not prepared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive's configuration cannot be read.
    #[error("the archive's configuration cannot be used")]
    Spec(#[from] SpecError),
    /// The plan was refused.
    #[error(transparent)]
    Refused(#[from] Refusals),
    /// A step of the plan failed; what was made before is gone, but for what the error names.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl Error {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Spec(_) => ErrorKind::Archive,
            Self::Refused(refusals) => refusals.kind(),
            Self::Apply(error) => error.kind(),
        }
    }
}
