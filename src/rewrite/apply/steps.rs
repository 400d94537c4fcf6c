//! Each step of a preparation.

use std::ffi::CString;
use std::io::{Read, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountFlags, mount};

use super::undo::{Made, Undo};
use super::{Contents, Fault, owners, put_files, replace};
use crate::capture::DELETED_FILES;
use crate::manifest::FileType;
use crate::rewrite::plan::{FileContent, Owner, Plan, Step};
use crate::tree::{self, Namespace, Scope, TreePath};

/// Mode of directories above bundles: anybody may pass, nobody may look, as bundles decide for themselves.
const PARENT_MODE: u32 = 0o711;
/// Mode of a root file system's directory where the archive says none.
const ROOTFS_MODE: u32 = 0o755;
/// Mode of a file that everybody in a container reads.
const FILE_MODE: u32 = 0o644;
/// Bytes that are taken of a file of the host that a container gets a copy of.
const MAX_COPY: u64 = 1 << 20;
/// Mode of what only root reaches.
const PRIVATE_MODE: u32 = 0o700;

/// The steps under way.
pub(super) struct Run<'r, 'e> {
    pub(super) plan: &'r Plan,
    pub(super) contents: &'r mut dyn Contents,
    pub(super) undo: Undo<'e>,
}

impl Run<'_, '_> {
    /// Does one step.
    pub(super) fn step(&mut self, step: &Step) -> Result<(), Fault> {
        self.contents.proceed(step).map_err(Fault::Stopped)?;
        match step {
            Step::SetAside { path, aside } => self.set_aside(path, aside),
            Step::MakeBundle { path, mode } => self.make_bundle(path, *mode),
            Step::NewNetns { pin } => self.new_netns(pin),
            Step::MakeCgroup { directories, own, .. } => {
                directories.iter().try_for_each(|path| self.make_cgroup(path, *own))
            }
            Step::ExtractRootfs { entry, path } => self.extract_rootfs(entry, path),
            Step::OverlayRootfs {
                entry,
                lower,
                upper,
                work,
                merged,
            } => self.overlay_rootfs(entry, lower, [upper, work, merged]),
            Step::MakeShm { path, options, entry } => self.make_shm(path, options, entry.as_deref()),
            Step::PutMount {
                destination,
                entry,
                file_type,
                path,
                origin,
            } => {
                self.put_mount(entry, path)?;
                if *file_type == FileType::File {
                    one_file(path, origin, entry, destination)
                } else {
                    Ok(())
                }
            }
            Step::MakeFile {
                path, origin, content, ..
            } => self.make_file(path, origin, content),
            Step::PlaceImages {
                path,
                owner,
                external_netns,
            } => self.place_images(path, *owner, *external_netns),
            Step::PutFiles { entry, staging, files } => {
                self.put_mount(entry, staging)?;
                put_files::put(staging, files, &mut self.undo)
            }
            Step::WriteFstab { path } => {
                let fstab = self.plan.lxc.as_ref().and_then(|lxc| lxc.fstab.as_deref());
                self.write(path, fstab.unwrap_or_default().as_bytes())
            }
            Step::WriteConfig { path } => self.write_config(path),
            Step::UseRootfs { .. } | Step::UseMount { .. } => Ok(()),
            Step::Restore(_) | Step::LoopbackUp | Step::BringBack { .. } | Step::ApplyLimits { .. } => Ok(()),
            Step::PodmanRestore(_)
            | Step::FillVolume { .. }
            | Step::FillShm { .. }
            | Step::AppendLog { .. }
            | Step::ChangeRootfs { .. } => Ok(()),
        }
    }

    fn set_aside(&mut self, path: &Path, aside: &Path) -> Result<(), Fault> {
        // One that an import left which was killed when its container ran already: it was to be removed then.
        if let Some(failure) = replace::remove(aside).into_iter().next() {
            return Err(Fault::std("remove", aside)(failure.source));
        }
        rustix::fs::rename(path, aside).map_err(Fault::io("set aside", path))?;
        self.undo.note(Made::Aside {
            path: path.to_owned(),
            aside: aside.to_owned(),
        });
        Ok(())
    }

    fn make_bundle(&mut self, path: &Path, mode: u32) -> Result<(), Fault> {
        self.make_parents(path)?;
        self.make_or_take(path, mode)?;
        self.undo.mark(path).map_err(Fault::std("mark the bundle", path))
    }

    /// Makes the directories above `path` that are missing.
    fn make_parents(&mut self, path: &Path) -> Result<(), Fault> {
        let missing: Vec<&Path> = path.ancestors().skip(1).take_while(|above| !above.exists()).collect();
        for above in missing.into_iter().rev() {
            match std::fs::DirBuilder::new().mode(PARENT_MODE).create(above) {
                Ok(()) => self.undo.note(Made::Parent(above.to_owned())),
                // Another import made it in the same moment; it is that one's.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Fault::std("make the directory", above)(error)),
            }
        }
        Ok(())
    }

    /// Makes a directory, or takes one that is there and empty.
    fn make_or_take(&mut self, path: &Path, mode: u32) -> Result<(), Fault> {
        match std::fs::DirBuilder::new().mode(mode).create(path) {
            Ok(()) => {
                self.undo.note(Made::Tree(path.to_owned()));
                // The process's umask took its share of the mode.
                set_mode(path, mode)
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let mut entries = std::fs::read_dir(path).map_err(Fault::std("read the directory", path))?;
                if entries.next().is_some() {
                    let source = std::io::ErrorKind::DirectoryNotEmpty.into();
                    return Err(Fault::Io {
                        operation: "use the directory",
                        path: path.to_owned(),
                        source,
                    });
                }
                self.undo.note(Made::Inside(path.to_owned()));
                Ok(())
            }
            Err(error) => Err(Fault::std("make the directory", path)(error)),
        }
    }

    /// Makes a directory that must be new.
    fn make_directory(&mut self, path: &Path, mode: u32) -> Result<(), Fault> {
        std::fs::DirBuilder::new()
            .mode(mode)
            .create(path)
            .map_err(Fault::std("make the directory", path))?;
        self.undo.note(Made::Tree(path.to_owned()));
        set_mode(path, mode)
    }

    fn new_netns(&mut self, pin: &Path) -> Result<(), Fault> {
        let mut options = std::fs::OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(pin)
            .map_err(Fault::std("make the file", pin))?;
        self.undo.note(Made::File(pin.to_owned()));
        crate::sys::netns::create_pinned(pin).map_err(Fault::std("hold a new network namespace at", pin))?;
        self.undo.note(Made::Mount(pin.to_owned()));
        Ok(())
    }

    /// Makes the cgroups above the container's. The container's own, unless it is to be made, is left to the runtime, but noted:
    /// where the restore fails after the runtime made it, it goes too.
    fn make_cgroup(&mut self, path: &Path, own: bool) -> Result<(), Fault> {
        let missing: Vec<&Path> = path.ancestors().skip(1).take_while(|above| !above.exists()).collect();
        for cgroup in missing.into_iter().rev() {
            std::fs::create_dir(cgroup).map_err(Fault::std("make the cgroup", cgroup))?;
            self.undo.note(Made::Cgroup(cgroup.to_owned()));
            inherit_cpuset(cgroup)?;
        }
        if path.exists() {
            let source = std::io::ErrorKind::AlreadyExists.into();
            return Err(Fault::Io {
                operation: "use the cgroup",
                path: path.to_owned(),
                source,
            });
        }
        if own {
            std::fs::create_dir(path).map_err(Fault::std("make the cgroup", path))?;
        }
        self.undo.note(Made::Cgroup(path.to_owned()));
        if own { inherit_cpuset(path) } else { Ok(()) }
    }

    fn extract_rootfs(&mut self, entry: &str, path: &Path) -> Result<(), Fault> {
        self.make_parents(path)?;
        self.make_or_take(path, ROOTFS_MODE)?;
        self.unpack(entry, path, true)
    }

    fn overlay_rootfs(&mut self, entry: &str, lower: &Path, [upper, work, merged]: [&Path; 3]) -> Result<(), Fault> {
        for path in [upper, work, merged] {
            self.make_directory(path, PRIVATE_MODE)?;
        }
        // The merged root shows the upper layer's own attributes: without this "/" would be of mode 0700.
        copy_attributes(lower, upper)?;
        self.unpack_changes(entry, upper, lower)?;
        let (lower, upper, work) = (lower.display(), upper.display(), work.display());
        let data = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        self.mount("overlay", merged, MountFlags::empty(), &data)
    }

    fn make_shm(&mut self, path: &Path, options: &[String], entry: Option<&str>) -> Result<(), Fault> {
        self.make_directory(path, PRIVATE_MODE)?;
        let (flags, data): (Vec<_>, Vec<_>) = options.iter().partition(|option| flag_of(option).is_some());
        let flags = flags.into_iter().filter_map(|option| flag_of(option));
        // No flag is added to those of the source: in a user namespace CRIU could not take it away again.
        let flags = flags.fold(MountFlags::empty(), MountFlags::union);
        let data: Vec<&str> = data.into_iter().map(String::as_str).collect();
        self.mount("tmpfs", path, flags, &data.join(","))?;
        entry.map_or(Ok(()), |entry| self.unpack(entry, path, false))
    }

    fn put_mount(&mut self, entry: &str, path: &Path) -> Result<(), Fault> {
        self.make_parents(path)?;
        self.make_directory(path, ROOTFS_MODE)?;
        self.unpack(entry, path, false)
    }

    fn make_file(&mut self, path: &Path, origin: &Path, content: &FileContent) -> Result<(), Fault> {
        self.make_parents(path)?;
        self.make_directory(path, ROOTFS_MODE)?;
        let content = match content {
            FileContent::Text(text) => text.clone().into_bytes(),
            FileContent::CopyOf(file) => read_small(file)?,
        };
        std::fs::write(origin, content).map_err(Fault::std("write", origin))?;
        set_mode(origin, FILE_MODE)
    }

    /// The images are given away last: what is changed in them would be root's again.
    fn place_images(&mut self, path: &Path, owner: Option<Owner>, external_netns: bool) -> Result<(), Fault> {
        self.make_directory(path, PRIVATE_MODE)?;
        let failed = |source| Fault::Images {
            path: path.to_owned(),
            source,
        };
        self.contents.place_images(path).map_err(failed)?;
        if external_netns {
            self.contents.make_netns_external(path).map_err(failed)?;
        }
        owner.map_or(Ok(()), |owner| owners::give(path, owner))
    }

    fn mount(&mut self, kind: &str, at: &Path, flags: MountFlags, data: &str) -> Result<(), Fault> {
        let invalid = |_| Fault::std("mount", at)(std::io::ErrorKind::InvalidInput.into());
        let data = CString::new(data).map_err(invalid)?;
        mount(kind, at, kind, flags, data.as_c_str()).map_err(Fault::io("mount", at))?;
        self.undo.note(Made::Mount(at.to_owned()));
        Ok(())
    }

    /// Unpacks a whole tree into an empty directory.
    fn unpack(&mut self, entry: &str, into: &Path, devices: bool) -> Result<(), Fault> {
        let directory = open_directory(into)?;
        let options = options(&directory, into, devices)?;
        let mut content = self.open(entry)?;
        let unpacked = tree::apply_full(directory.as_fd(), &mut *content, options);
        unpacked.map(drop).map_err(|source| Fault::Tree {
            entry: entry.to_owned(),
            source,
        })
    }

    /// Unpacks the changes of an overlay into its upper layer, and hides there what the container deleted.
    fn unpack_changes(&mut self, entry: &str, upper: &Path, lower: &Path) -> Result<(), Fault> {
        let deleted = self.deleted_files()?;
        let (directory, below) = (open_directory(upper)?, open_directory(lower)?);
        let options = options(&directory, upper, true)?;
        let mut content = self.open(entry)?;
        let below = Some(below.as_fd());
        let unpacked = tree::apply_diff_overlay(
            directory.as_fd(),
            Namespace::Trusted,
            below,
            &mut *content,
            &deleted,
            options,
        );
        unpacked.map(drop).map_err(|source| Fault::Tree {
            entry: entry.to_owned(),
            source,
        })
    }

    /// The list of what the container deleted of the files below its changes; none where the archive has no such entry.
    fn deleted_files(&mut self) -> Result<Vec<TreePath>, Fault> {
        let entry = || DELETED_FILES.to_owned();
        let fault = |source| Fault::Entry { entry: entry(), source };
        let Some(content) = self.contents.open(DELETED_FILES).map_err(fault)? else {
            return Ok(Vec::new());
        };
        let limits = tree::deleted::Limits::default();
        let mut json = Vec::new();
        // One byte more than is allowed, so that what is too long is seen to be.
        let read = content.take(limits.bytes as u64 + 1).read_to_end(&mut json);
        read.map_err(|error| fault(error.into()))?;
        let source = |defect: tree::deleted::Defect| Fault::Tree {
            entry: entry(),
            source: defect.into(),
        };
        tree::deleted::parse(&json, &limits).map_err(source)
    }

    fn open(&mut self, entry: &str) -> Result<Box<dyn Read + '_>, Fault> {
        let fault = |source| Fault::Entry {
            entry: entry.to_owned(),
            source,
        };
        let content = self.contents.open(entry).map_err(fault)?;
        content.ok_or_else(|| Fault::MissingEntry {
            entry: entry.to_owned(),
        })
    }

    fn write_config(&mut self, path: &Path) -> Result<(), Fault> {
        if let Some(lxc) = &self.plan.lxc {
            return self.write(path, lxc.config.as_bytes());
        }
        let text = serde_json::to_vec_pretty(&self.plan.config).map_err(std::io::Error::from);
        let mut text = text.map_err(Fault::std("write", path))?;
        text.push(b'\n');
        self.write(path, &text)
    }

    fn write(&mut self, path: &Path, text: &[u8]) -> Result<(), Fault> {
        let write = || -> std::io::Result<()> {
            // It may hold secrets in the environment: root only.
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?;
            file.write_all(text)
        };
        self.undo.note(Made::File(path.to_owned()));
        write().map_err(Fault::std("write", path))
    }
}

/// How a tree is unpacked into `directory`: no more content than there is space for.
fn options(directory: &OwnedFd, path: &Path, devices: bool) -> Result<tree::Options, Fault> {
    let space = rustix::fs::fstatvfs(directory).map_err(Fault::io("measure the free space of", path))?;
    let bytes = space.f_bavail.saturating_mul(space.f_frsize);
    let limits = tree::Limits {
        bytes,
        ..tree::Limits::default()
    };
    Ok(tree::Options {
        limits,
        devices,
        scope: Scope::Everything,
    })
}

/// The content of a small file of this host; nothing where it is not there.
fn read_small(path: &Path) -> Result<Vec<u8>, Fault> {
    let mut content = Vec::new();
    match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(content),
        Err(error) => return Err(Fault::std("read", path)(error)),
        Ok(file) => file.take(MAX_COPY).read_to_end(&mut content),
    }
    .map_err(Fault::std("read", path))?;
    Ok(content)
}

fn open_directory(path: &Path) -> Result<OwnedFd, Fault> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(Fault::io("open the directory", path))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Fault> {
    rustix::fs::chmod(path, Mode::from_raw_mode(mode)).map_err(Fault::io("change the mode of", path))
}

/// Gives a directory the owner and mode of another.
fn copy_attributes(from: &Path, to: &Path) -> Result<(), Fault> {
    let stat = rustix::fs::stat(from).map_err(Fault::io("read the attributes of", from))?;
    let (uid, gid) = (
        rustix::fs::Uid::from_raw(stat.st_uid),
        rustix::fs::Gid::from_raw(stat.st_gid),
    );
    rustix::fs::chown(to, Some(uid), Some(gid)).map_err(Fault::io("change the owner of", to))?;
    set_mode(to, stat.st_mode & 0o7777)
}

/// A mount option that is a flag of mount(2).
fn flag_of(option: &str) -> Option<MountFlags> {
    Some(match option {
        "nosuid" => MountFlags::NOSUID,
        "nodev" => MountFlags::NODEV,
        "noexec" => MountFlags::NOEXEC,
        "noatime" => MountFlags::NOATIME,
        "nodiratime" => MountFlags::NODIRATIME,
        "relatime" => MountFlags::RELATIME,
        _ => return None,
    })
}

/// In version 1 a new cpuset has neither processors nor memory, and no task can enter it (ENOSPC).
fn inherit_cpuset(cgroup: &Path) -> Result<(), Fault> {
    // Only version 1 has this file; in version 2 an empty cpuset takes the parent's.
    if !cgroup.join("cgroup.clone_children").exists() {
        return Ok(());
    }
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (own, parents) = (cgroup.join(file), cgroup.parent().map(|above| above.join(file)));
        let Some(parents) = parents.filter(|_| own.exists()) else {
            continue;
        };
        let value = std::fs::read_to_string(&parents).map_err(Fault::std("read", &parents))?;
        std::fs::write(&own, value.trim_end()).map_err(Fault::std("write", &own))?;
    }
    Ok(())
}

/// Finds the one file that an entry put into `directory`, and gives it the name that the configuration has for it.
fn one_file(directory: &Path, origin: &PathBuf, entry: &str, destination: &str) -> Result<(), Fault> {
    let wrong = || Fault::NotOneFile {
        entry: entry.to_owned(),
        destination: destination.to_owned(),
    };
    let entries = std::fs::read_dir(directory).map_err(Fault::std("read the directory", directory))?;
    let entries: Vec<_> = entries
        .collect::<Result<_, _>>()
        .map_err(Fault::std("read the directory", directory))?;
    let [file] = entries.as_slice() else {
        return Err(wrong());
    };
    let kind = file
        .file_type()
        .map_err(Fault::std("read the attributes of", &file.path()))?;
    if !kind.is_file() {
        return Err(wrong());
    }
    std::fs::rename(file.path(), origin).map_err(Fault::std("rename", &file.path()))
}
