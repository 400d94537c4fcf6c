//! Listings compared with those of GNU tar and Python's tarfile: what is accepted is listed alike by all three, so that no
//! two programs can disagree about what is in an archive.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that cannot run says so"
)]

mod support;

use std::path::Path;
use std::process::Command;

use ckpt::archive::{Indexed, Source};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use support::archives::{Build, options, sample, verify};
use support::commands::output;
use support::defects;
use support::forge::{Entry, Forge, checksum, forged, header, pax, record};

/// Name and size of every entry.
type Listing = Vec<(String, u64)>;

/// What ckpt lists of a file, by its index; only what it accepts.
fn ours(path: &Path) -> Option<Listing> {
    assert!(Source::open(path).expect("file").is_seekable());
    let indexed = Indexed::open(std::fs::File::open(path).expect("file")).ok()?;
    let mut listing: Listing = indexed
        .entries()
        .map(|(entry, _)| (entry.path.to_string(), entry.size))
        .collect();
    let proof = verify(&std::fs::read(path).expect("file")).ok()?;
    assert_eq!(
        proof.index.entries(),
        indexed.index().entries(),
        "by its index and from front to back"
    );
    let tail = [
        ("index.json", index_size(path)),
        ("SHA256SUMS", proof.sums.len() as u64),
    ];
    listing.extend(tail.map(|(name, size)| (name.to_owned(), size)));
    Some(listing)
}

/// Only the index itself knows its size: taken from what the archive unpacks to.
fn index_size(path: &Path) -> u64 {
    let script = format!("{} | tar -xO index.json | wc -c", decompress(path));
    output(Path::new("/"), &script).trim().parse().expect("a number")
}

/// A command that prints the tar stream of a file.
fn decompress(path: &Path) -> String {
    let mut start = std::fs::read(path).expect("file");
    start.truncate(2);
    let program = match start[..] {
        [0x28, 0xb5] => "zstd -dcq",
        [0x1f, 0x8b] => "gzip -dc",
        _ => "cat",
    };
    format!("{program} {}", path.display())
}

/// What GNU tar lists; it exits with an error where it sees one.
fn gnu(path: &Path) -> Option<Listing> {
    let script = format!(
        "set -o pipefail; {} 2>/dev/null | tar --quoting-style=escape -tv 2>/dev/null",
        decompress(path)
    );
    let listed = Command::new("bash")
        .args(["-c", &script])
        .env("LC_ALL", "C")
        .output()
        .expect("tar");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // A device has numbers in the place of a size.
        (fields[5..].join(" "), fields[2].parse().unwrap_or(u64::MAX))
    };
    listed.status.success().then(|| text.lines().map(line).collect())
}

/// What Python lists.
fn python(path: &Path) -> Option<Listing> {
    const PROGRAM: &str = "import json, sys, tarfile\n\
        archive = tarfile.open(fileobj=sys.stdin.buffer, mode='r|', errorlevel=2)\n\
        print(json.dumps([[member.name, member.size] for member in archive]))";
    let script = format!(
        "set -o pipefail; {} 2>/dev/null | python3 -c \"$0\" 2>/dev/null",
        decompress(path)
    );
    let listed = Command::new("bash")
        .args(["-c", &script, PROGRAM])
        .output()
        .expect("python3");
    listed
        .status
        .success()
        .then(|| serde_json::from_slice(&listed.stdout).expect("JSON"))
}

/// Without the directories, which only tar lists.
fn files(listing: Listing) -> Listing {
    let directory = |name: &str| ["checkpoint", "pre-checkpoint", "volumes"].contains(&name.trim_end_matches('/'));
    listing
        .into_iter()
        .filter(|(name, size)| !(directory(name) && *size == 0))
        .collect()
}

fn assert_alike(path: &Path) {
    let ours = ours(path).expect("accepted");
    assert_eq!(files(gnu(path).expect("GNU tar reads it")), ours);
    assert_eq!(files(python(path).expect("Python reads it")), ours);
}

#[test]
fn good_archives_are_listed_alike() {
    let directory = tempfile::tempdir().expect("directory");
    for codec in ["zstd", "gzip", "none"] {
        let path = directory.path().join(codec);
        std::fs::write(&path, Build::sample().options(options(codec)).bytes()).expect("written");
        assert_eq!(ours(&path).expect("accepted").len(), sample().len() + 2);
        assert_alike(&path);
        std::fs::write(&path, Forge::small(codec).bytes()).expect("written");
        assert_alike(&path);
    }
}

#[test]
fn no_defect_is_listed() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("archive");
    let mut others = 0;
    for defect in defects::all() {
        std::fs::write(&path, &defect.archive).expect("written");
        assert_eq!(ours(&path), None, "{}", defect.name);
        others += usize::from(gnu(&path).is_some());
    }
    // Else the defects were no more than damage, which anybody sees.
    assert!(others > 50, "GNU tar lists only {others} of them");
}

/// A change of the header of an entry, with a checksum to match.
fn tampered() -> impl Strategy<Value = (Vec<u8>, String)> {
    let name = prop::sample::select(vec![
        "stats-dump",
        "checkpoint/a.img",
        "../x",
        "/x",
        "stats-dump\0x",
        "a/./b",
        "",
    ]);
    let field = (0_usize..512, prop::collection::vec(any::<u8>(), 1..12));
    let records = prop::collection::vec(
        (
            prop::sample::select(vec!["path", "size", "linkpath", "GNU.sparse.size", "x"]),
            "[a-z0-9/.\n]{0,12}",
        ),
        0..3,
    );
    (name, field, records, 0..4).prop_map(|(name, (at, value), records, how)| {
        let plain = support::forge::block(name.as_bytes(), b'0', 0);
        let at = at.min(512 - value.len());
        let main = match how {
            0 => forged("stats-dump", 0, at, &value),
            1 => plain,
            _ => header("stats-dump", 0),
        };
        let records: Vec<u8> = records
            .iter()
            .flat_map(|(key, value)| record(key, value.as_bytes()))
            .collect();
        let head = if how == 3 {
            [pax(&records), checksum(main)].concat()
        } else {
            main
        };
        (head, name.split('\0').next().unwrap_or_default().to_owned())
    })
}

#[test]
fn tampered_headers_are_refused_or_listed_alike() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("archive");
    let mut runner = TestRunner::deterministic();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..200 {
        let (head, name) = tampered().new_tree(&mut runner).expect("a value").current();
        let mut forge = Forge::small("none");
        let last = forge.entries.len() - 1;
        let listed = if name.is_empty() { "stats-dump" } else { &name };
        forge.entries.insert(
            last,
            Entry {
                name: listed.to_owned(),
                header: head,
                content: Vec::new(),
            },
        );
        std::fs::write(&path, forge.bytes()).expect("written");
        match ours(&path) {
            Some(_) => {
                assert_alike(&path);
                accepted += 1;
            }
            None => refused += 1,
        }
    }
    assert!(refused > 120 && accepted > 8, "{refused} refused, {accepted} accepted");
}
