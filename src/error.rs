//! The error of the whole library, and the class of each error that the exit code is made from.

/// The class of an error: what the caller can do about it. Each has its exit code (`docs/exit-codes.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Something failed that no other class describes (exit code 1).
    Other,
    /// The request itself is wrong (exit code 2).
    Usage,
    /// This host cannot do it: no CRIU, no kernel support, no privilege (exit code 3).
    Host,
    /// The archive is damaged, hostile, or of an unknown version (exit code 4).
    Archive,
    /// The runtime knows no such container (exit code 5).
    NotFound,
    /// The export failed; the container runs on (exit code 6).
    Dump,
    /// The restore failed; nothing of it is left on this host (exit code 7).
    Restore,
    /// The archive asks for something that needs a flag that names it (exit code 8).
    Policy,
}

impl ErrorKind {
    /// The exit code of the command for an error of this class.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::Host => 3,
            Self::Archive => 4,
            Self::NotFound => 5,
            Self::Dump => 6,
            Self::Restore => 7,
            Self::Policy => 8,
        }
    }
}

/// Any error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {}

impl Error {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match *self {}
    }
}
