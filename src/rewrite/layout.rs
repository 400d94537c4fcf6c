//! Names of containers, and where the parts of an imported one are.

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

/// The directory of imported containers: one directory per name, unless the importer gives a bundle.
pub const CONTAINERS_DIR: &str = "/var/lib/ckpt/containers";
/// Longest name, bytes: the kernel's NAME_MAX, as the name becomes a directory of bundles and of cgroups.
pub const MAX_NAME_BYTES: usize = 255;

/// A container's name that runtimes take: runc's rule, `[A-Za-z0-9_+.-]+` but not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// Takes a name that follows the rule; `None` for any other.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let allowed = |letter: u8| letter.is_ascii_alphanumeric() || b"_+.-".contains(&letter);
        let fits = !name.is_empty() && name.len() <= MAX_NAME_BYTES;
        (fits && name.bytes().all(allowed) && name != "." && name != "..").then(|| Self(name.to_owned()))
    }

    /// Stands in for a name that was refused, so that the rest of a plan can be judged.
    pub(super) fn placeholder() -> Self {
        Self("refused".to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bundle of an imported container and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    bundle: PathBuf,
}

impl Layout {
    /// The default bundle of a name.
    #[must_use]
    pub fn of(name: &Name) -> Self {
        Self {
            bundle: Path::new(CONTAINERS_DIR).join(name.as_str()),
        }
    }

    /// A bundle that the importer chose; an absolute path.
    #[must_use]
    pub fn at(bundle: PathBuf) -> Self {
        Self { bundle }
    }

    /// The bundle directory.
    #[must_use]
    pub fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// Where a bundle is that has to make room for this one, until that is complete: beside it, and no container's name.
    #[must_use]
    pub fn aside(&self) -> PathBuf {
        let mut name = self.bundle.file_name().unwrap_or_default().to_owned();
        name.push("~replaced");
        self.bundle.with_file_name(name)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.bundle.join("config.json")
    }

    /// CRIU's images.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.bundle.join("checkpoint")
    }

    /// The root file system: extracted here, or the mounted overlay.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.bundle.join("rootfs")
    }

    /// The overlay's changes.
    #[must_use]
    pub fn upper(&self) -> PathBuf {
        self.bundle.join("upper")
    }

    /// The overlay's working directory.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.bundle.join("work")
    }

    /// The container's /dev/shm.
    #[must_use]
    pub fn shm(&self) -> PathBuf {
        self.bundle.join("shm")
    }

    /// Where the content of mounts that travel is put.
    #[must_use]
    pub fn mounts(&self) -> PathBuf {
        self.bundle.join("mounts")
    }

    /// The pinned network namespace.
    #[must_use]
    pub fn netns(&self) -> PathBuf {
        self.bundle.join("netns")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_runcs_rule() {
        let long = "a".repeat(MAX_NAME_BYTES);
        for good in ["c1", "web.2", "a_b+c-d", "...", "0", &long] {
            assert_eq!(Name::new(good).map(|name| name.to_string()).as_deref(), Some(good));
        }
        let longer = "a".repeat(MAX_NAME_BYTES + 1);
        for bad in ["", ".", "..", "a/b", "a b", "ä", "a\0", "a:b", "*", &longer] {
            assert_eq!(Name::new(bad), None, "{bad:?}");
        }
    }
}
