//! The command line as its users meet it: help, usage errors, exit codes, pipes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that cannot run says so"
)]

use std::process::{Command, Stdio};

use assert_cmd::prelude::*;
use predicates::prelude::*;

/// The commands that people type, in the order of the help.
const COMMANDS: [&str; 15] = [
    "export",
    "import",
    "verify",
    "inspect",
    "memory",
    "diff",
    "report",
    "list",
    "ls",
    "cat",
    "extract",
    "seal",
    "convert",
    "check",
    "completions",
];

/// `ckpt` with an environment that changes nothing.
fn ckpt(words: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("ckpt"));
    command
        .args(words)
        .env_remove("COLUMNS")
        .env_remove("CKPT_LOG")
        .env_remove("CLICOLOR_FORCE")
        .stdin(Stdio::null());
    command
}

fn stdout(words: &[&str]) -> String {
    String::from_utf8(ckpt(words).assert().success().get_output().stdout.clone()).unwrap()
}

fn stderr(words: &[&str], code: i32) -> String {
    let assert = ckpt(words).assert().code(code).stdout("");
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

#[test]
fn help_of_the_command() {
    insta::assert_snapshot!("help", stdout(&["--help"]));
}

#[test]
fn help_of_every_subcommand() {
    for name in COMMANDS {
        insta::assert_snapshot!(format!("help-{name}"), stdout(&[name, "--help"]));
    }
}

#[test]
fn help_names_every_command_that_is_not_hidden() {
    let help = stdout(&["-h"]);
    for name in COMMANDS {
        assert!(help.contains(&format!("\n  {name} ")), "{name}");
    }
    assert!(!help.contains("criu-action"), "{help}");
}

#[test]
fn version_names_the_package() {
    assert_eq!(stdout(&["--version"]), format!("ckpt {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_is_wrong() {
    let cases: [(&[&str], &str); 10] = [
        (&[], "Usage: ckpt"),
        (&["exprot"], "unrecognized subcommand 'exprot'"),
        (
            &["export"],
            "<CONTAINER|--images <DIR>|--pid <PID>|--unit <NAME.service>>",
        ),
        (&["export", "web"], "--output <FILE>"),
        (
            &["export", "web", "-o", "f", "-c", "none", "--level", "3"],
            "--level has no meaning with --compress none",
        ),
        (
            &["export", "web", "-o", "f", "--level", "20"],
            "zstd has levels 1 to 19, not 20",
        ),
        (
            &["export", "--images", "/i", "--bundle", "/b", "-o", "f"],
            "--images needs --runtime",
        ),
        (&["import", "f", "--name", "../x"], "a container's name is made of"),
        (&["import", "f", "--map-mount", "/d"], "expected DST=SRC"),
        (
            &["import", "f", "--map-mount", "/d=/a", "--map-mount", "/d=/b"],
            "--map-mount is given twice for /d",
        ),
    ];
    for (words, message) in cases {
        let text = stderr(words, 2);
        assert!(text.contains(message), "{words:?}: {text}");
    }
}

#[test]
fn usage_errors_show_the_usage_of_their_command() {
    insta::assert_snapshot!(stderr(&["export", "web", "-o", "f", "--level", "20"], 2), @"
    error: zstd has levels 1 to 19, not 20

    Usage: ckpt export [OPTIONS] --output <FILE> <CONTAINER|--images <DIR>|--pid <PID>|--unit <NAME.service>>

    For more information, try '--help'.
    ");
}

#[test]
fn usage_errors_are_json_when_asked_for() {
    let text = stderr(&["export", "web", "--json"], 2);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["event"], "error");
    assert_eq!(value["kind"], "usage");
    assert_eq!(value["exit_code"], 2);
}

#[test]
fn completions_are_made_for_each_shell() {
    for (shell, mark) in [
        ("bash", "complete -F _ckpt"),
        ("zsh", "#compdef ckpt"),
        ("fish", "complete -c ckpt"),
    ] {
        let script = stdout(&["completions", shell]);
        assert!(script.contains(mark), "{shell}");
        assert!(script.contains("leave-running"), "{shell}");
    }
}

#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let assert = ckpt(&["completions", "bash"]).stdout(full).assert().code(1);
    assert.stderr(predicate::str::contains("cannot write to standard output"));
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    ckpt(&["completions", "bash"])
        .stdout(writer)
        .assert()
        .code(141)
        .stderr("");
}

#[test]
fn without_a_runtime_an_export_names_those_it_looked_for() {
    let empty = tempfile::tempdir().unwrap();
    let assert = ckpt(&["export", "web", "-o", "/nonexistent/web.ckpt"])
        .env("PATH", empty.path())
        .assert()
        .code(3);
    let text = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    for told in [
        "none of runc, crun, lxc-checkpoint, podman was found in PATH",
        "to do: install the runtime",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[test]
fn an_action_without_a_session_is_refused() {
    let text = stderr(&["criu-action", "--socket", "/nonexistent/socket"], 1);
    assert!(text.contains("was refused"), "{text}");
}
