use std::thread;

use proptest::prelude::*;

use super::*;
use crate::criu::images::{PE_LAZY, Pagemap, PagemapEntry};

/// What CRIU does on its side.
struct Sender {
    stream: UnixStream,
    form: HeaderForm,
    destination: u64,
}

impl Sender {
    /// With a copy of the descriptor that CRIU inherits.
    fn of(server: &PageServer, form: HeaderForm) -> Self {
        Self {
            stream: server.theirs.try_clone().unwrap(),
            form,
            destination: 0,
        }
    }

    fn send(&mut self, command: Command, flags: u32, pages: u64, address: u64) {
        let header = Header {
            command,
            flags: flags as u16,
            pages,
            address,
            dst_id: self.destination,
        };
        // A receiver that gave up may have closed the connection.
        let _ = self.stream.write_all(&header.encode(self.form).unwrap());
    }

    fn open(&mut self, destination: Destination) -> bool {
        self.destination = destination.encode();
        self.send(Command::Open2, 0, 0, 0);
        let mut answer = [9];
        self.stream.read_exact(&mut answer).unwrap();
        answer == [1]
    }

    fn add(&mut self, address: u64, pages: &[u8]) {
        self.add_as(PE_PRESENT | PE_LAZY, address, pages);
    }

    fn add_as(&mut self, flags: u32, address: u64, pages: &[u8]) {
        self.send(Command::AddF, flags, pages.len() as u64 / PAGE_SIZE, address);
        let _ = self.stream.write_all(pages);
    }

    fn close(&mut self) {
        self.send(Command::Close, 0, 0, 0);
        let mut answer = [9; 4];
        self.stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0; 4]);
    }
}

/// Runs a sender against a receiver; returns the content of the images, or why there are none.
fn exchange(
    images: &Path,
    form: HeaderForm,
    send: impl FnOnce(&mut Sender) + Send,
) -> Result<Vec<Vec<u8>>, (Error, bool)> {
    exchange_thin(images, form, None, send)
}

/// The same, zeros left out and read in pieces of so many bytes.
fn exchange_thin(
    images: &Path,
    form: HeaderForm,
    piece: Option<usize>,
    send: impl FnOnce(&mut Sender) + Send,
) -> Result<Vec<Vec<u8>>, (Error, bool)> {
    let server = PageServer::new().unwrap();
    let link = Link::default();
    thread::scope(|scope| {
        let mut criu = Sender::of(&server, form);
        let sending = scope.spawn(move || send(&mut criu));
        let receiver = server.receive(images, &link).unwrap();
        let mut receiver = receiver.leave_out_zeros(piece.is_some());
        let mut contents = Vec::new();
        let mut all = || -> Result<(), Error> {
            while let Some(number) = receiver.next_image()? {
                assert_eq!(number as usize, contents.len() + 1);
                let mut content = Vec::new();
                let read = match piece {
                    Some(piece) => read_in_pieces(&mut receiver.pages(), piece, &mut content),
                    None => receiver.pages().read_to_end(&mut content).map(drop),
                };
                read.map_err(|error| Error::io("reading", images, error))?;
                contents.push(content);
            }
            Ok(())
        };
        let result = all();
        // A sender that has more to send is not left waiting.
        drop(receiver);
        sending.join().unwrap();
        result.map(|()| contents).map_err(|error| (error, link.was_cut()))
    })
}

fn read_in_pieces(from: &mut impl Read, piece: usize, into: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = vec![0; piece];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => into.extend(&buffer[..count]),
        }
    }
}

fn cause(error: &Error) -> String {
    let mut source = std::error::Error::source(error);
    let mut text = error.to_string();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}

const FORMS: [HeaderForm; 2] = [HeaderForm::Narrow, HeaderForm::Wide];

#[test]
fn tasks_and_shared_memory_in_both_forms() {
    for form in FORMS {
        let images = tempfile::tempdir().unwrap();
        let contents = exchange(images.path(), form, |criu| {
            assert!(!criu.open(Destination::Task(1)));
            criu.add(0x1000, &[1; 3 * 4096]);
            criu.add(0x9000, &[2; 4096]);
            criu.send(Command::AddF, PE_LAZY, 7, 0x20000);
            assert!(!criu.open(Destination::Task(17)));
            assert!(!criu.open(Destination::Shared(3)));
            criu.add(0, &vec![3; 300 * 4096]);
            criu.close();
        })
        .map_err(|(error, _)| error)
        .unwrap();
        let first = [vec![1; 3 * 4096], vec![2; 4096]].concat();
        assert_eq!(contents, [first, Vec::new(), vec![3; 300 * 4096]], "{form:?}");
        let map = |name: &str| Pagemap::parse(name, &std::fs::read(images.path().join(name)).unwrap()).unwrap();
        let task = map("pagemap-1.img");
        let ranges: Vec<_> = task
            .entries
            .iter()
            .map(|entry| (entry.vaddr, entry.pages(), entry.kind()))
            .collect();
        let both = PE_PRESENT | PE_LAZY;
        assert_eq!(ranges, [(0x1000, 3, both), (0x9000, 1, both), (0x20000, 7, PE_LAZY)]);
        let narrow = form == HeaderForm::Narrow;
        // CRIU 4.2 takes no entry without the older field.
        let older = |entry: &PagemapEntry| entry.compat_nr_pages.is_some_and(|pages| (pages > 0) == narrow);
        assert!(task.entries.iter().all(older));
        assert!(task.entries.iter().all(|entry| entry.nr_pages.is_none() == narrow));
        assert_eq!(
            (map("pagemap-17.img").pages_id, map("pagemap-17.img").entries.len()),
            (2, 0)
        );
        assert_eq!(map("pagemap-shmem-3.img").pages_id, 3);
    }
}

#[test]
fn a_parent_is_told_of_and_holes_must_be_in_it() {
    let images = tempfile::tempdir().unwrap();
    let parent = images.path().join("parent");
    std::fs::create_dir(&parent).unwrap();
    let mut map = PagemapWriter::create(&parent, Destination::Task(1), 1, HeaderForm::Wide).unwrap();
    for (vaddr, pages) in [(0x1000, 2), (0x3000, 2), (0x9000, 1)] {
        map.add_range(vaddr, pages, PE_PRESENT).unwrap();
    }
    map.finish().unwrap();
    exchange(images.path(), HeaderForm::Wide, |criu| {
        criu.destination = Destination::Task(1).encode();
        criu.send(Command::Parent, 0, 0, 0);
        let mut answer = [9; 4];
        criu.stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [1, 0, 0, 0]);
        assert!(criu.open(Destination::Task(1)));
        criu.send(Command::Hole, 0, 3, 0x2000);
        criu.send(Command::AddF, PE_PARENT, 1, 0x9000);
        assert!(!criu.open(Destination::Task(2)));
        criu.close();
    })
    .map_err(|(error, _)| error)
    .unwrap();
    std::fs::remove_file(images.path().join("pagemap-1.img")).unwrap();
    let (error, lost) = exchange(images.path(), HeaderForm::Wide, |criu| {
        assert!(criu.open(Destination::Task(1)));
        criu.send(Command::Hole, 0, 3, 0x4000);
    })
    .unwrap_err();
    assert!(
        cause(&error).starts_with("the page at 0x5000 is said to be in the parent"),
        "{}",
        cause(&error)
    );
    assert!(!lost, "CRIU did not go away");
}

#[test]
fn what_has_no_place_in_a_dump_is_named() {
    type Send = fn(&mut Sender);
    let cases: [(Send, &str); 6] = [
        (|criu| criu.add(0, &[0; 4096]), "not open"),
        (|criu| criu.send(Command::Get, 0, 1, 0x1000), "Get in a dump"),
        (
            |criu| {
                criu.destination = 0x305;
                criu.send(Command::Open2, 0, 0, 0);
            },
            "not understood",
        ),
        (
            |criu| {
                criu.open(Destination::Task(1));
                criu.destination = Destination::Task(2).encode();
                criu.add(0, &[0; 4096]);
            },
            "not open",
        ),
        (
            |criu| {
                criu.open(Destination::Task(1));
                criu.send(Command::AddF, PE_PRESENT, u64::MAX / 4096, 0x10000);
            },
            "CRIU announced",
        ),
        (
            |criu| {
                criu.open(Destination::Task(1));
                criu.send(Command::AddF, PE_PRESENT, 2, 0x10000);
                criu.stream.write_all(&[0; 5000]).unwrap();
                criu.stream.shutdown(std::net::Shutdown::Both).unwrap();
            },
            "CRIU closed the connection",
        ),
    ];
    for (send, expected) in cases {
        let images = tempfile::tempdir().unwrap();
        let first = |criu: &mut Sender| {
            criu.destination = Destination::Task(1).encode();
            send(criu);
        };
        let (error, lost) = exchange(images.path(), HeaderForm::Wide, first).unwrap_err();
        let whole = format!("{error}: {}", cause(&error));
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        assert!(
            causes.into_iter().any(|cause| cause.to_string().contains(expected)),
            "{expected}: {whole}"
        );
        assert_eq!(lost, expected.starts_with("CRIU closed"), "{whole}");
    }
}

#[test]
fn a_sender_that_has_more_to_send_learns_that_nobody_receives() {
    let images = tempfile::tempdir().unwrap();
    let server = PageServer::new().unwrap();
    let link = Link::default();
    thread::scope(|scope| {
        let mut criu = Sender::of(&server, HeaderForm::Wide);
        let sending = scope.spawn(move || {
            criu.open(Destination::Task(1));
            criu.send(Command::AddF, PE_PRESENT, 1 << 20, 0x10000);
            let pages = vec![0; 1 << 20];
            (0..64).try_for_each(|_| criu.stream.write_all(&pages))
        });
        let mut receiver = server.receive(images.path(), &link).unwrap();
        receiver.next_image().unwrap();
        drop(receiver);
        sending.join().unwrap().unwrap_err();
    });
}

#[test]
fn a_stopped_link_ends_a_waiting_receiver() {
    let images = tempfile::tempdir().unwrap();
    let server = PageServer::new().unwrap();
    let link = Link::default();
    thread::scope(|scope| {
        let mut criu = Sender::of(&server, HeaderForm::Wide);
        let receiving = scope.spawn(|| {
            let mut receiver = server.receive(images.path(), &link)?;
            receiver.next_image()?;
            receiver.next_image().map(drop)
        });
        criu.open(Destination::Task(1));
        link.stop();
        let error = receiving.join().unwrap().unwrap_err();
        assert_eq!(cause(&error), "the dump ended before all memory had been sent");
        assert!(link.was_cut());
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_ranges_come_out_as_they_went_in(
        ranges in proptest::collection::vec((0_u64..4, 1_usize..60, any::<bool>()), 0..40),
        narrow: bool,
    ) {
        let form = if narrow { HeaderForm::Narrow } else { HeaderForm::Wide };
        let images = tempfile::tempdir().unwrap();
        let mut expected: Vec<Vec<u8>> = Vec::new();
        for (number, (_, pages, opens)) in ranges.iter().enumerate() {
            if *opens || expected.is_empty() {
                expected.push(Vec::new());
            }
            let content = vec![number as u8; pages * 4096];
            expected.last_mut().unwrap().extend(content);
        }
        let contents = exchange(images.path(), form, |criu| {
            let mut task = 0;
            for (number, (gap, pages, opens)) in ranges.iter().enumerate() {
                if *opens || task == 0 {
                    task += 1;
                    criu.open(Destination::Task(task));
                }
                criu.add((number as u64 * 64 + gap) * 4096, &vec![number as u8; pages * 4096]);
            }
            criu.close();
        });
        prop_assert_eq!(contents.map_err(|(error, _)| cause(&error)).unwrap(), expected);
    }

    #[test]
    fn zeros_are_left_out_of_private_anonymous_memory_and_nothing_else(
        ranges in proptest::collection::vec((proptest::collection::vec((any::<bool>(), 1_usize..40), 1..6), any::<bool>()), 1..8),
        narrow: bool,
        piece in prop_oneof![Just(1_usize << 20), Just(4096), 1_usize..300_000],
    ) {
        let form = if narrow { HeaderForm::Narrow } else { HeaderForm::Wide };
        let images = tempfile::tempdir().unwrap();
        let flags = |lazy: bool| if lazy { PE_PRESENT | PE_LAZY } else { PE_PRESENT };
        let memory: Vec<(u64, u32, Vec<u8>)> = ranges
            .iter()
            .enumerate()
            .map(|(number, (runs, lazy))| {
                let page = |zero: bool, count: usize| vec![if zero { 0 } else { number as u8 + 1 }; count * PAGE];
                let content = runs.iter().flat_map(|(zero, count)| page(*zero, *count)).collect();
                ((number as u64 + 1) << 20, flags(*lazy), content)
            })
            .collect();
        let contents = exchange_thin(images.path(), form, Some(piece), |criu| {
            criu.open(Destination::Task(1));
            for (address, flags, content) in &memory {
                criu.add_as(*flags, *address, content);
            }
            criu.close();
        });
        let contents = contents.map_err(|(error, _)| cause(&error)).unwrap();
        let name = "pagemap-1.img";
        let map = Pagemap::parse(name, &std::fs::read(images.path().join(name)).unwrap()).unwrap();
        prop_assert!(!map.entries.is_empty(), "CRIU expects one");
        let mut rest = contents[0].as_slice();
        let mut found = std::collections::BTreeMap::new();
        for entry in &map.entries {
            for page in 0..entry.pages() {
                let (content, behind) = rest.split_at(PAGE);
                rest = behind;
                found.insert(entry.vaddr + page * PAGE_SIZE, (entry.kind(), content));
            }
        }
        prop_assert!(rest.is_empty(), "the pagemap names all pages");
        let mut named = 0;
        for (address, flags, content) in &memory {
            for (number, page) in content.chunks(PAGE).enumerate() {
                let at = address + number as u64 * PAGE_SIZE;
                match found.get(&at) {
                    Some(there) => {
                        named += 1;
                        prop_assert_eq!(there, &(*flags, page), "at {:#x}", at);
                    }
                    None => prop_assert!(*flags == PE_PRESENT | PE_LAZY && page.iter().all(|byte| *byte == 0), "at {:#x}", at),
                }
            }
        }
        prop_assert_eq!(named, found.len(), "nothing is invented");
    }
}

#[test]
fn a_megabyte_of_zeros_takes_one_page() {
    let images = tempfile::tempdir().unwrap();
    let contents = exchange_thin(images.path(), HeaderForm::Wide, Some(1 << 20), |criu| {
        criu.open(Destination::Task(1));
        criu.add(0x10_0000, &vec![0; 1 << 20]);
        criu.open(Destination::Shared(1));
        criu.add_as(PE_PRESENT, 0, &[0; 4096 * 20]);
        criu.close();
    });
    let contents = contents.map_err(|(error, _)| cause(&error)).unwrap();
    assert_eq!(contents, [vec![0; 4096], vec![0; 4096 * 20]]);
}
