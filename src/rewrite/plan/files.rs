//! The bundle, the root file system and CRIU's images.

use std::path::Path;

use super::{Owner, Planner, Step, Warning};
use crate::manifest::RootfsMode;
use crate::rewrite::host::PathKind;
use crate::rewrite::layout::CONTAINERS_DIR;
use crate::rewrite::refusal::Refusal;
use crate::rewrite::spec::{namespaces, root};

/// Mode of a bundle that only root has to reach.
const PRIVATE_MODE: u32 = 0o700;
/// Mode of a bundle that root of a user namespace has to pass through.
const PASSABLE_MODE: u32 = 0o711;
/// Characters that overlayfs takes for separators in its options. It has an escape for them, which kernels before 6.8
/// and after read differently; a path without them means the same to all.
const OVERLAY_SEPARATORS: [char; 3] = [',', ':', '\\'];

/// The group of images that another user owns: a task of a user namespace opens images before it becomes that user, too, and
/// is then in the group of whoever restores.
const ROOT_GROUP: u32 = 0;

impl Planner<'_> {
    pub(super) fn plan_bundle(&mut self, user_namespace: bool) {
        let path = self.layout.bundle().to_owned();
        let problem = match self.look(&path) {
            None | Some(PathKind::Missing | PathKind::EmptyDirectory) => None,
            Some(PathKind::Directory) if self.request.replace && path.starts_with(CONTAINERS_DIR) => {
                self.set_aside(&path);
                None
            }
            Some(PathKind::Directory) => Some("is not empty"),
            Some(_) => Some("is no directory"),
        };
        if let Some(problem) = problem {
            self.refuse(Refusal::Bundle {
                path: path.clone(),
                problem,
            });
        }
        let mode = if user_namespace { PASSABLE_MODE } else { PRIVATE_MODE };
        self.steps.push(Step::MakeBundle { path, mode });
    }

    /// Makes room where an earlier import left a bundle.
    fn set_aside(&mut self, bundle: &Path) {
        if let Some(pid) = self.host.and_then(|host| host.bundle_user) {
            let path = bundle.to_owned();
            return self.refuse(Refusal::BundleUsed { path, pid });
        }
        self.steps.push(Step::SetAside {
            path: bundle.to_owned(),
            aside: self.layout.aside(),
        });
    }

    pub(super) fn plan_rootfs(&mut self) {
        self.read(root::read);
        let filesystem = &self.manifest.filesystem;
        match (filesystem.rootfs, self.request.ignore_rootfs) {
            (RootfsMode::None, _) => self.use_rootfs("the archive holds none of it"),
            (mode, true) => {
                self.use_rootfs("what the archive holds of it is ignored");
                if mode != RootfsMode::None {
                    self.warn(Warning::RootfsIgnored);
                }
            }
            (RootfsMode::Full, false) => self.extract_rootfs(),
            (RootfsMode::Diff, false) => self.overlay_rootfs(),
        }
    }

    fn use_rootfs(&mut self, reason: &'static str) {
        let Some(path) = self.request.root.clone() else {
            return self.refuse(Refusal::RootNeeded { reason });
        };
        self.need_directory(&path);
        self.write_root(&path);
        self.steps.push(Step::UseRootfs { path });
    }

    fn extract_rootfs(&mut self) {
        let path = self.request.root.clone().unwrap_or_else(|| self.layout.rootfs());
        if self.request.root.is_some() {
            let problem = match self.look(&path) {
                None | Some(PathKind::Missing | PathKind::EmptyDirectory) => None,
                Some(PathKind::Directory) => Some(
                    "is not empty, and the archive brings a full root file system (--ignore-rootfs uses it as it is)",
                ),
                Some(_) => Some("is no directory"),
            };
            if let Some(problem) = problem {
                self.refuse(Refusal::Root {
                    path: path.clone(),
                    problem,
                });
            }
        }
        self.write_root(&path);
        let entry = self.rootfs_entry("rootfs.tar");
        self.steps.push(Step::ExtractRootfs { entry, path });
    }

    fn overlay_rootfs(&mut self) {
        let Some(lower) = self.request.root.clone() else {
            return self.refuse(Refusal::RootNeeded {
                reason: "the archive holds only what was changed over it",
            });
        };
        self.need_directory(&lower);
        let separator = |path: &Path| path.to_str().is_some_and(|text| text.contains(OVERLAY_SEPARATORS));
        for (flag, path) in [("--root", &lower), ("--bundle", &self.layout.bundle().to_owned())] {
            if separator(path) {
                let problem = "holds a comma, colon or backslash, which an overlay cannot be mounted with";
                self.refuse(Refusal::Path {
                    flag,
                    path: path.clone(),
                    problem,
                });
            }
        }
        let here = self.host.and_then(|host| host.base.as_ref());
        if let (Some(archived), Some(here)) = (&self.manifest.filesystem.base, here)
            && archived != here
        {
            self.warn(Warning::BaseDiffers { root: lower.clone() });
        }
        let merged = self.layout.rootfs();
        self.write_root(&merged);
        let entry = self.rootfs_entry("rootfs-diff.tar");
        let (upper, work) = (self.layout.upper(), self.layout.work());
        self.steps.push(Step::OverlayRootfs {
            entry,
            lower,
            upper,
            work,
            merged,
        });
    }

    fn need_directory(&mut self, path: &Path) {
        match self.look(path) {
            Some(PathKind::Missing) => {
                self.refuse(Refusal::PathMissing {
                    flag: "--root",
                    path: path.to_owned(),
                });
            }
            Some(kind) if !kind.is_directory() => {
                self.refuse(Refusal::Root {
                    path: path.to_owned(),
                    problem: "is no directory",
                });
            }
            _ => {}
        }
    }

    fn rootfs_entry(&self, usual: &str) -> String {
        self.manifest
            .filesystem
            .entry
            .clone()
            .unwrap_or_else(|| usual.to_owned())
    }

    /// A root in the bundle is written relative to it, so that the bundle can be moved as a whole.
    fn write_root(&mut self, path: &Path) {
        let written = path.strip_prefix(self.layout.bundle()).unwrap_or(path);
        root::write(&mut self.editor, &written.to_string_lossy());
    }

    pub(super) fn plan_images(&mut self, user_namespace: bool) {
        let mapped = self.read(|spec| namespaces::mapped_root(spec, "uidMappings")).flatten();
        let owner = mapped
            .filter(|_| user_namespace)
            .map(|uid| Owner { uid, gid: ROOT_GROUP });
        let (path, external_netns) = (self.layout.images(), self.external_netns);
        self.steps.push(Step::PlaceImages {
            path,
            owner,
            external_netns,
        });
    }
}
