//! The archive format from the outside: what other programs make of it, and that the same input gives the same bytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that cannot run says so"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::num::NonZeroUsize;

use ckpt::archive::{Compression, Digest, Error, Indexed, Reader, ReaderOptions, Writer, WriterOptions};
use support::archives::{self, Build, options, path};
use support::commands::{output, pipe};

#[test]
fn other_programs_unpack_and_check_it() {
    for (compression, decompress) in [
        ("zstd", "zstd -dcq archive"),
        ("gzip", "gzip -dc archive"),
        ("none", "cat archive"),
    ] {
        let directory = tempfile::tempdir().expect("directory");
        let archive = Build::sample().options(options(compression)).bytes();
        std::fs::write(directory.path().join("archive"), archive).expect("written");
        pipe(
            directory.path(),
            &format!("mkdir x && {decompress} | tar -x -C x && cd x && sha256sum --strict --quiet -c SHA256SUMS"),
        );
        for (name, content) in archives::sample() {
            assert_eq!(
                std::fs::read(directory.path().join("x").join(name)).expect(name),
                content,
                "{compression}: {name}"
            );
        }
        let listing = output(directory.path(), &format!("{decompress} | tar -t"));
        let listing: Vec<&str> = listing.lines().filter(|name| !name.ends_with('/')).collect();
        let mut expected: Vec<&str> = archives::sample().iter().map(|(name, _)| *name).collect();
        expected.extend(["index.json", "SHA256SUMS"]);
        assert_eq!(listing, expected);
    }
}

#[test]
fn the_identity_is_the_digest_of_the_sums() {
    let (archive, summary) = Build::sample().finish();
    let directory = tempfile::tempdir().expect("directory");
    std::fs::write(directory.path().join("archive"), &archive).expect("written");
    let sums = output(directory.path(), "zstd -dcq archive | tar -xO SHA256SUMS");
    assert_eq!(summary.identity, Digest::of(sums.as_bytes()));
    assert_eq!(summary.stored_bytes, archive.len() as u64);
    assert_eq!(summary.entries, archives::sample().len());
}

#[test]
fn threads_and_pieces_change_no_byte() {
    for compression in ["zstd", "gzip", "none"] {
        let expected = Build::sample().options(options(compression)).bytes();
        for (threads, piece) in [(1, 1 << 30), (8, 1 << 30), (3, 977), (8, 65_536), (2, (1 << 20) + 1)] {
            let options = WriterOptions {
                threads: NonZeroUsize::new(threads).expect("some"),
                ..options(compression)
            };
            let mut writer = Writer::new(Vec::new(), options).expect("writer");
            for (name, content) in archives::sample() {
                let mut entry = writer.entry(&path(name), content.len() as u64).expect(name);
                content
                    .chunks(piece)
                    .for_each(|piece| entry.write_all(piece).expect(name));
                entry.finish().expect(name);
            }
            let (bytes, _) = writer.finish().expect("finished");
            assert!(bytes == expected, "{compression}: {threads} threads, pieces of {piece}");
        }
    }
}

#[test]
fn the_reader_reads_it() {
    for compression in ["zstd", "gzip", "none"] {
        let (archive, summary) = Build::sample().options(options(compression)).finish();
        let mut reader = Reader::new(archive.as_slice(), ReaderOptions::default()).expect("reader");
        assert_eq!(reader.manifest_text(), archives::manifest());
        for (name, content) in archives::sample().into_iter().skip(1) {
            let mut entry = reader.next().expect(name).expect(name);
            assert_eq!(
                (entry.entry().path.as_str(), entry.entry().size),
                (name, content.len() as u64)
            );
            let mut found = Vec::new();
            entry.read_to_end(&mut found).expect(name);
            assert!(found == content, "{compression}: {name}");
        }
        assert!(reader.next().expect("end").is_none());
        let verified = reader.finish().expect("verified");
        assert_eq!(
            (verified.identity, verified.stored_bytes),
            (summary.identity, summary.stored_bytes)
        );
        assert_eq!(archives::verify(&archive).expect("skipping"), verified);
    }
}

#[test]
fn a_signature_is_the_last_entry() {
    for compression in ["zstd", "gzip", "none"] {
        let mut writer = Writer::new(Vec::new(), options(compression)).expect("writer");
        writer
            .add_bytes(&path("ckpt.json"), &archives::manifest())
            .expect("added");
        let (archive, summary) = writer
            .finish_signed(|sums| Ok(format!("signed {}\n", Digest::of(sums)).into_bytes()))
            .expect("finished");
        let proof = archives::verify(&archive).expect("verified");
        assert_eq!(
            proof.signature,
            Some(format!("signed {}\n", summary.identity).into_bytes())
        );
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("archive");
        std::fs::write(&file, &archive).expect("written");
        let indexed = Indexed::open(std::fs::File::open(&file).expect("file")).expect("archive");
        assert_eq!(
            (indexed.identity(), indexed.signature()),
            (summary.identity, proof.signature.as_deref())
        );
    }
    let writer = || {
        let mut writer = Writer::new(Vec::new(), options("zstd")).expect("writer");
        writer
            .add_bytes(&path("ckpt.json"), &archives::manifest())
            .expect("added");
        writer
    };
    for signature in [&b""[..], b"a\0b", &[b'x'; 16_385]] {
        writer()
            .finish_signed(|_| Ok(signature.to_vec()))
            .expect_err("no text, or too much of it");
    }
    writer()
        .finish_signed(|_| Err(std::io::ErrorKind::NotFound.into()))
        .expect_err("no key");
}

#[test]
fn what_the_writer_refuses() {
    let mut writer = Writer::new(Vec::new(), options("zstd")).expect("writer");
    let mut refuse = |name: &str, size: u64, message: &str| {
        let error = writer.entry(&path(name), size).map(drop).expect_err(message);
        assert_eq!(error.to_string(), message);
    };
    refuse(
        "dump.log",
        1,
        "not a ckpt archive: its first entry is \"dump.log\", not \"ckpt.json\"",
    );
    refuse("index.json", 1, "entry index.json: is made by the writer itself");
    refuse("SHA256SUMS", 1, "entry SHA256SUMS: is made by the writer itself");
    refuse(
        "passwd",
        1,
        "entry passwd: no entry of that name belongs into an archive",
    );
    refuse(
        "ckpt.json",
        1 << 30,
        "entry ckpt.json: 1073741824 bytes, at most 1048576 are allowed",
    );
    assert!(matches!(writer.finish(), Err(Error::Missing { entry }) if entry == "ckpt.json"));
}

#[test]
fn content_of_another_size_ends_the_archive() {
    type Fail = fn(&mut Writer<Vec<u8>>) -> Result<(), Error>;
    let failures: [Fail; 5] = [
        |writer| writer.add(&path("dump.log"), 4, &b"abc"[..]),
        |writer| writer.add(&path("dump.log"), 2, &b"abc"[..]),
        |writer| writer.add(&path("dump.log"), 0, &b"a"[..]),
        |writer| writer.entry(&path("dump.log"), 2)?.append(b"abc"),
        |writer| writer.entry(&path("dump.log"), 2)?.finish(),
    ];
    for (number, fail) in failures.into_iter().enumerate() {
        let mut writer = Writer::new(Vec::new(), options("zstd")).expect("writer");
        writer
            .add_bytes(&path("ckpt.json"), &archives::manifest())
            .expect("added");
        assert!(matches!(fail(&mut writer), Err(Error::Size { .. })), "{number}");
        assert!(matches!(writer.finish(), Err(Error::Poisoned)), "{number}");
    }
    let mut writer = Writer::new(Vec::new(), options("zstd")).expect("writer");
    writer
        .add_bytes(&path("ckpt.json"), &archives::manifest())
        .expect("added");
    drop(writer.entry(&path("dump.log"), 2).expect("begun"));
    assert!(
        matches!(writer.finish(), Err(Error::Poisoned)),
        "an entry was not finished"
    );
}

#[test]
fn levels_are_used() {
    let size = |compression: Compression| {
        Build::sample()
            .options(WriterOptions {
                compression,
                ..WriterOptions::default()
            })
            .bytes()
            .len()
    };
    for codec in ["zstd", "gzip"] {
        let at = |level| {
            let compression: Compression = codec.parse().expect(codec);
            size(compression.with_level(level).expect("in range"))
        };
        assert!(at(9) < at(1), "{codec}");
    }
}

#[test]
fn entries_of_unknown_size_give_the_same_bytes_in_files_and_pipes() {
    for compression in ["zstd", "gzip", "none"] {
        let known = Build::sample().options(options(compression)).bytes();
        let write = |writer: &mut Writer<std::fs::File>| {
            for (name, content) in archives::sample() {
                if name.contains("pages-") {
                    let mut entry = writer.entry_of_unknown_size(&path(name)).expect(name);
                    content
                        .chunks(70_001)
                        .for_each(|piece| entry.append(piece).expect(name));
                    entry.finish().expect(name);
                } else {
                    writer.add_bytes(&path(name), &content).expect(name);
                }
            }
        };
        for patched in [true, false] {
            let file = tempfile::NamedTempFile::new().expect("file");
            let open = || file.reopen().expect("file");
            let mut writer = Writer::with_file(open(), patched.then(open), options(compression)).expect("writer");
            write(&mut writer);
            writer.finish().expect("finished");
            assert!(
                std::fs::read(file.path()).expect("file") == known,
                "{compression}, patched: {patched}"
            );
        }
    }
}

#[test]
fn only_memory_may_be_of_unknown_size() {
    let mut writer = Writer::new(Vec::new(), options("zstd")).expect("writer");
    let error = writer.entry_of_unknown_size(&path("ckpt.json")).err().expect("refused");
    assert_eq!(
        error.to_string(),
        "entry ckpt.json: its size must be known before its content"
    );
    writer.add_bytes(&path("ckpt.json"), b"{}").expect("nothing was spoilt");
}

#[test]
fn a_segment_made_beside_other_entries_gives_the_same_bytes() {
    for compression in ["zstd", "gzip", "none"] {
        let known = Build::sample().options(options(compression)).bytes();
        let mut writer = Writer::new(Vec::new(), options(compression)).expect("writer");
        let (mut files, segment) = writer.segment().expect("segment");
        let sample = archives::sample();
        let is_file = |name: &str| {
            ["rootfs", "deleted", "volumes"]
                .iter()
                .any(|start| name.starts_with(start))
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (name, content) in sample.iter().filter(|(name, _)| is_file(name)) {
                    let write = |out: &mut dyn std::io::Write| {
                        content
                            .chunks(999)
                            .try_for_each(|piece| out.write_all(piece).map_err(|source| Error::Write { source }))
                    };
                    files.add(&path(name), content.len() as u64, write).expect(name);
                }
                files.finish().expect("finished");
            });
            let rest: Vec<_> = sample.iter().filter(|(name, _)| !is_file(name)).collect();
            let end = rest.iter().position(|(name, _)| *name == "stats-dump").expect("there");
            let add = |writer: &mut Writer<Vec<u8>>, (name, content): &(&str, Vec<u8>)| {
                writer.add_bytes(&path(name), content).expect(name);
            };
            rest[..end].iter().for_each(|entry| add(&mut writer, entry));
            assert!(writer.adopt(segment).expect("adopted"));
            rest[end..].iter().for_each(|entry| add(&mut writer, entry));
        });
        assert!(writer.finish().expect("finished").0 == known, "{compression}");
    }
}

#[test]
fn a_segment_whose_maker_gave_up_leaves_no_archive() {
    let mut writer = Writer::new(Vec::new(), options("zstd")).expect("writer");
    writer
        .add_bytes(&path("ckpt.json"), &archives::manifest())
        .expect("manifest");
    let (files, segment) = writer.segment().expect("segment");
    drop(files);
    assert!(!writer.adopt(segment).expect("nothing is wrong with the writer"));
    assert!(matches!(writer.finish().map(drop), Err(Error::Poisoned)));
}

/// Zeros, what no compressor shrinks, text, and pieces of all of them in one frame.
fn kinds() -> Vec<(&'static str, Vec<u8>)> {
    let mut state = 1_u64;
    let mut noise = |length: usize| -> Vec<u8> {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56
        };
        (0..length).map(|_| next() as u8).collect()
    };
    let text = b"the quick brown fox jumps over the lazy dog ".repeat(40_000);
    let mixed = [&noise(300_000)[..], &text[..200_000], &[0; 300_000], &noise(400_000)].concat();
    vec![
        ("ckpt.json", archives::manifest()),
        ("checkpoint/tmpfs-1.img", vec![0; 3 << 20]),
        ("checkpoint/tmpfs-2.img", noise(2 << 20)),
        ("checkpoint/tmpfs-3.img", text),
        ("checkpoint/tmpfs-4.img", mixed),
    ]
}

fn of_kinds(compression: Compression, threads: usize) -> Vec<u8> {
    let entries = kinds();
    let entries: Vec<_> = entries.iter().map(|(name, content)| (*name, &content[..])).collect();
    let options = WriterOptions {
        compression,
        threads: NonZeroUsize::new(threads).expect("some"),
        ..options("zstd")
    };
    Build::of(&entries).options(options).bytes()
}

#[test]
fn every_kind_of_content_is_ordinary_at_every_level() {
    for (compression, decompress, levels) in [
        (Compression::ZSTD, "zstd -dcq archive", [1, 3, 5]),
        (Compression::GZIP, "gzip -dc archive", [1, 6, 9]),
    ] {
        let fixed = levels.map(|level| compression.with_level(level).expect("in range"));
        for compression in fixed.into_iter().chain([compression.adaptive()]) {
            let directory = tempfile::tempdir().expect("directory");
            let archive = of_kinds(compression, 2);
            archives::verify(&archive).expect("our own");
            std::fs::write(directory.path().join("archive"), archive).expect("written");
            let check = "mkdir x && DECOMPRESS | tar -x -C x && cd x && sha256sum --strict --quiet -c SHA256SUMS";
            pipe(directory.path(), &check.replace("DECOMPRESS", decompress));
        }
    }
}

#[test]
fn what_does_not_shrink_hardly_grows() {
    let noise = kinds()[2].1.len();
    for compression in [Compression::ZSTD, Compression::GZIP] {
        let stored = of_kinds(compression, 1).len();
        // The two entries of noise are most of it; nothing else is left of the other 5 MiB.
        assert!(
            (noise + 700_000..noise + 760_000).contains(&stored),
            "{compression:?}: {stored}"
        );
    }
}

#[test]
fn fixed_levels_make_the_same_bytes_of_every_kind() {
    for compression in [
        Compression::ZSTD,
        Compression::GZIP,
        Compression::ZSTD.with_level(7).expect("in range"),
    ] {
        assert!(of_kinds(compression, 1) == of_kinds(compression, 5), "{compression:?}");
    }
}
