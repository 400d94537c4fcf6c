//! Archives in `fixtures/archives`: what was written once is read as it was, and the bad ones stay what their names say.
//!
//! `UPDATE_FIXTURES=1 cargo test --test archive_fixtures` writes the bad ones anew. Good ones are written only where there
//! is none: an archive of yesterday must be read for ever.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that cannot run says so"
)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ckpt::archive::Indexed;
use support::archives::{Build, options, small, verify};
use support::defects;

/// Larger ones are generated where they are tested.
const LARGEST: usize = 16 << 10;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/archives")
}

fn update() -> bool {
    std::env::var_os("UPDATE_FIXTURES").is_some()
}

#[test]
fn bad_archives_are_what_the_generator_makes() {
    let mut expected = BTreeSet::new();
    for defect in defects::all()
        .into_iter()
        .filter(|defect| defect.archive.len() <= LARGEST)
    {
        let name = format!("bad-{}.ckpt", defect.name);
        let path = fixtures().join(&name);
        if update() {
            std::fs::create_dir_all(fixtures()).expect("directory");
            std::fs::write(&path, &defect.archive).expect("written");
        }
        let found = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}; see the head of this file"));
        assert!(found == defect.archive, "{name} is not what the generator makes");
        assert!(expected.insert(name.clone()), "{name}: two defects of that name");
    }
    let there = std::fs::read_dir(fixtures())
        .expect("fixtures")
        .map(|entry| entry.expect("entry").file_name());
    let bad = there
        .map(|name| name.into_string().expect("text"))
        .filter(|name| name.starts_with("bad-"));
    assert_eq!(bad.collect::<BTreeSet<_>>(), expected);
}

#[test]
fn good_archives_of_yesterday_are_read() {
    for (codec, identity) in [
        (
            "zstd",
            "8954d62d88d35503937deb828a75a6427dc62b4ff70eb26b199b672c3c81ca3f",
        ),
        (
            "gzip",
            "5f679ca972fd92ec606d3c329f80d37c8030712c4f28127f41f6647dcfbf0289",
        ),
        (
            "none",
            "d17df290fef67fb24fe0702b3c9bbd60b7e4ba3a9dbf53c0c0fcb81a93464e0f",
        ),
    ] {
        let path = fixtures().join(format!("good-{codec}.ckpt"));
        if update() && !path.exists() {
            std::fs::write(&path, Build::small().options(options(codec)).bytes()).expect("written");
        }
        let archive = std::fs::read(&path).expect("fixture");
        let proof = verify(&archive).expect(codec);
        assert_eq!(proof.identity.to_string(), identity, "{codec}");
        let indexed = Indexed::open(std::fs::File::open(&path).expect("fixture")).expect(codec);
        for (name, content) in small().into_iter().skip(1) {
            assert!(indexed.read(name, 1 << 20).expect(name) == content, "{codec}: {name}");
        }
    }
}
