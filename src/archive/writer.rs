//! Writes an archive: entries in order, compressed and hashed by several threads.
//!
//! Invariants: same entries and options, same bytes, whatever the number of threads and the sizes of the pieces that
//! content is given in (but for [`Level::Auto`](super::Level::Auto), which follows time). After an error the writer refuses everything. Dropping it leaves no thread behind.

use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;

use super::digest::Digest;
use super::error::Error;
use super::format::{MANIFEST, SIGNATURE, Sequence, place};
use super::framer::{Framed, Framer, Later};
use super::frames::{Compression, trailer};
use super::header::{Header, padding};
use super::index::{Entry, Index};
use super::limits::{LARGE_ENTRY, MAX_MTIME};
use super::path::ArchivePath;
use super::segment::{self, Segment, SegmentWriter};
use super::tail::{self, Tail, check_signature};

/// How an archive is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterOptions {
    /// What it is compressed with.
    pub compression: Compression,
    /// Threads that compress.
    pub threads: NonZeroUsize,
    /// Time of all entries, seconds since 1970.
    pub mtime: u64,
}

impl Default for WriterOptions {
    /// zstd, a thread for each processor, 1970.
    fn default() -> Self {
        Self {
            compression: Compression::default(),
            threads: super::available_threads(),
            mtime: 0,
        }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// SHA-256 of `SHA256SUMS`.
    pub identity: Digest,
    /// Number of entries, without those that the writer makes.
    pub entries: usize,
    /// Their content, bytes.
    pub content_bytes: u64,
    /// Length of the archive, bytes.
    pub stored_bytes: u64,
}

/// An archive that is being written.
pub struct Writer<W: Write> {
    framer: Framer<W>,
    options: WriterOptions,
    sequence: Sequence,
    entries: Vec<Entry>,
    position: u64,
    /// Digests of entries that were hashed elsewhere, behind so many entries.
    adopted: Vec<(usize, Vec<Digest>)>,
    poisoned: bool,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    ///
    /// # Errors
    /// [`Error::Option`] where the time does not fit a tar header, [`Error::Thread`] where threads cannot be started.
    pub fn new(sink: W, options: WriterOptions) -> Result<Self, Error> {
        Self::with_file(sink, None, options)
    }

    /// Begins an archive in a file in which one can also write at an offset: `sink` is at its beginning. The same bytes are
    /// written as by [`Writer::new`], but nothing of an entry of unknown size has to wait for its end.
    ///
    /// # Errors
    /// As [`Writer::new`].
    pub fn with_file(sink: W, file: Option<File>, options: WriterOptions) -> Result<Self, Error> {
        if options.mtime > MAX_MTIME {
            let (value, most) = (i64::try_from(options.mtime).unwrap_or(i64::MAX), MAX_MTIME as i64);
            return Err(Error::Option {
                option: "mtime",
                value,
                least: 0,
                most,
            });
        }
        Ok(Self {
            framer: Framer::new(sink, file, options.compression, options.threads)?,
            options,
            sequence: Sequence::default(),
            entries: Vec::new(),
            position: 0,
            adopted: Vec::new(),
            poisoned: false,
        })
    }

    /// Adds an entry with this content.
    ///
    /// # Errors
    /// As [`Writer::entry`], and [`Error::Write`].
    pub fn add_bytes(&mut self, path: &ArchivePath, content: &[u8]) -> Result<(), Error> {
        let mut entry = self.entry(path, content.len() as u64)?;
        entry.append(content)?;
        entry.finish()
    }

    /// Adds an entry with the content that `reader` yields.
    ///
    /// # Errors
    /// As [`Writer::entry`]; [`Error::Size`] where the reader does not yield exactly `size` bytes, [`Error::Content`]
    /// where it fails, [`Error::Write`].
    pub fn add(&mut self, path: &ArchivePath, size: u64, reader: impl Read) -> Result<(), Error> {
        let mut entry = self.entry(path, size)?;
        entry.append_from(reader)?;
        entry.finish()
    }

    /// Begins an entry of `size` bytes.
    ///
    /// # Errors
    /// The entry has no place here: [`Error::Order`], [`Error::Repeated`], [`Error::Unknown`], [`Error::Reserved`],
    /// [`Error::TooLarge`], [`Error::TooManyEntries`]; or [`Error::Write`].
    pub fn entry(&mut self, path: &ArchivePath, size: u64) -> Result<EntryWriter<'_, W>, Error> {
        self.begin(path, Some(size))
    }

    /// Begins an entry whose size is known when it is finished: `checkpoint/pages-N.img`.
    ///
    /// # Errors
    /// As [`Writer::entry`]; [`Error::Unsized`] where the size of such an entry must be known.
    pub fn entry_of_unknown_size(&mut self, path: &ArchivePath) -> Result<EntryWriter<'_, W>, Error> {
        self.begin(path, None)
    }

    fn begin(&mut self, path: &ArchivePath, size: Option<u64>) -> Result<EntryWriter<'_, W>, Error> {
        if self.poisoned {
            return Err(Error::Poisoned);
        }
        let kind = place(path)?.kind;
        let entry = || path.to_string();
        if kind.is_tail() {
            return Err(Error::Reserved { entry: entry() });
        }
        if size.is_none() && !kind.late {
            return Err(Error::Unsized { entry: entry() });
        }
        let opens = self.sequence.opens(path);
        let boundary = self.sequence.in_files() != kind.files;
        self.sequence.admit(path, size.unwrap_or(0))?;
        if boundary {
            self.framer.cut(path.as_str())?;
        }
        // Until the entry is complete, nothing can follow.
        self.poisoned = true;
        let header = Header {
            path: path.clone(),
            size: size.unwrap_or(0),
            mtime: self.options.mtime,
            opens,
        };
        let later = self.begin_header(&header, kind.late)?;
        Ok(EntryWriter {
            most: size.unwrap_or(kind.max_size),
            offset: self.position + header.encoded_len(),
            writer: self,
            header,
            later,
            size,
            written: 0,
        })
    }

    /// Writes the header of an entry, or leaves a place for it.
    fn begin_header(&mut self, header: &Header, late: bool) -> Result<Option<Later>, Error> {
        let name = header.path.as_str();
        if late {
            let length = header.encode().len();
            return self.framer.leave(length, name).map(Some);
        }
        self.framer.append(&header.encode(), name)?;
        if header.size >= LARGE_ENTRY {
            self.framer.cut(name)?;
        }
        Ok(None)
    }

    /// Begins to make entries beside those that are written now: the container's files.
    ///
    /// # Errors
    /// [`Error::Thread`] where threads cannot be started.
    pub fn segment(&self) -> Result<(SegmentWriter, Segment), Error> {
        segment::pair(self.options)
    }

    /// Adds all entries of a segment, waiting for those that are not made yet. `false` where they will never be, because the
    /// thread that made them gave up: then the archive cannot be finished.
    ///
    /// # Errors
    /// As [`Writer::entry`].
    pub fn adopt(&mut self, segment: Segment) -> Result<bool, Error> {
        if std::mem::replace(&mut self.poisoned, true) {
            return Err(Error::Poisoned);
        }
        let mut made = None;
        self.framer.adopt(self.sequence.last(), |write| {
            made = segment.drain(write)?;
            Ok(made
                .as_mut()
                .map(|made| std::mem::take(&mut made.frames))
                .unwrap_or_default())
        })?;
        let Some(made) = made else { return Ok(false) };
        let before = self.entries.len();
        for mut entry in made.entries {
            self.sequence.admit(&entry.path, entry.size)?;
            entry.offset += self.position;
            self.entries.push(entry);
        }
        self.position += made.length;
        self.adopted.push((before, made.digests));
        self.poisoned = false;
        Ok(true)
    }

    /// Writes the index, the digests and the end of the archive.
    ///
    /// # Errors
    /// [`Error::Missing`] where there is no manifest; [`Error::Write`].
    pub fn finish(self) -> Result<(W, Summary), Error> {
        self.end(|_| Ok(None))
    }

    /// As [`Writer::finish`], with the signature of `SHA256SUMS` that `sign` makes: printable text of at most 16 KiB.
    ///
    /// # Errors
    /// As [`Writer::finish`]; [`Error::Content`] where it cannot be signed, [`Error::TooLarge`] and [`Error::Tail`] where
    /// the signature cannot be put into an archive.
    pub fn finish_signed(self, sign: impl FnOnce(&[u8]) -> io::Result<Vec<u8>>) -> Result<(W, Summary), Error> {
        let failed = |source| Error::Content {
            entry: SIGNATURE.to_owned(),
            source,
        };
        self.end(|sums| sign(sums).map(Some).map_err(failed))
    }

    fn end(self, sign: impl FnOnce(&[u8]) -> Result<Option<Vec<u8>>, Error>) -> Result<(W, Summary), Error> {
        if self.poisoned {
            return Err(Error::Poisoned);
        }
        if self.entries.is_empty() {
            return Err(Error::Missing {
                entry: MANIFEST.to_owned(),
            });
        }
        let Self {
            framer,
            options,
            entries,
            sequence,
            adopted,
            ..
        } = self;
        let Framed {
            mut sink,
            frames,
            mut digests,
            stored,
        } = framer.finish(sequence.last())?;
        for (before, theirs) in adopted {
            digests.splice(before..before, theirs);
        }
        let index = Index {
            codec: options.compression.codec(),
            mtime: options.mtime,
            entries,
            frames,
        };
        let mut tail = Tail::new(&index, &digests);
        tail.signature = sign(&tail.sums)?;
        check_signature(tail.signature.as_deref())?;
        let stored_bytes = write_end(&mut sink, &index, &tail, stored)?;
        let summary = Summary {
            identity: tail.identity(),
            entries: index.entries.len(),
            content_bytes: index.entries.iter().map(|entry| entry.size).sum(),
            stored_bytes,
        };
        Ok((sink, summary))
    }
}

/// Writes everything after the data frames, which end at `start`; returns the length of the archive.
fn write_end(sink: &mut impl Write, index: &Index, tail: &Tail, start: u64) -> Result<u64, Error> {
    let mut sizes: Vec<_> = index.frames.iter().map(|frame| (frame.stored, frame.content)).collect();
    let mut end = start;
    let mut write = |bytes: &[u8]| {
        end += bytes.len() as u64;
        sink.write_all(bytes).map_err(|source| Error::Write { source })
    };
    for (stored, content) in tail::frames(index.codec, &tail.encode(index.mtime)?) {
        write(&stored)?;
        sizes.push((stored.len() as u32, content as u32));
    }
    write(&trailer(index.codec, sizes.into_iter(), start))?;
    sink.flush().map_err(|source| Error::Write { source })?;
    Ok(end)
}

/// An entry that is being written. It must be [finished](EntryWriter::finish): a writer whose entry was dropped before
/// refuses everything after.
pub struct EntryWriter<'a, W: Write> {
    writer: &'a mut Writer<W>,
    header: Header,
    /// Where the header was left out until the size is known.
    later: Option<Later>,
    /// Of the content, in the tar stream.
    offset: u64,
    size: Option<u64>,
    /// The size, or the largest that there may be.
    most: u64,
    written: u64,
}

impl<W: Write> EntryWriter<'_, W> {
    /// Bytes that are still to be given, or may be.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.most - self.written
    }

    /// Adds content.
    ///
    /// # Errors
    /// [`Error::Size`] where it is more than was announced, [`Error::TooLarge`], [`Error::Write`].
    pub fn append(&mut self, mut content: &[u8]) -> Result<(), Error> {
        if content.len() as u64 > self.remaining() {
            return Err(self.wrong_size(self.written + content.len() as u64));
        }
        while !content.is_empty() {
            let space = self.writer.framer.space();
            let count = content.len().min(space.len());
            space[..count].copy_from_slice(&content[..count]);
            content = &content[count..];
            self.filled(count)?;
        }
        Ok(())
    }

    /// Adds all content that `reader` yields; large pieces are read where they are compressed.
    ///
    /// # Errors
    /// [`Error::Size`] where it is more than was announced, [`Error::Content`] where it cannot be read, [`Error::TooLarge`],
    /// [`Error::Write`].
    pub fn append_from(&mut self, mut reader: impl Read) -> Result<(), Error> {
        while self.remaining() > 0 {
            let most = usize::try_from(self.remaining()).unwrap_or(usize::MAX);
            let space = self.writer.framer.space();
            let length = space.len().min(most);
            match self.read(&mut reader, length)? {
                0 => return Ok(()),
                count => self.filled(count)?,
            }
        }
        let mut surplus = [0];
        match retry(&mut reader, &mut surplus).map_err(|source| self.unreadable(source))? {
            0 => Ok(()),
            _ => Err(self.wrong_size(self.most + 1)),
        }
    }

    fn read(&mut self, reader: &mut impl Read, length: usize) -> Result<usize, Error> {
        let space = &mut self.writer.framer.space()[..length];
        retry(reader, space).map_err(|source| self.unreadable(source))
    }

    fn filled(&mut self, count: usize) -> Result<(), Error> {
        self.written += count as u64;
        self.writer.framer.filled(count, self.header.path.as_str())
    }

    /// Ends the entry.
    ///
    /// # Errors
    /// [`Error::Size`] where less was given than announced, [`Error::Write`].
    pub fn finish(mut self) -> Result<(), Error> {
        if self.size.is_some_and(|size| size != self.written) {
            return Err(self.wrong_size(self.written));
        }
        let (later, name) = (self.later.take(), self.header.path.as_str());
        let framer = &mut self.writer.framer;
        framer.end_content();
        framer.append(&[0; super::header::BLOCK][..padding(self.written)], name)?;
        if let Some(later) = later {
            self.header.size = self.written;
            framer.fill(later, &self.header.encode(), self.header.path.as_str())?;
        } else if self.written >= LARGE_ENTRY {
            framer.cut(name)?;
        }
        self.writer.position = self.offset + self.written + padding(self.written) as u64;
        self.writer.entries.push(Entry {
            path: self.header.path,
            size: self.written,
            offset: self.offset,
        });
        self.writer.poisoned = false;
        Ok(())
    }

    /// Too much or too little.
    fn wrong_size(&self, given: u64) -> Error {
        let entry = self.header.path.to_string();
        match self.size {
            Some(size) => Error::Size { entry, size, given },
            None => Error::TooLarge {
                entry,
                size: given,
                limit: self.most,
            },
        }
    }

    fn unreadable(&self, source: io::Error) -> Error {
        Error::Content {
            entry: self.header.path.to_string(),
            source,
        }
    }
}

impl<W: Write> Write for EntryWriter<'_, W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.append(content)?;
        Ok(content.len())
    }

    /// Does nothing: frames are written when they are full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One read that is not interrupted.
fn retry(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
