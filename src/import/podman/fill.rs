//! The files of the archive into the container that podman has made, before anything of it runs.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{configuration, text_at, view};
use crate::capture::DELETED_FILES;
use crate::error::Error;
use crate::event::{Event, Events, Phase};
use crate::import::Opened;
use crate::rewrite::plan::PodmanView;
use crate::rewrite::{Plan, Step};
use crate::tree::{self, Options, Scope, TreePath, deleted, open_root};

/// Where a container has its shared memory.
const SHM: &str = "/dev/shm";

/// Does the steps of a plan that concern files, in the container with this bundle.
pub(super) fn fill(
    plan: &Plan,
    bundle: &Path,
    podman: &PodmanView,
    archive: &mut impl Opened,
    events: &dyn Events,
) -> Result<(), Error> {
    events.emit(Event::Phase {
        phase: Phase::Files,
        total: None,
    });
    let config = configuration(bundle)?;
    for step in &plan.steps {
        match step {
            Step::FillVolume { name, entry, .. } => {
                let place = podman.volumes.join(name).join("_data");
                empty(&place)?;
                unpack(archive, entry, &place)?;
            }
            Step::FillShm { entry } => {
                // A container that shares the memory of its pod finds there what the others have.
                if let Some(place) = shm_of(&config, bundle) {
                    unpack(archive, entry, &place)?;
                }
            }
            Step::AppendLog { entry } => append_log(archive, entry, bundle)?,
            Step::ChangeRootfs { entry } => change_rootfs(archive, entry, &config)?,
            _ => {}
        }
    }
    Ok(())
}

/// The container's own /dev/shm on the host.
fn shm_of(config: &Value, bundle: &Path) -> Option<PathBuf> {
    let mounts = config.get("mounts").and_then(Value::as_array)?;
    let mount = mounts.iter().find(|mount| mount["destination"] == SHM)?;
    let source = PathBuf::from(mount["source"].as_str()?);
    source.starts_with(bundle).then_some(source)
}

fn change_rootfs(archive: &mut impl Opened, entry: &str, config: &Value) -> Result<(), Error> {
    let root = PathBuf::from(text_at(config, "/root/path").unwrap_or_default());
    let deleted = deleted_files(archive)?;
    let directory = open(&root)?;
    let options = options(&directory, &root)?;
    let mut content = content(archive, entry)?;
    let changed = tree::apply_diff_plain(directory.as_fd(), &mut content, &deleted, options);
    changed.map(drop).map_err(tree_error(entry))
}

/// Puts what the container said before what it will say. Its monitor has the file open, to append to it.
fn append_log(archive: &mut impl Opened, entry: &str, bundle: &Path) -> Result<(), Error> {
    let path = bundle.join(entry);
    let content = archive.open(entry).map_err(|source| view::unreadable(entry, source))?;
    let (Some(mut content), Ok(mut log)) = (content, File::options().append(true).open(&path)) else {
        // The archive has none, or podman keeps its logs elsewhere here.
        return Ok(());
    };
    let copied = std::io::copy(&mut content, &mut log);
    copied.map(drop).map_err(|error| Error::io("writing", &path, error))
}

/// What the container deleted of its image's files.
fn deleted_files(archive: &mut impl Opened) -> Result<Vec<TreePath>, Error> {
    let content = archive
        .open(DELETED_FILES)
        .map_err(|source| view::unreadable(DELETED_FILES, source))?;
    let Some(content) = content else { return Ok(Vec::new()) };
    let limits = deleted::Limits::default();
    let mut json = Vec::new();
    // One byte more than is allowed, so that what is too long is seen to be.
    let read = content.take(limits.bytes as u64 + 1).read_to_end(&mut json);
    read.map_err(|source| view::unreadable(DELETED_FILES, source.into()))?;
    deleted::parse(&json, &limits).map_err(|defect| tree_error(DELETED_FILES)(defect.into()))
}

fn unpack(archive: &mut impl Opened, entry: &str, into: &Path) -> Result<(), Error> {
    let directory = open(into)?;
    let options = options(&directory, into)?;
    let mut content = content(archive, entry)?;
    let unpacked = tree::apply_full(directory.as_fd(), &mut content, options);
    unpacked.map(drop).map_err(tree_error(entry))
}

fn content<'a>(archive: &'a mut impl Opened, entry: &str) -> Result<Box<dyn Read + 'a>, Error> {
    let missing = || std::io::Error::from(std::io::ErrorKind::NotFound).into();
    let content = archive.open(entry).map_err(|source| view::unreadable(entry, source))?;
    content.ok_or_else(|| view::unreadable(entry, missing()))
}

/// Takes everything out of a directory that podman has made for this container.
fn empty(directory: &Path) -> Result<(), Error> {
    let fault = |error| Error::io("emptying", directory, error);
    for entry in std::fs::read_dir(directory).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let path = entry.path();
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(&path),
            Ok(_) => std::fs::remove_file(&path),
            Err(error) => Err(error),
        };
        removed.map_err(|error| Error::io("removing", &path, error))?;
    }
    Ok(())
}

fn open(directory: &Path) -> Result<OwnedFd, Error> {
    open_root(directory).map_err(|error| Error::io("opening", directory, error))
}

/// No more content than there is space for.
fn options(directory: &OwnedFd, path: &Path) -> Result<Options, Error> {
    let space = rustix::fs::fstatvfs(directory);
    let space = space.map_err(|error| Error::io("measuring the free space of", path, error))?;
    let limits = tree::Limits {
        bytes: space.f_bavail.saturating_mul(space.f_frsize),
        ..tree::Limits::default()
    };
    Ok(Options {
        limits,
        devices: true,
        scope: Scope::Everything,
    })
}

fn tree_error(entry: &str) -> impl Fn(tree::Error) -> Error {
    let entry = entry.to_owned();
    move |source| Error::Tree {
        entry: entry.clone(),
        source,
    }
}
