//! What this host can do: whether it can dump and restore containers at all, and what it lacks for which option.
//!
//! [`Facts::gather`] looks, [`checks`] judges; judging is pure. A check that is an error means that no export or import
//! can succeed here; a warning, that some will not. [`restorable`] does the same for one archive.

mod facts;
mod restorable;
mod version;

use std::borrow::Cow;

pub use facts::{CriuFacts, Facts};
pub use restorable::{Candidate, restorable};
pub use version::Version;

/// The first CRIU that starts on kernels of today.
const OLDEST_CRIU: Version = Version::new(4, 1);
/// The first kernel that refuses SO_PASSCRED on TCP sockets ...
const STRICT_KERNEL: Version = Version::new(6, 16);
/// ... and the first CRIU that does not ask for it.
const STRICT_CRIU: Version = Version::new(4, 2);
/// Space for CRIU's images below which a dump of more than a small container fails.
const SMALL_SPACE: u64 = 1 << 30;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Some things will not work.
    Warning,
    /// Nothing will work before this changes.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// How bad it is.
    pub level: Level,
    /// What was looked at.
    pub subject: &'static str,
    /// What was found.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Cow<'static, str>>,
}

impl Check {
    fn ok(subject: &'static str, message: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            subject,
            message: message.into(),
            advice: None,
        }
    }

    fn warning(subject: &'static str, message: impl Into<String>, advice: &'static str) -> Self {
        Self {
            level: Level::Warning,
            subject,
            message: message.into(),
            advice: Some(advice.into()),
        }
    }

    fn error(subject: &'static str, message: impl Into<String>, advice: &'static str) -> Self {
        Self {
            level: Level::Error,
            subject,
            message: message.into(),
            advice: Some(advice.into()),
        }
    }
}

/// Judges the facts.
#[must_use]
pub fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![privilege(facts)];
    checks.extend(criu(facts));
    checks.extend(runtimes(facts));
    checks.extend(facts.kernel.clone().map(|kernel| Check::ok("kernel", kernel)));
    checks.extend(tcp(facts));
    checks.extend(other_users(facts));
    checks.extend(memory_tracking(facts));
    checks.extend(space(facts));
    checks
}

fn privilege(facts: &Facts) -> Check {
    if facts.root {
        Check::ok("privilege", "root")
    } else {
        Check::error("privilege", "not root", "run it as root: sudo ckpt …")
    }
}

fn criu(facts: &Facts) -> Vec<Check> {
    let Some(criu) = &facts.criu else {
        return vec![Check::error(
            "criu",
            "not found in PATH",
            "install CRIU 4.1 or later (Debian and Ubuntu: criu)",
        )];
    };
    let advice = "install CRIU 4.1 or later: older ones do not start on kernels of today";
    let version = match criu.version {
        Some(version) if version >= OLDEST_CRIU => Check::ok("criu", format!("version {version}")),
        Some(version) => Check::warning("criu", format!("version {version}"), advice),
        None => Check::error("criu", "does not tell its version", advice),
    };
    let works = match &criu.problem {
        None => Check::ok("criu check", "CRIU works with this kernel"),
        Some(problem) if facts.root => {
            let advice =
                "look at `criu check`; the kernel needs CONFIG_CHECKPOINT_RESTORE, and containers all capabilities";
            Check::error("criu check", problem.clone(), advice)
        }
        // It has said above that root is missing; what CRIU says without is noise.
        Some(_) => return vec![version],
    };
    vec![version, works]
}

fn runtimes(facts: &Facts) -> Vec<Check> {
    if facts.runtimes.is_empty() {
        return vec![Check::error(
            "runtime",
            "neither runc nor crun was found in PATH",
            "install the one your containers use",
        )];
    }
    facts
        .runtimes
        .iter()
        .map(|version| Check::ok("runtime", version.clone()))
        .collect()
}

/// The kernel's own pair of trouble with an older CRIU.
fn tcp(facts: &Facts) -> Option<Check> {
    let kernel = Version::parse(facts.kernel.as_deref()?)?;
    let criu = facts.criu.as_ref()?.version?;
    (kernel >= STRICT_KERNEL && criu < STRICT_CRIU).then(|| {
        let message = format!("CRIU {criu} on kernel {kernel} cannot dump a process with a TCP socket");
        Check::warning("tcp", message, "install CRIU 4.2 or later")
    })
}

fn other_users(facts: &Facts) -> Option<Check> {
    (facts.root && !facts.sys_resource).then(|| {
        let message = "CAP_SYS_RESOURCE is missing: processes of other users than root cannot be dumped";
        Check::warning(
            "capabilities",
            message,
            "give it to this machine, or run such containers in a user namespace",
        )
    })
}

fn memory_tracking(facts: &Facts) -> Option<Check> {
    let criu = facts.criu.as_ref().filter(|_| facts.root)?;
    Some(if criu.memory_tracking {
        Check::ok("memory", "changes can be tracked: --pre-dump and --parent work")
    } else {
        let message = "changes cannot be tracked: no --pre-dump and no --parent; everything else works";
        Check::warning("memory", message, "only a kernel with CONFIG_MEM_SOFT_DIRTY can")
    })
}

fn space(facts: &Facts) -> Option<Check> {
    let (path, free) = facts.work_space.as_ref()?;
    let mebibytes = free >> 20;
    let message = format!("{}: {mebibytes} MiB free for CRIU's images", path.display());
    Some(if *free < SMALL_SPACE {
        Check::warning("space", message, "make room, or name another place with --work-path")
    } else {
        Check::ok("space", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn able() -> Facts {
        Facts {
            root: true,
            sys_resource: true,
            kernel: Some("6.12.1-amd64".into()),
            criu: Some(CriuFacts {
                version: Some(Version::new(4, 2)),
                problem: None,
                memory_tracking: true,
            }),
            runtimes: vec!["runc 1.1.15".into()],
            work_space: Some(("/var/lib/ckpt".into(), 1 << 40)),
        }
    }

    /// The subjects that are not ok, with their levels.
    fn found(facts: &Facts) -> Vec<(&'static str, Level)> {
        let checks = checks(facts).into_iter().filter(|check| check.level != Level::Ok);
        checks
            .inspect(|check| assert!(check.advice.is_some(), "{check:?}"))
            .map(|check| (check.subject, check.level))
            .collect()
    }

    #[test]
    fn an_able_host_has_nothing_to_say() {
        assert_eq!(found(&able()), []);
    }

    #[test]
    fn each_lack_is_told_with_advice() {
        type Change = fn(&mut Facts);
        let cases: [(Change, &[(&str, Level)]); 7] = [
            (|facts| facts.root = false, &[("privilege", Level::Error)]),
            (|facts| facts.criu = None, &[("criu", Level::Error)]),
            (|facts| facts.runtimes.clear(), &[("runtime", Level::Error)]),
            (|facts| facts.sys_resource = false, &[("capabilities", Level::Warning)]),
            (
                |facts| facts.work_space = Some(("/".into(), 5)),
                &[("space", Level::Warning)],
            ),
            (
                |facts| facts.criu.as_mut().unwrap().memory_tracking = false,
                &[("memory", Level::Warning)],
            ),
            (
                |facts| facts.criu.as_mut().unwrap().problem = Some("no".into()),
                &[("criu check", Level::Error)],
            ),
        ];
        for (change, want) in cases {
            let mut facts = able();
            change(&mut facts);
            assert_eq!(found(&facts), want);
        }
    }

    #[test]
    fn old_criu_is_told_apart() {
        let with = |criu, kernel: &str| {
            let mut facts = able();
            facts.criu.as_mut().unwrap().version = Some(criu);
            facts.kernel = Some(kernel.to_owned());
            found(&facts)
        };
        assert_eq!(with(Version::new(3, 17), "6.1.0"), [("criu", Level::Warning)]);
        assert_eq!(with(Version::new(4, 1), "6.15.9"), []);
        assert_eq!(with(Version::new(4, 1), "6.16.0-rc1"), [("tcp", Level::Warning)]);
        assert_eq!(with(Version::new(4, 2), "6.18.0"), []);
    }
}
