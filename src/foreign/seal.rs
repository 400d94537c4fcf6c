//! An archive of another engine, made an archive of ckpt: manifest, checksums and index are added, every entry stays.
//!
//! Invariants: what is sealed was verified as far as it can be; entries keep their bytes, so that the engine reads the sealed
//! archive as if it were its own. What has no place in the format is left out and named, never silently.

use std::num::NonZeroUsize;

use serde::Serialize;

use super::error::Error;
use super::material::{Item, Material, path};
use super::names::DIFF;
use super::stop::Stop;
use crate::archive::format::{MANIFEST, Place, SIGNATURE, pages_number, place};
use crate::archive::{ArchivePath, Compression, Durable, Sink, Writer, WriterOptions};
use crate::event::{Event, Events, Phase};
use crate::manifest::{Manifest, RootfsMode};
use crate::tree;

/// How an archive of ckpt is written.
#[derive(Debug, Clone, Copy)]
pub struct SealOptions<'a> {
    /// What it is compressed with.
    pub compression: Compression,
    /// Threads that compress.
    pub threads: NonZeroUsize,
    /// Whether to stop.
    pub stop: Stop<'a>,
}

/// What could not be kept, or not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// The entry.
    pub entry: String,
    /// What became of it, and why.
    pub why: &'static str,
}

impl Left {
    /// The signature of an archive that another one is made of.
    pub(super) fn signature(material: &Material) -> Option<Self> {
        material.signed.then(|| Self {
            entry: SIGNATURE.to_owned(),
            why: "left out: it is of the checksums of the archive that this one was made of",
        })
    }
}

/// An archive that was made.
#[derive(Debug)]
pub struct Sealed {
    /// Proof that it is complete and in place.
    pub durable: Durable,
    /// Its manifest.
    pub manifest: Manifest,
    /// Number of its entries, without those that only describe the others.
    pub entries: usize,
    /// What could not be kept.
    pub left: Vec<Left>,
}

/// Writes an archive of ckpt.
///
/// # Errors
/// Where content cannot be read or the archive not written; an older file of its name is as it was then.
pub fn seal(
    mut material: Material,
    sink: Sink,
    options: SealOptions<'_>,
    events: &dyn Events,
) -> Result<Sealed, Error> {
    add_changes(&mut material)?;
    let content = material.items().iter().map(|item| item.size).sum();
    events.emit(Event::Phase {
        phase: Phase::Memory,
        total: Some(content),
    });
    let (items, mut left) = in_order(material.items());
    left.extend(Left::signature(&material));
    let writing = WriterOptions {
        compression: options.compression,
        threads: options.threads,
        mtime: material.time,
    };
    let mut writer = Writer::new(sink, writing)?;
    let json = |source| Error::Json {
        entry: MANIFEST,
        source,
    };
    let manifest = serde_json::to_vec_pretty(&material.manifest).map_err(json)?;
    writer.add_bytes(&path(MANIFEST)?, &manifest)?;
    let mut bytes = 0;
    for item in items {
        writer.add(&item.path, item.size, options.stop.watch(material.open(item)?))?;
        bytes += item.size;
        events.emit(Event::Progress { bytes });
    }
    let (sink, summary) = writer.finish()?;
    events.emit(Event::Phase {
        phase: Phase::Commit,
        total: None,
    });
    Ok(Sealed {
        durable: sink.commit(&summary)?,
        entries: summary.entries,
        manifest: material.manifest,
        left,
    })
}

/// An engine leaves out the changed files where there are none. An import needs to know that there are none, so as to put
/// the container onto a layer of its own.
fn add_changes(material: &mut Material) -> Result<(), Error> {
    let filesystem = &mut material.manifest.filesystem;
    if !material.ours && filesystem.rootfs == RootfsMode::Diff && filesystem.entry.is_none() {
        filesystem.entry = Some(DIFF.to_owned());
        material.replace(Item::new(path(DIFF)?, tree::END.to_vec()));
    }
    Ok(())
}

/// Entries in the order of the format; those that it has no place for.
fn in_order(items: &[Item]) -> (Vec<&Item>, Vec<Left>) {
    let mut placed = Vec::new();
    let mut left = Vec::new();
    for item in items {
        match place(&item.path) {
            Ok(Place { rank, kind }) if !kind.is_tail() => placed.push((key(rank, &item.path), item)),
            _ => left.push(Left {
                entry: item.path.to_string(),
                why: "left out: archives of ckpt have no entry of that name",
            }),
        }
    }
    placed.sort_by(|(key, _), (other, _)| key.cmp(other));
    (placed.into_iter().map(|(_, item)| item).collect(), left)
}

/// Where an entry is among the others of an archive.
pub(super) fn order(path: &ArchivePath) -> (usize, Option<u32>, ArchivePath) {
    key(place(path).map_or(usize::MAX, |place| place.rank), path)
}

/// Pages in the order of their numbers, everything else in that of its bytes.
fn key(rank: usize, path: &ArchivePath) -> (usize, Option<u32>, ArchivePath) {
    let number = place(path)
        .ok()
        .filter(|place| place.kind.late)
        .and_then(|_| pages_number(path));
    (rank, number, path.clone())
}
