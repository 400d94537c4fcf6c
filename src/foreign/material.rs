//! All of an archive, of whatever form, at hand in any order: what sealing and converting are made of.
//!
//! Invariants: the archive is read and decompressed once. Its content is verified as far as its form allows before any of it
//! is handed out; nothing is held in memory but documents. What was compressed as a whole is kept in an unnamed file that
//! is gone when ckpt is; a plain tar stays where it is. containerd's layer has become a plain tar and a list.

use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use super::error::Error;
use super::family::Family;
use super::layer;
use super::names::{DELETED, DIFF, OURS};
use super::reader::Reader;
use super::stop::Stop;
use super::stream::Stream;
use super::verify::{Verified, check_tree, is_tree};
use crate::archive::format::SIGNATURE;
use crate::archive::limits::MAX_JSON;
use crate::archive::{self, ArchivePath, Codec, Indexed, Limits, ReaderOptions, Source};
use crate::event::{Event, Events, Phase};
use crate::manifest::Manifest;
use crate::tree;

/// Bytes that are copied at a time.
const BUFFER: usize = 128 << 10;

/// How an archive is read.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions<'a> {
    /// Where an unnamed file is made for what cannot be read twice.
    pub spool: &'a Path,
    /// Threads that decompress archives of ckpt.
    pub threads: NonZeroUsize,
    /// Bounds.
    pub limits: Limits,
    /// Whether to stop.
    pub stop: Stop<'a>,
}

/// See the module.
#[derive(Debug)]
pub struct Material {
    /// What it describes.
    pub manifest: Manifest,
    /// Seconds since 1970 of the checkpoint.
    pub time: u64,
    /// Whether ckpt made it, so that all of it was verified by its checksums.
    pub ours: bool,
    /// Whether it is signed: the signature is of its checksums, and of no other archive's.
    pub(super) signed: bool,
    /// What whoever restores it should know.
    pub notes: Vec<String>,
    items: Vec<Item>,
    threads: NonZeroUsize,
}

/// An entry.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its name.
    pub path: ArchivePath,
    /// Its size, bytes.
    pub size: u64,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    File(Arc<File>, u64),
    Memory(Arc<[u8]>),
    Indexed(Arc<Indexed>),
}

impl Item {
    /// An entry whose content is in memory.
    pub(super) fn new(path: ArchivePath, content: Vec<u8>) -> Self {
        Self {
            path,
            size: content.len() as u64,
            place: Place::Memory(content.into()),
        }
    }

    /// An entry whose content is all of a file.
    pub(super) fn of_file(path: ArchivePath, file: File) -> Result<Self, Error> {
        let size = file.metadata().map_err(|source| Error::Spool { source })?.len();
        let place = Place::File(Arc::new(file), 0);
        Ok(Self { path, size, place })
    }
}

impl Material {
    /// Reads an archive.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn read(mut source: Source, options: ReadOptions<'_>, events: &dyn Events) -> Result<Self, Error> {
        events.emit(Event::Phase {
            phase: Phase::Verify,
            total: source.length(),
        });
        match Family::of(&mut source)? {
            Family::Ckpt if source.is_seekable() => Self::of_indexed(source.file()?, options),
            Family::Ckpt => Self::of_stream(source, options),
            Family::Foreign { plain } => {
                let plain = (plain && source.is_seekable())
                    .then(|| source.file().map(Arc::new))
                    .transpose()?;
                Self::of_foreign(source, plain, options, events)
            }
        }
    }

    /// Its entries.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The entry of this name.
    #[must_use]
    pub fn item(&self, name: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.path.as_str() == name)
    }

    /// The content of an entry.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn open<'a>(&self, item: &'a Item) -> Result<Box<dyn Read + 'a>, Error> {
        Ok(match &item.place {
            Place::Memory(content) => Box::new(&**content),
            Place::File(file, offset) => Box::new(Part {
                file,
                at: *offset,
                left: item.size,
            }),
            Place::Indexed(archive) => match archive.entry(item.path.as_str(), self.threads)? {
                Some(content) => Box::new(content),
                None => Box::new(io::empty()),
            },
        })
    }

    /// The whole content of a small entry.
    ///
    /// # Errors
    /// Where it cannot be read, or is too large.
    pub fn text(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(item) = self.item(name) else { return Ok(None) };
        if item.size > MAX_JSON {
            return Err(Error::TooLarge {
                entry: name.to_owned(),
                size: item.size,
                limit: MAX_JSON,
            });
        }
        let mut text = Vec::new();
        self.open(item)?.read_to_end(&mut text).map_err(of_content)?;
        Ok(Some(text))
    }

    /// An archive of ckpt's, every byte of which is checked here or when it is read.
    fn of_indexed(file: File, options: ReadOptions<'_>) -> Result<Self, Error> {
        let archive = Arc::new(Indexed::open(file)?);
        let items = archive.index().entries().iter().map(|entry| Item {
            path: entry.path.clone(),
            size: entry.size,
            place: Place::Indexed(Arc::clone(&archive)),
        });
        let signed = archive.closing().iter().any(|(name, _)| *name == SIGNATURE);
        let manifest = archive.manifest().clone();
        let ours = Self::ours(manifest, archive.index().mtime(), items.collect(), options);
        Ok(Self { signed, ..ours })
    }

    /// The same through a pipe.
    fn of_stream(source: impl Read, options: ReadOptions<'_>) -> Result<Self, Error> {
        let reading = ReaderOptions {
            threads: options.threads,
            limits: options.limits,
            length: None,
        };
        let mut spool = Spool::new(options.spool)?;
        let mut reader = archive::Reader::new(source, reading)?;
        let mut places = Vec::new();
        while let Some(mut entry) = reader.next()? {
            let (path, size) = (entry.entry().path.clone(), entry.entry().size);
            places.push((path, size, spool.copy(&mut entry)?));
        }
        let manifest = reader.manifest().clone();
        let proof = reader.finish()?;
        let file = spool.finish()?;
        let items = places.into_iter().map(|(path, size, offset)| Item {
            path,
            size,
            place: Place::File(Arc::clone(&file), offset),
        });
        Ok(Self {
            signed: proof.signature.is_some(),
            ..Self::ours(manifest, proof.index.mtime(), items.collect(), options)
        })
    }

    fn ours(manifest: Manifest, time: u64, items: Vec<Item>, options: ReadOptions<'_>) -> Self {
        let items = items.into_iter().filter(|item| !OURS.contains(&item.path.as_str()));
        Self {
            manifest,
            time,
            ours: true,
            signed: false,
            notes: Vec::new(),
            items: items.collect(),
            threads: options.threads,
        }
    }

    /// An archive of another engine. `plain` is the file that it is a plain tar in, where content can be found again.
    fn of_foreign(
        source: impl Read + Send + 'static,
        plain: Option<Arc<File>>,
        options: ReadOptions<'_>,
        events: &dyn Events,
    ) -> Result<Self, Error> {
        let mut spool = plain.is_none().then(|| Spool::new(options.spool)).transpose()?;
        let mut reader = Reader::ahead(source, options.limits)?;
        let mut places = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            let offset = take_in(&mut reader, &entry.path, spool.as_mut(), options)?;
            places.push((entry.path.clone(), entry.size, offset.unwrap_or(entry.offset)));
            let bytes = reader.stored_bytes();
            events.emit(Event::Progress { bytes });
        }
        let Verified { outline, manifest } = Verified::of(reader.finish()?)?;
        let time = u64::try_from(outline.time()).unwrap_or(0);
        if let Some(entry) = outline.parent {
            return Err(Error::Incremental { entry });
        }
        let file = match (plain, spool) {
            (Some(file), _) => file,
            (None, Some(spool)) => spool.finish()?,
            (None, None) => return Err(Error::Unknown),
        };
        let items = places.into_iter().map(|(path, size, offset)| Item {
            path,
            size,
            place: Place::File(Arc::clone(&file), offset),
        });
        let mut material = Self {
            manifest,
            time,
            ours: false,
            signed: false,
            notes: outline.faults.notes,
            items: items.collect(),
            threads: options.threads,
        };
        material.flatten_layer(options)?;
        Ok(material)
    }

    /// Makes containerd's layer the plain tar and the list that everybody else has.
    fn flatten_layer(&mut self, options: ReadOptions<'_>) -> Result<(), Error> {
        let Some(item) = self.item(DIFF).cloned() else {
            return Ok(());
        };
        let layer = Stream::new(self.open(&item)?, options.limits)?;
        if layer.codec() == Codec::None {
            return Ok(());
        }
        let mut spool = Spool::new(options.spool)?;
        let limits = tree::Limits {
            bytes: options.limits.content,
            ..tree::Limits::default()
        };
        let deleted = layer::to_changes(layer, &mut spool, limits)?;
        let changes = Item::of_file(item.path.clone(), spool.into_file()?)?;
        self.replace(changes);
        if !deleted.is_empty() && self.item(DELETED).is_none() {
            self.replace(Item::new(path(DELETED)?, tree::deleted::format(&deleted)));
        }
        Ok(())
    }

    /// Leaves an entry out.
    pub(super) fn remove(&mut self, name: &ArchivePath) {
        self.items.retain(|item| item.path != *name);
    }

    /// Gives an entry another name.
    pub(super) fn rename(&mut self, from: &str, to: ArchivePath) {
        if let Some(item) = self.items.iter_mut().find(|item| item.path.as_str() == from) {
            item.path = to;
        }
    }

    /// Puts an entry in the place of that of its name, or adds it.
    pub(super) fn replace(&mut self, item: Item) {
        self.items.retain(|other| other.path != item.path);
        self.items.push(item);
    }
}

/// The name of an entry that is known to be one.
pub(super) fn path(name: &str) -> Result<ArchivePath, Error> {
    Ok(ArchivePath::try_from(name)?)
}

/// Checks an entry where it is a tar of files, and keeps it.
fn take_in<R: Read>(
    reader: &mut Reader<R>,
    path: &ArchivePath,
    spool: Option<&mut Spool>,
    options: ReadOptions<'_>,
) -> Result<Option<u64>, Error> {
    let tree = is_tree(path.as_str());
    let mut content = options.stop.watch(reader);
    let Some(spool) = spool else {
        if tree {
            check_tree(path.as_str(), &mut content, options.limits)?;
        }
        io::copy(&mut content, &mut io::sink()).map_err(of_content)?;
        return Ok(None);
    };
    let offset = spool.length;
    if tree {
        let content = &mut content;
        check_tree(path.as_str(), &mut Tee { content, spool }, options.limits)?;
    }
    // All of it, or what the check had no reason to look at.
    spool.copy(&mut content)?;
    Ok(Some(offset))
}

/// Copies content of which the size was promised.
pub(super) fn copy_exactly(mut content: impl Read, size: u64, out: &mut impl Write) -> Result<(), Error> {
    let mut buffer = vec![0; BUFFER];
    let mut left = size;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = content.read(&mut buffer[..want]).map_err(of_content)?;
        if count == 0 {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(Error::Read { source });
        }
        out.write_all(&buffer[..count])
            .map_err(|source| Error::Write { source })?;
        left -= count as u64;
    }
    // ckpt's own say at the very end whether all of it was right.
    let rest = content.read(&mut buffer).map_err(of_content)?;
    debug_assert_eq!(rest, 0);
    Ok(())
}

/// What is wrong with content that was read.
pub(super) fn of_content(error: io::Error) -> Error {
    match archive::Error::from_io(error) {
        Ok(error) => Error::Archive(error),
        Err(error) => Error::from_io(error),
    }
}

/// Content in an unnamed file.
#[derive(Debug)]
pub(super) struct Spool {
    file: io::BufWriter<File>,
    length: u64,
}

impl Spool {
    pub(super) fn new(directory: &Path) -> Result<Self, Error> {
        let file = tempfile::tempfile_in(directory).map_err(|source| Error::Spool { source })?;
        Ok(Self {
            file: io::BufWriter::with_capacity(BUFFER, file),
            length: 0,
        })
    }

    /// Takes all that is left of `content`; returns where it begins.
    fn copy(&mut self, content: &mut dyn Read) -> Result<u64, Error> {
        let offset = self.length;
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = content.read(&mut buffer).map_err(of_content)?;
            if count == 0 {
                return Ok(offset);
            }
            self.write_all(&buffer[..count])
                .map_err(|source| Error::Spool { source })?;
        }
    }

    fn finish(self) -> Result<Arc<File>, Error> {
        self.into_file().map(Arc::new)
    }

    pub(super) fn into_file(self) -> Result<File, Error> {
        self.file.into_inner().map_err(|error| Error::Spool {
            source: error.into_error(),
        })
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Keeps what is read.
struct Tee<'a, R: Read> {
    content: &'a mut R,
    spool: &'a mut Spool,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        let kept = self.spool.write_all(&buffer[..count]);
        kept.map_err(|source| io::Error::from(Error::Spool { source }))?;
        Ok(count)
    }
}

/// A part of a file.
struct Part<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..want], self.at)?;
        if count == 0 && want > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
