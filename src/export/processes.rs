//! What an export of plain processes has beside that of a container: what stands in the way, told before anything is frozen, and
//! the listing of the tree and its files, made when it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::capture::open_files;
use crate::cgroup::{self, CgroupRecord, Hierarchy};
use crate::error::Error;
use crate::manifest::{DumpOptions, Namespace};
use crate::mounts::MountTable;
use crate::process::{self, Asked, FileKind, Listing, Survey, Tree};
use crate::request::ExportRequest;
use crate::runtime::{self, Target};
use crate::sys::pidns;

/// The listing of a tree that is about to be frozen.
#[derive(Debug)]
pub(super) struct Processes {
    pid: i32,
    survey: Survey,
    below: Vec<PathBuf>,
    /// CRIU works and logs there; the code that it runs in a task has the log open.
    work: PathBuf,
}

impl Processes {
    /// Looks at the tree while it runs: what is read now need not be read when it is frozen.
    pub(super) fn survey(request: &ExportRequest, target: &Target, work: &Path) -> Result<Self, Error> {
        let mut survey = Survey::new();
        survey
            .listing(&Tree::of(target.pid).map_err(runtime::Error::from)?)
            .map_err(runtime::Error::from)?;
        Ok(Self {
            pid: target.pid,
            survey,
            below: request.files_below.clone(),
            work: work.to_owned(),
        })
    }

    /// The tree as it is now that it is frozen, with those files marked whose content travels.
    pub(super) fn listing(&mut self) -> Result<Listing, Error> {
        let tree = Tree::of(self.pid).map_err(runtime::Error::from)?;
        let mut listing = self.survey.listing(&tree).map_err(runtime::Error::from)?;
        listing
            .files
            .retain(|file| !Path::new(&file.path).starts_with(&self.work));
        for file in &mut listing.files {
            let below = self
                .below
                .iter()
                .any(|directory| Path::new(&file.path).starts_with(directory));
            file.archived = below && file.kind == FileKind::Regular && !file.deleted;
        }
        Ok(listing)
    }
}

/// The record of the cgroups that hold the tree and nothing else, as that of a unit does; `None` where there are none. The limits
/// of a cgroup that others are in, too, are not the tree's to take along.
pub(super) fn cgroups(pid: i32, mounts: &MountTable) -> Result<Option<CgroupRecord>, Error> {
    let subject = cgroup::Subject {
        pid,
        mounts,
        directories: BTreeMap::default(),
    };
    let mut record = match cgroup::record(&subject) {
        // So many cgroups are below one that others are in.
        Err(cgroup::Error::TooMuch { .. }) => return Ok(None),
        record => record?,
    };
    let inside = Tree::of(pid).map_err(runtime::Error::from)?.pids();
    record.hierarchies.retain(|hierarchy| is_own(hierarchy, &inside));
    Ok((!record.hierarchies.is_empty()).then_some(record))
}

fn is_own(hierarchy: &Hierarchy, inside: &BTreeSet<i32>) -> bool {
    if hierarchy.groups.is_empty() {
        return false;
    }
    let directory = Path::new(&hierarchy.mount_point).join(hierarchy.path.as_str());
    let groups = hierarchy.groups.iter().map(|group| directory.join(group.path.as_str()));
    let mut members = groups.map(|group| fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default());
    members.all(|pids| {
        let mut pids = pids.lines().filter_map(|pid| pid.parse().ok());
        pids.all(|pid| inside.contains(&pid))
    })
}

/// The paths of the files whose content travels; `None` where there are none.
pub(super) fn travelling(listing: &Listing) -> Option<open_files::Chosen> {
    let paths = listing
        .files
        .iter()
        .filter(|file| file.archived)
        .map(|file| Path::new(&file.path));
    open_files::Chosen::of(paths)
}

/// The namespaces of a process that an import has to be told of: a network namespace that is not this host's.
pub(super) fn namespaces(pid: i32) -> Vec<Namespace> {
    let own_network = pidns::shares(pid, "net").is_ok_and(|shared| !shared);
    let network = own_network.then(|| Namespace {
        kind: "network".to_owned(),
        path: None,
    });
    network.into_iter().collect()
}

/// Says what stands in the way of a dump, all at once.
pub(super) fn judge(options: &DumpOptions, target: &Target) -> Result<(), Error> {
    let tree = Tree::of(target.pid).map_err(runtime::Error::from)?;
    let asked = Asked {
        shell_job: options.shell_job,
        ext_unix_sk: options.ext_unix_sk,
        tcp_established: options.tcp_established,
    };
    let troubles = process::troubles(&tree, asked).map_err(runtime::Error::from)?;
    if troubles.is_empty() {
        return Ok(());
    }
    Err(runtime::Error::from(process::Error::Troubles(troubles)).into())
}
