//! `lxccg.img`: p.haul's record of a container's cgroups.
//!
//! One line for each hierarchy: its first controller, directly followed by the path of the root task's cgroup
//! (`cpuset/lxc/ct`). There is nothing else in it: no limits, owners, sub-cgroups or other tasks; named hierarchies are
//! left out. What version 2 is recorded as is the bare path, which p.haul would make below /sys/fs/cgroup itself.

use super::{Error, MAX_BYTES};
use crate::cgroup::Membership;

/// One line of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaulGroup {
    /// The hierarchy's first controller; `None` for version 2.
    pub controller: Option<String>,
    /// Path of the cgroup; begins with `/`, has no `..`.
    pub path: String,
}

/// Reads a record.
///
/// # Errors
/// [`Error::PhaulLine`] for a line that is no CONTROLLER/PATH, [`Error::TooLarge`].
pub fn read(text: &[u8]) -> Result<Vec<PhaulGroup>, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::TooLarge { bytes: text.len() });
    }
    let lines = text.split(|&byte| byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty());
    lines
        .map(|(index, line)| group(line).ok_or(Error::PhaulLine { line: index + 1 }))
        .collect()
}

fn group(line: &[u8]) -> Option<PhaulGroup> {
    let line = std::str::from_utf8(line).ok()?;
    let (controller, path) = line.split_at(line.find('/')?);
    let named = controller
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let clean = !path.contains('\0') && path.split('/').all(|part| part != "..");
    (named && clean).then(|| PhaulGroup {
        controller: (!controller.is_empty()).then(|| controller.to_owned()),
        path: path.to_owned(),
    })
}

/// What p.haul records of a process: the first controller of each hierarchy that has one, and version 2.
#[must_use]
pub fn of_memberships(memberships: &[Membership]) -> Vec<PhaulGroup> {
    let named = |membership: &&Membership| !membership.controllers.iter().any(|name| name.starts_with("name="));
    let groups = memberships.iter().filter(named).map(|membership| PhaulGroup {
        controller: membership.controllers.first().cloned(),
        path: membership.path.to_string_lossy().into_owned(),
    });
    groups.collect()
}

/// Writes a record, as p.haul reads it.
#[must_use]
pub fn write(groups: &[PhaulGroup]) -> String {
    let line = |group: &PhaulGroup| format!("{}{}\n", group.controller.as_deref().unwrap_or_default(), group.path);
    groups.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_controller_stands_for_the_hierarchy() {
        let proc = b"9:cpu,cpuacct:/lxc/ct\n8:cpuset:/lxc/ct\n1:name=systemd:/lxc/ct\n0::/lxc/ct\n";
        let text = write(&of_memberships(&Membership::parse(proc).unwrap()));
        assert_eq!(text, "cpu/lxc/ct\ncpuset/lxc/ct\n/lxc/ct\n");
        assert_eq!(write(&read(text.as_bytes()).unwrap()), text);
    }

    #[test]
    fn lines_that_are_none_are_refused() {
        for text in ["cpu\n", "ok/a\ncpu/../x\n", "a b/x\n", "\u{e9}/x"] {
            assert!(
                matches!(read(text.as_bytes()), Err(Error::PhaulLine { .. })),
                "{text:?}"
            );
        }
        assert_eq!(read(b"").unwrap(), []);
    }
}
