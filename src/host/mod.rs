//! Facts about this host: what a manifest keeps of it, and whether it fits an archive from another one.
//!
//! [`HostFacts::collect`] looks, [`compare()`] judges; judging is pure. What this host can do at all, whatever the archive, is
//! the subject of [`ability`](crate::ability).

mod capability;
mod compare;
pub mod cpu;
pub mod program;
mod version;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

pub use capability::{Capabilities, Capability};
pub use compare::{Check, Subject, compare, compare_cgroups};
pub use program::{Program, ProgramError};
pub use version::{CriuVersion, NoVersion, Version};

use crate::cgroup;
use crate::error::ErrorKind;
use crate::manifest::{CgroupMode, Cpu, Host};
use crate::mounts::MountTable;
use crate::sys::{cpuid, probe, read};

/// The most of a file of /proc that is read, bytes: /proc/cpuinfo has 1.5 KiB for each of up to 8192 processors.
const MAX_PROC_FILE: u64 = 16 << 20;

/// What the manifest says of CRIU where there is none, as for a dump that somebody else has made.
const UNKNOWN: &str = "unknown";

/// What was found on this host.
#[derive(Debug, Clone)]
pub struct HostFacts {
    /// Release of the kernel, as `uname -r` prints it.
    pub kernel: String,
    /// The machine, as `uname -m` prints it.
    pub arch: String,
    /// The processor.
    pub cpu: Cpu,
    /// How cgroups are mounted; absent where they are not.
    pub cgroup_mode: Option<CgroupMode>,
    /// The controllers of all mounted hierarchies.
    pub controllers: Vec<String>,
    /// Size of a page of memory, bytes.
    pub page_size: u64,
    /// What this process may do.
    pub capabilities: Capabilities,
    /// Whether the kernel tracks changes of memory.
    pub memory_tracking: bool,
    /// Whether memory can be restored lazily.
    pub userfaultfd: bool,
    /// CRIU, where it is installed and answers.
    pub criu: Option<Program<CriuVersion>>,
    /// The container runtimes that are installed and answer, by name.
    pub runtimes: BTreeMap<String, Program>,
}

/// Why the facts could not be collected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of /proc could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The capabilities of this process are not told.
    #[error("/proc/self/status names no effective capabilities")]
    Capabilities,
    /// The mounts could not be read.
    #[error("cannot tell how cgroups are mounted")]
    Mounts {
        /// Why.
        source: crate::mounts::Error,
    },
    /// The cgroups could not be read.
    #[error("cannot tell what cgroups there are")]
    Cgroups {
        /// Why.
        source: cgroup::Error,
    },
    /// A program could not be asked for its version.
    #[error("cannot tell a program's version")]
    Program {
        /// Why.
        source: ProgramError,
    },
}

impl Error {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Host
    }
}

impl HostFacts {
    /// Looks at this host.
    ///
    /// # Errors
    /// When /proc is not as it should be. A program that is missing or does not answer is just absent.
    pub fn collect() -> Result<Self, Error> {
        let mounts = MountTable::of_self().map_err(|source| Error::Mounts { source })?;
        let hierarchies = cgroup::hierarchies(&mounts).map_err(|source| Error::Cgroups { source })?;
        let runtimes = [
            ("runc", program::runc()),
            ("crun", program::crun()),
            ("lxc", program::lxc()),
            ("podman", program::podman()),
        ];
        let runtimes = runtimes
            .into_iter()
            .filter_map(|(name, found)| Some((name.to_owned(), answering(found)?)));
        let Platform {
            kernel,
            arch,
            page_size,
        } = Platform::here();
        Ok(Self {
            kernel,
            arch,
            cpu: processor()?,
            cgroup_mode: cgroup::mode(&mounts),
            controllers: hierarchies
                .into_iter()
                .flat_map(|hierarchy| hierarchy.controllers)
                .collect(),
            page_size,
            capabilities: Capabilities::parse(&text("/proc/self/status")?).ok_or(Error::Capabilities)?,
            memory_tracking: probe::memory_tracking().unwrap_or(false),
            userfaultfd: probe::userfaultfd(),
            criu: answering(program::criu()),
            runtimes: runtimes.collect(),
        })
    }
}

/// What a manifest says of this host. Asks only what it needs: it is called while a container waits.
///
/// # Errors
/// When /proc is not as it should be, or CRIU is there and does not tell its version.
pub fn manifest() -> Result<Host, Error> {
    let mounts = MountTable::of_self().map_err(|source| Error::Mounts { source })?;
    let criu = program::criu().map_err(|source| Error::Program { source })?;
    let Platform {
        kernel,
        arch,
        page_size,
    } = Platform::here();
    Ok(Host {
        kernel,
        arch,
        cpu: processor()?,
        // Version 2 is the kernel's default hierarchy, mounted or not.
        cgroup_mode: cgroup::mode(&mounts).unwrap_or(CgroupMode::V2),
        criu: criu.map_or_else(|| UNKNOWN.to_owned(), |criu| criu.version.to_string()),
        page_size,
    })
}

/// What the kernel says without a file.
struct Platform {
    kernel: String,
    arch: String,
    page_size: u64,
}

impl Platform {
    fn here() -> Self {
        let uname = rustix::system::uname();
        Self {
            kernel: uname.release().to_string_lossy().into_owned(),
            arch: uname.machine().to_string_lossy().into_owned(),
            page_size: rustix::param::page_size() as u64,
        }
    }
}

fn processor() -> Result<Cpu, Error> {
    Ok(cpu::parse(&text("/proc/cpuinfo")?, cpuid::xsave_size()))
}

fn text(path: &str) -> Result<String, Error> {
    let bytes = read::bounded(Path::new(path), MAX_PROC_FILE);
    let bytes = bytes.map_err(|source| Error::Read {
        path: path.into(),
        source,
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A program that does not answer is worth no more than one that is not there.
fn answering<V>(found: Result<Option<Program<V>>, ProgramError>) -> Option<Program<V>> {
    found.unwrap_or_else(|error| {
        tracing::warn!(%error, "a program is left out");
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_described() {
        let facts = HostFacts::collect().unwrap();
        assert!(facts.kernel.parse::<Version>().is_ok(), "{}", facts.kernel);
        assert!(facts.page_size.is_power_of_two());
        assert!(!facts.cpu.flags.is_empty(), "{:?}", facts.cpu);
        let is_root = rustix::process::geteuid().is_root();
        assert!(is_root || !facts.capabilities.has(Capability::CapSysAdmin));
        let host = manifest().unwrap();
        assert_eq!(
            (host.kernel, host.arch, host.cpu),
            (facts.kernel, facts.arch, facts.cpu)
        );
        assert_eq!(host.criu == UNKNOWN, facts.criu.is_none());
    }
}
