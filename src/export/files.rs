//! The container's files on their way into the archive: decided before it is frozen, taken while it is.

use std::path::{Path, PathBuf};

use crate::archive::{ArchivePath, SegmentWriter};
use crate::capture::{self, Part, devshm, open_files, rootfs, volumes};
use crate::error::Error;
use crate::event::{Event, Events};
use crate::manifest::{BindMount, DevShm, Filesystem, RootfsMode};
use crate::mounts::MountTable;
use crate::request::RootfsChoice;
use crate::runtime::{NamedVolume, Target};

/// Where shared memory is in a container. A bind mount there is the engine's, and its content always travels.
const DEVSHM: &str = "/dev/shm";

/// What will be taken.
#[derive(Debug)]
pub(super) struct Files {
    rootfs: rootfs::Plan,
    devshm: Option<SharedMemory>,
    volumes: Vec<Volume>,
    open: Option<open_files::Chosen>,
}

/// A bind mount at /dev/shm.
#[derive(Debug)]
struct SharedMemory {
    source: PathBuf,
    options: Vec<String>,
    warnings: Vec<String>,
}

/// A bind mount whose content travels.
#[derive(Debug)]
struct Volume {
    destination: String,
    name: String,
    source: PathBuf,
    entry: String,
}

impl Files {
    /// Decides what is taken; `binds` are the container's bind mounts, `with` the destinations of those that travel, `named`
    /// the volumes of an engine, which all travel.
    pub(super) fn plan(
        choice: RootfsChoice,
        target: &Target,
        binds: &[BindMount],
        with: &[String],
        named: &[NamedVolume],
    ) -> Result<Self, Error> {
        let table = MountTable::of_self()?;
        let wanted = match choice {
            RootfsChoice::Auto => rootfs::Wanted::Auto,
            RootfsChoice::Diff => rootfs::Wanted::Diff,
            RootfsChoice::Full => rootfs::Wanted::Full,
            RootfsChoice::None => rootfs::Wanted::None,
        };
        let asked = with
            .iter()
            .filter(|destination| !named.iter().any(|volume| volume.destination == **destination))
            .map(|destination| volume(destination, binds));
        let mut volumes = named.iter().map(engine_s).chain(asked).collect::<Result<Vec<_>, _>>()?;
        volumes.sort_by(|left, right| left.entry.cmp(&right.entry));
        Ok(Self {
            rootfs: rootfs::plan(wanted, &target.rootfs, &table)?,
            devshm: devshm::source(&target.spec, &target.bundle)
                .map(|source| shared_memory(source, &table))
                .transpose()?,
            volumes,
            open: None,
        })
    }

    /// Takes these files of the host, too.
    pub(super) fn with_open(&mut self, open: Option<open_files::Chosen>) {
        self.open = open;
    }

    /// Waits for what is still being looked at.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        Ok(self.rootfs.settle()?)
    }

    /// What the manifest says of it, once it is settled.
    pub(super) fn describe(&self) -> Filesystem {
        let mode = self.rootfs.mode();
        let entry = match mode {
            RootfsMode::None => None,
            RootfsMode::Diff => Some(capture::ROOTFS_DIFF),
            RootfsMode::Full => Some(capture::ROOTFS),
        };
        let volumes = self
            .volumes
            .iter()
            .map(|volume| (volume.name.clone(), volume.entry.clone()));
        Filesystem {
            rootfs: mode,
            base: self.rootfs.base().map(str::to_owned),
            entry: entry.map(str::to_owned),
            devshm: self.devshm.as_ref().map(|shm| DevShm {
                entry: capture::DEVSHM.to_owned(),
                options: shm.options.clone(),
            }),
            volumes: volumes.collect(),
        }
    }

    /// The bind mounts whose content travels: destination and entry.
    pub(super) fn mounts(&self) -> impl Iterator<Item = (&str, &str)> {
        let volumes = self
            .volumes
            .iter()
            .map(|volume| (volume.destination.as_str(), volume.entry.as_str()));
        volumes.chain(self.devshm.iter().map(|_| (DEVSHM, capture::DEVSHM)))
    }

    /// Takes everything, in the archive's order. The container is frozen meanwhile.
    pub(super) fn take(self, mut segment: SegmentWriter, events: &dyn Events) -> Result<(), Error> {
        let warn = |lines: Vec<String>| {
            lines
                .into_iter()
                .for_each(|message| events.emit(Event::Warning { message }))
        };
        let root = self.rootfs.capture()?;
        warn(root.warnings);
        root.parts.into_iter().try_for_each(|part| add(&mut segment, part))?;
        let mut volumes = self.volumes;
        // One may be mounted in several places.
        volumes.dedup_by(|left, right| left.entry == right.entry);
        for volume in volumes {
            let (part, lines) = volumes::capture(&volume.name, &volume.source)?;
            warn(lines);
            add(&mut segment, part)?;
        }
        if let Some(shm) = self.devshm {
            let (part, lines) = devshm::capture(&shm.source)?;
            warn(shm.warnings);
            warn(lines);
            add(&mut segment, part)?;
        }
        if let Some(open) = self.open {
            let (part, lines) = open.capture()?;
            warn(lines);
            add(&mut segment, part)?;
        }
        Ok(segment.finish()?)
    }
}

fn add(segment: &mut SegmentWriter, mut part: Part) -> Result<(), Error> {
    let entry = ArchivePath::try_from(part.name())?;
    segment.add(&entry, part.size(), |out| Ok::<_, Error>(part.write(out)?))
}

fn shared_memory(source: PathBuf, table: &MountTable) -> Result<SharedMemory, Error> {
    let (of_file_system, warnings) = devshm::options(&source, table)?;
    Ok(SharedMemory {
        options: mount_options(table, &source, of_file_system),
        warnings,
        source,
    })
}

/// The options of the mount itself (`nosuid`, `relatime`) before those of its file system: the new one needs both alike,
/// because in a user namespace CRIU can neither add nor take away the flags that are locked there.
fn mount_options(table: &MountTable, source: &Path, of_file_system: Vec<String>) -> Vec<String> {
    let mount = table
        .mount_of(source)
        .map(|mount| mount.options.as_slice())
        .unwrap_or_default();
    let mut options: Vec<String> = mount
        .iter()
        .map(|option| option.to_string_lossy().into_owned())
        .collect();
    for option in of_file_system {
        if !options.contains(&option) {
            options.push(option);
        }
    }
    options
}

fn engine_s(volume: &NamedVolume) -> Result<Volume, Error> {
    Ok(Volume {
        destination: volume.destination.clone(),
        name: volume.name.clone(),
        source: volume.source.clone(),
        entry: volumes::entry_name(&volume.name)?,
    })
}

fn volume(destination: &str, binds: &[BindMount]) -> Result<Volume, Error> {
    let bind = binds
        .iter()
        .find(|bind| bind.destination == destination)
        .ok_or_else(|| Error::NoSuchMount {
            destination: destination.to_owned(),
            known: binds.iter().map(|bind| bind.destination.clone()).collect(),
        })?;
    let name = destination.trim_matches('/').replace('/', "-");
    Ok(Volume {
        destination: destination.to_owned(),
        entry: volumes::entry_name(&name)?,
        name,
        source: PathBuf::from(&bind.source),
    })
}
