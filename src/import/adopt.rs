//! A checkpoint of another engine is sealed on its way in: from there on an import knows one form of archive only.
//!
//! The sealed archive is in an unnamed file beside what is staged. It is compressed: on the way there are, at the same time, the
//! content once and this archive, never the content twice.

use std::fs::{self, Permissions};
use std::io::Seek as _;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::archive::{Compression, Level, Limits, Sink, Source};
use crate::criu::{self, Hook};
use crate::error::Error;
use crate::event::{Event, Events, Silent};
use crate::foreign::{self, Family, Left, Material, ReadOptions, SealOptions, Stop};
use crate::manifest::Manifest;
use crate::rewrite::{Plan, Step};

/// What the sealed archive is compressed with: it is read once, at once, so the fastest is good enough.
const COMPRESSION: Compression = Compression::Zstd { level: Level::Fixed(1) };

/// The archive itself where ckpt made it, else what sealing makes of it.
pub(super) fn adopt(
    mut source: Source,
    directory: &Path,
    threads: NonZeroUsize,
    events: &dyn Events,
    interrupted: Hook<'_>,
) -> Result<Source, Error> {
    if Family::of(&mut source)? == Family::Ckpt {
        return Ok(source);
    }
    let adopting = Adopting {
        directory,
        threads,
        events,
        interrupted,
    };
    match adopting.seal(source) {
        Err(_) if interrupted() => Err(criu::Error::Interrupted.into()),
        sealed => sealed,
    }
}

struct Adopting<'a> {
    directory: &'a Path,
    threads: NonZeroUsize,
    events: &'a dyn Events,
    interrupted: Hook<'a>,
}

impl Adopting<'_> {
    fn seal(&self, source: Source) -> Result<Source, Error> {
        let name = source.path().to_owned();
        let stored = source.length();
        let material = self.read(source)?;
        self.check_room(&material, stored)?;
        self.warn(material.notes.iter().cloned());
        let failed = |error| Error::io("making a file in", self.directory, error);
        let mut file = tempfile::tempfile_in(self.directory).map_err(failed)?;
        let sink = Sink::pipe(file.try_clone().map_err(failed)?.into());
        let writing = SealOptions {
            compression: COMPRESSION,
            threads: self.threads,
            stop: Stop(self.interrupted),
        };
        let sealed = foreign::seal(material, sink, writing, &Silent)?;
        let left = sealed.left.into_iter();
        self.warn(left.map(|Left { entry, why }| format!("{entry}: {why}")));
        file.rewind().map_err(failed)?;
        Ok(Source::new(file.into(), &name)?)
    }

    fn read(&self, source: Source) -> Result<Material, Error> {
        let free = self.free();
        let limits = Limits {
            content: free,
            ..Limits::default()
        };
        let reading = ReadOptions {
            spool: self.directory,
            threads: self.threads,
            limits,
            stop: Stop(self.interrupted),
        };
        Material::read(source, reading, self.events).map_err(|error| {
            if error.is_of_content_limit() && free < Limits::default().content {
                return self.no_room(free.saturating_add(1), free);
            }
            error.into()
        })
    }

    /// When the archive is read, there has to be room for the sealed one, and, once what it was made of is gone, for what an
    /// import takes out of it. Sealed it is hardly larger than the engine's was, if that was compressed.
    fn check_room(&self, material: &Material, stored: Option<u64>) -> Result<(), Error> {
        let content: u64 = material.items().iter().map(|item| item.size).sum();
        let Some(stored) = stored.filter(|stored| *stored < content) else {
            return Ok(());
        };
        let sealed = content.min(stored + stored / 4);
        let free = self.free();
        if free < sealed {
            return Err(self.no_room(sealed, free));
        }
        Ok(())
    }

    fn free(&self) -> u64 {
        crate::sys::space::free(self.directory).unwrap_or(u64::MAX)
    }

    fn no_room(&self, needed: u64, free: u64) -> Error {
        Error::NoRoom {
            directory: self.directory.to_owned(),
            needed,
            free,
        }
    }

    fn warn(&self, messages: impl Iterator<Item = String>) {
        messages.for_each(|message| self.events.emit(Event::Warning { message }));
    }
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
