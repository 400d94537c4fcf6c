//! Everything that images say, in one value.
//!
//! Invariant: an image that is missing or wrong costs what is in it and nothing else: it becomes a line of
//! [`Inside::problems`], and whoever asked for just that part decides whether it is an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::cgroups::CgroupLimits;
use super::error::Error;
use super::fdtable::{self, OpenFile, Table};
use super::files::Files;
use super::limits::{MAX_COMMAND_LINE, MAX_ENVIRONMENT, MAX_MAPPING_BYTES, MAX_OPEN_FILES, MAX_STRINGS};
use super::memory::{self, KindMemory, MappingKind, ProcessMemory, Segments, TaskMemory};
use super::mounts::{self, Mount};
use super::network::{self, Network};
use super::source::ImageSource;
use super::strings::{self, Strings};
use super::tasks::{self, Task, TaskState, Thread};
use super::{cgroups, proto, record};

/// What of the images is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Want {
    /// Environments, too. They may hold secrets.
    pub environment: bool,
    /// Every mapping, too.
    pub mappings: bool,
    /// Only this process.
    pub pid: Option<u32>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Process {
    /// Process id, in the container's PID namespace.
    pub pid: u32,
    /// Its parent's; 0 for the first process.
    pub ppid: u32,
    /// Process group.
    pub pgid: u32,
    /// Session.
    pub sid: u32,
    /// What it was doing.
    pub state: TaskState,
    /// Its name.
    pub name: String,
    /// Its command line; absent where it is not at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_line: Option<Vec<String>>,
    /// Its environment, `NAME=VALUE`; absent where it was not asked for or is not at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Vec<String>>,
    /// The program that it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<Arc<str>>,
    /// Its working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<Arc<str>>,
    /// Its root directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Arc<str>>,
    /// Effective user id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Effective group id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Its threads, itself among them.
    pub threads: Vec<Thread>,
    /// Its memory; absent for one that had ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ProcessMemory>,
    /// Its open files, by descriptor.
    pub files: Vec<OpenFile>,
}

impl Process {
    /// Its command line in one line, or its name.
    #[must_use]
    pub fn command(&self) -> String {
        match &self.command_line {
            Some(words) if !words.is_empty() => words.join(" "),
            _ => self.name.clone(),
        }
    }

    /// Its open files that are sockets.
    pub fn sockets(&self) -> impl Iterator<Item = &OpenFile> {
        self.files.iter().filter(|file| file.kind.is_socket())
    }
}

/// The memory of all processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Memory {
    /// Length of all mappings, bytes.
    pub mapped: u64,
    /// Bytes in the archive of pages that processes have for themselves.
    pub private: u64,
    /// Bytes in the archive of shared memory, each segment counted once.
    pub shared: u64,
    /// Bytes in the images of a parent.
    pub in_parent: u64,
    /// By kind of mapping; shared memory is counted in each process that maps it.
    pub kinds: BTreeMap<MappingKind, KindMemory>,
}

/// What images say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Inside {
    /// The processes, each after its parent.
    pub processes: Vec<Process>,
    /// Their memory.
    pub memory: Memory,
    /// Mounts of their namespaces.
    pub mounts: Vec<Mount>,
    /// Their network.
    pub network: Network,
    /// Limits of their cgroups, as CRIU keeps them.
    pub cgroups: Vec<CgroupLimits>,
    /// Host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// What could not be read, and why.
    pub problems: Vec<Unread>,
}

/// A part of what images say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Processes and threads.
    Processes,
    /// Memory, and the strings in it.
    Memory,
    /// Open files and sockets.
    Files,
    /// Mounts.
    Mounts,
    /// The network.
    Network,
    /// Cgroups.
    Cgroups,
    /// The host name.
    Host,
}

/// Something that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unread {
    /// What is therefore missing, or not complete.
    pub part: Part,
    /// Why.
    pub problem: String,
}

/// What is left of the bounds on everything together.
struct Budget {
    strings: u64,
    files: usize,
    mappings: usize,
}

impl Inside {
    /// Reads the images. What is wrong with some of them is in [`Inside::problems`].
    ///
    /// # Errors
    /// [`Error::NoProcess`] where there are processes, but not the one that was asked for.
    pub fn read(images: &dyn ImageSource, want: Want) -> Result<Self, Error> {
        let mut inside = Self::default();
        let tasks = inside.part(Part::Processes, tasks::read(images));
        if let Some(pid) = want.pid
            && inside.problems.is_empty()
            && !tasks.iter().any(|task| task.pid == pid)
        {
            return Err(Error::NoProcess { pid });
        }
        let files = if tasks.is_empty() {
            Files::default()
        } else {
            inside.part(Part::Files, Files::read(images))
        };
        inside.processes(images, tasks, &files, want);
        inside.mounts = inside.part(Part::Mounts, mounts::read(images));
        inside.network = inside.part(Part::Network, network::read(images));
        inside.cgroups = inside.part(Part::Cgroups, cgroups::read(images));
        inside.hostname = inside.part(Part::Host, hostname(images));
        Ok(inside)
    }

    /// A part, or nothing and a problem.
    fn part<T: Default>(&mut self, part: Part, read: Result<T, Error>) -> T {
        read.unwrap_or_else(|error| {
            let problem = Unread {
                part,
                problem: explain(&error),
            };
            // The same image is often missing for many processes.
            if self.problems.len() < MOST_PROBLEMS && !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
            T::default()
        })
    }

    fn processes(&mut self, images: &dyn ImageSource, tasks: Vec<Task>, files: &Files, want: Want) {
        let mut segments = Segments::new();
        let mut budget = Budget {
            strings: MAX_STRINGS,
            files: MAX_OPEN_FILES,
            mappings: MAX_MAPPING_BYTES,
        };
        for task in tasks
            .into_iter()
            .filter(|task| want.pid.is_none_or(|pid| task.pid == pid))
        {
            let process = self.process(images, task, files, &mut segments, &mut budget, want);
            if let Some(memory) = &process.memory {
                self.memory.add(memory);
            }
            self.processes.push(process);
        }
        self.memory.shared = segments
            .values()
            .fold(0, |sum: u64, stored| sum.saturating_add(*stored));
    }

    fn process(
        &mut self,
        images: &dyn ImageSource,
        task: Task,
        files: &Files,
        segments: &mut Segments,
        budget: &mut Budget,
        want: Want,
    ) -> Process {
        let mut process = Process::of(task);
        if !process.state.lives() {
            return process;
        }
        let task = memory::read(images, process.pid, segments, files).map(Some);
        if let Some(mut task) = self.part(Part::Memory, task) {
            process.executable = files.path(task.layout.executable);
            process.command_line = self.strings(images, &task, budget, strings::arguments, MAX_COMMAND_LINE);
            if want.environment {
                process.environment = self.strings(images, &task, budget, strings::environment, MAX_ENVIRONMENT);
            }
            let cost = task.memory.mappings.iter().flatten().map(memory::Mapping::cost).sum();
            match budget.mappings.checked_sub(cost) {
                Some(rest) if want.mappings => budget.mappings = rest,
                _ => task.memory.mappings = None,
            }
            process.memory = Some(task.memory);
        }
        let table: Table = self.part(
            Part::Files,
            fdtable::read(images, process.pid, files, &mut budget.files),
        );
        process.files = table.open;
        (process.working_directory, process.root) = (table.working_directory, table.root);
        process
    }

    fn strings(
        &mut self,
        images: &dyn ImageSource,
        task: &TaskMemory,
        budget: &mut Budget,
        read: fn(&dyn ImageSource, &TaskMemory, u64) -> Result<Strings, Error>,
        limit: u64,
    ) -> Option<Vec<String>> {
        let limit = limit.min(budget.strings);
        match self.part(Part::Memory, read(images, task, limit).map(Some)) {
            Some(Strings::Read(strings)) => {
                // Every empty string is an element, too.
                let cost: usize = strings.iter().map(|string| string.len() + size_of::<String>()).sum();
                budget.strings = budget.strings.saturating_sub(cost as u64);
                Some(strings)
            }
            Some(Strings::NotAtHand) | None => None,
        }
    }
}

/// Problems that are told; one of each kind would do.
const MOST_PROBLEMS: usize = 32;

impl Process {
    fn of(task: Task) -> Self {
        Self {
            pid: task.pid,
            ppid: task.ppid,
            pgid: task.pgid,
            sid: task.sid,
            state: task.state,
            name: task.name,
            command_line: None,
            environment: None,
            executable: None,
            working_directory: None,
            root: None,
            uid: task.credentials.map(|(uid, _)| uid),
            gid: task.credentials.map(|(_, gid)| gid),
            threads: task.threads,
            memory: None,
            files: Vec::new(),
        }
    }
}

impl Memory {
    fn add(&mut self, process: &ProcessMemory) {
        self.mapped = self.mapped.saturating_add(process.mapped);
        self.private = self.private.saturating_add(process.stored);
        self.in_parent = self.in_parent.saturating_add(process.in_parent);
        for (kind, memory) in &process.kinds {
            let sum = self.kinds.entry(*kind).or_default();
            sum.mappings += memory.mappings;
            sum.mapped = sum.mapped.saturating_add(memory.mapped);
            sum.stored = sum.stored.saturating_add(memory.stored);
            sum.in_parent = sum.in_parent.saturating_add(memory.in_parent);
        }
    }
}

/// The host name of the first UTS namespace that is in the images.
fn hostname(images: &dyn ImageSource) -> Result<Option<String>, Error> {
    let Some((_, name)) = images.numbered("utsns").into_iter().next() else {
        return Ok(None);
    };
    let uts: proto::Uts = record::first(record::UTSNS, &name, &images.read(&name)?)?;
    Ok(Some(super::text::text(&uts.nodename)))
}

/// An error with its causes, in one line.
fn explain(error: &Error) -> String {
    let mut line = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::collected::tests::collected;
    use super::super::regions::ProcessRegions;
    use super::*;

    const ALL: Want = Want {
        environment: true,
        mappings: true,
        pid: None,
    };

    /// The images of a real dump.
    fn images() -> Vec<(String, Vec<u8>)> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dump-counter/images");
        let entries = directory.read_dir().unwrap().map(|entry| entry.unwrap().path());
        let mut images: Vec<_> = entries
            .map(|path| {
                (
                    path.file_name().unwrap().to_str().unwrap().to_owned(),
                    std::fs::read(&path).unwrap(),
                )
            })
            .collect();
        images.sort();
        images
    }

    #[test]
    fn a_real_dump_is_understood_whole() {
        let inside = Inside::read(&collected(&images()), ALL).unwrap();
        assert_eq!(inside.problems, []);
        let process = &inside.processes[0];
        assert_eq!(
            (
                process.command().as_str(),
                process.files.len(),
                process.environment.as_ref().map(Vec::len)
            ),
            ("/bin/counter", 4, Some(3))
        );
        assert_eq!(
            (inside.memory.private, inside.mounts.len(), inside.hostname.as_deref()),
            (16384, 25, Some("runc"))
        );
        assert!(matches!(
            Inside::read(&collected(&images()), Want { pid: Some(2), ..ALL }),
            Err(Error::NoProcess { pid: 2 })
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn damaged_images_cost_what_is_in_them_and_nothing_else(which: prop::sample::Index, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in prop::option::of(any::<prop::sample::Index>())) {
            let mut images = images();
            let at = which.index(images.len());
            let content = &mut images[at].1;
            for (place, byte) in changes {
                let place = place.index(content.len());
                content[place] = byte;
            }
            if let Some(cut) = cut {
                let length = cut.index(content.len());
                content.truncate(length);
            }
            let images = collected(&images);
            let inside = Inside::read(&images, ALL).unwrap();
            prop_assert!(inside.processes.len() <= 1 && inside.mounts.len() <= 64);
            let _ = ProcessRegions::read(&images, None);
        }
    }
}
