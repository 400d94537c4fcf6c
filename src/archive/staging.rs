//! An archive on its way in: received into a private directory, then verified, then used.
//!
//! ```text
//! Staged::receive(source, …) -> Staged<Unverified> -> verify() -> Staged<Verified> -> open(name), path(), keep()
//! ```
//! Invariants: only a `Staged<Verified>` hands out content. Entries are created in a directory that this process has just
//! made, by names of one component, exclusively and without following links. What is staged is removed on drop.
//! Of a file in which one can seek, nested tars are not staged: import reads them from the archive.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::digest::Digest;
use super::error::Error;
use super::format::{DIRECTORIES, MANIFEST, place};
use super::index::Entry;
use super::indexed::Indexed;
use super::indexed_entry::IndexedEntry;
use super::path::ArchivePath;
use super::reader::{EntryReader, Proof, Reader, ReaderOptions};
use super::source::Source;
use super::sparse::SparseFile;
use crate::event::{Event, Events, Phase};
use crate::manifest::Manifest;

/// Content between two [`Event::Progress`].
const PROGRESS: u64 = 16 << 20;

/// Everything was received; nothing of it was checked against the digests.
pub struct Unverified {
    reader: Reader<Source>,
    file: Option<File>,
}

/// Every byte was checked.
pub struct Verified {
    proof: Proof,
    manifest: Manifest,
    archive: Option<Indexed>,
}

/// See the module.
pub struct Staged<S> {
    directory: Directory,
    state: S,
}

impl Staged<Unverified> {
    /// Receives an archive into a new directory in `parent`. Progress is told in bytes of the archive as it is stored.
    ///
    /// # Errors
    /// Whatever may be wrong with the archive as far as it can be known before the end; [`Error::File`] where something
    /// cannot be staged.
    pub fn receive(source: Source, parent: &Path, options: ReaderOptions, events: &dyn Events) -> Result<Self, Error> {
        events.emit(Event::Phase {
            phase: Phase::Verify,
            total: source.length(),
        });
        let file = source.is_seekable().then(|| source.file()).transpose()?;
        let options = ReaderOptions {
            length: source.length().or(options.length),
            ..options
        };
        let mut reader = Reader::new(source, options)?;
        let directory = Directory::create(parent)?;
        directory.write(MANIFEST, reader.manifest_text())?;
        let mut progress = Progress { events, reported: 0 };
        while let Some(mut entry) = reader.next()? {
            let nested = place(&entry.entry().path)?.kind.nested_tar;
            if !(nested && file.is_some()) {
                directory.receive(&mut entry, &mut progress)?;
            }
            progress.at(reader.stored_bytes());
        }
        Ok(Self {
            directory,
            state: Unverified { reader, file },
        })
    }

    /// The manifest as it was received: to refuse early, not to act on.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.state.reader.manifest()
    }

    /// Checks the end of the archive, and with it every byte.
    ///
    /// # Errors
    /// Whatever is wrong with the archive; what was staged is removed.
    pub fn verify(self) -> Result<Staged<Verified>, Error> {
        let Unverified { reader, file } = self.state;
        let manifest = reader.manifest().clone();
        let proof = reader.finish()?;
        let archive = file.map(|file| Indexed::verified(file, &proof, manifest.clone()));
        Ok(Staged {
            directory: self.directory,
            state: Verified {
                proof,
                manifest,
                archive,
            },
        })
    }
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
        self.state.proof.identity
    }

    /// What was verified.
    #[must_use]
    pub fn proof(&self) -> &Proof {
        &self.state.proof
    }

    /// The entries before `index.json`, in the order of the archive.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.state.proof.index.entries()
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
        let Some(entry) = self.state.proof.index.find(name) else {
            return Ok(None);
        };
        let nested = place(&entry.path)?.kind.nested_tar;
        Ok(match self.state.archive.as_ref().filter(|_| nested) {
            Some(archive) => archive
                .entry(name, threads)?
                .map(|entry| StagedEntry::Archive(Box::new(entry))),
            None => Some(StagedEntry::File(self.directory.open(&entry.path)?)),
        })
    }

    /// The whole content of a small entry; `None` where the archive has no such entry.
    ///
    /// # Errors
    /// As [`Staged::open`], and [`Error::TooLarge`] where it has more than `limit` bytes.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(entry) = self.state.proof.index.find(name) else {
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

/// Reports how much of an archive was read.
struct Progress<'a> {
    events: &'a dyn Events,
    reported: u64,
}

impl Progress<'_> {
    fn at(&mut self, bytes: u64) {
        if bytes >= self.reported + PROGRESS {
            self.reported = bytes;
            self.events.emit(Event::Progress { bytes });
        }
    }
}

/// A private directory that is removed on drop.
struct Directory {
    path: PathBuf,
    descriptor: OwnedFd,
    keep: bool,
}

impl Directory {
    /// Makes a directory of a new name in `parent`.
    fn create(parent: &Path) -> Result<Self, Error> {
        /// Attempts: names are of the process and a counter, so that only leftovers of a killed process collide.
        const ATTEMPTS: u32 = 1000;
        let process = std::process::id();
        for attempt in 0..ATTEMPTS {
            let path = parent.join(format!("ckpt-import-{process}-{attempt}"));
            match rustix::fs::mkdirat(CWD, &path, Mode::RWXU) {
                Ok(()) => {
                    let descriptor = open_directory(CWD, &path).map_err(|errno| failed("open it", &path, errno))?;
                    return Ok(Self {
                        path,
                        descriptor,
                        keep: false,
                    });
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed("create a directory in it", parent, errno)),
            }
        }
        Err(failed("create a directory in it", parent, Errno::EXIST))
    }

    /// Creates the file of an entry.
    fn create_file(&self, name: &ArchivePath) -> Result<File, Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.at(name, flags)
            .map_err(|errno| failed("create it", &self.path.join(name.as_str()), errno))
    }

    fn open(&self, name: &ArchivePath) -> Result<File, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.at(name, flags)
            .map_err(|errno| failed("open it", &self.path.join(name.as_str()), errno))
    }

    /// Component by component: a name has no more than two, and neither is a link.
    fn at(&self, name: &ArchivePath, flags: OFlags) -> Result<File, Errno> {
        let mode = Mode::RUSR | Mode::WUSR;
        let Some(directory) = name.directory() else {
            return rustix::fs::openat(&self.descriptor, name.as_str(), flags, mode).map(File::from);
        };
        debug_assert!(DIRECTORIES.contains(&directory), "the format has no other");
        if flags.contains(OFlags::CREATE) {
            match rustix::fs::mkdirat(&self.descriptor, directory, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        let beneath = open_directory(&self.descriptor, directory)?;
        rustix::fs::openat(&beneath, name.file_name(), flags, mode).map(File::from)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let mut file = self.create_file(&ArchivePath::try_from(name)?)?;
        let failed = |source| Error::File {
            operation: "write it",
            path: self.path.join(name),
            source,
        };
        io::Write::write_all(&mut file, content).map_err(failed)
    }

    /// Writes the content of an entry, holes where it is zero.
    fn receive(&self, entry: &mut EntryReader<'_, Source>, progress: &mut Progress<'_>) -> Result<(), Error> {
        let path = entry.entry().path.clone();
        let mut file = SparseFile::new(self.create_file(&path)?);
        let failed = |source| Error::File {
            operation: "write it",
            path: self.path.join(path.as_str()),
            source,
        };
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
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn open_directory<P: rustix::path::Arg>(at: impl std::os::fd::AsFd, name: P) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn failed(operation: &'static str, path: &Path, errno: Errno) -> Error {
    Error::File {
        operation,
        path: path.to_owned(),
        source: errno.into(),
    }
}
