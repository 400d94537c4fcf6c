//! What of a container's cgroups cannot be kept on another host, by name.

use std::fmt;

use serde::Serialize;

/// Something of a record that does not hold on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "warning")]
pub enum Warning {
    /// No hierarchy here has the controller, and the container was limited by it.
    ControllerMissing {
        /// The controller.
        controller: String,
    },
    /// The other version of cgroups has nothing that means the same.
    NoEquivalent {
        /// The recorded file.
        file: String,
        /// Its value.
        value: String,
    },
    /// The other version has something close: the value is not the same, or not what it was exactly.
    Approximate {
        /// The recorded file.
        file: String,
        /// Its value.
        value: String,
        /// The file here.
        here: String,
        /// The value here.
        becomes: String,
    },
    /// Cgroups below the container's are not made or not limited, because the controllers are of another version here.
    TreeLost {
        /// The controllers, or `name=NAME`.
        controllers: String,
        /// How many.
        groups: usize,
    },
    /// A block device with a limit is not on this host.
    DeviceMissing {
        /// The recorded file.
        file: String,
        /// The device: its path, or its number on the source host where it had no path.
        device: String,
    },
    /// Some of the CPUs or memory nodes are not on this host; `kept` is empty where none is, and then all are allowed.
    IdsMissing {
        /// The file.
        file: String,
        /// The recorded value.
        value: String,
        /// The value here.
        kept: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ControllerMissing { controller } => {
                write!(
                    f,
                    "this host has no cgroup controller {controller}: its limits are not kept"
                )
            }
            Self::NoEquivalent { file, value } => {
                write!(
                    f,
                    "{file} = {value} has no equal in this host's version of cgroups: the limit is not kept"
                )
            }
            Self::Approximate {
                file,
                value,
                here,
                becomes,
            } => {
                write!(
                    f,
                    "{file} = {value} becomes {here} = {becomes}, which is close but not the same"
                )
            }
            Self::TreeLost { controllers, groups } => write!(
                f,
                "{groups} cgroups below the container's lose {controllers}: this host has another version of cgroups"
            ),
            Self::DeviceMissing { file, device } => {
                write!(
                    f,
                    "{file}: this host has no block device {device}: its limit is not kept"
                )
            }
            Self::IdsMissing { file, value, kept } if kept.is_empty() => {
                write!(f, "{file} = {value}: none of them is on this host, so all are allowed")
            }
            Self::IdsMissing { file, value, kept } => {
                write!(f, "{file} = {value} becomes {kept}: the others are not on this host")
            }
        }
    }
}
