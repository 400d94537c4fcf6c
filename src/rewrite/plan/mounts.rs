//! The mounts: /dev/shm and what travels are ckpt's, mapped and allowed ones the importer's, all others are refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Planner, Step, Warning};
use crate::manifest::{BindMount, CgroupMode, FileType};
use crate::rewrite::host::PathKind;
use crate::rewrite::refusal::Refusal;
use crate::rewrite::spec::{clean, mounts, mounts::Mount, mounts::MountKind};

/// Where containers have POSIX shared memory.
const SHM: &str = "/dev/shm";
/// Name of a file that travels, in the directory of its own that it is put into.
pub(super) const FILE_NAME: &str = "content";
/// Options of a /dev/shm whose own are not known: what runc and crun give a container.
const DEFAULT_SHM: &[&str] = &["nosuid", "nodev", "noexec", "mode=1777", "size=65536k"];

impl Planner<'_> {
    pub(super) fn plan_mounts(&mut self) {
        let Some(mounts) = self.read(mounts::read) else { return };
        let maps = self.read_maps(&mounts, None);
        let mut shm_made = false;
        for mount in &mounts {
            match mount.kind {
                MountKind::Pseudo => self.check_cgroup_mount(mount),
                MountKind::Foreign => self.plan_foreign(mount),
                MountKind::Bind => {
                    if let Some(path) = maps.get(&mount.destination) {
                        self.plan_mapped(mount, path);
                    } else if mount.destination == SHM {
                        self.plan_shm(mount, &mut shm_made);
                    } else if let Some(content) = self.made_by_engine(mount) {
                        self.plan_made(mount, content);
                    } else if let Some((archived, entry)) = self.travels(mount) {
                        self.plan_travelling(mount, archived.file_type, entry);
                    } else {
                        self.plan_bind(mount);
                    }
                }
            }
        }
    }

    /// The request's maps by destination; what they or `--allow-mount` name must be there, or be what an engine mounts itself.
    pub(super) fn read_maps(&mut self, mounts: &[Mount], of_engine: Option<&str>) -> BTreeMap<String, PathBuf> {
        let of_host: Vec<&Mount> = mounts.iter().filter(|mount| mount.kind != MountKind::Pseudo).collect();
        let binds = || of_host.iter().filter(|mount| mount.kind == MountKind::Bind);
        let names = |mounts: &mut dyn Iterator<Item = &&Mount>| {
            let mut names: Vec<String> = mounts.map(|mount| mount.destination.clone()).collect();
            names.dedup();
            names
        };
        let mut maps = BTreeMap::new();
        for map in &self.request.map_mounts {
            let destination = clean(&map.destination);
            if !binds().any(|mount| mount.destination == destination) {
                let known = names(&mut binds());
                self.refuse_unknown("--map-mount", destination, "bind mount", known);
            } else if maps.insert(destination.clone(), map.source.clone()).is_some() {
                self.refuse(Refusal::MappedTwice { destination });
            }
        }
        for allowed in &self.request.allow_mounts {
            let destination = clean(allowed);
            let there = of_host.iter().any(|mount| mount.destination == destination);
            if !there && of_engine != Some(destination.as_str()) {
                let known = names(&mut of_host.iter());
                self.refuse_unknown("--allow-mount", destination, "mount of the host", known);
            }
        }
        maps
    }

    fn refuse_unknown(&mut self, flag: &'static str, destination: String, what: &'static str, known: Vec<String>) {
        self.refuse(Refusal::UnknownDestination {
            flag,
            destination,
            what,
            known,
        });
    }

    /// What the manifest says of a bind mount. Destinations can repeat, so the source decides between several.
    fn archived(&self, mount: &Mount) -> Option<&BindMount> {
        let there = || {
            self.manifest
                .bind_mounts
                .iter()
                .filter(|archived| clean(&archived.destination) == mount.destination)
        };
        there()
            .find(|archived| archived.source == mount.source)
            .or_else(|| there().next())
    }

    fn travels(&self, mount: &Mount) -> Option<(BindMount, String)> {
        let archived = self.archived(mount)?;
        Some((archived.clone(), archived.entry.clone()?))
    }

    fn plan_mapped(&mut self, mount: &Mount, path: &Path) {
        self.use_path(mount, path.to_owned());
        let shm = mount.destination == SHM && self.manifest.filesystem.devshm.is_some();
        if shm || self.travels(mount).is_some() {
            self.warn(Warning::ContentIgnored {
                destination: mount.destination.clone(),
            });
        }
    }

    pub(super) fn plan_bind(&mut self, mount: &Mount) {
        // A relative source is relative to the bundle, which is another one here; what it meant is a path of the old host.
        let origin = if mount.source.starts_with('/') {
            PathBuf::from(&mount.source)
        } else {
            PathBuf::from(clean(&format!("{}/{}", self.manifest.container.bundle, mount.source)))
        };
        if self.is_allowed(mount) {
            self.use_path(mount, origin);
        } else {
            let origin = origin.to_string_lossy().into_owned();
            self.refuse(Refusal::BindMount {
                destination: mount.destination.clone(),
                origin,
            });
        }
    }

    pub(super) fn plan_foreign(&mut self, mount: &Mount) {
        let Mount {
            destination,
            fstype,
            source,
            ..
        } = mount.clone();
        if self.is_allowed(mount) {
            self.steps.push(Step::UseMount {
                destination,
                origin: PathBuf::from(source),
            });
        } else {
            self.refuse(Refusal::ForeignMount {
                destination,
                fstype,
                origin: source,
            });
        }
    }

    pub(super) fn is_allowed(&self, mount: &Mount) -> bool {
        let named = || {
            self.request
                .allow_mounts
                .iter()
                .any(|allowed| clean(allowed) == mount.destination)
        };
        self.request.allow_all_mounts || named()
    }

    /// Takes a path of this host for a bind mount.
    pub(super) fn use_path(&mut self, mount: &Mount, origin: PathBuf) {
        let expected = self.archived(mount).map(|archived| archived.file_type);
        let destination = mount.destination.clone();
        match (self.look(&origin), expected) {
            (Some(PathKind::Missing), _) => {
                self.refuse(Refusal::SourceMissing {
                    destination: destination.clone(),
                    origin: origin.clone(),
                });
            }
            (Some(kind), Some(expected)) if kind.is_directory() != (expected == FileType::Directory) => {
                let (destination, origin) = (destination.clone(), origin.clone());
                self.refuse(Refusal::SourceType {
                    destination,
                    origin,
                    expected,
                });
            }
            _ => {}
        }
        mounts::set_source(&mut self.editor, mount.index, &origin.to_string_lossy());
        self.steps.push(Step::UseMount { destination, origin });
    }

    fn plan_shm(&mut self, mount: &Mount, made: &mut bool) {
        let path = self.layout.shm();
        mounts::set_source(&mut self.editor, mount.index, &path.to_string_lossy());
        if std::mem::replace(made, true) {
            return;
        }
        let (options, entry) = match &self.manifest.filesystem.devshm {
            Some(shm) => {
                let (kept, left): (Vec<String>, Vec<String>) =
                    shm.options.iter().cloned().partition(|option| is_shm_option(option));
                let left: Vec<String> = left.into_iter().filter(|option| !is_silent(option)).collect();
                if !left.is_empty() {
                    self.warn(Warning::ShmOptions { options: left });
                }
                (kept, Some(shm.entry.clone()))
            }
            None => {
                self.warn(Warning::ShmEmpty);
                (DEFAULT_SHM.iter().map(|option| (*option).to_owned()).collect(), None)
            }
        };
        self.steps.push(Step::MakeShm { path, options, entry });
    }

    fn plan_travelling(&mut self, mount: &Mount, file_type: FileType, entry: String) {
        let path = self.layout.mounts().join(mount.index.to_string());
        let origin = match file_type {
            FileType::Directory => path.clone(),
            FileType::File => path.join(FILE_NAME),
        };
        mounts::set_source(&mut self.editor, mount.index, &origin.to_string_lossy());
        let destination = mount.destination.clone();
        self.steps.push(Step::PutMount {
            destination,
            entry,
            file_type,
            path,
            origin,
        });
    }

    /// CRIU restores cgroup mounts as they were; another version's cannot be.
    pub(super) fn check_cgroup_mount(&mut self, mount: &Mount) {
        let unified = |mode: CgroupMode| mode == CgroupMode::V2;
        let archived = self.manifest.host.cgroup_mode;
        let differs = archived != CgroupMode::Unknown && unified(archived) != unified(self.cgroup.mode);
        if differs && matches!(mount.fstype.as_str(), "cgroup" | "cgroup2") {
            self.warn(Warning::CgroupMode {
                destination: mount.destination.clone(),
            });
        }
    }
}

/// Options of a tmpfs that are set again. The list is closed, as the values come from the archive and go to mount(2).
pub(super) fn is_shm_option(option: &str) -> bool {
    match option.split_once('=') {
        None => matches!(
            option,
            "nosuid" | "nodev" | "noexec" | "noatime" | "nodiratime" | "relatime" | "noswap"
        ),
        Some(("size", value)) => is_number(value.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', '%']).unwrap_or(value)),
        Some(("nr_inodes" | "nr_blocks", value)) => {
            is_number(value.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']).unwrap_or(value))
        }
        Some(("mode" | "uid" | "gid", value)) => is_number(value),
        Some(("huge", value)) => matches!(value, "never" | "always" | "within_size" | "advise"),
        Some(_) => false,
    }
}

fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit())
}

/// Options that a tmpfs has by itself; nobody misses them.
fn is_silent(option: &str) -> bool {
    matches!(option, "rw" | "inode32" | "inode64" | "seclabel" | "shared" | "private")
}
