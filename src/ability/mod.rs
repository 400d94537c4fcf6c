//! What this host can do: whether it can dump and restore containers at all, and what it lacks for which option.
//!
//! [`Facts::gather`] looks, [`checks`] judges; judging is pure. A check that is an error means that no export or import
//! can succeed here; a warning, that some will not. [`restorable()`] does the same for one archive.

mod facts;
mod features;
mod restorable;

use std::borrow::Cow;

pub use facts::Facts;
pub use features::{Answers, FEATURES, Feature};
pub use restorable::{Candidate, restorable};

use crate::host::{Capability, Version};
use crate::request::RuntimeKind;

/// The first CRIU that starts on kernels of today.
const OLDEST_CRIU: Version = Version::new(4, 1, 0);
/// The first kernel that refuses SO_PASSCRED on TCP sockets ...
const STRICT_KERNEL: Version = Version::new(6, 16, 0);
/// ... and the first CRIU that does not ask for it.
const STRICT_CRIU: Version = Version::new(4, 2, 0);
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
    checks.push(Check::ok("kernel", facts.host.kernel.clone()));
    checks.extend(tcp(facts));
    checks.extend(capabilities(facts));
    checks.extend(criu_s_answers(facts));
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
    let Some(criu) = &facts.host.criu else {
        let advice = "install CRIU 4.1 or later (Debian and Ubuntu: criu)";
        return vec![Check::error("criu", "no working criu in PATH", advice)];
    };
    let message = format!("version {}", criu.version);
    let version = if criu.version.version >= OLDEST_CRIU {
        Check::ok("criu", message)
    } else {
        Check::warning(
            "criu",
            message,
            "install CRIU 4.1 or later: older ones do not start on kernels of today",
        )
    };
    let problem = facts.answers.as_ref().and_then(|answers| answers.problem.as_ref());
    match problem {
        None => vec![
            version,
            Check::ok("criu check", "works with this kernel, for containers and processes"),
        ],
        Some(problem) if facts.root => {
            let advice = "look at `criu check`; the kernel needs CONFIG_CHECKPOINT_RESTORE, and this machine's containers \
                          need capabilities";
            vec![version, Check::error("criu check", problem.clone(), advice)]
        }
        // It was said above that root is missing; what CRIU says without is noise.
        Some(_) => vec![version],
    }
}

fn runtimes(facts: &Facts) -> Vec<Check> {
    let runtimes = &facts.host.runtimes;
    if facts.only == Some(RuntimeKind::Process) {
        return Vec::new();
    }
    if runtimes.is_empty() {
        let message = "no working runc or crun in PATH";
        return vec![Check::error(
            "runtime",
            message,
            "install the one that your containers use",
        )];
    }
    let found = runtimes
        .iter()
        .map(|(name, program)| format!("{name} {}", program.version));
    found.map(|message| Check::ok("runtime", message)).collect()
}

/// The kernel's own pair of trouble with an older CRIU.
fn tcp(facts: &Facts) -> Option<Check> {
    let kernel: Version = facts.host.kernel.parse().ok()?;
    let criu = &facts.host.criu.as_ref()?.version.version;
    (kernel >= STRICT_KERNEL && *criu < STRICT_CRIU).then(|| {
        let message = format!("CRIU {criu} on kernel {kernel} cannot dump a process with a TCP socket");
        Check::warning("tcp", message, "install CRIU 4.2 or later")
    })
}

/// Those that a dump of some containers needs; one who is not root lacks them all.
fn capabilities(facts: &Facts) -> Option<Check> {
    let has = |capability| facts.host.capabilities.has(capability);
    if !facts.root || has(Capability::CapSysResource) {
        return None;
    }
    let message = "CAP_SYS_RESOURCE is missing: processes of other users than root cannot be dumped";
    let advice = "give it to this machine, or run such containers in a user namespace";
    Some(Check::warning("capabilities", message, advice))
}

/// Which features there are. Without root CRIU cannot tell.
fn criu_s_answers(facts: &Facts) -> Vec<Check> {
    let answers = facts.answers.as_ref().filter(|_| facts.root);
    answers.map(Answers::checks).unwrap_or_default()
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
    use crate::host::{Capabilities, HostFacts, Program};

    fn answers() -> Answers {
        Answers {
            problem: None,
            processor: None,
            features: FEATURES.iter().map(|feature| (feature, true)).collect(),
            iptables: true,
        }
    }

    fn able() -> Facts {
        let program = |version: &str| Program {
            path: "/x".into(),
            version: version.parse().unwrap(),
        };
        let criu = Program {
            path: "/criu".into(),
            version: "4.2".parse().unwrap(),
        };
        let mut host = HostFacts::collect().unwrap();
        host.kernel = "6.12.1-amd64".into();
        host.capabilities = Capabilities::parse("CapEff: 1ffffffffff").unwrap();
        host.criu = Some(criu);
        host.runtimes = [("runc".to_owned(), program("1.1.15"))].into();
        Facts {
            root: true,
            host,
            answers: Some(answers()),
            only: None,
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
        let cases: [(Change, &[(&str, Level)]); 9] = [
            (|facts| facts.root = false, &[("privilege", Level::Error)]),
            (|facts| facts.host.criu = None, &[("criu", Level::Error)]),
            (
                |facts| facts.answers.as_mut().unwrap().problem = Some("no".into()),
                &[("criu check", Level::Error)],
            ),
            (|facts| facts.host.runtimes.clear(), &[("runtime", Level::Error)]),
            (
                |facts| facts.host.capabilities = without_resources(),
                &[("capabilities", Level::Warning)],
            ),
            (
                |facts| facts.answers.as_mut().unwrap().features[0].1 = false,
                &[("feature", Level::Warning)],
            ),
            (
                |facts| facts.answers.as_mut().unwrap().processor = Some("no".into()),
                &[("processor", Level::Warning)],
            ),
            (
                |facts| {
                    facts.host.runtimes.clear();
                    facts.only = Some(RuntimeKind::Process);
                },
                &[],
            ),
            (
                |facts| facts.work_space = Some(("/".into(), 5)),
                &[("space", Level::Warning)],
            ),
        ];
        for (change, want) in cases {
            let mut facts = able();
            change(&mut facts);
            assert_eq!(found(&facts), want);
        }
    }

    fn without_resources() -> Capabilities {
        Capabilities::parse("CapEff: 1fffeffffff").unwrap()
    }

    #[test]
    fn old_criu_is_told_apart() {
        let with = |criu: &str, kernel: &str| {
            let mut facts = able();
            facts.host.criu.as_mut().unwrap().version = criu.parse().unwrap();
            facts.host.kernel = kernel.to_owned();
            found(&facts)
        };
        assert_eq!(with("3.17.1", "6.1.0"), [("criu", Level::Warning)]);
        assert_eq!(with("4.1.1", "6.15.9"), []);
        assert_eq!(with("4.1.1", "6.16.0-amd64"), [("tcp", Level::Warning)]);
        assert_eq!(with("4.2.1", "6.18.0"), []);
    }

    #[test]
    fn what_only_root_can_know_is_not_told_to_others() {
        let mut facts = able();
        (facts.root, facts.host.capabilities) = (false, without_resources());
        let answers = facts.answers.as_mut().unwrap();
        (answers.problem, answers.features[0].1) = (Some("no".into()), false);
        assert_eq!(found(&facts), [("privilege", Level::Error)]);
    }
}
