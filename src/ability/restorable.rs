//! Whether this host can restore a given archive: what an import would refuse, would warn of, and how much room it needs.

use std::path::Path;

use super::{Check, Level, facts};
use crate::cgroup::CgroupRecord;
use crate::error::{Error, ErrorKind};
use crate::host::{self, HostFacts};
use crate::import;
use crate::lxc::Source;
use crate::manifest::Manifest;
use crate::process::Listing;
use crate::request::ImportRequest;
use crate::rewrite::podman::PodmanConfig;
use crate::rewrite::{self, Plan, Refusal, Spec};

/// What is known of an archive without reading all of it.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// Its configuration.
    pub spec: &'a Spec,
    /// Its cgroup record.
    pub cgroups: Option<&'a CgroupRecord>,
    /// Its processes and their files, where it is of processes.
    pub listing: Option<&'a Listing>,
    /// CRIU's description of the processor that it ran on, where the archive has one.
    pub cpuinfo: Option<&'a [u8]>,
    /// The configuration of a container of LXC.
    pub lxc: Option<&'a Source>,
    /// podman's configuration of the container, where the archive has one.
    pub podman: Option<&'a PodmanConfig>,
    /// Bytes of all entries together.
    pub content_bytes: u64,
}

/// Compares the hosts, rehearses the import, and judges what comes of it.
///
/// # Errors
/// Where this host cannot be looked at, or the archive's entries cannot be understood.
pub fn restorable(candidate: &Candidate<'_>, request: &ImportRequest, here: &HostFacts) -> Result<Vec<Check>, Error> {
    let mut checks: Vec<Check> = host::compare(candidate.manifest, here)
        .into_iter()
        .map(Check::from)
        .collect();
    checks.extend(
        candidate
            .cgroups
            .map(|record| host::compare_cgroups(record, here).into()),
    );
    let criu = here.criu.as_ref().zip(candidate.cpuinfo);
    checks.extend(criu.map(|(criu, image)| super::features::compare_processor(&criu.path, image)));
    checks.extend(rehearsed(candidate, request)?);
    Ok(checks)
}

/// What the import itself would say.
fn rehearsed(candidate: &Candidate<'_>, request: &ImportRequest) -> Result<Vec<Check>, Error> {
    let rehearsal = import::rehearse(
        request,
        import::Candidate {
            manifest: candidate.manifest,
            spec: candidate.spec,
            cgroups: candidate.cgroups,
            listing: candidate.listing,
            lxc: candidate.lxc,
            podman: candidate.podman,
        },
    );
    match rehearsal {
        Ok(plan) => {
            let files = candidate.listing.map(|listing| {
                Check::ok(
                    "files",
                    format!("{} are as the processes know them", listing.files.len()),
                )
            });
            let planned = planned(&plan, candidate.content_bytes);
            Ok(files.into_iter().chain(planned).collect())
        }
        Err(Error::Rewrite(rewrite::Error::Refused(refusals))) => Ok(refusals.iter().map(refused).collect()),
        Err(error) => Err(error),
    }
}

fn planned(plan: &Plan, content_bytes: u64) -> Vec<Check> {
    let place = match plan.podman() {
        Some(command) => format!("podman, whose image {} is the very one", command.image),
        None => plan.bundle.display().to_string(),
    };
    let message = format!("would go on as {} in {place}", plan.name);
    let mut checks = vec![Check::ok("import", message)];
    checks.extend(plan.warnings.iter().map(|warning| Check {
        level: Level::Warning,
        subject: "import",
        message: warning.to_string(),
        advice: None,
    }));
    checks.extend(room(&plan.bundle, content_bytes));
    checks
}

/// What the importer can settle with a flag is a warning; what has to change on this host is an error.
fn refused(refusal: &Refusal) -> Check {
    let advice = refusal.advice();
    let settled = match refusal.kind() {
        ErrorKind::Policy | ErrorKind::Usage => advice.is_some() && !matches!(refusal, Refusal::PreDump),
        _ => false,
    };
    Check {
        level: if settled { Level::Warning } else { Level::Error },
        subject: if settled { "needs a flag" } else { "import" },
        message: refusal.to_string(),
        advice: advice.map(Into::into),
    }
}

/// The files and images of an archive are unpacked once.
fn room(bundle: &Path, content_bytes: u64) -> Option<Check> {
    let (_, free) = facts::free_space(bundle)?;
    let (needed, free) = (content_bytes.div_ceil(1 << 20), free >> 20);
    let message = format!("{needed} MiB are needed for {}, {free} MiB are free", bundle.display());
    Some(if needed > free {
        Check::error("space", message, "make room, or name another place with --bundle")
    } else {
        Check::ok("space", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_flag_settles_is_a_warning() {
        let cases = [
            (
                Refusal::BindMount {
                    destination: "/d".into(),
                    origin: "/s".into(),
                },
                Level::Warning,
            ),
            (Refusal::NameTaken { name: "c1".into() }, Level::Warning),
            (Refusal::PreDump, Level::Error),
            (Refusal::NoRuntime { name: "runc" }, Level::Error),
            (
                Refusal::NamespacePath {
                    kind: "ipc".into(),
                    path: "/x".into(),
                },
                Level::Error,
            ),
        ];
        for (refusal, level) in cases {
            assert_eq!(refused(&refusal).level, level, "{refusal}");
        }
    }

    #[test]
    fn room_is_compared_with_what_is_needed() {
        assert_eq!(room(Path::new("/"), 1).map(|check| check.level), Some(Level::Ok));
        assert_eq!(
            room(Path::new("/"), u64::MAX).map(|check| check.level),
            Some(Level::Error)
        );
    }
}
