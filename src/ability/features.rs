//! What CRIU says of this kernel: whether it works at all, which of its features there are, whether it knows this processor.
//!
//! Asked over RPC where RPC can tell; the other features by `criu check --feature`, which takes some milliseconds each.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Check, Level};
use crate::criu::{self, rpc::questions};
use crate::sys::programs;

/// What CRIU says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// Why its own check fails, if it does.
    pub problem: Option<String>,
    /// Why it does not know this processor, if it does not.
    pub processor: Option<String>,
    /// Each feature of [`FEATURES`] that it answered about.
    pub features: Vec<(&'static Feature, bool)>,
    /// Whether the program is there that CRIU locks networks with by default.
    pub iptables: bool,
}

/// A feature of the kernel, or of CRIU on it.
#[derive(Debug, PartialEq, Eq)]
pub struct Feature {
    /// CRIU's name.
    pub name: &'static str,
    /// What works with it.
    pub with: &'static str,
    /// What does not work without it, and what to do.
    pub without: (&'static str, &'static str),
}

const fn feature(name: &'static str, with: &'static str, without: &'static str, advice: &'static str) -> Feature {
    Feature {
        name,
        with,
        without: (without, advice),
    }
}

/// CRIU's name of the feature that lets memory be written while tasks run.
const MEM_TRACK: &str = "mem_dirty_track";
const LAZY: &str = "lazy_pages";
const PIDFD: &str = "pidfd_store";
/// CRIU's other way to lock a network.
const NFTABLES: &str = "network_lock_nftables";

/// The features that decide whether something of ckpt works.
pub static FEATURES: [Feature; 12] = [
    feature(
        MEM_TRACK,
        "incremental dumps (--pre-dump, --parent)",
        "no incremental dumps (--pre-dump, --parent); everything else works",
        "only a kernel with CONFIG_MEM_SOFT_DIRTY can",
    ),
    feature(
        LAZY,
        "memory that follows (import --lazy)",
        "memory cannot follow (import --lazy)",
        "use a kernel with CONFIG_USERFAULTFD, and run ckpt as root",
    ),
    feature(
        PIDFD,
        "pre-dumps told apart from processes that got the same number",
        "incremental dumps cannot tell a process from another that got its number",
        "use Linux 5.6 or later",
    ),
    feature(
        NFTABLES,
        "networks locked by nftables while they are dumped",
        "networks cannot be locked by nftables while they are dumped",
        "that is needed only where there is no iptables: install it, or a CRIU with nftables",
    ),
    feature(
        "clone3_set_tid",
        "process numbers given back at once",
        "process numbers are given back by a way that races with other processes",
        "use Linux 5.5 or later",
    ),
    feature(
        "timens",
        "clocks that go on from where they were",
        "monotonic clocks jump with a move to another host",
        "use Linux 5.6 or later, with CONFIG_TIME_NS",
    ),
    feature(
        "get_rseq_conf",
        "programs with restartable sequences (glibc 2.35 and later)",
        "programs with restartable sequences (glibc 2.35 and later) cannot be dumped",
        "use Linux 5.13 or later",
    ),
    feature(
        "seccomp_filters",
        "processes with seccomp filters",
        "processes with seccomp filters cannot be dumped",
        "use a kernel with CONFIG_SECCOMP_FILTER",
    ),
    feature(
        "userns",
        "user namespaces",
        "containers with a user namespace cannot be dumped",
        "use a kernel with CONFIG_USER_NS",
    ),
    feature(
        "overlayfs_maps",
        "files that are mapped from an overlay",
        "files that are mapped from an overlay may be named wrongly",
        "use Linux 6.5 or later",
    ),
    feature(
        "sk_unix_file",
        "Unix sockets bound to deleted or hidden files",
        "Unix sockets bound to deleted or hidden files cannot be dumped",
        "use Linux 5.4 or later",
    ),
    feature(
        "tcp_half_closed",
        "TCP connections that one side has closed",
        "TCP connections that one side has closed cannot be dumped",
        "use a kernel with CONFIG_INET_DIAG and TCP repair",
    ),
];

impl Answers {
    /// Asks the program `criu`.
    #[must_use]
    pub fn of(criu: &Path) -> Self {
        let told = questions::features(criu).unwrap_or_default();
        let by_rpc = |name| match name {
            MEM_TRACK => told.mem_track,
            LAZY => told.lazy_pages,
            PIDFD => told.pidfd_store,
            _ => None,
        };
        let features = FEATURES.iter().filter_map(|feature| {
            let has = by_rpc(feature.name).or_else(|| by_command(criu, feature.name));
            Some((feature, has?))
        });
        Self {
            problem: questions::check(criu).err().map(reason),
            processor: processor(criu).err().map(reason),
            features: features.collect(),
            iptables: programs::find("iptables-restore").is_some(),
        }
    }

    /// Judges them, but for [`Answers::problem`].
    pub(super) fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        let advice = "processes that use what CRIU does not know of this processor cannot be restored: update CRIU";
        checks.push(match &self.processor {
            None => Check::ok("processor", "known to CRIU"),
            Some(reason) => Check::warning("processor", reason.clone(), advice),
        });
        checks.push(self.lock());
        checks.extend(self.features.iter().map(|(feature, has)| {
            let text = |what| format!("{}: {what}", feature.name);
            if *has {
                return Check::ok("feature", text(feature.with));
            }
            let (what, advice) = feature.without;
            Check {
                level: if feature.name == NFTABLES && self.iptables {
                    Level::Ok
                } else {
                    Level::Warning
                },
                ..Check::warning("feature", text(what), advice)
            }
        }));
        checks
    }

    /// CRIU locks the network of a container while it dumps, so that no connection breaks.
    fn lock(&self) -> Check {
        if self.iptables {
            return Check::ok("network lock", "by iptables, CRIU's choice");
        }
        Check::warning(
            "network lock",
            "iptables-restore is missing: containers with a network of their own and TCP connections cannot be dumped",
            "install iptables",
        )
    }
}

/// `criu check --feature NAME`; `None` for one that this CRIU does not know.
fn by_command(criu: &Path, name: &str) -> Option<bool> {
    let output = Command::new(criu)
        .args(["check", "--feature", name])
        .env_remove("CRIU_CONFIG_FILE")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    (!text.contains("Unknown feature")).then(|| output.status.success())
}

/// Has CRIU describe this processor and compare it with itself.
fn processor(criu: &Path) -> Result<(), criu::Error> {
    let place = tempfile::tempdir().map_err(|source| criu::Error::Rpc {
        operation: "making a directory for",
        source,
    })?;
    questions::describe_cpu(criu, place.path())?;
    questions::cpu(criu, place.path())
}

/// Compares this processor with the one that an archive's `cpuinfo.img` describes.
pub(super) fn compare_processor(criu: &Path, image: &[u8]) -> Check {
    let compared = tempfile::tempdir()
        .and_then(|place| std::fs::write(place.path().join("cpuinfo.img"), image).map(|()| place))
        .map_err(|source| criu::Error::Rpc {
            operation: "making a directory for",
            source,
        })
        .and_then(|place| questions::cpu(criu, place.path()));
    match compared {
        Ok(()) => Check::ok("processor", "CRIU's own check: it can run what the archive's ran"),
        Err(error) => Check::error(
            "processor",
            reason(error),
            "import it on a host whose processor has all that the archive's has",
        ),
    }
}

fn reason(error: criu::Error) -> String {
    match error {
        criu::Error::Refused {
            message: Some(message), ..
        } => message.trim().to_owned(),
        error => std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(has: bool, iptables: bool) -> Answers {
        Answers {
            problem: None,
            processor: None,
            features: FEATURES.iter().map(|feature| (feature, has)).collect(),
            iptables,
        }
    }

    #[test]
    fn each_feature_has_a_line_that_names_it() {
        let checks = answers(true, true).checks();
        assert!(checks.iter().all(|check| check.level == Level::Ok), "{checks:?}");
        for feature in &FEATURES {
            assert!(checks.iter().any(|check| check.message.starts_with(feature.name)));
        }
        let checks = answers(false, false).checks();
        let lacks = checks
            .iter()
            .filter(|check| check.level == Level::Warning && check.advice.is_some());
        assert_eq!(lacks.count(), FEATURES.len() + 1, "each feature and the network lock");
    }

    #[test]
    fn what_another_way_does_as_well_is_not_missed() {
        let checks = answers(false, true).checks();
        let nftables = checks.iter().find(|check| check.message.starts_with(NFTABLES)).unwrap();
        assert_eq!(nftables.level, Level::Ok);
    }

    #[test]
    fn a_program_that_is_no_criu_says_nothing() {
        let answers = Answers::of(Path::new("/bin/false"));
        assert!(answers.problem.is_some() && answers.processor.is_some());
        assert!(answers.features.iter().all(|(_, has)| !has), "{answers:?}");
    }
}
