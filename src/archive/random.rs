//! Random access to the entries of an archive by several threads, with a small cache of decoded frames.
//!
//! Invariants: bytes are handed out after the digest of their frame was checked; what is cached, being decoded or handed out
//! is bounded, whatever the archive; a frame is decoded once where several want it at the same time. The threads that decode
//! ahead never fail on behalf of anybody: whoever needs a frame meets what is wrong with it.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::deframer::{Stored, decode};
use super::error::{Error, FrameProblem};
use super::frames::{Codec, Decoder};
use super::indexed::Indexed;
use super::pool::{Buffers, Content, spawn};

/// Content of the frames that are kept, bytes: half of what a lazy import may use in memory.
const CACHE_BYTES: usize = 32 << 20;
/// Most frames around single places that wait to be decoded. Places that were touched longer ago are not worth the time: what is
/// decoded too early is gone again when the background comes by.
const MOST_NEAR: usize = 4;
/// Fewest frames that are kept, for archives with frames of the largest size: one in use, some decoded ahead.
const LEAST_FRAMES: usize = 6;
/// Most frames that are kept, for archives with small ones.
const MOST_FRAMES: usize = 64;

/// A frame that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("frame {frame}, which holds a part of {entry}, cannot be read")]
pub struct FrameFault {
    /// The entry.
    pub entry: String,
    /// The frame's number, from 0.
    pub frame: usize,
    /// Why.
    pub source: Error,
}

/// An entry of a [`Frames`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryAt {
    position: usize,
    start: u64,
    /// Size of its content, bytes.
    pub size: u64,
}

/// Verified bytes of an entry, as many as its frame has from the offset on that was asked for.
pub struct Piece {
    content: Arc<Content>,
    begin: usize,
    end: usize,
}

impl std::ops::Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.content[self.begin..self.end]
    }
}

enum Slot {
    /// Somebody decodes it.
    Decoding,
    Ready(Arc<Content>),
}

/// Which frames there are, which are wanted, and in which order they were last used.
struct State {
    slots: HashMap<usize, Slot>,
    /// Frames that are ready, the longest unused first.
    used: VecDeque<usize>,
    /// Frames around places that were asked for by themselves, the latest first.
    near: VecDeque<usize>,
    /// Frames that follow what is read from front to back.
    wanted: VecDeque<usize>,
    ended: bool,
}

struct Shared {
    archive: Arc<Indexed>,
    state: Mutex<State>,
    changed: Condvar,
    buffers: Buffers,
    spare: Buffers,
    capacity: usize,
}

/// See the module.
pub struct Frames {
    shared: Arc<Shared>,
    decoder: Mutex<Decoder>,
    ahead: Vec<JoinHandle<()>>,
}

impl Frames {
    /// Random access to a zstd archive; so many threads decode ahead of what is asked for.
    ///
    /// # Errors
    /// [`Error::Thread`]; [`Error::NoFrames`] for archives that are compressed in another way.
    pub fn new(archive: Arc<Indexed>, ahead: NonZeroUsize) -> Result<Self, Error> {
        let codec = archive.index().codec;
        if codec != Codec::Zstd {
            return Err(Error::NoFrames { codec });
        }
        Self::any(archive, ahead)
    }

    /// The same for gzip, too, whose frames take five times as long to decode: enough to look at some of them.
    ///
    /// # Errors
    /// [`Error::Thread`]; [`Error::NoFrames`] for a plain tar.
    pub fn any(archive: Arc<Indexed>, ahead: NonZeroUsize) -> Result<Self, Error> {
        let codec = archive.index().codec;
        if codec == Codec::None {
            return Err(Error::NoFrames { codec });
        }
        let largest = archive
            .index()
            .frames
            .iter()
            .map(|frame| frame.content)
            .max()
            .unwrap_or(1);
        let capacity = (CACHE_BYTES / largest.max(1) as usize).clamp(LEAST_FRAMES, MOST_FRAMES);
        let shared = Arc::new(Shared {
            archive,
            state: Mutex::new(State {
                slots: HashMap::new(),
                used: VecDeque::new(),
                near: VecDeque::new(),
                wanted: VecDeque::new(),
                ended: false,
            }),
            changed: Condvar::new(),
            buffers: Buffers::new(capacity),
            spare: Buffers::new(ahead.get() + 1),
            capacity,
        });
        let decoder = || Decoder::new(codec).map_err(|source| Error::Thread { source });
        let mut threads = Vec::new();
        for _ in 0..ahead.get() {
            let (shared, mut decoder) = (shared.clone(), decoder()?);
            threads.push(spawn("ckpt-ahead", move || decode_ahead(&shared, &mut decoder))?);
        }
        Ok(Self {
            shared,
            decoder: Mutex::new(decoder()?),
            ahead: threads,
        })
    }

    /// The archive.
    #[must_use]
    pub fn archive(&self) -> &Indexed {
        &self.shared.archive
    }

    /// The entry of this name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<EntryAt> {
        let entries = &self.archive().index().entries;
        let position = entries.iter().position(|entry| entry.path.as_str() == name)?;
        self.entry_number(position)
    }

    /// The entry at this place of the index.
    #[must_use]
    pub fn entry_number(&self, position: usize) -> Option<EntryAt> {
        let entry = self.archive().index().entries.get(position)?;
        Some(EntryAt {
            position,
            start: entry.offset,
            size: entry.size,
        })
    }

    /// The content of an entry from `offset` on, up to the end of its frame; empty at the end of the entry and beyond.
    ///
    /// # Errors
    /// What is wrong with the frame.
    pub fn piece(&self, entry: EntryAt, offset: u64) -> Result<Piece, FrameFault> {
        let at = entry.start + offset.min(entry.size);
        let number = self
            .archive()
            .frame_at(at.min((entry.start + entry.size).saturating_sub(1)));
        let content = self
            .frame(number)
            .map_err(|problem| self.fault(entry, number, problem))?;
        let first = self.archive().frame_start(number);
        let end = (entry.start + entry.size - first).min(content.len() as u64) as usize;
        Ok(Piece {
            begin: ((at - first) as usize).min(end),
            end,
            content,
        })
    }

    /// Has `count` frames of an entry decoded, from the one with `offset` on, unless something else is asked for meanwhile:
    /// the last call counts.
    pub fn ahead(&self, entry: EntryAt, offset: u64, count: usize) {
        if offset >= entry.size {
            return;
        }
        let archive = self.archive();
        let first = archive.frame_at(entry.start + offset);
        let last = archive.frame_at(entry.start + entry.size - 1);
        // Never so many that they push each other out.
        let count = count.min(self.shared.capacity / 2);
        let mut state = self.shared.lock();
        let wanted = (first..=last)
            .take(count)
            .filter(|number| !state.slots.contains_key(number));
        state.wanted = wanted.collect();
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Has the frames around `offset` decoded, before those around places that were named earlier and before all that
    /// [`Frames::ahead`] names.
    pub fn around(&self, entry: EntryAt, offset: u64) {
        if offset >= entry.size {
            return;
        }
        let archive = self.archive();
        let (first, last) = (
            archive.frame_at(entry.start),
            archive.frame_at(entry.start + entry.size - 1),
        );
        let here = archive.frame_at(entry.start + offset);
        let mut state = self.shared.lock();
        let around = [here + 1, here.wrapping_sub(1)];
        let around = around.into_iter().filter(|number| (first..=last).contains(number));
        state.prefer(around, MOST_NEAR);
        drop(state);
        self.shared.changed.notify_all();
    }

    fn frame(&self, number: usize) -> Result<Arc<Content>, Problem> {
        let mut state = self.shared.lock();
        loop {
            match state.slots.get(&number) {
                Some(Slot::Ready(content)) => {
                    let content = content.clone();
                    state.touch(number);
                    return Ok(content);
                }
                Some(Slot::Decoding) => state = self.shared.wait(state),
                None => break,
            }
        }
        state.slots.insert(number, Slot::Decoding);
        drop(state);
        let mut decoder = self.decoder.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.decode(number, &mut decoder)
    }

    fn fault(&self, entry: EntryAt, frame: usize, problem: Problem) -> FrameFault {
        let name = self.archive().index().entries[entry.position].path.to_string();
        let source = match problem {
            Problem::Read(error) => error,
            Problem::Frame(FrameProblem::Digest, _) => Error::FrameDigest {
                entry: name.clone(),
                frame,
            },
            Problem::Frame(problem, offset) => Error::Frame {
                offset,
                entry: name.clone(),
                problem,
            },
        };
        FrameFault {
            entry: name,
            frame,
            source,
        }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        for thread in self.ahead.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Why a frame could not be had, before the entry is known that it was wanted for.
enum Problem {
    Read(Error),
    Frame(FrameProblem, u64),
}

impl State {
    /// Notes that a frame was used.
    fn touch(&mut self, number: usize) {
        self.used.retain(|used| *used != number);
        self.used.push_back(number);
    }

    /// Puts frames before all others that are to be decoded, and keeps `most` of these.
    fn prefer(&mut self, numbers: impl DoubleEndedIterator<Item = usize>, most: usize) {
        for number in numbers.rev() {
            self.near.retain(|near| *near != number);
            self.near.push_front(number);
        }
        self.near.truncate(most);
    }

    /// The frame to decode next.
    fn next(&mut self) -> Option<usize> {
        self.near.pop_front().or_else(|| self.wanted.pop_front())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and if it did: every change is a single one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Decodes a frame that is marked as being decoded, and puts it where the others find it.
    fn decode(&self, number: usize, decoder: &mut Decoder) -> Result<Arc<Content>, Problem> {
        let decoded = self.load(number, decoder);
        let mut state = self.lock();
        match &decoded {
            Ok(content) => {
                state.slots.insert(number, Slot::Ready(content.clone()));
                state.touch(number);
                self.evict(&mut state);
            }
            Err(_) => _ = state.slots.remove(&number),
        }
        drop(state);
        self.changed.notify_all();
        decoded
    }

    fn load(&self, number: usize, decoder: &mut Decoder) -> Result<Arc<Content>, Problem> {
        let stored: Stored = self.archive.stored(number, self.spare.get()).map_err(Problem::Read)?;
        let decoded = decode(decoder, &self.buffers, stored);
        self.spare.put(decoded.stored);
        decoded
            .content
            .map_err(|problem| Problem::Frame(problem, decoded.offset))
    }

    fn evict(&self, state: &mut State) {
        while state.used.len() > self.capacity {
            if let Some(oldest) = state.used.pop_front() {
                state.slots.remove(&oldest);
            }
        }
    }
}

fn decode_ahead(shared: &Shared, decoder: &mut Decoder) {
    let mut state = shared.lock();
    while !state.ended {
        match state.next() {
            Some(number) if !state.slots.contains_key(&number) => {
                state.slots.insert(number, Slot::Decoding);
                drop(state);
                let _ = shared.decode(number, decoder);
                state = shared.lock();
            }
            Some(_) => {}
            None => state = shared.wait(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Seek as _, Write as _};
    use std::os::unix::fs::FileExt as _;

    use proptest::prelude::*;

    use super::super::path::ArchivePath;
    use super::super::{Compression, Sink, Writer, WriterOptions};
    use super::*;

    const PAGES: &str = "checkpoint/pages-1.img";

    fn noise(length: usize, mut seed: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.extend((seed >> 24).to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    fn archive(compression: &str, content: &[u8]) -> File {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.ckpt");
        let options = WriterOptions {
            compression: compression.parse::<Compression>().unwrap(),
            ..WriterOptions::default()
        };
        let mut writer = Writer::new(Sink::create(&path).unwrap(), options).unwrap();
        let manifest = include_bytes!("../../tests/support/manifest.json");
        for (name, content) in [("ckpt.json", &manifest[..]), (PAGES, content)] {
            writer
                .add_bytes(&ArchivePath::try_from(name).unwrap(), content)
                .unwrap();
        }
        let (sink, summary) = writer.finish().unwrap();
        let _ = sink.commit(&summary).unwrap();
        File::options().read(true).write(true).open(&path).unwrap()
    }

    fn frames(file: File) -> Frames {
        Frames::new(Arc::new(Indexed::open(file).unwrap()), NonZeroUsize::MIN).unwrap()
    }

    fn read(frames: &Frames, mut offset: u64, length: usize) -> Result<Vec<u8>, FrameFault> {
        let entry = frames.entry(PAGES).unwrap();
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let piece = frames.piece(entry, offset)?;
            let count = piece.len().min(length - bytes.len());
            if count == 0 {
                break;
            }
            bytes.extend_from_slice(&piece[..count]);
            offset += count as u64;
        }
        Ok(bytes)
    }

    #[test]
    fn what_lies_around_the_latest_place_comes_first() {
        let mut state = State {
            slots: HashMap::new(),
            used: VecDeque::new(),
            near: VecDeque::new(),
            wanted: VecDeque::from([1, 2]),
            ended: false,
        };
        state.prefer([51, 49, 52].into_iter(), 5);
        state.prefer([31, 29, 51].into_iter(), 5);
        let order: Vec<_> = std::iter::from_fn(|| state.next()).collect();
        assert_eq!(order, [31, 29, 51, 49, 52, 1, 2]);
    }

    #[test]
    fn frames_around_a_place_are_decoded_before_anybody_asks() {
        let content = noise(6 << 20, 4);
        let frames = frames(archive("zstd", &content));
        let entry = frames.entry(PAGES).unwrap();
        frames.around(entry, 3 << 20);
        let here = frames.archive().frame_at(entry.start + (3 << 20));
        let mut state = frames.shared.lock();
        for number in [here + 1, here - 1] {
            while !matches!(state.slots.get(&number), Some(Slot::Ready(_))) {
                state = frames.shared.wait(state);
            }
        }
        assert!(!state.slots.contains_key(&here));
    }

    #[test]
    fn the_end_of_an_entry_is_empty() {
        let content = noise(3 << 20, 1);
        let frames = frames(archive("zstd", &content));
        for offset in [content.len() as u64, content.len() as u64 + 1, u64::MAX / 4] {
            assert_eq!(read(&frames, offset, 10).unwrap(), b"");
        }
    }

    #[test]
    fn only_zstd_has_frames_to_go_to() {
        for compression in ["none", "gzip"] {
            let archive = Indexed::open(archive(compression, b"x")).unwrap();
            let error = Frames::new(Arc::new(archive), NonZeroUsize::MIN).err().unwrap();
            assert!(matches!(error, Error::NoFrames { .. }), "{error}");
        }
    }

    #[test]
    fn a_flipped_bit_is_met_where_it_is_and_named() {
        let content = noise(6 << 20, 2);
        let file = archive("zstd", &content);
        let frames = frames(file.try_clone().unwrap());
        let entry = frames.entry(PAGES).unwrap();
        let bad = frames.archive().frame_at(entry.start + (4 << 20));
        let at: u64 = frames.archive().index().frames[..bad]
            .iter()
            .map(|f| u64::from(f.stored))
            .sum();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at + 100).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at + 100).unwrap();
        assert_eq!(read(&frames, 0, 4096).unwrap(), content[..4096]);
        frames.ahead(entry, 4 << 20, 1);
        for _ in 0..2 {
            let fault = read(&frames, 4 << 20, 4096).unwrap_err();
            assert_eq!((fault.frame, fault.entry.as_str()), (bad, PAGES));
            assert!(matches!(fault.source, Error::FrameDigest { .. }), "{}", fault.source);
        }
    }

    #[test]
    fn a_file_cut_off_meanwhile_is_an_error_of_the_frames_behind() {
        let content = noise(6 << 20, 3);
        let mut file = archive("zstd", &content);
        let frames = frames(file.try_clone().unwrap());
        file.set_len(2 << 20).unwrap();
        file.rewind().unwrap();
        file.flush().unwrap();
        assert_eq!(read(&frames, 0, 4096).unwrap(), content[..4096]);
        let fault = read(&frames, 5 << 20, 4096).unwrap_err();
        assert!(matches!(fault.source, Error::Truncated { .. }), "{}", fault.source);
    }

    #[test]
    fn what_is_kept_is_bounded_and_many_threads_agree() {
        let content = noise(50 << 20, 4);
        let frames = frames(archive("zstd", &content));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (frames, content) = (&frames, &content);
                scope.spawn(move || {
                    for step in 0..60_u64 {
                        let offset = (step * 7 + thread * 13) % 49 * (1 << 20) + step * 4096;
                        frames.ahead(frames.entry(PAGES).unwrap(), offset, 3);
                        let found = read(frames, offset, 5000).unwrap();
                        assert_eq!(found, content[offset as usize..offset as usize + 5000]);
                    }
                });
            }
        });
        let state = frames.shared.lock();
        assert!(state.used.len() <= frames.shared.capacity);
        assert!(frames.shared.capacity <= CACHE_BYTES >> 20);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn any_part_is_what_was_written(ranges in prop::collection::vec((0..5_u64 << 20, 0..3_usize << 20), 1..8)) {
            static ARCHIVE: std::sync::OnceLock<(Vec<u8>, Frames)> = std::sync::OnceLock::new();
            let (content, frames) = ARCHIVE.get_or_init(|| {
                let content = noise(4 << 20, 5);
                let file = archive("zstd", &content);
                (content, frames(file))
            });
            for (offset, length) in ranges {
                let begin = (offset as usize).min(content.len());
                let end = (begin + length).min(content.len());
                prop_assert_eq!(&read(frames, offset, length).unwrap(), &content[begin..end]);
            }
        }
    }
}
