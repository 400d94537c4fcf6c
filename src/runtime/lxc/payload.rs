//! Where LXC will put a container that it restores in the version 2 hierarchy.
//!
//! LXC tells CRIU a new root for each controller, by name. CRIU knows the version 2 hierarchy without names, so a renamed
//! container would be restored into the cgroup that it was dumped in. ckpt names the root for the hierarchy as a whole; the
//! path is LXC's own rule (cgfsng.c): below the first process's cgroup, `lxc.payload.NAME` or what the configuration says.

use std::path::{Path, PathBuf};

use crate::cgroup::{HierarchyVersion, Membership};
use crate::lxc::{Effective, keys};
use crate::mounts::{Mount, MountTable};

/// The cgroup of a container where its configuration names none.
const PREFIX: &str = "lxc.payload.";
/// systemd's own cgroup, which LXC steps out of.
const INIT_SCOPE: &str = "/init.scope";
/// How often LXC tries another name.
const ATTEMPTS: u32 = 1000;
/// The first process of this PID namespace, below whose cgroup root's containers are.
const INIT: i32 = 1;

/// The version 2 hierarchy as LXC sees it.
struct Unified {
    /// Where it is mounted, and what of it is.
    mount: Mount,
    /// The cgroup below which LXC's are.
    base: PathBuf,
    /// Whether there are version 1 hierarchies beside it.
    is_beside: bool,
}

impl Unified {
    fn look(is_relative: bool) -> Option<Self> {
        let mounts = MountTable::of_self().ok()?;
        let unified = |membership: &&Membership| membership.version() == HierarchyVersion::V2;
        let whose = match is_relative {
            true => i32::try_from(std::process::id()).ok()?,
            false => INIT,
        };
        let memberships = Membership::of_process(whose).ok()?;
        let membership = memberships.iter().find(unified)?;
        let base = membership.path.to_str()?;
        let base = base.strip_suffix(INIT_SCOPE).filter(|_| !is_relative).unwrap_or(base);
        Some(Self {
            mount: membership.mount(&mounts)?.clone(),
            base: Path::new("/").join(base.trim_matches('/')),
            is_beside: mounts.iter().any(|mount| mount.fs_type == "cgroup"),
        })
    }

    fn directory(&self, path: &Path) -> PathBuf {
        let below = path.strip_prefix(&self.mount.root).unwrap_or(path);
        self.mount.mount_point.join(below.strip_prefix("/").unwrap_or(below))
    }
}

/// The cgroup, an absolute path; `None` where LXC does not use version 2 alone.
pub(super) fn unified(effective: &Effective, name: &str) -> Option<PathBuf> {
    let is_relative = effective
        .get("lxc.cgroup.relative")
        .is_some_and(|entry| entry.value == "1");
    let unified = Unified::look(is_relative).filter(|unified| !unified.is_beside)?;
    let taken = |path: &Path| unified.directory(path).exists();
    free(unified.base.clone(), &wanted(effective, name), taken)
}

/// Where `lxc-checkpoint` would crash before it does anything: LXC up to 7.0 frees memory that it never had
/// (`controllers` in `exec_criu`) when the version 2 hierarchy has no controllers to give.
pub(super) fn deadly() -> Option<PathBuf> {
    let unified = Unified::look(false)?;
    let directory = unified.directory(&unified.base);
    let controllers = std::fs::read_to_string(directory.join("cgroup.controllers")).ok()?;
    controllers.trim().is_empty().then_some(unified.mount.mount_point)
}

/// Whether the monitor of the container whose first process is `pid` was made by a restore on a host with version 2 alone. In
/// LXC up to 7.0 a restore does not look whether that has a freezer, and the monitor then says that it has none.
pub(super) fn is_without_freezer(pid: i32) -> bool {
    let alone = Unified::look(false).is_some_and(|unified| !unified.is_beside);
    alone && monitor_of(pid).is_some_and(|program| program.ends_with(super::CHECKPOINT))
}

/// The program that a container's monitor was started as.
fn monitor_of(pid: i32) -> Option<PathBuf> {
    let monitor = crate::process::Process::of(pid).ok()?.ppid;
    std::fs::read_link(format!("/proc/{monitor}/exe")).ok()
}

/// The cgroup below LXC's base, and whether LXC may take another name.
fn wanted(effective: &Effective, name: &str) -> (String, bool) {
    let value = |key| effective.get(key).map(|entry| entry.value.trim_matches('/').to_owned());
    match (value("lxc.cgroup.dir.container"), value(keys::CGROUP_DIR)) {
        (Some(path), _) => (path, false),
        (None, Some(parent)) => (format!("{parent}/{PREFIX}{name}"), true),
        (None, None) => (format!("{PREFIX}{name}"), true),
    }
}

fn free(base: PathBuf, (wanted, may_change): &(String, bool), taken: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let path = base.join(wanted);
    if !may_change || !taken(&path) {
        return Some(path);
    }
    let others = (1..ATTEMPTS).map(|number| base.join(format!("{wanted}-{number}")));
    others.into_iter().find(|path| !taken(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lxc::{Config, Includes};

    #[test]
    fn the_cgroup_is_the_one_that_lxc_takes() {
        for (config, existing, expected) in [
            ("", "", "/init/lxc.payload.c1"),
            ("lxc.cgroup.dir = guests\n", "", "/init/guests/lxc.payload.c1"),
            (
                "lxc.cgroup.dir.container = a/b\nlxc.cgroup.dir = x\n",
                "/init/a/b",
                "/init/a/b",
            ),
            ("", "/init/lxc.payload.c1", "/init/lxc.payload.c1-1"),
        ] {
            let config = Config::parse(config.as_bytes()).unwrap();
            let effective = Effective::new(&config, &Includes::new());
            let path = free("/init".into(), &wanted(&effective, "c1"), |path| {
                path == Path::new(existing)
            });
            assert_eq!(path.as_deref(), Some(Path::new(expected)), "{config:?}");
        }
    }
}
