//! Real hosts for tests: `scripts/testhosts` behind a handle that takes everything down when it is dropped.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

/// The hierarchies that the hosts mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cgroup {
    V1,
    V2,
}

/// Which CRIU the hosts have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    Criu42,
    Criu41,
}

/// Hosts that live as long as this value.
#[derive(Debug)]
pub struct Hosts {
    up: Child,
    stdin: Option<ChildStdin>,
    directory: tempfile::TempDir,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    hosts: &'a Hosts,
    name: &'a str,
}

/// What a command in a host said.
#[derive(Debug, Clone)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/testhosts")
}

/// Whether hosts can be had here. Without root they cannot: that is said loudly, and is a failure in CI.
pub fn possible() -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "tests on real hosts need root, and CI must not skip them"
    );
    eprintln!("SKIPPED: tests on real hosts need root");
    false
}

fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = Command::new(script())
            .arg("prepare")
            .status()
            .expect("scripts/testhosts starts");
        assert!(status.success(), "scripts/testhosts prepare: {status}");
    });
}

impl Hosts {
    /// As [`up`](Self::up), where that is [`possible`].
    pub fn try_up(cgroup: Cgroup) -> Option<Self> {
        possible().then(|| Self::up(cgroup))
    }

    /// As [`with`](Self::with), where that is [`possible`].
    pub fn try_with(cgroup: Cgroup, tree: Tree, names: &[&str]) -> Option<Self> {
        possible().then(|| Self::with(cgroup, tree, names))
    }

    /// Two hosts, `a` and `b`, with `ckpt` in their PATH.
    pub fn up(cgroup: Cgroup) -> Self {
        Self::with(cgroup, Tree::Criu42, &["a", "b"])
    }

    /// Hosts of these names.
    pub fn with(cgroup: Cgroup, tree: Tree, names: &[&str]) -> Self {
        prepare();
        let directory = tempfile::Builder::new()
            .prefix("ckpt-hosts-")
            .tempdir_in("/var/tmp")
            .expect("a directory");
        let mut command = Command::new(script());
        command
            .args(["up", "--session"])
            .arg(directory.path().join("session"))
            .args(["--cgroup", if cgroup == Cgroup::V1 { "v1" } else { "v2" }])
            .args(["--tree", if tree == Tree::Criu42 { "criu-4.2" } else { "criu-4.1" }])
            .arg("--bind")
            .arg(format!("{}:/usr/local/bin/ckpt:ro", env!("CARGO_BIN_EXE_ckpt")))
            .args(names)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut up = command.spawn().expect("scripts/testhosts starts");
        let stdin = up.stdin.take();
        let mut line = String::new();
        BufReader::new(up.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("a line");
        assert_eq!(line.trim(), "ready", "the hosts did not start");
        Self { up, stdin, directory }
    }

    /// The host of that name.
    pub fn host<'a>(&'a self, name: &'a str) -> Host<'a> {
        Host { hosts: self, name }
    }

    fn session(&self) -> PathBuf {
        self.directory.path().join("session")
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.up.wait();
    }
}

impl Host<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(script());
        command
            .arg("exec")
            .arg(self.hosts.session())
            .args([self.name, "--", "sh", "-s"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a shell script in the host.
    pub fn spawn(&self, script: &str) -> Child {
        let mut child = self.command().spawn().expect("a shell in the host");
        child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(script.as_bytes())
            .expect("the script is taken");
        child
    }

    /// Runs a shell script in the host, whatever its end.
    pub fn attempt(&self, script: &str) -> Ran {
        Ran::from(self.spawn(script).wait_with_output().expect("the shell ends"))
    }

    /// Runs a shell script in the host that must succeed; its output without the last newline.
    pub fn run(&self, script: &str) -> String {
        let ran = self.attempt(&format!("set -e\n{script}"));
        assert_eq!(
            ran.code, 0,
            "on {}: {script}\n--- stdout\n{}\n--- stderr\n{}",
            self.name, ran.stdout, ran.stderr
        );
        ran.stdout.trim_end().to_owned()
    }

    /// The same file as the test sees it, for paths below `/data`.
    pub fn outside(&self, path: &str) -> PathBuf {
        self.hosts
            .session()
            .join("hosts")
            .join(self.name)
            .join(path.trim_start_matches('/'))
    }

    /// Waits until a shell script succeeds.
    pub fn wait_until(&self, script: &str) {
        self.wait_for(Duration::from_secs(30), script);
    }

    /// Waits no longer than this until a shell script succeeds.
    pub fn wait_for(&self, longest: Duration, script: &str) {
        let deadline = Instant::now() + longest;
        loop {
            let ran = self.attempt(script);
            if ran.code == 0 {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "on {}, never: {script}\n{}{}",
                self.name,
                ran.stdout,
                ran.stderr
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
