//! The process table: a tree of processes as /proc shows it.
//!
//! Processes come and go while it is read; one that is gone when it is looked at is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use super::Error;
use super::listing::Task;

/// A process of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number on this host.
    pub pid: i32,
    /// Its parent's.
    pub ppid: i32,
    /// Its process group on this host.
    pub pgid: i32,
    /// Its session on this host.
    pub sid: i32,
    /// Its state: `R`, `S`, `Z`, …
    pub state: char,
    /// When it was started, ticks since boot: with its number its identity.
    pub start: u64,
    /// Its name.
    pub name: String,
}

/// A process with its descendants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Its processes, the root first, each after its parent.
    pub processes: Vec<Process>,
}

impl Process {
    /// The process `pid`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn of(pid: i32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Self::parse(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// `stat`: the second field, a name in brackets, may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.rsplit_once(')')?;
        let (pid, name) = before.split_once(" (")?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<i32>().ok();
        Some(Self {
            pid: pid.parse().ok()?,
            state: fields.first()?.chars().next()?,
            ppid: number(1)?,
            pgid: number(2)?,
            sid: number(3)?,
            start: fields.get(19)?.parse().ok()?,
            name: name.to_owned(),
        })
    }

    /// Its number and name, for messages.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{} ({})", self.pid, self.name)
    }

    /// What an archive says of it.
    fn task(&self) -> io::Result<Task> {
        let base = format!("/proc/{}", self.pid);
        let status = fs::read_to_string(format!("{base}/status"))?;
        let inner = |field: &str, outer: i32| innermost(&status, field).unwrap_or(outer);
        let parent = fs::read_to_string(format!("/proc/{}/status", self.ppid)).unwrap_or_default();
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("{base}/task"))? {
            let status = fs::read_to_string(entry?.path().join("status"))?;
            threads.extend(innermost(&status, "NSpid:"));
        }
        threads.sort_unstable();
        let command = fs::read(format!("{base}/cmdline")).unwrap_or_default();
        Ok(Task {
            pid: inner("NSpid:", self.pid),
            ppid: innermost(&parent, "NSpid:").unwrap_or(self.ppid),
            pgid: inner("NSpgid:", self.pgid),
            sid: inner("NSsid:", self.sid),
            threads,
            name: self.name.clone(),
            command: words(&command),
        })
    }
}

/// A field of `status` that has a number for each PID namespace, of which the last is the process's own.
fn innermost(status: &str, field: &str) -> Option<i32> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().last()?.parse().ok()
}

fn words(command: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(command);
    let text = text.trim_end_matches('\0');
    if text.is_empty() {
        return Vec::new();
    }
    text.split('\0').map(str::to_owned).collect()
}

/// Every process of this host, by number.
pub(super) fn all() -> Result<BTreeMap<i32, Process>, Error> {
    let fault = |source| Error::Proc {
        path: "/proc".to_owned(),
        source,
    };
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc").map_err(fault)? {
        let name = entry.map_err(fault)?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        if let Some(process) = pid.and_then(|pid| Process::of(pid).ok()) {
            processes.insert(process.pid, process);
        }
    }
    Ok(processes)
}

impl Tree {
    /// The process `pid` and its descendants.
    ///
    /// # Errors
    /// [`Error::NoProcess`].
    pub fn of(pid: i32) -> Result<Self, Error> {
        Self::in_table(pid, &all()?)
    }

    pub(super) fn in_table(pid: i32, table: &BTreeMap<i32, Process>) -> Result<Self, Error> {
        let root = table.get(&pid).ok_or(Error::NoProcess { pid })?;
        let mut processes = vec![root.clone()];
        let mut next = 0;
        while let Some(parent) = processes.get(next).map(|process| process.pid) {
            processes.extend(table.values().filter(|process| process.ppid == parent).cloned());
            next += 1;
        }
        Ok(Self { processes })
    }

    /// Its root.
    #[must_use]
    pub fn root(&self) -> Option<&Process> {
        self.processes.first()
    }

    /// The numbers of its processes on this host.
    #[must_use]
    pub fn pids(&self) -> BTreeSet<i32> {
        self.processes.iter().map(|process| process.pid).collect()
    }

    /// Its processes as an archive lists them.
    #[must_use]
    pub fn tasks(&self) -> Vec<Task> {
        self.processes
            .iter()
            .filter_map(|process| process.task().ok())
            .collect()
    }
}

/// What a process is called, with the beginning of its command line, for messages; `None` where there is none.
pub(super) fn described(pid: i32) -> Option<String> {
    /// Longest command line that is shown, characters.
    const SHOWN: usize = 80;
    // A thread has an entry of its own, though the listing of /proc does not show it.
    let base = Path::new("/proc").join(pid.to_string());
    let name = fs::read_to_string(base.join("comm")).ok()?;
    let command = fs::read(base.join("cmdline")).unwrap_or_default();
    let command = words(&command).join(" ");
    let visible = |text: &str| {
        text.chars()
            .filter(|letter| !letter.is_control())
            .take(SHOWN)
            .collect::<String>()
    };
    let name = visible(name.trim_end());
    let ended = Process::of(pid).ok().filter(|process| process.state == 'Z');
    Some(if let Some(Process { ppid, .. }) = ended {
        format!("{name}, which has ended, but its parent, process {ppid}, has not waited for it")
    } else if command.is_empty() {
        name
    } else {
        format!("{name}: {}", visible(&command))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, ppid: i32) -> (i32, Process) {
        let text = format!("{pid} (a) b) S {ppid} {pid} 1 34816 7 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1234 0 0");
        (pid, Process::parse(&text).unwrap())
    }

    #[test]
    fn a_line_of_stat_with_any_name() {
        let (_, process) = process(12, 5);
        assert_eq!(
            (process.pid, process.ppid, process.sid, process.start),
            (12, 5, 1, 1234)
        );
        assert_eq!((process.name.as_str(), process.state), ("a) b", 'S'));
        assert_eq!(process.label(), "12 (a) b)");
        assert_eq!(Process::parse("12 (a"), None);
    }

    #[test]
    fn a_tree_has_each_task_after_its_parent() {
        let table = [
            process(1, 0),
            process(3, 9),
            process(9, 1),
            process(4, 3),
            process(5, 1),
        ]
        .into();
        let tree = Tree::in_table(9, &table).unwrap();
        let pids: Vec<i32> = tree.processes.iter().map(|process| process.pid).collect();
        assert_eq!(pids, [9, 3, 4]);
        assert!(matches!(Tree::in_table(7, &table), Err(Error::NoProcess { pid: 7 })));
    }

    #[test]
    fn this_process_is_described() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(described(own).is_some());
        assert_eq!(described(i32::MAX), None);
        let task = Process::of(own).unwrap().task().unwrap();
        assert!(task.threads.contains(&task.pid) && !task.command.is_empty());
    }
}
