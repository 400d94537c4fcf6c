//! Which tasks of a cgroup are the container's, and what their numbers are inside it.
//!
//! The kernel lists host numbers; a record keeps those of the container's PID namespace, the only ones that mean
//! anything after a restore. A task is the container's when it or one of its ancestors is in that namespace; where the
//! container shares ours, when it descends from the container's first process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Error;
use super::read::proc_file;

/// How far up the ancestors of a task are followed. Process trees are flat; a process that is not found in that
/// many steps is not counted as the container's.
const MAX_ANCESTORS: usize = 1024;

/// What /proc/TID/status says of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    /// The process it is a thread of, as the host numbers it.
    pub(super) process: i32,
    /// The parent, as the host numbers it; 0 where it is outside of our namespace.
    pub(super) parent: i32,
    /// The task's own numbers, from our PID namespace inwards.
    pub(super) numbers: Vec<i32>,
}

impl Status {
    /// Parses the content of a status file; `None` when a line is missing.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let value = |name: &str| {
            let mut lines = bytes.split(|&byte| byte == b'\n');
            // The name of a program comes first and may hold anything but a newline, so a line can only match whole.
            lines.find_map(|line| std::str::from_utf8(line.strip_prefix(name.as_bytes())?.strip_prefix(b":")?).ok())
        };
        let number = |name: &str| value(name)?.trim().parse().ok();
        let pid: i32 = number("Pid")?;
        // A kernel without PID namespaces has no NSpid.
        let numbers = value("NSpid").map(|text| text.split_whitespace().map(str::parse).collect());
        let numbers = numbers.unwrap_or_else(|| Ok(vec![pid])).ok()?;
        Some(Self {
            process: number("Tgid")?,
            parent: number("PPid")?,
            numbers,
        })
    }
}

/// A task that is the container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Task {
    /// The process it is a thread of, as the host numbers it.
    pub(super) process: i32,
    /// Its number in the container.
    pub(super) inside: i32,
}

/// Looks tasks up, each once: the same task is met in every hierarchy.
pub(super) struct Tasks<'a> {
    proc: &'a Path,
    first: i32,
    /// The container's PID namespace; `None` where it is ours.
    namespace: Option<PathBuf>,
    /// Which of a task's numbers is the container's.
    depth: usize,
    known: HashMap<i32, Option<Task>>,
}

impl<'a> Tasks<'a> {
    /// Prepares for the container with this first process.
    ///
    /// # Errors
    /// [`Error::Read`] when the process is gone.
    pub(super) fn new(proc: &'a Path, first: i32) -> Result<Self, Error> {
        let path = proc.join(format!("{first}/status"));
        let gone = || Error::Read {
            path: path.clone(),
            source: std::io::ErrorKind::InvalidData.into(),
        };
        let status = Status::parse(&proc_file(&path)?).ok_or_else(gone)?;
        let own = std::fs::read_link(proc.join("self/ns/pid")).ok();
        let namespace = namespace_of(proc, first).filter(|namespace| Some(namespace) != own.as_ref());
        let depth = status.numbers.len().saturating_sub(1);
        Ok(Self {
            proc,
            first,
            namespace,
            depth,
            known: HashMap::new(),
        })
    }

    /// The task with this host number, where it is the container's and still there.
    pub(super) fn find(&mut self, tid: i32) -> Option<Task> {
        if let Some(task) = self.known.get(&tid) {
            return *task;
        }
        let task = self.look(tid);
        self.known.insert(tid, task);
        task
    }

    fn look(&self, tid: i32) -> Option<Task> {
        let status = self.status(tid)?;
        let inside = *status.numbers.get(self.depth)?;
        self.belongs(tid, &status).then_some(Task {
            process: status.process,
            inside,
        })
    }

    fn belongs(&self, tid: i32, status: &Status) -> bool {
        let mut pid = if status.process == self.first { self.first } else { tid };
        let mut parent = status.parent;
        for _ in 0..MAX_ANCESTORS {
            if pid == self.first || (self.namespace.is_some() && namespace_of(self.proc, pid) == self.namespace) {
                return true;
            }
            let Some(above) = self.status(parent) else { return false };
            (pid, parent) = (parent, above.parent);
        }
        false
    }

    fn status(&self, pid: i32) -> Option<Status> {
        Status::parse(&proc_file(&self.proc.join(format!("{pid}/status"))).ok()?)
    }
}

fn namespace_of(proc: &Path, pid: i32) -> Option<PathBuf> {
    std::fs::read_link(proc.join(format!("{pid}/ns/pid"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read() {
        let text = b"Name:\tx Pid:\t9\nUmask:\t0022\nTgid:\t40\nNgid:\t0\nPid:\t41\nPPid:\t7\nNSpid:\t41\t3\n";
        assert_eq!(
            Status::parse(text),
            Some(Status {
                process: 40,
                parent: 7,
                numbers: vec![41, 3]
            })
        );
        let old = b"Name:\tx\nTgid:\t40\nPid:\t41\nPPid:\t7\n";
        assert_eq!(
            Status::parse(old),
            Some(Status {
                process: 40,
                parent: 7,
                numbers: vec![41]
            })
        );
        for text in [
            "",
            "Tgid:\t1\nPid:\t1\n",
            "Tgid:\tx\nPid:\t1\nPPid:\t0\n",
            "Tgid:\t1\nPid:\t1\nPPid:\t0\nNSpid:\tx\n",
        ] {
            assert_eq!(Status::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn own_children_are_found_and_others_are_not() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let mut tasks = Tasks::new(Path::new("/proc"), own).unwrap();
        assert_eq!(
            tasks.find(pid),
            Some(Task {
                process: pid,
                inside: pid
            })
        );
        assert_eq!(Tasks::new(Path::new("/proc"), pid).unwrap().find(own), None);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(Tasks::new(Path::new("/proc"), own).unwrap().find(pid), None);
    }
}
