//! Cgroups made and taken away: the parent of an import, and what a failed restore leaves.
//!
//! Only empty cgroups are removed, and only by `rmdir`, which the kernel refuses where a task is: nothing here can end a
//! process, and a cgroup that somebody else has begun to use stays.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::directory::Directory;
use super::hierarchy::HostHierarchy;
use super::plan::{Place, Step};
use super::record::{GroupPath, MAX_GROUPS};
use super::{ApplyPlan, Bound, Error, HierarchyVersion, TargetCgroups, apply};

/// How long a cgroup may stay busy after its last task was killed: the kernel takes a task out when it is reaped.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long to sleep between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// The cgroups below a directory, each after its parent; none where the directory is missing.
///
/// # Errors
/// [`Error::Read`] for another failure, [`Error::TooMuch`] above 16384.
pub fn below(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_path_buf()];
    while let Some(here) = pending.pop() {
        let entries = match std::fs::read_dir(&here) {
            Ok(entries) => entries,
            // Gone between being listed and being opened, or never there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::Read { path: here, source }),
        };
        let start = pending.len();
        for entry in entries {
            let entry = entry.map_err(|source| Error::Read {
                path: here.clone(),
                source,
            })?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(entry.path());
            }
        }
        found.extend(pending[start..].iter().cloned());
        Bound::Groups.check(found.len(), MAX_GROUPS)?;
    }
    Ok(found)
}

/// Removes a cgroup and those below it, as far as no task is in them; returns what stays.
///
/// # Errors
/// [`Error::Remove`] when a removal fails for another reason than a task, and those of [`below`].
pub fn remove_empty(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut all = vec![directory.to_path_buf()];
    all.extend(below(directory)?);
    remove_all(&all)
}

/// Removes cgroups, the last first; returns those that stay. All together wait no longer than [`PATIENCE`].
fn remove_all(directories: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let deadline = Instant::now() + PATIENCE;
    let mut left = Vec::new();
    for path in directories.iter().rev() {
        if !remove_one(path, deadline).map_err(|source| Error::Remove {
            path: path.clone(),
            source,
        })? {
            left.push(path.clone());
        }
    }
    left.reverse();
    Ok(left)
}

/// Whether the cgroup is gone. A busy one is tried again until the deadline.
fn remove_one(path: &Path, deadline: Instant) -> io::Result<bool> {
    loop {
        match rustix::fs::rmdir(path) {
            Ok(()) | Err(Errno::NOENT) => return Ok(true),
            Err(Errno::BUSY | Errno::NOTEMPTY) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(Errno::BUSY | Errno::NOTEMPTY) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The cgroups that are there before a restore, so that those which it adds can be told and removed.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The container's directories and whether each was there, with all that was below.
    before: Vec<(PathBuf, bool, Vec<PathBuf>)>,
}

impl Snapshot {
    /// Looks at the cgroups that a container will get. Give the container's own directories, not their parent: what other
    /// containers do beside it is not ours to remove.
    ///
    /// # Errors
    /// Those of [`below`].
    pub fn take(target: &TargetCgroups) -> Result<Self, Error> {
        let look = |directory: PathBuf| {
            let groups = below(&directory)?;
            Ok((directory.clone(), directory.exists(), groups))
        };
        let directories = target
            .hierarchies
            .iter()
            .filter(|here| !here.path.is_empty())
            .map(|here| here.directory());
        Ok(Self {
            before: directories.map(look).collect::<Result<_, Error>>()?,
        })
    }

    /// Removes the cgroups that have been added since, as far as no task is in them; returns what stays.
    ///
    /// # Errors
    /// Those of [`remove_empty`].
    pub fn remove_added(&self) -> Result<Vec<PathBuf>, Error> {
        let mut added = Vec::new();
        for (directory, was_there, before) in &self.before {
            if !was_there && directory.exists() {
                added.push(directory.clone());
            }
            added.extend(below(directory)?.into_iter().filter(|path| !before.contains(path)));
        }
        remove_all(&added)
    }
}

/// Cgroups that were made; dropping it removes them again unless [`keep`](Self::keep) was called.
#[derive(Debug, Default)]
#[must_use = "dropping it removes the cgroups"]
pub struct Created {
    directories: Vec<PathBuf>,
}

impl Created {
    /// The directories, parents first.
    #[must_use]
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Leaves the cgroups in place.
    pub fn keep(mut self) {
        self.directories.clear();
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        if let Err(error) = remove_all(&self.directories) {
            tracing::warn!(%error, "a cgroup stays behind");
        }
    }
}

/// Makes the cgroup that a container's is to be in, in every hierarchy, and what is above it. The runtimes make their own
/// cgroup below and enable the controllers of version 2 on the way.
///
/// # Errors
/// [`Error::Create`] names the cgroup that could not be made; what was made before is removed.
pub fn create_parent(hierarchies: &[HostHierarchy], parent: &GroupPath) -> Result<Created, Error> {
    let mut created = Created::default();
    for host in hierarchies {
        let mut group = GroupPath::default();
        for name in parent.names() {
            let above = Place {
                directory: host.mount_point.clone(),
                group: group.clone(),
            };
            group = group.join(name)?;
            let place = Place {
                directory: host.mount_point.clone(),
                group: group.clone(),
            };
            let failed = |source| Error::Create {
                path: place.path(),
                source,
            };
            if Directory::open(&above)
                .and_then(|directory| directory.create(name))
                .map_err(failed)?
            {
                created.directories.push(place.path());
                inherit_cpuset(host, &place)?;
            }
        }
    }
    Ok(created)
}

/// A cpuset of version 1 that is empty can hold no task, nor any cpuset below it.
fn inherit_cpuset(host: &HostHierarchy, place: &Place) -> Result<(), Error> {
    if host.version != HierarchyVersion::V1 || !host.has("cpuset") {
        return Ok(());
    }
    let plan = ApplyPlan {
        steps: vec![Step::InheritCpuset { place: place.clone() }],
        warnings: Vec::new(),
    };
    match apply(&plan).problems.into_iter().next() {
        Some(problem) => Err(Error::Create {
            path: place.path(),
            source: io::Error::other(problem),
        }),
        None => Ok(()),
    }
}
