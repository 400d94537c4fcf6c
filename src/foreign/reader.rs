//! Reads an archive of another engine from front to back: bounded, in one pass, whatever the order of its entries.
//!
//! Invariants: an entry is a plain file of a name that is safe to join to a directory, and no name comes twice; anything
//! else is an error that names it. What is small and describes the container is kept on the way, and CRIU's images are
//! looked at as they pass, so that one pass is enough for everything that `inspect` and `verify` say.

use std::collections::BTreeSet;
use std::io::{self, Read};

use super::ahead::Ahead;
use super::document::{Documents, LOG_KEPT};
use super::error::Error;
use super::images::{Faults, Images, Watch};
use super::names::{DIRECTORIES, DOCUMENTS, INVENTORY, LOG, OURS, PARENT, max_size};
use super::stream::Stream;
use crate::archive::limits::MAX_ENTRIES;
use crate::archive::{ArchivePath, Codec, Limits};
use crate::tree::{self, Kind};

/// Where the images are that an incremental dump of podman refers to.
const PARENT_TARGET: &[u8] = b"../pre-checkpoint";
/// Longest name of an entry as tars spell it, bytes; [`ArchivePath`] allows less.
const MAX_SPELLING: usize = 4096;
/// Bytes of a PAX header: names and times, no attributes of container files.
const MAX_PAX: u64 = 64 << 10;
/// Bytes that are read at a time where nobody wants them.
const BUFFER: usize = 256 << 10;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub path: ArchivePath,
    /// Its size, bytes.
    pub size: u64,
    /// When it was last modified, seconds since 1970.
    pub mtime: i64,
    /// Where its content begins in the decompressed tar.
    pub offset: u64,
}

/// Everything that one pass tells of an archive.
#[derive(Debug)]
pub struct Outline {
    /// Its entries, in their order.
    pub entries: Vec<Entry>,
    /// How it is compressed.
    pub codec: Codec,
    /// Its length, bytes.
    pub stored_bytes: u64,
    /// What describes the container.
    pub documents: Documents,
    /// What does not fit together in CRIU's images, and what is strange in them.
    pub faults: Faults,
    /// The link to earlier images, where the dump is incremental.
    pub parent: Option<String>,
}

impl Outline {
    /// Bytes of the content of all entries.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }

    /// Whether it has an entry of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.path.as_str() == name)
    }

    /// When the checkpoint was taken, seconds since 1970: the time of CRIU's inventory, or the newest there is.
    #[must_use]
    pub fn time(&self) -> i64 {
        let inventory = self.entries.iter().find(|entry| entry.path.as_str() == INVENTORY);
        let newest = || self.entries.iter().map(|entry| entry.mtime).max();
        inventory.map(|entry| entry.mtime).or_else(newest).unwrap_or(0)
    }
}

/// See the module.
pub struct Reader<R: Read> {
    tar: tree::Reader<Stream<R>>,
    entries: Vec<Entry>,
    names: BTreeSet<ArchivePath>,
    documents: Documents,
    images: Images,
    watch: Watch,
    /// Content of the current entry that is in memory already.
    ready: io::Cursor<Vec<u8>>,
    parent: Option<String>,
    scratch: Box<[u8]>,
}

impl Reader<Ahead> {
    /// As [`Reader::new`], with threads of their own that read the file and that decompress, each ahead of the next: for whoever
    /// wants one pass to take no longer than its decompression.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Compression`].
    pub fn ahead(source: impl Read + Send + 'static, limits: Limits) -> Result<Self, Error> {
        let source = Ahead::of(source).map_err(Error::from_io)?;
        Ok(Self::of(Stream::new(source, limits)?.ahead()?, limits))
    }
}

impl<R: Read> Reader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Compression`].
    pub fn new(source: R, limits: Limits) -> Result<Self, Error> {
        Ok(Self::of(Stream::new(source, limits)?, limits))
    }

    fn of(stream: Stream<R>, limits: Limits) -> Self {
        let bounds = tree::Limits {
            entries: 2 * MAX_ENTRIES as u64,
            bytes: limits.content,
            path: MAX_SPELLING,
            pax: MAX_PAX,
            ..tree::Limits::default()
        };
        Self {
            tar: tree::Reader::new(stream, bounds),
            entries: Vec::new(),
            names: BTreeSet::new(),
            documents: Documents::default(),
            images: Images::default(),
            watch: Watch::default(),
            ready: io::Cursor::default(),
            parent: None,
            scratch: vec![0; BUFFER].into(),
        }
    }

    /// The next entry, whose content is then read from this reader; what is left of the one before is read through.
    ///
    /// # Errors
    /// Whatever is wrong with the archive up to there.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.skip()?;
        while let Some(found) = self.tar.next_entry().map_err(Error::of_tar)? {
            if let Some(entry) = self.admit(&found)? {
                self.begin(&entry)?;
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Bytes of the archive that were read so far.
    pub fn stored_bytes(&self) -> u64 {
        self.tar.input().stored_bytes()
    }

    /// Reads what is left.
    ///
    /// # Errors
    /// Whatever is wrong with the archive.
    pub fn finish(mut self) -> Result<Outline, Error> {
        while self.next_entry()?.is_some() {}
        let stream = self.tar.into_inner();
        Ok(Outline {
            codec: stream.codec(),
            stored_bytes: stream.stored_bytes(),
            faults: self.images.finish(),
            entries: self.entries,
            documents: self.documents,
            parent: self.parent,
        })
    }

    /// Reads content of the current entry; 0 at its end.
    ///
    /// # Errors
    /// Whatever is wrong with the archive.
    pub fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let held = self.ready.read(buffer).unwrap_or(0);
        if held > 0 {
            return Ok(held);
        }
        let count = self.tar.read_data(buffer).map_err(Error::of_tar)?;
        self.watch.more(&buffer[..count]);
        Ok(count)
    }

    fn skip(&mut self) -> Result<(), Error> {
        self.ready = io::Cursor::default();
        let mut scratch = std::mem::take(&mut self.scratch);
        while self.read_content(&mut scratch)? > 0 {}
        self.scratch = scratch;
        self.images.take_in(std::mem::take(&mut self.watch));
        Ok(())
    }

    /// Judges a header. `None` for a directory, which is nothing but the place of entries.
    fn admit(&mut self, found: &tree::Entry) -> Result<Option<Entry>, Error> {
        let spelled = found.path.to_string();
        let size = match &found.kind {
            Kind::File { size, sparse: None } => *size,
            Kind::Directory if found.path.is_root() || DIRECTORIES.contains(&spelled.as_str()) => return Ok(None),
            Kind::Symlink(target) if spelled == PARENT && target == PARENT_TARGET => {
                self.parent = Some(spelled);
                return Ok(None);
            }
            other => {
                let found = what(other);
                return Err(Error::Kind { entry: spelled, found });
            }
        };
        let path = ArchivePath::try_from(found.path.as_bytes())?;
        if OURS.contains(&path.as_str()) {
            return Err(Error::Ours { entry: spelled });
        }
        let limit = max_size(path.as_str());
        if size > limit {
            return Err(Error::TooLarge {
                entry: spelled,
                size,
                limit,
            });
        }
        if self.entries.len() >= MAX_ENTRIES {
            return Err(Error::TooMany {
                entry: spelled,
                limit: MAX_ENTRIES,
            });
        }
        if !self.names.insert(path.clone()) {
            return Err(Error::Repeated { entry: spelled });
        }
        let entry = Entry {
            path,
            size,
            mtime: found.meta.mtime.sec,
            offset: self.tar.input().content_bytes(),
        };
        self.entries.push(entry.clone());
        Ok(Some(entry))
    }

    /// Takes in what is to be known of an entry before anybody reads it.
    fn begin(&mut self, entry: &Entry) -> Result<(), Error> {
        self.watch = self.images.watch(&entry.path, entry.size);
        let name = entry.path.as_str();
        let kept = match name {
            LOG => entry.size.min(LOG_KEPT),
            _ => entry.size,
        };
        if DOCUMENTS.contains(&name) || name == LOG {
            let mut text = vec![0; usize::try_from(kept).unwrap_or(0)];
            let mut filled = 0;
            while filled < text.len() {
                match self.tar.read_data(&mut text[filled..]).map_err(Error::of_tar)? {
                    0 => break,
                    count => filled += count,
                }
            }
            self.documents.keep(name, &text);
            self.ready = io::Cursor::new(text);
        }
        Ok(())
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_content(buffer).map_err(io::Error::from)
    }
}

fn what(kind: &Kind) -> &'static str {
    match kind {
        Kind::File { sparse: None, .. } => "a file",
        Kind::File { .. } => "a sparse file",
        Kind::Directory => "a directory",
        Kind::Symlink(_) => "a symbolic link",
        Kind::HardLink(_) => "a hard link",
        Kind::Char(_) | Kind::Block(_) => "a device",
        Kind::Fifo => "a FIFO",
    }
}
