//! Everything that keeps an import from being planned, all at once, each with what to do about it.

mod list;
mod process;
mod quote;

use std::path::PathBuf;

pub use self::list::Refusals;
pub use self::process::ProcessRefusal;
pub(super) use self::quote::{one_line, quoted};
use super::host::Limit;
use super::layout::CONTAINERS_DIR;
use super::spec::SpecError;
use crate::error::ErrorKind;
use crate::manifest::FileType;

/// One reason why the import is not planned.
///
/// `Display` says what is wrong, [`Refusal::advice`] what to do, [`Refusal::kind`] whose matter it is.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The archive's configuration cannot be understood.
    #[error(transparent)]
    Spec(#[from] SpecError),

    // The archive asks for something that needs the importer's word.
    /// The archive brings OCI hooks.
    #[error("the archive brings an OCI hook: {moment} runs {path} as root on this host")]
    Hook {
        /// When it runs.
        moment: String,
        /// The program.
        path: String,
    },
    /// The archive names an option file for CRIU.
    #[error("the archive's annotation org.criu.config gives CRIU the option file {path:?} of this host")]
    CriuConfig {
        /// The file.
        path: String,
    },
    /// The archive has an annotation that makes a runtime or an engine act.
    #[error("the archive's annotation {key} {effect}")]
    Annotation {
        /// Its key.
        key: String,
        /// What it does.
        effect: &'static str,
    },
    /// The archive wants a path of the host.
    #[error("the archive mounts the host's {origin} at {destination}")]
    BindMount {
        /// Where it is in the container.
        destination: String,
        /// Where it comes from.
        origin: String,
    },
    /// The archive wants a file system of a device or a server.
    #[error("the archive mounts a file system of type {fstype:?} from {origin:?} at {destination}")]
    ForeignMount {
        /// Where it is in the container.
        destination: String,
        /// Its type.
        fstype: String,
        /// Where it comes from.
        origin: String,
    },
    /// The archive wants a device of the host.
    #[error("the archive gives the container the host's device {kind} {major}:{minor} at {path}")]
    Device {
        /// Where it is in the container.
        path: String,
        /// `c`, `u` or `b`.
        kind: String,
        /// Major number.
        major: i64,
        /// Minor number.
        minor: i64,
    },
    /// The archive was made by another runtime.
    #[error("the archive was made by {made_by}; {wanted} lays out a container's mounts differently")]
    OtherRuntime {
        /// The runtime that made it.
        made_by: String,
        /// The runtime that was asked for.
        wanted: &'static str,
    },
    /// The archive was made by a runtime whose containers another one cannot restore at all.
    #[error("the archive was made by {made_by}, and {wanted} cannot restore its containers")]
    NoWay {
        /// The runtime that made it.
        made_by: String,
        /// The runtime that was asked for.
        wanted: &'static str,
    },
    /// Of the configuration of a container of LXC.
    #[error(transparent)]
    Lxc(#[from] super::lxc::Refusal),
    /// Of processes without a container.
    #[error(transparent)]
    Process(#[from] ProcessRefusal),
    /// The archive joins a network namespace of the host by its path.
    #[error("the container was in the network namespace at {path}, which belongs to the host it comes from")]
    NetnsPath {
        /// The path.
        path: String,
    },
    /// The archive joins a namespace that cannot be made anew.
    #[error("the container was in the {kind} namespace at {path}; its content is not in the archive")]
    NamespacePath {
        /// The type of the namespace.
        kind: String,
        /// The path.
        path: String,
    },

    /// The archive wants a secret of this host.
    #[error("the archive hands podman's secret {name:?} of this host to the container")]
    Secret {
        /// Its name.
        name: String,
    },
    /// The archive wants a volume whose driver may mount anything.
    #[error(
        "the archive makes the volume {name:?} with options for its driver, which may mount any file system of this host"
    )]
    VolumeOptions {
        /// Its name.
        name: String,
    },

    // podman cannot take the archive.
    /// It was not made of a container of podman's.
    #[error("the archive is not of a container of podman's: it has no configuration that podman could take")]
    NotOfPodman,
    /// The container has something that podman does not restore.
    #[error("podman cannot restore the container: it has {what}")]
    NotForPodman {
        /// What.
        what: &'static str,
    },
    /// The image is not there.
    #[error("the container's image {name:?} ({id}) is not on this host")]
    ImageMissing {
        /// Its name.
        name: String,
        /// Its identifier.
        id: String,
    },
    /// Another image has its name.
    #[error("{name:?} is another image on this host: {here}, and the container was made from {archived}")]
    ImageDiffers {
        /// The name.
        name: String,
        /// The identifier of the container's.
        archived: String,
        /// That of the one on this host.
        here: String,
    },
    /// A volume of that name is there.
    #[error("there is a volume {name:?} on this host")]
    VolumeTaken {
        /// Its name.
        name: String,
    },
    /// Somebody listens on a port that the container publishes.
    #[error("the port {port} that the container publishes is taken on this host")]
    PortTaken {
        /// The port, as `podman run --publish` has it.
        port: String,
    },
    /// A name for a volume that is none.
    #[error("{name:?} cannot be the name of a volume")]
    VolumeName {
        /// The name.
        name: String,
    },
    /// A network is not there.
    #[error("podman's network {name:?} is not on this host")]
    NetworkMissing {
        /// Its name.
        name: String,
    },
    /// A secret is not there.
    #[error("podman's secret {name:?} is not on this host")]
    SecretMissing {
        /// Its name.
        name: String,
    },
    /// The container was in a pod.
    #[error("the container was in a pod")]
    PodNeeded,
    /// The container was in no pod.
    #[error("--pod is given, but the container was in no pod")]
    PodUnused,
    /// There is no such pod.
    #[error("there is no pod {name:?} on this host")]
    PodMissing {
        /// Its name.
        name: String,
    },

    // The request does not fit the archive.
    /// The archive was made by a runtime that ckpt cannot restore with.
    #[error("the archive was made by {name:?}, a runtime that this ckpt does not know")]
    UnknownRuntime {
        /// Its name.
        name: String,
    },
    /// The archive holds memory only.
    #[error("this is a pre-dump: it holds memory for a later archive and cannot be restored by itself")]
    PreDump,
    /// The memory is elsewhere.
    #[error("the memory of this container went to a page server, it is not in the archive")]
    PagesNeeded,
    /// The memory is in the archive.
    #[error("--pages is given, but the memory of this container is in the archive")]
    PagesUnused,
    /// The archive is incremental.
    #[error("the archive is incremental to the archive {digest}")]
    ParentsNeeded {
        /// Identity of the parent.
        digest: String,
    },
    /// A name that runtimes do not take.
    #[error("{name:?} is no container name")]
    Name {
        /// The name.
        name: String,
    },
    /// A hostname that is none.
    #[error("{hostname:?} is no hostname")]
    Hostname {
        /// The hostname.
        hostname: String,
    },
    /// A cgroup that cannot be a parent.
    #[error("{parent:?} cannot be the parent of a cgroup")]
    CgroupParent {
        /// The cgroup.
        parent: String,
    },
    /// A destination that the archive does not have.
    #[error("{flag} names {destination}, where the archive has {}", known_list(.known, .what))]
    UnknownDestination {
        /// The switch that names it.
        flag: &'static str,
        /// The destination.
        destination: String,
        /// What would be there.
        what: &'static str,
        /// Those that the archive has.
        known: Vec<String>,
    },
    /// A destination that is mapped twice.
    #[error("--map-mount names {destination} twice")]
    MappedTwice {
        /// The destination.
        destination: String,
    },
    /// A path that cannot stand in a configuration.
    #[error("{flag}: {path:?} {problem}")]
    Path {
        /// The switch.
        flag: &'static str,
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No files for the root file system.
    #[error("the root file system is needed: {reason}")]
    RootNeeded {
        /// Why.
        reason: &'static str,
    },
    /// `--root` is not as it has to be.
    #[error("--root {path:?} {problem}")]
    Root {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The bundle is in use.
    #[error("the bundle {path:?} {problem}")]
    Bundle {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The bundle that is to make room is in use.
    #[error("the bundle {path:?} cannot be replaced: process {pid} lives in its root file system")]
    BundleUsed {
        /// The path.
        path: PathBuf,
        /// The process, as this host sees it.
        pid: i32,
    },
    /// The name is in use.
    #[error("there is a container {name:?} on this host")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The cgroup is in use.
    #[error("the cgroup {path} exists on this host, as {directory:?}")]
    CgroupTaken {
        /// The cgroup.
        path: String,
        /// One of its directories.
        directory: PathBuf,
    },
    /// The container has a terminal and nothing would hold its other end.
    #[error("the container's process has a terminal")]
    ConsoleSocketNeeded,
    /// There is no terminal to hand out.
    #[error("--console-socket: the container's process has no terminal")]
    ConsoleSocketUnused,
    /// Two ways to treat connections.
    #[error("--tcp-established and --tcp-close exclude each other")]
    TcpConflict,
    /// The container's network namespace belongs to its user namespace.
    #[error("--netns: the container is in a user namespace, and CRIU can only give it a network namespace of its own")]
    NetnsOfUser,
    /// The container was in its host's network namespace.
    #[error("--netns: the container used its host's network, and CRIU cannot move it into a namespace of its own")]
    NetnsOfHost,

    /// A switch of containers.
    #[error("{flag} is for containers; the archive holds processes")]
    NotForProcesses {
        /// The switch.
        flag: &'static str,
    },
    /// A switch of processes.
    #[error("{flag} is for processes; the archive holds a container")]
    OnlyForProcesses {
        /// The switch.
        flag: &'static str,
    },

    // This host lacks something.
    /// The source of a mount is missing.
    #[error("the mount at {destination} needs {origin:?}, which is not on this host")]
    SourceMissing {
        /// Where it is in the container.
        destination: String,
        /// Where it comes from.
        origin: PathBuf,
    },
    /// The source of a mount is of the wrong type.
    #[error("the mount at {destination} is a {expected}, {origin:?} is not")]
    SourceType {
        /// Where it is in the container.
        destination: String,
        /// Where it comes from.
        origin: PathBuf,
        /// What it has to be.
        expected: FileType,
    },
    /// The runtime is not installed.
    #[error("{name} is not installed on this host")]
    NoRuntime {
        /// Its name.
        name: &'static str,
    },
    /// Something that was named by its path is not there.
    #[error("{flag}: {path:?} is not on this host")]
    PathMissing {
        /// The switch.
        flag: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// A limit needs a controller that this host does not have.
    #[error("the limit {} = {} needs the cgroup controller {}, which this host lacks", .limit.file, .limit.value, .limit.controller)]
    Controller {
        /// The limit.
        limit: Limit,
    },
    /// The cgroup is one of systemd's, and systemd does not run here.
    #[error("the container's cgroup {path:?} is made by systemd, which does not manage cgroups on this host")]
    NoSystemd {
        /// `slice:prefix:name`.
        path: String,
    },
}

impl Refusal {
    /// The class of this refusal.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Spec(_) | Self::VolumeName { .. } => ErrorKind::Archive,
            Self::Lxc(refusal) => refusal.kind(),
            Self::Process(refusal) => refusal.kind(),
            Self::Hook { .. }
            | Self::CriuConfig { .. }
            | Self::Annotation { .. }
            | Self::BindMount { .. }
            | Self::ForeignMount { .. }
            | Self::Device { .. }
            | Self::Secret { .. }
            | Self::VolumeOptions { .. }
            | Self::OtherRuntime { .. }
            | Self::NetnsPath { .. }
            | Self::NamespacePath { .. } => ErrorKind::Policy,
            Self::SourceMissing { .. }
            | Self::SourceType { .. }
            | Self::ImageMissing { .. }
            | Self::ImageDiffers { .. }
            | Self::NetworkMissing { .. }
            | Self::SecretMissing { .. }
            | Self::PodMissing { .. }
            | Self::NoRuntime { .. }
            | Self::PathMissing { .. }
            | Self::Controller { .. }
            | Self::NoSystemd { .. }
            | Self::UnknownRuntime { .. } => ErrorKind::Host,
            _ => ErrorKind::Usage,
        }
    }

    /// What the importer can do about it; `None` where nothing can be done from here. Names from the archive are quoted
    /// for a shell: advice gets copied.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let text = match self {
            Self::Lxc(refusal) => return refusal.advice(),
            Self::Process(refusal) => return refusal.advice(),
            Self::NoWay { .. } => "leave out --runtime".to_owned(),
            Self::Hook { .. } => "--allow-hooks lets the hooks run".to_owned(),
            Self::CriuConfig { .. } => "--allow-criu-config lets CRIU read it".to_owned(),
            Self::Annotation { key, .. } => format!("--allow-annotation {} keeps it", quoted(key)),
            Self::BindMount { destination, .. } => {
                let destination = quoted(destination);
                format!(
                    "--map-mount {destination}=PATH takes another path of this host, --allow-mount {destination} that one"
                )
            }
            Self::ForeignMount { destination, .. } => format!("--allow-mount {} allows it", quoted(destination)),
            Self::Device { path, .. } => format!("--allow-device {} gives it", quoted(path)),
            Self::OtherRuntime { wanted, .. } => {
                format!("--runtime {wanted} --allow-other-runtime tries it, without --runtime the same one restores it")
            }
            Self::NetnsPath { .. } => "--netns PATH names one of this host, --netns new makes one".to_owned(),
            Self::Secret { .. } => "--allow-mount /run/secrets gives it".to_owned(),
            _ => {
                let advice = self.podman_advice().or_else(|| self.usage_advice());
                return advice.or_else(|| self.host_advice());
            }
        };
        Some(text)
    }

    fn podman_advice(&self) -> Option<String> {
        let text = match self {
            Self::VolumeOptions { name } => format!(
                "make it yourself: `podman volume create {}`, then --ignore-volumes",
                quoted(name)
            ),
            Self::NotOfPodman => "--runtime runc or --runtime crun imports it".to_owned(),
            Self::ImageMissing { name, .. } => {
                format!(
                    "bring it here, with `podman pull {0}`, or `podman save {0}` there and `podman load` here",
                    quoted(name)
                )
            }
            Self::ImageDiffers { name, .. } => {
                format!(
                    "bring the very image here: `podman save {}` there, `podman load` here",
                    quoted(name)
                )
            }
            Self::VolumeTaken { name } => format!(
                "--ignore-volumes takes it as it is, without what the archive holds; `podman volume rm {}` removes it",
                quoted(name)
            ),
            Self::PortTaken { .. } => {
                "--publish gives the container other ports; or end what listens there (`ss -lntup` names it)".to_owned()
            }
            Self::NetworkMissing { name } => format!("`podman network create {}` makes one", quoted(name)),
            Self::SecretMissing { name } => format!("`podman secret create {} FILE` makes one", quoted(name)),
            Self::PodNeeded => "--pod POD names one of this host".to_owned(),
            Self::PodUnused => "leave out --pod".to_owned(),
            Self::PodMissing { name } => {
                format!(
                    "`podman pod create {}` makes one; it must share what the old one shared",
                    quoted(name)
                )
            }
            _ => return None,
        };
        Some(text)
    }

    fn usage_advice(&self) -> Option<String> {
        let text = match self {
            Self::PreDump => "export the container again without --pre-dump, and import that archive".to_owned(),
            Self::PagesNeeded => "--pages DIR names the page server's images directory".to_owned(),
            Self::PagesUnused => "leave out --pages".to_owned(),
            Self::ParentsNeeded { .. } => "--parent FILE names it".to_owned(),
            Self::Name { .. } => {
                "--name takes letters, digits and _ + . - (but not . or .. alone), at most 255 of them".to_owned()
            }
            Self::Hostname { .. } => "a hostname has 1 to 64 letters, digits, dots and dashes".to_owned(),
            Self::CgroupParent { .. } => "name a cgroup as /PATH, or a systemd slice as NAME.slice".to_owned(),
            Self::RootNeeded { .. } => "--root PATH names a directory of this host".to_owned(),
            Self::Bundle { path, .. } if path.starts_with(CONTAINERS_DIR) => {
                "it is of an earlier import, whose place --replace takes if no container uses it any more; --name takes \
                 another name, --bundle PATH another directory"
                    .to_owned()
            }
            Self::Bundle { .. } => "--bundle PATH names a new or empty directory".to_owned(),
            Self::BundleUsed { .. } => "--name gives the imported container another name".to_owned(),
            Self::NameTaken { .. } => "--name gives the imported container another name".to_owned(),
            Self::CgroupTaken { .. } => "--cgroup-parent puts the container's cgroup elsewhere".to_owned(),
            Self::ConsoleSocketNeeded => "--console-socket PATH names a socket that takes its other end".to_owned(),
            Self::NotForProcesses { flag } | Self::OnlyForProcesses { flag } => format!("leave out {flag}"),
            Self::NetnsOfUser => "--netns new makes one".to_owned(),
            Self::NetnsOfHost => {
                "it is restored into the namespace that ckpt runs in: ip netns exec NAME ckpt import".to_owned()
            }
            _ => return None,
        };
        Some(text)
    }

    fn host_advice(&self) -> Option<String> {
        let text = match self {
            Self::SourceMissing { destination, .. } | Self::SourceType { destination, .. } => {
                format!(
                    "--map-mount {}=PATH takes another path of this host",
                    quoted(destination)
                )
            }
            Self::NoRuntime { name } => format!("install {name}"),
            Self::Controller { .. } => "--ignore-cgroup-limits leaves recorded limits unapplied".to_owned(),
            Self::NoSystemd { .. } => "--cgroup-parent /PATH makes it a plain cgroup".to_owned(),
            _ => return None,
        };
        Some(text)
    }
}

fn known_list(known: &[String], what: &str) -> String {
    if known.is_empty() {
        format!("no {what}; it has none at all")
    } else {
        format!("no {what}; it has them at {}", known.join(", "))
    }
}
