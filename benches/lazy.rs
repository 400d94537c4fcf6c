//! Memory served out of an archive as CRIU's lazy-pages daemon asks for it: `cargo bench --bench lazy`.
//!
//! Single pages in no order are what tasks wait for: each costs a frame, unless it was decoded before. Ranges from front to back
//! are what the daemon takes in the background, where the next frames are decoded meanwhile.
#![allow(missing_docs, reason = "criterion makes public items without")]
#![allow(clippy::expect_used, reason = "a benchmark that cannot be set up has failed")]

#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/support/archives.rs"]
mod archives;

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use archives::{manifest, memory, options, path};
use ckpt::archive::{EntryAt, Frames, Indexed, Writer};
use ckpt::criu::images::{PE_LAZY, PE_PRESENT, Pagemap, PagemapEntry};
use ckpt::criu::lazy::{PageMap, PageServer, PageSource, SourceError, Turn};
use ckpt::criu::wire::{Command, Header, HeaderForm, PAGE_SIZE};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Of memory, bytes: more than the frames that are kept.
const SIZE: u64 = 128 << 20;
const PAGES: u64 = SIZE / PAGE_SIZE;
const IMAGE: &str = "checkpoint/pages-1.img";
const TASK: u64 = 7;
const START: u64 = 0x10_0000;
/// Pages of a request in the background: the daemon's first, and its largest.
const RANGES: [u64; 2] = [16, 1024];
/// Single pages that are asked for.
const FAULTS: u64 = 64;
/// Frames that an import has decoded ahead.
const AHEAD: usize = 8;

/// Pages as an import takes them out of its archive.
struct Source {
    frames: Frames,
    entry: EntryAt,
}

impl PageSource for Source {
    fn read(&self, _: u32, mut offset: u64, length: u64, into: &mut Vec<u8>) -> Result<(), SourceError> {
        let end = offset + length;
        while offset < end {
            let piece = self.frames.piece(self.entry, offset)?;
            let count = piece.len().min(usize::try_from(end - offset)?);
            into.extend_from_slice(&piece[..count]);
            offset += count as u64;
        }
        Ok(())
    }

    fn asked(&self, _: u32, bytes: Range<u64>) {
        if bytes.end - bytes.start == PAGE_SIZE {
            self.frames.around(self.entry, bytes.start);
        } else {
            self.frames.ahead(self.entry, bytes.end, AHEAD);
        }
    }
}

fn archive() -> File {
    let mut file = tempfile::tempfile().expect("file");
    let mut writer = Writer::new(&mut file, options("zstd")).expect("writer");
    writer.add_bytes(&path("ckpt.json"), &manifest()).expect("manifest");
    let content = memory(usize::try_from(SIZE).expect("fits"), 1);
    writer.add_bytes(&path(IMAGE), &content).expect("pages");
    writer.finish().expect("finished");
    file
}

fn page_map() -> PageMap {
    let entry = PagemapEntry {
        vaddr: START,
        nr_pages: Some(PAGES),
        flags: Some(PE_LAZY | PE_PRESENT),
        ..PagemapEntry::default()
    };
    let pagemap = Pagemap {
        pages_id: 1,
        entries: vec![entry],
    };
    let mut map = PageMap::default();
    map.add(TASK, "pagemap-7.img", &pagemap, SIZE).expect("valid");
    map
}

/// Asks for ranges of so many pages, each beginning where it is said, and takes the answers.
fn ask(archive: &File, pages: u64, places: impl Iterator<Item = u64>) {
    let indexed = Indexed::open(archive.try_clone().expect("a copy")).expect("an archive");
    let frames = Frames::new(Arc::new(indexed), NonZeroUsize::MIN).expect("frames");
    let entry = frames.entry(IMAGE).expect("there");
    let (ours, mut daemon) = UnixStream::pair().expect("sockets");
    let mut server = PageServer::new(ours, HeaderForm::Wide, page_map(), Source { frames, entry }).expect("a server");
    thread::scope(|scope| {
        let serving = scope.spawn(move || while let Turn::Pages(_) = server.turn(&|| false).expect("served") {});
        let mut header = Header {
            command: Command::Get,
            flags: 0,
            pages,
            address: START,
            dst_id: TASK,
        };
        let mut answer = vec![0; HeaderForm::Wide.length() + usize::try_from(pages * PAGE_SIZE).expect("fits")];
        for place in places {
            header.address = START + place * PAGE_SIZE;
            daemon
                .write_all(&header.encode(HeaderForm::Wide).expect("fits"))
                .expect("asked");
            daemon.read_exact(&mut answer).expect("answered");
        }
        header.command = Command::Close;
        daemon
            .write_all(&header.encode(HeaderForm::Wide).expect("fits"))
            .expect("ended");
        serving.join().expect("a server");
    });
}

fn background(criterion: &mut Criterion) {
    let archive = archive();
    let mut group = criterion.benchmark_group("lazy, from front to back");
    group.throughput(Throughput::Bytes(SIZE)).sample_size(10);
    for range in RANGES {
        group.bench_function(BenchmarkId::new("pages a request", range), |bencher| {
            bencher.iter(|| ask(&archive, range, (0..PAGES / range).map(|number| number * range)));
        });
    }
}

fn faults(criterion: &mut Criterion) {
    let archive = archive();
    let mut group = criterion.benchmark_group("lazy, single pages");
    group.throughput(Throughput::Elements(FAULTS)).sample_size(10);
    // A step that is prime to the number of pages: all over memory.
    group.bench_function("anywhere", |bencher| {
        bencher.iter(|| ask(&archive, 1, (0..FAULTS).map(|number| number * 7919 % PAGES)));
    });
    group.bench_function("in one neighbourhood", |bencher| {
        bencher.iter(|| ask(&archive, 1, (0..FAULTS).map(|number| PAGES / 2 + number * 61 % 1024)));
    });
}

criterion_group!(benches, background, faults);
criterion_main!(benches);
