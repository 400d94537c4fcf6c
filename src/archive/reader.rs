//! Reads an archive from front to back: strict, bounded, decoded and hashed by several threads.
//!
//! Invariants: what is yielded is not verified until [`Reader::finish`] has returned a [`Proof`]. Every byte of the
//! archive is accounted for: data frames by the digests in the index, the index by `SHA256SUMS`, that by what was read, and
//! everything else has only one encoding. After an error the reader refuses everything.

use std::io::{self, BufRead, Read};
use std::num::NonZeroUsize;

use super::digest::Digest;
use super::error::{Error, FrameProblem, HeaderProblem, TailProblem, TrailerProblem};
use super::format::{INDEX, SIGNATURE, SUMS, Sequence};
use super::frames::{Codec, trailer};
use super::header::{BLOCK, Header, padding};
use super::index::{self, Entry, Index};
use super::limits::{Limits, MAX_EXPLAINED};
use super::opening::Opening;
use super::sums;
use super::tail::{Tail, check_signature};
use super::tarstream::TarStream;
use crate::manifest::Manifest;

/// How an archive is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderOptions {
    /// Threads that decompress.
    pub threads: NonZeroUsize,
    /// Bounds.
    pub limits: Limits,
    /// Length of the archive, where it is known: a bomb is refused the sooner.
    pub length: Option<u64>,
}

impl Default for ReaderOptions {
    /// A thread for each processor, the default bounds.
    fn default() -> Self {
        Self {
            threads: super::available_threads(),
            limits: Limits::default(),
            length: None,
        }
    }
}

/// An archive whose every byte was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// SHA-256 of `SHA256SUMS`.
    pub identity: Digest,
    /// What is where.
    pub index: Index,
    /// Digests of the entries' content, in the order of the index.
    pub digests: Vec<Digest>,
    /// Content of `SHA256SUMS`, which a signature signs.
    pub sums: Vec<u8>,
    /// Content of `SHA256SUMS.sig`, which was **not** checked.
    pub signature: Option<Vec<u8>>,
    /// Length of the archive, bytes.
    pub stored_bytes: u64,
}

impl Proof {
    /// The entries after those of the index, with their content: `index.json`, `SHA256SUMS`, a signature.
    #[must_use]
    pub fn closing(&self) -> Vec<(&'static str, Vec<u8>)> {
        let tail = Tail::new(&self.index, &self.digests);
        tail.signed(self.signature.clone()).entries()
    }
}

/// An archive that is being read.
pub struct Reader<R> {
    stream: TarStream<R>,
    limits: Limits,
    length: Option<u64>,
    sequence: Sequence,
    entries: Vec<Entry>,
    mtime: u64,
    /// Content bytes of all entries so far.
    content: u64,
    /// Content of the current entry that was not read yet.
    remaining: u64,
    /// Padding of the current entry that was not checked yet.
    padding: usize,
    /// Size of `index.json`, once its header was read.
    index: Option<u64>,
    poisoned: bool,
    manifest: Manifest,
    manifest_text: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Begins to read an archive: detects the compression, reads the manifest and checks its version.
    ///
    /// # Errors
    /// [`Error::NotAnArchive`], [`Error::NoManifest`], [`Error::TooNew`], [`Error::TooOld`], [`Error::Manifest`], and
    /// whatever may be wrong with the first entry.
    pub fn new(source: R, options: ReaderOptions) -> Result<Self, Error> {
        let mut stream = TarStream::new(source, options.threads, options.limits)?;
        let Opening { header, text, manifest } = Opening::read(&mut stream)?;
        let mut sequence = Sequence::default();
        sequence.admit(&header.path, header.size)?;
        let entry = Entry {
            size: header.size,
            offset: header.encoded_len(),
            path: header.path,
        };
        Ok(Self {
            stream,
            limits: options.limits,
            length: options.length,
            sequence,
            content: entry.size,
            entries: vec![entry],
            mtime: header.mtime,
            remaining: 0,
            padding: 0,
            index: None,
            poisoned: false,
            manifest,
            manifest_text: text,
        })
    }

    /// The manifest; not verified yet.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The content of `ckpt.json`; not verified yet.
    pub fn manifest_text(&self) -> &[u8] {
        &self.manifest_text
    }

    /// What the archive is compressed with.
    pub fn codec(&self) -> Codec {
        self.stream.frames().codec()
    }

    /// The entries so far, with the manifest as the first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes of the archive that were read so far.
    pub fn stored_bytes(&self) -> u64 {
        self.stream.frames().offset()
    }

    /// The next entry after the manifest, or `None` before `index.json`. What was not read of the one before is skipped.
    ///
    /// # Errors
    /// Whatever may be wrong with the archive so far.
    #[expect(clippy::should_implement_trait, reason = "an entry borrows the reader")]
    pub fn next(&mut self) -> Result<Option<EntryReader<'_, R>>, Error> {
        Ok(if self.guarded(Self::advance)? {
            Some(EntryReader { reader: self })
        } else {
            None
        })
    }

    /// Skips what was not read, checks the end of the archive, and with it everything before.
    ///
    /// # Errors
    /// Whatever is wrong with the archive: it must not be used.
    pub fn finish(mut self) -> Result<Proof, Error> {
        while self.next()?.is_some() {}
        let digests = self.stream.digests()?;
        let index = Index {
            codec: self.codec(),
            mtime: self.mtime,
            frames: self.stream.frames().frames()[..self.stream.data_frames()].to_vec(),
            entries: std::mem::take(&mut self.entries),
        };
        let tail = Tail::new(&index, &digests);
        let size = self.index.unwrap_or_default();
        self.expect_content(size, &tail.index, |found| index::explain(&index, found))?;
        let size = self
            .tail_header(SUMS)?
            .ok_or_else(|| Error::Missing { entry: SUMS.to_owned() })?;
        self.expect_content(size, &tail.sums, |found| sums::explain(&tail.sums, found))?;
        let signature = self.signature()?;
        self.end(&index)?;
        Ok(Proof {
            identity: tail.identity(),
            index,
            digests,
            sums: tail.sums,
            signature,
            stored_bytes: self.stream.frames().offset(),
        })
    }

    /// An error is the end of a reader.
    fn guarded<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if std::mem::replace(&mut self.poisoned, true) {
            return Err(Error::Poisoned);
        }
        let result = step(self)?;
        self.poisoned = false;
        Ok(result)
    }

    /// Goes to the next entry; false where it is `index.json`.
    fn advance(&mut self) -> Result<bool, Error> {
        if self.index.is_some() {
            return Ok(false);
        }
        self.skip_content()?;
        let stored = self.stream.at_stored_frame()?;
        let header = self.header()?.ok_or_else(|| Error::Missing {
            entry: INDEX.to_owned(),
        })?;
        if header.path.as_str() == INDEX {
            if !stored {
                let (offset, entry) = (self.stream.frame_offset(), INDEX.to_owned());
                return Err(Error::Frame {
                    offset,
                    entry,
                    problem: FrameProblem::Tail,
                });
            }
            self.stream.begin_tail();
            self.index = Some(header.size);
            return Ok(false);
        }
        self.begin_content(header)?;
        Ok(true)
    }

    fn begin_content(&mut self, header: Header) -> Result<(), Error> {
        self.content = self.content.saturating_add(header.size);
        let (entry, content) = (header.path.to_string(), self.content);
        if content > self.limits.content {
            return Err(Error::TooMuchContent {
                entry,
                content,
                limit: self.limits.content,
            });
        }
        let bomb = |length| self.limits.is_bomb(content, length);
        if self.length.is_some_and(bomb) {
            return Err(Error::Expansion {
                entry,
                limit: self.limits.expansion,
            });
        }
        self.remaining = header.size;
        self.padding = padding(header.size);
        self.entries.push(Entry {
            path: header.path,
            size: header.size,
            offset: self.stream.position(),
        });
        if header.size == 0 {
            self.stream.end_content();
        }
        Ok(())
    }

    /// The content of the current entry that is at hand; empty at its end.
    fn chunk(&mut self) -> Result<&[u8], Error> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        if self.stream.chunk()?.is_empty() {
            return Err(self.stream.truncated());
        }
        let count = self.at_hand();
        Ok(&self.stream.chunk()?[..count])
    }

    /// Length of the chunk that was handed out last.
    fn at_hand(&self) -> usize {
        self.stream
            .at_hand()
            .min(usize::try_from(self.remaining).unwrap_or(usize::MAX))
    }

    /// Takes `count` bytes of [`Reader::chunk`].
    fn consume(&mut self, count: usize) {
        if count > 0 {
            self.stream.consume_content(count);
            self.remaining -= count as u64;
            if self.remaining == 0 {
                self.stream.end_content();
            }
        }
    }

    /// Goes to the end of the current entry.
    fn skip_content(&mut self) -> Result<(), Error> {
        while self.remaining > 0 {
            let count = self.chunk()?.len();
            self.consume(count);
        }
        self.stream.take_padding(std::mem::take(&mut self.padding))
    }

    /// The next header, or `None` for a zero block.
    fn header(&mut self) -> Result<Option<Header>, Error> {
        let Some(header) = self.stream.header()? else {
            return Ok(None);
        };
        if header.mtime != self.mtime {
            let offset = self.stream.position() - header.encoded_len();
            return Err(Error::Header {
                entry: header.path.to_string(),
                offset,
                problem: HeaderProblem::Mtime,
            });
        }
        self.sequence.admit_header(&header)?;
        Ok(Some(header))
    }

    /// The size of the entry of this name, if it comes next; `None` for a zero block.
    fn tail_header(&mut self, name: &str) -> Result<Option<u64>, Error> {
        match self.header()? {
            Some(header) if header.path.as_str() == name => Ok(Some(header.size)),
            // The order leaves only the signature in the place of the digests.
            Some(_) => Err(Error::Missing { entry: name.to_owned() }),
            None => Ok(None),
        }
    }

    /// The content of an entry at the end, which its kind bounds, and its padding.
    fn tail_content(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        self.stream
            .take(usize::try_from(size).unwrap_or(usize::MAX), &mut content)?;
        self.stream.take_padding(padding(size))?;
        Ok(content)
    }

    fn expect_content(
        &mut self,
        size: u64,
        expected: &[u8],
        explain: impl FnOnce(&[u8]) -> Error,
    ) -> Result<(), Error> {
        if size != expected.len() as u64 && size > MAX_EXPLAINED {
            let entry = self.stream.entry.clone();
            return Err(Error::Tail {
                entry,
                problem: TailProblem::Malformed,
            });
        }
        let found = self.tail_content(size)?;
        if found == expected {
            Ok(())
        } else {
            Err(explain(&found))
        }
    }

    fn signature(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let Some(size) = self.tail_header(SIGNATURE)? else {
            return Ok(None);
        };
        let text = self.tail_content(size)?;
        check_signature(Some(&text))?;
        // Behind it nothing but the end can come.
        match self.header()? {
            None => Ok(Some(text)),
            Some(header) => Err(Error::Unknown {
                entry: header.path.to_string(),
            }),
        }
    }

    /// After the first zero block: the second, and what is behind the frames.
    fn end(&mut self, index: &Index) -> Result<(), Error> {
        let bad = |offset, problem| Err(Error::Trailer { offset, problem });
        let place = self.stream.place();
        let mut block = Vec::with_capacity(BLOCK);
        self.stream.take(BLOCK, &mut block)?;
        if block.iter().any(|&byte| byte != 0) {
            return bad(place, TrailerProblem::EndMark);
        }
        if !self.stream.chunk()?.is_empty() {
            return bad(self.stream.place(), TrailerProblem::TrailingData);
        }
        let frames = self.stream.frames().frames();
        let start = index.frames.iter().map(|frame| u64::from(frame.stored)).sum();
        let trailer = trailer(
            index.codec,
            frames.iter().map(|frame| (frame.stored, frame.content)),
            start,
        );
        self.stream.finish(&trailer)
    }
}

/// The content of an entry, not verified yet. Errors of [`Read`] carry an [`Error`], see [`Error::from_io`].
pub struct EntryReader<'a, R> {
    reader: &'a mut Reader<R>,
}

impl<R: Read> EntryReader<'_, R> {
    /// The entry.
    pub fn entry(&self) -> &Entry {
        // An entry reader exists only after its entry was pushed, and the manifest before that.
        &self.reader.entries[self.reader.entries.len() - 1]
    }

    /// Bytes of the archive that were read so far.
    pub fn stored_bytes(&self) -> u64 {
        self.reader.stored_bytes()
    }

    /// The content that is at hand, without copying; empty at the end.
    ///
    /// # Errors
    /// Whatever may be wrong with the archive so far.
    pub fn chunk(&mut self) -> Result<&[u8], Error> {
        self.reader.guarded(|reader| reader.chunk().map(drop))?;
        self.reader.chunk()
    }

    /// Takes `count` bytes of [`EntryReader::chunk`].
    pub fn consume(&mut self, count: usize) {
        // More than the chunk that was handed out is a mistake of the caller; no more is taken.
        let most = self.reader.at_hand();
        self.reader.consume(count.min(most));
    }
}

impl<R: Read> Read for EntryReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.chunk()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for EntryReader<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.chunk()?)
    }

    fn consume(&mut self, count: usize) {
        self.consume(count);
    }
}
