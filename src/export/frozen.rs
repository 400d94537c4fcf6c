//! The dump itself: from the runtime's checkpoint command to the commit point, the archive, and the acknowledgement.
//!
//! CRIU's memory streams into the archive while it dumps; what else it makes, and the end of the archive, follow at the commit
//! point. A container that is to run on anyway is let go as soon as nothing more is needed of it.

use std::path::Path;
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use super::Report;
use super::archiving::{Archiving, Dumped};
use super::contents::Contents;
use super::failure::DUMP_LOG;
use super::images::Images;
use super::place::Place;
use crate::archive::Sink;
use crate::criu::pages::{Link, PageServer};
use crate::criu::{self, Commit, Hook, Running, frozen_for};
use crate::error::Error;
use crate::event::{Event, Events, Phase};
use crate::links::{self, Cut};
use crate::request::ExportRequest;
use crate::runtime::{Checkpoint, PagesTo, Runtime, Target};

/// A dump that is about to be taken.
pub(super) struct Dump<'a> {
    pub(super) request: &'a ExportRequest,
    pub(super) runtime: &'a dyn Runtime,
    pub(super) target: &'a Target,
    pub(super) place: &'a Place,
    pub(super) events: &'a dyn Events,
    pub(super) interrupted: Hook<'a>,
}

/// What was taken.
pub(super) struct Taken {
    pub(super) report: Report,
    pub(super) frozen: Duration,
}

/// A dump under way.
struct UnderWay<'a> {
    images: &'a Path,
    log: &'a Path,
    link: &'a Link,
    server: Option<PageServer>,
}

impl Dump<'_> {
    /// Dumps, writes the archive, puts it in place, and lets the container go, in this order.
    pub(super) fn take(&self, contents: Contents, sink: Sink) -> Result<Taken, Error> {
        let (images, work) = (self.place.images()?, self.place.work().path());
        let parent = contents.place_parent(self.place.private())?;
        let elsewhere = self.request.page_server.as_deref();
        let server = elsewhere.is_none().then(PageServer::new).transpose()?;
        let invocation = self.runtime.checkpoint(&Checkpoint {
            id: &self.target.id,
            images: &images,
            work,
            parent: parent.as_deref(),
            page_server: elsewhere
                .map(PagesTo::Address)
                .or(server.as_ref().map(|server| PagesTo::Socket(server.inherited()))),
            spec: &self.target.spec,
            options: &self.request.dump,
        })?;
        let (session, command) = invocation.prepare()?;
        let under_way = UnderWay {
            images: &images,
            log: &work.join(DUMP_LOG),
            link: &Link::default(),
            server,
        };
        self.events.emit(Event::Phase {
            phase: Phase::Dump,
            total: None,
        });
        let taken = thread::scope(|scope| {
            let archiving = Archiving::new(scope, self.request, contents, sink, self.events)?;
            self.dump(scope, session.start(command)?, under_way, archiving)
        });
        if taken.is_err() {
            session.settle();
        }
        taken
    }

    /// The runtime dumps on one side, memory is taken on the other. Of two failures the one that caused the other is told.
    fn dump<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        running: Running<'_>,
        under_way: UnderWay<'env>,
        archiving: Archiving<'scope, 'env>,
    ) -> Result<Taken, Error> {
        let UnderWay {
            images,
            log,
            link,
            server,
        } = under_way;
        // No other dump may refer to what this one leaves out.
        let alone = !self.request.dump.pre_dump && self.request.parent.is_none();
        let memory = scope.spawn(move || receive(server, alone, images, link, archiving));
        let interrupted = || {
            let stop = (self.interrupted)();
            if stop {
                link.stop();
            }
            stop
        };
        let dumped = if self.request.dump.pre_dump {
            running.finish().map(|()| None)
        } else {
            running.wait_for_commit(&interrupted).map(Some)
        };
        if dumped.is_err() {
            link.stop();
        }
        let received = memory.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (dumped, received) {
            (Ok(commit), Ok(archiving)) => self.conclude(commit, archiving, images, log),
            (Ok(commit), Err(error)) => {
                commit.into_iter().for_each(Commit::refuse);
                Err(error)
            }
            (Err(_), Err(error)) if !link.was_cut() => Err(error),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Everything between the last page and the acknowledgement. A failure refuses the dump, unless the container was to run
    /// on and does already. A pre-dump has no commit: the container has been running since its memory was collected.
    fn conclude(
        &self,
        commit: Option<Commit<'_>>,
        archiving: Archiving<'_, '_>,
        images: &Path,
        log: &Path,
    ) -> Result<Taken, Error> {
        let asked = Instant::now();
        let mut dumped = Dumped {
            images,
            log: Some(log),
            frozen: frozen_for(log).unwrap_or_default(),
            stats: None,
        };
        if commit.is_some() {
            self.signal_ready();
        }
        let before = dumped.frozen;
        let mut commit = Waiting { commit, cut: None };
        self.cut_off(&mut commit)?;
        let images = Images::list(images)?;
        let mut archiving = archiving;
        archiving.images_and_files(&images, self.interrupted)?;
        // The files may have taken long. From here on there is no stopping.
        if (self.interrupted)() {
            return Err(criu::Error::Interrupted.into());
        }
        if self.request.dump.leave_running {
            dumped.frozen = commit.thaw(before, asked)?;
        }
        let report = archiving.finish(&self.target.id, &images, &dumped)?;
        let frozen = match commit.commit {
            Some(_) => {
                self.tell_of_the_end();
                let ended = commit.thaw(before, asked);
                ended.map_err(|error| Error::Ending(error.into()))?
            }
            None => dumped.frozen,
        };
        self.events.emit(Event::Frozen { duration: frozen });
        Ok(Taken { report, frozen })
    }

    /// Takes the host's ends of an LXC container's links down, so that nothing of this host answers for it any more. A
    /// container that runs on keeps them.
    fn cut_off(&self, waiting: &mut Waiting<'_>) -> Result<(), Error> {
        let Some(commit) = waiting.commit.as_ref().filter(|_| !self.request.dump.leave_running) else {
            return Ok(());
        };
        if self.target.lxc.is_some() {
            let ends = links::of_container(self.target.pid)?;
            waiting.cut = Some(Cut::make(&ends, &commit.links_record())?);
        }
        Ok(())
    }

    /// The archive is in place, and nothing but the kill is left.
    fn tell_of_the_end(&self) {
        if let Err(error) = self.runtime.about_to_end() {
            let message = error.to_string();
            self.events.emit(Event::Warning { message });
        }
    }

    /// `--status-fd`: one byte when everything is dumped and the container waits for its archive.
    fn signal_ready(&self) {
        if let Some(fd) = self.request.status_fd {
            crate::sys::status::signal(fd);
        }
    }
}

/// A commit that is refused, and the refusal waited for, unless it is acknowledged. The container has its links back before
/// it runs on.
struct Waiting<'session> {
    commit: Option<Commit<'session>>,
    cut: Option<Cut>,
}

impl Waiting<'_> {
    /// Lets CRIU go on; returns how long the container has been frozen, `before` when CRIU asked.
    fn thaw(&mut self, before: Duration, asked: Instant) -> Result<Duration, Error> {
        let frozen = before + asked.elapsed();
        if let Some(commit) = self.commit.take() {
            commit.acknowledge()?;
            self.cut.take().into_iter().for_each(Cut::keep);
        }
        Ok(frozen)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        drop(self.cut.take());
        self.commit.take().into_iter().for_each(Commit::refuse);
    }
}

/// Takes the memory that CRIU sends to the server, if it is ours.
fn receive<'scope, 'env>(
    server: Option<PageServer>,
    alone: bool,
    images: &Path,
    link: &Link,
    mut archiving: Archiving<'scope, 'env>,
) -> Result<Archiving<'scope, 'env>, Error> {
    if let Some(server) = server {
        archiving.memory(server.receive(images, link)?.leave_out_zeros(alone))?;
    }
    Ok(archiving)
}
