//! LXC: its containers are looked at with `lxc-info` and their own files, dumped and restored by `lxc-checkpoint`.
//!
//! `lxc-checkpoint` starts CRIU itself, with switches of its own that cannot be turned off; what ckpt adds goes into CRIU's
//! option file, which reaches it through the environment, as the page server's socket does: nothing between the two
//! closes descriptors or clears the environment. A restore through it leaves LXC's monitor behind, so that the
//! container can be stopped, entered and moved again as any other.
//! Invariants: a container is one that has its `LXCPATH/NAME/config`; what is running without one cannot be dumped by
//! `lxc-checkpoint` either.

mod describe;
mod externals;
mod freezer;
mod ghosts;
mod payload;
mod source;

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::{checked, failed, output};
use super::oci::check_id;
use super::{Checkpoint, Error, Invocation, PagesTo, Restore, Runtime, Target};
use freezer::Freezer;

use crate::criu::{Logs, OptionFile};
use crate::lxc::{Context, Effective, Finding, Source, judge};
use crate::manifest::DumpOptions;
use crate::request::RuntimeKind;

pub use source::{included, includes_of_host, major};

/// The name under which errors name it.
const NAME: &str = "lxc";
/// The program without which nothing works.
const CHECKPOINT: &str = "lxc-checkpoint";
/// How long LXC's monitor may take to clean up, seconds: it has cgroups and interfaces to remove.
const MONITOR_PATIENCE: &str = "30";
/// The last major version whose `lxc-checkpoint` crashes where version 2 cgroups have no controllers.
const LAST_CRASHING: u32 = 7;
/// The last major version whose restored containers do not know their freezer on version 2 cgroups: see [`payload`].
const LAST_FORGETTING: u32 = 7;
/// What the monitor of a restored container logs into, in the container's directory.
const MONITOR_LOG: &str = "monitor.log";
/// How CRIU is told to treat cgroups, always.
const CGROUPS_MODE: &str = "full";

/// LXC with one directory of containers.
#[derive(Debug, Clone)]
pub struct Lxc {
    checkpoint: PathBuf,
    lxcpath: PathBuf,
}

/// What is known of a container of LXC beside what all runtimes tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LxcFacts {
    /// The directory of containers that it is in.
    pub lxcpath: PathBuf,
    /// Its configuration.
    pub source: Source,
    /// What that adds up to.
    pub effective: Effective,
    /// What of it cannot be checkpointed, or changes by it.
    pub findings: Vec<Finding>,
}

impl Lxc {
    /// LXC of this host; `lxcpath` where it is not the one that LXC is configured with.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] where `lxc-checkpoint` is not in PATH.
    pub fn open(lxcpath: Option<&Path>) -> Result<Self, Error> {
        let checkpoint = crate::sys::programs::find(CHECKPOINT).ok_or(Error::NotInstalled { program: CHECKPOINT })?;
        let lxcpath = match lxcpath {
            Some(path) => path.to_owned(),
            None => configured_lxcpath()?,
        };
        Ok(Self { checkpoint, lxcpath })
    }

    /// The directory of containers.
    #[must_use]
    pub fn lxcpath(&self) -> &Path {
        &self.lxcpath
    }

    fn command(&self, program: &str, id: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-P").arg(&self.lxcpath).arg("-n").arg(id);
        command
    }

    /// `lxc-checkpoint` as dump and restore have it in common. Its monitor keeps the working directory.
    fn checkpointing(&self, id: &str, images: &Path, logs: &Logs) -> Command {
        let mut command = self.command(&self.checkpoint.to_string_lossy(), id);
        command.current_dir("/");
        command.arg("-D").arg(images);
        // CRIU tells what it freezes at this level only.
        command.arg("-v");
        command.arg("-l").arg("ERROR").arg("-o").arg(&logs.runtime);
        command
    }

    /// Whether `lxc-checkpoint` would crash here.
    fn check_host(&self) -> Result<(), Error> {
        let version = self.version()?;
        let crashes = major(&version).is_none_or(|major| major <= LAST_CRASHING);
        match payload::deadly().filter(|_| crashes) {
            Some(mount) => Err(Error::LxcCrashes { version, mount }),
            None => Ok(()),
        }
    }

    /// Whether `lxc-checkpoint` can dump the container `id` with this first process.
    fn check_monitor(&self, id: &str, pid: i32) -> Result<(), Error> {
        let version = self.version()?;
        let forgets = major(&version).is_none_or(|major| major <= LAST_FORGETTING);
        if forgets && payload::is_without_freezer(pid) {
            let id = id.to_owned();
            return Err(Error::LxcOnce { id, version });
        }
        Ok(())
    }

    /// The configuration of the container `id`.
    fn source(&self, id: &str) -> Result<Source, Error> {
        source::read(&self.lxcpath.join(id).join("config"))
    }

    /// State and first process, as `lxc-info` tells them.
    fn state(&self, id: &str) -> Result<Option<(String, i32)>, Error> {
        let mut command = self.command("lxc-info", id);
        let output = output(command.arg("-s").arg("-p"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            if String::from_utf8_lossy(&output.stderr).contains("doesn't exist") {
                return Ok(None);
            }
            return Err(failed(&command, &output));
        }
        Ok(parse_state(&said).map(asked_of_the_kernel))
    }

    /// Opens or closes the freezer, where that is not done yet.
    fn freeze(&self, id: &str, close: bool) -> Result<(), Error> {
        let freezer = self.state(id)?.and_then(|(_, pid)| Freezer::of(pid));
        let Some(freezer) = freezer.filter(|freezer| freezer.is_closed() != close) else {
            return Ok(());
        };
        let done = if close { freezer.close() } else { freezer.open() };
        done.map_err(|source| Error::Freezer {
            id: id.to_owned(),
            source,
        })
    }

    fn facts(&self, id: &str, directory: &Path) -> Result<LxcFacts, Error> {
        let source = source::read(&directory.join("config"))?;
        let effective = source.effective();
        let context = Context {
            lxc: major(&self.version()?),
            fstab: source.fstab.as_ref(),
        };
        let findings = judge(&effective, context);
        tracing::debug!(id, findings = findings.len(), "judged");
        Ok(LxcFacts {
            lxcpath: self.lxcpath.clone(),
            source,
            effective,
            findings,
        })
    }
}

/// A container of which somebody else made a dump, as its directory describes it. No process of it is known.
///
/// # Errors
/// Where its configuration cannot be read.
pub fn dumped(directory: &Path) -> Result<Target, Error> {
    let source = source::read(&directory.join("config"))?;
    let effective = source.effective();
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let lxcpath = directory.parent().unwrap_or(Path::new("/")).to_owned();
    let facts = LxcFacts {
        lxcpath,
        source,
        effective,
        findings: Vec::new(),
    };
    let rootfs = describe::rootfs(&facts.effective);
    Ok(Target {
        id: name.into_owned(),
        pid: 0,
        status: "dumped".to_owned(),
        spec: describe::spec(&facts, &rootfs, 0),
        bundle: directory.to_owned(),
        rootfs,
        created: None,
        lxc: Some(Box::new(facts)),
    })
}

/// `lxc.lxcpath` of this host.
fn configured_lxcpath() -> Result<PathBuf, Error> {
    let said = checked(Command::new("lxc-config").arg("lxc.lxcpath"))?;
    let text = String::from_utf8_lossy(&said);
    let first = text.trim().split(':').next().unwrap_or_default();
    Ok(PathBuf::from(if first.is_empty() { "/var/lib/lxc" } else { first }))
}

/// The state under the name that the OCI runtimes have for it, and the first process; 0 where none runs.
fn parse_state(said: &str) -> Option<(String, i32)> {
    let field = |name| said.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let status = match field("State:")? {
        "RUNNING" => "running".to_owned(),
        "FROZEN" => "paused".to_owned(),
        other => other.to_lowercase(),
    };
    let pid = field("PID:").and_then(|pid| pid.parse().ok()).unwrap_or(0);
    Some((status, pid))
}

/// Of a container that runs, frozen or not, the kernel knows best which.
fn asked_of_the_kernel((status, pid): (String, i32)) -> (String, i32) {
    let freezer = Freezer::of(pid).filter(|_| matches!(status.as_str(), "running" | "paused"));
    let status = match freezer.map(|freezer| freezer.is_closed()) {
        Some(true) => "paused".to_owned(),
        Some(false) => "running".to_owned(),
        None => status,
    };
    (status, pid)
}

fn logs(work: &Path, criu: &str) -> Logs {
    Logs {
        criu: work.join(criu),
        runtime: work.join("runtime.log"),
    }
}

/// LXC has CRIU log among the images, into a file that is named after what it does. A link brings the log where those of all
/// runtimes are.
fn lead_log(images: &Path, action: &str, log: &Path) -> Result<(), Error> {
    let path = images.join(format!("{action}.log"));
    symlink(log, &path).map_err(|source| Error::Prepare { path, source })
}

fn unsupported(wanted: bool, option: &str) -> Result<(), Error> {
    if wanted {
        return Err(Error::Unsupported {
            runtime: NAME,
            option: option.to_owned(),
        });
    }
    Ok(())
}

/// LXC sends one mode itself.
fn check_cgroups_mode(mode: Option<&str>) -> Result<(), Error> {
    match mode {
        None | Some(CGROUPS_MODE) => Ok(()),
        Some(other) => unsupported(true, &format!("--manage-cgroups-mode {other}")),
    }
}

fn page_server(options: &mut OptionFile, server: Option<PagesTo<'_>>) -> Result<(), Error> {
    match server {
        None => {}
        Some(PagesTo::Socket(end)) => {
            options
                .switch("page-server")
                .value("ps-socket", &end.as_raw_fd().to_string())?;
        }
        Some(PagesTo::Address(server)) => {
            let (address, port) = server.rsplit_once(':').ok_or_else(|| Error::Unsupported {
                runtime: "CRIU",
                option: format!("page server {server}"),
            })?;
            options
                .switch("page-server")
                .value("address", address)?
                .value("port", port)?;
        }
    }
    Ok(())
}

impl Runtime for Lxc {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Lxc
    }

    fn version(&self) -> Result<String, Error> {
        let text = checked(Command::new("lxc-info").arg("--version"))?;
        Ok(String::from_utf8_lossy(&text).trim().to_owned())
    }

    fn inspect(&self, id: &str) -> Result<Option<Target>, Error> {
        check_id(id)?;
        let directory = self.lxcpath.join(id);
        if !directory.join("config").exists() {
            return Ok(None);
        }
        let Some((status, pid)) = self.state(id)? else {
            return Ok(None);
        };
        let facts = self.facts(id, &directory)?;
        let rootfs = describe::rootfs(&facts.effective);
        Ok(Some(Target {
            id: id.to_owned(),
            pid,
            status,
            spec: describe::spec(&facts, &rootfs, pid),
            bundle: directory,
            rootfs,
            created: None,
            lxc: Some(Box::new(facts)),
        }))
    }

    fn fix(&self, options: &mut DumpOptions) {
        options.tcp_established = true;
        options.tcp_skip_in_flight = true;
        options.file_locks = true;
        options.link_remap = true;
        let mode = options.manage_cgroups_mode.take();
        options.manage_cgroups_mode = mode.or_else(|| Some(CGROUPS_MODE.to_owned()));
    }

    fn checkpoint(&self, request: &Checkpoint<'_>) -> Result<Invocation, Error> {
        self.check_host()?;
        let pid = self.state(request.id)?.map(|(_, pid)| pid);
        self.check_monitor(request.id, pid.unwrap_or_default())?;
        let options = request.options;
        unsupported(options.shell_job, "--shell-job")?;
        unsupported(!options.empty_ns.is_empty(), "--empty-ns")?;
        check_cgroups_mode(options.manage_cgroups_mode.as_deref())?;
        let logs = logs(request.work, "dump.log");
        let action = if options.pre_dump { "pre-dump" } else { "dump" };
        lead_log(request.images, action, &logs.criu)?;
        let mut command = self.checkpointing(request.id, request.images, &logs);
        if options.pre_dump {
            command.arg("-p");
        } else if !options.leave_running {
            command.arg("-s");
        }
        if let Some(parent) = request.parent {
            command.arg("--predump-dir").arg(parent);
        }
        let mut file = OptionFile::new();
        file.value("work-dir", &request.work.to_string_lossy())?;
        if options.ext_unix_sk {
            file.switch("ext-unix-sk");
        }
        if options.auto_dedup {
            file.switch("auto-dedup");
        }
        for external in externals::of_fstab(&self.source(request.id)?) {
            file.value("external", &external.at_dump())?;
        }
        // A device node that was removed or replaced since it was opened is found by its numbers.
        file.switch("evasive-devices");
        if let Some(limit) = pid.and_then(ghosts::limit) {
            file.value("ghost-limit", &limit.to_string())?;
        }
        page_server(&mut file, request.page_server)?;
        Ok(Invocation::new(command, file, logs))
    }

    fn restore(&self, request: &Restore<'_>) -> Result<Invocation, Error> {
        check_id(request.id)?;
        self.check_host()?;
        let options = request.options;
        unsupported(options.tcp_close, "--tcp-close")?;
        unsupported(options.shell_job, "--shell-job")?;
        unsupported(options.no_pivot, "--no-pivot")?;
        unsupported(options.lsm_profile.is_some(), "--lsm-profile")?;
        unsupported(!options.empty_ns.is_empty(), "--empty-ns")?;
        unsupported(request.console_socket.is_some(), "--console-socket")?;
        check_cgroups_mode(options.manage_cgroups_mode.as_deref())?;
        let mut logs = logs(request.work, "restore.log");
        // LXC's monitor goes on writing there as long as the container runs.
        logs.runtime = request.bundle.join(MONITOR_LOG);
        lead_log(request.images, "restore", &logs.criu)?;
        let mut command = self.checkpointing(request.id, request.images, &logs);
        command.arg("-r");
        let mut file = OptionFile::new();
        file.value("work-dir", &request.work.to_string_lossy())?;
        if options.ext_unix_sk {
            file.switch("ext-unix-sk");
        }
        if options.auto_dedup {
            file.switch("auto-dedup");
        }
        let source = self.source(request.id)?;
        for external in externals::of_fstab(&source) {
            file.value("external", &external.at_restore())?;
        }
        if let Some(path) = payload::unified(&source.effective(), request.id) {
            file.value("cgroup-root", &format!(":{}", path.display()))?;
        }
        if request.lazy {
            file.switch("lazy-pages");
        }
        if let Some(path) = request.pid_file {
            file.value("pidfile", &path.to_string_lossy())?;
        }
        if let Some(context) = &options.lsm_mount_context {
            file.value("lsm-mount-context", context)?;
        }
        Ok(Invocation::new(command, file, logs))
    }

    /// LXC's monitor takes away cgroups and interfaces before it says that the container is stopped.
    fn ended(&self, id: &str) {
        let mut command = self.command("lxc-wait", id);
        let waited = checked(command.args(["-s", "STOPPED", "-t", MONITOR_PATIENCE]));
        if let Err(error) = waited {
            tracing::warn!(id, %error, "LXC has not noticed the end of the container");
        }
    }

    /// `lxc-checkpoint` may end well though nothing runs, so LXC is asked.
    fn restored(&self, id: &str, images: &Path) -> Result<Option<Target>, Error> {
        let link = images.join("restore.log");
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %link.display(), %error, "a link to CRIU's log stays behind");
            }
            _ => {}
        }
        let target = self.inspect(id)?;
        let status = target
            .as_ref()
            .map_or("unknown to LXC", |target| target.status.as_str());
        if status != "running" {
            return Err(Error::NotRestored {
                id: id.to_owned(),
                status: status.to_owned(),
            });
        }
        Ok(target)
    }

    fn resume(&self, id: &str) -> Result<(), Error> {
        check_id(id)?;
        checked(&mut self.command("lxc-unfreeze", id))?;
        self.freeze(id, false)
    }

    fn pause(&self, id: &str) -> Result<(), Error> {
        check_id(id)?;
        checked(&mut self.command("lxc-freeze", id))?;
        self.freeze(id, true)
    }

    /// Ends it. Its files are those of whoever made them.
    fn delete(&self, id: &str) -> Result<(), Error> {
        check_id(id)?;
        match self.state(id)? {
            Some((status, _)) if status != "stopped" => checked(self.command("lxc-stop", id).arg("-k")).map(drop),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_the_names_of_the_oci_runtimes() {
        for (said, expected) in [
            ("State:          RUNNING\nPID:            116\n", Some(("running", 116))),
            ("State:          FROZEN\nPID:            7\n", Some(("paused", 7))),
            ("State:          STOPPED\n", Some(("stopped", 0))),
            ("", None),
        ] {
            let expected = expected.map(|(status, pid): (&str, i32)| (status.to_owned(), pid));
            assert_eq!(parse_state(said), expected, "{said:?}");
        }
    }

    #[test]
    fn only_the_mode_that_lxc_sends_is_taken() {
        check_cgroups_mode(None).unwrap();
        check_cgroups_mode(Some("full")).unwrap();
        let error = check_cgroups_mode(Some("ignore")).unwrap_err();
        assert_eq!(error.to_string(), "lxc has no --manage-cgroups-mode ignore");
    }
}
