//! runc and crun: runtimes with the command line of the OCI runtime specification, and what they differ in.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde::Deserialize;

use super::command::{checked, failed, output};
use super::devices;
use super::flags::{Composer, Flags};
use super::roots::cgroup_roots;
use super::{Checkpoint, Error, Invocation, PagesTo, Restore, Runtime, Target};
use crate::criu::{Logs, OptionFile};
use crate::request::{RestoreOptions, RuntimeKind};

/// runc or crun.
#[derive(Debug, Clone)]
pub struct Oci {
    kind: RuntimeKind,
    program: PathBuf,
    state_root: Option<PathBuf>,
    /// The flags of its command for checkpoints, once they are known.
    checkpoint: OnceLock<Flags>,
}

/// What `state` prints.
#[derive(Debug, Deserialize)]
struct State {
    pid: i32,
    status: String,
    bundle: PathBuf,
    #[serde(default)]
    rootfs: Option<PathBuf>,
    #[serde(default)]
    created: Option<String>,
}

impl Oci {
    /// The runtime of this host.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] where the program is not in PATH.
    pub fn open(kind: RuntimeKind, state_root: Option<&Path>) -> Result<Self, Error> {
        let program = crate::sys::programs::find(kind.name()).ok_or(Error::NotInstalled { program: kind.name() })?;
        Ok(Self {
            kind,
            program,
            state_root: state_root.map(Path::to_owned),
            checkpoint: OnceLock::new(),
        })
    }

    /// The runtime `kind`, which is this program.
    pub(super) fn at(kind: RuntimeKind, program: PathBuf) -> Self {
        Self {
            kind,
            program,
            state_root: None,
            checkpoint: OnceLock::new(),
        }
    }

    /// The program.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// What a restore by an engine is given beside what the engine passes on: flags, and options for CRIU.
    pub(super) fn restore_extras(&self, options: &RestoreOptions) -> Result<(Vec<OsString>, OptionFile), Error> {
        let flags = self.flags("restore")?;
        let mut composer = Composer::new(self.kind.name(), &flags, Command::new(&self.program));
        restore_switches(&mut composer, options)?;
        let (command, options) = composer.parts();
        Ok((command.get_args().map(OsStr::to_owned).collect(), options))
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(root) = &self.state_root {
            command.arg("--root").arg(root);
        }
        command.arg(subcommand);
        command
    }

    /// A command that logs to where [`logs`] says.
    fn logging(&self, subcommand: &str, logs: &Logs, systemd_cgroup: bool) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--log").arg(&logs.runtime).arg("--log-format").arg("json");
        if let Some(root) = &self.state_root {
            command.arg("--root").arg(root);
        }
        if systemd_cgroup {
            command.arg("--systemd-cgroup");
        }
        command.arg(subcommand);
        command
    }

    fn flags(&self, subcommand: &str) -> Result<Flags, Error> {
        let help = checked(self.command(subcommand).arg("--help"))?;
        Ok(Flags::parse(&String::from_utf8_lossy(&help)))
    }

    fn checkpoint_flags(&self) -> Result<&Flags, Error> {
        if let Some(flags) = self.checkpoint.get() {
            return Ok(flags);
        }
        let flags = self.flags("checkpoint")?;
        Ok(self.checkpoint.get_or_init(|| flags))
    }

    /// Its configuration: crun keeps a copy of its own, which stays right when the bundle's file is edited; runc reads the
    /// bundle's.
    fn spec_path(&self, id: &str, bundle: &Path) -> PathBuf {
        let default = Path::new("/run/crun");
        let copy = self
            .state_root
            .as_deref()
            .unwrap_or(default)
            .join(id)
            .join("config.json");
        if self.kind == RuntimeKind::Crun && copy.exists() {
            copy
        } else {
            bundle.join("config.json")
        }
    }

    fn target(&self, id: &str, state: State) -> Result<Target, Error> {
        let path = self.spec_path(id, &state.bundle);
        let text = fs::read(&path).map_err(|source| Error::Read { path, source })?;
        let spec: serde_json::Value = serde_json::from_slice(&text).map_err(|source| Error::Json {
            what: "config.json",
            id: id.to_owned(),
            source,
        })?;
        let root = spec
            .pointer("/root/path")
            .and_then(serde_json::Value::as_str)
            .unwrap_or("rootfs");
        let rootfs = state
            .rootfs
            .filter(|path| path.is_absolute())
            .unwrap_or_else(|| state.bundle.join(root));
        Ok(Target {
            id: id.to_owned(),
            pid: state.pid,
            status: state.status,
            bundle: state.bundle,
            rootfs,
            created: state.created,
            spec,
            lxc: None,
        })
    }
}

/// runc's rule for identifiers, which crun's includes.
pub(super) fn check_id(id: &str) -> Result<(), Error> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() || id.len() > 1024 || id == "." || id == ".." || id.starts_with('-') || !id.chars().all(legal) {
        return Err(Error::BadId { id: id.to_owned() });
    }
    Ok(())
}

fn logs(work: &Path, criu: &str) -> Logs {
    Logs {
        criu: work.join(criu),
        runtime: work.join("runtime.log"),
    }
}

/// Whether a failed `state` or `delete` says that there is no such container.
fn says_unknown(message: &str) -> bool {
    ["does not exist", "No such file or directory", "not found"]
        .iter()
        .any(|phrase| message.contains(phrase))
}

impl Runtime for Oci {
    fn kind(&self) -> RuntimeKind {
        self.kind
    }

    fn version(&self) -> Result<String, Error> {
        let text = checked(Command::new(&self.program).arg("--version"))?;
        let text = String::from_utf8_lossy(&text);
        let words = text.lines().next().unwrap_or_default().split_whitespace();
        Ok(words.last().unwrap_or("unknown").to_owned())
    }

    fn inspect(&self, id: &str) -> Result<Option<Target>, Error> {
        check_id(id)?;
        let mut command = self.command("state");
        let output = output(command.arg(id))?;
        if !output.status.success() {
            if says_unknown(&String::from_utf8_lossy(&output.stderr)) {
                return Ok(None);
            }
            return Err(failed(&command, &output));
        }
        let state = serde_json::from_slice(&output.stdout).map_err(|source| Error::Json {
            what: "the state",
            id: id.to_owned(),
            source,
        })?;
        self.target(id, state).map(Some)
    }

    fn ask_ahead(&self) {
        // What is wrong is said where the flags are needed.
        let _ = self.checkpoint_flags();
    }

    fn checkpoint(&self, request: &Checkpoint<'_>) -> Result<Invocation, Error> {
        let flags = self.checkpoint_flags()?;
        let logs = logs(request.work, "dump.log");
        let mut composer = Composer::new(self.kind.name(), flags, self.logging("checkpoint", &logs, false));
        let options = request.options;
        composer.value("--image-path", Some(request.images))?;
        composer.value("--work-path", Some(request.work))?;
        composer.value("--parent-path", request.parent)?;
        composer.switch(options.pre_dump, "--pre-dump", None)?;
        composer.switch(options.leave_running, "--leave-running", None)?;
        composer.switch(options.tcp_established, "--tcp-established", None)?;
        composer.switch(
            options.tcp_skip_in_flight,
            "--tcp-skip-in-flight",
            Some("skip-in-flight"),
        )?;
        composer.switch(options.ext_unix_sk, "--ext-unix-sk", None)?;
        composer.switch(options.shell_job, "--shell-job", None)?;
        composer.switch(options.file_locks, "--file-locks", None)?;
        composer.switch(options.link_remap, "--link-remap", Some("link-remap"))?;
        composer.switch(options.auto_dedup, "--auto-dedup", Some("auto-dedup"))?;
        composer.choice("--manage-cgroups-mode", options.manage_cgroups_mode.as_deref())?;
        empty_namespaces(&mut composer, &options.empty_ns)?;
        page_server(&mut composer, request.page_server)?;
        if self.kind == RuntimeKind::Crun {
            devices::declare_for_dump(composer.options(), request.spec)?;
        }
        Ok(composer.finish(request.id, logs))
    }

    fn restore(&self, request: &Restore<'_>) -> Result<Invocation, Error> {
        check_id(request.id)?;
        let flags = self.flags("restore")?;
        let logs = logs(request.work, "restore.log");
        let mut composer = Composer::new(
            self.kind.name(),
            &flags,
            self.logging("restore", &logs, request.systemd_cgroup),
        );
        let options = request.options;
        composer.value("--bundle", Some(request.bundle))?;
        composer.value("--image-path", Some(request.images))?;
        composer.value("--work-path", Some(request.work))?;
        composer.switch(true, "--detach", None)?;
        composer.value("--pid-file", request.pid_file)?;
        composer.value("--console-socket", request.console_socket)?;
        composer.switch(request.lazy, "--lazy-pages", Some("lazy-pages"))?;
        restore_switches(&mut composer, options)?;
        for root in cgroup_roots(self.kind, request.cgroup) {
            composer.options().value("cgroup-root", &root)?;
        }
        if self.kind == RuntimeKind::Crun {
            devices::declare_for_restore(composer.options(), request.spec)?;
        }
        Ok(composer.finish(request.id, logs))
    }

    fn resume(&self, id: &str) -> Result<(), Error> {
        check_id(id)?;
        checked(self.command("resume").arg(id)).map(drop)
    }

    fn pause(&self, id: &str) -> Result<(), Error> {
        check_id(id)?;
        checked(self.command("pause").arg(id)).map(drop)
    }

    fn delete(&self, id: &str) -> Result<(), Error> {
        check_id(id)?;
        let mut command = self.command("delete");
        let output = output(command.arg("--force").arg(id))?;
        if output.status.success() || says_unknown(&String::from_utf8_lossy(&output.stderr)) {
            return Ok(());
        }
        Err(failed(&command, &output))
    }
}

/// CRIU's switches of a restore.
fn restore_switches(composer: &mut Composer<'_>, options: &RestoreOptions) -> Result<(), Error> {
    composer.switch(options.tcp_established, "--tcp-established", None)?;
    composer.switch(options.tcp_close, "--tcp-close", Some("tcp-close"))?;
    composer.switch(options.ext_unix_sk, "--ext-unix-sk", None)?;
    composer.switch(options.shell_job, "--shell-job", None)?;
    composer.switch(options.file_locks, "--file-locks", None)?;
    composer.switch(options.link_remap, "--link-remap", Some("link-remap"))?;
    composer.switch(options.auto_dedup, "--auto-dedup", Some("auto-dedup"))?;
    composer.switch(options.no_pivot, "--no-pivot", None)?;
    composer.value("--lsm-profile", options.lsm_profile.as_deref())?;
    composer.value("--lsm-mount-context", options.lsm_mount_context.as_deref())?;
    composer.choice("--manage-cgroups-mode", options.manage_cgroups_mode.as_deref())?;
    empty_namespaces(composer, &options.empty_ns)
}

/// runc names namespaces in full, CRIU by their short name.
fn empty_namespaces(composer: &mut Composer<'_>, names: &[String]) -> Result<(), Error> {
    for name in names {
        let short = if name == "network" { "net" } else { name };
        composer.value_or_option("--empty-ns", name, ("empty-ns", short))?;
    }
    Ok(())
}

fn page_server(composer: &mut Composer<'_>, server: Option<PagesTo<'_>>) -> Result<(), Error> {
    let server = match server {
        None => return Ok(()),
        Some(PagesTo::Address(server)) => server,
        Some(PagesTo::Socket(end)) => {
            let options = composer.options().switch("page-server");
            options.value("ps-socket", &end.as_raw_fd().to_string())?;
            return Ok(());
        }
    };
    if composer.has("--page-server") {
        return composer.value("--page-server", Some(server));
    }
    let (address, port) = server.rsplit_once(':').ok_or_else(|| Error::Unsupported {
        runtime: "CRIU",
        option: format!("page server {server}"),
    })?;
    composer
        .options()
        .switch("page-server")
        .value("address", address)?
        .value("port", port)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_follow_runc_s_rule() {
        for good in ["c1", "a.b", "A_+-.9"] {
            check_id(good).unwrap();
        }
        for bad in ["", ".", "..", "a/b", "a b", "-x", "é"] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn both_runtimes_words_for_an_unknown_container_are_understood() {
        assert!(says_unknown("ERRO[0000] container does not exist"));
        assert!(says_unknown(
            "error opening file `/run/crun/x/status`: No such file or directory"
        ));
        assert!(!says_unknown("permission denied"));
    }
}
