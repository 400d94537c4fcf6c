//! CRIU's images on their way into the archive.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::archiving::Dumped;
use crate::archive::format::{CHECKPOINT, pages_number};
use crate::archive::{ArchivePath, Sink, Writer};
use crate::criu::Hook;
use crate::criu::images::{PE_LAZY, PE_PARENT, PE_PRESENT, Pagemap};
use crate::criu::stats::DumpStats;
use crate::error::Error;
use crate::event::{Event, Events};

/// Largest pagemap that is read for its counts, bytes: some fifteen million ranges.
const PAGEMAP_LIMIT: u64 = 256 * 1024 * 1024;
/// Bytes after which progress is told, and the caller asked whether to go on.
const STRIDE: u64 = 8 * 1024 * 1024;

/// What a dump that somebody else made may have among its images and is none: CRIU's statistics, and what p.haul keeps there of a
/// container of LXC.
const BESIDE: [&str; 3] = ["stats-dump", "lxccg.img", "config"];

/// One image.
#[derive(Debug)]
struct Image {
    name: String,
    entry: ArchivePath,
    path: PathBuf,
    size: u64,
}

/// The images of a dump, in the archive's order: memory first.
#[derive(Debug)]
pub(super) struct Images {
    files: Vec<Image>,
    pub(super) size: u64,
}

impl Images {
    /// Lists the regular files of CRIU's directory. A link to the parent's images is no part of an archive.
    pub(super) fn list(directory: &Path) -> Result<Self, Error> {
        let fault = |error| Error::io("listing", directory, error);
        let mut files = Vec::new();
        for entry in fs::read_dir(directory).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let metadata = entry.metadata().map_err(fault)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // A dump that somebody else made may have CRIU's log and statistics among its images.
            if metadata.is_file() && !BESIDE.contains(&name.as_str()) && !name.ends_with(".log") {
                files.push(Image {
                    entry: ArchivePath::try_from(format!("{CHECKPOINT}/{name}").as_str())?,
                    path: entry.path(),
                    size: metadata.len(),
                    name,
                });
            }
        }
        files.sort_by_key(|image| (pages_number(&image.entry).unwrap_or(u32::MAX), image.name.clone()));
        let size = files.iter().map(|image| image.size).sum();
        Ok(Self { files, size })
    }

    /// Writes them all.
    pub(super) fn write(
        &self,
        writer: &mut Writer<Sink>,
        events: &dyn Events,
        interrupted: Hook<'_>,
    ) -> Result<(), Error> {
        let mut told = Told::new(events);
        for image in &self.files {
            let file = File::open(&image.path).map_err(|error| Error::io("opening", &image.path, error))?;
            writer.add(&image.entry, image.size, told.of(file, interrupted))?;
        }
        Ok(())
    }

    /// The content of `stats-dump`.
    pub(super) fn stats(&self, dumped: &Dumped<'_>) -> Result<Vec<u8>, Error> {
        if let Some(path) = dumped.stats {
            return fs::read(path).map_err(|error| Error::io("reading", path, error));
        }
        let frozen = u32::try_from(dumped.frozen.as_micros()).unwrap_or(u32::MAX);
        let mut stats = DumpStats {
            frozen_time: frozen,
            ..DumpStats::default()
        };
        for Image { name, path, size, .. } in &self.files {
            if is_pagemap(name) && *size <= PAGEMAP_LIMIT {
                let image = fs::read(path).map_err(|error| Error::io("reading", path, error))?;
                count(&mut stats, name, &Pagemap::parse(name, &image)?);
            }
        }
        Ok(stats.to_file())
    }
}

fn is_pagemap(name: &str) -> bool {
    name.starts_with("pagemap-") && name.ends_with(".img")
}

fn count(stats: &mut DumpStats, name: &str, map: &Pagemap) {
    let (written, skipped) = (map.count(PE_PRESENT), map.count(PE_PARENT));
    if name.starts_with("pagemap-shmem-") {
        *stats.shpages_written.get_or_insert(0) += written;
        *stats.shpages_skipped_parent.get_or_insert(0) += skipped;
        *stats.shpages_scanned.get_or_insert(0) += written + skipped;
    } else {
        stats.pages_written += written;
        stats.pages_skipped_parent += skipped;
        stats.pages_scanned += written + skipped;
        stats.pages_lazy += map.count(PE_LAZY);
    }
}

/// Tells how much memory has been taken.
pub(super) struct Told<'a> {
    events: &'a dyn Events,
    done: u64,
    told: u64,
}

impl<'a> Told<'a> {
    pub(super) fn new(events: &'a dyn Events) -> Self {
        Self {
            events,
            done: 0,
            told: 0,
        }
    }

    /// Counts what is read of `content`, which ends in an error when the caller wants to stop.
    pub(super) fn of<'t, R: Read>(&'t mut self, content: R, interrupted: Hook<'t>) -> Counted<'t, 'a, R> {
        Counted {
            content,
            told: self,
            interrupted,
        }
    }

    fn count(&mut self, bytes: usize) -> bool {
        self.done += bytes as u64;
        let due = self.done - self.told >= STRIDE;
        if due {
            self.told = self.done;
            self.events.emit(Event::Progress { bytes: self.done });
        }
        due
    }
}

/// See [`Told::of`].
pub(super) struct Counted<'t, 'a, R> {
    content: R,
    told: &'t mut Told<'a>,
    interrupted: Hook<'t>,
}

impl<R: Read> Read for Counted<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        if self.told.count(count) && (self.interrupted)() {
            return Err(io::Error::other("stopped by a signal"));
        }
        Ok(count)
    }
}
