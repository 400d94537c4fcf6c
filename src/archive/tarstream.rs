//! The uncompressed tar stream: a cursor over the content of the frames that hashes what is content of entries.
//!
//! Invariant: every byte that is consumed as content is hashed, whoever reads it and however.

use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::Arc;

use super::contenthash::{ContentHash, Span};
use super::deframer::{Deframer, Piece};
use super::digest::Digest;
use super::error::{Error, FrameProblem};
use super::format::MANIFEST;
use super::frames::{Class, Codec};
use super::header::{BLOCK, Context, Header};
use super::limits::{self, FRAME_SIZE, Limits};
use super::pool::Content;

/// See the module.
pub(super) struct TarStream<R> {
    frames: Deframer<R>,
    hash: ContentHash,
    current: Option<Arc<Content>>,
    class: Class,
    at: usize,
    spans: Vec<Span>,
    position: u64,
    /// Content bytes of all frames so far.
    expanded: u64,
    /// Headers so far.
    headers: u64,
    limits: Limits,
    /// Offset of the current frame in the file.
    offset: u64,
    /// Set at the header of `index.json`: the number of frames before.
    tail: Option<usize>,
    /// The entry that is being read, for messages.
    pub entry: String,
}

impl<R: Read> TarStream<R> {
    pub(super) fn new(inner: R, threads: NonZeroUsize, limits: Limits) -> Result<Self, Error> {
        Ok(Self {
            frames: Deframer::new(inner, threads)?,
            hash: ContentHash::new(threads)?,
            current: None,
            class: Class::Compressed,
            at: 0,
            spans: Vec::new(),
            position: 0,
            expanded: 0,
            headers: 0,
            limits,
            offset: 0,
            tail: None,
            entry: MANIFEST.to_owned(),
        })
    }

    pub(super) fn frames(&self) -> &Deframer<R> {
        &self.frames
    }

    /// Offset in the stream.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Where in the file the next byte comes from: of what is compressed, the frame.
    pub(super) fn place(&self) -> u64 {
        if self.frames.codec() == Codec::None {
            self.position
        } else {
            self.offset
        }
    }

    /// Offset of the current frame in the file.
    pub(super) fn frame_offset(&self) -> u64 {
        self.offset
    }

    /// Length of what is left of the current frame.
    pub(super) fn at_hand(&self) -> usize {
        self.current.as_ref().map_or(0, |content| content.len() - self.at)
    }

    /// What is left of the current frame; the next frame where nothing is. Empty only at the end of the stream.
    pub(super) fn chunk(&mut self) -> Result<&[u8], Error> {
        while self.current.as_ref().is_none_or(|content| self.at == content.len()) {
            if !self.load()? {
                return Ok(&[]);
            }
        }
        Ok(self.current.as_ref().map_or(&[][..], |content| &content[self.at..]))
    }

    /// Goes to the next frame; false where there is none.
    fn load(&mut self) -> Result<bool, Error> {
        let full = self.current.as_ref().is_none_or(|content| content.len() == FRAME_SIZE);
        if let Some(content) = self.current.take() {
            self.hash.submit(content, std::mem::take(&mut self.spans));
        }
        let next = self.frames.next().map_err(|fault| fault.about(&self.entry))?;
        let Some(Piece { content, class, offset }) = next else {
            return Ok(false);
        };
        let compressed = self.frames.codec() != Codec::None;
        if compressed && self.tail.is_some() && (class != Class::Stored || !full) {
            return Err(Error::Frame {
                offset,
                entry: self.entry.clone(),
                problem: FrameProblem::Tail,
            });
        }
        self.expanded += content.len() as u64;
        self.check_bounds()?;
        (self.current, self.class, self.at, self.offset) = (Some(content), class, 0, offset);
        Ok(true)
    }

    /// Neither does little hold much, nor is little cut into many frames.
    fn check_bounds(&self) -> Result<(), Error> {
        let entry = || self.entry.clone();
        if self.limits.is_bomb(self.expanded, self.frames.offset()) {
            let limit = self.limits.expansion;
            return Err(Error::Expansion { entry: entry(), limit });
        }
        let frames = self.frames.frames().len();
        let limit = limits::frames_for(self.headers, self.expanded);
        if frames > limit {
            return Err(Error::TooManyFrames { entry: entry(), limit });
        }
        Ok(())
    }

    /// Takes `count` bytes of the current chunk, as content of the current entry.
    pub(super) fn consume_content(&mut self, count: usize) {
        let range = self.at..self.at + count;
        match self.spans.last_mut() {
            Some(span) if !span.last && span.range.end == range.start => span.range.end = range.end,
            _ => self.spans.push(Span { range, last: false }),
        }
        self.consume(count);
    }

    /// The current entry has no more content.
    pub(super) fn end_content(&mut self) {
        match self.spans.last_mut() {
            Some(span) if !span.last => span.last = true,
            _ => self.spans.push(Span {
                range: self.at..self.at,
                last: true,
            }),
        }
    }

    /// Takes `count` bytes of the current chunk.
    pub(super) fn consume(&mut self, count: usize) {
        self.at += count;
        self.position += count as u64;
    }

    /// Appends exactly `count` bytes that are no content to `out`.
    pub(super) fn take(&mut self, mut count: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        while count > 0 {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                return Err(self.truncated());
            }
            let taken = count.min(chunk.len());
            out.extend_from_slice(&chunk[..taken]);
            self.consume(taken);
            count -= taken;
        }
        Ok(())
    }

    /// Takes padding.
    pub(super) fn take_padding(&mut self, count: usize) -> Result<(), Error> {
        let mut padding = Vec::with_capacity(BLOCK);
        self.take(count, &mut padding)?;
        if padding.iter().any(|&byte| byte != 0) {
            return Err(Error::Padding {
                entry: self.entry.clone(),
            });
        }
        Ok(())
    }

    /// The next header, or `None` for a zero block.
    pub(super) fn header(&mut self) -> Result<Option<Header>, Error> {
        let offset = self.position;
        let mut bytes = Vec::with_capacity(BLOCK);
        self.take(BLOCK, &mut bytes)?;
        if bytes.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let after = self.entry.clone();
        let context = Context { offset, after: &after };
        while let more @ 1.. = Header::blocks(&bytes, context)? * BLOCK - bytes.len() {
            self.take(more, &mut bytes)?;
        }
        let header = Header::parse(&bytes, context)?;
        self.entry = header.path.to_string();
        self.headers += 1;
        Ok(Some(header))
    }

    /// The stream ended where more had to come.
    pub(super) fn truncated(&self) -> Error {
        Error::Truncated {
            offset: self.frames.offset(),
            entry: self.entry.clone(),
        }
    }

    /// Whether a frame begins at this place, and a stored one.
    pub(super) fn at_stored_frame(&mut self) -> Result<bool, Error> {
        self.chunk()?;
        Ok(self.frames.codec() == Codec::None || (self.at == 0 && self.class == Class::Stored))
    }

    /// From here on the frames must be those of a tail. The current frame is the first of them.
    pub(super) fn begin_tail(&mut self) {
        self.tail = Some(self.frames.frames().len().saturating_sub(1));
    }

    /// Number of frames before the tail.
    pub(super) fn data_frames(&self) -> usize {
        self.tail.unwrap_or(0)
    }

    /// The digests of all entries whose content has ended.
    pub(super) fn digests(&mut self) -> Result<Vec<Digest>, Error> {
        if let Some(content) = &self.current {
            self.hash.submit(content.clone(), std::mem::take(&mut self.spans));
        }
        self.hash.finish()
    }

    /// The stream must end here, and the file with this trailer.
    pub(super) fn finish(&mut self, trailer: &[u8]) -> Result<(), Error> {
        self.frames.finish(trailer)
    }
}
