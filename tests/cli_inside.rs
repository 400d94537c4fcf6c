//! What is shown of the images in an archive, on a real dump: `fixtures/dump-counter`.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use assert_cmd::prelude::*;
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/dump-counter")
        .join(name)
}

/// A directory with archives of the dump, one for each compression.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self::with(&fixture("images"))
    }

    /// Archives of these images.
    fn with(images: &Path) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for compression in ["zstd", "gzip", "none"] {
            let mut command = place.ckpt(&[
                "export",
                "--runtime",
                "runc",
                "-q",
                "-c",
                compression,
                "-o",
                compression,
            ]);
            command
                .arg("--images")
                .arg(images)
                .arg("--bundle")
                .arg(fixture("bundle"));
            command.assert().success();
        }
        place
    }

    /// Archives of the dump without those images.
    fn without(names: &[&str]) -> Self {
        let images = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(fixture("images")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if !names.contains(&name) {
                fs::copy(&path, images.path().join(name)).unwrap();
            }
        }
        Self::with(images.path())
    }

    fn ckpt(&self, words: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ckpt"));
        command.args(words).current_dir(&self.0).stdin(Stdio::null());
        command.env_remove("CKPT_LOG").env("SOURCE_DATE_EPOCH", "1700000000");
        command
    }

    fn stdout(&self, words: &[&str]) -> String {
        let output = self.ckpt(words).assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.stdout(&[words, &["--json"]].concat())).unwrap()
    }

    /// What a command that must fail with this exit code says.
    fn refused(&self, words: &[&str], code: i32) -> String {
        let output = self.ckpt(words).assert().code(code).get_output().stderr.clone();
        String::from_utf8(output).unwrap()
    }

    /// `ckpt` reading an archive from a pipe.
    fn piped(&self, archive: &str, words: &[&str]) -> Output {
        let mut command = self.ckpt(words);
        command.stdin(fs::File::open(self.0.path().join(archive)).unwrap());
        // A file as standard input is still read from front to back.
        command.output().unwrap()
    }
}

#[test]
fn every_part_of_a_real_dump() {
    let place = Place::new();
    let parts = [
        "inspect",
        "zstd",
        "--ps-tree-cmd",
        "--ps-tree-env",
        "--files",
        "--sockets",
        "--mounts",
        "--memory",
        "--maps",
        "--network",
        "--cgroups",
        "--stats",
        "--metadata",
    ];
    insta::assert_snapshot!(place.stdout(&parts));
}

#[test]
fn the_parts_are_the_same_whatever_the_compression_and_through_a_pipe() {
    let place = Place::new();
    let parts = ["--ps-tree-cmd", "--env", "--files", "--memory", "--mounts"];
    let wanted = place.stdout(&[&["inspect", "zstd"][..], &parts].concat());
    assert!(
        wanted.contains("/bin/counter") && wanted.contains("TERM=xterm"),
        "{wanted}"
    );
    for compression in ["gzip", "none"] {
        assert_eq!(
            place.stdout(&[&["inspect", compression][..], &parts].concat()),
            wanted,
            "{compression}"
        );
    }
    for compression in ["zstd", "gzip", "none"] {
        let output = place.piped(compression, &[&["inspect", "-"][..], &parts].concat());
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            wanted,
            "{compression} through a pipe"
        );
    }
}

#[test]
fn json_follows_its_schema_and_keeps_secrets_unless_asked() {
    let place = Place::new();
    let schema = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/inspect-v1.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_slice(&schema).unwrap()).unwrap();
    for words in [&["inspect", "zstd"][..], &["inspect", "zstd", "--all", "--maps"]] {
        let value = place.json(words);
        assert!(
            validator.is_valid(&value),
            "{words:?}: {:?}",
            validator.iter_errors(&value).next()
        );
    }
    let short = place.json(&["inspect", "zstd"]);
    let process = &short["processes"][0];
    assert_eq!(process["command_line"], serde_json::json!(["/bin/counter"]));
    assert!(
        process.get("environment").is_none() && process["memory"].get("mappings").is_none(),
        "{process}"
    );
    let all = place.json(&["inspect", "zstd", "--all", "--maps"]);
    let process = &all["processes"][0];
    assert_eq!(process["environment"][1], "TERM=xterm");
    assert_eq!(process["memory"]["mappings"][0]["name"], "/bin/counter");
    assert_eq!(process["memory"]["mappings"][0]["start"], "000000400000");
}

#[test]
fn several_archives_are_shown_one_after_the_other() {
    let place = Place::new();
    let text = place.stdout(&["inspect", "zstd", "gzip"]);
    assert!(text.starts_with("zstd:\n") && text.contains("\n\ngzip:\n"), "{text}");
    assert_eq!(place.json(&["inspect", "zstd", "gzip"]).as_array().unwrap().len(), 2);
}

#[test]
fn one_process_can_be_asked_for_if_it_is_there() {
    let place = Place::new();
    assert!(place.stdout(&["inspect", "zstd", "--pid", "1"]).contains("1 counter"));
    let told = place.refused(&["inspect", "zstd", "--ps-tree", "--pid", "99999"], 2);
    assert!(
        told.contains("there is no process 99999") && told.contains("--ps-tree"),
        "{told}"
    );
}

#[test]
fn a_part_whose_image_is_missing_is_an_error_only_where_it_was_asked_for() {
    for (missing, part) in [
        ("pstree.img", "--ps-tree"),
        ("core-1.img", "--ps-tree"),
        ("files.img", "--files"),
        ("files.img", "--sockets"),
        ("pages-1.img", "--ps-tree-cmd"),
        ("pages-1.img", "--ps-tree-env"),
        ("mm-1.img", "--memory"),
        ("pagemap-1.img", "--maps"),
    ] {
        let place = Place::without(&[missing]);
        let told = place.refused(&["inspect", "zstd", part], 4);
        assert!(told.contains(missing), "{missing} {part}: {told}");
        let short = place.stdout(&["inspect", "zstd"]);
        assert!(
            short.contains(&format!("there is no image {missing}")),
            "{missing}: {short}"
        );
        place.stdout(&["inspect", "zstd", "--mounts"]);
    }
}
