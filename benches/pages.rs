//! The page server of a dump, fed over the socket that CRIU inherits: `cargo bench --bench pages`.
//!
//! What is received is thrown away: the bound of any export, where the archive costs nothing. Large ranges are what CRIU
//! sends of memory in use, single pages what it sends of memory that is full of holes.
#![allow(missing_docs, reason = "criterion makes public items without")]
#![allow(clippy::expect_used, reason = "a benchmark that cannot be set up has failed")]

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use ckpt::criu::pages::{Link, PageServer};
use ckpt::criu::wire::{Command, Destination, Header, HeaderForm, PAGE_SIZE};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Of a dump, bytes.
const SIZE: u64 = 64 << 20;
/// Pages of one header.
const RANGES: [u64; 3] = [1, 16, 256];
/// CRIU's flag for a page whose bytes follow.
const PRESENT: u16 = 4;
/// The only one.
const TASK: Destination = Destination::Task(1);

fn header(command: Command, pages: u64, address: u64) -> Vec<u8> {
    let header = Header {
        command,
        flags: if command == Command::AddF { PRESENT } else { 0 },
        pages,
        address,
        dst_id: TASK.encode(),
    };
    header.encode(HeaderForm::Wide).expect("fits").to_vec()
}

/// Sends what CRIU does for one task.
fn send(mut stream: UnixStream, range: u64) {
    stream.write_all(&header(Command::Open2, 0, 0)).expect("opened");
    stream.read_exact(&mut [0]).expect("told of no parent");
    let mut message = header(Command::AddF, range, 0);
    let head = message.len();
    message.resize(head + usize::try_from(range * PAGE_SIZE).expect("fits"), 7);
    for number in 0..SIZE / PAGE_SIZE / range {
        let at = 0x10_0000 + number * range * PAGE_SIZE;
        message[..head].copy_from_slice(&header(Command::AddF, range, at));
        stream.write_all(&message).expect("sent");
    }
    stream.write_all(&header(Command::Close, 0, 0)).expect("closed");
    stream.read_exact(&mut [0; 4]).expect("acknowledged");
}

fn receive(range: u64) -> u64 {
    let images = tempfile::tempdir().expect("directory");
    let server = PageServer::new().expect("sockets");
    let theirs = server.inherited().try_clone_to_owned().expect("a copy").into();
    let link = Link::default();
    thread::scope(|scope| {
        scope.spawn(move || send(theirs, range));
        let mut receiver = server.receive(images.path(), &link).expect("receiver");
        let mut total = 0;
        while receiver.next_image().expect("an image").is_some() {
            total += io::copy(&mut receiver.pages(), &mut io::sink()).expect("pages");
        }
        total
    })
}

fn pages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receive");
    group.throughput(Throughput::Bytes(SIZE)).sample_size(10);
    for range in RANGES {
        assert_eq!(receive(range), SIZE, "every page comes through");
        group.bench_function(BenchmarkId::from_parameter(range), |bencher| {
            bencher.iter(|| receive(range));
        });
    }
    group.finish();
}

criterion_group!(benches, pages);
criterion_main!(benches);
