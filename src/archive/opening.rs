//! The first entry of an archive: the manifest, and whether this build reads an archive of its version.
//!
//! Invariant: the version is looked at before anything else of a manifest, so that a newer archive is called newer and not
//! damaged, whatever else has changed in it.

use std::io::Read;

use serde::Deserialize;

use super::error::{Error, FrameProblem, HeaderProblem};
use super::format::{MANIFEST, Sequence};
use super::header::{Header, padding};
use super::tarstream::TarStream;
use crate::manifest::{FORMAT_VERSION, Manifest, OLDEST_FORMAT_VERSION};

/// See the module.
pub(super) struct Opening {
    /// The header of the entry.
    pub header: Header,
    /// Its content.
    pub text: Vec<u8>,
    /// The same, understood.
    pub manifest: Manifest,
}

impl Opening {
    /// Reads the first entry, which must be the manifest.
    pub(super) fn read<R: Read>(stream: &mut TarStream<R>) -> Result<Self, Error> {
        let (header, text) = first_entry(stream).map_err(as_foreign)?;
        check_version(&text)?;
        let manifest = serde_json::from_slice(&text).map_err(|source| Error::Manifest { source })?;
        Ok(Self { header, text, manifest })
    }
}

fn first_entry<R: Read>(stream: &mut TarStream<R>) -> Result<(Header, Vec<u8>), Error> {
    let none = || Error::Missing {
        entry: MANIFEST.to_owned(),
    };
    let header = stream.header()?.ok_or_else(none)?;
    Sequence::default().admit_header(&header)?;
    let mut text = Vec::new();
    while (text.len() as u64) < header.size {
        let chunk = stream.chunk()?;
        let count = chunk.len().min(header.size as usize - text.len());
        if count == 0 {
            return Err(stream.truncated());
        }
        text.extend_from_slice(&chunk[..count]);
        stream.consume_content(count);
    }
    stream.end_content();
    stream.take_padding(padding(header.size))?;
    Ok((header, text))
}

/// What is wrong with the very first bytes means that somebody else made the file.
fn as_foreign(error: Error) -> Error {
    let problem = match error {
        Error::Frame {
            offset: 0,
            problem: FrameProblem::Magic | FrameProblem::Header,
            ..
        } => "its first frame is none that ckpt makes",
        Error::Header {
            offset: 0,
            problem: HeaderProblem::Magic,
            ..
        } => "it does not begin with a tar header",
        Error::Header { offset: 0, entry, .. } if entry != MANIFEST => return Error::NoManifest { entry },
        Error::Name { name, .. } => return Error::NoManifest { entry: name },
        other => return other,
    };
    Error::NotAnArchive { problem }
}

/// The part of a manifest that every version has.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

/// Tells apart what this build reads from what is too new or too old, before anything else of a manifest is looked at.
fn check_version(manifest: &[u8]) -> Result<(), Error> {
    let Version { format } = serde_json::from_slice(manifest).map_err(|source| Error::Manifest { source })?;
    if format > u64::from(FORMAT_VERSION) {
        return Err(Error::TooNew {
            found: format,
            newest: FORMAT_VERSION,
        });
    }
    if format < u64::from(OLDEST_FORMAT_VERSION) {
        return Err(Error::TooOld {
            found: format,
            oldest: OLDEST_FORMAT_VERSION,
        });
    }
    Ok(())
}
