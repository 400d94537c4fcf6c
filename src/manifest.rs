//! `ckpt.json`: the manifest, first entry of every archive.
//!
//! It says what made the archive, on what host, of which container, and what is inside, before anything else of the
//! archive has to be read. It is declared here once; `schema/manifest-v1.schema.json` is generated from these types.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the archive format that this build writes.
pub const FORMAT_VERSION: u32 = 1;
/// The oldest version of the archive format that this build reads.
pub const OLDEST_FORMAT_VERSION: u32 = 1;

/// The manifest of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the archive format, [`FORMAT_VERSION`] when written by this build. Read before all else.
    pub format: u32,
    /// What made the archive.
    pub producer: Producer,
    /// The engine that ran the container above its runtime, and made the checkpoint; none where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// When the checkpoint was taken, RFC 3339 in UTC (`SOURCE_DATE_EPOCH` when that is set).
    pub checkpointed_at: String,
    /// The host that the container ran on.
    pub host: Host,
    /// The runtime that ran the container.
    pub runtime: Runtime,
    /// The container.
    pub container: Container,
    /// How it was dumped.
    pub options: DumpOptions,
    /// Its namespaces.
    pub namespaces: Vec<Namespace>,
    /// Its bind mounts, in the order of its configuration.
    pub bind_mounts: Vec<BindMount>,
    /// What of its file system is in the archive.
    pub filesystem: Filesystem,
    /// Identity (digest of `SHA256SUMS`, lowercase hex) of the archive that this one is incremental to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

/// What made an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Producer {
    /// Name of the program, `ckpt`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A container engine, and what it says of its container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Which it is.
    pub name: EngineName,
    /// The pod that the container was in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// Its networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    /// The ports that were published on the source host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

/// The engines whose checkpoints are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EngineName {
    /// podman.
    #[serde(rename = "podman")]
    Podman,
    /// CRI-O.
    #[serde(rename = "cri-o")]
    CriO,
    /// containerd.
    #[serde(rename = "containerd")]
    Containerd,
}

impl EngineName {
    /// Its name as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::CriO => "cri-o",
            Self::Containerd => "containerd",
        }
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Podman => "podman",
            Self::CriO => "CRI-O",
            Self::Containerd => "containerd",
        })
    }
}

/// A pod of Kubernetes, or of podman.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pod {
    /// Its name, or its identifier where no name is known.
    pub name: String,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A network that a container was in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The engine's name of it; empty where it has none.
    pub name: String,
    /// The container's interface in it; empty where that is not known.
    pub interface: String,
    /// The container's addresses in it, with the length of the prefix where that is known.
    pub addresses: Vec<String>,
    /// The gateways of those addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,
    /// The interface's hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// The address on the host; empty for all.
    pub host_ip: String,
    /// The first port on the host.
    pub host_port: u16,
    /// The first port of the container.
    pub container_port: u16,
    /// How many ports.
    pub count: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// The host that a container was checkpointed on. Engines record nothing of it: where a value is not known, text is empty,
/// numbers are zero, and the cgroup mode is `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Kernel release as `uname -r` prints it.
    pub kernel: String,
    /// Machine as `uname -m` prints it.
    pub arch: String,
    /// The processor.
    pub cpu: Cpu,
    /// How cgroups are mounted.
    pub cgroup_mode: CgroupMode,
    /// Version of CRIU, as `criu --version` prints it.
    pub criu: String,
    /// Size of a memory page, bytes.
    pub page_size: u64,
}

/// A processor, as far as it decides whether a memory image can run on another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// `vendor_id` of `/proc/cpuinfo`.
    pub vendor: String,
    /// `cpu family`.
    pub family: u32,
    /// `model`.
    pub model: u32,
    /// `model name`.
    pub name: String,
    /// Size in bytes of the xsave area for the features enabled in XCR0 (CPUID leaf 0xD, EBX); 0 where there is none.
    /// CRIU restores x86 floating point state only where it is the same.
    pub xsave_size: u32,
    /// `flags`, sorted.
    pub flags: Vec<String>,
}

/// How the cgroup hierarchies of a host are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CgroupMode {
    /// Only version 1 hierarchies.
    V1,
    /// Version 1 hierarchies, and a version 2 hierarchy beside them.
    Hybrid,
    /// Only the version 2 hierarchy.
    V2,
    /// Nobody recorded it.
    Unknown,
}

/// A container runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// Its name as `--runtime` takes it: `runc`, `crun`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// The runtime's identifier.
    pub id: String,
    /// A name for people; the identifier where the runtime has no other.
    pub name: String,
    /// Absolute path of its bundle on the source host.
    pub bundle: String,
    /// Absolute path of its root file system on the source host.
    pub rootfs: String,
    /// `hostname` of its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The image it was made from, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// Whether its process has a terminal.
    pub terminal: bool,
    /// Process identifier of its first process, on the source host.
    pub pid: i32,
    /// When it was created, RFC 3339, where the runtime tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
}

/// A container image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The name it was pulled by.
    pub name: String,
    /// Its digest, `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The options of a dump, under the names that runc gives them. What the restore has to repeat is read from here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DumpOptions {
    /// The container went on running after the checkpoint.
    pub leave_running: bool,
    /// Established TCP connections are part of the checkpoint.
    pub tcp_established: bool,
    /// Connections not yet accepted were skipped.
    pub tcp_skip_in_flight: bool,
    /// Unix sockets with an end outside the container were allowed.
    pub ext_unix_sk: bool,
    /// The container was started from a terminal that is not its own.
    pub shell_job: bool,
    /// File locks are part of the checkpoint.
    pub file_locks: bool,
    /// Unlinked files were linked back into the root file system.
    pub link_remap: bool,
    /// How cgroups were treated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manage_cgroups_mode: Option<String>,
    /// Namespaces that were dumped empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub empty_ns: Vec<String>,
    /// Only memory was dumped, as a parent for a later checkpoint; the archive cannot be restored by itself.
    pub pre_dump: bool,
    /// Pages that a later dump repeats were punched out of the parent's images.
    pub auto_dedup: bool,
    /// Memory went to a page server elsewhere: the archive holds everything but the pages.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub page_server: bool,
}

/// A namespace of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// Its type as config.json names it: `pid`, `network`, `mount`, `ipc`, `uts`, `user`, `cgroup`, `time`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The path it was joined by, where the container did not create it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A bind mount of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BindMount {
    /// Where it is in the container.
    pub destination: String,
    /// Where it comes from on the source host.
    pub source: String,
    /// Its mount options, as config.json has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Whether a directory or a file is mounted.
    pub file_type: FileType,
    /// Permission bits of the source, as octal digits.
    pub permissions: String,
    /// The entry with its content, where that is in the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
}

/// The type of a bind mount's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileType {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "directory",
            Self::File => "file",
        })
    }
}

/// What of a container's file system is in the archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filesystem {
    /// How the root file system is kept.
    pub rootfs: RootfsMode,
    /// For `diff`: fingerprint of the files below the changes (see `docs/format.md`), `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// For `full` and `diff`: the entry that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// /dev/shm, where it is a bind mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devshm: Option<DevShm>,
    /// Named volumes: name to entry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, String>,
}

/// How much of a root file system is in an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RootfsMode {
    /// Nothing: the importer has the very same files.
    #[default]
    None,
    /// The upper layer of an overlay: added and changed files, and a list of deleted ones.
    Diff,
    /// All of it.
    Full,
}

/// A /dev/shm that is bind-mounted from the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DevShm {
    /// The entry with its content.
    pub entry: String,
    /// The file system's options on the source host (`size=`, `nr_inodes=`, `mode=`, …), as mountinfo has them.
    pub options: Vec<String>,
}
