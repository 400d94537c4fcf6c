//! Entries that are made while others are written: compressed at once by threads of their own, and kept back until their turn.
//!
//! Invariants: what is kept back is compressed, and at most [`WAITING`] frames of it; then whoever makes the entries waits. A
//! segment begins and ends with a frame, and has the bytes that the entries would have had in the archive itself.

use std::io::{self, Write};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::digest::Digest;
use super::error::Error;
use super::format::{Sequence, place};
use super::framer::Framer;
use super::header::{Header, padding};
use super::index::{Entry, Frame};
use super::limits::LARGE_ENTRY;
use super::path::ArchivePath;
use super::writer::WriterOptions;

/// Frames that may wait: some 24 MiB where nothing is compressed.
const WAITING: usize = 24;

/// What a segment is made of, once it is complete. Offsets are those in the segment.
#[derive(Debug)]
pub(super) struct Made {
    pub entries: Vec<Entry>,
    pub frames: Vec<Frame>,
    pub digests: Vec<Digest>,
    /// Length in the uncompressed tar stream.
    pub length: u64,
}

enum Message {
    Bytes(Vec<u8>),
    Made(Box<Made>),
}

/// The side that makes the entries; given to another thread.
pub struct SegmentWriter {
    framer: Framer<Outbox>,
    options: WriterOptions,
    sequence: Sequence,
    entries: Vec<Entry>,
    position: u64,
}

/// The side that waits for its turn: see [`Writer::adopt`](super::Writer::adopt).
#[derive(Debug)]
pub struct Segment {
    inbox: Receiver<Message>,
}

/// The two sides of a new segment.
pub(super) fn pair(options: WriterOptions) -> Result<(SegmentWriter, Segment), Error> {
    let (sender, inbox) = bounded(WAITING);
    let framer = Framer::new(Outbox(sender), None, options.compression, options.threads)?;
    let writer = SegmentWriter {
        framer,
        options,
        sequence: Sequence::continued(),
        entries: Vec::new(),
        position: 0,
    };
    Ok((writer, Segment { inbox }))
}

impl SegmentWriter {
    /// Adds an entry of `size` bytes, which `content` writes.
    ///
    /// # Errors
    /// [`Error::Size`] where it writes another number of bytes; what [`super::Writer::entry`] refuses; [`Error::Write`] where
    /// nobody waits for the segment any more; whatever `content` fails with.
    pub fn add<E: From<Error>>(
        &mut self,
        path: &ArchivePath,
        size: u64,
        content: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        let header = self.begin(path, size)?;
        let mut entry = Content {
            framer: &mut self.framer,
            name: path.as_str(),
            size,
            written: 0,
        };
        content(&mut entry)?;
        let written = entry.written;
        if written != size {
            let (entry, given) = (path.to_string(), written);
            return Err(Error::Size { entry, size, given }.into());
        }
        self.end(path, size)?;
        let offset = self.position + header;
        self.position = offset + size + padding(size) as u64;
        let path = path.clone();
        self.entries.push(Entry { path, size, offset });
        Ok(())
    }

    /// Writes the header; returns its length.
    fn begin(&mut self, path: &ArchivePath, size: u64) -> Result<u64, Error> {
        let kind = place(path)?.kind;
        if kind.late || kind.is_tail() {
            let entry = path.to_string();
            return Err(Error::Reserved { entry });
        }
        let opens = self.sequence.opens(path);
        self.sequence.admit(path, size)?;
        let header = Header {
            path: path.clone(),
            size,
            mtime: self.options.mtime,
            opens,
        };
        self.framer.append(&header.encode(), path.as_str())?;
        if size >= LARGE_ENTRY {
            self.framer.cut(path.as_str())?;
        }
        Ok(header.encoded_len())
    }

    fn end(&mut self, path: &ArchivePath, size: u64) -> Result<(), Error> {
        self.framer.end_content();
        self.framer
            .append(&[0; super::header::BLOCK][..padding(size)], path.as_str())?;
        if size >= LARGE_ENTRY {
            self.framer.cut(path.as_str())?;
        }
        Ok(())
    }

    /// Completes the segment.
    ///
    /// # Errors
    /// [`Error::Write`] where nobody waits for it any more.
    pub fn finish(self) -> Result<(), Error> {
        let framed = self.framer.finish(self.sequence.last())?;
        let made = Made {
            entries: self.entries,
            frames: framed.frames,
            digests: framed.digests,
            length: self.position,
        };
        framed
            .sink
            .send(Message::Made(Box::new(made)))
            .map_err(|source| Error::Write { source })
    }
}

impl Segment {
    /// Hands the frames to `write` as they come, and returns what they are; `None` where whoever made them gave up.
    pub(super) fn drain(self, mut write: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<Option<Made>, Error> {
        for message in self.inbox {
            match message {
                Message::Bytes(bytes) => write(&bytes)?,
                Message::Made(made) => return Ok(Some(*made)),
            }
        }
        Ok(None)
    }
}

/// Sends frames to where they wait.
struct Outbox(Sender<Message>);

impl Outbox {
    fn send(&self, message: Message) -> io::Result<()> {
        self.0.send(message).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Outbox {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(Message::Bytes(bytes.to_vec()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The content of an entry on its way into the frames.
struct Content<'a> {
    framer: &'a mut Framer<Outbox>,
    name: &'a str,
    size: u64,
    written: u64,
}

impl Write for Content<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let given = self.written + bytes.len() as u64;
        if given > self.size {
            let (entry, size) = (self.name.to_owned(), self.size);
            return Err(Error::Size { entry, size, given }.into());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = (&mut self.framer.space()[..]).write(rest)?;
            self.framer.filled(count, self.name)?;
            rest = &rest[count..];
        }
        self.written = given;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
