//! The whole way of a real dump up to the restore, which needs neither root nor CRIU: `fixtures/dump-counter` becomes an
//! archive, the archive is looked at, and becomes a bundle with images again.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "support/place.rs"]
mod place;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use assert_cmd::prelude::*;
use serde_json::Value;

use place::{Place, fixture};

/// The files below a directory, by their names beneath it.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = PathBuf::from(path.file_name().unwrap());
        if path.is_dir() {
            found.extend(
                files(&path)
                    .into_iter()
                    .map(|(below, content)| (name.join(below), content)),
            );
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn a_dump_becomes_an_archive_and_the_archive_a_bundle() {
    let place = Place::dated();
    place.export("counter.ckpt", &[]).assert().success().stdout("");
    assert_eq!(
        fs::metadata(place.path("counter.ckpt")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    place.ckpt(&["verify", "counter.ckpt"]).assert().success();

    let bundle = place.path("there/visitor");
    fs::create_dir(place.path("there")).unwrap();
    let imported = [
        "import",
        "counter.ckpt",
        "--no-restore",
        "-n",
        "visitor",
        "--bundle",
        bundle.to_str().unwrap(),
    ];
    let outcome = place.json(&imported);
    assert_eq!(
        (outcome["outcome"].as_str(), outcome["container"].as_str()),
        (Some("ready"), Some("visitor"))
    );

    assert_eq!(files(&bundle.join("rootfs")), files(&fixture("bundle/rootfs")));
    let mut images = files(&fixture("images"));
    // The log and the statistics are entries of their own in an archive.
    images.retain(|name, _| !["dump.log", "stats-dump"].contains(&name.to_str().unwrap()));
    assert_eq!(files(&bundle.join("checkpoint")), images);
    let left = fs::read_dir(place.path("there")).unwrap().count();
    assert_eq!(left, 1, "something is left beside the bundle");
}

#[test]
fn the_same_dump_gives_the_same_bytes_whatever_the_threads() {
    let place = Place::dated();
    for compression in ["zstd", "gzip", "none"] {
        for threads in ["1", "8"] {
            place
                .export(threads, &["-c", compression, "--threads", threads])
                .assert()
                .success();
        }
        assert!(
            fs::read(place.path("1")).unwrap() == fs::read(place.path("8")).unwrap(),
            "{compression}"
        );
    }
}

#[test]
fn a_pipe_carries_the_same_archive() {
    let place = Place::dated();
    place.export("file", &[]).assert().success();
    let piped = place.export("-", &[]).assert().success().get_output().stdout.clone();
    assert!(piped == fs::read(place.path("file")).unwrap());
}

#[test]
fn an_older_archive_is_replaced_by_a_whole_one_or_not_at_all() {
    let place = Place::dated();
    fs::write(place.path("counter.ckpt"), "older").unwrap();
    let mut failing = place.ckpt(&[
        "export",
        "--runtime",
        "runc",
        "-o",
        "counter.ckpt",
        "--images",
        "/nonexistent",
    ]);
    failing.arg("--bundle").arg(fixture("bundle")).assert().failure();
    assert_eq!(fs::read_to_string(place.path("counter.ckpt")).unwrap(), "older");
    place.export("counter.ckpt", &[]).assert().success();
    place.ckpt(&["verify", "counter.ckpt"]).assert().success();
    assert_eq!(
        fs::read_dir(&place.directory).unwrap().count(),
        1,
        "something is left beside the archive"
    );
}

#[test]
fn nothing_is_exported_where_standard_output_has_no_reader() {
    let place = Place::dated();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let assert = place.export("-", &[]).stdout(writer).assert().failure();
    let text = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(text.contains("what went to standard output is no archive"), "{text}");
}

#[test]
fn a_dry_run_changes_nothing_and_is_a_plan() {
    let place = Place::dated();
    place.export("counter.ckpt", &[]).assert().success();
    let bundle = place.path("visitor");
    let words = [
        "import",
        "counter.ckpt",
        "--dry-run",
        "--bundle",
        bundle.to_str().unwrap(),
    ];
    let output = place.ckpt(&words).output().unwrap();
    // Without a runtime on this machine the plan is refused for that reason, and still nothing is changed.
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(
        told.contains("make the bundle") || told.contains("runc is not installed"),
        "{told}"
    );
    assert_eq!(fs::read_dir(&place.directory).unwrap().count(), 1);
}

/// JSON with each value replaced by its type, and lists by their first element.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(list) => list.iter().take(1).map(shape).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), shape(value)))
            .collect(),
    }
}

#[test]
fn shapes_of_the_json_results() {
    let place = Place::dated();
    let exported: Value = {
        let assert = place.export("counter.ckpt", &["--json"]).assert().success();
        serde_json::from_slice(&assert.get_output().stdout).unwrap()
    };
    insta::assert_json_snapshot!("json-export", shape(&exported));
    for command in ["verify", "inspect", "ls"] {
        insta::assert_json_snapshot!(
            format!("json-{command}"),
            shape(&place.json(&[command, "counter.ckpt"]))
        );
    }
    for check in place.json(&["check", "counter.ckpt"]).as_array().unwrap() {
        let fields: Vec<&str> = check.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields[..3], ["level", "subject", "message"], "{check}");
        assert!(
            matches!(check["level"].as_str(), Some("ok" | "warning" | "error")),
            "{check}"
        );
        assert!(fields.len() == 3 || fields[3..] == ["advice"], "{check}");
    }
    let extracted = place.json(&["extract", "counter.ckpt", "dump.log", "-C", "out"]);
    assert_eq!(extracted, serde_json::json!(["dump.log"]));
}
