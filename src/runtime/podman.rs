//! podman: an engine above an OCI runtime.
//!
//! podman is told to checkpoint the container, so that its lock is held, its state says afterwards what happened, and network
//! and storage are taken down as it does it. The OCI runtime that it starts for that is exchanged for a [`StandIn`], which
//! runs the real one with the arguments and the CRIU options of ckpt's session: images, memory and the commit point are those
//! of any other export. A checkpoint that is refused is for podman one that failed, and the container runs on.

mod inspect;
mod stand_in;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::{checked, failed, output};
use super::{Checkpoint, Engine, Error, Invocation, Oci, Restore, Runtime, Target};
use crate::criu::Logs;
use crate::manifest::Image;
use crate::request::{RestoreOptions, RuntimeKind};
use inspect::Inspected;
pub use inspect::NeverRun;
pub use stand_in::StandIn;
use stand_in::Task;

/// The program.
const PROGRAM: &str = "podman";
/// Files that podman makes in a container's directory before it starts the OCI runtime, and leaves there when that fails.
const LEFT: [&str; 3] = ["config.dump", "spec.dump", "dump.log"];

/// podman of this host.
#[derive(Debug, Clone)]
pub struct Podman {
    program: PathBuf,
    storage: Option<PathBuf>,
}

/// What a restore by podman needs to know.
#[derive(Debug, Clone, Copy)]
pub struct PodmanRestore<'a> {
    /// An archive in podman's form, of what podman itself reads.
    pub archive: &'a Path,
    /// CRIU's images.
    pub images: &'a Path,
    /// A private directory that programs can be run from, where CRIU works and logs.
    pub work: &'a Path,
    /// The OCI runtime.
    pub runtime: RuntimeKind,
    /// What podman is told beside it: `--name` and the like.
    pub words: &'a [String],
    /// The switches.
    pub options: &'a RestoreOptions,
}

impl Podman {
    /// podman of this host, with its storage (its global `--root`) where that is not the default.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] where the program is not in PATH.
    pub fn open(storage: Option<&Path>) -> Result<Self, Error> {
        let program = crate::sys::programs::find(PROGRAM).ok_or(Error::NotInstalled { program: PROGRAM })?;
        Ok(Self {
            program,
            storage: storage.map(Path::to_owned),
        })
    }

    /// A command of podman's. It says on every start that version 1 cgroups will go; that is no error of an export.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("PODMAN_IGNORE_CGROUPSV1_WARNING", "1");
        if let Some(storage) = &self.storage {
            command.arg("--root").arg(storage);
        }
        command
    }

    fn look(&self, id: &str) -> Result<Option<Inspected>, Error> {
        check_name(id)?;
        let mut command = self.command();
        let output = output(command.args(["container", "inspect", "--", id]))?;
        if output.status.success() {
            return Inspected::parse(id, &output.stdout).map(Some);
        }
        let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
        if said.contains("no such") {
            return Ok(None);
        }
        Err(failed(&command, &output))
    }

    /// The command that makes a container of an archive of podman's and restores it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a switch that neither the OCI runtime nor CRIU's option file can express.
    pub fn restore_archive(&self, restore: &PodmanRestore<'_>) -> Result<Invocation, Error> {
        let oci = Oci::open(restore.runtime, None)?;
        let (extras, options) = oci.restore_extras(restore.options)?;
        let stand_in = StandIn {
            directory: restore.work.to_owned(),
            name: restore.runtime.name().to_owned(),
            real: oci.program().to_owned(),
            task: Task::Restore {
                images: restore.images.to_owned(),
                extras,
            },
        };
        let mut command = self.command();
        stand_in.announce(&mut command);
        // podman gives an imported container its default runtime, whichever it had.
        command.arg("--runtime").arg(restore.runtime.name());
        command.args(["container", "restore", "--import"]).arg(restore.archive);
        // ckpt puts the files in place, when podman has made the container.
        command.args(["--ignore-rootfs", "--ignore-volumes"]);
        command.args(restore.words);
        let logs = Logs {
            criu: restore.work.join("restore.log"),
            runtime: restore.work.join("runtime.log"),
        };
        Ok(Invocation::new(command, options, logs).with_stand_in(stand_in))
    }

    /// Those of these names that there are of a kind: `container`, `volume`, `network`, `secret`, `image` or `pod`.
    ///
    /// # Errors
    /// Where podman fails.
    pub fn existing(&self, kind: &str, names: &[String]) -> Result<Vec<String>, Error> {
        let mut there = Vec::new();
        for name in names {
            let mut command = self.command();
            let output = output(command.args([kind, "exists", "--", name]))?;
            match output.status.code() {
                Some(0) => there.push(name.clone()),
                Some(1) => {}
                _ => return Err(failed(&command, &output)),
            }
        }
        Ok(there)
    }

    /// Whether there is a volume of that name, as far as podman says.
    #[must_use]
    pub fn has_volume(&self, name: &str) -> bool {
        self.existing("volume", &[name.to_owned()])
            .is_ok_and(|there| !there.is_empty())
    }

    /// A container of that name, where it has never run.
    ///
    /// # Errors
    /// Where podman fails.
    pub fn never_run(&self, name: &str) -> Result<Option<NeverRun>, Error> {
        Ok(self.look(name)?.and_then(Inspected::never_run))
    }

    /// Removes the container of that identifier, which does not run, and its anonymous volumes.
    ///
    /// # Errors
    /// Where it runs after all, or podman fails.
    pub fn remove_by_id(&self, id: &str) -> Result<(), Error> {
        check_name(id)?;
        checked(self.command().args(["container", "rm", "--volumes", "--", id])).map(drop)
    }

    /// What a short command of podman's prints.
    ///
    /// # Errors
    /// Where it fails.
    pub fn ask(&self, words: &[&str]) -> Result<Vec<u8>, Error> {
        checked(self.command().args(words))
    }

    fn known(&self, id: &str) -> Result<Inspected, Error> {
        self.look(id)?.ok_or_else(|| Error::NotFound {
            id: id.to_owned(),
            runtimes: PROGRAM.to_owned(),
        })
    }

    /// The OCI runtime that runs a container.
    fn oci(&self, found: &Inspected) -> Result<Oci, Error> {
        let name = found.oci_runtime.rsplit('/').next().unwrap_or_default();
        let kind = RuntimeKind::OCI.into_iter().find(|kind| kind.name() == name);
        let kind = kind.ok_or_else(|| Error::Unsupported {
            runtime: PROGRAM,
            option: format!("checkpoint of a container of {name}: only those of runc and crun"),
        })?;
        match found.monitored_program() {
            Some(program) => Ok(Oci::at(kind, program)),
            None => Oci::open(kind, None),
        }
    }

    fn act(&self, action: &str, id: &str) -> Result<(), Error> {
        check_name(id)?;
        checked(self.command().args(["container", action, "--", id])).map(drop)
    }
}

/// podman's rule for names, which that for identifiers is part of.
fn check_name(name: &str) -> Result<(), Error> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(legal) {
        Ok(())
    } else {
        Err(Error::BadId { id: name.to_owned() })
    }
}

impl Runtime for Podman {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Podman
    }

    fn version(&self) -> Result<String, Error> {
        let text = checked(Command::new(&self.program).arg("--version"))?;
        let text = String::from_utf8_lossy(&text);
        Ok(text.split_whitespace().last().unwrap_or("unknown").to_owned())
    }

    fn inspect(&self, id: &str) -> Result<Option<Target>, Error> {
        self.look(id)?.map(|found| found.target()).transpose()
    }

    fn engine(&self, target: &Target) -> Result<Option<Engine>, Error> {
        let found = self.known(&target.id)?;
        found.check_exportable()?;
        let oci = self.oci(&found)?;
        Ok(Some(Engine {
            name: found.name.clone(),
            image: Some(Image {
                name: found.image_name.clone(),
                // The identifier is the digest of the image's configuration; that of its manifest changes on its way to a host.
                digest: (!found.image.is_empty()).then(|| format!("sha256:{}", found.image)),
            })
            .filter(|image| !image.name.is_empty()),
            volumes: found.volumes(),
            log: found.log(),
            network_status: found.network_status(),
            config: found.directory()?.join(LEFT[0]),
            runtime: (oci.kind(), oci.version()?),
        }))
    }

    fn checkpoint(&self, request: &Checkpoint<'_>) -> Result<Invocation, Error> {
        let found = self.known(request.id)?;
        let oci = self.oci(&found)?;
        let Invocation {
            command: inner,
            options,
            logs,
            ..
        } = oci.checkpoint(request)?;
        let stand_in = StandIn {
            directory: request.work.to_owned(),
            name: found.oci_runtime.clone(),
            real: oci.program().to_owned(),
            task: Task::Dump(inner),
        };
        let mut command = self.command();
        stand_in.announce(&mut command);
        command.args(["container", "checkpoint"]);
        // Only for an export does podman write the container's configuration, and take along those that it removes itself.
        command.arg("--export").arg(request.work.join("podman.tar"));
        command.args(["--compress", "none"]);
        // Files are taken by ckpt, while the container is frozen.
        command.args(["--ignore-rootfs", "--ignore-volumes"]);
        if request.options.leave_running {
            command.arg("--leave-running");
        }
        if request.options.pre_dump {
            command.arg("--pre-checkpoint");
        }
        command.args(["--", request.id]);
        Ok(Invocation::new(command, options, logs).with_stand_in(stand_in))
    }

    fn restore(&self, _: &Restore<'_>) -> Result<Invocation, Error> {
        Err(Error::Unsupported {
            runtime: PROGRAM,
            option: "restore of a bundle".to_owned(),
        })
    }

    fn tidy(&self, target: &Target) {
        for name in LEFT {
            let _ = fs::remove_file(target.bundle.join(name));
        }
    }

    fn resume(&self, id: &str) -> Result<(), Error> {
        self.act("unpause", id)
    }

    fn pause(&self, id: &str) -> Result<(), Error> {
        self.act("pause", id)
    }

    fn delete(&self, id: &str) -> Result<(), Error> {
        check_name(id)?;
        checked(
            self.command()
                .args(["container", "rm", "--force", "--ignore", "--time", "0", "--", id]),
        )
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_podman_s_rule() {
        for good in ["c1", "a.b", "A_-.9", "66a0fc225f86"] {
            check_name(good).unwrap();
        }
        for bad in ["", ".", "-x", "a/b", "a b", "é", "a+b"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
