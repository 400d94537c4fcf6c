//! Progress of an export or an import on standard error.
//!
//! Events arrive on the threads that do the work, at times while the container is frozen. So they are only noted
//! there; a thread of its own draws them, and a standard error that nobody reads (a full pipe, a terminal stopped with
//! Ctrl-S) never holds up the work.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::event::{Event, Events, Phase};

/// How often progress is drawn: ten times a second is as often as anybody can read.
const TICK: Duration = Duration::from_millis(100);

/// Draws events. Called from one thread, in the order of the events.
pub trait Draw: Send {
    /// A phase begins.
    fn phase(&mut self, phase: Phase, total: Option<u64>);
    /// Bytes handled so far in the present phase.
    fn bytes(&mut self, bytes: u64);
    /// Something to know.
    fn warning(&mut self, message: &str);
    /// The container is no longer frozen.
    fn frozen(&mut self, duration: Duration);
    /// Nothing more comes.
    fn finish(&mut self) {}
}

/// Bytes of the present phase; `serial` tells a phase from the one before while its beginning is still on its way.
#[derive(Debug, Default, Clone, Copy)]
struct Counter {
    serial: u64,
    bytes: u64,
}

#[derive(Debug)]
enum Note {
    Phase(u64, Phase, Option<u64>),
    Warning(String),
    Frozen(Duration),
}

/// Takes the events of one command and has them drawn until it is dropped.
#[derive(Debug)]
pub struct Progress {
    counter: Arc<Mutex<Counter>>,
    notes: Option<Sender<Note>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts drawing with `draw`.
    pub fn start(draw: Box<dyn Draw>) -> Self {
        let counter = Arc::new(Mutex::new(Counter::default()));
        let (notes, receiver) = mpsc::channel();
        let shared = Arc::clone(&counter);
        let builder = thread::Builder::new().name("progress".to_owned());
        // Without the thread there is no progress, which is no reason not to do the work.
        let thread = builder.spawn(move || run(draw, &receiver, &shared)).ok();
        Self {
            counter,
            notes: Some(notes),
            thread,
        }
    }

    fn note(&self, note: Note) {
        if let Some(notes) = &self.notes {
            let _ = notes.send(note);
        }
    }

    fn with_counter<T>(&self, change: impl FnOnce(&mut Counter) -> T) -> T {
        change(&mut self.counter.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Events for Progress {
    fn emit(&self, event: Event) {
        match event {
            Event::Progress { bytes } => self.with_counter(|counter| counter.bytes = bytes),
            Event::Phase { phase, total } => {
                let serial = self.with_counter(|counter| {
                    *counter = Counter {
                        serial: counter.serial + 1,
                        bytes: 0,
                    };
                    counter.serial
                });
                self.note(Note::Phase(serial, phase, total));
            }
            Event::Warning { message } => self.note(Note::Warning(message)),
            Event::Frozen { duration } => self.note(Note::Frozen(duration)),
            // The phase that begins then says it.
            Event::Running { .. } => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.notes.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(mut draw: Box<dyn Draw>, notes: &Receiver<Note>, counter: &Mutex<Counter>) {
    let mut drawn = Counter::default();
    loop {
        match notes.recv_timeout(TICK) {
            Ok(Note::Phase(serial, phase, total)) => {
                drawn = Counter { serial, bytes: 0 };
                draw.phase(phase, total);
            }
            Ok(Note::Warning(message)) => draw.warning(&message),
            Ok(Note::Frozen(duration)) => draw.frozen(duration),
            Err(RecvTimeoutError::Timeout) => {
                let now = *counter.lock().unwrap_or_else(PoisonError::into_inner);
                if now.serial == drawn.serial && now.bytes != drawn.bytes {
                    drawn = now;
                    draw.bytes(now.bytes);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return draw.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Record(Arc<Mutex<Vec<String>>>);

    impl Record {
        fn push(&self, line: String) {
            self.0.lock().unwrap().push(line);
        }
    }

    impl Draw for Record {
        fn phase(&mut self, phase: Phase, total: Option<u64>) {
            self.push(format!("{phase:?} {total:?}"));
        }
        fn bytes(&mut self, bytes: u64) {
            self.push(format!("{bytes}"));
        }
        fn warning(&mut self, message: &str) {
            self.push(message.to_owned());
        }
        fn frozen(&mut self, duration: Duration) {
            self.push(format!("{duration:?}"));
        }
        fn finish(&mut self) {
            self.push("end".to_owned());
        }
    }

    #[test]
    fn events_are_drawn_in_order_and_bytes_once() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let progress = Progress::start(Box::new(Record(Arc::clone(&lines))));
        progress.emit(Event::Phase {
            phase: Phase::Memory,
            total: Some(9),
        });
        progress.emit(Event::Progress { bytes: 1 });
        progress.emit(Event::Progress { bytes: 7 });
        thread::sleep(TICK * 4);
        progress.emit(Event::Phase {
            phase: Phase::Commit,
            total: None,
        });
        progress.emit(Event::Warning { message: "w".into() });
        progress.emit(Event::Frozen {
            duration: Duration::from_secs(1),
        });
        drop(progress);
        assert_eq!(
            *lines.lock().unwrap(),
            ["Memory Some(9)", "7", "Commit None", "w", "1s", "end"]
        );
    }

    /// A drawer that is stuck, as one is that writes into a full pipe.
    struct Stuck(Receiver<()>);

    impl Draw for Stuck {
        fn phase(&mut self, _: Phase, _: Option<u64>) {
            let _ = self.0.recv();
        }
        fn bytes(&mut self, _: u64) {}
        fn warning(&mut self, _: &str) {}
        fn frozen(&mut self, _: Duration) {}
    }

    #[test]
    fn work_goes_on_while_drawing_is_stuck() {
        let (release, gate) = mpsc::channel();
        let progress = Progress::start(Box::new(Stuck(gate)));
        for bytes in 0..10_000 {
            progress.emit(Event::Phase {
                phase: Phase::Memory,
                total: None,
            });
            progress.emit(Event::Progress { bytes });
        }
        drop(release);
    }
}
