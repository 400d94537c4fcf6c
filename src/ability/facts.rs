//! Looking at the host.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::version::Version;
use crate::request::RuntimeKind;
use crate::runtime;
use crate::sys::{programs, read, space};

/// Bit of CAP_SYS_RESOURCE in a capability set.
const CAP_SYS_RESOURCE: u32 = 24;
/// /proc/self/status is some 1.5 KiB.
const STATUS_LIMIT: u64 = 64 * 1024;
/// Where exports work unless they are told otherwise.
const WORK: &str = "/var/lib/ckpt";

/// What was found on this host.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Whether this process is root.
    pub root: bool,
    /// Whether it has CAP_SYS_RESOURCE.
    pub sys_resource: bool,
    /// Release of the kernel.
    pub kernel: Option<String>,
    /// CRIU, where there is one.
    pub criu: Option<CriuFacts>,
    /// Names and versions of the runtimes that are installed.
    pub runtimes: Vec<String>,
    /// Where exports work, and the bytes that are free there.
    pub work_space: Option<(PathBuf, u64)>,
}

/// What CRIU says.
#[derive(Debug, Clone)]
pub struct CriuFacts {
    /// Its version.
    pub version: Option<Version>,
    /// Why `criu check` fails, if it does.
    pub problem: Option<String>,
    /// Whether it can track changes of memory here.
    pub memory_tracking: bool,
}

impl Facts {
    /// Looks at the host, at one runtime or at all of them.
    #[must_use]
    pub fn gather(only: Option<RuntimeKind>) -> Self {
        let runtimes = RuntimeKind::ALL
            .into_iter()
            .filter(|kind| only.is_none_or(|only| only == *kind));
        Self {
            root: rustix::process::geteuid().is_root(),
            sys_resource: has_capability(CAP_SYS_RESOURCE),
            kernel: rustix::system::uname().release().to_str().ok().map(str::to_owned),
            criu: programs::find("criu").map(|program| criu(&program)),
            runtimes: runtimes.filter_map(installed).collect(),
            work_space: free_space(Path::new(WORK)),
        }
    }
}

fn installed(kind: RuntimeKind) -> Option<String> {
    let version = runtime::open(kind, None).ok()?.version().ok()?;
    // Some versions begin with the name already.
    let version = version
        .trim()
        .trim_start_matches(kind.name())
        .trim_start_matches(" version")
        .trim()
        .to_owned();
    Some(format!("{} {version}", kind.name()))
}

fn criu(program: &Path) -> CriuFacts {
    let run = |words: &[&str]| output(program, words);
    CriuFacts {
        version: run(&["--version"]).and_then(|output| Version::parse(&String::from_utf8_lossy(&output.stdout))),
        problem: match run(&["check"]) {
            Some(output) if output.status.success() => None,
            Some(output) => Some(last_line(&output)),
            None => Some("cannot be started".to_owned()),
        },
        memory_tracking: run(&["check", "--feature", "mem_dirty_track"]).is_some_and(|output| output.status.success()),
    }
}

fn output(program: &Path, words: &[&str]) -> Option<Output> {
    Command::new(program).args(words).stdin(Stdio::null()).output().ok()
}

/// The last line that a failed program left.
fn last_line(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rfind(|line| !line.trim().is_empty());
    line.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned())
}

fn has_capability(bit: u32) -> bool {
    let status = read::bounded(Path::new("/proc/self/status"), STATUS_LIMIT).unwrap_or_default();
    effective(&String::from_utf8_lossy(&status)).is_some_and(|set| set >> bit & 1 == 1)
}

/// The effective capabilities in the text of /proc/PID/status.
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Bytes free for this user where `path` is, or will be made.
pub(super) fn free_space(path: &Path) -> Option<(PathBuf, u64)> {
    let there = path.ancestors().find(|ancestor| ancestor.exists())?;
    Some((path.to_owned(), space::free(there).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_status() {
        let status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000001fffeffffff\n";
        let set = effective(status).unwrap();
        assert_eq!((set >> CAP_SYS_RESOURCE & 1, set >> 21 & 1), (0, 1));
        assert_eq!(effective("Name:\tx\n"), None);
    }

    #[test]
    fn space_is_found_where_a_directory_will_be_made() {
        let (path, free) = free_space(Path::new("/nonexistent/a/b")).unwrap();
        assert_eq!(path, Path::new("/nonexistent/a/b"));
        assert!(free > 0);
    }

    #[test]
    fn the_host_of_this_test_has_a_kernel() {
        let facts = Facts::gather(None);
        assert!(facts.kernel.and_then(|kernel| Version::parse(&kernel)).is_some());
    }
}
