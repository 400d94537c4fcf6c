//! From a record to the writes that make its limits hold here. Pure: nothing is read or written.
//!
//! Where a controller has the same version here, the whole tree is made again with the recorded values. Where the version
//! differs, the container's own cgroup gets the values that mean the same ([`translate`](super::translate)), and the
//! cgroups below are left out: CRIU cannot put tasks into them then, and version 2 forbids trees that version 1 allows.
//! What cannot be kept is a [`Warning`] with a name; nothing is dropped silently.
//!
//! Parents come before children, a limit before what depends on it; see the order of the table in `files`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use super::expect::Expect;
use super::files::{self, File, Shape};
use super::idset::IdSet;
use super::record::{CgroupRecord, DeviceLimit, Group, GroupPath, Hierarchy, HierarchyVersion, Owner};
use super::target::{TargetCgroups, TargetHierarchy};
use super::translate::{Content, Limits};
use super::warning::Warning;

/// What has to be done, in order, and what cannot be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ApplyPlan {
    /// The steps.
    pub steps: Vec<Step>,
    /// What is lost.
    pub warnings: Vec<Warning>,
}

/// One cgroup: a container's cgroup directory on this host, and a path below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The directory of the container's cgroup in one hierarchy.
    pub directory: PathBuf,
    /// The cgroup below it.
    pub group: GroupPath,
}

impl Place {
    /// The path, for people.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        // Joining nothing would end the path with a slash.
        if self.group.is_empty() {
            self.directory.clone()
        } else {
            self.directory.join(self.group.as_str())
        }
    }
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Make a cgroup if it is not there.
    Create {
        /// The cgroup.
        place: Place,
    },
    /// Give the cgroup its parent's CPUs and memory nodes where it has none: a cpuset of version 1 begins empty, and no
    /// task can enter it (ENOSPC).
    InheritCpuset {
        /// The cgroup.
        place: Place,
    },
    /// Write a limit.
    Write(Write),
    /// Make the device rules of a cgroup of version 1 equal to these.
    DeviceRules {
        /// The cgroup.
        place: Place,
        /// The rules, as devices.list has them.
        rules: Vec<String>,
    },
    /// Give a cgroup, or a file of it, to its owner.
    Own {
        /// The cgroup.
        place: Place,
        /// The file; absent for the directory.
        file: Option<String>,
        /// The owner and mode.
        owner: Owner,
    },
}

/// A value to be written into a limit file, and how it must read afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Write {
    /// The cgroup.
    pub place: Place,
    /// The file.
    pub file: String,
    /// What is written.
    pub value: String,
    /// How it must read.
    pub expect: Expect,
    /// Whether nobody has set it: then a kernel without the file holds the value as well.
    pub usual: bool,
}

/// Plans what makes the cgroups of `record` hold at `target`.
#[must_use]
pub fn plan_apply(record: &CgroupRecord, target: &TargetCgroups) -> ApplyPlan {
    let mut planner = Planner {
        target,
        plan: ApplyPlan::default(),
        created: BTreeSet::new(),
    };
    for hierarchy in &record.hierarchies {
        planner.same_version(hierarchy);
    }
    planner.other_version(record);
    planner.plan
}

/// A limit file of a cgroup here.
#[derive(Clone, Copy)]
struct Slot<'a> {
    place: &'a Place,
    file: &'a File,
    name: &'a str,
}

struct Planner<'a> {
    target: &'a TargetCgroups,
    plan: ApplyPlan,
    created: BTreeSet<Place>,
}

impl Planner<'_> {
    /// Plans the trees of a hierarchy's controllers that have the same version here.
    fn same_version(&mut self, hierarchy: &Hierarchy) {
        let mut trees: Vec<(&TargetHierarchy, BTreeSet<&str>)> = Vec::new();
        if let (HierarchyVersion::V2, Some(unified)) = (hierarchy.version, self.target.unified()) {
            // The files of the cgroup core have no controller.
            trees.push((unified, BTreeSet::from([""])));
        }
        let mut elsewhere = Vec::new();
        for controller in &hierarchy.controllers {
            let here = self.target.with_controller(controller);
            match here.or_else(|| self.target.with_controller(counterpart(controller))) {
                Some(here) if here.host.version == hierarchy.version => {
                    match trees
                        .iter_mut()
                        .find(|(tree, _)| tree.host.mount_point == here.host.mount_point)
                    {
                        Some((_, controllers)) => drop(controllers.insert(controller)),
                        None => trees.push((here, BTreeSet::from([controller.as_str()]))),
                    }
                }
                Some(_) => elsewhere.push(controller.as_str()),
                None if is_limited(hierarchy, controller) => {
                    self.warn(Warning::ControllerMissing {
                        controller: controller.clone(),
                    });
                }
                None => {}
            }
        }
        for (here, controllers) in &trees {
            for group in &hierarchy.groups {
                self.group(here, group, controllers);
            }
        }
        let below = hierarchy.groups.len().saturating_sub(1);
        if below > 0 && trees.is_empty() {
            self.tree_lost(&hierarchy.controllers.join(","), below);
        } else if below > 0 && !elsewhere.is_empty() {
            self.tree_lost(&elsewhere.join(","), below);
        }
    }

    /// One warning for all hierarchies: version 1 has the same tree in a dozen of them.
    fn tree_lost(&mut self, names: &str, lost: usize) {
        let earlier = self.plan.warnings.iter_mut().find_map(|warning| match warning {
            Warning::TreeLost { controllers, groups } => Some((controllers, groups)),
            _ => None,
        });
        match earlier {
            Some((controllers, groups)) => {
                *controllers = format!("{controllers},{names}");
                *groups = lost.max(*groups);
            }
            None => self.warn(Warning::TreeLost {
                controllers: names.to_owned(),
                groups: lost,
            }),
        }
    }

    fn group(&mut self, here: &TargetHierarchy, group: &Group, controllers: &BTreeSet<&str>) {
        let place = Place {
            directory: here.directory(),
            group: group.path.clone(),
        };
        if !group.path.is_empty() && self.created.insert(place.clone()) {
            self.plan.steps.push(Step::Create { place: place.clone() });
        }
        if here.host.version == HierarchyVersion::V1 && controllers.contains("cpuset") {
            self.plan.steps.push(Step::InheritCpuset { place: place.clone() });
        }
        for (file, name, content) in contents(group, here.host.version) {
            if controllers.contains(file.controller) && !overruled(group, name) {
                self.write(&place, file, name, &content);
            }
        }
        if self.target.keep_owners {
            self.own(&place, group);
        }
    }

    /// Plans the container's own limits of controllers that have another version here.
    fn other_version(&mut self, record: &CgroupRecord) {
        for version in [HierarchyVersion::V1, HierarchyVersion::V2] {
            let moved = |controller: &str| {
                if controller.is_empty() {
                    return version == HierarchyVersion::V2 && self.target.unified().is_none();
                }
                let controller = counterpart(controller);
                self.target
                    .with_controller(controller)
                    .is_some_and(|here| here.host.version != version)
            };
            let limits = Limits::of(record, version, moved);
            let (settings, warnings) = limits.translated();
            self.plan.warnings.extend(warnings);
            for (name, content) in settings {
                let other = version.other();
                let Some(file) = files::find(other, &name) else {
                    continue;
                };
                let Some(here) = self.target.with_controller(file.controller) else {
                    continue;
                };
                let place = Place {
                    directory: here.directory(),
                    group: GroupPath::default(),
                };
                self.write(&place, file, &name, &content);
            }
        }
    }

    fn write(&mut self, place: &Place, file: &File, name: &str, content: &Content) {
        let slot = Slot { place, file, name };
        match (content, file.shape) {
            (Content::Value(value), Shape::Rules) => self.rules(place, value),
            (Content::Value(value), Shape::Ids) => self.ids(slot, value),
            (Content::Value(value), Shape::Words) => self.words(slot, value),
            (Content::Value(value), Shape::Lines) => {
                for line in value.lines() {
                    match line.strip_prefix("oom_kill_disable ") {
                        Some(switch) => self.push(slot, line, switch, Expect::FirstLine),
                        None => self.push(slot, line, line, Expect::Line),
                    }
                }
            }
            (Content::Value(value), Shape::Bytes) => self.push(slot, value, writable_bytes(file, value), Expect::Bytes),
            // The other types follow from the tree and cannot be written.
            (Content::Value(value), _) if name == "cgroup.type" && value != "threaded" => {}
            (Content::Value(value), _) => self.push(slot, value, value, Expect::Text),
            (Content::Devices(limits), _) => {
                for limit in limits {
                    self.device(slot, limit);
                }
            }
        }
    }

    /// Plans to write `value` for what is recorded as `recorded`.
    fn push(&mut self, slot: Slot<'_>, recorded: &str, value: &str, expect: Expect) {
        self.plan.steps.push(Step::Write(Write {
            place: slot.place.clone(),
            file: slot.name.to_owned(),
            value: value.to_owned(),
            expect,
            usual: slot.file.usual.holds(recorded),
        }));
    }

    fn warn(&mut self, warning: Warning) {
        self.plan.warnings.push(warning);
    }

    /// The first rules of a container follow from its configuration, where an importer can judge them. Below, the kernel
    /// itself forbids what the cgroup above does not allow.
    fn rules(&mut self, place: &Place, value: &str) {
        if !place.group.is_empty() {
            let rules = value.lines().map(str::to_owned).collect();
            self.plan.steps.push(Step::DeviceRules {
                place: place.clone(),
                rules,
            });
        }
    }

    fn ids(&mut self, slot: Slot<'_>, value: &str) {
        let here = if slot.name.ends_with(".mems") {
            &self.target.mems
        } else {
            &self.target.cpus
        };
        let (kept, warning) = fit_ids(slot.name, value, here.as_ref());
        self.plan.warnings.extend(warning);
        // An empty list means the parent's: version 1 cannot write it, and inherits in a step of its own.
        if !kept.is_empty() {
            self.push(slot, value, &kept, Expect::Ids);
        }
    }

    /// Controllers for the cgroups below; those that this host has not were warned of where they limit anything.
    fn words(&mut self, slot: Slot<'_>, value: &str) {
        let unified = self.target.unified();
        let here = value
            .split_whitespace()
            .filter(|word| unified.is_some_and(|unified| unified.host.has(word)));
        let words: Vec<_> = here.map(|word| format!("+{word}")).collect();
        if !words.is_empty() {
            self.push(slot, value, &words.join(" "), Expect::Words);
        }
    }

    fn device(&mut self, slot: Slot<'_>, limit: &DeviceLimit) {
        // Version 1 keeps its default in a file of its own.
        if limit.is_default() && slot.file.version == HierarchyVersion::V1 {
            return;
        }
        match self.target.device_key(limit) {
            Some(key) => self.push(slot, &limit.line(), &format!("{key} {}", limit.value), Expect::Line),
            None => self.warn(Warning::DeviceMissing {
                file: slot.name.to_owned(),
                device: limit.key().to_owned(),
            }),
        }
    }

    fn own(&mut self, place: &Place, group: &Group) {
        let mut push = |file, owner: &Owner| {
            self.plan.steps.push(Step::Own {
                place: place.clone(),
                file,
                owner: owner.clone(),
            });
        };
        // The runtime has made the container's own cgroup and given it to whom it belongs.
        if !group.path.is_empty() {
            push(None, &group.owner);
        }
        for (name, owner) in &group.delegated {
            push(Some(name.clone()), owner);
        }
    }
}

/// The recorded files of a cgroup in the order of writing.
fn contents(group: &Group, version: HierarchyVersion) -> Vec<(&'static File, &str, Content)> {
    let values = group
        .limits
        .iter()
        .map(|(name, value)| (name.as_str(), Content::Value(value.clone())));
    let devices = group
        .device_limits
        .iter()
        .map(|(name, limits)| (name.as_str(), Content::Devices(limits.clone())));
    let known = values
        .chain(devices)
        .filter_map(|(name, content)| Some((files::find(version, name)?, name, content)));
    let mut ordered: Vec<_> = known.collect();
    ordered.sort_by_key(|(_, name, _)| files::order(version, name));
    ordered
}

/// A weight that `cpu.idle` overrules: the kernel refuses to set it then.
fn overruled(group: &Group, name: &str) -> bool {
    let idle = group.limits.get("cpu.idle").is_some_and(|idle| idle == "1");
    idle && (name == "cpu.weight" || name == "cpu.shares")
}

/// Whether a hierarchy holds a limit of this controller that is not the usual value.
fn is_limited(hierarchy: &Hierarchy, controller: &str) -> bool {
    let says = |group: &Group| {
        let unusual = |(name, value): (&String, &String)| {
            files::find(hierarchy.version, name)
                .is_some_and(|file| file.controller == controller && !file.usual.holds(value))
        };
        let device = |(name, limits): (&String, &Vec<DeviceLimit>)| {
            let file = files::find(hierarchy.version, name).filter(|file| file.controller == controller);
            file.is_some() && limits.iter().any(|limit| !limit.is_default())
        };
        group.limits.iter().any(unusual) || group.device_limits.iter().any(device)
    };
    hierarchy.groups.iter().any(says)
}

/// What the other version calls a controller: `blkio` of version 1 is `io` of version 2, and the others keep their names.
#[must_use]
pub fn counterpart(controller: &str) -> &str {
    match controller {
        "blkio" => "io",
        "io" => "blkio",
        same => same,
    }
}

/// Version 1 takes `-1` for no limit and refuses its own largest number for some files.
fn writable_bytes<'v>(file: &File, value: &'v str) -> &'v str {
    match file.version {
        HierarchyVersion::V1 if files::is_unlimited(value) => "-1",
        _ => value,
    }
}

/// The CPUs or nodes of a recorded list that this host has.
pub(super) fn fit_ids(name: &str, value: &str, here: Option<&IdSet>) -> (String, Option<Warning>) {
    let wanted: IdSet = value.parse().unwrap_or_default();
    let kept = here.map_or_else(|| wanted.clone(), |here| wanted.intersection(here));
    let text = kept.to_string();
    let lost = kept != wanted;
    let warning = || Warning::IdsMissing {
        file: name.to_owned(),
        value: value.to_owned(),
        kept: text.clone(),
    };
    let warning = lost.then(warning);
    (text, warning)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::manifest::CgroupMode;

    /// A plan as lines, one for each step and warning.
    fn lines(plan: &ApplyPlan) -> String {
        let step = |step: &Step| match step {
            Step::Create { place } => format!("create {}", place.path().display()),
            Step::InheritCpuset { place } => format!("inherit cpuset {}", place.path().display()),
            Step::Write(write) => {
                let path = write.place.path().join(&write.file);
                let usual = if write.usual { ", usual" } else { "" };
                format!("{} = {} ({:?}{usual})", path.display(), write.value, write.expect)
            }
            Step::DeviceRules { place, rules } => format!("rules {}: {}", place.path().display(), rules.join("; ")),
            Step::Own { place, file, owner } => {
                let file = file.as_deref().unwrap_or(".");
                format!(
                    "own {}/{file}: {}:{} {}",
                    place.path().display(),
                    owner.uid,
                    owner.gid,
                    owner.mode
                )
            }
        };
        let steps = plan.steps.iter().map(step);
        steps
            .chain(plan.warnings.iter().map(|warning| format!("! {warning}")))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn every_host_is_planned_for_every_other() {
        for source in ["v1", "hybrid", "v2"] {
            let record = fixture::recorded(source);
            for (name, mode) in [
                ("v1", CgroupMode::V1),
                ("hybrid", CgroupMode::Hybrid),
                ("v2", CgroupMode::V2),
            ] {
                let plan = plan_apply(&record, &fixture::target(mode));
                insta::assert_snapshot!(format!("plan-{source}-to-{name}"), lines(&plan));
            }
        }
    }

    #[test]
    fn parents_come_before_children_and_subtree_control_before_both() {
        let plan = plan_apply(&fixture::recorded("v2"), &fixture::target(CgroupMode::V2));
        let at = |text: &str| lines(&plan).lines().position(|line| line.contains(text)).unwrap();
        assert!(at("ct2/memory.max") < at("ct2/cgroup.subtree_control"));
        assert!(at("ct2/cgroup.subtree_control") < at("create /cg/new/ct2/init.scope"));
        assert!(at("create /cg/new/ct2/system.slice") < at("ct2/system.slice/memory.max"));
        let plan = plan_apply(&fixture::recorded("v1"), &fixture::target(CgroupMode::V1));
        let at = |text: &str| lines(&plan).lines().position(|line| line.contains(text)).unwrap();
        assert!(at("inherit cpuset") < at("cpuset.cpus"));
        assert!(at("ct2/memory.limit_in_bytes") < at("ct2/memory.memsw.limit_in_bytes"));
        assert!(at("create /cg/memory/new/ct2/inner") < at("create /cg/memory/new/ct2/inner/deep er"));
    }

    #[test]
    fn owners_are_kept_only_when_asked_for() {
        let mut record = fixture::recorded("v2");
        record.hierarchies[0].groups[1].owner.uid = 1000;
        let owner = Owner {
            uid: 1000,
            gid: 1000,
            mode: "0644".to_owned(),
        };
        record.hierarchies[0].groups[0]
            .delegated
            .insert("cgroup.procs".to_owned(), owner);
        let mut target = fixture::target(CgroupMode::V2);
        assert!(!lines(&plan_apply(&record, &target)).contains("own "));
        target.keep_owners = true;
        let text = lines(&plan_apply(&record, &target));
        assert!(text.contains("own /cg/new/ct2/cgroup.procs: 1000:1000 0644"), "{text}");
        assert!(text.contains("own /cg/new/ct2/init.scope/.: 1000:0 0755"), "{text}");
        assert!(!text.contains("own /cg/new/ct2/.:"), "{text}");
    }

    #[test]
    fn an_idle_group_has_no_weight() {
        let mut record = fixture::recorded("v2");
        record.hierarchies[0].groups[0]
            .limits
            .insert("cpu.idle".to_owned(), "1".to_owned());
        for mode in [CgroupMode::V1, CgroupMode::V2] {
            let text = lines(&plan_apply(&record, &fixture::target(mode)));
            assert!(
                !text.contains("ct2/cpu.weight") && !text.contains("ct2/cpu.shares"),
                "{text}"
            );
            assert!(text.contains("ct2/cpu.idle = 1"), "{text}");
        }
    }

    #[test]
    fn a_host_without_cgroups_keeps_nothing_and_says_so() {
        let mut target = fixture::target(CgroupMode::V2);
        target.hierarchies.clear();
        let plan = plan_apply(&fixture::recorded("v2"), &target);
        assert_eq!(plan.steps, []);
        let missing = |name: &str| Warning::ControllerMissing {
            controller: name.to_owned(),
        };
        for controller in ["cpu", "memory", "io", "pids", "hugetlb", "misc", "cpuset"] {
            assert!(plan.warnings.contains(&missing(controller)), "{controller}");
        }
    }

    #[test]
    fn cpus_that_are_not_here_are_left_out() {
        let here = "0-1".parse().unwrap();
        let cases = [
            ("0-3", "0-1", true),
            ("0", "0", false),
            ("1,0", "0-1", false),
            ("4-7", "", true),
            ("", "", false),
        ];
        for (value, kept, warned) in cases {
            let (found, warning) = fit_ids("cpuset.cpus", value, Some(&here));
            assert_eq!((found.as_str(), warning.is_some()), (kept, warned), "{value}");
        }
        assert_eq!(fit_ids("cpuset.cpus", "4-7", None).0, "4-7");
    }
}
