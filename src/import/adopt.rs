//! A checkpoint of another engine is sealed on its way in: from there on an import knows one form of archive only.
//!
//! The sealed archive is in an unnamed file beside what is staged, and not compressed: it is read once, at once.

use std::fs::{self, Permissions};
use std::io::Seek as _;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::archive::{Compression, Limits, Sink, Source};
use crate::criu;
use crate::error::Error;
use crate::event::{Event, Events, Silent};
use crate::foreign::{self, Family, Left, Material, ReadOptions, SealOptions};
use crate::manifest::Manifest;
use crate::rewrite::{Plan, Step};

/// The archive itself where ckpt made it, else what sealing makes of it.
pub(super) fn adopt(
    mut source: Source,
    directory: &Path,
    threads: NonZeroUsize,
    events: &dyn Events,
) -> Result<Source, Error> {
    if Family::of(&mut source)? == Family::Ckpt {
        return Ok(source);
    }
    let name = source.path().to_owned();
    let reading = ReadOptions {
        spool: directory,
        threads,
        limits: Limits {
            content: crate::sys::space::free(directory).unwrap_or(u64::MAX),
            ..Limits::default()
        },
    };
    let material = Material::read(source, reading, events)?;
    warn(material.notes.iter().cloned(), events);
    let failed = |error| Error::io("making a file in", directory, error);
    let mut file = tempfile::tempfile_in(directory).map_err(failed)?;
    let sink = Sink::pipe(file.try_clone().map_err(failed)?.into());
    let writing = SealOptions {
        compression: Compression::None,
        threads,
    };
    let sealed = foreign::seal(material, sink, writing, &Silent)?;
    let left = sealed
        .left
        .into_iter()
        .map(|Left { entry, why }| format!("{entry}: {why}"));
    warn(left, events);
    file.rewind().map_err(failed)?;
    Ok(Source::new(file.into(), &name)?)
}

fn warn(messages: impl Iterator<Item = String>, events: &dyn Events) {
    messages.for_each(|message| events.emit(Event::Warning { message }));
}

/// Gives the root of an overlay of ours the mode that CRIU saw: engines do not put it into their archives.
pub(super) fn give_root_its_mode(plan: &Plan, manifest: &Manifest, images: &Path) -> Result<(), Error> {
    let merged = plan.steps.iter().find_map(|step| match step {
        Step::OverlayRootfs { merged, .. } => Some(merged),
        _ => None,
    });
    let Some((merged, mode)) = merged
        .zip(criu::root_mode(images))
        .filter(|_| manifest.engine.is_some())
    else {
        return Ok(());
    };
    fs::set_permissions(merged, Permissions::from_mode(mode))
        .map_err(|error| Error::io("changing the mode of", merged, error))
}
