//! What an importer should know though it stops nothing.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

/// A remark of the plan. `Display` is the sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "warning", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Warning {
    /// The hostname of what runs cannot be changed by the configuration.
    HostnameStays {
        /// The hostname that goes on.
        running: Option<String>,
        /// The one asked for.
        asked: String,
    },
    /// The container uses the host's network.
    HostNetwork,
    /// The container's new network namespace has no interfaces but the loopback.
    EmptyNetwork,
    /// A namespace that was shared on the source host is the container's own here.
    NamespaceUnshared {
        /// Its type.
        kind: String,
    },
    /// podman's cgroups are made by something else here.
    CgroupManager {
        /// What made the container's.
        archive: String,
        /// What makes them here.
        here: String,
    },
    /// The archive has no content for /dev/shm.
    ShmEmpty,
    /// Options of the /dev/shm of the source host that are not set here.
    ShmOptions {
        /// The options.
        options: Vec<String>,
    },
    /// The archive has content for a mount, and the importer took a path of the host instead.
    ContentIgnored {
        /// Where the mount is in the container.
        destination: String,
    },
    /// The archive's changes of the root file system are not applied.
    RootfsIgnored,
    /// The files below the changes are not those of the source host.
    BaseDiffers {
        /// Where they are.
        root: PathBuf,
    },
    /// The device rules allow more than the default devices.
    DevicesAllowed {
        /// How many rules.
        rules: usize,
    },
    /// Cgroups were of another version on the source host.
    CgroupMode {
        /// Where the container mounts them.
        destination: String,
    },
    /// The cgroup that the limits are of is there already.
    CgroupStays {
        /// Its path.
        path: String,
    },
    /// What the processes wrote to systemd's journal has no taker here.
    NoJournal,
    /// The runtime is of another version than the one that made the archive.
    RuntimeVersion {
        /// The version that made the archive.
        archive: String,
        /// The version on this host.
        here: String,
    },
    /// What this host has no use for is taken out of the configuration.
    LabelsDropped,
    /// Of the configuration of a container of LXC.
    Lxc {
        /// What there is to say.
        remark: String,
    },
    /// Hooks of the archive run.
    HooksRun {
        /// How many.
        count: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostnameStays { running, asked } => {
                let running = running.as_deref().unwrap_or("it has");
                write!(f, "the processes keep the hostname {running}; {asked} stands in config.json only")
            }
            Self::HostNetwork => f.write_str("the container uses this host's network"),
            Self::EmptyNetwork => f.write_str(
                "the container's new network namespace has no interface but the loopback; --netns PATH takes one that has",
            ),
            Self::NamespaceUnshared { kind } => {
                write!(f, "the container shared its {kind} namespace; here it has one of its own")
            }
            Self::CgroupManager { archive, here } => write!(
                f,
                "the container's cgroup was made by {archive}, those of podman here are by {here}: it is below podman's usual parent"
            ),
            Self::ShmEmpty => f.write_str("the archive has no content for /dev/shm; it begins empty"),
            Self::ShmOptions { options } => {
                write!(f, "/dev/shm is made without the options {}", options.join(","))
            }
            Self::ContentIgnored { destination } => {
                write!(f, "the archive's content of {destination} is not used, the mapped path is")
            }
            Self::RootfsIgnored => f.write_str("the archive's part of the root file system is not used"),
            Self::BaseDiffers { root } => {
                write!(f, "the files in {root:?} are not the ones that the container's changes were made over")
            }
            Self::DevicesAllowed { rules } => {
                write!(f, "rules of the container's cgroup that allow devices beyond the default and the allowed ones: {rules}")
            }
            Self::CgroupMode { destination } => write!(
                f,
                "the container mounts cgroups at {destination}, and this host has another cgroup version: CRIU may refuse"
            ),
            Self::CgroupStays { path } => write!(
                f,
                "the cgroup {path} is there: the processes go into it, and its limits stay as they are here (--cgroup-parent makes \
                 another one with those of the archive)"
            ),
            Self::NoJournal => f.write_str(
                "systemd's journal does not run on this host: what the processes wrote to it is dropped from now on",
            ),
            Self::RuntimeVersion { archive, here } => write!(f, "the archive was made by {archive}, this host has {here}"),
            Self::LabelsDropped => f.write_str(
                "security labels are taken out of the configuration: this host has no such labels, and CRIU would refuse",
            ),
            Self::Lxc { remark } => f.write_str(remark),
            Self::HooksRun { count } => write!(f, "{count} hooks of the archive run on this host, as allowed"),
        }
    }
}
