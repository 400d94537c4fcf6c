//! Takes entries out of an archive in a file: every frame is read, checked, decoded and written by one of several threads.
//!
//! Invariants: nothing of a frame is decoded before its digest was checked, and nothing is written before the frame was
//! decoded as strictly as by the sequential reader. A thread holds one frame at a time. What is wrong is told by the first
//! frame that it is wrong about, whatever the number of threads.
//!
//! Frames are bound by their digests in `index.json`, and that by its line in `SHA256SUMS`, so no byte is handed out that the
//! archive's identity does not cover. The other lines of `SHA256SUMS` say the same once more, for those who unpack the archive
//! with other programs; of what is small here they are checked as well, see [`check_digests`].

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fs::File;
use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::crew;
use super::deframer::decode;
use super::digest::{Digest, Hasher};
use super::error::Error;
use super::format::{pages_number, place};
use super::framedigest::FrameDigest;
use super::frames::Decoder;
use super::header::padded;
use super::index::{Entry, Index};
use super::indexed::Indexed;
use super::indexed_entry::take;
use super::limits::{Limits, frames_for};
use super::pool::Buffers;
use super::sparse::write_at;
use super::stagedir::Directory;
use super::thin::{Cut, Thin};

/// Threads at most. Each may hold 9 MiB where frames are as large as is accepted, and those who write into the same file wait
/// for each other.
const MAX_THREADS: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// What is done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It is written into the directory.
    Stage,
    /// Its frames are checked; whoever wants its content reads it from the archive.
    Check,
    /// Nothing: its frames are checked when they are read from the archive.
    Leave,
}

impl Treatment {
    /// For an import that has all before it restores: nested tars are read once, so they need no room of their own.
    #[must_use]
    pub fn eager(entry: &Entry) -> Self {
        if place(&entry.path).is_ok_and(|place| place.kind.nested_tar) {
            Self::Check
        } else {
            Self::Stage
        }
    }

    /// For an import that restores at once: what is large is read from the archive when it is wanted.
    #[must_use]
    pub fn lazy(entry: &Entry) -> Self {
        match Self::eager(entry) {
            Self::Stage if !Self::is_memory(entry) => Self::Stage,
            _ => Self::Leave,
        }
    }

    /// Whether the entry is of those that are as large as the memory of a process.
    #[must_use]
    pub fn is_memory(entry: &Entry) -> bool {
        pages_number(&entry.path).is_some()
    }
}

/// See the module.
pub(super) struct Extraction<'a> {
    archive: &'a Indexed,
    directory: &'a Directory,
    treatments: Vec<Treatment>,
    /// Entries that are written without some of their zero blocks, by their position.
    thin: HashMap<usize, Thin>,
    /// Files that were begun and are not complete, by the position of the entry.
    open: Mutex<HashMap<usize, Open>>,
}

/// Blocks of [`BLOCK`](super::thin::BLOCK) bytes of an entry, rising.
pub type Blocks = Vec<Range<u64>>;

/// A file and how many more frames have a part of it.
struct Open {
    file: Arc<File>,
    frames: usize,
}

impl<'a> Extraction<'a> {
    /// Of the entries of `archive` into `directory`.
    pub(super) fn new(archive: &'a Indexed, directory: &'a Directory, treatments: Vec<Treatment>) -> Self {
        Self {
            archive,
            directory,
            treatments,
            thin: HashMap::new(),
            open: Mutex::default(),
        }
    }

    /// Leaves out what is zero of these blocks of the entry at this position; what follows in the file moves up.
    pub(super) fn leave_out(&mut self, position: usize, optional: Blocks) {
        let frames = self.archive.frames_of(&self.archive.index().entries[position]);
        self.thin.insert(position, Thin::new(optional, frames.start));
    }

    /// Does it; `progress` is told the length of every frame that was read, as it is stored. Returns what was left out, by
    /// the position of the entry.
    pub(super) fn run(
        self,
        threads: NonZeroUsize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<HashMap<usize, Blocks>, Error> {
        let index = self.archive.index();
        for (entry, treatment) in index.entries.iter().zip(&self.treatments) {
            // No frame has anything of them.
            if entry.size == 0 && *treatment == Treatment::Stage {
                self.directory.create_file(&entry.path)?;
            }
        }
        // Those who wait for their turn must not leave a processor idle.
        let waiting = usize::from(!self.thin.is_empty());
        let threads = threads.saturating_add(waiting).min(MAX_THREADS);
        let this = &self;
        crew::each(threads, index.frames.len(), || {
            let mut worker = Worker::new(this)?;
            Ok(move |number| {
                let wake = WakeOnFailure(&this.thin);
                progress(worker.frame(number)?);
                wake.not_needed();
                Ok(())
            })
        })?;
        let left_out = self
            .thin
            .into_iter()
            .map(|(position, thin)| (position, thin.left_out()));
        Ok(left_out.collect())
    }

    /// What is done with a frame is the most that is done with an entry in it.
    fn treatment(&self, number: usize) -> Treatment {
        let treatments = self.positions(number).map(|position| self.treatments[position]);
        treatments.fold(Treatment::Leave, |most, treatment| match (most, treatment) {
            (Treatment::Stage, _) | (_, Treatment::Stage) => Treatment::Stage,
            (Treatment::Check, _) | (_, Treatment::Check) => Treatment::Check,
            _ => Treatment::Leave,
        })
    }

    /// The entries that have their header, content or padding in a frame.
    fn positions(&self, number: usize) -> Range<usize> {
        let entries = &self.archive.index().entries;
        let (start, end) = self.extent(number);
        let first = entries.partition_point(|entry| entry.offset + padded(entry.size) <= start);
        let count = entries[first..].iter().take_while(|entry| entry.offset < end).count();
        // One that has only its header in the frame has the next offset.
        first..(first + count + 1).min(entries.len())
    }

    fn extent(&self, number: usize) -> (u64, u64) {
        (self.archive.frame_start(number), self.archive.frame_start(number + 1))
    }

    /// Writes what of a frame is to be staged.
    fn stage(&self, number: usize, content: &[u8]) -> Result<(), Error> {
        for position in self.positions(number) {
            let entry = &self.archive.index().entries[position];
            let (content_end, end) = (entry.offset + entry.size, entry.offset + padded(entry.size));
            let padding = &content[self.range(number, content_end..end)];
            if padding.iter().any(|&byte| byte != 0) {
                return Err(Error::Padding {
                    entry: entry.path.to_string(),
                });
            }
            let range = self.range(number, entry.offset..content_end);
            if self.treatments[position] == Treatment::Stage && !range.is_empty() {
                self.write(number, position, &content[range.clone()], range.start)?;
            }
        }
        Ok(())
    }

    /// Writes a part of an entry, which begins at `start` in its frame.
    fn write(&self, number: usize, position: usize, content: &[u8], start: usize) -> Result<(), Error> {
        let entry = &self.archive.index().entries[position];
        let offset = self.archive.frame_start(number) + start as u64 - entry.offset;
        let failed = |source| self.directory.failed("write it", &entry.path, source);
        let file = self.file(position)?;
        let written = match self.thin.get(&position) {
            None => write_at(&file, content, offset),
            Some(thin) => write_thin(&file, content, offset, thin, number),
        };
        written.and_then(|()| self.written(position)).map_err(failed)
    }

    /// Which bytes of a frame are these bytes of the stream.
    fn range(&self, number: usize, wanted: Range<u64>) -> Range<usize> {
        let (start, end) = self.extent(number);
        let within = |offset: u64| (offset.clamp(start, end) - start) as usize;
        within(wanted.start)..within(wanted.end)
    }

    /// The file of an entry, which whoever is first creates with its length.
    fn file(&self, position: usize) -> Result<Arc<File>, Error> {
        let entry = &self.archive.index().entries[position];
        let mut open = self.open();
        let slot = match open.entry(position) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(slot) => {
                let file = Arc::new(self.directory.create_file(&entry.path)?);
                let failed = |source| self.directory.failed("set the length of it", &entry.path, source);
                file.set_len(entry.size).map_err(failed)?;
                let frames = self.archive.frames_of(entry).len();
                slot.insert(Open { file, frames })
            }
        };
        Ok(slot.file.clone())
    }

    /// A part of an entry is in its file; the last one closes it.
    fn written(&self, position: usize) -> io::Result<()> {
        let mut open = self.open();
        let Slot::Occupied(mut slot) = open.entry(position) else {
            return Ok(());
        };
        slot.get_mut().frames -= 1;
        if slot.get().frames > 0 {
            return Ok(());
        }
        let file = slot.remove().file;
        drop(open);
        self.thin
            .get(&position)
            .map_or(Ok(()), |thin| file.set_len(thin.length()))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<usize, Open>> {
        // A thread that panicked ends the extraction with an error; what it left is as good as it was.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is kept of a part of an entry, behind what is kept of the parts before.
fn write_thin(file: &File, content: &[u8], offset: u64, thin: &Thin, frame: usize) -> io::Result<()> {
    let cut = Cut::of(content, offset, &thin.optional);
    // The thread that failed returns the reason.
    let Some(mut at) = thin.place(frame, &cut) else {
        return Ok(());
    };
    for range in cut.kept {
        let length = range.len() as u64;
        write_at(file, &content[range], at)?;
        at += length;
    }
    Ok(())
}

/// When a thread fails, however it does, those who wait for its frame must not wait for ever.
struct WakeOnFailure<'a>(&'a HashMap<usize, Thin>);

impl WakeOnFailure<'_> {
    fn not_needed(self) {
        std::mem::forget(self);
    }
}

impl Drop for WakeOnFailure<'_> {
    fn drop(&mut self) {
        self.0.values().for_each(Thin::fail);
    }
}

/// What one thread needs.
struct Worker<'a> {
    extraction: &'a Extraction<'a>,
    decoder: Decoder,
    buffers: Buffers,
    stored: Vec<u8>,
}

impl<'a> Worker<'a> {
    fn new(extraction: &'a Extraction<'a>) -> Result<Self, Error> {
        let codec = extraction.archive.index().codec;
        Ok(Self {
            extraction,
            decoder: Decoder::new(codec).map_err(|source| Error::Thread { source })?,
            buffers: Buffers::new(1),
            stored: Vec::new(),
        })
    }

    /// Does with a frame what is to be done; returns its length as it is stored.
    fn frame(&mut self, number: usize) -> Result<u64, Error> {
        let archive = self.extraction.archive;
        let treatment = self.extraction.treatment(number);
        if treatment == Treatment::Leave {
            return Ok(0);
        }
        let stored = archive.stored(number, std::mem::take(&mut self.stored))?;
        let length = stored.bytes.len() as u64;
        let named = || archive.index().entry_at(archive.frame_start(number)).to_owned();
        if treatment == Treatment::Check {
            if stored.expected != Some(FrameDigest::of(&stored.bytes)) {
                let (entry, frame) = (named(), number);
                return Err(Error::FrameDigest { entry, frame });
            }
            self.stored = stored.bytes;
            return Ok(length);
        }
        let decoded = decode(&mut self.decoder, &self.buffers, stored);
        let content = take(decoded, number, named, &mut self.stored)?;
        self.extraction.stage(number, &content)?;
        Ok(length)
    }
}

/// The bounds that the sequential reader checks on its way, of what is known beforehand.
pub(super) fn check_bounds(archive: &Indexed, limits: &Limits) -> Result<(), Error> {
    let Index { entries, frames, .. } = archive.index();
    let mut content: u64 = 0;
    for entry in entries {
        content = content.saturating_add(entry.size);
        let named = || entry.path.to_string();
        if content > limits.content {
            return Err(Error::TooMuchContent {
                entry: named(),
                content,
                limit: limits.content,
            });
        }
        if limits.is_bomb(content, archive.stored_bytes()) {
            return Err(Error::Expansion {
                entry: named(),
                limit: limits.expansion,
            });
        }
    }
    let limit = frames_for(entries.len() as u64, archive.index().end());
    let last = entries
        .last()
        .map_or(super::format::MANIFEST, |last| last.path.as_str());
    if frames.len() > limit {
        return Err(Error::TooManyFrames {
            entry: last.to_owned(),
            limit,
        });
    }
    Ok(())
}

/// Checks the content of what is staged against `SHA256SUMS`, one entry by one thread; memory is not.
pub(super) fn check_digests(
    archive: &Indexed,
    directory: &Directory,
    treatments: &[Treatment],
    threads: NonZeroUsize,
) -> Result<(), Error> {
    let treated = archive.entries().zip(treatments);
    let staged = treated.filter(|(_, treatment)| **treatment == Treatment::Stage);
    let small = staged
        .map(|(entry, _)| entry)
        .filter(|(entry, _)| !Treatment::is_memory(entry));
    let entries: Vec<(&Entry, &Digest)> = small.collect();
    crew::each(threads.min(MAX_THREADS), entries.len(), || {
        Ok(|number: usize| {
            let (entry, expected) = entries[number];
            let failed = |source| directory.failed("read it", &entry.path, source);
            let found = digest_of(directory.open(&entry.path)?).map_err(failed)?;
            if found == *expected {
                Ok(())
            } else {
                Err(Error::Digest {
                    entry: entry.path.to_string(),
                })
            }
        })
    })
}

fn digest_of(mut file: File) -> io::Result<Digest> {
    /// Bytes that are read at once.
    const PIECE: usize = 64 << 10;
    let (mut hasher, mut piece) = (Hasher::default(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.take()),
            count => hasher.update(&piece[..count]),
        }
    }
}
