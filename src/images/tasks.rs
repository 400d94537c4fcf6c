//! Processes and threads: `pstree.img` and the `core` images.
//!
//! Invariant: the tasks that are returned are a forest: every pid is there once, and following parents ends.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::error::{Error, Problem};
use super::limits::{MAX_PROCESSES, MAX_THREADS};
use super::proto;
use super::record::{CORE, PSTREE, Records, first};
use super::source::ImageSource;
use super::text::text;

const TREE: &str = "pstree.img";

/// What a process was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// It ran, or slept.
    Alive,
    /// It had ended, and its parent had not asked for its exit status.
    Dead,
    /// It was stopped.
    Stopped,
    /// Something that is not known here.
    Unknown,
}

impl TaskState {
    /// CRIU's numbers: compel/include/uapi/task-state.h.
    fn of(number: u32) -> Self {
        match number {
            1 => Self::Alive,
            2 | 6 => Self::Dead,
            3 => Self::Stopped,
            _ => Self::Unknown,
        }
    }

    /// Whether it has memory and files.
    #[must_use]
    pub fn lives(self) -> bool {
        matches!(self, Self::Alive | Self::Stopped)
    }
}

/// A thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Thread {
    /// Thread id, in the container's PID namespace.
    pub tid: u32,
    /// Its name.
    pub name: String,
}

/// A process as its images describe it, without its memory and files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
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
    /// User and group, effective, as the container sees them.
    pub credentials: Option<(u32, u32)>,
    /// Its threads, itself among them.
    pub threads: Vec<Thread>,
    /// Number of the set of cgroups in `cgroup.img` that it is in.
    pub cgroup_set: Option<u32>,
}

/// All processes, as they are in `pstree.img`: each after its parent.
pub(super) fn read(images: &dyn ImageSource) -> Result<Vec<Task>, Error> {
    let image = images.read(TREE)?;
    let mut tasks = Vec::new();
    let mut threads = 0;
    for entry in Records::of(PSTREE, TREE, &image)?.decoded::<proto::Pstree>() {
        let entry = entry?;
        if tasks.len() == MAX_PROCESSES {
            return Err(Error::too_many(TREE, "processes", MAX_PROCESSES));
        }
        threads += entry.threads.len();
        if threads > MAX_THREADS {
            return Err(Error::too_many(TREE, "threads", MAX_THREADS));
        }
        tasks.push(task(images, &entry)?);
    }
    check_tree(&tasks)?;
    Ok(tasks)
}

fn task(images: &dyn ImageSource, entry: &proto::Pstree) -> Result<Task, Error> {
    let core = core(images, entry.pid)?;
    let leader = core.tc.unwrap_or_default();
    let thread = core.thread_core.unwrap_or_default();
    let state = TaskState::of(leader.task_state);
    // Of a process that has ended CRIU 4.2 writes a number that nobody has set.
    let tids = if state.lives() { entry.threads.as_slice() } else { &[] };
    let mut threads = Vec::with_capacity(tids.len());
    for &tid in tids {
        let name = match tid {
            tid if tid == entry.pid => thread.comm.clone().unwrap_or_else(|| leader.comm.clone()),
            tid => thread_name(images, tid)?,
        };
        threads.push(Thread { tid, name: text(&name) });
    }
    Ok(Task {
        pid: entry.pid,
        ppid: entry.ppid,
        pgid: entry.pgid,
        sid: entry.sid,
        state,
        name: text(&leader.comm),
        credentials: thread.creds.map(|creds| (creds.euid, creds.egid)),
        threads,
        cgroup_set: thread.cg_set.or(leader.cg_set),
    })
}

fn core(images: &dyn ImageSource, tid: u32) -> Result<proto::Core, Error> {
    let name = format!("core-{tid}.img");
    first(CORE, &name, &images.read(&name)?)
}

fn thread_name(images: &dyn ImageSource, tid: u32) -> Result<Vec<u8>, Error> {
    let thread = core(images, tid)?.thread_core;
    Ok(thread.and_then(|thread| thread.comm).unwrap_or_default())
}

/// Every pid is there once, and no process is its own ancestor.
fn check_tree(tasks: &[Task]) -> Result<(), Error> {
    let bad = || Error::image(TREE, Problem::Tree);
    let mut known = HashMap::with_capacity(tasks.len());
    for task in tasks {
        // CRIU writes a parent before its children, so a parent that comes later could only close a ring.
        let late = tasks.len() > 1 && task.ppid == task.pid;
        if known.insert(task.pid, task.ppid).is_some() || late {
            return Err(bad());
        }
    }
    let before: HashMap<u32, usize> = tasks.iter().enumerate().map(|(at, task)| (task.pid, at)).collect();
    for (at, task) in tasks.iter().enumerate() {
        if before.get(&task.ppid).is_some_and(|parent| *parent >= at) {
            return Err(bad());
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::collected::Collected;
    use super::super::collected::tests::collected;
    use super::super::record::image;
    use super::*;

    /// A core image of a process.
    pub(crate) fn core_image(name: &str, state: u32) -> Vec<u8> {
        let core = proto::Core {
            mtype: 1,
            tc: Some(proto::TaskCore {
                task_state: state,
                comm: name.into(),
                ..proto::TaskCore::default()
            }),
            thread_core: Some(proto::ThreadCore {
                comm: Some(format!("{name}-thread").into_bytes()),
                creds: Some(proto::Creds {
                    euid: 33,
                    egid: 44,
                    ..proto::Creds::default()
                }),
                ..proto::ThreadCore::default()
            }),
        };
        image(CORE, &[core])
    }

    pub(crate) fn tree_image(tasks: &[(u32, u32, &[u32])]) -> Vec<u8> {
        let entries = tasks.iter().map(|&(pid, ppid, threads)| proto::Pstree {
            pid,
            ppid,
            pgid: pid,
            sid: pid,
            threads: threads.to_vec(),
        });
        image(PSTREE, &entries.collect::<Vec<_>>())
    }

    #[test]
    fn processes_and_threads_have_their_names() {
        let images = collected(&[
            ("pstree.img", tree_image(&[(1, 0, &[1, 2]), (7, 1, &[2_856_572_016])])),
            ("core-1.img", core_image("init", 1)),
            ("core-2.img", core_image("worker", 1)),
            ("core-7.img", core_image("gone", 2)),
        ]);
        let tasks = read(&images).unwrap();
        assert_eq!(
            (tasks[0].name.as_str(), tasks[0].state, tasks[0].credentials),
            ("init", TaskState::Alive, Some((33, 44)))
        );
        let names: Vec<_> = tasks[0]
            .threads
            .iter()
            .map(|thread| (thread.tid, thread.name.as_str()))
            .collect();
        assert_eq!(names, [(1, "init-thread"), (2, "worker-thread")]);
        assert_eq!(
            (tasks[1].ppid, tasks[1].state.lives(), tasks[1].threads.len()),
            (1, false, 0)
        );
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let cases: [&[(u32, u32, &[u32])]; 3] = [
            &[(1, 0, &[]), (1, 0, &[])],
            &[(1, 7, &[]), (7, 1, &[])],
            &[(1, 0, &[]), (7, 7, &[])],
        ];
        for tasks in cases {
            let images = collected(&[
                ("pstree.img", tree_image(tasks)),
                ("core-1.img", core_image("a", 1)),
                ("core-7.img", core_image("b", 1)),
            ]);
            let error = read(&images).unwrap_err().to_string();
            assert!(error.contains("no tree"), "{tasks:?}: {error}");
        }
    }

    #[test]
    fn an_image_that_is_missing_is_named() {
        let images = collected(&[("pstree.img", tree_image(&[(1, 0, &[1])]))]);
        assert_eq!(read(&images).unwrap_err().to_string(), "there is no image core-1.img");
        assert_eq!(
            read(&Collected::new()).unwrap_err().to_string(),
            "there is no image pstree.img"
        );
    }
}
