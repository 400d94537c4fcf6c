//! A container's root file system: what of it is taken, and how.
//!
//! [`plan`] may run before the container is frozen: it decides, finds the layers of an overlay and begins to take their identity,
//! none of which a running container can change. [`Plan::capture`] runs while it is frozen.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::overlay::Overlay;
use super::{DELETED_FILES, Error, Part, ROOTFS, ROOTFS_DIFF, chain, warnings};
use crate::manifest::RootfsMode;
use crate::mounts::MountTable;
use crate::tree::{self, Changes, Layers, Namespace, Packer, Transient, TreePath, deleted, open_root};

/// How much of a root file system the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    /// What changed where that can be told, else all.
    #[default]
    Auto,
    /// What changed; refused where that cannot be told.
    Diff,
    /// All of it.
    Full,
    /// Nothing.
    None,
}

/// What will be taken of a root file system.
#[derive(Debug)]
pub struct Plan {
    rootfs: PathBuf,
    wanted: Wanted,
    taken: Taken,
    base: Option<String>,
    /// The base, which takes a look at every file of the layers: some hundredths of a second for an image of 10,000.
    under_way: Option<JoinHandle<Result<String, tree::Error>>>,
    warnings: Vec<String>,
}

#[derive(Debug)]
enum Taken {
    Nothing,
    All,
    Changes {
        upper: Option<OwnedFd>,
        lower: Layers,
        namespace: Namespace,
    },
}

/// What has been taken of a root file system.
#[derive(Debug)]
pub struct Capture {
    /// What the manifest says of it.
    pub mode: RootfsMode,
    /// The entries, in their order in the archive.
    pub parts: Vec<Part>,
    /// Of changes: the identity of the files below them.
    pub base: Option<String>,
    /// What the user should know, one line each.
    pub warnings: Vec<String>,
}

/// Decides what is taken of the root file system at `rootfs`, a path of this host. `mounts` are those of the mount namespace
/// that the path is of.
///
/// # Errors
/// [`Error::NotAnOverlay`] and [`Error::Layers`] where changes were asked for.
pub fn plan(wanted: Wanted, rootfs: &Path, mounts: &MountTable) -> Result<Plan, Error> {
    let simple = |taken| Plan {
        rootfs: rootfs.to_owned(),
        wanted,
        taken,
        base: None,
        under_way: None,
        warnings: Vec::new(),
    };
    match wanted {
        Wanted::None => Ok(simple(Taken::Nothing)),
        Wanted::Full => Ok(simple(Taken::All)),
        Wanted::Diff => changes(simple, rootfs, mounts),
        Wanted::Auto => match changes(simple, rootfs, mounts) {
            Err(Error::NotAnOverlay(_)) => Ok(simple(Taken::All)),
            Err(e) if is_of_layers(&e) => {
                let mut plan = simple(Taken::All);
                plan.take_all_for(&e);
                Ok(plan)
            }
            result => result,
        },
    }
}

/// Whether the changes of an overlay cannot be told, though all of it can be read.
const fn is_of_layers(error: &Error) -> bool {
    matches!(
        error,
        Error::Layers { .. }
            | Error::Pack {
                source: tree::Error::Redirected { .. },
                ..
            }
    )
}

/// The plan to take the changes.
fn changes(plan: impl FnOnce(Taken) -> Plan, rootfs: &Path, mounts: &MountTable) -> Result<Plan, Error> {
    let (upper, lower, namespace) = layers(rootfs, mounts)?;
    let (_, again, _) = layers(rootfs, mounts)?;
    let mut plan = plan(Taken::Changes {
        upper,
        lower,
        namespace,
    });
    plan.under_way = Some(thread::spawn(move || tree::identity(&again)));
    Ok(plan)
}

/// The layers of the overlay that is mounted on `rootfs`.
fn layers(rootfs: &Path, mounts: &MountTable) -> Result<(Option<OwnedFd>, Layers, Namespace), Error> {
    let real = std::fs::canonicalize(rootfs).map_err(|source| Error::Open {
        path: rootfs.to_owned(),
        source,
    })?;
    let mount = mounts.mount_at(&real);
    let Some(mount) = mount.filter(|mount| mount.fs_type == "overlay" && mount.root == Path::new("/")) else {
        return Err(Error::NotAnOverlay(rootfs.to_owned()));
    };
    let unusable = |source| Error::Layers {
        rootfs: rootfs.to_owned(),
        source,
    };
    let overlay = Overlay::parse(&mount.super_options).map_err(unusable)?;
    let (upper, lower) = overlay.open(&real).map_err(unusable)?;
    Ok((upper, lower, overlay.namespace))
}

fn pack_error(rootfs: &Path) -> impl Fn(tree::Error) -> Error {
    move |source| Error::Pack {
        root: rootfs.to_owned(),
        source,
    }
}

impl Plan {
    /// What the manifest will say.
    #[must_use]
    pub const fn mode(&self) -> RootfsMode {
        match self.taken {
            Taken::Nothing => RootfsMode::None,
            Taken::All => RootfsMode::Full,
            Taken::Changes { .. } => RootfsMode::Diff,
        }
    }

    /// Of changes, once [`Plan::settle`] was called: the identity of the files below them.
    #[must_use]
    pub fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// Waits for what is still being looked at. From here on the plan stays as it is.
    ///
    /// # Errors
    /// [`Error::Layers`] where changes were asked for; what cannot be read.
    pub fn settle(&mut self) -> Result<(), Error> {
        let Some(thread) = self.under_way.take() else {
            return Ok(());
        };
        let identity = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match identity.map_err(pack_error(&self.rootfs)) {
            Ok(base) => self.base = Some(base),
            Err(error) if self.wanted == Wanted::Auto && is_of_layers(&error) => self.take_all_for(&error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What changed cannot be told.
    fn take_all_for(&mut self, error: &Error) {
        self.taken = Taken::All;
        self.warnings.push(format!("{}: all of it is taken", chain(error)));
    }

    /// Measures what is taken.
    ///
    /// # Errors
    /// What cannot be read, with its path.
    pub fn capture(mut self) -> Result<Capture, Error> {
        self.settle()?;
        let mode = self.mode();
        let Self {
            rootfs,
            taken,
            base,
            mut warnings,
            ..
        } = self;
        let mut capture = Capture {
            mode,
            parts: Vec::new(),
            base,
            warnings: Vec::new(),
        };
        match taken {
            Taken::Nothing => {}
            Taken::All => capture.add_tree(ROOTFS, &rootfs, Packer::new(view(&rootfs)?))?,
            Taken::Changes { upper: None, .. } => {
                // A read-only overlay: nothing can have changed.
                let nothing = Packer::new(view(&rootfs)?).exclude(TreePath::root());
                capture.add_tree(ROOTFS_DIFF, &rootfs, nothing)?;
            }
            Taken::Changes {
                upper: Some(upper),
                lower,
                namespace,
            } => {
                capture.add_changes(&rootfs, upper, lower, namespace)?;
            }
        }
        warnings.append(&mut capture.warnings);
        capture.warnings = warnings;
        Ok(capture)
    }
}

impl Capture {
    fn add_tree(&mut self, name: &str, rootfs: &Path, packer: Packer) -> Result<(), Error> {
        let measured = packer.leave_out(CRIU_S).measure().map_err(pack_error(rootfs))?;
        self.warnings.extend(warnings(name, measured.report()));
        self.parts.push(Part::tree(name, rootfs, measured));
        Ok(())
    }

    fn add_changes(&mut self, rootfs: &Path, upper: OwnedFd, lower: Layers, namespace: Namespace) -> Result<(), Error> {
        let mut changes = Changes::new(upper, namespace);
        let merged = view(rootfs)?;
        let paths = changes
            .deleted(view(rootfs)?, lower, CRIU_S)
            .map_err(pack_error(rootfs))?;
        self.add_tree(ROOTFS_DIFF, rootfs, Packer::selecting(merged, changes))?;
        // Podman, too, has this entry only when something was deleted.
        if !paths.is_empty() {
            self.parts.push(Part::bytes(DELETED_FILES, deleted::format(&paths)));
        }
        Ok(())
    }
}

/// What CRIU makes in the container while it dumps, and takes away again: a place to look at mounts that are hidden (`mkdtemp`
/// of `cr-tmpfs.XXXXXX` in /tmp, or in / where there is none).
const CRIU_S: Transient = Transient {
    places: |directory| directory.is_root() || directory.as_bytes() == b"tmp",
    names: |name| {
        let suffix = name.to_bytes().strip_prefix(b"cr-tmpfs.");
        suffix.is_some_and(|suffix| suffix.len() == 6 && suffix.iter().all(u8::is_ascii_alphanumeric))
    },
};

/// Opens a root file system without what is mounted on directories in it: a clone of its mount alone where that is
/// allowed, so that files behind mount points are seen; else the path itself, where mount points are then not entered.
fn view(rootfs: &Path) -> Result<OwnedFd, Error> {
    let root = open_root(rootfs).map_err(|source| Error::Open {
        path: rootfs.to_owned(),
        source,
    })?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let clone = open_tree(root.as_fd(), "", flags).and_then(|clone| {
        // The clone only names the directory: it has to be opened for reading. That keeps its mount in use.
        openat(
            &clone,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    });
    Ok(clone.unwrap_or(root))
}
