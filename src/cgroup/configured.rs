//! A record made of a configuration: for cgroups that somebody else recorded without their limits.

use std::collections::BTreeMap;

use super::Error;
use super::files::{self, Shape};
use super::record::{
    CgroupRecord, Group, GroupPath, Hierarchy, HierarchyVersion, Owner, RECORD_VERSION, Unread, UnreadReason,
};
use crate::manifest::CgroupMode;

/// Where hierarchies are mounted; of no importance for what is set.
const MOUNTS: &str = "/sys/fs/cgroup";
/// The multiples that the kernel takes for a number of bytes.
const MULTIPLES: [(char, u32); 3] = [('k', 10), ('m', 20), ('g', 30)];

/// A cgroup of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// The hierarchy's first controller; `None` for version 2.
    pub controller: Option<String>,
    /// The cgroup's path.
    pub path: String,
    /// Limit files and values as they are configured, for all controllers of that version.
    pub limits: BTreeMap<String, String>,
}

/// The record of these cgroups. Limits of a form that a configuration cannot give, those of devices above all, are among what
/// could not be read.
///
/// # Errors
/// [`Error::Path`] for a path that is none.
pub fn configured(groups: &[Configured]) -> Result<CgroupRecord, Error> {
    let unified = groups.iter().any(|group| group.controller.is_none());
    let mut record = CgroupRecord {
        version: RECORD_VERSION,
        mode: match (unified, groups.len()) {
            (true, 1) => CgroupMode::V2,
            (true, _) => CgroupMode::Hybrid,
            (false, _) => CgroupMode::V1,
        },
        hierarchies: Vec::new(),
        unread: Vec::new(),
    };
    for group in groups {
        let hierarchy = hierarchy(group, &mut record.unread)?;
        record.hierarchies.push(hierarchy);
    }
    Ok(record)
}

fn hierarchy(of: &Configured, unread: &mut Vec<Unread>) -> Result<Hierarchy, Error> {
    let version = match of.controller {
        Some(_) => HierarchyVersion::V1,
        None => HierarchyVersion::V2,
    };
    let mut limits = BTreeMap::new();
    let mut controllers: Vec<String> = of.controller.iter().cloned().collect();
    for (name, value) in &of.limits {
        let file = files::find(version, name);
        let other = file.is_some_and(|file| of.controller.as_ref().is_some_and(|own| *own != file.controller));
        if other {
            continue;
        }
        let plain = file.filter(|file| matches!(file.shape, Shape::Text | Shape::Bytes | Shape::Ids));
        let value = plain.map(|file| written(file.shape, value));
        match plain.zip(value).filter(|(file, value)| file.shape.accepts(value)) {
            Some((file, value)) => {
                limits.insert(name.clone(), value);
                if !file.controller.is_empty() && !controllers.iter().any(|known| known == file.controller) {
                    controllers.push(file.controller.to_owned());
                }
            }
            None => unread.push(Unread {
                what: name.clone(),
                reason: UnreadReason::Malformed,
            }),
        }
    }
    Ok(Hierarchy {
        version,
        mount_point: of
            .controller
            .as_ref()
            .map_or(MOUNTS.to_owned(), |name| format!("{MOUNTS}/{name}")),
        controllers,
        mount_root: "/".to_owned(),
        path: GroupPath::new(of.path.trim_matches('/'))?,
        groups: vec![Group {
            path: GroupPath::default(),
            owner: Owner {
                uid: 0,
                gid: 0,
                mode: "0755".to_owned(),
            },
            delegated: BTreeMap::new(),
            limits,
            device_limits: BTreeMap::new(),
            processes: Vec::new(),
            threads: Vec::new(),
        }],
    })
}

/// A number of bytes as the kernel shows it: `64M` is 67108864.
fn written(shape: Shape, value: &str) -> String {
    let last = value.chars().last().map(|letter| letter.to_ascii_lowercase());
    let multiple = MULTIPLES.iter().find(|(letter, _)| Some(*letter) == last);
    let number = multiple.and_then(|(_, bits)| {
        let number: u64 = value[..value.len() - 1].parse().ok()?;
        number.checked_mul(1 << bits)
    });
    match number.filter(|_| shape == Shape::Bytes) {
        Some(number) => number.to_string(),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(controller: Option<&str>, limits: &[(&str, &str)]) -> Configured {
        Configured {
            controller: controller.map(str::to_owned),
            path: "/lxc/ct".to_owned(),
            limits: limits
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn each_controller_gets_its_limits() {
        let limits = [
            ("memory.limit_in_bytes", "64M"),
            ("pids.max", "33"),
            ("devices.deny", "a"),
        ];
        let record = configured(&[of(Some("memory"), &limits), of(Some("pids"), &limits)]).unwrap();
        let set: Vec<_> = record
            .set_limits()
            .into_iter()
            .map(|limit| (limit.file, limit.value.into_owned()))
            .collect();
        assert_eq!(
            set,
            [
                ("memory.limit_in_bytes", "67108864".to_owned()),
                ("pids.max", "33".to_owned())
            ]
        );
        assert_eq!(record.unread[0].what, "devices.deny");
        CgroupRecord::from_json(&record.to_json().unwrap()).unwrap();
    }

    #[test]
    fn version_2_has_the_controllers_of_its_limits() {
        let record = configured(&[of(None, &[("memory.max", "1G"), ("pids.max", "max")])]).unwrap();
        assert_eq!(
            (record.mode, record.hierarchies[0].controllers.len()),
            (CgroupMode::V2, 2)
        );
        assert_eq!(record.set_limits()[0].value, "1073741824");
        CgroupRecord::from_json(&record.to_json().unwrap()).unwrap();
    }

    #[test]
    fn a_path_that_climbs_is_refused() {
        let climbing = Configured {
            path: "/a/../b".to_owned(),
            ..of(Some("pids"), &[])
        };
        assert!(configured(&[climbing]).is_err());
    }
}
