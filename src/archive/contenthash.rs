//! SHA-256 of every entry's content, computed beside those that compress or decompress.
//!
//! One entry's digest is the work of one thread, and nothing makes it faster; but an entry that begins with a frame may be
//! hashed beside the one before. Invariants: a bounded number of frames waits, so that memory stays bounded where hashing is
//! the slowest part; digests come out in the order of the entries.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, TrySendError, bounded};

use super::digest::{Digest, Hasher};
use super::error::Error;
use super::pool::{Content, spawn};

/// Frames that may wait for each thread.
const WAITING: usize = 3;
/// The most threads: more entries than these are rarely under way at once.
const MAX_LANES: usize = 4;

/// A part of a frame that is content of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// Which bytes of the frame.
    pub range: Range<usize>,
    /// Whether the entry ends with them.
    pub last: bool,
}

/// A frame, what of it is content, and how many entries ended before it.
struct Job {
    content: Arc<Content>,
    spans: Vec<Span>,
    ended: usize,
}

/// A thread that hashes, and gives the digests with the numbers of their entries.
struct Lane {
    jobs: Sender<Job>,
    thread: JoinHandle<Vec<(usize, Digest)>>,
}

impl Lane {
    fn new() -> Result<Self, Error> {
        let (jobs, receiver) = bounded::<Job>(WAITING);
        let thread = spawn("ckpt-digest", move || {
            let (mut hasher, mut digests) = (Hasher::default(), Vec::new());
            for Job { content, spans, ended } in receiver {
                let mut number = ended;
                for span in spans {
                    hasher.update(content.get(span.range).unwrap_or_default());
                    if span.last {
                        digests.push((number, hasher.take()));
                        number += 1;
                    }
                }
            }
            digests
        })?;
        Ok(Self { jobs, thread })
    }
}

/// See the module.
pub(super) struct ContentHash {
    lanes: Vec<Lane>,
    /// The lane that has the last frame, and whether its last entry goes on in the next.
    current: usize,
    open: bool,
    /// Entries that have ended.
    ended: usize,
}

impl ContentHash {
    /// Starts up to so many threads.
    pub(super) fn new(threads: NonZeroUsize) -> Result<Self, Error> {
        let lanes = (0..threads.get().min(MAX_LANES)).map(|_| Lane::new());
        Ok(Self {
            lanes: lanes.collect::<Result<_, _>>()?,
            current: 0,
            open: false,
            ended: 0,
        })
    }

    /// Hands over the next frame; waits where too many are waiting, and tells whether it had to.
    pub(super) fn submit(&mut self, content: Arc<Content>, spans: Vec<Span>) -> bool {
        let Some(last) = spans.last() else { return false };
        if !self.open {
            self.current = self.least_busy();
        }
        self.open = !last.last;
        let ended = self.ended;
        self.ended += spans.iter().filter(|span| span.last).count();
        let Some(lane) = self.lanes.get(self.current) else {
            return false;
        };
        // It cannot fail while the thread lives; if it does not, `finish` tells.
        match lane.jobs.try_send(Job { content, spans, ended }) {
            Err(TrySendError::Full(job)) => {
                let _ = lane.jobs.send(job);
                true
            }
            _ => false,
        }
    }

    /// The lane with the least to do; of equals rather not the one that has just been given something.
    fn least_busy(&self) -> usize {
        let load = |&number: &usize| (self.lanes[number].jobs.len(), number == self.current);
        (0..self.lanes.len()).min_by_key(load).unwrap_or_default()
    }

    /// The digests of all entries, in order.
    pub(super) fn finish(&mut self) -> Result<Vec<Digest>, Error> {
        let died = || Error::Thread {
            source: std::io::Error::other("the hashing thread panicked"),
        };
        let mut digests = Vec::with_capacity(self.ended);
        // All of them see the end before any is waited for.
        let threads: Vec<_> = self.lanes.drain(..).map(|Lane { thread, .. }| thread).collect();
        for thread in threads {
            digests.extend(thread.join().map_err(|_| died())?);
        }
        digests.sort_unstable_by_key(|(number, _)| *number);
        Ok(digests.into_iter().map(|(_, digest)| digest).collect())
    }
}

impl Drop for ContentHash {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::pool::Buffers;

    fn span(range: Range<usize>, last: bool) -> Span {
        Span { range, last }
    }

    fn lanes(count: usize) -> ContentHash {
        ContentHash::new(NonZeroUsize::new(count).expect("some")).expect("threads")
    }

    #[test]
    fn entries_may_share_frames_and_frames_entries() {
        for count in 1..6 {
            let home = Buffers::new(1);
            let mut hash = lanes(count);
            hash.submit(
                Content::new(b"xxabyyc".to_vec(), 7, &home),
                vec![span(2..4, true), span(6..7, false)],
            );
            hash.submit(Content::new(b"xx".to_vec(), 2, &home), vec![]);
            hash.submit(
                Content::new(b"dez".to_vec(), 3, &home),
                vec![span(0..2, true), span(2..2, true)],
            );
            hash.submit(Content::new(b"f".to_vec(), 1, &home), vec![span(0..1, true)]);
            assert_eq!(
                hash.finish().expect("digests"),
                [Digest::of(b"ab"), Digest::of(b"cde"), Digest::of(b""), Digest::of(b"f")]
            );
        }
    }

    #[test]
    fn digests_are_in_the_order_of_entries_whoever_is_first() {
        let home = Buffers::new(1);
        let mut hash = lanes(3);
        let contents: Vec<Vec<u8>> = (0..40_u8)
            .map(|number| vec![number; usize::from(number % 5) << 16])
            .collect();
        for content in &contents {
            let half = content.len() / 2;
            for (part, last) in [(&content[..half], false), (&content[half..], true)] {
                let frame = Content::new(part.to_vec(), part.len(), &home);
                hash.submit(frame, vec![span(0..part.len(), last)]);
            }
        }
        let expected: Vec<Digest> = contents.iter().map(|content| Digest::of(content)).collect();
        assert_eq!(hash.finish().expect("digests"), expected);
    }
}
