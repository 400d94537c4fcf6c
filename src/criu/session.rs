//! A session beside the runtime's CRIU: private option file, action script and socket.
//!
//! The commit point of an export: CRIU stops at `post-dump` with every task stopped and every image written. Until
//! [`Commit::acknowledge`] is called the dump can still be refused, and the container runs on as if nothing had happened;
//! dropping a [`Commit`] refuses it, and so does the death of ckpt.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, test_kill_process_group};

use super::actions::{self, Action, ActionKind};
use super::{Error, OptionFile, log};
use crate::links;

/// Where sessions keep their sockets: a file system in memory, gone after a reboot.
const BASE: &str = "/run/ckpt";
/// How the names of sessions begin.
const PREFIX: &str = "session-";
/// How often a waiting session asks whether the caller wants to stop.
const LOOK_UP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// How often a session that waits for CRIU's end looks whether it is there.
const SETTLING: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};
/// How long CRIU is waited for after its runtime: longer than it needs to notice, or to give up by its own timeout (10 s).
const PATIENCE: Duration = Duration::from_secs(60);

/// A private place for one dump or restore.
#[derive(Debug)]
pub struct Session {
    directory: Directory,
    helper: PathBuf,
    listener: UnixListener,
    logs: Logs,
    shell_job: bool,
    /// Where the command's standard error goes.
    words: Option<(PathBuf, File)>,
    /// The command's process group, where it has one of its own.
    group: OnceLock<Pid>,
    _lock: File,
}

/// The session's directory, removed on drop.
#[derive(Debug)]
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where CRIU and the runtime say what went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    /// CRIU's log.
    pub criu: PathBuf,
    /// The runtime's, JSON lines.
    pub runtime: PathBuf,
}

impl Session {
    /// Prepares the socket, the action script and the option file; `logs` is where CRIU and the runtime will write.
    ///
    /// # Errors
    /// Where the private directory cannot be made.
    pub fn prepare(helper: &Path, mut options: OptionFile, logs: Logs) -> Result<Self, Error> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(BASE)
            .map_err(|error| Error::io("making", BASE, error))?;
        super::work::sweep_after(Path::new(BASE), PREFIX, heal);
        let made = super::work::locked_dir(Path::new(BASE), PREFIX);
        let (path, lock) = made.map_err(|error| Error::io("making a session directory in", BASE, error))?;
        let directory = Directory(path);
        let socket = directory.0.join("socket");
        let listener = UnixListener::bind(&socket).map_err(|error| Error::io("listening on", &socket, error))?;
        let script = directory.0.join("action");
        write_script(
            &script,
            &actions::script(&helper.to_string_lossy(), &socket.to_string_lossy()),
        )?;
        options.value("action-script", &script.to_string_lossy())?;
        let file = directory.0.join("options");
        fs::write(&file, options.as_str()).map_err(|error| Error::io("writing", &file, error))?;
        Ok(Self {
            directory,
            helper: helper.to_owned(),
            listener,
            logs,
            shell_job: false,
            words: None,
            group: OnceLock::new(),
            _lock: lock,
        })
    }

    /// Leaves the caller's terminal to the command: what it restores is a job of that terminal.
    #[must_use]
    pub fn with_terminal(mut self) -> Self {
        self.shell_job = true;
        self
    }

    /// Keeps what the command says on standard error in a file, for an engine that says it nowhere else.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub fn with_words_in(mut self, path: &Path) -> Result<Self, Error> {
        let file = File::create(path).map_err(|error| Error::io("creating", path, error))?;
        self.words = Some((path.to_owned(), file));
        Ok(self)
    }

    /// The shell command with which a script asks whether it may go on; what the step is and what it is about are in
    /// `CRTOOLS_SCRIPT_ACTION` and `CRTOOLS_INIT_PID`.
    #[must_use]
    pub fn question(&self) -> String {
        let socket = self.directory.0.join("socket");
        actions::question(&self.helper.to_string_lossy(), &socket.to_string_lossy())
    }

    /// The file with the options that CRIU is given.
    #[must_use]
    pub fn option_file(&self) -> PathBuf {
        self.directory.0.join("options")
    }

    /// Starts the runtime's command with this session's options in its environment.
    ///
    /// It gets a process group of its own: a Ctrl-C at the terminal must reach ckpt, which refuses the dump in an orderly
    /// way, and not CRIU in the middle of its work. Its standard streams are `/dev/null`, because a restored container
    /// whose streams were pipes gets the runtime's own: a file of ckpt's there could never be dumped again.
    ///
    /// # Errors
    /// Where the program cannot be started.
    pub fn start(&self, mut command: Command) -> Result<Running<'_>, Error> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.env("CRIU_CONFIG_FILE", self.option_file());
        if !self.shell_job {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0);
        }
        if let Some((path, file)) = &self.words {
            let file = file.try_clone().map_err(|error| Error::io("sharing", path, error))?;
            command.stderr(file);
        }
        tracing::debug!(?command, "starting");
        let child = command.spawn().map_err(|source| Error::Run {
            program: program.clone(),
            source,
        })?;
        let pid = Pid::from_child(&child);
        if !self.shell_job {
            let _ = self.group.set(pid);
        }
        let exited = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| Error::Run {
            program: program.clone(),
            source: e.into(),
        })?;
        Ok(Running {
            session: self,
            program,
            child,
            exited,
        })
    }

    /// Waits until CRIU is gone, which a runtime that was killed leaves behind. What it asks meanwhile is refused.
    ///
    /// Only then is a container as it will be: CRIU's tasks are let go when it has ended, not when its runtime has.
    pub fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.is_busy() && Instant::now() < deadline {
            let mut watched = [PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN)];
            if poll(&mut watched, Some(&SETTLING)).is_ok_and(|ready| ready > 0) {
                drop(self.listener.accept());
            }
        }
    }

    /// Whether something that the command started is still there.
    fn is_busy(&self) -> bool {
        self.group
            .get()
            .is_some_and(|group| test_kill_process_group(*group).is_ok())
    }

    /// What CRIU and the runtime said of their failure; a CRIU that was killed has said nothing.
    fn complaints(&self) -> Vec<String> {
        let mut lines = log::error_lines(&self.logs.criu);
        if !self.is_busy() && log::broken_off(&self.logs.criu).is_some() {
            lines.push("CRIU was killed, or crashed, in the middle of its work: its log breaks off".to_owned());
        }
        lines.extend(log::runtime_errors(&self.logs.runtime));
        // Where CRIU or the runtime has spoken, its engine has no more to say than that it failed.
        if let (Some((path, _)), true) = (&self.words, lines.is_empty()) {
            lines.extend(log::last_words(path));
        }
        lines
    }
}

/// The command `ckpt` that action scripts call: this very program, or for a caller of the library the one in PATH.
///
/// # Errors
/// [`Error::NoHelper`] where there is none.
pub fn helper() -> Result<PathBuf, Error> {
    let this = std::env::current_exe().map_err(Error::NoHelper)?;
    if this.file_name().is_some_and(|name| name == "ckpt") {
        return Ok(this);
    }
    crate::sys::programs::find("ckpt").ok_or_else(|| Error::NoHelper(io::ErrorKind::NotFound.into()))
}

/// Undoes what the session of a process that was killed has left cut off.
fn heal(session: &Path) {
    if let Err(error) = links::heal(&session.join(links::RECORD)) {
        tracing::warn!(%error, session = %session.display(), "network links of a container stay down");
    }
}

fn write_script(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|error| Error::io("writing", path, error))?;
    fs::set_permissions(path, Permissions::from_mode(0o700))
        .map_err(|error| Error::io("making executable", path, error))
}

/// Asked now and then while ckpt waits for the runtime: whether the caller wants to stop.
pub type Hook<'a> = &'a dyn Fn() -> bool;

/// A runtime's command under way.
#[derive(Debug)]
pub struct Running<'session> {
    session: &'session Session,
    program: String,
    child: Child,
    exited: OwnedFd,
}

enum Woken {
    Asked(Action),
    Ended,
}

impl<'session> Running<'session> {
    /// Waits until CRIU has dumped everything and asks whether to go through with it.
    ///
    /// # Errors
    /// [`Error::Ended`] where the runtime ends before, with CRIU's own error lines. The container runs on then.
    pub fn wait_for_commit(self, interrupted: Hook<'_>) -> Result<Commit<'session>, Error> {
        let (running, action) = self.wait_for(ActionKind::PostDump, interrupted)?;
        Ok(Commit { action, running })
    }

    /// Waits until CRIU has restored everything and asks whether to let it run.
    ///
    /// # Errors
    /// [`Error::Ended`] where the runtime ends before, with CRIU's own error lines.
    pub fn wait_for_restored(self, interrupted: Hook<'_>) -> Result<Commit<'session>, Error> {
        let (running, action) = self.wait_for(ActionKind::PostRestore, interrupted)?;
        Ok(Commit { action, running })
    }

    /// Waits until an engine has made the container and asks whether its runtime may restore it. Until the [`Prepared`] is
    /// accepted nothing of it runs.
    ///
    /// # Errors
    /// [`Error::Ended`] where the engine ends before.
    pub fn wait_for_prepared(self, interrupted: Hook<'_>) -> Result<Prepared<'session>, Error> {
        let (running, action) = self.wait_for(ActionKind::PreRestore, interrupted)?;
        Ok(Prepared { action, running })
    }

    /// The runtime's process; CRIU descends from it.
    #[must_use]
    pub fn runtime(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Refuses whatever CRIU asks, waits for the end, and gives the error back.
    ///
    /// # Errors
    /// The one given.
    pub fn give_up<T, E>(self, error: E) -> Result<T, E> {
        let _ = self.abandon::<()>();
        Err(error)
    }

    fn wait_for(mut self, expected: ActionKind, interrupted: Hook<'_>) -> Result<(Self, Action), Error> {
        loop {
            match self.next()? {
                Some(Woken::Asked(action)) if action.kind() == expected => return Ok((self, action)),
                Some(Woken::Asked(other)) => tracing::warn!(kind = other.kind().name(), "unexpected action refused"),
                Some(Woken::Ended) => {
                    let status = self.reap()?;
                    return Err(Error::Ended {
                        program: self.program.clone(),
                        status: status.to_string(),
                        expected: expected.name(),
                        lines: self.session.complaints(),
                    });
                }
                None if interrupted() => return self.abandon(),
                None => {}
            }
        }
    }

    /// Waits for a question or for the end; `None` after a signal.
    fn next(&mut self) -> Result<Option<Woken>, Error> {
        let fault = |source: io::Error| Error::Run {
            program: self.program.clone(),
            source,
        };
        let mut watched = [
            PollFd::from_borrowed_fd(self.session.listener.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.exited.as_fd(), PollFlags::IN),
        ];
        match poll(&mut watched, Some(&LOOK_UP)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(fault(error.into())),
        }
        if !watched[0].revents().is_empty() {
            let (stream, _) = self.session.listener.accept().map_err(fault)?;
            return Ok(Action::receive(stream)
                .inspect_err(|error| tracing::warn!(%error, "an action script was not understood"))
                .ok()
                .map(Woken::Asked));
        }
        Ok((!watched[1].revents().is_empty()).then_some(Woken::Ended))
    }

    /// Refuses whatever CRIU asks from now on and waits for the end, so that the container is seen running again.
    fn abandon<T>(mut self) -> Result<T, Error> {
        loop {
            if let Some(Woken::Ended) = self.next()? {
                self.reap()?;
                return Err(Error::Interrupted);
            }
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`Error::Failed`] where the status is not 0, with CRIU's own error lines.
    pub fn finish(mut self) -> Result<(), Error> {
        let status = self.reap()?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Failed {
            program: self.program.clone(),
            status: status.to_string(),
            lines: self.session.complaints(),
        })
    }

    fn reap(&mut self) -> Result<ExitStatus, Error> {
        self.child.wait().map_err(|source| Error::Run {
            program: self.program.clone(),
            source,
        })
    }
}

/// An engine that has made a container, and whose runtime waits to be told to restore it.
#[derive(Debug)]
pub struct Prepared<'session> {
    action: Action,
    running: Running<'session>,
}

impl<'session> Prepared<'session> {
    /// The container's bundle.
    #[must_use]
    pub fn bundle(&self) -> &Path {
        self.action.bundle()
    }

    /// Lets the runtime go on.
    ///
    /// # Errors
    /// [`Error::AnswerLost`] where it is gone.
    pub fn accept(self) -> Result<Running<'session>, Error> {
        let action = self.action.kind().name();
        self.action
            .accept()
            .map_err(|source| Error::AnswerLost { action, source })?;
        Ok(self.running)
    }

    /// Ends the restore, waits until the engine has noticed, and gives the error back.
    ///
    /// # Errors
    /// The one given.
    pub fn refuse<T, E>(self, error: E) -> Result<T, E> {
        let Self { action, running } = self;
        drop(action);
        running.give_up(error)
    }
}

/// CRIU waiting to be told to go through with it: the dump's commit point, or the restore's.
#[derive(Debug)]
pub struct Commit<'session> {
    action: Action,
    running: Running<'session>,
}

impl Commit<'_> {
    /// The container's first process as this host sees it.
    #[must_use]
    pub fn init_pid(&self) -> Option<i32> {
        self.action.init_pid()
    }

    /// Where it is recorded which links of the container are cut off: it outlives a ckpt that is killed.
    #[must_use]
    pub fn links_record(&self) -> PathBuf {
        self.running.session.directory.0.join(links::RECORD)
    }

    /// Lets CRIU go on and waits for the runtime's end.
    ///
    /// # Errors
    /// [`Error::AnswerLost`] where CRIU is gone, [`Error::Failed`] where the runtime fails afterwards.
    pub fn acknowledge(self) -> Result<(), Error> {
        let action = self.action.kind().name();
        self.action
            .accept()
            .map_err(|source| Error::AnswerLost { action, source })?;
        self.running.finish()
    }

    /// Tells CRIU to undo it and waits until it has: after a dump the container runs on, after a restore it is gone.
    pub fn refuse(self) {
        let Self { action, mut running } = self;
        drop(action);
        let _ = running.reap();
    }
}
