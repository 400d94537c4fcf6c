//! SHA-256 of every entry's content, computed by one thread beside those that compress or decompress.
//!
//! Invariant: a bounded number of frames waits, so that memory stays bounded where hashing is the slowest part.

use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};

use super::digest::{Digest, Hasher};
use super::error::Error;
use super::pool::{Content, spawn};

/// Frames that may wait to be hashed.
const WAITING: usize = 3;

/// A part of a frame that is content of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// Which bytes of the frame.
    pub range: Range<usize>,
    /// Whether the entry ends with them.
    pub last: bool,
}

/// A frame and what of it is content.
type Job = (Arc<Content>, Vec<Span>);

/// The thread that hashes.
pub(super) struct ContentHash {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<Vec<Digest>>>,
}

impl ContentHash {
    /// Starts the thread.
    pub(super) fn new() -> Result<Self, Error> {
        let (sender, receiver) = bounded::<Job>(WAITING);
        let thread = spawn("ckpt-digest", move || {
            let (mut hasher, mut digests) = (Hasher::default(), Vec::new());
            for (content, spans) in receiver {
                for span in spans {
                    hasher.update(content.get(span.range).unwrap_or_default());
                    if span.last {
                        digests.push(hasher.take());
                    }
                }
            }
            digests
        })?;
        Ok(Self {
            jobs: Some(sender),
            thread: Some(thread),
        })
    }

    /// Hands over the next frame; waits where too many are waiting.
    pub(super) fn submit(&mut self, content: Arc<Content>, spans: Vec<Span>) {
        if let Some(jobs) = self.jobs.as_ref().filter(|_| !spans.is_empty()) {
            // It cannot fail while the thread lives; if it does not, `finish` tells.
            let _ = jobs.send((content, spans));
        }
    }

    /// The digests of all entries, in order.
    pub(super) fn finish(&mut self) -> Result<Vec<Digest>, Error> {
        self.jobs = None;
        let ended = self.thread.take().and_then(|thread| thread.join().ok());
        ended.ok_or_else(|| Error::Thread {
            source: std::io::Error::other("the hashing thread panicked"),
        })
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

    #[test]
    fn entries_may_share_frames_and_frames_entries() {
        let home = Buffers::new(1);
        let mut hash = ContentHash::new().expect("thread");
        let span = |range, last| Span { range, last };
        hash.submit(
            Content::new(b"xxabyyc".to_vec(), 7, &home),
            vec![span(2..4, true), span(6..7, false)],
        );
        hash.submit(Content::new(b"xx".to_vec(), 2, &home), vec![]);
        hash.submit(
            Content::new(b"dez".to_vec(), 3, &home),
            vec![span(0..2, true), span(2..2, true)],
        );
        assert_eq!(
            hash.finish().expect("digests"),
            [Digest::of(b"ab"), Digest::of(b"cde"), Digest::of(b"")]
        );
    }
}
