//! Work on frames by several threads, with results in the order of submission.
//!
//! Invariants: the threads only compute; reading and writing stay with the caller, so that a dropped pool never waits for
//! anything but a frame's worth of work. The caller bounds how much is under way by looking at [`Pool::pending`].

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};

use super::error::Error;

/// A number of threads and what they have been given to do.
pub(super) struct Pool<J, R> {
    jobs: Option<Sender<(J, Sender<R>)>>,
    pending: VecDeque<Receiver<R>>,
    threads: Vec<JoinHandle<()>>,
}

impl<J: Send + 'static, R: Send + 'static> Pool<J, R> {
    /// Starts the threads, each with a worker of its own.
    pub(super) fn new<W>(threads: NonZeroUsize, mut worker: impl FnMut() -> io::Result<W>) -> Result<Self, Error>
    where
        W: FnMut(J) -> R + Send + 'static,
    {
        let (sender, receiver) = unbounded::<(J, Sender<R>)>();
        let mut pool = Self {
            jobs: Some(sender),
            pending: VecDeque::new(),
            threads: Vec::new(),
        };
        for _ in 0..threads.get() {
            let receiver = receiver.clone();
            let mut work = worker().map_err(|source| Error::Thread { source })?;
            let thread = spawn("ckpt-frame", move || {
                for (job, reply) in receiver {
                    // Nobody waits for the result when the pool is being dropped.
                    let _ = reply.send(work(job));
                }
            })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Gives the threads something to do.
    pub(super) fn submit(&mut self, job: J) {
        let (reply, result) = bounded(1);
        if let Some(jobs) = &self.jobs {
            // It cannot fail while a thread lives; if none does, taking the result tells.
            let _ = jobs.send((job, reply));
        }
        self.pending.push_back(result);
    }

    /// How many results have not been taken.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The next result in order, if it is there.
    pub(super) fn ready(&mut self) -> Result<Option<R>, Error> {
        let Some(first) = self.pending.front() else {
            return Ok(None);
        };
        match first.try_recv() {
            Err(TryRecvError::Empty) => Ok(None),
            result => {
                self.pending.pop_front();
                result.map(Some).map_err(|_| died())
            }
        }
    }

    /// Waits for the next result in order; `None` if nothing is under way.
    pub(super) fn wait(&mut self) -> Result<Option<R>, Error> {
        self.pending
            .pop_front()
            .map(|first| first.recv().map_err(|_| died()))
            .transpose()
    }
}

impl<J, R> Drop for Pool<J, R> {
    fn drop(&mut self) {
        self.jobs = None;
        // Results that nobody will take are not waited for: what is queued runs into closed replies.
        self.pending.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn died() -> Error {
    Error::Thread {
        source: io::Error::other("it ended without a result"),
    }
}

/// Starts a named thread.
pub(super) fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|source| Error::Thread { source })
}

/// Buffers that are used again: each frame gives its own back when the last user of it is gone.
#[derive(Debug, Clone)]
pub(super) struct Buffers {
    put: Sender<Vec<u8>>,
    get: Receiver<Vec<u8>>,
}

impl Buffers {
    /// Keeps up to `count` idle buffers.
    pub(super) fn new(count: usize) -> Self {
        let (put, get) = bounded(count);
        Self { put, get }
    }

    /// An idle buffer with whatever it held, or a new one.
    pub(super) fn get(&self) -> Vec<u8> {
        self.get.try_recv().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub(super) fn put(&self, buffer: Vec<u8>) {
        // One too many is freed.
        let _ = self.put.try_send(buffer);
    }
}

/// The content of a frame, shared by those who read it.
pub(super) struct Content {
    bytes: Vec<u8>,
    length: usize,
    home: Buffers,
}

impl Content {
    /// The first `length` of `bytes`; the buffer goes back to `home` afterwards.
    pub(super) fn new(bytes: Vec<u8>, length: usize, home: &Buffers) -> Arc<Self> {
        Arc::new(Self {
            length: length.min(bytes.len()),
            bytes,
            home: home.clone(),
        })
    }
}

impl std::ops::Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn threads(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).expect("not zero")
    }

    #[test]
    fn results_come_in_order_whatever_takes_longer() {
        let mut pool = Pool::new(threads(4), || {
            Ok(|number: u64| {
                std::thread::sleep(Duration::from_millis((number * 7) % 5));
                number * 2
            })
        })
        .expect("threads");
        (0..50).for_each(|number| pool.submit(number));
        assert_eq!(pool.pending(), 50);
        let results: Vec<u64> = std::iter::from_fn(|| pool.wait().expect("alive")).collect();
        assert_eq!(results, (0..50).map(|number| number * 2).collect::<Vec<_>>());
        assert!(pool.ready().expect("alive").is_none());
    }

    #[test]
    fn a_worker_that_panics_is_an_error_not_a_hang() {
        let mut pool =
            Pool::new(threads(2), || Ok(|number: u64| assert_ne!(number, 1, "on purpose"))).expect("threads");
        (0..3).for_each(|number| pool.submit(number));
        let results: Vec<bool> = (0..3).map(|_| pool.wait().is_ok()).collect();
        assert!(!results[1]);
    }

    #[test]
    fn dropping_it_leaves_no_thread() {
        let alive = Arc::new(());
        let mut pool = Pool::new(threads(3), || {
            let alive = alive.clone();
            Ok(move |_: u64| drop(alive.clone()))
        })
        .expect("threads");
        (0..10).for_each(|number| pool.submit(number));
        drop(pool);
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    #[test]
    fn buffers_are_used_again() {
        let home = Buffers::new(1);
        drop(Content::new(vec![7; 3], 2, &home));
        let content = Content::new(home.get(), 2, &home);
        assert_eq!(&content[..], [7, 7]);
        assert!(home.get().is_empty(), "there was only one");
    }
}
