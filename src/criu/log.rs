//! CRIU's log: what of it tells a person why a dump or restore failed.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

/// How much of the end of a log is looked at. CRIU repeats the cause in its last lines; logs at level 4 reach megabytes.
const TAIL: u64 = 256 * 1024;
/// How many error lines are quoted: the first one is nearly always the cause, the rest its consequences.
const QUOTED: usize = 6;
/// How many errors of the runtime are quoted.
const RUNTIME_QUOTED: usize = 3;
/// Longest quoted line, bytes.
const LINE: usize = 400;

/// The error lines of the log at `path`, oldest first; empty where the log cannot be read or has none.
#[must_use]
pub fn error_lines(path: &Path) -> Vec<String> {
    tail(path).map(|text| pick(&text)).unwrap_or_default()
}

/// A dump that CRIU neither finished nor gave up: it was killed, or crashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenOff {
    /// The processes that it had stopped, with their names.
    pub stopped: Vec<(i32, String)>,
}

/// Whether the dump of the log at `path` broke off; `None` where it came to an end of its own, or never began.
#[must_use]
pub fn broken_off(path: &Path) -> Option<BrokenOff> {
    let text = fs::read(path).ok()?;
    broken(&String::from_utf8_lossy(&text))
}

fn broken(text: &str) -> Option<BrokenOff> {
    let ended = |line: &str| {
        ["FAILED.", "finished successfully"]
            .iter()
            .any(|end| line.ends_with(end))
    };
    if text.lines().rev().any(ended) {
        return None;
    }
    let stopped = text.lines().filter_map(seized).collect();
    Some(BrokenOff { stopped })
}

/// `(00.003300) SEIZE 2204 (comm sleep): success`
fn seized(line: &str) -> Option<(i32, String)> {
    let (_, rest) = line.split_once(") SEIZE ")?;
    let (pid, rest) = rest.strip_suffix("): success")?.split_once(" (comm ")?;
    Some((pid.parse().ok()?, clip(rest)))
}

/// The errors in a runtime's log of JSON lines, or of LXC's, the last ones.
#[must_use]
pub(super) fn runtime_errors(path: &Path) -> Vec<String> {
    let text = tail(path).unwrap_or_default();
    let error = |line| runtime_error(line).or_else(|| lxc_error(line));
    let lines: Vec<_> = text.lines().filter_map(error).collect();
    lines[lines.len().saturating_sub(RUNTIME_QUOTED)..].to_vec()
}

/// What an engine said last on its standard error, if it calls that an error.
pub(super) fn last_words(path: &Path) -> Option<String> {
    let text = tail(path)?;
    text.lines()
        .rev()
        .find_map(|line| line.strip_prefix("Error: "))
        .map(clip)
}

fn runtime_error(line: &str) -> Option<String> {
    let entry: serde_json::Value = serde_json::from_str(line).ok()?;
    let serious = matches!(entry["level"].as_str()?, "error" | "fatal");
    entry["msg"]
        .as_str()
        .filter(|_| serious)
        .map(|message| clip(&message.replace('\n', " ")))
}

/// `lxc-checkpoint c1 20261120160640.636 ERROR    criu - ../src/lxc/criu.c:do_dump:1303 - dump failed`
fn lxc_error(line: &str) -> Option<String> {
    let mut parts = line.splitn(3, " - ");
    let serious = parts.next()?.split_whitespace().any(|word| word == "ERROR");
    parts.nth(1).filter(|_| serious).map(clip)
}

/// How long the tasks had been frozen when CRIU wrote the last line of the log at `path`: from the line that announces the
/// freeze. `None` where the log has none.
#[must_use]
pub fn frozen_for(path: &Path) -> Option<Duration> {
    let text = fs::read(path).ok()?;
    span(&String::from_utf8_lossy(&text))
}

fn span(text: &str) -> Option<Duration> {
    let mut lines = text.lines();
    let first = lines.find(|line| line.contains(") freezing cgroup") || line.contains(") Seized task"))?;
    let last = lines.rev().find_map(stamp)?;
    last.checked_sub(stamp(first)?)
}

/// The time in front of a line: `(00.139421)`, seconds since CRIU began.
fn stamp(line: &str) -> Option<Duration> {
    let seconds: f64 = line.strip_prefix('(')?.split(')').next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn tail(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Lines that CRIU marks `Error`. The one on RLIMIT_NOFILE is a warning for all that its mark says.
fn pick(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| line.contains("Error (") && !line.contains("RLIMIT_NOFILE"))
        .take(QUOTED)
        .map(clip)
        .collect()
}

fn clip(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(LINE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_lines_are_picked_and_warnings_left_out() {
        let text = "(00.1) Warn  (a.c:1): x\n(00.1) Error (criu/util.c:9): rlimit: Can't setup RLIMIT_NOFILE for self\n\
                    (00.2) Error (criu/sk.c:3): sockets: Can't dump\n(00.3) Unlock network\n";
        assert_eq!(pick(text), ["(00.2) Error (criu/sk.c:3): sockets: Can't dump"]);
    }

    #[test]
    fn a_dump_that_broke_off_is_told_from_one_that_ended() {
        let begun = "(00.003300) SEIZE 2204 (comm a (b)): success\n(00.1) SEIZE 9: failed\n(00.2) Error (x.c:1): x\n";
        let stopped = vec![(2204, "a (b)".to_owned())];
        assert_eq!(broken(begun), Some(BrokenOff { stopped }));
        for end in [
            "Error (criu/cr-dump.c:2128): Dumping FAILED.",
            "Dumping finished successfully",
        ] {
            assert_eq!(broken(&format!("{begun}(00.3) {end}\n")), None);
        }
    }

    #[test]
    fn the_frozen_time_runs_from_the_freeze_to_the_last_line() {
        let text = "(00.038567) cg: x\n(00.038590) freezing cgroup /x: 100 x 100ms attempts\n(00.139421) Seized task 1\n(00.196234) \t[/x]\n";
        assert_eq!(span(text), Some(Duration::from_micros(157_644)));
        assert_eq!(span("(00.1) nothing\n"), None);
    }

    #[test]
    fn a_runtime_s_errors_are_its_messages_without_the_warnings() {
        let error = r#"{"level":"error","msg":"criu failed: type NOTIFY\nlog file: x","time":"t"}"#;
        assert_eq!(
            runtime_error(error).as_deref(),
            Some("criu failed: type NOTIFY log file: x")
        );
        assert_eq!(runtime_error(r#"{"level":"warning","msg":"w"}"#), None);
        assert_eq!(runtime_error("not json"), None);
    }

    #[test]
    fn an_error_of_lxc_is_what_follows_its_place() {
        let line =
            "lxc-checkpoint c1 20261120160640.636 ERROR    criu - ../src/lxc/criu.c:do_dump:1303 - dump - failed";
        assert_eq!(lxc_error(line).as_deref(), Some("dump - failed"));
        for other in [line.replace("ERROR", "WARN").as_str(), "ERROR", ""] {
            assert_eq!(lxc_error(other), None, "{other:?}");
        }
    }

    #[test]
    fn control_characters_of_a_log_do_not_reach_the_terminal() {
        assert_eq!(pick("Error (x): \u{1b}[31mred"), ["Error (x): [31mred"]);
    }
}
