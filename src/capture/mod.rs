//! What is taken from a container besides its processes: its files, ready to be written into an archive.
//!
//! Everything here is called while the container is frozen, so that files and memory agree, and before anything of it is
//! killed, so that a file that cannot be read costs no container. A [`Part`] is one entry of the archive, already measured:
//! the archive needs its size before its content.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::error::ErrorKind;
use crate::tree::{self, Measured, Report};

pub mod devshm;
pub mod open_files;
pub mod overlay;
pub mod rootfs;
pub mod volumes;

/// An error of capturing files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A directory cannot be opened.
    #[error("cannot open `{}`", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something beneath a directory cannot be packed.
    #[error("cannot pack `{}`", root.display())]
    Pack {
        /// The directory.
        root: PathBuf,
        /// What is in the way.
        source: tree::Error,
    },
    /// Changes were asked for, but there is nothing to tell what changed.
    #[error("`{}` is not an overlay: what changed in it cannot be told, only all of it can be taken", .0.display())]
    NotAnOverlay(PathBuf),
    /// The layers of an overlay cannot be used.
    #[error("cannot use the layers of the overlay on `{}`", rootfs.display())]
    Layers {
        /// Where it is mounted.
        rootfs: PathBuf,
        /// What is wrong with them.
        source: overlay::Defect,
    },
    /// A name for a volume that no archive entry can have.
    #[error("`{0}` cannot be the name of a volume")]
    VolumeName(String),
}

impl Error {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAnOverlay(_) | Self::VolumeName(_) => ErrorKind::Usage,
            Self::Open { .. } | Self::Layers { .. } => ErrorKind::Dump,
            Self::Pack { source, .. } => source.kind(),
        }
    }
}

/// Name of the entry with a whole root file system.
pub const ROOTFS: &str = "rootfs.tar";
/// Name of the entry with what was added and changed in a root file system (podman's name).
pub const ROOTFS_DIFF: &str = "rootfs-diff.tar";
/// Name of the entry with what was deleted from a root file system (podman's name).
pub const DELETED_FILES: &str = "deleted.files";
/// Name of the entry with the content of a bind-mounted /dev/shm (podman's name).
pub const DEVSHM: &str = "devshm-checkpoint.tar";
/// Directory of the entries with the content of volumes (podman's name).
pub const VOLUMES: &str = "volumes";

/// One entry of an archive, measured and ready to be written.
#[derive(Debug)]
pub struct Part {
    name: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Tree { root: PathBuf, tree: Box<Measured> },
    Bytes(Vec<u8>),
}

impl Part {
    fn tree(name: impl Into<String>, root: impl Into<PathBuf>, tree: Measured) -> Self {
        Self {
            name: name.into(),
            content: Content::Tree {
                root: root.into(),
                tree: Box::new(tree),
            },
        }
    }

    fn bytes(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            content: Content::Bytes(bytes),
        }
    }

    /// Name of the entry.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its size, bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.content {
            Content::Tree { tree, .. } => tree.size(),
            Content::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Writes exactly [`Part::size`] bytes.
    ///
    /// # Errors
    /// A file that cannot be read or changed since it was measured, with its path; or that `out` takes no more.
    pub fn write(&mut self, out: &mut dyn Write) -> Result<(), Error> {
        match &mut self.content {
            Content::Tree { root, tree } => tree.write(out).map_err(|source| Error::Pack {
                root: root.clone(),
                source,
            }),
            Content::Bytes(bytes) => out.write_all(bytes).map_err(|e| Error::Pack {
                root: PathBuf::from(&self.name),
                source: tree::Error::Output(e),
            }),
        }
    }
}

/// What the user should know of what is not in a tar, one line each.
fn warnings(what: &str, report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    let sockets = &report.sockets;
    if sockets.count > 0 {
        let first = listed(sockets);
        lines.push(format!(
            "{what}: {} sockets are left out, processes make them anew: {first}",
            sockets.count
        ));
    }
    let mounts = &report.mount_points;
    if mounts.count > 0 {
        let first = listed(mounts);
        lines.push(format!(
            "{what}: what is mounted on {} paths is left out: {first}",
            mounts.count
        ));
    }
    if !report.xattrs.is_empty() {
        let names = report.xattrs.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        lines.push(format!("{what}: extended attributes of the host are left out: {names}"));
    }
    lines
}

/// Some paths for a message.
fn listed(notes: &tree::Notes) -> String {
    /// Paths named in one message.
    const SHOWN: usize = 3;
    let mut text = notes
        .first
        .iter()
        .take(SHOWN)
        .map(|path| format!("`{path}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if notes.count > SHOWN as u64 {
        text.push_str(", …");
    }
    text
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
