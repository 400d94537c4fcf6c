//! The archive of an export while it is written: head, memory, other images, files, and the end, in this order.
//!
//! The files are taken by a thread of their own from the moment that the container is frozen, while memory streams in.

use std::path::{Path, PathBuf};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use super::Report;
use super::contents::{self, Contents};
use super::files::Files;
use super::images::{Images, Told};
use crate::archive::format::CHECKPOINT;
use crate::archive::{ArchivePath, Segment, Sink, Writer, WriterOptions};
use crate::criu::Hook;
use crate::criu::pages::Receiver;
use crate::error::Error;
use crate::event::{Event, Events, Phase};
use crate::request::ExportRequest;

/// What CRIU left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dumped<'a> {
    /// Its images.
    pub(super) images: &'a Path,
    /// Its log, where there is one.
    pub(super) log: Option<&'a Path>,
    /// How long the container has been frozen.
    pub(super) frozen: Duration,
    /// Statistics that CRIU wrote, of a dump that somebody else made.
    pub(super) stats: Option<&'a Path>,
}

/// See the module.
pub(super) struct Archiving<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    writer: Writer<Sink>,
    events: &'env dyn Events,
    /// See [`Contents::engine_log`].
    engine_log: Option<PathBuf>,
    /// CRIU leaves files in the container while it dumps, `link_remap.N`, to which its images refer: then all are taken when it
    /// has dumped everything.
    criu_adds_files: bool,
    /// Until the container is frozen.
    contents: Option<Contents>,
    /// From then on, until they are as CRIU leaves them.
    waiting: Option<Files>,
    /// From then on.
    files: Option<UnderWay<'scope>>,
}

/// The files on their way.
struct UnderWay<'scope> {
    segment: Segment,
    thread: ScopedJoinHandle<'scope, Result<(), Error>>,
}

impl<'scope, 'env> Archiving<'scope, 'env> {
    /// Prepares the archive; nothing is written yet.
    pub(super) fn new(
        scope: &'scope Scope<'scope, 'env>,
        request: &ExportRequest,
        contents: Contents,
        sink: Sink,
        events: &'env dyn Events,
    ) -> Result<Self, Error> {
        let options = WriterOptions {
            compression: request.compression,
            threads: request.threads,
            mtime: contents.timestamp(),
        };
        let file = sink.file()?;
        Ok(Self {
            scope,
            writer: Writer::with_file(sink, file, options)?,
            events,
            engine_log: contents.engine_log(),
            criu_adds_files: request.dump.link_remap,
            contents: Some(contents),
            waiting: None,
            files: None,
        })
    }

    /// The container is frozen: writes what comes before memory, and begins to take the files, if they are as they will be.
    fn frozen(&mut self, complete: bool) -> Result<(), Error> {
        if let Some(contents) = self.contents.take() {
            self.waiting = Some(contents.write_head(&mut self.writer)?);
        }
        if self.criu_adds_files && !complete {
            return Ok(());
        }
        let Some(files) = self.waiting.take() else {
            return Ok(());
        };
        let (making, segment) = self.writer.segment()?;
        let events = self.events;
        let thread = self.scope.spawn(move || files.take(making, events));
        self.files = Some(UnderWay { segment, thread });
        Ok(())
    }

    /// Takes the memory that CRIU sends.
    pub(super) fn memory(&mut self, mut receiver: Receiver<'_>) -> Result<(), Error> {
        let mut told = Told::new(self.events);
        while let Some(number) = receiver.next_image()? {
            self.frozen(false)?;
            let path = ArchivePath::try_from(format!("{CHECKPOINT}/pages-{number}.img").as_str())?;
            let mut entry = self.writer.entry_of_unknown_size(&path)?;
            entry.append_from(told.of(receiver.pages(), &|| false))?;
            entry.finish()?;
        }
        Ok(())
    }

    /// Takes the images that are in a directory, and the files. From here on nothing is needed of the container.
    pub(super) fn images_and_files(&mut self, images: &Images, interrupted: Hook<'_>) -> Result<(), Error> {
        self.frozen(true)?;
        self.events.emit(Event::Phase {
            phase: Phase::Memory,
            total: Some(images.size),
        });
        images.write(&mut self.writer, self.events, interrupted)?;
        self.events.emit(Event::Phase {
            phase: Phase::Files,
            total: None,
        });
        let Some(UnderWay { segment, thread }) = self.files.take() else {
            return Ok(());
        };
        self.writer.adopt(segment)?;
        match thread.join() {
            Ok(taken) => taken,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Writes the end, and puts the archive in place.
    pub(super) fn finish(mut self, container: &str, images: &Images, dumped: &Dumped<'_>) -> Result<Report, Error> {
        contents::add(&mut self.writer, "stats-dump", &images.stats(dumped)?)?;
        if let Some(log) = dumped.log {
            contents::add(&mut self.writer, "dump.log", &contents::log_text(log)?)?;
        }
        if let Some(log) = &self.engine_log {
            contents::add(&mut self.writer, "ctr.log", &contents::log_text(log)?)?;
        }
        let (sink, summary) = self.writer.finish()?;
        self.events.emit(Event::Phase {
            phase: Phase::Commit,
            total: None,
        });
        let durable = sink.commit(&summary)?;
        Ok(Report {
            container: container.to_owned(),
            archive: durable.path().map(Path::to_owned),
            identity: summary.identity,
            content_bytes: summary.content_bytes,
            archive_bytes: summary.stored_bytes,
            frozen: None,
            running: true,
        })
    }
}
