//! What an export does for a container of LXC alone: its configuration is judged before anything is frozen, and travels.

use std::fs;
use std::io;
use std::path::Path;

use crate::cgroup::Membership;
use crate::error::Error;
use crate::event::{Event, Events};
use crate::lxc::phaul;
use crate::lxc::source::PHAUL_ENTRY;
use crate::runtime::{self, Target};

/// Refuses what LXC or CRIU cannot checkpoint, and tells what will not be the same.
pub(super) fn judge(target: &Target, events: &dyn Events) -> Result<(), Error> {
    let Some(facts) = &target.lxc else { return Ok(()) };
    // lxc-checkpoint takes nothing but a container that runs.
    if target.status != "running" {
        let (id, status) = (target.id.clone(), target.status.clone());
        return Err(runtime::Error::NotRunning { id, status }.into());
    }
    let (blocking, remarks): (Vec<_>, Vec<_>) = facts.findings.iter().cloned().partition(|finding| finding.blocks());
    if !blocking.is_empty() {
        let id = target.id.clone();
        return Err(runtime::Error::Blocked { id, findings: blocking }.into());
    }
    for finding in remarks {
        let message = format!("{finding}: {}", finding.advice());
        events.emit(Event::Warning { message });
    }
    Ok(())
}

/// Its entries in the archive, in their order: the cgroups in p.haul's form, the configuration and what that takes in.
pub(super) fn entries(target: &Target) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
    let Some(facts) = &target.lxc else {
        return Ok(Vec::new());
    };
    let groups = phaul::of_memberships(&Membership::of_process(target.pid)?);
    let mut entries = vec![(PHAUL_ENTRY, phaul::write(&groups).into_bytes())];
    entries.extend(facts.source.entries());
    Ok(entries)
}

/// The same for a dump that somebody else made: `lxccg.img` is where p.haul put it, among the images.
pub(super) fn foreign_entries(target: &Target, images: &Path) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
    let Some(facts) = &target.lxc else {
        return Ok(Vec::new());
    };
    let path = images.join(PHAUL_ENTRY);
    let mut entries = Vec::new();
    match fs::read(&path) {
        Ok(text) => {
            phaul::read(&text)?;
            entries.push((PHAUL_ENTRY, text));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("reading", path, error)),
    }
    entries.extend(facts.source.entries());
    Ok(entries)
}
