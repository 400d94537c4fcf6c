//! Frames by what is in them and how hard they are compressed, on one thread: `cargo bench --bench frames`.
//!
//! Figures are of content. Writing is compression, SHA-256 of the content and of what is stored; reading is decoding and
//! the same two. What memory is made of decides more than the level: noise is not compressed at all, and zeros cost
//! next to nothing.
#![allow(missing_docs, reason = "criterion makes public items without")]
#![allow(clippy::expect_used, reason = "a benchmark that cannot be set up has failed")]

#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/support/archives.rs"]
mod archives;

use std::hint::black_box;
use std::io;
use std::num::NonZeroUsize;

use archives::{memory, options, path};
use ckpt::archive::{Compression, Digest, Reader, ReaderOptions, Writer, WriterOptions};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// A few frames: enough that an archive's end does not count.
const SIZE: usize = 16 << 20;
/// The fastest, the default, one for keeping.
const LEVELS: [i64; 3] = [1, 3, 9];

/// What memory consists of.
fn classes() -> [(&'static str, Vec<u8>); 4] {
    [
        ("zeros", vec![0; SIZE]),
        ("text", text(SIZE)),
        ("heap", memory(SIZE, 1)),
        ("noise", noise(SIZE)),
    ]
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let bytes = std::iter::repeat_with(|| next(&mut state).to_le_bytes());
    bytes.flatten().take(length).collect()
}

fn text(length: usize) -> Vec<u8> {
    const WORDS: usize = 2048;
    let mut state = 7;
    let mut word = || {
        let letters = 2 + next(&mut state) % 9;
        let bits = next(&mut state);
        (0..letters)
            .map(|at| b'a' + ((bits >> (5 * at)) % 26) as u8)
            .chain([b' '])
            .collect()
    };
    let words: Vec<Vec<u8>> = (0..WORDS).map(|_| word()).collect();
    let mut state = 9;
    let chosen = std::iter::repeat_with(|| &words[next(&mut state) as usize % WORDS]);
    chosen.flatten().copied().take(length).collect()
}

fn single(compression: Compression) -> WriterOptions {
    WriterOptions {
        compression,
        threads: NonZeroUsize::MIN,
        ..options("zstd")
    }
}

fn write(content: &[u8], options: WriterOptions, sink: impl io::Write) {
    let mut writer = Writer::new(sink, options).expect("writer");
    writer
        .add_bytes(&path("ckpt.json"), &archives::manifest())
        .expect("manifest");
    writer
        .add_bytes(&path("checkpoint/pages-1.img"), content)
        .expect("pages");
    writer.finish().expect("finished");
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Bytes(SIZE as u64)).sample_size(10);
    for (class, content) in classes() {
        for level in LEVELS {
            let options = single(Compression::ZSTD.with_level(level).expect("level"));
            group.bench_function(BenchmarkId::new(class, level), |bencher| {
                bencher.iter(|| write(black_box(&content), options, io::sink()));
            });
        }
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Bytes(SIZE as u64)).sample_size(10);
    for (class, content) in classes() {
        let mut archive = Vec::new();
        write(&content, single(Compression::ZSTD), &mut archive);
        let options = ReaderOptions {
            threads: NonZeroUsize::MIN,
            ..ReaderOptions::default()
        };
        group.bench_function(class, |bencher| {
            bencher.iter(|| {
                Reader::new(archive.as_slice(), options)
                    .and_then(Reader::finish)
                    .expect("verified")
            });
        });
    }
    group.finish();
}

fn digest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("digest");
    for size in [4 << 10, 1 << 20] {
        let content = noise(size);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| Digest::of(black_box(&content)));
        });
    }
    group.finish();
}

criterion_group!(benches, encode, decode, digest);
criterion_main!(benches);
