//! Looking at the host, beyond what [`HostFacts`] knows: what it takes to checkpoint at all.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::host::{self, HostFacts};
use crate::request::RuntimeKind;
use crate::sys::space;

/// Where exports work unless they are told otherwise.
const WORK: &str = "/var/lib/ckpt";

/// What was found on this host.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Whether this process is root.
    pub root: bool,
    /// The host.
    pub host: HostFacts,
    /// Why `criu check` fails, if it does.
    pub criu_problem: Option<String>,
    /// Where exports work, and the bytes that are free there.
    pub work_space: Option<(PathBuf, u64)>,
}

impl Facts {
    /// Looks at the host, at one runtime or at all of them.
    ///
    /// # Errors
    /// When /proc is not as it should be.
    pub fn gather(only: Option<RuntimeKind>) -> Result<Self, host::Error> {
        let mut host = HostFacts::collect()?;
        host.runtimes
            .retain(|name, _| only.is_none_or(|only| only.name() == name));
        let criu = host.criu.as_ref().map(|criu| criu.path.clone());
        Ok(Self {
            root: rustix::process::geteuid().is_root(),
            criu_problem: criu.and_then(|program| problem(&program)),
            host,
            work_space: free_space(Path::new(WORK)),
        })
    }
}

/// Why `criu check` fails, if it does. It asks the kernel for everything that a dump needs.
fn problem(criu: &Path) -> Option<String> {
    match Command::new(criu).arg("check").stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(last_line(&output)),
        Err(error) => Some(format!("cannot be started: {error}")),
    }
}

/// The last line that a failed program left.
fn last_line(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rfind(|line| !line.trim().is_empty());
    line.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned())
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
    fn space_is_found_where_a_directory_will_be_made() {
        let (path, free) = free_space(Path::new("/nonexistent/a/b")).unwrap();
        assert_eq!(path, Path::new("/nonexistent/a/b"));
        assert!(free > 0);
    }

    #[test]
    fn a_check_that_fails_is_told_by_its_last_line() {
        let directory = tempfile::tempdir().unwrap();
        let program = |name: &str, script: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            path
        };
        assert_eq!(problem(&program("good", "echo Looks good.")), None);
        let bad = program("bad", "echo first >&2; echo 'Error: no cgroups' >&2; exit 1");
        assert_eq!(problem(&bad).as_deref(), Some("Error: no cgroups"));
        assert!(
            problem(&directory.path().join("none"))
                .unwrap()
                .starts_with("cannot be started")
        );
    }
}
