//! Container runtimes: how to look at a container, which command dumps it, which one restores it.
//!
//! A runtime drives CRIU itself; ckpt only composes its command and adds what the runtime has no flag for through CRIU's
//! option file. What neither can express is refused by name, never dropped.

mod command;
mod devices;
mod error;
mod flags;
mod lock;
pub mod lxc;
mod oci;
mod podman;
mod process;
mod roots;

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use error::Error;
pub use lock::ContainerLock;
pub use lxc::{Lxc, LxcFacts};
pub use oci::Oci;
pub use podman::{NeverRun, Podman, PodmanRestore, StandIn};
pub use process::Process;
pub(crate) use roots::cgroup_roots;

use crate::criu::{Logs, OptionFile, Session};
use crate::manifest::{DumpOptions, Image};
use crate::request::{ContainerRef, ProcessRef, ProcessRestore, RestoreOptions, RuntimeKind};

/// A container as its runtime describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The runtime's identifier.
    pub id: String,
    /// Its first process, as this host sees it.
    pub pid: i32,
    /// Its state: `running`, `paused`, …
    pub status: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Its root file system.
    pub rootfs: PathBuf,
    /// When it was created, as the runtime writes it.
    pub created: Option<String>,
    /// Its configuration, every key of it.
    pub spec: serde_json::Value,
    /// What only a container of LXC has.
    pub lxc: Option<Box<LxcFacts>>,
}

/// What a dump needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Checkpoint<'a> {
    /// The container.
    pub id: &'a str,
    /// Where CRIU puts its images.
    pub images: &'a Path,
    /// Where CRIU works and logs.
    pub work: &'a Path,
    /// The parent's images, relative to `images`.
    pub parent: Option<&'a Path>,
    /// Who takes the memory, where it is not to be among the images.
    pub page_server: Option<PagesTo<'a>>,
    /// The container's configuration.
    pub spec: &'a serde_json::Value,
    /// The switches.
    pub options: &'a DumpOptions,
}

/// A page server.
#[derive(Debug, Clone, Copy)]
pub enum PagesTo<'a> {
    /// Somebody else's, `HOST:PORT`.
    Address(&'a str),
    /// The other end of a socket that CRIU inherits under this number.
    Socket(BorrowedFd<'a>),
}

/// What a restore needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Restore<'a> {
    /// The container's name.
    pub id: &'a str,
    /// Its bundle.
    pub bundle: &'a Path,
    /// CRIU's images.
    pub images: &'a Path,
    /// Where CRIU works and logs.
    pub work: &'a Path,
    /// File that receives the first process's identifier.
    pub pid_file: Option<&'a Path>,
    /// Socket that receives the terminal's master.
    pub console_socket: Option<&'a Path>,
    /// systemd makes the container's cgroup.
    pub systemd_cgroup: bool,
    /// The container's configuration.
    pub spec: &'a serde_json::Value,
    /// The container's cgroup, where its configuration names it: an absolute path.
    pub cgroup: Option<&'a str>,
    /// CRIU's lazy-pages daemon waits in `work` for the tasks' memory.
    pub lazy: bool,
    /// Of processes: how they are restored.
    pub processes: Option<&'a ProcessRestore>,
    /// The switches.
    pub options: &'a RestoreOptions,
}

/// What an engine above the runtime knows of a container.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The runtime below it, whose CRIU makes the images, and its version.
    pub runtime: (RuntimeKind, String),
    /// The container's name for people.
    pub name: String,
    /// The image that it was made from.
    pub image: Option<Image>,
    /// Its volumes, whose content always travels.
    pub volumes: Vec<NamedVolume>,
    /// The file that holds the engine's configuration of it, there once the container is frozen.
    pub config: PathBuf,
    /// What the container has written to its standard output, as the engine keeps it.
    pub log: Option<PathBuf>,
    /// Its networks: by name, the address of its interface in each.
    pub network_status: serde_json::Value,
}

/// A volume of an engine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedVolume {
    /// Its name; an anonymous one has one, too.
    pub name: String,
    /// The directory of this host.
    pub source: PathBuf,
    /// Where it is in the container.
    pub destination: String,
}

/// A runtime's command and the option file that goes with it.
#[derive(Debug)]
pub struct Invocation {
    /// The command.
    pub command: Command,
    /// What is given to CRIU beside it.
    pub options: OptionFile,
    /// Where CRIU and the runtime log.
    pub logs: Logs,
    /// What an engine starts instead of its runtime.
    stand_in: Option<StandIn>,
}

impl Invocation {
    /// A command that is started as it is.
    #[must_use]
    pub fn new(command: Command, options: OptionFile, logs: Logs) -> Self {
        Self {
            command,
            options,
            logs,
            stand_in: None,
        }
    }

    /// A command of an engine that starts this instead of its runtime.
    #[must_use]
    pub fn with_stand_in(mut self, stand_in: StandIn) -> Self {
        self.stand_in = Some(stand_in);
        self
    }

    /// Starts it in a session of its own.
    ///
    /// # Errors
    /// Where the session cannot be prepared.
    pub fn prepare(self) -> Result<(Session, Command), crate::criu::Error> {
        let mut session = Session::prepare(&crate::criu::helper()?, self.options, self.logs)?;
        if let Some(stand_in) = self.stand_in {
            stand_in.place(&session)?;
            session = session.with_words_in(&stand_in.log())?;
        }
        Ok((session, self.command))
    }
}

/// A container runtime.
pub trait Runtime: std::fmt::Debug + Send + Sync {
    /// Which one it is.
    fn kind(&self) -> RuntimeKind;

    /// Its version, as it prints it.
    ///
    /// # Errors
    /// Where it cannot be run.
    fn version(&self) -> Result<String, Error>;

    /// The container `id`, or `None` where this runtime knows none of that name.
    ///
    /// # Errors
    /// Where the runtime fails in another way, or what it says cannot be read.
    fn inspect(&self, id: &str) -> Result<Option<Target>, Error>;

    /// What an engine knows beyond that of a container that can be exported; `None` of a plain runtime.
    ///
    /// # Errors
    /// [`Error::Refused`] for a container that it cannot export.
    fn engine(&self, _: &Target) -> Result<Option<Engine>, Error> {
        Ok(None)
    }

    /// Takes away what a dump that was refused has left of the runtime's own files.
    fn tidy(&self, _: &Target) {}

    /// Sets the switches of a dump that this runtime gives CRIU whatever is asked.
    fn fix(&self, _: &mut DumpOptions) {}

    /// Asks the program now for what [`Runtime::checkpoint`] has to know of it, which takes some hundredths of a second.
    fn ask_ahead(&self) {}

    /// The command that dumps.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a switch that neither the runtime nor CRIU's option file can express.
    fn checkpoint(&self, checkpoint: &Checkpoint<'_>) -> Result<Invocation, Error>;

    /// The command that restores.
    ///
    /// # Errors
    /// As for [`Runtime::checkpoint`].
    fn restore(&self, restore: &Restore<'_>) -> Result<Invocation, Error>;

    /// Tells who else looks after what was dumped that it is about to end: the archive is in place.
    ///
    /// # Errors
    /// Where that does not take it; the dump goes on to its end.
    fn about_to_end(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Waits until the runtime has noticed that CRIU has ended the container `id`.
    fn ended(&self, _id: &str) {}

    /// The container `id` when its restore has come to its end; `images` are CRIU's.
    ///
    /// # Errors
    /// Where the runtime fails, or the container is not restored though the command ended well.
    fn restored(&self, id: &str, _images: &Path) -> Result<Option<Target>, Error> {
        self.inspect(id)
    }

    /// Thaws a container that is paused.
    ///
    /// # Errors
    /// Where the runtime fails.
    fn resume(&self, id: &str) -> Result<(), Error>;

    /// Freezes a container that runs.
    ///
    /// # Errors
    /// Where the runtime fails.
    fn pause(&self, id: &str) -> Result<(), Error>;

    /// Deletes what is left of the container `id`; none is not an error.
    ///
    /// # Errors
    /// Where the runtime fails.
    fn delete(&self, id: &str) -> Result<(), Error>;
}

impl RuntimeKind {
    /// Every runtime of containers.
    pub const ALL: [Self; 4] = [Self::Runc, Self::Crun, Self::Lxc, Self::Podman];

    /// Those that run containers themselves, in the order in which they are asked for one.
    pub const DIRECT: [Self; 3] = [Self::Runc, Self::Crun, Self::Lxc];

    /// Those that an engine runs its containers with.
    pub const OCI: [Self; 2] = [Self::Runc, Self::Crun];

    /// Its name, as `--runtime` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Podman => "podman",
            Self::Lxc => "lxc",
            Self::Process => "process",
        }
    }

    /// The runtime of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .chain([Self::Process])
            .find(|kind| kind.name() == name)
    }
}

/// The runtime `kind` of this host, with its state directory where that is not the default.
///
/// # Errors
/// [`Error::NotInstalled`] where the program is not found.
pub fn open(kind: RuntimeKind, state_root: Option<&Path>) -> Result<Box<dyn Runtime>, Error> {
    Ok(match kind {
        RuntimeKind::Process => Box::new(Process::open()?),
        RuntimeKind::Runc | RuntimeKind::Crun => Box::new(Oci::open(kind, state_root)?),
        RuntimeKind::Podman => Box::new(Podman::open(state_root)?),
        RuntimeKind::Lxc => Box::new(Lxc::open(state_root)?),
    })
}

/// Finds a process tree.
///
/// # Errors
/// Where there is none, or CRIU is not installed.
pub fn find_process(process: &ProcessRef) -> Result<(Process, Target), Error> {
    let process = Process::find(process)?;
    let target = process.target()?;
    Ok((process, target))
}

/// Finds a container: in the runtime that the reference names, or in each one that is installed. An engine is asked only for
/// one that no runtime knows, which it may know by a name, or that is the engine's: that takes a tenth of a second.
///
/// # Errors
/// [`Error::NotFound`] where none knows it, [`Error::Ambiguous`] where several do, [`Error::NoneInstalled`] where there is
/// none.
pub fn find(container: &ContainerRef) -> Result<(Box<dyn Runtime>, Target), Error> {
    need_root()?;
    let mut search = Search {
        container,
        asked: Vec::new(),
        missing: Vec::new(),
    };
    if let Some(kind) = container.runtime {
        let found = search.ask(&[kind])?;
        return search.finish(found);
    }
    let mut found = search.ask(&RuntimeKind::DIRECT)?;
    if container.state_root.is_none() && found.iter().all(|(_, target)| is_engine_s(target)) {
        let engine_s = search.ask(&[RuntimeKind::Podman])?;
        if !engine_s.is_empty() {
            found = engine_s;
        }
    }
    search.finish(found)
}

/// A container, and the runtime that knows it.
type Found = (Box<dyn Runtime>, Target);

/// A search for a container.
struct Search<'a> {
    container: &'a ContainerRef,
    /// Runtimes that answered.
    asked: Vec<&'static str>,
    /// Programs that are not installed.
    missing: Vec<&'static str>,
}

impl Search<'_> {
    /// Asks these runtimes. One that is not installed is no error unless it was named.
    fn ask(&mut self, kinds: &[RuntimeKind]) -> Result<Vec<Found>, Error> {
        let mut found = Vec::new();
        for (kind, answer) in ask(kinds, self.container) {
            match answer {
                Err(Error::NotInstalled { program }) if self.container.runtime.is_none() => self.missing.push(program),
                Err(error) => return Err(error),
                Ok((runtime, target)) => {
                    self.asked.push(kind.name());
                    found.extend(target.map(|target| (runtime, target)));
                }
            }
        }
        Ok(found)
    }

    /// The one that was found.
    fn finish(self, mut found: Vec<Found>) -> Result<Found, Error> {
        let (id, asked, missing) = (
            self.container.id.clone(),
            self.asked.join(", "),
            self.missing.join(", "),
        );
        if asked.is_empty() {
            return Err(Error::NoneInstalled { programs: missing });
        }
        if found.len() > 1 {
            return Err(Error::Ambiguous { id, runtimes: asked });
        }
        let runtimes = if missing.is_empty() {
            asked
        } else {
            format!("{asked}; not installed: {missing}")
        };
        found.pop().ok_or(Error::NotFound { id, runtimes })
    }
}

/// Containers are root's: what their runtimes say to others about their state directories is no help.
///
/// # Errors
/// [`Error::NotRoot`].
pub fn need_root() -> Result<(), Error> {
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err(Error::NotRoot)
    }
}

/// Whether podman made a container.
fn is_engine_s(target: &Target) -> bool {
    let manager = target.spec.pointer("/annotations/io.container.manager");
    manager.and_then(serde_json::Value::as_str) == Some("libpod")
}

/// A runtime, and the container if it knows it.
type Answer = Result<(Box<dyn Runtime>, Option<Target>), Error>;

/// Asks the runtimes for a container, all at once: each takes some hundredths of a second.
fn ask(kinds: &[RuntimeKind], container: &ContainerRef) -> Vec<(RuntimeKind, Answer)> {
    let ask = |kind| {
        let runtime = open(kind, container.state_root.as_deref())?;
        let target = runtime.inspect(&container.id)?;
        Ok((runtime, target))
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = kinds
            .iter()
            .map(|kind| (*kind, scope.spawn(move || ask(*kind))))
            .collect();
        let answer = |thread: std::thread::ScopedJoinHandle<'_, Answer>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        asked.into_iter().map(|(kind, thread)| (kind, answer(thread))).collect()
    })
}
