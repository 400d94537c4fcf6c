//! Everything that keeps an LXC configuration from being rewritten, all at once, each with what to do about it.

use super::change::{File, Need};
use super::paths::clean;
use crate::error::ErrorKind;
use crate::lxc::Finding;
use crate::rewrite::refusal::quoted;

/// One reason why a configuration is not rewritten.
///
/// `Display` says what is wrong, [`advice`](Refusal::advice) what to do, [`kind`](Refusal::kind) whose matter it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A line that is not understood.
    #[error("{file}:{line} is not UTF-8, or follows a NUL")]
    NotText {
        /// The file.
        file: File,
        /// The line, from 1.
        line: usize,
    },
    /// A line that LXC does not take, or that another version of it may take for anything.
    #[error("config:{line}: LXC does not take {text:?}")]
    NotTaken {
        /// The line as it is.
        text: String,
        /// Its number, from 1.
        line: usize,
    },
    /// Namespaces of this host or of another container.
    #[error("config:{line}: {key} = {value} puts the container into namespaces that are not its own")]
    Namespace {
        /// The key.
        key: String,
        /// The namespaces, or whose.
        value: String,
        /// The line, from 1.
        line: usize,
    },
    /// A kernel parameter that no namespace keeps in the container.
    #[error("config:{line}: {key} sets a kernel parameter of the whole host")]
    Sysctl {
        /// The key.
        key: String,
        /// The line, from 1.
        line: usize,
    },
    /// A value cannot be written.
    #[error(transparent)]
    Unwritable(#[from] crate::lxc::Error),
    /// A path of the source host.
    #[error("config:{line}: {key} names {path:?}, a path of the host it comes from")]
    Path {
        /// The key.
        key: String,
        /// The path.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// A program that would run on this host.
    #[error("config:{line}: {key} runs {program:?} as root on this host")]
    Program {
        /// The key.
        key: String,
        /// The program.
        program: String,
        /// The line, from 1.
        line: usize,
    },
    /// A path of this host that is mounted.
    #[error("{file}:{line} mounts the host's {origin:?} at {target:?}")]
    Mount {
        /// The file.
        file: File,
        /// The line, from 1.
        line: usize,
        /// Where, from the container's root.
        target: String,
        /// What.
        origin: String,
    },
    /// A file system of a device or a server.
    #[error("{file}:{line} mounts a file system of type {fstype:?} at {target:?}")]
    ForeignMount {
        /// The file.
        file: File,
        /// The line, from 1.
        line: usize,
        /// Where, from the container's root.
        target: String,
        /// Its type.
        fstype: String,
    },
    /// The fstab is not in the archive.
    #[error("config:{line}: the file {path:?} of lxc.mount.fstab is not in the archive")]
    FstabNeeded {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// A mount that is not there.
    #[error("{flag} names {target:?}, the container has no such mount of the host{}", has(.known))]
    UnknownMount {
        /// The switch.
        flag: &'static str,
        /// The target.
        target: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// An interface that is not there.
    #[error("the container has no interface {interface:?}{}", has(.known))]
    UnknownInterface {
        /// The interface.
        interface: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// An interface of a type that does not have what is asked.
    #[error("the interface {interface:?} has no use for {what}")]
    InterfaceWithout {
        /// The interface.
        interface: String,
        /// What is asked.
        what: &'static str,
    },
    /// Two veth pairs of one name.
    #[error("two networks have the interface {name:?} on the host")]
    VethTwice {
        /// The name.
        name: String,
    },
    /// An old network of which an included file has all lines.
    #[error("network {number} is in an included file, and old keys cannot change it from outside")]
    OldNetworkIncluded {
        /// The network.
        number: u32,
    },
    /// The configuration takes something for granted that is not so here.
    #[error("{}", lacking(.need))]
    Lacking {
        /// What.
        need: Need,
    },
    /// The configuration cannot be restored, or not be read, on this host.
    #[error("on this host: {finding}")]
    Found {
        /// What is wrong with it.
        finding: Finding,
    },
    /// A switch that means nothing to LXC.
    #[error("{flag} is not for containers of LXC")]
    Flag {
        /// The switch.
        flag: &'static str,
        /// What there is instead.
        instead: &'static str,
    },
    /// A value of the request that is none.
    #[error("{value:?} is no {what}")]
    Value {
        /// What it should be.
        what: &'static str,
        /// The value.
        value: String,
    },
}

impl Refusal {
    /// The class of this refusal.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotText { .. } | Self::NotTaken { .. } | Self::FstabNeeded { .. } => ErrorKind::Archive,
            Self::Path { .. }
            | Self::Program { .. }
            | Self::Mount { .. }
            | Self::ForeignMount { .. }
            | Self::Namespace { .. }
            | Self::Sysctl { .. } => ErrorKind::Policy,
            Self::Lacking { .. } | Self::Found { .. } => ErrorKind::Host,
            _ => ErrorKind::Usage,
        }
    }

    /// What the importer can do about it; `None` where nothing can be done from here.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let text = match self {
            Self::Path { path, .. } if clean(path).is_none() => format!("--allow-path {} takes it", quoted(path)),
            Self::Path { path, .. } => {
                let path = quoted(path);
                format!("--map-path {path}=PATH takes another path of this host, --allow-path {path} that one")
            }
            Self::Program { program, .. } => {
                let program = quoted(program);
                format!("--map-path {program}=PROGRAM takes one of this host, --allow-hooks lets all of them run")
            }
            Self::Mount { target, .. } => {
                let target = quoted(target);
                format!("--map-mount {target}=PATH takes another path of this host, --allow-mount {target} that one")
            }
            Self::ForeignMount { target, .. } => format!("--allow-mount {} allows it", quoted(target)),
            Self::VethTwice { .. } => "--veth INTERFACE=NAME gives one of them another".to_owned(),
            Self::OldNetworkIncluded { .. } => "have the old keys translated".to_owned(),
            Self::NotText { .. } | Self::NotTaken { .. } | Self::Namespace { .. } | Self::Sysctl { .. } => {
                "correct the line on the source host and export again".to_owned()
            }
            Self::Lacking { need } => lacking_advice(need),
            Self::Found { finding } => finding.advice(),
            Self::Flag { instead, .. } => (*instead).to_owned(),
            _ => return None,
        };
        Some(text)
    }
}

fn lacking(need: &Need) -> String {
    match need {
        Need::Path(path) => format!("the configuration needs {path:?}, which is not on this host"),
        Need::DirectoryOf(path) => format!("the directory of {path:?} is not on this host"),
        Need::Interface { name, inside } => {
            format!("this host has no interface {name:?}, which the container's {inside} is on")
        }
        Need::Bridge { name, inside } => {
            format!("this host has no bridge {name:?}, which the container's {inside} is in")
        }
        Need::SecurityFs => {
            "the container has an AppArmor profile, and CRIU sees no AppArmor here, as /sys/kernel/security is not mounted".to_owned()
        }
        Need::FreeInterface { name, inside } => {
            format!(
                "this host has an interface {name:?} already, as the other end of the container's {inside} is called"
            )
        }
    }
}

fn lacking_advice(need: &Need) -> String {
    match need {
        Need::Path(path) => {
            let path = quoted(path);
            format!("put it there, or take another: --map-mount for a mount, --map-path {path}=PATH for any other path")
        }
        Need::DirectoryOf(path) => format!("make it, or --map-path {}=PATH", quoted(path)),
        Need::Interface { inside, .. } => format!("make it, or --link {}=INTERFACE names another", quoted(inside)),
        Need::Bridge { inside, .. } => format!("make it, or --link {}=BRIDGE names another", quoted(inside)),
        Need::SecurityFs => "mount -t securityfs securityfs /sys/kernel/security".to_owned(),
        Need::FreeInterface { inside, .. } => format!("--veth {}=NAME gives it another name", quoted(inside)),
    }
}

fn has(known: &[String]) -> String {
    if known.is_empty() {
        "; it has none at all".to_owned()
    } else {
        format!("; it has {}", known.join(", "))
    }
}
