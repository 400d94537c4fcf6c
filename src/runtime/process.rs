//! Plain processes, "the runtime that runs CRIU directly": there is none in between.
//!
//! Its commands are `ckpt criu-rpc` with an [`Order`], which talks to CRIU over RPC beside the session as runc does for a
//! container. What is found by a number is told from another process that got the same number later by its start time.

use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{Checkpoint, Error, Invocation, PagesTo, Restore, Runtime, Target};
use crate::criu::rpc::{Job, NetworkOf, Order, Substitute, Switches, questions};
use crate::criu::{self, Logs, OptionFile};
use crate::manifest::DumpOptions;
use crate::process::{self, JOURNAL, JournalStream, Root, Tree};
use crate::request::{ProcessRef, RuntimeKind};
use crate::sys::programs;

/// The version of the OCI runtime specification whose `config.json` the description of a process follows.
const OCI_VERSION: &str = "1.2.0";

/// CRIU, and the process tree that was found.
#[derive(Debug, Clone)]
pub struct Process {
    criu: PathBuf,
    found: Option<Found>,
}

#[derive(Debug, Clone)]
struct Found {
    root: Root,
    start: u64,
}

impl Process {
    /// CRIU of this host, for a restore.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] where it is not in PATH.
    pub fn open() -> Result<Self, Error> {
        let criu = programs::find("criu").ok_or(Error::NotInstalled { program: "criu" })?;
        Ok(Self { criu, found: None })
    }

    /// CRIU, and a process tree of this host.
    ///
    /// # Errors
    /// As [`Process::open`], and where there is no such tree.
    pub fn find(process: &ProcessRef) -> Result<Self, Error> {
        let root = match process {
            ProcessRef::Pid(pid) => process::by_pid(*pid)?,
            ProcessRef::Unit(unit) => process::by_unit(unit)?,
        };
        let start = look(root.pid)?.start;
        let found = Some(Found { root, start });
        Ok(Self { found, ..Self::open()? })
    }

    /// The tree as a target of an export.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn target(&self) -> Result<Target, Error> {
        let gone = || process::Error::NoProcess { pid: 0 };
        let found = self.found.as_ref().ok_or_else(gone)?;
        let tree = Tree::of(found.root.pid)?;
        Ok(Target {
            id: found.root.name.clone(),
            pid: found.root.pid,
            status: "running".to_owned(),
            bundle: PathBuf::new(),
            rootfs: PathBuf::from("/"),
            created: None,
            spec: describe(&tree),
            lxc: None,
        })
    }

    /// The working directory goes into the option file: in a request it is a descriptor, which CRIU looks up under the number of
    /// the process that asks, and that has none in another PID namespace.
    fn invocation(&self, order: &Order, work: &Path, logs: Logs) -> Result<Invocation, Error> {
        let mut options = OptionFile::new();
        options.value("work-dir", &work.to_string_lossy())?;
        let mut command = Command::new(criu::helper()?);
        command.args(["criu-rpc", "--order"]).arg(order.to_text()?);
        Ok(Invocation {
            command,
            options,
            logs,
            stand_in: None,
        })
    }
}

fn look(pid: i32) -> Result<process::Process, Error> {
    process::Process::of(pid).map_err(|_| process::Error::NoProcess { pid }.into())
}

/// What readers of an archive know a process by: the part of a `config.json` that is true of it.
fn describe(tree: &Tree) -> Value {
    let root = tree.tasks().into_iter().next();
    let args = root.map(|task| task.command).unwrap_or_default();
    json!({
        "ociVersion": OCI_VERSION,
        "root": {"path": "/"},
        "process": {"terminal": false, "cwd": "/", "args": args},
    })
}

fn logs(work: &Path, criu: &str) -> Logs {
    Logs {
        criu: work.join(criu),
        runtime: work.join("runtime.log"),
    }
}

fn unsupported(option: &str) -> Error {
    Error::Unsupported {
        runtime: "a process",
        option: option.to_owned(),
    }
}

impl Runtime for Process {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Process
    }

    fn version(&self) -> Result<String, Error> {
        Ok(questions::version(&self.criu)?)
    }

    fn inspect(&self, id: &str) -> Result<Option<Target>, Error> {
        let Some(found) = self.found.as_ref().filter(|found| found.root.name == id) else {
            return Ok(None);
        };
        match process::Process::of(found.root.pid) {
            Ok(now) if now.start == found.start && !matches!(now.state, 'Z' | 'X') => self.target().map(Some),
            _ => Ok(None),
        }
    }

    /// CRIU connects sockets that send datagrams to a name again, where it is told to.
    fn fix(&self, options: &mut DumpOptions) {
        let tree = self.found.as_ref().and_then(|found| Tree::of(found.root.pid).ok());
        options.ext_unix_sk |= tree.is_some_and(|tree| process::sends_datagrams(&tree));
    }

    fn checkpoint(&self, request: &Checkpoint<'_>) -> Result<Invocation, Error> {
        let found = self.found.as_ref().ok_or(process::Error::NoProcess { pid: 0 })?;
        let options = request.options;
        if !options.empty_ns.is_empty() {
            return Err(unsupported("--empty-ns"));
        }
        let (mut pages_fd, mut pages_at) = (None, None);
        match request.page_server {
            None => {}
            Some(PagesTo::Socket(end)) => pages_fd = Some(end.as_raw_fd()),
            Some(PagesTo::Address(server)) => pages_at = Some(address(server)?),
        }
        let logs = logs(request.work, "dump.log");
        let tree = Tree::of(found.root.pid)?;
        let journal = process::journal_of(&tree);
        let order = Order {
            criu: self.criu.clone(),
            job: Job::Dump {
                pid: found.root.pid,
                pre_dump: options.pre_dump,
                parent: request.parent.map(Path::to_owned),
                pages_fd,
                pages_at,
                external: journal.iter().map(|one| Substitute::external(one.inode)).collect(),
            },
            images: request.images.to_owned(),
            complaints: logs.runtime.clone(),
            switches: Switches {
                leave_running: options.leave_running,
                tcp_established: options.tcp_established,
                tcp_skip_in_flight: options.tcp_skip_in_flight,
                ext_unix_sk: options.ext_unix_sk,
                shell_job: options.shell_job || process::is_in_another_session(&tree),
                file_locks: options.file_locks,
                link_remap: options.link_remap,
                auto_dedup: options.auto_dedup,
                manage_cgroups_mode: options.manage_cgroups_mode.clone(),
                ..Switches::default()
            },
        };
        self.invocation(&order, request.work, logs)
    }

    fn restore(&self, request: &Restore<'_>) -> Result<Invocation, Error> {
        let options = request.options;
        let refused = [
            (!options.empty_ns.is_empty(), "--empty-ns"),
            (options.no_pivot, "--no-pivot"),
            (options.lsm_mount_context.is_some(), "--lsm-mount-context"),
            (request.console_socket.is_some(), "--console-socket"),
        ];
        if let Some((_, option)) = refused.into_iter().find(|(given, _)| *given) {
            return Err(unsupported(option));
        }
        let how = request.processes.cloned().unwrap_or_default();
        let logs = logs(request.work, "restore.log");
        let order = Order {
            criu: self.criu.clone(),
            job: Job::Restore {
                lazy: request.lazy,
                new_pidns: how.new_pidns,
                network: match how.netns {
                    None => NetworkOf::Host,
                    Some(path) if path == Path::new("new") => NetworkOf::New,
                    Some(path) => NetworkOf::Path(path),
                },
                own_session: how.own_session,
                substitutes: how.journal.iter().map(substitute).collect(),
            },
            images: request.images.to_owned(),
            complaints: logs.runtime.clone(),
            switches: Switches {
                tcp_established: options.tcp_established,
                tcp_close: options.tcp_close,
                ext_unix_sk: options.ext_unix_sk,
                shell_job: options.shell_job || how.own_session,
                file_locks: options.file_locks,
                link_remap: options.link_remap,
                auto_dedup: options.auto_dedup,
                manage_cgroups_mode: options.manage_cgroups_mode.clone(),
                lsm_profile: options.lsm_profile.clone(),
                ..Switches::default()
            },
        };
        let mut invocation = self.invocation(&order, request.work, logs)?;
        if let Some(path) = request.cgroup {
            invocation.options.value("cgroup-root", path)?;
        }
        Ok(invocation)
    }

    /// systemd would start a unit anew whose processes it sees killed (`Restart=`).
    fn about_to_end(&self) -> Result<(), Error> {
        let root = self.found.as_ref().map(|found| &found.root);
        match root.and_then(|root| root.unit.as_deref()) {
            Some(unit) => Ok(process::stop(unit)?),
            None => Ok(()),
        }
    }

    /// CRIU freezes processes by ptrace, which ends with CRIU: there is nothing to thaw.
    fn resume(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn pause(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    /// What a failed restore left CRIU has killed; nobody else keeps a record of processes.
    fn delete(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }
}

/// A new connection to this host's journal.
fn substitute(stream: &JournalStream) -> Substitute {
    Substitute {
        inode: stream.inode,
        socket: JOURNAL.into(),
        greeting: stream.greeting(),
    }
}

/// `HOST:PORT`.
fn address(server: &str) -> Result<(String, u16), Error> {
    let bad = || unsupported(&format!("page server {server}"));
    let (address, port) = server.rsplit_once(':').ok_or_else(bad)?;
    Ok((address.to_owned(), port.parse().map_err(|_| bad())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{ProcessRestore, RestoreOptions};

    fn order_of(invocation: &Invocation) -> Order {
        let text = invocation.command.get_args().last().unwrap();
        Order::parse(text.to_str().unwrap()).unwrap()
    }

    fn of_this_process() -> Process {
        let own = i32::try_from(std::process::id()).unwrap();
        let root = process::by_pid(own).unwrap();
        let start = look(own).unwrap().start;
        Process {
            criu: "/criu".into(),
            found: Some(Found { root, start }),
        }
    }

    #[test]
    fn a_process_is_itself_only_while_it_started_when_it_did() {
        let mut process = of_this_process();
        let id = process.target().unwrap().id;
        assert_eq!(
            process.inspect(&id).unwrap().unwrap().pid,
            process.target().unwrap().pid
        );
        assert_eq!(process.inspect("other").unwrap(), None);
        process.found.as_mut().unwrap().start += 1;
        assert_eq!(process.inspect(&id).unwrap(), None);
    }

    #[test]
    fn page_servers_have_an_address_and_a_port() {
        assert_eq!(address("b:4000").unwrap(), ("b".to_owned(), 4000));
        assert_eq!(address("::1:4000").unwrap(), ("::1".to_owned(), 4000));
        assert!(address("b").is_err() && address("b:x").is_err());
    }

    #[test]
    fn what_a_container_has_and_a_process_has_not_is_refused_by_name() {
        // Whether the command ckpt is found is another matter.
        let process = of_this_process();
        let options = DumpOptions {
            empty_ns: vec!["network".into()],
            ..DumpOptions::default()
        };
        let spec = json!({});
        let checkpoint = Checkpoint {
            id: "x",
            images: Path::new("/i"),
            work: Path::new("/w"),
            parent: None,
            page_server: None,
            spec: &spec,
            options: &options,
        };
        let error = process.checkpoint(&checkpoint).unwrap_err();
        assert_eq!(error.to_string(), "a process has no --empty-ns");
        let options = RestoreOptions {
            no_pivot: true,
            ..RestoreOptions::default()
        };
        let how = ProcessRestore::default();
        let restore = Restore {
            id: "x",
            bundle: Path::new("/b"),
            images: Path::new("/i"),
            work: Path::new("/w"),
            pid_file: None,
            console_socket: None,
            systemd_cgroup: false,
            spec: &spec,
            cgroup: None,
            lazy: false,
            processes: Some(&how),
            options: &options,
        };
        assert_eq!(
            process.restore(&restore).unwrap_err().to_string(),
            "a process has no --no-pivot"
        );
        let options = RestoreOptions::default();
        if let Ok(invocation) = process.restore(&Restore {
            options: &options,
            ..restore
        }) {
            assert!(matches!(
                order_of(&invocation).job,
                Job::Restore { new_pidns: false, .. }
            ));
        }
    }
}
