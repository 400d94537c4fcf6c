//! The container's files on their way into the archive: decided before it is frozen, taken while it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::archive::{ArchivePath, Sink, Writer};
use crate::capture::{self, Part, devshm, rootfs, volumes};
use crate::error::Error;
use crate::event::{Event, Events};
use crate::manifest::{BindMount, DevShm, Filesystem, RootfsMode};
use crate::mounts::MountTable;
use crate::request::RootfsChoice;
use crate::runtime::Target;

/// Where shared memory is in a container. A bind mount there is the engine's, and its content always travels.
const DEVSHM: &str = "/dev/shm";

/// What will be taken.
#[derive(Debug)]
pub(super) struct Files {
    rootfs: rootfs::Plan,
    devshm: Option<PathBuf>,
    volumes: Vec<Volume>,
    table: MountTable,
}

/// A bind mount whose content travels.
#[derive(Debug)]
struct Volume {
    destination: String,
    name: String,
    source: PathBuf,
}

/// What has been taken.
#[derive(Debug)]
pub(super) struct Captured {
    mode: RootfsMode,
    base: Option<String>,
    devshm: Option<DevShm>,
    volumes: BTreeMap<String, String>,
    mounts: Vec<(String, String)>,
    parts: Vec<Part>,
}

impl Files {
    /// Decides what is taken; `binds` are the container's bind mounts, `with` the destinations of those that travel.
    pub(super) fn plan(
        choice: RootfsChoice,
        target: &Target,
        binds: &[BindMount],
        with: &[String],
    ) -> Result<Self, Error> {
        let table = MountTable::of_self()?;
        let wanted = match choice {
            RootfsChoice::Auto => rootfs::Wanted::Auto,
            RootfsChoice::Diff => rootfs::Wanted::Diff,
            RootfsChoice::Full => rootfs::Wanted::Full,
            RootfsChoice::None => rootfs::Wanted::None,
        };
        Ok(Self {
            rootfs: rootfs::plan(wanted, &target.rootfs, &table)?,
            devshm: devshm::source(&target.spec, &target.bundle),
            volumes: with
                .iter()
                .map(|destination| volume(destination, binds))
                .collect::<Result<_, _>>()?,
            table,
        })
    }

    /// Measures everything. The container is frozen meanwhile.
    pub(super) fn capture(self, events: &dyn Events) -> Result<Captured, Error> {
        let warn = |lines: Vec<String>| {
            lines
                .into_iter()
                .for_each(|message| events.emit(Event::Warning { message }))
        };
        let root = self.rootfs.capture()?;
        warn(root.warnings);
        let mut captured = Captured {
            mode: root.mode,
            base: root.base,
            devshm: None,
            volumes: BTreeMap::new(),
            mounts: Vec::new(),
            parts: root.parts,
        };
        for volume in self.volumes {
            let (part, lines) = volumes::capture(&volume.name, &volume.source)?;
            warn(lines);
            captured.volumes.insert(volume.name, part.name().to_owned());
            captured.mounts.push((volume.destination, part.name().to_owned()));
            captured.parts.push(part);
        }
        if let Some(source) = self.devshm {
            let shm = devshm::capture(&source, &self.table)?;
            warn(shm.warnings);
            let options = mount_options(&self.table, &source, shm.options);
            let entry = shm.part.name().to_owned();
            captured.mounts.push((DEVSHM.to_owned(), entry.clone()));
            captured.devshm = Some(DevShm { entry, options });
            captured.parts.push(shm.part);
        }
        Ok(captured)
    }
}

impl Captured {
    /// What the manifest says of it.
    pub(super) fn describe(&self) -> Filesystem {
        let entry = match self.mode {
            RootfsMode::None => None,
            RootfsMode::Diff | RootfsMode::Full => self.parts.first().map(|part| part.name().to_owned()),
        };
        Filesystem {
            rootfs: self.mode,
            base: self.base.clone(),
            entry,
            devshm: self.devshm.clone(),
            volumes: self.volumes.clone(),
        }
    }

    /// The bind mounts whose content travels: destination and entry.
    pub(super) fn mounts(&self) -> &[(String, String)] {
        &self.mounts
    }

    /// Bytes of all parts.
    pub(super) fn size(&self) -> u64 {
        self.parts.iter().map(Part::size).sum()
    }

    /// Writes the parts, in the archive's order.
    pub(super) fn write(self, writer: &mut Writer<Sink>) -> Result<(), Error> {
        let mut parts = self.parts;
        // Volumes are in the order of their names; what is around them is in the archive's order already.
        parts.sort_by_key(|part| {
            part.name()
                .starts_with(capture::VOLUMES)
                .then(|| part.name().to_owned())
        });
        parts.sort_by_key(rank);
        for mut part in parts {
            let mut entry = writer.entry(&ArchivePath::try_from(part.name())?, part.size())?;
            part.write(&mut entry)?;
            entry.finish()?;
        }
        Ok(())
    }
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

fn rank(part: &Part) -> u8 {
    match part.name() {
        capture::ROOTFS | capture::ROOTFS_DIFF => 0,
        capture::DELETED_FILES => 1,
        capture::DEVSHM => 3,
        _ => 2,
    }
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
        name,
        source: PathBuf::from(&bind.source),
    })
}
