//! What keeps a container from being restored by podman: its image, its volumes, networks, secrets, its pod.

use super::quoted;
use crate::error::ErrorKind;

/// One reason why an import into podman is not planned.
///
/// `Display` says what is wrong, [`advice`](Self::advice) what to do, [`kind`](Self::kind) whose matter it is.
#[derive(Debug, thiserror::Error)]
pub enum PodmanRefusal {
    // The archive asks for something that needs the importer's word.
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
}

impl PodmanRefusal {
    /// The class of this refusal.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Secret { .. } | Self::VolumeOptions { .. } => ErrorKind::Policy,
            Self::NotOfPodman
            | Self::NotForPodman { .. }
            | Self::VolumeTaken { .. }
            | Self::PortTaken { .. }
            | Self::PodNeeded
            | Self::PodUnused => ErrorKind::Usage,
            Self::ImageMissing { .. }
            | Self::ImageDiffers { .. }
            | Self::NetworkMissing { .. }
            | Self::SecretMissing { .. }
            | Self::PodMissing { .. } => ErrorKind::Host,
            Self::VolumeName { .. } => ErrorKind::Archive,
        }
    }

    /// What the importer can do about it; `None` where nothing can be done from here.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
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
            Self::Secret { .. } => "--allow-mount /run/secrets gives it".to_owned(),
            _ => return None,
        };
        Some(text)
    }
}
