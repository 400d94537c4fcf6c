//! The bench runs through, measures everything that it says it does, and leaves nothing behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::possible;

fn bench() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/bench"));
    command.args(["--binary", env!("CARGO_BIN_EXE_ckpt"), "--sizes", "64"]);
    command
}

fn figure(steps: &Value, step: &str, name: &str) -> f64 {
    let value = steps[step][name].as_f64();
    value.unwrap_or_else(|| panic!("no {name} of {step} in {steps:#}"))
}

fn assert_export(steps: &Value) {
    let export = |name| figure(steps, "export", name);
    assert!(export("frozen") > 0.0 && export("still") > 0.0, "{steps:#}");
    assert!(
        export("still") < export("wall"),
        "it stands still longer than the export took: {steps:#}"
    );
    assert!(export("user") + export("system") > 0.0, "{steps:#}");
    // A quarter is noise, which is in any archive.
    assert!(export("archive") > 16e6 && export("disk") > 16e6, "{steps:#}");
    let (began, ended) = (figure(steps, "import", "goes_on"), figure(steps, "import", "wall"));
    assert!(began > 0.0 && ended > 0.0, "{steps:#}");
}

#[test]
fn the_bench_has_every_figure() {
    if !possible() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("figures.json");
    let output = bench()
        .args(["--rounds", "1", "--peers", "ckpt,hand,parts", "--markdown", "--json"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let runs = result["runs"].as_array().unwrap();
    let steps = |peer| &runs.iter().find(|run| run["peer"] == peer).unwrap()["steps"];

    assert_export(steps("ckpt"));
    assert_export(steps("hand"));
    assert!(figure(steps("ckpt"), "export", "memory") > 1e6, "ckpt uses memory");
    assert_eq!(figure(steps("hand"), "export", "memory"), 0.0, "there is no ckpt");
    for name in ["verify", "verify_share", "inspect", "ls"] {
        assert!(figure(steps("ckpt"), "reading", name) > 0.0);
    }
    assert!(
        figure(steps("parts"), "discard", "bytes") > 64e6,
        "all memory went to the page server"
    );
    assert!(figure(steps("parts"), "discard", "still") > 0.0);
    assert!(figure(steps("parts"), "zstd", "wall") > 0.0);

    let again = bench().arg("--markdown").arg("--from").arg(&file).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&again.stdout),
        "figures that were kept make the same tables"
    );
}

/// The directory of the test host that this bench has started.
fn session(bench: u32) -> PathBuf {
    let children = fs::read_to_string(format!("/proc/{bench}/task/{bench}/children")).unwrap();
    let commands = children.split_whitespace().map(|pid| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).into_owned()
    });
    let arguments: Vec<String> = commands
        .flat_map(|line| line.split('\0').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let at = arguments.iter().position(|argument| argument == "--session").unwrap();
    PathBuf::from(&arguments[at + 1])
}

#[test]
fn a_bench_that_is_interrupted_leaves_nothing() {
    if !possible() {
        return;
    }
    let mut child = bench()
        .args(["--rounds", "100", "--peers", "hand"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("round 1"), "{line}");
    let session = session(child.id());
    assert!(session.exists());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!session.exists(), "{} is left", session.display());
}
