//! What the caller asks for: the checked requests that the pipelines take. Raw arguments live in `cli`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::manifest::DumpOptions;
use crate::process::JournalStream;
use crate::rewrite::lxc::{InterfaceRequest, PathMap};

/// Which container, of which runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRef {
    /// The identifier as the runtime knows it.
    pub id: String,
    /// The runtime, or `None` to ask each one that is installed.
    pub runtime: Option<RuntimeKind>,
    /// The runtime's state directory (its global `--root`), where it is not the default.
    pub state_root: Option<PathBuf>,
}

/// A container runtime that ckpt can drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuntimeKind {
    /// `runc`.
    Runc,
    /// `crun`.
    Crun,
    /// `podman`, an engine above either.
    Podman,
    /// LXC, through `lxc-checkpoint`.
    Lxc,
    /// No runtime: a tree of plain processes, which CRIU is asked to dump and restore directly.
    Process,
}

/// Which process tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessRef {
    /// The process with this number, and its descendants.
    Pid(i32),
    /// The main process of this systemd unit.
    Unit(String),
}

/// How a process tree is restored, beyond what a container has.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ProcessRestore {
    /// In a new PID namespace, and a new mount namespace with its own /proc.
    pub new_pidns: bool,
    /// In this network namespace, not in the host's: a path, or `new`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<PathBuf>,
    /// In a session of its own: the one it was in is somebody else's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_session: bool,
    /// Connections to systemd's journal that are made anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub journal: Vec<JournalStream>,
}

/// Where an archive goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A file, replaced only when the new archive is complete.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// Where an archive comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file (or a FIFO, read as a stream).
    File(PathBuf),
    /// Standard input.
    Stdin,
}

/// How the root file system is captured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RootfsChoice {
    /// `diff` for an overlay, `full` for a plain directory.
    #[default]
    Auto,
    /// The changes only; needs an overlay.
    Diff,
    /// Everything.
    Full,
    /// Nothing.
    None,
}

/// What is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A running container.
    Container(ContainerRef),
    /// A tree of plain processes.
    Process(ProcessRef),
    /// A dump that somebody else made: CRIU's images and the bundle that they belong to.
    Images {
        /// The images directory.
        images: PathBuf,
        /// The bundle: `config.json` and the root file system.
        bundle: PathBuf,
        /// The runtime that made the dump.
        runtime: RuntimeKind,
    },
}

/// A request to export.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// What is exported.
    pub subject: Subject,
    /// Where the archive goes.
    pub output: Output,
    /// How it is compressed.
    pub compression: crate::archive::Compression,
    /// Threads that compress.
    pub threads: NonZeroUsize,
    /// How the root file system is captured.
    pub rootfs: RootfsChoice,
    /// Destinations of bind mounts whose content travels too.
    pub with_mounts: Vec<String>,
    /// Directories whose files that a process tree has open or mapped travel too.
    pub files_below: Vec<PathBuf>,
    /// CRIU's switches.
    pub dump: DumpOptions,
    /// CRIU's working directory, kept afterwards. `None`: a private one, removed after success.
    pub work_path: Option<PathBuf>,
    /// An earlier archive of the same container made with `pre_dump`, that this dump is incremental to.
    pub parent: Option<PathBuf>,
    /// Send memory to this page server (`HOST:PORT`) instead of into the archive.
    pub page_server: Option<String>,
    /// ckpt writes one byte to this descriptor when everything is dumped and the container waits for its archive.
    pub status_fd: Option<i32>,
    /// Time of the checkpoint, seconds since 1970 (`SOURCE_DATE_EPOCH`). `None`: now.
    pub timestamp: Option<u64>,
}

/// The network namespace of an imported container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Netns {
    /// As the configuration in the archive says.
    Keep,
    /// The namespace at this path.
    Path(PathBuf),
    /// A new one.
    New,
    /// The host's.
    Host,
}

/// A bind mount that the importer maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapMount {
    /// Where it is in the container.
    pub destination: String,
    /// Where it comes from on this host.
    pub source: PathBuf,
}

/// A request to import.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// Where the archive comes from.
    pub input: Input,
    /// Threads that decompress and verify.
    pub threads: NonZeroUsize,
    /// The container's new name. `None`: the one in the archive.
    pub name: Option<String>,
    /// The runtime. `None`: the one that made the archive.
    pub runtime: Option<RuntimeKind>,
    /// Restore with another runtime than the one that made the archive, named by `runtime`.
    pub allow_other_runtime: bool,
    /// The runtime's state directory.
    pub state_root: Option<PathBuf>,
    /// The bundle directory, new or empty. `None`: below ckpt's own directory, by name.
    pub bundle: Option<PathBuf>,
    /// Take the place of a bundle that an earlier import left below ckpt's own directory.
    pub replace: bool,
    /// The root file system: where it is put for a full archive, the files below the changes for a diff archive.
    pub root: Option<PathBuf>,
    /// Use the files at `root` as they are; what the archive holds of the root file system is not applied.
    pub ignore_rootfs: bool,
    /// Bind mounts with another source on this host.
    pub map_mounts: Vec<MapMount>,
    /// Destinations of bind mounts that may be taken from the same path of this host.
    pub allow_mounts: Vec<String>,
    /// Whether every bind mount of the archive may be taken from the same path of this host.
    pub allow_all_mounts: bool,
    /// Whether OCI hooks of the archive may run.
    pub allow_hooks: bool,
    /// Whether the annotation `org.criu.config` of the archive may reach CRIU.
    pub allow_criu_config: bool,
    /// Keys of annotations of the archive that may make a runtime or an engine act.
    pub allow_annotations: Vec<String>,
    /// Paths of the archive's devices that the container may have.
    pub allow_devices: Vec<String>,
    /// The cgroup that the container's cgroup is made in.
    pub cgroup_parent: Option<String>,
    /// Leave recorded limits unapplied.
    pub ignore_cgroup_limits: bool,
    /// The network namespace.
    pub netns: Netns,
    /// Restore processes in a new PID namespace.
    pub new_pidns: bool,
    /// Files of this host that may be replaced by the archive's.
    pub replace_files: Vec<PathBuf>,
    /// Files of this host that may have other content than the archive's processes know.
    pub allow_files: Vec<PathBuf>,
    /// Another hostname in config.json (what runs keeps the one it has).
    pub hostname: Option<String>,
    /// Socket that receives the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// File that receives the process identifier of the container's first process.
    pub pid_file: Option<PathBuf>,
    /// Earlier archives, oldest first, that this one is incremental to.
    pub parents: Vec<PathBuf>,
    /// The images directory of the page server that took the memory of this archive's container.
    pub pages: Option<PathBuf>,
    /// CRIU's switches for the restore; those of the dump are repeated by themselves.
    pub restore: RestoreOptions,
    /// CRIU's working directory, kept afterwards.
    pub work_path: Option<PathBuf>,
    /// Run the container at once and fetch its memory from the archive meanwhile.
    pub lazy: bool,
    /// What only podman takes.
    pub podman: PodmanOptions,
    /// Stop after the plan.
    pub dry_run: bool,
    /// Stop with a ready bundle and images directory.
    pub no_restore: bool,
    /// Where memory images are until they are restored.
    pub images_in: ImagesIn,
    /// What only a container of LXC has.
    pub lxc: LxcOptions,
}

/// What an importer asks of a container of LXC beside what is asked of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LxcOptions {
    /// By the interface's name in the container.
    pub interfaces: BTreeMap<String, InterfaceRequest>,
    /// Paths of the source host for which there are others here.
    pub map_paths: Vec<PathMap>,
    /// Paths that are used here as the archive names them.
    pub allow_paths: Vec<String>,
    /// All values of `lxc.idmap`.
    pub id_map: Option<Vec<String>>,
}

/// What is asked of podman when it restores a container, under podman's names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodmanOptions {
    /// Ports to publish instead of those that the container had.
    pub publish: Vec<String>,
    /// Take whatever address the network gives.
    pub ignore_static_ip: bool,
    /// Take whatever MAC address there is.
    pub ignore_static_mac: bool,
    /// The pod of this host that the container joins.
    pub pod: Option<String>,
    /// Use volumes that are there as they are.
    pub ignore_volumes: bool,
}

/// Where memory images are until they are restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImagesIn {
    /// Wherever is faster by what was measured: on disk.
    #[default]
    Auto,
    /// On a tmpfs.
    Memory,
    /// Beside the bundle.
    Disk,
}

/// CRIU's switches of a restore, under runc's names.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RestoreOptions {
    /// Restore established TCP connections; on by itself when the dump has them.
    pub tcp_established: bool,
    /// Close them instead.
    pub tcp_close: bool,
    /// Allow Unix sockets with an outside end.
    pub ext_unix_sk: bool,
    /// Restore a job of a terminal that is not the container's own.
    pub shell_job: bool,
    /// Restore file locks.
    pub file_locks: bool,
    /// Restore links made by the dump's `link-remap`.
    pub link_remap: bool,
    /// How cgroups are treated: soft, full, strict, ignore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manage_cgroups_mode: Option<String>,
    /// Namespaces restored empty.
    pub empty_ns: Vec<String>,
    /// Punch pages out of the images while they are read.
    pub auto_dedup: bool,
    /// The runtime writes one byte to this descriptor when the restore is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_fd: Option<i32>,
    /// Do not use pivot_root.
    pub no_pivot: bool,
    /// Security label profile of the restored processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lsm_profile: Option<String>,
    /// Mount context of the restored processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lsm_mount_context: Option<String>,
}
