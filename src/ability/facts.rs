//! Looking at the host, beyond what [`HostFacts`] knows: what it takes to checkpoint at all.

use std::path::{Path, PathBuf};

use super::Answers;
use crate::host::{self, HostFacts};
use crate::request::RuntimeKind;
use crate::sys::space;

/// Where exports work unless they are told otherwise.
const WORK: &str = "/var/lib/ckpt";

/// What was found on this host.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Whether this process is root.
    pub root: bool,
    /// The host.
    pub host: HostFacts,
    /// What CRIU says of this kernel, where it is installed.
    pub answers: Option<Answers>,
    /// The one runtime that was asked about.
    pub only: Option<RuntimeKind>,
    /// Where exports work, and the bytes that are free there.
    pub work_space: Option<(PathBuf, u64)>,
}

impl Facts {
    /// Looks at the host, at one runtime or at all of them.
    ///
    /// # Errors
    /// When /proc is not as it should be.
    pub fn gather(only: Option<RuntimeKind>) -> Result<Self, host::Error> {
        let mut host = HostFacts::collect()?;
        // podman restores by the runtime below it.
        let asked = |only: RuntimeKind, name: &str| {
            only.name() == name
                || (only == RuntimeKind::Podman && RuntimeKind::OCI.iter().any(|kind| kind.name() == name))
        };
        host.runtimes
            .retain(|name, _| only.is_none_or(|only| asked(only, name)));
        let criu = host.criu.as_ref().map(|criu| criu.path.clone());
        Ok(Self {
            root: rustix::process::geteuid().is_root(),
            answers: criu.as_deref().map(Answers::of),
            only,
            host,
            work_space: free_space(Path::new(WORK)),
        })
    }
}

/// Bytes free for this user where `path` is, or will be made.
pub(super) fn free_space(path: &Path) -> Option<(PathBuf, u64)> {
    let there = path.ancestors().find(|ancestor| ancestor.exists())?;
    Some((path.to_owned(), space::free(there).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_found_where_a_directory_will_be_made() {
        let (path, free) = free_space(Path::new("/nonexistent/a/b")).unwrap();
        assert_eq!(path, Path::new("/nonexistent/a/b"));
        assert!(free > 0);
    }
}
