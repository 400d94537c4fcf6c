//! What keeps CRIU from dumping a process tree, found before anything is frozen, each with what to do about it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;

use super::descriptors::{self, Descriptor};
use super::proc::{self, Process, Tree};
use super::{Error, outside, sockets};
use crate::host::{Capabilities, Capability};
use crate::sys::pidns;

/// What the caller wants of the dump.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// The tree's terminal and session are the caller's.
    pub shell_job: bool,
    /// Unix sockets may have an end outside.
    pub ext_unix_sk: bool,
    /// Established TCP connections are dumped.
    pub tcp_established: bool,
}

/// One thing that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// ckpt itself descends from it.
    Itself {
        /// The root.
        root: String,
    },
    /// It is a thread of the kernel.
    Kernel {
        /// The root.
        root: String,
    },
    /// It is in another root file system: a container.
    Container {
        /// The root.
        root: String,
    },
    /// Its session is led by a process outside of the tree.
    NotLeader {
        /// The root.
        root: String,
        /// The session.
        session: i32,
        /// Who leads it, where that is known.
        leader: Option<String>,
    },
    /// Something traces one of its tasks.
    Traced {
        /// The task.
        task: String,
        /// The tracer.
        tracer: String,
    },
    /// It has a pipe that somebody outside has, too.
    Pipe {
        /// The task.
        task: String,
        /// Its descriptor.
        descriptor: String,
        /// Who else has it.
        other: String,
    },
    /// It has a Unix socket that is connected to somebody outside.
    Socket {
        /// The task.
        task: String,
        /// Its descriptor.
        descriptor: String,
        /// Who has the other end, where that is known.
        other: Option<String>,
    },
    /// It has an established TCP connection.
    Tcp {
        /// The task.
        task: String,
        /// Its descriptor.
        descriptor: String,
    },
    /// It has a terminal whose other end is outside.
    Terminal {
        /// The task.
        task: String,
        /// The terminal.
        terminal: String,
    },
    /// A task is another user's, and CRIU lacks the capability for that.
    Owner {
        /// The task.
        task: String,
        /// Its user.
        uid: u32,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself { root } => write!(f, "this ckpt descends from process {root}"),
            Self::Kernel { root } => write!(f, "process {root} is a thread of the kernel"),
            Self::Container { root } => write!(
                f,
                "process {root} is in a container: its root directory is not this host's"
            ),
            Self::NotLeader { root, session, leader } => {
                let leader = leader.as_deref().unwrap_or("a process that has ended");
                write!(
                    f,
                    "process {root} leads no session: it is in session {session}, led by {leader}"
                )
            }
            Self::Traced { task, tracer } => write!(f, "process {task} is traced by {tracer}"),
            Self::Pipe {
                task,
                descriptor,
                other,
            } => write!(
                f,
                "descriptor {descriptor} of process {task} is a pipe that {other} has, too"
            ),
            Self::Socket {
                task,
                descriptor,
                other,
            } => {
                let other = other.as_deref().unwrap_or("a process outside of the tree");
                write!(
                    f,
                    "descriptor {descriptor} of process {task} is a Unix socket connected to {other}"
                )
            }
            Self::Tcp { task, descriptor } => {
                write!(
                    f,
                    "descriptor {descriptor} of process {task} is an established TCP connection"
                )
            }
            Self::Terminal { task, terminal } => {
                write!(
                    f,
                    "process {task} uses the terminal {terminal}, whose other end is outside of the tree"
                )
            }
            Self::Owner { task, uid } => {
                write!(
                    f,
                    "process {task} is of user {uid}, and CAP_SYS_RESOURCE, which CRIU needs for that, is missing"
                )
            }
        }
    }
}

impl Trouble {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::Itself { .. } => "export it from outside: from another session, or over ssh".to_owned(),
            Self::Kernel { .. } => "nothing can be done: only processes of programs can be dumped".to_owned(),
            Self::Container { .. } => "export the container by its name, with the runtime that runs it".to_owned(),
            Self::NotLeader { session: 0, .. } => {
                "start it with `setsid`: CRIU dumps no session that another PID namespace leads".to_owned()
            }
            Self::NotLeader { session, leader, .. } => {
                let leader = leader.as_ref().map_or_else(String::new, |_| format!("export that with --pid {session}, or "));
                format!("{leader}start it with `setsid`, or give --shell-job: it then joins the session of whoever imports it")
            }
            Self::Traced { .. } => "end the tracer (a debugger, strace) and export again".to_owned(),
            Self::Pipe { .. } => {
                "start it with its standard streams in files or /dev/null, or export a process that has both ends below it"
                    .to_owned()
            }
            Self::Socket { .. } => {
                "close the connection, or give --ext-unix-sk: it is then restored unconnected, as after the peer's end"
                    .to_owned()
            }
            Self::Tcp { .. } => "give --tcp-established; it goes on only where its address is".to_owned(),
            Self::Terminal { .. } => {
                "give --shell-job: it then gets the terminal of whoever imports it; or start it without a terminal".to_owned()
            }
            Self::Owner { .. } => "give this machine CAP_SYS_RESOURCE, or run the process as root".to_owned(),
        }
    }
}

/// Everything that stands in the way of a dump of a tree.
///
/// # Errors
/// Where the process table cannot be read.
pub fn troubles(tree: &Tree, asked: Asked) -> Result<Vec<Trouble>, Error> {
    let table = proc::all()?;
    let Some(root) = tree.root() else {
        return Ok(Vec::new());
    };
    if let Some(trouble) = of_root(tree, root) {
        return Ok(vec![trouble]);
    }
    let mut troubles = Vec::new();
    troubles.extend(session(tree, root, &table, asked));
    for process in &tree.processes {
        troubles.extend(of_task(process, &table));
    }
    troubles.extend(of_descriptors(tree, &table, asked));
    Ok(troubles)
}

/// What makes everything else pointless.
fn of_root(tree: &Tree, root: &Process) -> Option<Trouble> {
    let label = root.label();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    if tree.pids().contains(&own) {
        return Some(Trouble::Itself { root: label });
    }
    if fs::read_link(format!("/proc/{}/exe", root.pid)).is_err() {
        return Some(Trouble::Kernel { root: label });
    }
    is_elsewhere(root.pid).then_some(Trouble::Container { root: label })
}

/// Whether a process has another root directory than this one, in a mount namespace of its own.
fn is_elsewhere(pid: i32) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let root = |pid: &str| fs::metadata(format!("/proc/{pid}/root/")).map(|root| (root.dev(), root.ino()));
    let other_mounts = pidns::shares(pid, "mnt").is_ok_and(|shared| !shared);
    other_mounts && root(&pid.to_string()).ok() != root("self").ok()
}

/// A tree that uses nothing of its session's terminal gets a session of its own at the restore.
fn session(tree: &Tree, root: &Process, table: &BTreeMap<i32, Process>, asked: Asked) -> Option<Trouble> {
    let bound = root.sid != root.pid && !outside::is_in_another_session(tree);
    (bound && !asked.shell_job).then(|| Trouble::NotLeader {
        root: root.label(),
        session: root.sid,
        leader: table.get(&root.sid).map(Process::label),
    })
}

fn of_task(process: &Process, table: &BTreeMap<i32, Process>) -> Vec<Trouble> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let tracer: i32 = field("TracerPid:").and_then(|pid| pid.trim().parse().ok()).unwrap_or(0);
    let uid: Option<u32> = field("Uid:").and_then(|uids| uids.split_whitespace().next()?.parse().ok());
    let mut troubles = Vec::new();
    if tracer != 0 {
        let tracer = table.get(&tracer).map_or_else(
            || format!("process {tracer}"),
            |tracer| format!("process {}", tracer.label()),
        );
        let task = process.label();
        troubles.push(Trouble::Traced { task, tracer });
    }
    if let Some(uid) = uid.filter(|uid| *uid != 0 && !can_dump_others()) {
        let task = process.label();
        troubles.push(Trouble::Owner { task, uid });
    }
    troubles
}

fn can_dump_others() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    Capabilities::parse(&status).is_none_or(|own| own.has(Capability::CapSysResource))
}

fn of_descriptors(tree: &Tree, table: &BTreeMap<i32, Process>, asked: Asked) -> Vec<Trouble> {
    let inside = tree.pids();
    let own = descriptors::of_tree(tree);
    let label = |pid: i32| table.get(&pid).map_or_else(|| pid.to_string(), Process::label);
    let mut troubles = Vec::new();
    if !asked.shell_job && !own.iter().any(Descriptor::is_master) {
        let mut seen = BTreeSet::new();
        for found in own.iter().filter(|descriptor| descriptor.is_terminal()) {
            if seen.insert((found.pid, found.target.clone())) {
                let (task, terminal) = (label(found.pid), found.target.clone());
                troubles.push(Trouble::Terminal { task, terminal });
            }
        }
    }
    let pipes: BTreeSet<&str> = own
        .iter()
        .filter(|own| own.is_pipe())
        .map(|own| own.target.as_str())
        .collect();
    let shared = descriptors::held_outside(&pipes, &inside, table);
    for found in &own {
        if let Some(other) = shared.get(found.target.as_str()) {
            troubles.push(Trouble::Pipe {
                task: label(found.pid),
                descriptor: found.number.clone(),
                other: format!("process {}", label(*other)),
            });
        }
    }
    let sockets = own.iter().filter_map(|own| Some((own, own.socket()?)));
    troubles.extend(of_sockets(&sockets.collect::<Vec<_>>(), &inside, table, asked));
    troubles
}

fn of_sockets(
    own: &[(&Descriptor, u32)],
    inside: &BTreeSet<i32>,
    table: &BTreeMap<i32, Process>,
    asked: Asked,
) -> Vec<Trouble> {
    let label = |pid: i32| table.get(&pid).map_or_else(|| pid.to_string(), Process::label);
    let mut troubles = Vec::new();
    let Some(first) = own.first().map(|(descriptor, _)| descriptor.pid) else {
        return troubles;
    };
    if !asked.tcp_established {
        let established = sockets::established(first);
        for (descriptor, _) in own.iter().filter(|(_, inode)| established.contains(inode)) {
            troubles.push(Trouble::Tcp {
                task: label(descriptor.pid),
                descriptor: descriptor.number.clone(),
            });
        }
    }
    if asked.ext_unix_sk {
        return troubles;
    }
    let sockets = sockets::unix(first);
    let known: BTreeSet<u32> = own.iter().map(|(_, inode)| *inode).collect();
    let derived = |inode| outside::is_journal(inode, &sockets) || outside::is_named_datagram(inode, &sockets);
    let foreign: Vec<(&Descriptor, u32)> = own
        .iter()
        .filter(|(_, inode)| !derived(*inode))
        .filter_map(|(descriptor, inode)| Some((*descriptor, sockets.get(inode)?.peer?)))
        .filter(|(_, peer)| *peer != 0 && !known.contains(peer))
        .collect();
    let names: Vec<String> = foreign.iter().map(|(_, peer)| format!("socket:[{peer}]")).collect();
    let wanted = names.iter().map(String::as_str).collect();
    let holders = descriptors::held_outside(&wanted, inside, table);
    for ((descriptor, _), name) in foreign.iter().zip(&names) {
        troubles.push(Trouble::Socket {
            task: label(descriptor.pid),
            descriptor: descriptor.number.clone(),
            other: holders.get(name.as_str()).map(|pid| format!("process {}", label(*pid))),
        });
    }
    troubles
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use rustix::pty::OpenptFlags;

    use super::*;

    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn troubles_of(child: &Ended, asked: Asked) -> Vec<Trouble> {
        troubles_at(i32::try_from(child.0.id()).unwrap(), asked)
    }

    fn troubles_at(pid: i32, asked: Asked) -> Vec<Trouble> {
        // It is another program only after it was executed.
        while Process::of(pid).unwrap().name != "sleep" {
            std::thread::yield_now();
        }
        let found = troubles(&Tree::of(pid).unwrap(), asked).unwrap();
        // What runs the tests may have left descriptors of its own open beyond the standard streams.
        let inherited = |trouble: &Trouble| match trouble {
            Trouble::Pipe { descriptor, .. } | Trouble::Socket { descriptor, .. } | Trouble::Tcp { descriptor, .. } => {
                !["0", "1", "2"].contains(&descriptor.as_str())
            }
            _ => false,
        };
        found.into_iter().filter(|trouble| !inherited(trouble)).collect()
    }

    fn sleeping(prepare: impl FnOnce(&mut Command)) -> Ended {
        let mut command = Command::new("setsid");
        command
            .args(["sleep", "60"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        prepare(&mut command);
        Ended(command.spawn().unwrap())
    }

    #[test]
    fn as_root_a_quiet_daemon_has_none() {
        assert_eq!(troubles_of(&sleeping(|_| {}), Asked::default()), []);
    }

    #[test]
    fn as_root_a_foreign_pipe_is_named_with_who_has_it() {
        let found = troubles_of(
            &sleeping(|command| _ = command.stdout(Stdio::piped())),
            Asked::default(),
        );
        let own = std::process::id().to_string();
        assert!(
            matches!(&found[..], [Trouble::Pipe { descriptor, other, .. }] if descriptor == "1" && other.contains(&own)),
            "{found:?}"
        );
    }

    #[test]
    fn as_root_a_foreign_socket_is_named_unless_it_is_allowed() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let child = sleeping(|command| _ = command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))));
        let found = troubles_of(&child, Asked::default());
        let own = std::process::id().to_string();
        assert!(
            matches!(&found[..], [Trouble::Socket { descriptor, other: Some(other), .. }] if descriptor == "0" && other.contains(&own)),
            "{found:?}"
        );
        let asked = Asked {
            ext_unix_sk: true,
            ..Asked::default()
        };
        assert_eq!(troubles_of(&child, asked), []);
        drop(ours);
    }

    #[test]
    fn as_root_an_established_connection_is_named_unless_it_is_asked_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let child = sleeping(|command| _ = command.stdin(Stdio::from(std::os::fd::OwnedFd::from(stream))));
        let found = troubles_of(&child, Asked::default());
        assert!(
            matches!(&found[..], [Trouble::Tcp { descriptor, .. }] if descriptor == "0"),
            "{found:?}"
        );
        let asked = Asked {
            tcp_established: true,
            ..Asked::default()
        };
        assert_eq!(troubles_of(&child, asked), []);
    }

    #[test]
    fn as_root_one_in_another_s_session_is_no_trouble_without_its_terminal() {
        // A session of its own, as that of the tests may be led from outside of their PID namespace.
        let said = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("setsid");
        command
            .args(["sh", "-c", "sleep 60 & echo $! > \"$0\"; wait"])
            .arg(said.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let leader = Ended(command.spawn().unwrap());
        let pid = loop {
            if let Ok(pid) = fs::read_to_string(said.path()).unwrap().trim().parse() {
                break pid;
            }
            std::thread::yield_now();
        };
        let found = troubles_at(pid, Asked::default());
        rustix::process::kill_process_group(
            rustix::process::Pid::from_child(&leader.0),
            rustix::process::Signal::KILL,
        )
        .unwrap();
        assert_eq!(found, []);
    }

    #[test]
    fn as_root_one_on_another_s_terminal_is_told_who_leads_its_session() {
        let terminal = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        rustix::pty::unlockpt(&terminal).unwrap();
        let name = rustix::pty::ptsname(&terminal, Vec::new()).unwrap();
        let other = fs::File::open(name.to_str().unwrap()).unwrap();
        let mut command = Command::new("sleep");
        command
            .arg("60")
            .stdin(other)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = Ended(command.spawn().unwrap());
        let found = troubles_of(&child, Asked::default());
        assert!(
            matches!(&found[..], [Trouble::NotLeader { .. }, Trouble::Terminal { .. }]),
            "{found:?}"
        );
        let asked = Asked {
            shell_job: true,
            ..Asked::default()
        };
        assert_eq!(troubles_of(&child, asked), []);
    }

    #[test]
    fn this_process_cannot_dump_itself() {
        let own = i32::try_from(std::process::id()).unwrap();
        let found = troubles(&Tree::of(own).unwrap(), Asked::default()).unwrap();
        assert!(matches!(&found[..], [Trouble::Itself { .. }]), "{found:?}");
    }
}
