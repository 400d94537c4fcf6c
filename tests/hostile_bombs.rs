//! Archives that would exhaust memory, disk or patience: refused at once or at their bound, in little memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that cannot run says so"
)]

mod support;

use std::io::Read;
use std::num::NonZeroUsize;

use ckpt::archive::{Error, Limits, Reader, ReaderOptions, limits};
use support::archives::manifest;
use support::forge::{block, header, padding, store};

/// More than any of them needs, less than any of them would like to have.
const MEMORY: u64 = 128 << 20;
/// What a reader has taken of a stream that it refuses by a header: its buffer, or the first piece of a plain tar.
const BEGINNING: usize = 2 << 20;
/// The beginning of an archive, and then the same piece for ever.
struct Endless<F> {
    ready: Vec<u8>,
    at: usize,
    next: F,
    /// What was taken of it.
    taken: usize,
}

impl<F: FnMut(&mut Vec<u8>)> Read for Endless<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.ready.len() {
            self.ready.clear();
            self.at = 0;
            (self.next)(&mut self.ready);
        }
        let count = buffer.len().min(self.ready.len() - self.at);
        buffer[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
        self.at += count;
        self.taken += count;
        Ok(count)
    }
}

fn endless<F: FnMut(&mut Vec<u8>)>(ready: Vec<u8>, next: F) -> Endless<F> {
    let (at, taken) = (0, 0);
    Endless { ready, at, next, taken }
}

/// The manifest and the header of an entry of this size, as a tar stream.
fn beginning(size: u64) -> Vec<u8> {
    let manifest = manifest();
    let zeros = vec![0; padding(manifest.len())];
    let directory = block(b"checkpoint/", b'5', 0);
    let pages = [directory, header("checkpoint/pages-1.img", size)].concat();
    [header("ckpt.json", manifest.len() as u64), manifest, zeros, pages].concat()
}

/// 4 MiB of zeros in 137 bytes.
fn zeros() -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0x40, 0];
    for number in 0..32_u32 {
        let block: u32 = (128 << 10) << 3 | 1 << 1 | u32::from(number == 31);
        frame.extend_from_slice(&block.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

fn zero_bomb(size: u64) -> Endless<impl FnMut(&mut Vec<u8>)> {
    let frame = zeros();
    endless(store("zstd", &beginning(size)), move |ready| {
        ready.extend_from_slice(&frame)
    })
}

/// What the reader says; it must say it in little memory, and after so many bytes.
fn refused<F: FnMut(&mut Vec<u8>)>(mut bomb: Endless<F>, options: ReaderOptions, most: usize) -> Error {
    let options = ReaderOptions {
        threads: NonZeroUsize::new(2).expect("two"),
        ..options
    };
    let error = Reader::new(&mut bomb, options)
        .and_then(Reader::finish)
        .expect_err("must be refused");
    assert!(bomb.taken <= most, "{error}: after {} bytes", bomb.taken);
    let peak = peak_memory();
    assert!(peak < MEMORY, "{error}: {peak} bytes of memory");
    error
}

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("VmHWM");
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse::<u64>()
        .expect("number")
        << 10
}

#[test]
fn a_tebibyte_of_zeros_is_refused_by_its_header() {
    let error = refused(zero_bomb(1 << 40), ReaderOptions::default(), BEGINNING);
    assert!(
        matches!(&error, Error::TooMuchContent { entry, .. } if entry == "checkpoint/pages-1.img"),
        "{error}"
    );
}

#[test]
fn what_expands_beyond_its_file_is_refused_by_its_header() {
    let options = ReaderOptions {
        length: Some(20 << 20),
        ..ReaderOptions::default()
    };
    let error = refused(zero_bomb(200 << 30), options, BEGINNING);
    assert!(
        matches!(&error, Error::Expansion { entry, .. } if entry == "checkpoint/pages-1.img"),
        "{error}"
    );
}

#[test]
fn what_expands_through_a_pipe_is_refused_at_the_bound() {
    let limits = Limits {
        expansion_floor: 256 << 20,
        ..Limits::default()
    };
    let options = ReaderOptions {
        limits,
        ..ReaderOptions::default()
    };
    let error = refused(zero_bomb(200 << 30), options, BEGINNING);
    assert!(
        matches!(&error, Error::Expansion { entry, .. } if entry == "checkpoint/pages-1.img"),
        "{error}"
    );
}

#[test]
fn more_than_there_is_room_for_is_refused_by_its_header() {
    let limits = Limits {
        content: 1 << 30,
        ..Limits::default()
    };
    let options = ReaderOptions {
        limits,
        ..ReaderOptions::default()
    };
    let error = refused(zero_bomb(2 << 30), options, BEGINNING);
    assert!(matches!(error, Error::TooMuchContent { limit, .. } if limit == 1 << 30));
}

#[test]
fn a_million_tiny_entries_are_refused_at_the_bound() {
    let mut number = 0;
    let bomb = endless(beginning(0), move |ready| {
        number += 1;
        ready.extend(header(&format!("checkpoint/x{number:08}"), 0));
    });
    let error = refused(bomb, ReaderOptions::default(), BEGINNING + limits::MAX_ENTRIES * 512);
    assert!(
        matches!(error, Error::TooManyEntries { limit, .. } if limit == limits::MAX_ENTRIES),
        "{error}"
    );
}

#[test]
fn frames_of_one_byte_are_refused_at_the_bound() {
    let frame = store("zstd", b"x");
    let pieces = frame.repeat(1000);
    let bomb = endless(store("zstd", &beginning(1 << 30)), move |ready| {
        ready.extend_from_slice(&pieces)
    });
    let error = refused(bomb, ReaderOptions::default(), BEGINNING);
    assert!(matches!(error, Error::TooManyFrames { limit: ..30, .. }), "{error}");
}

#[test]
fn an_endless_manifest_is_refused_by_its_header() {
    let bomb = endless(header("ckpt.json", 1 << 40), |ready| {
        ready.extend_from_slice(&[b' '; 4096])
    });
    let error = refused(bomb, ReaderOptions::default(), BEGINNING);
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[test]
fn a_long_name_of_gibibytes_is_refused_by_its_header() {
    for typeflag in [b'L', b'K', b'x', b'g'] {
        let start = [beginning(0), block(b"././@LongLink", typeflag, 3 << 30)].concat();
        let bomb = endless(start, |ready| ready.extend_from_slice(&[b'a'; 4096]));
        let error = refused(bomb, ReaderOptions::default(), BEGINNING);
        assert!(matches!(error, Error::Header { .. }), "{error}");
    }
}
