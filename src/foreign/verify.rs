//! Everything of an archive without checksums that can be checked, in one pass.

use std::io::Read;

use super::describe::describe;
use super::error::Error;
use super::names::{DIFF, SHM};
use super::reader::{Outline, Reader};
use super::stream::Stream;
use crate::archive::Limits;
use crate::archive::format::VOLUMES;
use crate::manifest::Manifest;
use crate::tree;

/// An archive in which nothing wrong was found.
#[derive(Debug)]
pub struct Verified {
    /// What is in it.
    pub outline: Outline,
    /// What it describes.
    pub manifest: Manifest,
}

/// Reads a whole archive, and checks its structure, the tars in it, its documents and CRIU's images.
///
/// # Errors
/// Whatever is wrong.
pub fn verify(source: impl Read, limits: Limits) -> Result<Verified, Error> {
    let mut reader = Reader::new(source, limits)?;
    while let Some(entry) = reader.next_entry()? {
        let name = entry.path.as_str();
        if is_tree(name) {
            check_tree(name, &mut reader, limits)?;
        }
    }
    Verified::of(reader.finish()?)
}

impl Verified {
    /// Of what one pass found; the tars in it are somebody else's to check.
    pub(super) fn of(outline: Outline) -> Result<Self, Error> {
        let manifest = describe(&outline)?;
        if let Some(list) = &outline.documents.deleted {
            tree::deleted::parse(list, &tree::deleted::Limits::default())
                .map_err(|source| Error::Deleted { source })?;
        }
        if !outline.faults.faults.is_empty() {
            let faults = outline.faults.faults.clone();
            return Err(Error::Faults { faults });
        }
        Ok(Self { outline, manifest })
    }
}

/// Whether an entry is a tar of files.
pub(super) fn is_tree(name: &str) -> bool {
    matches!(name, DIFF | SHM) || name.strip_prefix(VOLUMES).is_some_and(|rest| rest.starts_with('/'))
}

/// Reads a tar of files through; containerd's layer is compressed.
pub(super) fn check_tree(name: &str, content: impl Read, limits: Limits) -> Result<(), Error> {
    let bounds = tree::Limits {
        bytes: limits.content,
        ..tree::Limits::default()
    };
    let input = Stream::new(content, limits)?;
    let checked = tree::check(input, bounds, |_| Ok(()));
    checked.map(drop).map_err(|error| match error {
        tree::Error::Input(error) if error.get_ref().is_some_and(|inner| inner.is::<Error>()) => Error::from_io(error),
        source => Error::Nested {
            entry: name.to_owned(),
            source,
        },
    })
}
