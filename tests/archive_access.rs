//! Access to an archive: one entry of a file, and staging for an import.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that cannot run says so"
)]

mod support;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroUsize;
use std::path::Path;

use ckpt::archive::{Entry, Indexed, Later, ReaderOptions, Source, Staged, Treatment};
use ckpt::event::Silent;
use support::archives::{self, Build, options, sample};

const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("two");
const CODECS: [&str; 3] = ["zstd", "gzip", "none"];

fn file(directory: &Path, archive: &[u8]) -> File {
    let path = directory.join("archive");
    std::fs::write(&path, archive).expect("written");
    File::open(path).expect("file")
}

#[test]
fn any_entry_is_reached_without_the_others() {
    for codec in CODECS {
        let directory = tempfile::tempdir().expect("directory");
        let (archive, summary) = Build::sample().options(options(codec)).finish();
        let indexed = Indexed::open(file(directory.path(), &archive)).expect("archive");
        assert_eq!(indexed.identity(), summary.identity);
        assert_eq!(indexed.index(), &archives::verify(&archive).expect("verified").index);
        let names: Vec<&str> = indexed.entries().map(|(entry, _)| entry.path.as_str()).collect();
        assert_eq!(names, sample().iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for (name, content) in sample() {
            let mut found = Vec::new();
            let mut entry = indexed.entry(name, TWO).expect(name).expect(name);
            entry.read_to_end(&mut found).expect(name);
            assert!(found == content, "{codec}: {name}");
            assert_eq!(indexed.read(name, content.len() as u64).expect(name), content);
        }
        assert!(indexed.entry("checkpoint/none.img", TWO).expect("looked up").is_none());
        indexed.read("checkpoint/pages-1.img", 1000).expect_err("larger");
    }
}

fn staged_names(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).expect("directory") {
        let entry = entry.expect("entry");
        let name = entry.file_name().into_string().expect("text");
        match entry.file_type().expect("type").is_dir() {
            true => names.extend(
                staged_names(&entry.path())
                    .into_iter()
                    .map(|beneath| format!("{name}/{beneath}")),
            ),
            false => names.push(name),
        }
    }
    names.sort();
    names
}

#[test]
fn staging_hands_out_every_entry() {
    for codec in CODECS {
        for piped in [false, true] {
            let directory = tempfile::tempdir().expect("directory");
            let (archive, summary) = Build::sample().options(options(codec)).finish();
            let parent = directory.path().join("in");
            std::fs::create_dir(&parent).expect("directory");
            let (source, feeder) = if piped {
                let (reader, mut writer) = std::io::pipe().expect("pipe");
                let feeder = std::thread::spawn(move || writer.write_all(&archive).expect("fed"));
                (
                    Source::new(reader.into(), Path::new("pipe")).expect("source"),
                    Some(feeder),
                )
            } else {
                let file = file(directory.path(), &archive);
                (Source::new(file.into(), Path::new("archive")).expect("source"), None)
            };
            let staged = Staged::receive(source, &parent, ReaderOptions::default(), &Silent).expect("received");
            let staged = staged.verify().expect("verified");
            assert_eq!(staged.identity(), summary.identity);
            for (name, content) in sample() {
                let mut found = Vec::new();
                staged
                    .open(name, TWO)
                    .expect(name)
                    .expect(name)
                    .read_to_end(&mut found)
                    .expect(name);
                assert!(found == content, "{codec}: {name}");
            }
            let nested = |name: &&str| matches!(*name, "rootfs-diff.tar" | "volumes/data.tar");
            let mut expected: Vec<&str> = staged
                .entries()
                .iter()
                .map(|entry: &Entry| entry.path.as_str())
                .collect();
            expected.retain(|name| piped || !nested(name));
            expected.sort_unstable();
            assert_eq!(staged_names(staged.path()), expected, "{codec}");
            drop(staged);
            assert!(staged_names(&parent).is_empty(), "dropped: nothing is left");
            assert_eq!(std::fs::read_dir(&parent).expect("directory").count(), 0);
            feeder.into_iter().for_each(|feeder| feeder.join().expect("fed"));
        }
    }
}

/// A lazy import stages what is small, and reads nothing else beforehand.
#[test]
fn what_is_left_in_the_archive_is_checked_when_it_is_read() {
    let directory = tempfile::tempdir().expect("directory");
    let (mut archive, _) = Build::sample().finish();
    let lazily = |archive: &[u8]| {
        let source = Source::new(file(directory.path(), archive).into(), Path::new("archive")).expect("source");
        let options = ReaderOptions::default();
        let staged =
            Staged::receive_as(source, directory.path(), options, &Treatment::lazy, &Silent).expect("received");
        staged.verify().expect("verified")
    };
    let staged = lazily(&archive);
    let large = |name: &str| name.ends_with(".tar") || name.starts_with("checkpoint/pages-");
    let small: Vec<&str> = sample()
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !large(name))
        .collect();
    let mut staged_there = staged_names(staged.path());
    staged_there.sort();
    let mut expected = small.clone();
    expected.sort_unstable();
    assert_eq!(staged_there, expected);
    for (name, content) in sample() {
        let limit = content.len() as u64;
        assert!(staged.read(name, limit).expect(name).expect(name) == content, "{name}");
    }
    let archived = staged.archive().expect("a file").index();
    let place = archived.find("checkpoint/pages-1.img").expect("entry").offset;
    let mut before = 0;
    let in_frames = archived.frames().iter().take_while(|frame| {
        before += u64::from(frame.content);
        before <= place
    });
    let at: usize = in_frames.map(|frame| frame.stored as usize).sum();
    drop(staged);
    archive[at + 30] ^= 1;
    let staged = lazily(&archive);
    for name in small {
        staged.read(name, u64::MAX).expect(name);
    }
    let error = staged.read("checkpoint/pages-1.img", u64::MAX).expect_err("damaged");
    assert!(
        error.to_string().starts_with("entry checkpoint/pages-1.img: frame "),
        "{error}"
    );
}

/// Memory, staged later and elsewhere, without zeros that need not be there; however it is compressed.
#[test]
fn zeros_are_left_out_where_that_is_allowed() {
    const PAGE: usize = 4096;
    let mut pages = vec![7; 1000 * PAGE];
    pages[10 * PAGE..500 * PAGE].fill(0);
    pages[700 * PAGE..703 * PAGE].fill(0);
    pages[990 * PAGE..].fill(0);
    let entries: [(&str, &[u8]); 4] = [
        ("ckpt.json", &archives::manifest()),
        ("checkpoint/pages-1.img", &pages),
        ("checkpoint/core-1.img", b"core"),
        ("rootfs-diff.tar", &[1; 100_000]),
    ];
    for codec in CODECS {
        for threads in [1, 2, 7] {
            let directory = tempfile::tempdir().expect("directory");
            let archive = Build::of(&entries).options(options(codec)).bytes();
            let source = Source::new(file(directory.path(), &archive).into(), Path::new("archive")).expect("source");
            let options = ReaderOptions::default();
            let staged = Staged::receive_as(source, directory.path(), options, &Treatment::lazy, &Silent);
            let mut staged = staged.expect("received").verify().expect("verified");
            let elsewhere = directory.path().join("elsewhere");
            std::fs::create_dir(&elsewhere).expect("directory");
            let later = Later {
                treat: &Treatment::eager,
                optional: &|entry: &Entry| (entry.size > 1 << 20).then(|| vec![0..20, 21..300, 600..2000]),
                parent: Some(&elsewhere),
                threads: threads.try_into().expect("not zero"),
            };
            let left_out = staged.stage(&later, &Silent).expect("staged");
            let file = std::fs::read(staged.elsewhere().expect("elsewhere").join("checkpoint/pages-1.img"));
            let file = file.expect("file");
            let mut expected = pages.clone();
            if codec == "none" {
                assert!(left_out.is_empty());
            } else {
                // In rising order, cut where a frame ends.
                let blocks: Vec<u64> = left_out["checkpoint/pages-1.img"].iter().cloned().flatten().collect();
                assert_eq!(
                    blocks,
                    (10..20).chain(21..300).chain(990..1000).collect::<Vec<_>>(),
                    "{codec}"
                );
                for block in blocks.iter().rev() {
                    let at = *block as usize * PAGE;
                    expected.drain(at..at + PAGE);
                }
            }
            assert!(file == expected, "{codec}, {threads} threads");
            let mut tar = staged.open("rootfs-diff.tar", TWO).expect("opened").expect("entry");
            assert_eq!(tar.read_to_end(&mut Vec::new()).expect("read"), 100_000);
            drop(tar);
            drop(staged);
            assert_eq!(
                std::fs::read_dir(&elsewhere).expect("directory").count(),
                0,
                "nothing is left"
            );
        }
    }
}

#[test]
fn what_is_kept_stays() {
    let directory = tempfile::tempdir().expect("directory");
    let source = Source::new(file(directory.path(), &Build::small().bytes()).into(), Path::new("a")).expect("source");
    let staged = Staged::receive(source, directory.path(), ReaderOptions::default(), &Silent).expect("received");
    let path = staged.verify().expect("verified").keep();
    assert_eq!(
        std::fs::read(path.join("ckpt.json")).expect("kept"),
        archives::manifest()
    );
}
