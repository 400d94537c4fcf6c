//! A directory to work in, with `ckpt` run in it.
#![allow(dead_code, reason = "every test binary uses another part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use assert_cmd::prelude::*;
use serde_json::Value;

/// A time for every entry, so that archives are the same each time: 2023-11-14 22:13:20 UTC.
const EPOCH: &str = "1700000000";

/// A file of the real dump that needs neither root nor CRIU.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/dump-counter")
        .join(name)
}

/// See the module.
pub struct Place {
    pub directory: tempfile::TempDir,
    epoch: Option<&'static str>,
}

impl Place {
    /// Archives that are made here have the time of what they are made of.
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            epoch: None,
        }
    }

    /// Archives that are made here all have the same time.
    pub fn dated() -> Self {
        Self {
            epoch: Some(EPOCH),
            ..Self::new()
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).unwrap();
    }

    pub fn ckpt(&self, words: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ckpt"));
        command
            .args(words)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .env_remove("CKPT_LOG")
            .env_remove("SOURCE_DATE_EPOCH");
        command.envs(self.epoch.map(|epoch| ("SOURCE_DATE_EPOCH", epoch)));
        command
    }

    /// The export of the real dump.
    pub fn export(&self, archive: &str, options: &[&str]) -> Command {
        self.export_of(&fixture("images"), archive, options)
    }

    /// The export of the real dump with these images.
    pub fn export_of(&self, images: &Path, archive: &str, options: &[&str]) -> Command {
        let mut command = self.ckpt(&["export", "--runtime", "runc", "-q", "-o", archive, "--images"]);
        command.arg(images).arg("--bundle").arg(fixture("bundle")).args(options);
        command
    }

    pub fn stdout(&self, words: &[&str]) -> Vec<u8> {
        self.ckpt(words).assert().success().get_output().stdout.clone()
    }

    pub fn text(&self, words: &[&str]) -> String {
        String::from_utf8(self.stdout(words)).unwrap()
    }

    /// What is said with `--json`, whatever the exit code.
    pub fn json(&self, words: &[&str]) -> Value {
        let assert = self.ckpt(words).arg("--json").assert();
        serde_json::from_slice(&assert.get_output().stdout).unwrap()
    }

    /// What is said where the exit code is this.
    pub fn refused(&self, words: &[&str], code: i32) -> String {
        let assert = self.ckpt(words).assert().code(code);
        String::from_utf8(assert.get_output().stderr.clone()).unwrap()
    }

    /// `ckpt` with a file in standard input, as a pipe.
    pub fn piped(&self, words: &[&str], file: &str) -> Output {
        let mut cat = Command::new("cat")
            .arg(self.path(file))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = self.ckpt(words).stdin(cat.stdout.take().unwrap()).output().unwrap();
        cat.wait().unwrap();
        output
    }
}
