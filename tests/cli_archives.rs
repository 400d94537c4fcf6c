//! The commands that read archives: what they print, what they refuse, how they end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that cannot run says so"
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use assert_cmd::prelude::*;
use ckpt::archive::{ArchivePath, Compression, Writer, WriterOptions};

/// 2023-11-14 22:13:20 UTC.
const MTIME: u64 = 1_700_000_000;
const COMPRESSIONS: [&str; 3] = ["zstd", "gzip", "none"];

fn manifest() -> Vec<u8> {
    let text = include_str!("support/manifest.json");
    text.as_bytes().to_vec()
}

fn entries() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("ckpt.json", manifest()),
        ("config.dump", b"{}\n".to_vec()),
        ("spec.dump", b"{\"ociVersion\":\"1.0.2\"}\n".to_vec()),
        (
            "checkpoint/pages-1.img",
            (0..3_000_000_u32).map(|n| (n / 7) as u8).collect(),
        ),
        ("checkpoint/core-1.img", b"core".to_vec()),
        ("checkpoint/inventory.img", b"inventory".to_vec()),
        ("rootfs.tar", vec![0; 10_240]),
        ("dump.log", b"done\n".to_vec()),
    ]
}

/// An archive in a directory of its own.
struct Sample {
    directory: tempfile::TempDir,
}

impl Sample {
    fn new(compression: &str) -> Self {
        let sample = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let compression: Compression = compression.parse().unwrap();
        let options = WriterOptions {
            compression,
            mtime: MTIME,
            ..WriterOptions::default()
        };
        let mut writer = Writer::new(Vec::new(), options).unwrap();
        for (name, content) in entries() {
            writer
                .add_bytes(&ArchivePath::try_from(name).unwrap(), &content)
                .unwrap();
        }
        let (bytes, _) = writer.finish().unwrap();
        fs::write(sample.path("a.ckpt"), bytes).unwrap();
        sample
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same archive with one byte changed.
    fn damage(&self, at: usize) {
        let mut bytes = fs::read(self.path("a.ckpt")).unwrap();
        bytes[at] ^= 0x40;
        fs::write(self.path("a.ckpt"), bytes).unwrap();
    }

    /// `ckpt` in the sample's directory, so that messages name no path of this machine.
    fn ckpt(&self, words: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ckpt"));
        command
            .args(words)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .env_remove("CKPT_LOG");
        command
    }

    fn stdout(&self, words: &[&str]) -> String {
        String::from_utf8(self.ckpt(words).assert().success().get_output().stdout.clone()).unwrap()
    }

    fn stderr(&self, words: &[&str], code: i32) -> String {
        let assert = self.ckpt(words).assert().code(code).stdout("");
        String::from_utf8(assert.get_output().stderr.clone()).unwrap()
    }

    /// `ckpt` with the archive in its standard input, as a pipe.
    fn piped(&self, words: &[&str]) -> Output {
        let mut command = self.ckpt(words);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let bytes = fs::read(self.path("a.ckpt")).unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feeding = std::thread::spawn(move || drop(stdin.write_all(&bytes)));
        let output = child.wait_with_output().unwrap();
        feeding.join().unwrap();
        output
    }
}

#[test]
fn a_good_archive_is_told_with_its_identity() {
    for compression in COMPRESSIONS {
        let sample = Sample::new(compression);
        let text = sample.stdout(&["verify", "a.ckpt"]);
        assert!(text.starts_with("a.ckpt: good, sha256:"), "{text}");
        let piped = sample.piped(&["verify", "-"]);
        assert_eq!(
            String::from_utf8(piped.stdout).unwrap(),
            text.replace("a.ckpt: ", "-: "),
            "{compression}"
        );
        assert_eq!(sample.stdout(&["verify", "-q", "a.ckpt"]), "");
    }
}

#[test]
fn verify_as_json() {
    let sample = Sample::new("zstd");
    let value: serde_json::Value = serde_json::from_str(&sample.stdout(&["verify", "--json", "a.ckpt"])).unwrap();
    assert_eq!(value["identity"].as_str().unwrap().len(), 64);
    let content: usize = entries().iter().map(|(_, content)| content.len()).sum();
    assert_eq!(
        (value["entries"].as_u64(), value["content_bytes"].as_u64()),
        (Some(8), Some(content as u64))
    );
    assert_eq!(
        (value["archive"].as_str(), value["signed"].as_bool()),
        (Some("a.ckpt"), Some(false))
    );
}

#[test]
fn a_damaged_archive_is_exit_code_4_in_every_command() {
    for compression in COMPRESSIONS {
        let sample = Sample::new(compression);
        // Somewhere in the middle: memory, which only reading it shows.
        let middle = fs::metadata(sample.path("a.ckpt")).unwrap().len() / 2;
        sample.damage(usize::try_from(middle).unwrap());
        for words in [&["verify", "a.ckpt"][..], &["extract", "a.ckpt", "-C", "out"]] {
            let text = sample.stderr(words, 4);
            assert!(
                text.contains("checkpoint/pages-1.img"),
                "{compression} {words:?}: {text}"
            );
        }
        let cat = sample
            .ckpt(&["cat", "a.ckpt", "checkpoint/pages-1.img"])
            .output()
            .unwrap();
        assert_eq!(cat.status.code(), Some(4), "{compression}");
        assert_eq!(
            fs::read_dir(sample.path("out")).unwrap().count(),
            0,
            "{compression}: left behind"
        );
    }
}

#[test]
fn what_is_no_archive_is_exit_code_4() {
    let sample = Sample::new("zstd");
    fs::write(sample.path("text"), "no archive at all\n").unwrap();
    fs::write(sample.path("empty"), "").unwrap();
    for name in ["text", "empty"] {
        for command in ["verify", "inspect", "ls"] {
            sample.stderr(&[command, name], 4);
        }
    }
    insta::assert_snapshot!(sample.stderr(&["verify", "text"], 4), @"
    ckpt: verifying (18 B)
    ckpt: cannot verify text
      cause: truncated at byte 18 (entry ckpt.json)
      to do: copy it again and compare: `ckpt verify FILE` on the host that made it must print the same identity
    ");
}

#[test]
fn a_file_that_is_not_there_is_exit_code_1() {
    let sample = Sample::new("none");
    for command in ["verify", "inspect", "ls"] {
        let text = sample.stderr(&[command, "none.ckpt"], 1);
        assert!(text.contains("none.ckpt") && text.contains("No such file"), "{text}");
    }
    let text = sample.stderr(&["verify", "--json", "none.ckpt"], 1);
    let value: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (value["event"].as_str(), value["kind"].as_str()),
        (Some("error"), Some("other"))
    );
}

#[test]
fn a_listing_is_the_same_from_a_file_and_from_a_pipe() {
    for compression in COMPRESSIONS {
        let sample = Sample::new(compression);
        for words in [
            &["ls", "a.ckpt"][..],
            &["ls", "-l", "a.ckpt"],
            &["ls", "--json", "a.ckpt"],
        ] {
            let piped: Vec<&str> = words
                .iter()
                .map(|word| if *word == "a.ckpt" { "-" } else { *word })
                .collect();
            let piped = sample.piped(&piped);
            assert_eq!(
                String::from_utf8(piped.stdout).unwrap(),
                sample.stdout(words),
                "{compression}"
            );
        }
    }
}

#[test]
fn a_long_listing_is_that_of_tar() {
    let sample = Sample::new("none");
    let tar = Command::new("tar")
        .args(["tvf", "a.ckpt", "--numeric-owner", "--utc"])
        .current_dir(&sample.directory)
        .output();
    let squeeze = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    };
    let mut want = squeeze(&String::from_utf8(tar.unwrap().stdout).unwrap());
    // The directory that checkpointctl asks for holds nothing, and is no entry.
    want.retain(|line| !line.ends_with('/'));
    assert_eq!(squeeze(&sample.stdout(&["ls", "-l", "a.ckpt"])), want);
}

#[test]
fn entries_can_be_chosen() {
    let sample = Sample::new("zstd");
    assert_eq!(
        sample
            .stdout(&["ls", "a.ckpt", "dump.log", "checkpoint/"])
            .lines()
            .count(),
        4
    );
    let text = sample.stderr(&["ls", "a.ckpt", "nothing"], 2);
    assert!(text.contains("there is no entry nothing in a.ckpt"), "{text}");
}

#[test]
fn every_entry_is_written_as_it_is() {
    for compression in COMPRESSIONS {
        let sample = Sample::new(compression);
        for (name, content) in entries() {
            let found = sample
                .ckpt(&["cat", "a.ckpt", name])
                .assert()
                .success()
                .get_output()
                .stdout
                .clone();
            assert!(found == content, "{compression}: {name}");
            assert!(
                sample.piped(&["cat", "-", name]).stdout == content,
                "{compression}, piped: {name}"
            );
        }
        sample.stderr(&["cat", "a.ckpt", "checkpoint"], 2);
    }
}

#[test]
fn what_is_at_the_end_can_be_read_too() {
    let sample = Sample::new("zstd");
    let out = Command::new("sh")
        .current_dir(&sample.directory)
        .args(["-c", "zstd -dc a.ckpt | tar x"])
        .status()
        .unwrap();
    assert!(out.success());
    for name in ["index.json", "SHA256SUMS"] {
        assert_eq!(
            sample.stdout(&["cat", "a.ckpt", name]),
            fs::read_to_string(sample.path(name)).unwrap()
        );
    }
}

#[test]
fn everything_is_extracted_as_tar_does_it() {
    for compression in COMPRESSIONS {
        let sample = Sample::new(compression);
        let names = sample.stdout(&["extract", "a.ckpt", "-C", "new/dir"]);
        assert_eq!(names, sample.stdout(&["ls", "a.ckpt"]));
        for (name, content) in entries() {
            assert!(
                fs::read(sample.path("new/dir").join(name)).unwrap() == content,
                "{compression}: {name}"
            );
        }
        let mut sums = Command::new("sha256sum");
        sums.args(["-c", "--quiet", "SHA256SUMS"])
            .current_dir(sample.path("new/dir"));
        assert!(sums.status().unwrap().success());
    }
}

#[test]
fn nothing_is_overwritten() {
    let sample = Sample::new("zstd");
    fs::create_dir(sample.path("out")).unwrap();
    fs::write(sample.path("out/dump.log"), "mine").unwrap();
    let text = sample.stderr(&["extract", "a.ckpt", "-C", "out"], 1);
    assert!(text.contains("out/dump.log: it is there already"), "{text}");
    let left: Vec<_> = fs::read_dir(sample.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["dump.log"]);
    assert_eq!(fs::read_to_string(sample.path("out/dump.log")).unwrap(), "mine");
}

#[test]
fn a_link_in_the_target_directory_is_not_followed() {
    let sample = Sample::new("zstd");
    fs::create_dir(sample.path("out")).unwrap();
    fs::create_dir(sample.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", sample.path("out/checkpoint")).unwrap();
    sample.stderr(&["extract", "a.ckpt", "-C", "out"], 1);
    assert_eq!(fs::read_dir(sample.path("elsewhere")).unwrap().count(), 0);
}

#[test]
fn some_entries_are_extracted() {
    let sample = Sample::new("gzip");
    sample
        .ckpt(&["extract", "a.ckpt", "dump.log", "-C", "out", "-q"])
        .assert()
        .success()
        .stdout("");
    assert_eq!(fs::read_dir(sample.path("out")).unwrap().count(), 1);
    sample.stderr(&["extract", "a.ckpt", "dump.log", "nothing", "-C", "more"], 2);
    assert_eq!(fs::read_dir(sample.path("more")).unwrap().count(), 0);
}

#[test]
fn inspect_for_people() {
    let sample = Sample::new("zstd");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("sha256:[0-9a-f]{64}", "sha256:[digest]");
    settings.add_filter(r"size +.*\(zstd\)", "size          [size] (zstd)");
    settings.add_filter(r"ratio [0-9.]+", "ratio [ratio]");
    settings.add_filter(r"[0-9.]+ KiB +(index.json|SHA256SUMS)", "[size] $1");
    settings.bind(|| insta::assert_snapshot!(sample.stdout(&["inspect", "a.ckpt"])));
}

#[test]
fn inspect_as_json() {
    let sample = Sample::new("none");
    let value: serde_json::Value = serde_json::from_str(&sample.stdout(&["inspect", "a.ckpt", "--json"])).unwrap();
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "archive",
            "manifest",
            "entries",
            "statistics",
            "processes",
            "memory",
            "mounts",
            "network",
            "cgroups",
            "problems"
        ]
    );
    assert_eq!(value["manifest"]["container"]["id"], "web");
    assert_eq!(value["archive"]["compression"], "none");
    assert_eq!(value["entries"][0]["name"], "ckpt.json");
}

#[test]
fn progress_as_json_is_one_object_a_line() {
    let sample = Sample::new("zstd");
    let output = sample
        .ckpt(&["verify", "a.ckpt", "--progress", "json"])
        .output()
        .unwrap();
    let schema: serde_json::Value = serde_json::from_str(&ckpt::cli::events_schema()).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.lines()
            .next()
            .unwrap()
            .starts_with(r#"{"event":"phase","phase":"verify","total":"#),
        "{text}"
    );
    for line in text.lines() {
        let value = serde_json::from_str(line).unwrap();
        assert!(schema.is_valid(&value), "{line}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error_message() {
    let sample = Sample::new("none");
    for words in [
        &["ls", "a.ckpt"][..],
        &["cat", "a.ckpt", "checkpoint/pages-1.img"],
        &["inspect", "a.ckpt"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        sample.ckpt(words).stdout(writer).assert().code(141).stderr("");
    }
}

#[test]
fn plain_progress_goes_to_standard_error_and_can_be_silenced() {
    let sample = Sample::new("none");
    let said = |words: &[&str]| String::from_utf8(sample.ckpt(words).output().unwrap().stderr).unwrap();
    assert!(said(&["verify", "a.ckpt"]).starts_with("ckpt: verifying ("));
    for words in [
        &["verify", "a.ckpt", "-q"][..],
        &["verify", "a.ckpt", "--progress", "none"],
    ] {
        assert_eq!(said(words), "");
    }
}

#[test]
fn a_file_named_like_an_option_can_be_read() {
    let sample = Sample::new("none");
    fs::copy(sample.path("a.ckpt"), sample.path("-v")).unwrap();
    assert!(Path::new(&sample.path("-v")).exists());
    sample.ckpt(&["verify", "--", "-v"]).assert().success();
}
