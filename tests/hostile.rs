//! Damaged and hostile archives: refused, with the entry or the place named.

mod support;

use ckpt::archive::Error;
use ckpt::error::ErrorKind;
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
    #![proptest_config(ProptestConfig::with_cases(300))]

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
}

/// The end of a file is where most regions are: every bit of it.
#[test]
fn any_flipped_bit_at_the_end_is_seen() {
    for codec in CODECS {
        let archive = Build::of(&[("ckpt.json", &small()[0].1)])
            .options(options(codec))
            .bytes();
        for at in 0..archive.len() {
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
