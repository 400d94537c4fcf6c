//! Throughput of the archive, beside what one core does of each part: `cargo bench --bench archive`.
//!
//! Figures are of content. Writing is bounded by the compressor times the cores, reading by decompression and SHA-256 of the
//! content and of what is stored.
#![allow(missing_docs, reason = "criterion makes public items without")]
#![allow(clippy::expect_used, reason = "a benchmark that cannot be set up has failed")]

#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/support/archives.rs"]
mod archives;

use std::hint::black_box;
use std::io::{self, Read};
use std::num::NonZeroUsize;

use archives::{manifest, memory, options, path};
use ckpt::archive::{Compression, Digest, Indexed, Reader, ReaderOptions, Writer, WriterOptions};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Enough frames that starting threads does not count.
const SIZE: usize = 64 << 20;
const FRAME: usize = 1 << 20;
const CODECS: [&str; 3] = ["zstd", "gzip", "none"];

fn write(content: &[u8], options: WriterOptions, sink: impl io::Write) -> u64 {
    let mut writer = Writer::new(sink, options).expect("writer");
    writer.add_bytes(&path("ckpt.json"), &manifest()).expect("manifest");
    writer
        .add_bytes(&path("checkpoint/pages-1.img"), content)
        .expect("pages");
    writer.finish().expect("finished").1.stored_bytes
}

fn archive(content: &[u8], compression: &str) -> Vec<u8> {
    let mut archive = Vec::new();
    write(content, options(compression), &mut archive);
    archive
}

fn threads() -> [usize; 2] {
    [
        1,
        std::thread::available_parallelism().map_or(1, NonZeroUsize::get).max(2),
    ]
}

fn parts(criterion: &mut Criterion) {
    let content = memory(SIZE, 1);
    let mut group = criterion.benchmark_group("one core");
    group.throughput(Throughput::Bytes(SIZE as u64)).sample_size(10);
    group.bench_function("sha-256", |bencher| bencher.iter(|| Digest::of(black_box(&content))));
    let mut compressor = zstd::bulk::Compressor::new(3).expect("zstd");
    let compress = |frame| compressor.compress(frame).expect("zstd");
    let frames: Vec<Vec<u8>> = content.chunks(FRAME).map(compress).collect();
    let mut stored = Vec::with_capacity(2 * FRAME);
    group.bench_function("zstd -3", |bencher| {
        bencher.iter(|| {
            for frame in content.chunks(FRAME) {
                compressor.compress_to_buffer(frame, &mut stored).expect("zstd");
            }
        });
    });
    let mut decompressor = zstd::bulk::Decompressor::new().expect("zstd");
    group.bench_function("zstd -d", |bencher| {
        bencher.iter(|| {
            for frame in &frames {
                decompressor.decompress_to_buffer(frame, &mut stored).expect("zstd");
            }
        });
    });
    group.finish();
}

fn writer(criterion: &mut Criterion) {
    let content = memory(SIZE, 1);
    let mut group = criterion.benchmark_group("write");
    group.throughput(Throughput::Bytes(SIZE as u64)).sample_size(10);
    for compression in CODECS {
        for threads in threads() {
            let threads = NonZeroUsize::new(threads).expect("some");
            let options = WriterOptions {
                threads,
                ..options(compression)
            };
            group.bench_function(BenchmarkId::new(compression, threads), |bencher| {
                bencher.iter(|| write(black_box(&content), options, io::sink()));
            });
        }
    }
    group.finish();
}

/// Words, as logs and sources have them: no window finds a whole earlier line again.
fn text(length: usize) -> Vec<u8> {
    let words = memory(1 << 15, 2);
    let lines = (0_usize..).flat_map(|number| {
        let at = number.wrapping_mul(2_654_435_761) % (words.len() - 16);
        let word = &words[at..at + 4 + number % 9];
        word.iter().map(|byte| b'a' + byte % 24).chain([b' '])
    });
    lines.take(length).collect()
}

/// What no compressor shrinks.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(length);
    bytes
}

/// What the memory of a process is made of, each by itself: frames of zeros and of noise should cost little more than SHA-256.
fn classes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write a class");
    group.throughput(Throughput::Bytes(SIZE as u64)).sample_size(10);
    let classes = [
        ("zero", vec![0; SIZE]),
        ("text", text(SIZE)),
        ("noise", noise(SIZE)),
        ("heap", memory(SIZE, 1)),
    ];
    for (name, content) in &classes {
        for (how, compression) in [
            ("zstd", Compression::ZSTD),
            ("zstd auto", Compression::ZSTD.adaptive()),
            ("gzip", Compression::GZIP),
        ] {
            let options = WriterOptions {
                compression,
                ..options("zstd")
            };
            group.bench_function(BenchmarkId::new(how, name), |bencher| {
                bencher.iter(|| write(black_box(content), options, io::sink()));
            });
        }
    }
    group.finish();
}

fn reader(criterion: &mut Criterion) {
    let content = memory(SIZE, 1);
    let mut group = criterion.benchmark_group("verify");
    group.throughput(Throughput::Bytes(SIZE as u64)).sample_size(10);
    for compression in CODECS {
        let archive = archive(&content, compression);
        for threads in threads() {
            let threads = NonZeroUsize::new(threads).expect("some");
            let options = ReaderOptions {
                threads,
                ..ReaderOptions::default()
            };
            group.bench_function(BenchmarkId::new(compression, threads), |bencher| {
                bencher.iter(|| {
                    Reader::new(archive.as_slice(), options)
                        .and_then(Reader::finish)
                        .expect("verified")
                });
            });
        }
    }
    group.finish();
}

fn indexed(criterion: &mut Criterion) {
    let archive = archive(&memory(SIZE, 1), "zstd");
    let mut file = tempfile::tempfile().expect("file");
    io::copy(&mut archive.as_slice(), &mut file).expect("written");
    let open = || Indexed::open(file.try_clone().expect("handle")).expect("archive");
    let mut group = criterion.benchmark_group("random access");
    group.bench_function("open", |bencher| bencher.iter(open));
    let indexed = open();
    group.throughput(Throughput::Bytes(SIZE as u64)).sample_size(10);
    for threads in threads() {
        let threads = NonZeroUsize::new(threads).expect("some");
        group.bench_function(BenchmarkId::new("entry", threads), |bencher| {
            bencher.iter(|| {
                let mut entry = indexed
                    .entry("checkpoint/pages-1.img", threads)
                    .expect("entry")
                    .expect("entry");
                io::copy(&mut entry.by_ref(), &mut io::sink()).expect("read")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parts, writer, classes, reader, indexed);
criterion_main!(benches);
