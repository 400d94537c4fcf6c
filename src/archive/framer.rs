//! Cuts a tar stream into frames, has them compressed and hashed, and writes them in order.
//!
//! Invariants: where frames are cut depends on what is appended and where [`Framer::cut`] is called, not on the sizes of
//! the pieces nor on threads. The sink is written by the caller's thread only, so its errors are returned where they happen.
//! At most [`depth`] frames are under way; whether the caller has to wait for them decides the level of the next ones. A header that comes later has a stored frame of its own.

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroUsize;

use super::compress::{Done, Job, worker};
use super::contenthash::{ContentHash, Span};
use super::digest::Digest;
use super::error::Error;
use super::framedigest::FrameDigest;
use super::frames::{Codec, Compression, store};
use super::index::Frame;
use super::limits::{FRAME_SIZE, MAX_FRAMES};
use super::outlet::{Gap, Outlet};
use super::pace::{Load, Pace};
use super::pool::{Buffers, Content, Pool};

/// Frames under way for this number of threads: one for each, and enough that none waits while the caller reads or writes.
pub(super) fn depth(threads: NonZeroUsize) -> usize {
    threads.get() + 3
}

/// What the frames were made of.
pub(super) struct Framed<W> {
    pub sink: W,
    pub frames: Vec<Frame>,
    pub digests: Vec<Digest>,
    pub stored: u64,
}

/// A header that comes later: its place in the file and among the frames.
#[derive(Debug)]
pub(super) struct Later {
    gap: Gap,
    frame: usize,
}

/// See the module.
pub(super) struct Framer<W: Write> {
    outlet: Outlet<W>,
    codec: Codec,
    /// `None` where nothing is compressed.
    pool: Option<Pool<Job, io::Result<Done>>>,
    hash: ContentHash,
    buffers: Buffers,
    spare: Buffers,
    current: Vec<u8>,
    fill: usize,
    spans: Vec<Span>,
    depth: usize,
    threads: usize,
    pace: Pace,
    frames: Vec<Frame>,
}

impl<W: Write> Framer<W> {
    /// Writes to `sink`, which is at the beginning of `file`, if that is given.
    pub(super) fn new(
        sink: W,
        file: Option<File>,
        compression: Compression,
        threads: NonZeroUsize,
    ) -> Result<Self, Error> {
        let depth = depth(threads);
        let spare = Buffers::new(depth);
        let pool = match compression.codec() {
            Codec::None => None,
            _ => Some(Pool::new(threads, || worker(compression, spare.clone()))?),
        };
        Ok(Self {
            outlet: Outlet::new(sink, file, compression.codec()),
            codec: compression.codec(),
            pool,
            hash: ContentHash::new(threads)?,
            buffers: Buffers::new(depth),
            spare,
            current: vec![0; FRAME_SIZE],
            fill: 0,
            spans: Vec::new(),
            depth,
            threads: threads.get(),
            pace: Pace::new(compression, depth),
            frames: Vec::new(),
        })
    }

    /// The free part of the current frame; never empty.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.current[self.fill..]
    }

    /// The first `count` bytes of [`Framer::space`] are content of the current entry.
    pub(super) fn filled(&mut self, count: usize, entry: &str) -> Result<(), Error> {
        let range = self.fill..self.fill + count;
        match self.spans.last_mut() {
            Some(span) if !span.last && span.range.end == range.start => span.range.end = range.end,
            _ => self.spans.push(Span { range, last: false }),
        }
        self.advance(count, entry)
    }

    /// The current entry has no more content.
    pub(super) fn end_content(&mut self) {
        match self.spans.last_mut() {
            Some(span) if !span.last => span.last = true,
            _ => self.spans.push(Span {
                range: self.fill..self.fill,
                last: true,
            }),
        }
    }

    /// Appends bytes that are no content: headers and padding.
    pub(super) fn append(&mut self, mut bytes: &[u8], entry: &str) -> Result<(), Error> {
        while !bytes.is_empty() {
            let count = bytes.len().min(FRAME_SIZE - self.fill);
            self.space()[..count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            self.advance(count, entry)?;
        }
        Ok(())
    }

    fn advance(&mut self, count: usize, entry: &str) -> Result<(), Error> {
        self.fill += count;
        if self.fill == FRAME_SIZE {
            self.cut(entry)
        } else {
            Ok(())
        }
    }

    /// Ends the current frame, if there is anything in it. `entry` is named where there are too many frames.
    pub(super) fn cut(&mut self, entry: &str) -> Result<(), Error> {
        if self.fill == 0 {
            return Ok(());
        }
        let under_way = self.pool.as_ref().map_or(0, Pool::pending);
        if self.frames.len() + under_way >= MAX_FRAMES {
            return Err(Error::TooManyFrames {
                entry: entry.to_owned(),
                limit: MAX_FRAMES,
            });
        }
        let mut next = self.buffers.get();
        next.resize(FRAME_SIZE, 0);
        let content = Content::new(std::mem::replace(&mut self.current, next), self.fill, &self.buffers);
        self.fill = 0;
        let spans = std::mem::take(&mut self.spans);
        let Some(pool) = &mut self.pool else {
            self.hash.submit(content.clone(), spans);
            return self.outlet.write(&content);
        };
        pool.submit(Job {
            content: content.clone(),
            level: self.pace.level(),
        });
        // Where all threads have enough to do, they are what keeps the one that hashes from its processor.
        let crowded = pool.pending() > self.threads;
        let waited = self.hash.submit(content, spans) && crowded;
        let waited = self.drain(self.depth)? || waited;
        self.pace.observe(self.load(waited));
        Ok(())
    }

    fn load(&self, waited: bool) -> Load {
        match &self.pool {
            _ if waited => Load::Behind,
            Some(pool) if pool.pending() > self.threads => Load::Busy,
            _ => Load::Idle,
        }
    }

    /// Writes what is ready, and waits until at most `leave` frames are under way; tells whether it had to.
    fn drain(&mut self, leave: usize) -> Result<bool, Error> {
        let mut waited = false;
        while let Some(pool) = &mut self.pool {
            let mut next = pool.ready()?;
            if next.is_none() && pool.pending() > leave {
                waited = true;
                next = pool.wait()?;
            }
            let Some(done) = next else { break };
            let Done {
                content,
                stored,
                digest,
            } = done.map_err(|source| Error::Thread { source })?;
            self.outlet.write(&stored)?;
            self.frames.push(Frame {
                stored: stored.len() as u32,
                content: content.len() as u32,
                digest,
            });
            self.spare.put(stored);
        }
        Ok(waited)
    }

    /// Leaves a place for bytes that are no content and come later: `length` of them, in a stored frame of their own.
    pub(super) fn leave(&mut self, length: usize, entry: &str) -> Result<Later, Error> {
        self.cut(entry)?;
        self.drain(0)?;
        let zeros = vec![0; length];
        let stored = store(self.codec, &zeros).len();
        let frame = self.frames.len();
        if self.pool.is_some() {
            self.frames.push(Frame {
                stored: stored as u32,
                content: length as u32,
                digest: FrameDigest::of(&[]),
            });
        }
        let gap = self.outlet.leave(stored)?;
        Ok(Later { gap, frame })
    }

    /// Ends the current frame and puts the bytes where a place was left for them.
    pub(super) fn fill(&mut self, later: Later, bytes: &[u8], entry: &str) -> Result<(), Error> {
        self.cut(entry)?;
        self.drain(0)?;
        let stored = store(self.codec, bytes);
        if let Some(frame) = self.frames.get_mut(later.frame) {
            frame.digest = FrameDigest::of(&stored);
        }
        self.outlet.fill(later.gap, &stored)
    }

    /// Writes frames that were made elsewhere: `drain` hands them over and returns what they are.
    pub(super) fn adopt(
        &mut self,
        entry: &str,
        drain: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<Vec<Frame>, Error>,
    ) -> Result<(), Error> {
        self.cut(entry)?;
        self.drain(0)?;
        let frames = drain(&mut |bytes| self.outlet.write(bytes))?;
        if self.frames.len() + frames.len() > MAX_FRAMES {
            return Err(Error::TooManyFrames {
                entry: entry.to_owned(),
                limit: MAX_FRAMES,
            });
        }
        self.frames.extend(frames);
        Ok(())
    }

    /// Ends the last frame and waits for all of them.
    pub(super) fn finish(mut self, entry: &str) -> Result<Framed<W>, Error> {
        self.cut(entry)?;
        // The end of an entry that filled the last frame to the brim.
        let empty = Content::new(Vec::new(), 0, &self.buffers);
        self.hash.submit(empty, std::mem::take(&mut self.spans));
        self.drain(0)?;
        let digests = self.hash.finish()?;
        Ok(Framed {
            stored: self.outlet.position(),
            sink: self.outlet.into_sink(),
            frames: self.frames,
            digests,
        })
    }
}
