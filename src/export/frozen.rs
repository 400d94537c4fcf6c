//! The dump itself: from the runtime's checkpoint command to the commit point, the archive, and the acknowledgement.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Report;
use super::contents::{Contents, Dumped};
use super::failure::DUMP_LOG;
use crate::archive::{Sink, Writer, WriterOptions};
use crate::criu::{Commit, Hook, Running, WorkDir, frozen_for};
use crate::error::Error;
use crate::event::{Event, Events, Phase};
use crate::request::ExportRequest;
use crate::runtime::{Checkpoint, Runtime, Target};

/// A dump that is about to be taken.
pub(super) struct Dump<'a> {
    pub(super) request: &'a ExportRequest,
    pub(super) runtime: &'a dyn Runtime,
    pub(super) target: &'a Target,
    pub(super) work: &'a WorkDir,
    pub(super) events: &'a dyn Events,
    pub(super) interrupted: Hook<'a>,
}

/// What was taken.
pub(super) struct Taken {
    pub(super) report: Report,
    pub(super) frozen: Duration,
}

impl Dump<'_> {
    /// Dumps, writes the archive, puts it in place, and lets the container go, in this order.
    pub(super) fn take(&self, contents: Contents, sink: Sink) -> Result<Taken, Error> {
        let images = self.work.images()?;
        let parent = contents.place_parent(self.work.path())?;
        let invocation = self.runtime.checkpoint(&Checkpoint {
            id: &self.target.id,
            images: &images,
            work: self.work.path(),
            parent: parent.as_deref(),
            page_server: self.request.page_server.as_deref(),
            spec: &self.target.spec,
            options: &self.request.dump,
        })?;
        let log = self.work.path().join(DUMP_LOG);
        let (session, command) = invocation.prepare()?;
        self.events.emit(Event::Phase {
            phase: Phase::Dump,
            total: None,
        });
        let running = session.start(command)?;
        if self.request.dump.pre_dump {
            return self.pre_dumped(running, contents, sink, &images, &log);
        }
        let commit = running.wait_for_commit(self.interrupted)?;
        self.commit(commit, contents, sink, &images, &log)
    }

    /// Everything between the last task stopped and the acknowledgement. A return before the end drops the commit, which
    /// refuses the dump.
    fn commit(
        &self,
        commit: Commit<'_>,
        contents: Contents,
        sink: Sink,
        images: &Path,
        log: &Path,
    ) -> Result<Taken, Error> {
        let asked = Instant::now();
        let before = frozen_for(log).unwrap_or_default();
        self.signal_ready();
        let report = match self.archive(
            contents,
            sink,
            &Dumped {
                images,
                log: Some(log),
                frozen: before,
                stats: None,
            },
        ) {
            Ok(report) => report,
            Err(error) => {
                commit.refuse();
                return Err(error);
            }
        };
        let frozen = before + asked.elapsed();
        commit.acknowledge()?;
        self.events.emit(Event::Frozen { duration: frozen });
        Ok(Taken { report, frozen })
    }

    /// A pre-dump freezes only while memory is collected; the container runs again when the runtime's command ends.
    fn pre_dumped(
        &self,
        running: Running<'_>,
        contents: Contents,
        sink: Sink,
        images: &Path,
        log: &Path,
    ) -> Result<Taken, Error> {
        running.finish()?;
        let frozen = frozen_for(log).unwrap_or_default();
        let report = self.archive(
            contents,
            sink,
            &Dumped {
                images,
                log: Some(log),
                frozen,
                stats: None,
            },
        )?;
        Ok(Taken { report, frozen })
    }

    fn archive(&self, contents: Contents, sink: Sink, dumped: &Dumped<'_>) -> Result<Report, Error> {
        write_archive(
            self.request,
            &self.target.id,
            contents,
            sink,
            dumped,
            self.events,
            self.interrupted,
        )
    }

    /// `--status-fd`: one byte when everything is dumped and the container waits for its archive.
    fn signal_ready(&self) {
        if let Some(fd) = self.request.status_fd {
            crate::sys::status::signal(fd);
        }
    }
}

/// Writes the archive and puts it in place.
pub(super) fn write_archive(
    request: &ExportRequest,
    container: &str,
    contents: Contents,
    sink: Sink,
    dumped: &Dumped<'_>,
    events: &dyn Events,
    interrupted: Hook<'_>,
) -> Result<Report, Error> {
    let options = WriterOptions {
        compression: request.compression,
        threads: request.threads,
        mtime: contents.timestamp(),
    };
    let mut writer = Writer::new(sink, options)?;
    contents.write(&mut writer, dumped, events, interrupted)?;
    let (sink, summary) = writer.finish()?;
    events.emit(Event::Phase {
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
