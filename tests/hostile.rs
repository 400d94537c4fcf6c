//! Damaged and hostile archives: refused, with the entry or the place named.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that cannot run says so"
)]

mod support;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use ckpt::archive::{Error, Indexed, ReaderOptions, Source, Staged};
use ckpt::error::ErrorKind;
use ckpt::event::Silent;
use proptest::prelude::*;
use support::archives::{Build, options, small, verify};
use support::defects;
use support::forge::Forge;

const CODECS: [&str; 3] = ["zstd", "gzip", "none"];

fn refused(archive: &[u8]) -> Error {
    let error = verify(archive).expect_err("must be refused");
    assert_eq!(error.kind(), ErrorKind::Archive, "{error}");
    error
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_flipped_bit_is_seen(codec in 0_usize..3, at: prop::sample::Index, bit in 0..8) {
        let mut archive = Build::small().options(options(CODECS[codec])).bytes();
        let at = at.index(archive.len());
        archive[at] ^= 1_u8 << bit;
        refused(&archive);
    }

    #[test]
    fn truncation_at_any_length_is_seen(codec in 0_usize..3, at: prop::sample::Index) {
        let archive = Build::small().options(options(CODECS[codec])).bytes();
        refused(&archive[..at.index(archive.len())]);
    }

    #[test]
    fn bytes_put_in_anywhere_are_seen(codec in 0_usize..3, at: prop::sample::Index, more in 1_usize..2000, byte: u8) {
        let mut archive = Build::small().options(options(CODECS[codec])).bytes();
        let at = at.index(archive.len() + 1);
        archive.splice(at..at, vec![byte; more]);
        refused(&archive);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// By frames, as an import of a file does it; also bits of what is not staged.
    #[test]
    fn any_flipped_bit_of_a_file_is_seen_before_it_is_used(codec in 0_usize..3, at: prop::sample::Index, bit in 0..8) {
        let mut archive = Build::small().options(options(CODECS[codec])).bytes();
        let at = at.index(archive.len());
        archive[at] ^= 1_u8 << bit;
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("archive");
        std::fs::write(&path, &archive).expect("written");
        let source = Source::open(&path).expect("file");
        let staged = Staged::receive(source, directory.path(), ReaderOptions::default(), &Silent).and_then(Staged::verify);
        prop_assert_eq!(staged.err().expect("must be refused").kind(), ErrorKind::Archive);
        prop_assert_eq!(std::fs::read_dir(directory.path()).expect("directory").count(), 1);
    }
}

/// Everything but the data is at the end, in many small regions.
#[test]
fn flipped_bits_all_over_the_end_are_seen() {
    const END: usize = 2700;
    for codec in CODECS {
        let archive = Build::of(&[("ckpt.json", &small()[0].1)])
            .options(options(codec))
            .bytes();
        for at in (archive.len() - END..archive.len()).step_by(3) {
            let mut damaged = archive.clone();
            damaged[at] ^= 1_u8 << (at % 8);
            refused(&damaged);
        }
    }
}

/// The second writer of the format makes the same bytes, so that what it does wrong is the only thing wrong.
#[test]
fn the_forge_makes_good_archives() {
    assert!(Forge::small("none").bytes() == Build::small().options(options("none")).bytes());
    for codec in CODECS {
        verify(&Forge::small(codec).bytes()).expect(codec);
    }
}

#[test]
fn every_defect_is_named() {
    let mut wrong = Vec::new();
    for defect in defects::all() {
        let said = match verify(&defect.archive) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        };
        if said != defect.message {
            wrong.push(format!(
                "{}:\n  expected {}\n  found    {said}",
                defect.name, defect.message
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Random access does not look at everything: what it lets pass is not in what it lists, and is seen when it is read.
#[test]
fn random_access_refuses_them_too() {
    let directory = tempfile::tempdir().expect("directory");
    for defect in defects::all() {
        let path = directory.path().join(defect.name);
        std::fs::write(&path, &defect.archive).expect("written");
        // Another content is seen when it is read.
        let passes = matches!(
            defect.name,
            "padding-not-zero" | "content-of-another-archive" | "tail-of-another-archive"
        );
        match Indexed::open(File::open(&path).expect("file")) {
            Ok(_) => assert!(passes, "{} was accepted", defect.name),
            Err(error) => {
                assert!(!passes, "{}: {error}", defect.name);
                assert_eq!(error.kind(), ErrorKind::Archive, "{}: {error}", defect.name);
            }
        }
    }
}

#[test]
fn nothing_of_them_is_left_after_staging() {
    let directory = tempfile::tempdir().expect("directory");
    let staging = directory.path().join("staging");
    std::fs::create_dir(&staging).expect("directory");
    for defect in defects::all() {
        let path = directory.path().join("archive");
        std::fs::write(&path, &defect.archive).expect("written");
        for piped in [false, true] {
            let source = if piped {
                feed(&path)
            } else {
                Source::open(&path).expect("file")
            };
            let staged = Staged::receive(source, &staging, ReaderOptions::default(), &Silent).and_then(Staged::verify);
            assert!(staged.is_err(), "{} was accepted", defect.name);
            drop(staged);
            assert_eq!(
                std::fs::read_dir(&staging).expect("directory").count(),
                0,
                "{}",
                defect.name
            );
        }
    }
}

/// `SHA256SUMS` has another digest than that of the content, whose frames are as the index says: refused before it is used,
/// but for memory.
#[test]
fn a_line_of_the_sums_that_is_wrong_is_seen_where_the_entry_is_used() {
    let directory = tempfile::tempdir().expect("directory");
    for (entry, size) in [
        ("dump.log", 10),
        ("rootfs-diff.tar", 10),
        ("rootfs-diff.tar", 5 << 20),
        ("checkpoint/core-1.img", 10),
    ] {
        let mut archive = Forge::small("zstd");
        archive.entries.retain(|other| other.name != entry);
        let place = archive.entries.partition_point(|other| rank(&other.name) < rank(entry));
        archive
            .entries
            .insert(place, support::forge::Entry::new(entry, &vec![b'x'; size]));
        archive.sums = Some(Box::new(move |sums| {
            let line = sums
                .lines()
                .find(|line| line.ends_with(entry))
                .expect("line")
                .to_owned();
            sums.replace(&line, &format!("{}  {entry}", "0".repeat(64)))
        }));
        let path = directory.path().join("archive");
        std::fs::write(&path, archive.bytes()).expect("written");
        let message = format!("entry {entry}: content does not match its digest in SHA256SUMS");
        assert_eq!(refused(&archive.bytes()).to_string(), message);
        let source = Source::open(&path).expect("file");
        let staged =
            Staged::receive(source, directory.path(), ReaderOptions::default(), &Silent).and_then(Staged::verify);
        let error = match staged {
            Ok(staged) => staged.read(entry, u64::MAX).expect_err("read from the archive"),
            Err(error) => error,
        };
        assert_eq!(error.to_string(), message);
    }
}

/// Where an entry is in the order of those that are used here.
fn rank(name: &str) -> usize {
    let order = [
        "checkpoint/pages",
        "checkpoint/",
        "rootfs-diff.tar",
        "deleted.files",
        "stats-dump",
        "dump.log",
    ];
    order
        .iter()
        .position(|prefix| name.starts_with(prefix))
        .map_or(0, |at| at + 1)
}

/// The same words as those of `ckpt verify`, however many threads see it.
#[test]
fn staging_by_frames_names_them_as_reading_does() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("archive");
    for defect in defects::all() {
        std::fs::write(&path, &defect.archive).expect("written");
        let at_all = |threads: usize| {
            let options = ReaderOptions {
                threads: threads.try_into().expect("not zero"),
                ..ReaderOptions::default()
            };
            let source = Source::open(&path).expect("file");
            let staged = Staged::receive(source, directory.path(), options, &Silent).and_then(Staged::verify);
            staged.err().expect(defect.name).to_string()
        };
        assert_eq!(at_all(1), at_all(3), "{}", defect.name);
        let in_content = defect.message.contains("digest in") || defect.message.contains("padding");
        if in_content {
            assert_eq!(at_all(2), defect.message, "{}", defect.name);
        }
    }
}

/// The file through a pipe; whoever feeds it ends when it is closed.
fn feed(path: &Path) -> Source {
    let bytes = std::fs::read(path).expect("file");
    let (reader, mut writer) = std::io::pipe().expect("pipe");
    std::thread::spawn(move || writer.write_all(&bytes));
    Source::new(reader.into(), Path::new("pipe")).expect("source")
}

/// A flipped bit behind the headers of a large archive is seen by whoever reads that entry, and only there.
#[test]
fn random_access_sees_damage_where_it_reads() {
    let directory = tempfile::tempdir().expect("directory");
    for codec in CODECS {
        let mut archive = Build::sample().options(options(codec)).bytes();
        let pages = verify(&archive).expect(codec).index;
        let entry = pages.find("checkpoint/pages-2.img").expect("entry").offset + 100_000;
        let at = match codec {
            "none" => entry as usize,
            _ => {
                let (mut stored, mut content) = (0, 0);
                let frames = pages.frames().iter().take_while(|frame| {
                    content += u64::from(frame.content);
                    content <= entry
                });
                frames.for_each(|frame| stored += frame.stored as usize);
                stored + 1000
            }
        };
        archive[at] ^= 1;
        let path = directory.path().join(codec);
        std::fs::write(&path, &archive).expect("written");
        let indexed = Indexed::open(File::open(&path).expect("file")).expect("the end is whole");
        indexed.read("checkpoint/pages-1.img", u64::MAX).expect("another entry");
        let error = indexed.read("checkpoint/pages-2.img", u64::MAX).expect_err("damaged");
        let whole = "entry checkpoint/pages-2.img: content does not match its digest in SHA256SUMS";
        let message = error.to_string();
        let frame = message.starts_with("entry checkpoint/pages-2.img: frame ") && message.ends_with("in index.json");
        assert!(
            if codec == "none" { message == whole } else { frame },
            "{codec}: {message}"
        );
    }
}
