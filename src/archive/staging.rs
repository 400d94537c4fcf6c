//! An archive on its way in: received into a private directory, then verified, then used.
//!
//! ```text
//! Staged::receive(source, …) -> Staged<Unverified> -> verify() -> Staged<Verified> -> open(name), path(), keep()
//! ```
//! A file with frames is extracted by several threads, see [`super::extract`]; a pipe, or a plain tar, is read from front to
//! back. Invariants: only a `Staged<Verified>` hands out content. What is staged is removed on drop. Of a file in which one can
//! seek, nested tars are not staged: import reads them from the archive.
//!
//! What is checked of a file with frames, and when: the end, the index and every header before anything else; every frame
//! against its digest before it is decoded; the content of small entries against `SHA256SUMS` in [`Staged::verify`], that of
//! entries which are read from the archive at their end. Of memory pages, which are nearly all of an archive, only the frames:
//! `index.json` has their digests, and `SHA256SUMS` the digest of `index.json`, so the identity of the archive covers every
//! byte of them without a second digest of the same.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::digest::Digest;
use super::error::Error;
use super::extract::{Blocks, Extraction, Treatment, check_bounds, check_digests};
use super::format::MANIFEST;
use super::frames::Codec;
use super::index::{Entry, Index};
use super::indexed::Indexed;
use super::indexed_entry::IndexedEntry;
use super::path::ArchivePath;
use super::reader::{EntryReader, Reader, ReaderOptions};
use super::source::Source;
use super::sparse::SparseFile;
use super::stagedir::Directory;
use crate::event::{Event, Events, Phase};
use crate::manifest::Manifest;

/// Content between two [`Event::Progress`].
const PROGRESS: u64 = 16 << 20;

/// What is done with each entry of an archive in which one can seek. What comes through a pipe is staged.
pub type Treat<'a> = &'a dyn Fn(&Entry) -> Treatment;

/// Everything was received; not all of it was checked.
pub struct Unverified(Received);

/// How it was received.
enum Received {
    /// From front to back. The file, where one can seek in it.
    Stream {
        reader: Box<Reader<Source>>,
        file: Option<File>,
        treatments: Vec<Treatment>,
    },
    /// By the frames that the index lists.
    Frames {
        archive: Box<Indexed>,
        treatments: Vec<Treatment>,
        threads: NonZeroUsize,
    },
}

/// Every byte that is handed out was checked, or is when it is read from the archive.
pub struct Verified {
    identity: Digest,
    index: Index,
    manifest: Manifest,
    treatments: Vec<Treatment>,
    archive: Option<Box<Indexed>>,
}

/// See the module.
pub struct Staged<S> {
    directory: Directory,
    /// Where entries are that were staged later, see [`Later::parent`].
    elsewhere: Option<Directory>,
    state: S,
}

/// How entries are staged that were left in the archive at first.
pub struct Later<'a> {
    /// What is done with each of them.
    pub treat: Treat<'a>,
    /// Blocks of [`THIN_BLOCK`](super::THIN_BLOCK) bytes of an entry, rising, of which those that are zero may be left out of
    /// its file, where what follows moves up.
    pub optional: &'a dyn Fn(&Entry) -> Option<Blocks>,
    /// The directory to make another one in for them, if they are to be elsewhere than the first.
    pub parent: Option<&'a Path>,
    /// Threads that decompress.
    pub threads: NonZeroUsize,
}

impl Staged<Unverified> {
    /// Receives an archive into a new directory in `parent`, each entry as [`Treatment::eager`] says. Progress is told in
    /// bytes of the archive as it is stored.
    ///
    /// # Errors
    /// Whatever may be wrong with the archive as far as it can be known before the end; [`Error::File`] where something
    /// cannot be staged.
    pub fn receive(source: Source, parent: &Path, options: ReaderOptions, events: &dyn Events) -> Result<Self, Error> {
        Self::receive_as(source, parent, options, &Treatment::eager, events)
    }

    /// The same, each entry as `treat` says.
    ///
    /// # Errors
    /// As [`Staged::receive`].
    pub fn receive_as(
        source: Source,
        parent: &Path,
        options: ReaderOptions,
        treat: Treat<'_>,
        events: &dyn Events,
    ) -> Result<Self, Error> {
        events.emit(Event::Phase {
            phase: Phase::Verify,
            total: source.length(),
        });
        let file = source.is_seekable().then(|| source.file()).transpose()?;
        let options = ReaderOptions {
            length: source.length().or(options.length),
            ..options
        };
        let progress = Progress::new(events);
        if source.has_frames() {
            return Self::extract(Indexed::open(source.file()?)?, parent, options, treat, &progress);
        }
        Self::read(source, file, parent, options, treat, &progress)
    }

    /// By frames.
    fn extract(
        archive: Indexed,
        parent: &Path,
        options: ReaderOptions,
        treat: Treat<'_>,
        progress: &Progress<'_>,
    ) -> Result<Self, Error> {
        check_bounds(&archive, &options.limits)?;
        let directory = Directory::create(parent)?;
        let treatments: Vec<Treatment> = archive.index().entries().iter().map(treat).collect();
        let threads = options.threads;
        Extraction::new(&archive, &directory, treatments.clone()).run(threads, &|stored| progress.more(stored))?;
        let archive = Box::new(archive);
        Ok(Self {
            directory,
            elsewhere: None,
            state: Unverified(Received::Frames {
                archive,
                treatments,
                threads,
            }),
        })
    }

    /// From front to back.
    fn read(
        source: Source,
        file: Option<File>,
        parent: &Path,
        options: ReaderOptions,
        treat: Treat<'_>,
        progress: &Progress<'_>,
    ) -> Result<Self, Error> {
        let mut reader = Box::new(Reader::new(source, options)?);
        let directory = Directory::create(parent)?;
        directory.write(MANIFEST, reader.manifest_text())?;
        let mut treatments = vec![Treatment::Stage];
        while let Some(mut entry) = reader.next()? {
            let treatment = match &file {
                Some(_) => treat(entry.entry()),
                None => Treatment::Stage,
            };
            treatments.push(treatment);
            if treatment == Treatment::Stage {
                receive(&directory, &mut entry, progress)?;
            }
            progress.at(reader.stored_bytes());
        }
        Ok(Self {
            directory,
            elsewhere: None,
            state: Unverified(Received::Stream {
                reader,
                file,
                treatments,
            }),
        })
    }

    /// The manifest as it was received: to refuse early, not to act on.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        match &self.state.0 {
            Received::Stream { reader, .. } => reader.manifest(),
            Received::Frames { archive, .. } => archive.manifest(),
        }
    }

    /// Checks what was not checked on the way.
    ///
    /// # Errors
    /// Whatever is wrong with the archive; what was staged is removed.
    pub fn verify(self) -> Result<Staged<Verified>, Error> {
        let Self {
            directory,
            elsewhere,
            state,
        } = self;
        let state = match state.0 {
            Received::Stream {
                reader,
                file,
                treatments,
            } => verify_stream(*reader, file, treatments)?,
            Received::Frames {
                archive,
                treatments,
                threads,
            } => verify_frames(archive, treatments, &directory, threads)?,
        };
        Ok(Staged {
            directory,
            elsewhere,
            state,
        })
    }
}

/// Checks the end of the archive, and with it every byte.
fn verify_stream(reader: Reader<Source>, file: Option<File>, treatments: Vec<Treatment>) -> Result<Verified, Error> {
    let manifest = reader.manifest().clone();
    let proof = reader.finish()?;
    let archive = file.map(|file| Box::new(Indexed::verified(file, &proof, manifest.clone())));
    Ok(Verified {
        identity: proof.identity,
        index: proof.index,
        manifest,
        treatments,
        archive,
    })
}

/// Every frame was checked already; what is small is checked against `SHA256SUMS` as well.
fn verify_frames(
    archive: Box<Indexed>,
    treatments: Vec<Treatment>,
    directory: &Directory,
    threads: NonZeroUsize,
) -> Result<Verified, Error> {
    check_digests(&archive, directory, &treatments, threads)?;
    Ok(Verified {
        identity: archive.identity(),
        index: archive.index().clone(),
        manifest: archive.manifest().clone(),
        treatments,
        archive: Some(archive),
    })
}

/// Writes the content of an entry, holes where it is zero.
fn receive(directory: &Directory, entry: &mut EntryReader<'_, Source>, progress: &Progress<'_>) -> Result<(), Error> {
    let path = entry.entry().path.clone();
    let mut file = SparseFile::new(directory.create_file(&path)?);
    let failed = |source| directory.failed("write it", &path, source);
    loop {
        let chunk = entry.chunk()?;
        let count = chunk.len();
        if count == 0 {
            break;
        }
        file.append(chunk).map_err(failed)?;
        entry.consume(count);
        progress.at(entry.stored_bytes());
    }
    file.finish().map_err(failed)
}

/// Copies entries out of a plain tar, whose digests are checked as they are read.
fn copy_plain(
    archive: &Indexed,
    directory: &Directory,
    treatments: &[Treatment],
    progress: &Progress<'_>,
) -> Result<(), Error> {
    let entries = archive.index().entries().iter().zip(treatments);
    for (entry, _) in entries.filter(|(_, treatment)| **treatment == Treatment::Stage) {
        let Some(mut content) = archive.entry(entry.path.as_str(), NonZeroUsize::MIN)? else {
            continue;
        };
        let mut file = SparseFile::new(directory.create_file(&entry.path)?);
        let failed = |source| directory.failed("write it", &entry.path, source);
        while let count @ 1.. = content.chunk()?.len() {
            file.append(content.chunk()?).map_err(failed)?;
            content.consume(count);
            progress.more(count as u64);
        }
        file.finish().map_err(failed)?;
    }
    Ok(())
}

impl Staged<Verified> {
    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.state.manifest
    }

    /// SHA-256 of `SHA256SUMS`.
    #[must_use]
    pub fn identity(&self) -> Digest {
        self.state.identity
    }

    /// The entries before `index.json`, in the order of the archive.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.state.index.entries()
    }

    /// The archive itself, where one can seek in it.
    #[must_use]
    pub fn archive(&self) -> Option<&Indexed> {
        self.state.archive.as_deref()
    }

    /// Stages entries that were left in the archive. Returns what was left out of their files, by their names.
    ///
    /// # Errors
    /// What is wrong with their frames; [`Error::File`].
    pub fn stage(&mut self, how: &Later<'_>, events: &dyn Events) -> Result<HashMap<String, Blocks>, Error> {
        let Verified {
            archive, treatments, ..
        } = &mut self.state;
        let Some(archive) = archive else {
            return Ok(HashMap::new());
        };
        let entries = archive.index().entries();
        let mut now = vec![Treatment::Leave; entries.len()];
        for ((now, treatment), entry) in now.iter_mut().zip(&mut *treatments).zip(entries) {
            if *treatment != Treatment::Stage {
                *now = (how.treat)(entry);
                *treatment = *now;
            }
        }
        if let Some(parent) = how.parent {
            self.elsewhere = Some(Directory::create(parent)?);
        }
        let directory = self.elsewhere.as_ref().unwrap_or(&self.directory);
        let progress = Progress::new(events);
        if archive.index().codec() == Codec::None {
            copy_plain(archive, directory, &now, &progress)?;
            return Ok(HashMap::new());
        }
        let mut extraction = Extraction::new(archive, directory, now.clone());
        for (position, entry) in entries.iter().enumerate() {
            if let Some(blocks) = (how.optional)(entry).filter(|_| now[position] == Treatment::Stage) {
                extraction.leave_out(position, blocks);
            }
        }
        let left_out = extraction.run(how.threads, &|stored| progress.more(stored))?;
        let named = |(position, blocks): (usize, Blocks)| (entries[position].path.to_string(), blocks);
        Ok(left_out.into_iter().map(named).collect())
    }

    /// The directory that entries are in which were staged elsewhere later.
    #[must_use]
    pub fn elsewhere(&self) -> Option<&Path> {
        self.elsewhere.as_ref().map(|directory| directory.path.as_path())
    }

    /// The directory that the entries are in. Nested tars may not be there, see [`Staged::open`].
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory.path
    }

    /// The content of an entry: from the directory, or from the archive, where each frame is verified again. `None` where
    /// the archive has no such entry.
    ///
    /// # Errors
    /// [`Error::File`]; of what is read, see [`IndexedEntry`].
    pub fn open(&self, name: &str, threads: NonZeroUsize) -> Result<Option<StagedEntry<'_>>, Error> {
        let Verified {
            index,
            treatments,
            archive,
            ..
        } = &self.state;
        let Some(position) = index.entries.iter().position(|entry| entry.path.as_str() == name) else {
            return Ok(None);
        };
        let staged = treatments.get(position) == Some(&Treatment::Stage);
        Ok(match archive.as_ref().filter(|_| !staged) {
            Some(archive) => archive
                .entry(name, threads)?
                .map(|entry| StagedEntry::Archive(Box::new(entry))),
            None => Some(StagedEntry::File(self.staged_file(&index.entries[position].path)?)),
        })
    }

    fn staged_file(&self, name: &ArchivePath) -> Result<File, Error> {
        match self.directory.open(name) {
            Err(error) => self
                .elsewhere
                .as_ref()
                .map_or(Err(error), |directory| directory.open(name)),
            file => file,
        }
    }

    /// The whole content of a small entry; `None` where the archive has no such entry.
    ///
    /// # Errors
    /// As [`Staged::open`], and [`Error::TooLarge`] where it has more than `limit` bytes.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(entry) = self.state.index.find(name) else {
            return Ok(None);
        };
        if entry.size > limit {
            return Err(Error::TooLarge {
                entry: name.to_owned(),
                size: entry.size,
                limit,
            });
        }
        let Some(mut reader) = self.open(name, NonZeroUsize::MIN)? else {
            return Ok(None);
        };
        let mut content = Vec::new();
        let failed = |source| Error::Content {
            entry: name.to_owned(),
            source,
        };
        reader
            .read_to_end(&mut content)
            .map_err(|error| Error::from_io(error).unwrap_or_else(failed))?;
        Ok(Some(content))
    }

    /// Leaves the directory where it is.
    #[must_use]
    pub fn keep(mut self) -> PathBuf {
        self.directory.keep = true;
        self.directory.path.clone()
    }
}

/// The content of a verified entry.
pub enum StagedEntry<'a> {
    /// In the directory.
    File(File),
    /// In the archive.
    Archive(Box<IndexedEntry<'a>>),
}

impl Read for StagedEntry<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Archive(entry) => entry.read(buffer),
        }
    }
}

/// Reports how much of an archive was read, by several threads.
struct Progress<'a> {
    events: &'a dyn Events,
    read: AtomicU64,
}

impl<'a> Progress<'a> {
    fn new(events: &'a dyn Events) -> Self {
        Self {
            events,
            read: AtomicU64::new(0),
        }
    }

    /// So many bytes more were read.
    fn more(&self, bytes: u64) {
        self.passed(self.read.fetch_add(bytes, Ordering::Relaxed), bytes);
    }

    /// So many bytes were read in all.
    fn at(&self, bytes: u64) {
        let before = self.read.swap(bytes, Ordering::Relaxed);
        self.passed(before, bytes.saturating_sub(before));
    }

    fn passed(&self, before: u64, bytes: u64) {
        let bytes = before + bytes;
        if before / PROGRESS != bytes / PROGRESS {
            self.events.emit(Event::Progress { bytes });
        }
    }
}
