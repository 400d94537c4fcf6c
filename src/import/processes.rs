//! What an import of plain processes has of its own: the look at this host, and what is left to do when they run.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::describe;
use crate::cgroup::{self, CgroupRecord};
use crate::criu::rpc::questions;
use crate::error::Error;
use crate::event::{Event, Events};
use crate::manifest::Manifest;
use crate::mounts::MountTable;
use crate::process::{self, FILES_JSON, JOURNAL, Listing};
use crate::request::ImportRequest;
use crate::rewrite::processes::{self, OwnCgroup, ProcessInputs, ProcessView};
use crate::rewrite::{self, CONTAINERS_DIR, HostView, Layout, PathKind, Plan};
use crate::sys::programs;

/// The plan of an import of processes; see [`super::rehearse`].
pub(super) fn rehearse(
    request: &ImportRequest,
    manifest: &Manifest,
    listing: Option<&Listing>,
    record: Option<&CgroupRecord>,
) -> Result<Plan, Error> {
    let listing = listing.ok_or(Error::NoEntry { entry: FILES_JSON })?;
    let inputs = ProcessInputs {
        manifest,
        listing,
        request,
    };
    let place = processes::place(inputs);
    let bundle = HostView::look(&[place.clone()].into()).remove(&place);
    let view = ProcessView {
        bundle: bundle.unwrap_or(PathKind::Missing),
        criu: programs::find("criu").and_then(|criu| questions::version(&criu).ok()),
        here: process::compare(listing),
        terminal: io::stdin().is_terminal(),
        cgroup: own_cgroup(inputs, record)?,
        journal: Path::new(JOURNAL).exists(),
    };
    Ok(processes::plan(inputs, &view).map_err(rewrite::Error::from)?)
}

/// The tree's cgroup, and whether it is there.
fn own_cgroup(inputs: ProcessInputs<'_>, record: Option<&CgroupRecord>) -> Result<Option<OwnCgroup>, Error> {
    if record.is_none() && inputs.request.cgroup_parent.is_none() {
        return Ok(None);
    }
    let hierarchies = cgroup::hierarchies(&MountTable::of_self()?)?;
    let limits = describe::summary(record).limits;
    let here = describe::cgroup_view()?;
    let own = OwnCgroup::of(inputs, record, limits, (&here, &hierarchies));
    Ok(own.map(|own| OwnCgroup {
        there: own.directories.iter().find(|directory| directory.is_dir()).cloned(),
        ..own
    }))
}

/// Removes the images of processes that run: unlike a container they need no bundle. What the importer named stays, empty.
pub(super) fn clear(plan: &Plan, events: &dyn Events) {
    let layout = Layout::at(plan.bundle.clone());
    let removed = if plan.bundle.starts_with(CONTAINERS_DIR) {
        fs::remove_dir_all(&plan.bundle)
    } else {
        let staged = layout.bundle().join("files");
        fs::remove_dir_all(layout.images()).and_then(|()| {
            if staged.exists() {
                fs::remove_dir_all(staged)
            } else {
                Ok(())
            }
        })
    };
    if let Err(error) = removed {
        let message = format!("images stay behind in {}: {error}", plan.bundle.display());
        events.emit(Event::Warning { message });
    }
}

/// Waits for the end of a job that was restored onto the caller's terminal. Meanwhile this process keeps its place in the
/// terminal's foreground: if it ended, the shell would take the terminal back.
pub fn wait_for_job(pid: i32) {
    let Some(process) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return;
    };
    // Signals of the terminal are for the job.
    while poll(&mut [PollFd::new(&process, PollFlags::IN)], None).is_err() {}
}
