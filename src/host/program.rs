//! The programs of this host that ckpt works with, and their versions.
//!
//! Each is asked once, with no shell, no input, a bound on what it may say and on how long it may take: a program that
//! hangs or floods is treated like one that is not there, and the error says so.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::version::{CriuVersion, NoVersion, Version};
use crate::sys::programs;

/// The longest that a program may take to tell its version. They answer in 10 ms; a machine that swaps takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look whether a program that has closed its output has ended.
const PAUSE: Duration = Duration::from_millis(5);
/// The most that a program may say, bytes. runc's answer is the longest, with 150.
const MAX_OUTPUT: usize = 64 << 10;

/// A program that was found, and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program<V = Version> {
    /// Where it was found.
    pub path: PathBuf,
    /// Its version.
    pub version: V,
}

/// Why a program could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It could not be started or read from.
    #[error("cannot run {}", path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It did not answer in time, or said too much, and was ended.
    #[error("{} was ended: {reason}", path.display())]
    Ended {
        /// The program.
        path: PathBuf,
        /// Why.
        reason: EndReason,
    },
    /// It failed.
    #[error("{} failed: {status}", path.display())]
    Failed {
        /// The program.
        path: PathBuf,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// It named no version.
    #[error("{} does not tell its version", path.display())]
    Version {
        /// The program.
        path: PathBuf,
        /// Why.
        source: NoVersion,
    },
}

/// Why a program was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// It took longer than ten seconds.
    Slow,
    /// It wrote more than 64 KiB.
    Verbose,
}

impl std::fmt::Display for EndReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Slow => "it did not answer in time",
            Self::Verbose => "it wrote too much",
        })
    }
}

/// CRIU; `None` where it is not installed.
///
/// # Errors
/// See [`ProgramError`].
pub fn criu() -> Result<Option<Program<CriuVersion>>, ProgramError> {
    find(
        "criu",
        |path| Question::new(path).argument("--version"),
        |text| text.parse(),
    )
}

/// runc; `None` where it is not installed.
///
/// # Errors
/// See [`ProgramError`].
pub fn runc() -> Result<Option<Program>, ProgramError> {
    find(
        "runc",
        |path| Question::new(path).argument("--version"),
        |text| oci_runtime("runc", text),
    )
}

/// crun; `None` where it is not installed.
///
/// # Errors
/// See [`ProgramError`].
pub fn crun() -> Result<Option<Program>, ProgramError> {
    find(
        "crun",
        |path| Question::new(path).argument("--version"),
        |text| oci_runtime("crun", text),
    )
}

/// podman; `None` where it is not installed.
///
/// # Errors
/// See [`ProgramError`].
pub fn podman() -> Result<Option<Program>, ProgramError> {
    find(
        "podman",
        |path| Question::new(path).argument("--version"),
        |text| oci_runtime("podman", text),
    )
}

/// The part of LXC that checkpoints; `None` where it is not installed.
///
/// # Errors
/// See [`ProgramError`].
pub fn lxc() -> Result<Option<Program>, ProgramError> {
    find(
        "lxc-checkpoint",
        |path| Question::new(path).argument("--version"),
        |text| text.trim().parse(),
    )
}

/// Looks a program up in PATH and asks it.
fn find<V>(
    name: &str,
    question: impl FnOnce(&Path) -> Question,
    version: impl FnOnce(&str) -> Result<V, NoVersion>,
) -> Result<Option<Program<V>>, ProgramError> {
    let Some(path) = programs::find(name) else {
        return Ok(None);
    };
    let text = question(&path).ask()?;
    match version(&text) {
        Ok(version) => Ok(Some(Program { path, version })),
        Err(source) => Err(ProgramError::Version { path, source }),
    }
}

/// The first line of an OCI runtime's answer, and of podman's: `runc version 1.1.15+ds1`.
fn oci_runtime(name: &str, text: &str) -> Result<Version, NoVersion> {
    let line = text.lines().next().unwrap_or_default();
    let version = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(" version "));
    version.ok_or(NoVersion)?.parse()
}

/// One run of a program for its answer on standard output.
struct Question {
    command: Command,
    patience: Duration,
}

impl Question {
    fn new(path: &Path) -> Self {
        let mut command = Command::new(path);
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped());
        // What it complains of is not its version.
        command.stderr(Stdio::null());
        Self {
            command,
            patience: PATIENCE,
        }
    }

    fn argument(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self
    }

    #[cfg(test)]
    fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn ask(mut self) -> Result<String, ProgramError> {
        let path = PathBuf::from(self.command.get_program());
        let deadline = Instant::now() + self.patience;
        let failed = |source| ProgramError::Run {
            path: path.clone(),
            source,
        };
        let mut child = Running(self.command.spawn().map_err(failed)?);
        let answer = child.answer(deadline).map_err(failed)?;
        let (output, status) = answer.map_err(|reason| ProgramError::Ended {
            path: path.clone(),
            reason,
        })?;
        if !status.success() {
            return Err(ProgramError::Failed { path, status });
        }
        Ok(String::from_utf8_lossy(&output).into_owned())
    }
}

/// A program that runs; it is ended when this is dropped.
struct Running(Child);

type Answer = Result<(Vec<u8>, std::process::ExitStatus), EndReason>;

impl Running {
    fn answer(&mut self, deadline: Instant) -> io::Result<Answer> {
        let mut output = Vec::new();
        if let Some(mut pipe) = self.0.stdout.take() {
            let mut buffer = [0; 4096];
            loop {
                if !readable(&pipe, deadline)? {
                    return Ok(Err(EndReason::Slow));
                }
                match pipe.read(&mut buffer)? {
                    0 => break,
                    length if output.len() + length > MAX_OUTPUT => return Ok(Err(EndReason::Verbose)),
                    length => output.extend_from_slice(&buffer[..length]),
                }
            }
        }
        loop {
            match self.0.try_wait()? {
                Some(status) => return Ok(Ok((output, status))),
                None if Instant::now() >= deadline => return Ok(Err(EndReason::Slow)),
                None => std::thread::sleep(PAUSE),
            }
        }
    }
}

/// Waits for output or its end; false when the deadline comes first.
fn readable(pipe: &impl std::os::fd::AsFd, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = rustix::event::Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A child that has been waited for has no number any more: both calls then do nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Question {
        Question::new(Path::new("/bin/sh")).argument("-c").argument(script)
    }

    #[test]
    fn answers_are_read() {
        assert_eq!(shell("echo a; echo b >&2; echo c").ask().unwrap(), "a\nc\n");
    }

    #[test]
    fn a_program_that_misbehaves_is_ended() {
        let short = Duration::from_millis(100);
        // exec: what a shell starts would outlive it.
        let slow = ["exec sleep 30", "exec >&-; exec sleep 30"];
        for script in slow {
            let begin = Instant::now();
            let result = shell(script).patience(short).ask();
            assert!(
                matches!(
                    result,
                    Err(ProgramError::Ended {
                        reason: EndReason::Slow,
                        ..
                    })
                ),
                "{script}: {result:?}"
            );
            assert!(begin.elapsed() < Duration::from_secs(10), "{script}");
        }
        let result = shell("while echo flood; do :; done").ask();
        assert!(
            matches!(
                result,
                Err(ProgramError::Ended {
                    reason: EndReason::Verbose,
                    ..
                })
            ),
            "{result:?}"
        );
        assert!(matches!(shell("exit 3").ask(), Err(ProgramError::Failed { .. })));
        let missing = Question::new(Path::new("/nonexistent/program")).ask();
        assert!(matches!(missing, Err(ProgramError::Run { .. })));
    }

    #[test]
    fn runtimes_say_their_versions() {
        let cases = [
            (
                "runc",
                "runc version 1.1.15+ds1\ncommit: 1.1.15+ds1-2\nspec: 1.0.2-dev\n",
                Ok(Version::new(1, 1, 15)),
            ),
            (
                "runc",
                "runc version 1.3.0\ncommit: v1.3.0-0-g4ca628d1\n",
                Ok(Version::new(1, 3, 0)),
            ),
            (
                "crun",
                "crun version 1.21\ncommit: 10269840aa07fb7e6b7e1acff6198692d8ff5c88\n",
                Ok(Version::new(1, 21, 0)),
            ),
            ("crun", "runc version 1.3.0\n", Err(NoVersion)),
            ("runc", "", Err(NoVersion)),
        ];
        for (name, text, wanted) in cases {
            assert_eq!(oci_runtime(name, text), wanted, "{text:?}");
        }
    }
}
