//! The restore of a lazy import, with what answers CRIU's daemon beside it, and what comes after it: the rest of the memory.

use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

use super::Memory;
use super::contents::ArchivePages;
use super::guard::{Guard, GuardOrder};
use super::status::{LazyState, Record};
use super::stop::{FirstProcess, Restoring, stop};
use crate::criu::lazy::{LazyDaemon, PageServer, Turn};
use crate::criu::wire::{HeaderForm, PAGE_SIZE};
use crate::criu::{self, Hook};
use crate::error::Error;
use crate::event::{Event, Events, Phase};
use crate::host::{self, Version};
use crate::import::Restored;
use crate::runtime::Runtime;

/// How often a waiting server looks whether it is to stop.
const LOOK_UP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// How long after its connection the daemon itself may take to end.
const AFTERMATH: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How often progress is told.
const TELL: Duration = Duration::from_millis(100);
/// First CRIU with the wide headers.
const WIDE_FROM: Version = Version::new(4, 2, 0);

/// The container and where its parts are.
pub(in crate::import) struct Place<'a> {
    /// Its runtime.
    pub(in crate::import) runtime: &'a dyn Runtime,
    /// What is guarded.
    pub(in crate::import) order: GuardOrder,
}

/// How far a lazy restore is.
enum Stage {
    /// No task runs: an end of the daemon makes the restore fail, and nothing else.
    Restoring,
    /// Tasks run, or may any moment.
    Running(FirstProcess),
    /// It has failed before any task ran.
    Failed,
}

/// What the restore and the server share.
pub(in crate::import) struct Service<'a> {
    guard: &'a Guard,
    restoring: OnceLock<Restoring>,
    stage: Mutex<Stage>,
    stop: AtomicBool,
    failed: AtomicBool,
    pages: AtomicU64,
    total: u64,
}

impl Service<'_> {
    /// Whether there is no more sense in going on with the restore.
    pub(in crate::import) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// The restore has begun, by this process of the runtime.
    pub(in crate::import) fn begun(&self, runtime: Pid) -> Result<(), Error> {
        let runtime = runtime.as_raw_nonzero().get();
        let fault = |error| Error::io("finding", format!("process {runtime}"), error);
        let _ = self.restoring.set(Restoring::of(runtime).map_err(fault)?);
        self.guard.watch_restore(runtime)
    }

    /// Every task is restored, and the first process is this one: the container may run from here on.
    pub(in crate::import) fn restored(&self, pid: i32) -> Result<(), Error> {
        self.guard.watch(pid)?;
        let first = FirstProcess::of(pid).map_err(|error| Error::io("finding", format!("process {pid}"), error))?;
        let mut stage = self.stage();
        if matches!(*stage, Stage::Failed) {
            return Err(criu::Error::Interrupted.into());
        }
        *stage = Stage::Running(first);
        Ok(())
    }

    /// Pages that were fetched. A task that forks has its missing pages fetched for either.
    fn fetched(&self) -> u64 {
        self.pages.load(Ordering::Relaxed).min(self.total)
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server has failed. Where no task runs yet the daemon goes at once, so that a restore that waits for a page ends;
    /// otherwise the container does.
    fn fail(&self, daemon: &LazyDaemon) {
        let mut stage = self.stage();
        if let Stage::Running(first) = &*stage {
            first.kill();
        } else {
            *stage = Stage::Failed;
            daemon.kill();
        }
        drop(stage);
        self.failed.store(true, Ordering::Release);
        if let Some(restoring) = self.restoring.get() {
            restoring.end();
        }
    }
}

/// Restores with `restore` while memory is served, then serves until all of it is there.
pub(in crate::import) fn follow(
    memory: Memory,
    place: &Place<'_>,
    events: &dyn Events,
    interrupted: Hook<'_>,
    restore: impl FnOnce(&Service<'_>) -> Result<Restored, Error>,
) -> Result<Restored, Error> {
    let total = memory.map.pages();
    let mut record = Record::begin(&place.order, &memory.archive, total);
    let form = header_form()?;
    // By the time these are dropped the container is gone, or its memory is complete.
    let (guard, daemon, connection) = Guard::start(&place.order)?;
    let mut server = PageServer::new(connection, form, memory.map, memory.source)?;
    let service = Service {
        guard: &guard,
        restoring: OnceLock::new(),
        stage: Mutex::new(Stage::Restoring),
        stop: AtomicBool::new(false),
        failed: AtomicBool::new(false),
        pages: AtomicU64::new(0),
        total,
    };
    let (restored, served, failed_first) = thread::scope(|scope| {
        let serving = scope.spawn(|| serve(&mut server, &daemon, &service));
        let restored = restore(&service);
        let failed_first = service.has_failed();
        if let Ok(restored) = &restored {
            // Whoever hears that it runs may ask for the record.
            record.note(LazyState::Following, service.fetched(), None);
            events.emit(Event::from(restored));
            tell_progress(&service, &mut record, events, interrupted, &|| serving.is_finished());
        } else {
            service.stop.store(true, Ordering::Relaxed);
        }
        let served = serving
            .join()
            .unwrap_or(Err(Error::Archive(crate::archive::Error::Poisoned)));
        (restored, served, failed_first)
    });
    let concluded = conclude(&service, place, restored, served, failed_first);
    let state = if concluded.is_ok() {
        LazyState::Complete
    } else {
        LazyState::Failed
    };
    record.note(state, service.fetched(), concluded.as_ref().err());
    concluded
}

/// Ends the container unless everything went well, before the daemon and the guard let go.
fn conclude(
    service: &Service<'_>,
    place: &Place<'_>,
    restored: Result<Restored, Error>,
    served: Result<(), Error>,
    failed_first: bool,
) -> Result<Restored, Error> {
    let pages = service.fetched();
    let why = match (restored, served) {
        (Ok(restored), Ok(())) => {
            let followed = Some(pages);
            return Ok(Restored { followed, ..restored });
        }
        // A restore fails for want of the server, or the server ends for want of the restore.
        (_, Err(error)) if failed_first => error,
        (Err(error), _) | (Ok(_), Err(error)) => error,
    };
    let Stage::Running(first) = &*service.stage() else {
        return Err(why);
    };
    if let Err(error) = stop(place.runtime, &place.order.container, Some(first)) {
        tracing::warn!(%error, "the container could not be deleted");
    }
    Err(Error::Incomplete {
        pages,
        total: service.total,
        source: Box::new(why),
    })
}

fn header_form() -> Result<HeaderForm, Error> {
    let missing = || Error::NotLazy {
        why: "criu is not installed",
    };
    let criu = host::program::criu()
        .map_err(|source| host::Error::Program { source })?
        .ok_or_else(missing)?;
    let wide = criu.version.version >= WIDE_FROM;
    Ok(if wide { HeaderForm::Wide } else { HeaderForm::Narrow })
}

fn tell_progress(
    service: &Service<'_>,
    record: &mut Record,
    events: &dyn Events,
    interrupted: Hook<'_>,
    ended: &dyn Fn() -> bool,
) {
    events.emit(Event::Phase {
        phase: Phase::Follow,
        total: Some(service.total * PAGE_SIZE),
    });
    while !ended() {
        thread::sleep(TELL);
        if interrupted() {
            service.stop.store(true, Ordering::Relaxed);
        }
        record.note(LazyState::Following, service.fetched(), None);
        events.emit(Event::Progress {
            bytes: service.fetched() * PAGE_SIZE,
        });
    }
}

fn serve(server: &mut PageServer<ArchivePages>, daemon: &LazyDaemon, service: &Service<'_>) -> Result<(), Error> {
    let served = serve_all(server, daemon, service);
    if served.is_err() {
        service.fail(daemon);
    }
    served
}

fn serve_all(server: &mut PageServer<ArchivePages>, daemon: &LazyDaemon, service: &Service<'_>) -> Result<(), Error> {
    let stop = || service.stop.load(Ordering::Relaxed);
    loop {
        match wait(server, daemon, service.guard)? {
            _ if stop() => return Err(criu::Error::Interrupted.into()),
            Woken::Asked => match turn(server, daemon, service)? {
                Turn::Pages(count) => _ = service.pages.fetch_add(count, Ordering::Relaxed),
                Turn::End => return end(server, daemon, service.guard),
                Turn::Stopped => {}
            },
            Woken::DaemonEnded => return Err(daemon.ended().into()),
            Woken::GuardEnded => return Err(Error::NoGuard),
            Woken::Nothing => {}
        }
    }
}

/// Answers one request, unless the daemon or the guard ends meanwhile, or it is asked to stop.
fn turn(server: &mut PageServer<ArchivePages>, daemon: &LazyDaemon, service: &Service<'_>) -> Result<Turn, Error> {
    let ended = |wait: &Timespec| {
        let mut watched = [
            PollFd::from_borrowed_fd(daemon.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(service.guard.as_fd(), PollFlags::RDHUP),
        ];
        poll(&mut watched, Some(wait)).is_ok_and(|ready| ready > 0)
    };
    match server.turn(&|| service.stop.load(Ordering::Relaxed) || ended(&Timespec::default())) {
        // A connection breaks when the daemon dies, which is the better thing to say.
        Err(criu::Error::Lazy { .. }) if ended(&AFTERMATH) => Ok(Turn::Stopped),
        turn => Ok(turn?),
    }
}

/// The daemon wants to end. Whether it may is seen from the tasks that still depend on it.
fn end(server: &mut PageServer<ArchivePages>, daemon: &LazyDaemon, guard: &Guard) -> Result<(), Error> {
    if daemon.has_tasks()? {
        return Err(criu::Error::LazyEnded {
            lines: daemon.complaints(),
        }
        .into());
    }
    // In this order: an end of the daemon that the guard does not expect ends the container.
    guard.release()?;
    // The guard may have ended the daemon already, which nobody needs any more.
    let _ = server.confirm_end();
    Ok(())
}

enum Woken {
    Asked,
    DaemonEnded,
    GuardEnded,
    Nothing,
}

fn wait(server: &PageServer<ArchivePages>, daemon: &LazyDaemon, guard: &Guard) -> Result<Woken, Error> {
    let mut watched = [
        PollFd::from_borrowed_fd(server.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(daemon.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(guard.as_fd(), PollFlags::RDHUP),
    ];
    match poll(&mut watched, Some(&LOOK_UP)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Woken::Nothing),
        Ok(_) => {}
        Err(error) => {
            let (operation, source) = ("waiting for", error.into());
            return Err(criu::Error::Lazy { operation, source }.into());
        }
    }
    let is_set = |index: usize| !watched[index].revents().is_empty();
    Ok(match (is_set(1), is_set(0), is_set(2)) {
        (true, ..) => Woken::DaemonEnded,
        (_, true, _) => Woken::Asked,
        (.., true) => Woken::GuardEnded,
        _ => Woken::Nothing,
    })
}
