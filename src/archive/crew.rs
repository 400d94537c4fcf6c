//! Numbered jobs done by several threads.
//!
//! Invariants: jobs are begun in the order of their numbers, and after one has failed none is begun; so the error that is
//! returned, that of the lowest number, is the same however many threads there are.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};

use super::error::Error;

/// Does the jobs from 0 to `count`, with so many threads, each of which makes a worker for itself.
pub(super) fn each<W>(
    threads: NonZeroUsize,
    count: usize,
    worker: impl Fn() -> Result<W, Error> + Sync,
) -> Result<(), Error>
where
    W: FnMut(usize) -> Result<(), Error>,
{
    let jobs = Jobs {
        next: AtomicUsize::new(0),
        count,
        failed: AtomicBool::new(false),
    };
    let threads = threads.get().min(count);
    let first = thread::scope(|scope| {
        let start = |_| {
            thread::Builder::new()
                .name("ckpt-extract".to_owned())
                .spawn_scoped(scope, || jobs.work(&worker))
        };
        let started: Vec<_> = (0..threads).map(start).collect();
        let ended = started.into_iter().map(|thread| match thread {
            Ok(thread) => join(thread),
            Err(source) => Some((0, Error::Thread { source })),
        });
        // All of them have to be joined.
        let failures: Vec<_> = ended.flatten().collect();
        failures.into_iter().min_by_key(|(number, _)| *number)
    });
    first.map_or(Ok(()), |(_, error)| Err(error))
}

/// What a thread failed with, and at which job.
type Failure = (usize, Error);

struct Jobs {
    next: AtomicUsize,
    count: usize,
    failed: AtomicBool,
}

impl Jobs {
    fn work<W>(&self, worker: &impl Fn() -> Result<W, Error>) -> Option<Failure>
    where
        W: FnMut(usize) -> Result<(), Error>,
    {
        let mut number = 0;
        let mut all = || {
            let mut work = worker()?;
            while !self.failed.load(Ordering::Relaxed) {
                number = self.next.fetch_add(1, Ordering::Relaxed);
                if number >= self.count {
                    break;
                }
                work(number)?;
            }
            Ok(())
        };
        let ended = all();
        let error = ended.err()?;
        self.failed.store(true, Ordering::Relaxed);
        Some((number, error))
    }
}

fn join(thread: ScopedJoinHandle<'_, Option<Failure>>) -> Option<Failure> {
    thread.join().unwrap_or_else(|_| {
        let source = std::io::Error::other("it panicked");
        Some((0, Error::Thread { source }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::Duration;

    fn threads(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).expect("not zero")
    }

    fn fails(entry: usize) -> Error {
        Error::Missing {
            entry: entry.to_string(),
        }
    }

    #[test]
    fn every_job_is_done_once() {
        for count in [0, 1, 5, 1000] {
            let done = Mutex::new(Vec::new());
            each(threads(4), count, || {
                Ok(|number| {
                    done.lock().expect("lock").push(number);
                    Ok(())
                })
            })
            .expect("no job fails");
            let mut done = done.into_inner().expect("lock");
            done.sort_unstable();
            assert_eq!(done, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_failure_in_the_order_of_jobs_is_returned_and_ends_it() {
        for count in [1, 2, 7] {
            let begun = AtomicUsize::new(0);
            let error = each(threads(count), 100_000, || {
                Ok(|number| {
                    begun.fetch_add(1, Ordering::Relaxed);
                    // What comes later fails sooner.
                    thread::sleep(Duration::from_millis(if number == 3 { 20 } else { 0 }));
                    if number < 3 { Ok(()) } else { Err(fails(number)) }
                })
            });
            assert_eq!(error.expect_err("fails").to_string(), "entry 3: missing");
            assert!(begun.into_inner() < 100);
        }
    }

    #[test]
    fn a_worker_that_cannot_be_made_or_panics_is_an_error() {
        let none = || Err::<fn(usize) -> Result<(), Error>, _>(fails(7));
        assert!(each(threads(2), 5, none).is_err());
        let panics = || {
            Ok(|number| {
                assert_ne!(number, 1, "on purpose");
                Ok(())
            })
        };
        assert!(matches!(each(threads(2), 5, panics), Err(Error::Thread { .. })));
    }
}
