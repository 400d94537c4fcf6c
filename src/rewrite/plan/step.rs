//! The steps of an import, in the order in which they are done.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::super::host::Limit;
use super::super::layout::Name;
use super::PodmanCommand;
use crate::manifest::FileType;
use crate::request::{ProcessRestore, RestoreOptions};

/// A user and a group of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// One step of an import. Steps up to [`Step::WriteConfig`] are `rewrite::apply`'s, those after it the pipeline's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// The bundle of an earlier import makes room. It is removed when this import has succeeded, and is back when it has not.
    SetAside {
        /// The bundle.
        path: PathBuf,
        /// Where it is meanwhile.
        aside: PathBuf,
    },
    /// The bundle directory, with the directories above it where they are missing.
    MakeBundle {
        /// The directory.
        path: PathBuf,
        /// Its mode. 0711 where another user than root has to reach what is in it.
        mode: u32,
    },
    /// A new network namespace, held by a bind mount, with its loopback interface up.
    NewNetns {
        /// The file it is bound to.
        pin: PathBuf,
    },
    /// The cgroups that the container's cgroup is made in. Where the restore fails, those that were missing and the
    /// container's own are removed.
    MakeCgroup {
        /// The container's cgroup.
        path: String,
        /// Its directory in every hierarchy.
        directories: Vec<PathBuf>,
        /// It is made itself, too, and not left to a runtime.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        own: bool,
    },
    /// The root file system in full.
    ExtractRootfs {
        /// The entry that holds it.
        entry: String,
        /// The new or empty directory that it is put into.
        path: PathBuf,
    },
    /// The root file system as an overlay of the archive's changes over a directory of this host.
    OverlayRootfs {
        /// The entry that holds the changes.
        entry: String,
        /// The directory below the changes; it is not written to.
        lower: PathBuf,
        /// The directory that the changes are put into.
        upper: PathBuf,
        /// The overlay's working directory.
        work: PathBuf,
        /// Where the overlay is mounted.
        merged: PathBuf,
    },
    /// The root file system is a directory of this host, as it is.
    UseRootfs {
        /// The directory.
        path: PathBuf,
    },
    /// A new tmpfs for the container's /dev/shm.
    MakeShm {
        /// Where it is mounted.
        path: PathBuf,
        /// Its options, as mount(8) takes them.
        options: Vec<String>,
        /// The entry with its content; `None` where the archive has none.
        #[serde(skip_serializing_if = "Option::is_none")]
        entry: Option<String>,
    },
    /// The content of a bind mount that travels in the archive.
    PutMount {
        /// Where it is in the container.
        destination: String,
        /// The entry that holds it.
        entry: String,
        /// Whether it is a directory or a file.
        file_type: FileType,
        /// The new directory that it is put into.
        path: PathBuf,
        /// The source of the bind mount: `path` itself for a directory, the file in it for a file.
        origin: PathBuf,
    },
    /// A file that the engine of the source host made for the container, made anew for this host.
    MakeFile {
        /// Where it is in the container.
        destination: String,
        /// The new directory that it is put into.
        path: PathBuf,
        /// The source of the bind mount: the file.
        origin: PathBuf,
        /// What it holds.
        content: FileContent,
    },
    /// A path of this host that the container mounts, with the importer's word.
    UseMount {
        /// Where it is in the container.
        destination: String,
        /// The path.
        origin: PathBuf,
    },
    /// CRIU's images.
    PlaceImages {
        /// The new directory that they are put into.
        path: PathBuf,
        /// Who has to read them, where that is not root: the container's root on this host.
        #[serde(skip_serializing_if = "Option::is_none")]
        owner: Option<Owner>,
        /// The images say that the network namespace was the container's own, and the configuration hands one in: they
        /// are changed to call it external.
        external_netns: bool,
    },
    /// Files of the archive that processes have open or mapped, put where those have them.
    PutFiles {
        /// The entry that holds them.
        entry: String,
        /// The new directory that the entry is unpacked into.
        staging: PathBuf,
        /// The files. One that is there goes, as the importer has named it.
        files: Vec<PathBuf>,
    },
    /// The fstab of a container of LXC, changed.
    WriteFstab {
        /// The file.
        path: PathBuf,
    },
    /// The changed configuration.
    WriteConfig {
        /// The file.
        path: PathBuf,
    },
    /// The runtime restores the container.
    Restore(Box<RestoreCommand>),
    /// podman makes a container of the archive, and its runtime waits to restore it.
    PodmanRestore(Box<PodmanCommand>),
    /// The content of a volume that podman has made. It is emptied before: podman copies files of the image into new volumes.
    FillVolume {
        /// Its name.
        name: String,
        /// Where it is in the container.
        destination: String,
        /// The entry that holds it.
        entry: String,
    },
    /// The content of the /dev/shm that podman has made.
    FillShm {
        /// The entry that holds it.
        entry: String,
    },
    /// What the container has said before, if the archive has it, into podman's log.
    AppendLog {
        /// The entry that holds it.
        entry: String,
    },
    /// The changes of the root file system onto that of the image.
    ChangeRootfs {
        /// The entry that holds them.
        entry: String,
    },
    /// The loopback interface of the container's new network namespace is brought up: CRIU leaves it down.
    LoopbackUp,
    /// A network link of a container of LXC is brought back.
    BringBack {
        /// The interface in the container.
        interface: String,
        /// Its other end, on this host.
        host: String,
        /// The bridge that this one is a port of.
        #[serde(skip_serializing_if = "Option::is_none")]
        bridge: Option<String>,
    },
    /// The recorded limits that CRIU does not restore.
    ApplyLimits {
        /// The limits.
        limits: Vec<Limit>,
    },
}

/// What a file holds that is made for a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileContent {
    /// This text.
    Text(String),
    /// What this file of the host holds; nothing where that is not there.
    CopyOf(PathBuf),
}

impl Step {
    /// Whether `rewrite::apply` does it.
    #[must_use]
    pub fn is_preparation(&self) -> bool {
        !matches!(
            self,
            Self::Restore(_)
                | Self::PodmanRestore(_)
                | Self::FillVolume { .. }
                | Self::FillShm { .. }
                | Self::AppendLog { .. }
                | Self::ChangeRootfs { .. }
                | Self::LoopbackUp
                | Self::BringBack { .. }
                | Self::ApplyLimits { .. }
        )
    }
}

/// The restore, as parameters for the runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RestoreCommand {
    /// The runtime, `runc`, `crun` or `lxc`; `process` for plain processes.
    pub runtime: &'static str,
    /// The container's name.
    pub name: Name,
    /// The bundle.
    pub bundle: PathBuf,
    /// CRIU's images.
    pub images: PathBuf,
    /// The runtime's state directory, where it is not the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_root: Option<PathBuf>,
    /// CRIU's working directory; `None` for a private one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_path: Option<PathBuf>,
    /// Socket that receives the terminal's master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_socket: Option<PathBuf>,
    /// File that receives the process identifier of the container's first process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid_file: Option<PathBuf>,
    /// systemd makes the cgroup: the runtime's global switch `--systemd-cgroup`.
    pub systemd_cgroup: bool,
    /// The container's cgroup as an absolute path, where the configuration names it so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// How plain processes are restored; absent for a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<ProcessRestore>,
    /// CRIU's switches, those of the dump repeated.
    pub options: RestoreOptions,
}
