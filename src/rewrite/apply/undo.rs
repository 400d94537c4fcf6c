//! The guard: what was made, and how it is taken away again.

use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use super::mark::Mark;
use super::{remove, replace};
use crate::event::{Event, Events};
use crate::mounts::MountTable;

/// Something that a step made on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// A directory above others; it stays when somebody else put something into it meanwhile.
    Parent(PathBuf),
    /// A directory with everything in it.
    Tree(PathBuf),
    /// Everything in a directory that was there, and empty.
    Inside(PathBuf),
    /// A file.
    File(PathBuf),
    /// A file that made room for one of the archive's, or a bundle for a new one.
    Aside {
        /// Where it was.
        path: PathBuf,
        /// Where it is.
        aside: PathBuf,
    },
    /// A mount.
    Mount(PathBuf),
    /// A cgroup directory; the runtime may have put cgroups into it.
    Cgroup(PathBuf),
}

/// Something that could not be taken away.
#[derive(Debug, thiserror::Error)]
#[error("{path:?}: {source}")]
pub struct UndoFailure {
    /// What is still there.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

/// Takes away, on drop and in reverse order, what was noted.
pub(super) struct Undo<'a> {
    made: Vec<Made>,
    mark: Option<Mark>,
    events: &'a dyn Events,
}

impl std::fmt::Debug for Undo<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Undo").field("made", &self.made).finish_non_exhaustive()
    }
}

impl<'a> Undo<'a> {
    pub(super) fn new(events: &'a dyn Events) -> Self {
        Self {
            made: Vec::new(),
            mark: None,
            events,
        }
    }

    /// Notes something that was just made.
    pub(super) fn note(&mut self, made: Made) {
        self.made.push(made);
    }

    /// Marks the bundle, which was just made, as one of an import under way.
    pub(super) fn mark(&mut self, bundle: &Path) -> std::io::Result<()> {
        self.mark = Some(Mark::set(bundle)?);
        Ok(())
    }

    /// Takes the mark away: from here on the container may run.
    pub(super) fn unmark(&mut self) {
        if let Some(mark) = self.mark.take()
            && let Err(error) = mark.clear()
        {
            let message = format!("the mark of the import stays in the bundle: {error}");
            self.events.emit(Event::Warning { message });
        }
    }

    /// Keeps everything.
    pub(super) fn disarm(mut self) {
        self.unmark();
        for made in std::mem::take(&mut self.made) {
            let Made::Aside { aside, .. } = made else { continue };
            for failure in replace::remove(&aside) {
                let message = format!("what was replaced stays as {}: {failure}", aside.display());
                self.events.emit(Event::Warning { message });
            }
        }
    }

    /// Takes everything away now.
    pub(super) fn run(mut self) -> Vec<UndoFailure> {
        self.take_away()
    }

    fn take_away(&mut self) -> Vec<UndoFailure> {
        let mut failures = Vec::new();
        while let Some(made) = self.made.pop() {
            match &made {
                Made::Parent(path) => note(path, remove_parent(path), &mut failures),
                Made::Tree(path) => {
                    unmount_below(path, &mut failures);
                    failures.extend(remove::tree(path));
                }
                Made::Inside(path) => {
                    unmount_below(path, &mut failures);
                    failures.extend(remove::inside(path));
                }
                Made::File(path) => note(path, gone(rustix::fs::unlink(path)), &mut failures),
                Made::Aside { path, aside } => note(path, rustix::fs::rename(aside, path), &mut failures),
                Made::Mount(path) => note(path, take_mount_away(path), &mut failures),
                Made::Cgroup(path) => failures.extend(remove::cgroup(path)),
            }
        }
        failures
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        for failure in self.take_away() {
            let message = format!("left behind: {failure}");
            self.events.emit(Event::Warning { message });
        }
    }
}

fn note(path: &Path, result: Result<(), Errno>, failures: &mut Vec<UndoFailure>) {
    if let Err(errno) = result {
        failures.push(UndoFailure {
            path: path.to_owned(),
            source: errno.into(),
        });
    }
}

/// What is gone already was taken away by somebody; that is what was wanted.
pub(super) fn gone(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn remove_parent(path: &Path) -> Result<(), Errno> {
    match gone(rustix::fs::rmdir(path)) {
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY) => Ok(()),
        other => other,
    }
}

/// Unmounts what others left mounted in a directory of this import: a runtime that was killed leaves its `criu-root` in the
/// bundle. Nothing is lost by it, as only mount points go.
pub(super) fn unmount_below(path: &Path, failures: &mut Vec<UndoFailure>) {
    let Ok(path) = path.canonicalize() else { return };
    // Of this thread: the process's first one may be in another mount namespace.
    let Ok(table) = MountTable::of_process(rustix::thread::gettid().as_raw_nonzero().get()) else {
        return;
    };
    let mut points: Vec<&Path> = table.below(&path).map(|mount| mount.mount_point.as_path()).collect();
    points.sort_unstable();
    for point in points.into_iter().rev() {
        note(point, take_mount_away(point), failures);
    }
}

/// A mount that is still in use, by a process that the runtime has yet to reap, is detached: nobody can reach it any more,
/// and the kernel drops it with its last user.
fn take_mount_away(path: &Path) -> Result<(), Errno> {
    match unmount(path, UnmountFlags::NOFOLLOW) {
        Err(Errno::BUSY) => unmount(path, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH),
        // No mount point any more: the runtime or somebody else unmounted it.
        Err(Errno::INVAL) => Ok(()),
        other => gone(other),
    }
}
