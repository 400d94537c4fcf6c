//! Recorded limits into the `linux.resources` of a configuration.
//!
//! config.json holds the limits that a container was created with; `runc update` changes the cgroup and not the file. A
//! restore by the runtime applies the file, so an import first brings it up to date. Only what differs is changed: unknown
//! keys stay, a limit that the configuration implies stays as it is spelled, and an unlimited value that it does not
//! mention stays unmentioned. Pure; works on the JSON value, because typed readers of it drop what they do not know.
//!
//! The fields of the specification are version 1's; the runtimes translate them for version 2, where `unified` holds what
//! has no field. A runtime writes `unified` last, so a key that is there already is updated there.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::expect::Expect;
use super::files::{self, Shape};
use super::plan::fit_ids;
use super::record::{CgroupRecord, DeviceLimit, HierarchyVersion};
use super::target::TargetCgroups;
use super::translate::{Amount, Limits, THROTTLES, Throttle};
use super::warning::Warning;
use super::weight::{Weight, linear_weight_of, weight_of};
use super::{Error, IdSet};
use crate::manifest::CgroupMode;

/// What was changed in a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SpecChanges {
    /// The changed fields, in the order that they were looked at.
    pub changes: Vec<Change>,
    /// Limits that the configuration cannot carry to this host.
    pub warnings: Vec<Warning>,
}

/// One changed field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its path below `linux.resources`, joined by `/`.
    pub field: String,
    /// Its value before; absent where it was not there.
    pub before: Option<Value>,
    /// Its value now; absent where it was removed.
    pub after: Option<Value>,
}

/// Brings `linux.resources` of a configuration up to the recorded limits of the container's own cgroup, for a restore at
/// `target`.
///
/// # Errors
/// [`Error::Spec`] when the configuration, its `linux`, or its `resources` is no object; it is unchanged then.
pub fn resources_for_spec(
    record: &CgroupRecord,
    target: &TargetCgroups,
    spec: &mut Value,
) -> Result<SpecChanges, Error> {
    let resources = match spec.pointer("/linux/resources") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(resources)) => resources.clone(),
        Some(_) => {
            return Err(Error::Spec {
                field: "linux.resources",
            });
        }
    };
    let mut merge = Merge {
        resources,
        target,
        out: SpecChanges::default(),
    };
    merge.run(record);
    let Merge { resources, out, .. } = merge;
    if !out.changes.is_empty() {
        let linux = spec
            .as_object_mut()
            .ok_or(Error::Spec {
                field: "the configuration",
            })?
            .entry("linux");
        let linux = linux
            .or_insert_with(|| json!({}))
            .as_object_mut()
            .ok_or(Error::Spec { field: "linux" })?;
        linux.insert("resources".to_owned(), Value::Object(resources));
    }
    Ok(out)
}

/// Fields that runtimes refuse on version 2.
const ONLY_V1: [(&str, &str); 6] = [
    ("cpu", "realtimeRuntime"),
    ("cpu", "realtimePeriod"),
    ("memory", "kernel"),
    ("memory", "kernelTCP"),
    ("memory", "swappiness"),
    ("memory", "disableOOMKiller"),
];

/// The fields of version 1's device limits, by version 2's names.
const THROTTLE_FIELDS: [(&str, &str); 4] = [
    ("rbps", "throttleReadBpsDevice"),
    ("wbps", "throttleWriteBpsDevice"),
    ("riops", "throttleReadIOPSDevice"),
    ("wiops", "throttleWriteIOPSDevice"),
];

/// The resources on their way from what they were to what they are to be.
struct Merge<'a> {
    resources: Map<String, Value>,
    target: &'a TargetCgroups,
    out: SpecChanges,
}

impl Merge<'_> {
    fn run(&mut self, record: &CgroupRecord) {
        for version in [HierarchyVersion::V1, HierarchyVersion::V2] {
            let limits = Limits::of(record, version, |_| true);
            self.unified(record, version);
            self.cpu(&limits);
            self.cpuset(&limits);
            self.memory(&limits);
            self.others(&limits);
            self.devices(&limits, has_io(record, version));
            self.rest(&limits);
        }
        self.fit_cpuset();
        self.drop_foreign(record);
    }

    /// Whether the runtimes here use version 2: they go by the file system at /sys/fs/cgroup.
    fn to_v2(&self) -> bool {
        self.target.mode == CgroupMode::V2
    }

    /// `unified` keeps its keys, with the recorded values. Where version 1 is used it cannot stay, and what it said is
    /// among the recorded limits like any other.
    fn unified(&mut self, record: &CgroupRecord, version: HierarchyVersion) {
        if version != HierarchyVersion::V2 || !self.to_v2() {
            return;
        }
        let groups = record
            .hierarchies
            .iter()
            .filter(|hierarchy| hierarchy.version == version);
        let Some(top) = groups.filter_map(|hierarchy| hierarchy.top()).next() else {
            return;
        };
        for (name, recorded) in &top.limits {
            let Some(current) = self.get("unified", name).and_then(Value::as_str) else {
                continue;
            };
            let expect = match files::find(version, name).map(|file| file.shape) {
                Some(Shape::Bytes) => Expect::Bytes,
                Some(Shape::Ids) => Expect::Ids,
                Some(Shape::Text) => Expect::Text,
                _ => continue,
            };
            if !expect.holds(recorded, current) {
                self.set("unified", name, Some(json!(recorded)));
            }
        }
    }

    /// Whether a limit is in the hands of `unified`.
    fn is_unified(&self, file: &str) -> bool {
        self.to_v2() && self.get("unified", file).is_some()
    }

    fn cpu(&mut self, limits: &Limits) {
        if let Some(weight) = limits
            .weight
            .filter(|_| limits.idle != Some(true) && !self.is_unified("cpu.weight"))
        {
            let current = self.number("cpu", "shares").filter(|&shares| shares > 0);
            let implied = match (weight, current.and_then(|shares| u64::try_from(shares).ok())) {
                (Weight::Shares(recorded), shares) => shares.unwrap_or(1024) == recorded,
                // The runtime's version decides which of the two curves made the weight.
                (Weight::Weight(recorded), Some(shares)) => {
                    [weight_of(shares), linear_weight_of(shares)].contains(&recorded)
                }
                (Weight::Weight(recorded), None) => recorded == 100,
            };
            if !implied {
                self.set("cpu", "shares", Some(json!(weight.as_shares())));
            }
        }
        if let Some(quota) = limits.quota.filter(|_| !self.is_unified("cpu.max")) {
            self.limit("cpu", "quota", quota.quota);
            let period = i64::try_from(quota.period).unwrap_or(i64::MAX);
            if quota.quota.is_some()
                && self
                    .number("cpu", "period")
                    .filter(|&period| period > 0)
                    .unwrap_or(100_000)
                    != period
            {
                self.set("cpu", "period", Some(json!(period)));
            }
        }
        if !self.is_unified("cpu.max.burst") {
            self.amount("cpu", "burst", limits.burst);
        }
        if !self.is_unified("cpu.idle") {
            self.amount("cpu", "idle", limits.idle.map(u64::from));
        }
    }

    fn cpuset(&mut self, limits: &Limits) {
        for (file, field, recorded) in [
            ("cpuset.cpus", "cpus", &limits.cpus),
            ("cpuset.mems", "mems", &limits.mems),
        ] {
            if let Some(recorded) = recorded.as_ref().filter(|_| !self.is_unified(file)) {
                self.ids(field, recorded);
            }
        }
    }

    /// What was not recorded, a cpuset that is its parent's, may still name CPUs that this host has not.
    fn fit_cpuset(&mut self) {
        for field in ["cpus", "mems"] {
            if let Some(current) = self.get("cpu", field).and_then(Value::as_str).map(str::to_owned) {
                self.ids(field, &current);
            }
        }
    }

    /// Sets a cpuset to those of its CPUs or nodes that this host has: a runtime fails on the others.
    fn ids(&mut self, field: &str, wanted: &str) {
        let here = if field == "mems" {
            &self.target.mems
        } else {
            &self.target.cpus
        };
        let (kept, warning) = fit_ids(&format!("cpuset.{field}"), wanted, here.as_ref());
        self.out.warnings.extend(warning);
        let current = self.get("cpu", field).and_then(Value::as_str).unwrap_or_default();
        if current.parse::<IdSet>() != kept.parse() {
            self.set("cpu", field, Some(json!(kept)).filter(|_| !kept.is_empty()));
        }
    }

    fn memory(&mut self, limits: &Limits) {
        if let Some(memory) = limits.memory.filter(|_| !self.is_unified("memory.max")) {
            self.limit("memory", "limit", memory.bytes());
        }
        // Nothing spared is no field: the runtimes would take -1 for everything.
        if let Some(low) = limits.low.filter(|_| !self.is_unified("memory.low")) {
            let wanted = i64::try_from(low).unwrap_or(i64::MAX);
            if self
                .number("memory", "reservation")
                .filter(|&bytes| bytes > 0)
                .unwrap_or(0)
                != wanted
            {
                self.set("memory", "reservation", Some(json!(wanted)).filter(|_| low > 0));
            }
        }
        if self.is_unified("memory.swap.max") {
            return;
        }
        match (limits.memory, limits.swap) {
            // The field counts memory and swap together, and older runtimes refuse it without a limit of memory.
            (Some(Amount::Unlimited), Some(Amount::Bytes(swap))) if self.to_v2() => {
                self.set("unified", "memory.swap.max", Some(json!(swap.to_string())));
            }
            _ => {
                if let Some(both) = limits.memory_and_swap(&mut self.out.warnings) {
                    self.limit("memory", "swap", both.bytes());
                }
            }
        }
    }

    fn others(&mut self, limits: &Limits) {
        if let Some(pids) = limits.pids.as_deref().filter(|_| !self.is_unified("pids.max")) {
            self.limit("pids", "limit", pids.parse().ok());
        }
        if limits.huge.is_empty() {
            return;
        }
        let before = self.resources.get("hugepageLimits").cloned();
        let mut sizes = before.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
        for (size, amount) in &limits.huge {
            let entry = sizes.iter().position(|entry| entry["pageSize"] == size.as_str());
            match (amount.bytes(), entry) {
                (Some(bytes), Some(entry)) => sizes[entry]["limit"] = json!(bytes),
                (Some(bytes), None) => sizes.push(json!({"pageSize": size, "limit": bytes})),
                (None, Some(entry)) => drop(sizes.remove(entry)),
                (None, None) => {}
            }
        }
        let after = Some(Value::Array(sizes.clone())).filter(|_| before.is_some() || !sizes.is_empty());
        self.replace("hugepageLimits", after);
    }

    /// Device limits carry the numbers of the source host: all of them are written anew.
    fn devices(&mut self, limits: &Limits, known: bool) {
        if !known {
            return;
        }
        for ((name, field), (_, file)) in THROTTLE_FIELDS.into_iter().zip(THROTTLES) {
            let rate = |throttle: &Throttle| {
                Some((
                    throttle.device.clone(),
                    throttle.number.clone(),
                    json!(throttle.limits.get(name)?),
                ))
            };
            let entries: Vec<_> = limits.throttles.iter().filter_map(rate).collect();
            self.device_list(field, "rate", file, entries);
        }
        let weight = |limit: &DeviceLimit| {
            Some((
                limit.device.clone(),
                limit.number.clone(),
                json!(limit.value.parse::<u64>().ok()?),
            ))
        };
        let entries = limits.bfq_devices.iter().filter_map(weight).collect();
        self.device_list("weightDevice", "weight", "blkio.bfq.weight_device", entries);
        let recorded = limits.bfq_weight.as_ref().map(|weight| (weight, 100));
        let recorded = recorded.or_else(|| limits.rest.get("blkio.weight").map(|weight| (weight, 500)));
        let recorded = recorded.and_then(|(weight, usual)| Some((weight.parse::<i64>().ok()?, usual)));
        let current = self.number("blockIO", "weight").filter(|&weight| weight > 0);
        if let Some((weight, _)) = recorded.filter(|&(weight, usual)| current.unwrap_or(usual) != weight) {
            self.set("blockIO", "weight", Some(json!(weight)));
        }
    }

    fn device_list(
        &mut self,
        field: &str,
        value: &str,
        file: &str,
        entries: Vec<(Option<String>, Option<String>, Value)>,
    ) {
        let mut list = Vec::new();
        for (device, number, amount) in entries {
            match device.as_ref().and_then(|device| self.target.devices.get(device)) {
                Some((major, minor)) => list.push(json!({"major": major, "minor": minor, value: amount})),
                None => {
                    let device = device.or(number).unwrap_or_default();
                    self.out.warnings.push(Warning::DeviceMissing {
                        file: file.to_owned(),
                        device,
                    });
                }
            }
        }
        if self.get("blockIO", field).is_some() || !list.is_empty() {
            self.set("blockIO", field, Some(Value::Array(list)));
        }
    }

    /// What only one version has: fields of version 1, keys of `unified` for version 2, warnings across.
    fn rest(&mut self, limits: &Limits) {
        match (limits.version, self.to_v2()) {
            (HierarchyVersion::V1, false) => self.rest_of_v1(limits),
            (HierarchyVersion::V2, true) => self.rest_of_v2(limits),
            _ => self.out.warnings.extend(limits.untranslatable()),
        }
    }

    fn rest_of_v1(&mut self, limits: &Limits) {
        let number = |name: &str| limits.rest.get(name)?.parse::<u64>().ok();
        let limit = |name: &str| number(name).filter(|&bytes| !files::is_unlimited(&bytes.to_string()));
        if let Some(runtime) = number("cpu.rt_runtime_us") {
            self.amount("cpu", "realtimeRuntime", Some(runtime));
            if runtime > 0 {
                self.amount("cpu", "realtimePeriod", number("cpu.rt_period_us"));
            }
        }
        if limits.rest.contains_key("memory.kmem.tcp.limit_in_bytes") {
            self.limit("memory", "kernelTCP", limit("memory.kmem.tcp.limit_in_bytes"));
        }
        if let Some(swappiness) = number("memory.swappiness") {
            let swappiness = i64::try_from(swappiness).unwrap_or(i64::MAX);
            if self.number("memory", "swappiness").unwrap_or(60) != swappiness {
                self.set("memory", "swappiness", Some(json!(swappiness)));
            }
        }
        if let Some(oom) = limits.rest.get("memory.oom_control") {
            let disabled = oom == "oom_kill_disable 1";
            let current = self
                .get("memory", "disableOOMKiller")
                .and_then(Value::as_bool)
                .unwrap_or(false);
            if current != disabled {
                self.set("memory", "disableOOMKiller", Some(json!(disabled)));
            }
        }
        self.amount("network", "classID", number("net_cls.classid"));
    }

    fn rest_of_v2(&mut self, limits: &Limits) {
        let both_versions = [("rdma.max", &limits.rdma), ("misc.max", &limits.misc)];
        let both_versions = both_versions
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)));
        for (name, value) in limits
            .rest
            .iter()
            .map(|(name, value)| (name.as_str(), value))
            .chain(both_versions)
        {
            let unusual = files::find(limits.version, name).is_some_and(|file| !file.usual.holds(value));
            // The core's own files limit the tree, not a resource: the plan writes them.
            if unusual && !name.starts_with("cgroup.") && !self.is_unified(name) {
                self.set("unified", name, Some(json!(value)));
            }
        }
        for (name, entries) in &limits.rest_devices {
            let lines = self.device_lines(name, entries);
            if !lines.is_empty() {
                self.set("unified", name, Some(json!(lines.join("\n"))));
            }
        }
    }

    /// The lines of a file with values of devices, under this host's numbers; the usual default is left out.
    fn device_lines(&mut self, name: &str, limits: &[DeviceLimit]) -> Vec<String> {
        let mut lines = Vec::new();
        let usual = |limit: &DeviceLimit| {
            files::find(HierarchyVersion::V2, name).is_some_and(|file| file.usual.holds(&limit.line()))
        };
        for limit in limits.iter().filter(|limit| !usual(limit)) {
            match self.target.device_key(limit) {
                Some(key) => lines.push(format!("{key} {}", limit.value)),
                None => {
                    let (file, device) = (name.to_owned(), limit.key().to_owned());
                    self.out.warnings.push(Warning::DeviceMissing { file, device });
                }
            }
        }
        lines
    }

    /// Takes out what the runtimes here refuse, because it was written for the other version.
    fn drop_foreign(&mut self, record: &CgroupRecord) {
        if !self.to_v2() {
            self.replace("unified", None);
            return;
        }
        if record.mode == CgroupMode::V2 {
            return;
        }
        for (section, field) in ONLY_V1 {
            if self.get(section, field).is_some() {
                self.set(section, field, None);
            }
        }
        self.replace("network", None);
    }

    fn get(&self, section: &str, field: &str) -> Option<&Value> {
        self.resources.get(section)?.get(field).filter(|value| !value.is_null())
    }

    fn number(&self, section: &str, field: &str) -> Option<i64> {
        let value = self.get(section, field)?;
        value.as_i64().or_else(|| value.as_u64().map(|_| i64::MAX))
    }

    /// A number that is 0 where the field is absent.
    fn amount(&mut self, section: &str, field: &str, recorded: Option<u64>) {
        let Some(recorded) = recorded.and_then(|recorded| i64::try_from(recorded).ok()) else {
            return;
        };
        if self.number(section, field).unwrap_or(0) != recorded {
            self.set(section, field, Some(json!(recorded)));
        }
    }

    /// A limit that an absent field, 0 and -1 all lift.
    fn limit(&mut self, section: &str, field: &str, recorded: Option<u64>) {
        let recorded = recorded.and_then(|recorded| i64::try_from(recorded).ok());
        let current = self.number(section, field).filter(|&current| current > 0);
        // The fields take 0 for no limit: a limit of nothing is left to the plan.
        if current != recorded && recorded != Some(0) {
            self.set(section, field, Some(json!(recorded.unwrap_or(-1))));
        }
    }

    /// Sets or removes a field of a section, where that changes it; the order of keys stays.
    fn set(&mut self, section: &str, field: &str, after: Option<Value>) {
        if self.get(section, field) == after.as_ref() {
            return;
        }
        let entry = self.resources.entry(section).or_insert_with(|| json!({}));
        if !entry.is_object() {
            *entry = json!({});
        }
        let Some(map) = entry.as_object_mut() else { return };
        let before = match &after {
            Some(value) => map.insert(field.to_owned(), value.clone()),
            None => map.shift_remove(field),
        };
        self.out.changes.push(Change {
            field: format!("{section}/{field}"),
            before,
            after,
        });
    }

    /// Sets or removes a whole section, where that changes it.
    fn replace(&mut self, section: &str, after: Option<Value>) {
        if self.resources.get(section) == after.as_ref() {
            return;
        }
        let before = match &after {
            Some(value) => self.resources.insert(section.to_owned(), value.clone()),
            None => self.resources.shift_remove(section),
        };
        self.out.changes.push(Change {
            field: section.to_owned(),
            before,
            after,
        });
    }
}

/// Whether limits of block devices were recorded at all.
fn has_io(record: &CgroupRecord, version: HierarchyVersion) -> bool {
    let mut known = record
        .hierarchies
        .iter()
        .filter(|hierarchy| hierarchy.version == version && hierarchy.top().is_some());
    known.any(|hierarchy| hierarchy.controllers.iter().any(|name| name == "io" || name == "blkio"))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    /// What becomes of a configuration's resources.
    fn merged(host: &str, mode: CgroupMode, resources: &Value) -> (Value, SpecChanges) {
        let mut spec = json!({"ociVersion": "1.0.0", "linux": {"x": 1, "resources": resources}});
        let changes = resources_for_spec(&fixture::recorded(host), &fixture::target(mode), &mut spec).unwrap();
        (spec["linux"]["resources"].clone(), changes)
    }

    fn names(changes: &SpecChanges) -> Vec<&str> {
        changes.changes.iter().map(|change| change.field.as_str()).collect()
    }

    #[test]
    fn a_configuration_is_brought_up_to_date() {
        for source in ["v1", "hybrid", "v2"] {
            for (name, mode) in [
                ("v1", CgroupMode::V1),
                ("hybrid", CgroupMode::Hybrid),
                ("v2", CgroupMode::V2),
            ] {
                let mut spec = json!({});
                let target = fixture::target(mode);
                let changes = resources_for_spec(&fixture::recorded(source), &target, &mut spec).unwrap();
                insta::assert_json_snapshot!(
                    format!("spec-{source}-to-{name}"),
                    json!({"spec": spec, "out": changes})
                );
            }
        }
    }

    #[test]
    fn a_second_merge_changes_nothing() {
        for source in ["v1", "hybrid", "v2"] {
            for mode in [CgroupMode::V1, CgroupMode::Hybrid, CgroupMode::V2] {
                let (record, target) = (fixture::recorded(source), fixture::target(mode));
                let mut spec = json!({});
                drop(resources_for_spec(&record, &target, &mut spec).unwrap());
                let again = resources_for_spec(&record, &target, &mut spec).unwrap();
                assert_eq!(again.changes, [], "{source} {mode:?}");
            }
        }
    }

    #[test]
    fn what_the_configuration_says_already_stays_as_it_is() {
        // 1523 on the old line and 512 on the new curve both make the recorded weight of 59.
        for shares in [1523, 512] {
            let resources = json!({
                "unknown": {"key": [1, 2]},
                "devices": [{"allow": false, "access": "rwm"}],
                "cpu": {"shares": shares, "quota": 50000, "burst": 10000, "cpus": "0,1"},
                "memory": {"limit": 268_435_456, "swap": 335_544_320, "reservation": 33_554_432, "extra": true},
                "pids": {"limit": 64},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}],
                "unified": {
                    "memory.high": "201326592", "memory.oom.group": "1", "cpu.uclamp.min": "10.00", "misc.max": "sev 4",
                    "io.weight": "259:3 250", "io.latency": "259:3 target=75000",
                },
            });
            let mut record = fixture::recorded("v2");
            let top = &mut record.hierarchies[0].groups[0];
            top.limits.insert("cpuset.cpus".to_owned(), "0-1".to_owned());
            top.device_limits.remove("io.max");
            let mut spec = json!({"linux": {"resources": resources}});
            let out = resources_for_spec(&record, &fixture::target(CgroupMode::V2), &mut spec).unwrap();
            assert_eq!(out.changes, [], "{shares}");
            assert_eq!(spec["linux"]["resources"], resources);
        }
    }

    #[test]
    fn a_limit_that_was_lifted_is_lifted_in_the_configuration() {
        let resources =
            json!({"memory": {"limit": 1, "swap": 2, "reservation": 3}, "pids": {"limit": 7}, "cpu": {"quota": 9}});
        let mut record = fixture::recorded("v2");
        let limits = &mut record.hierarchies[0].groups[0].limits;
        for (name, value) in [
            ("memory.max", "max"),
            ("memory.swap.max", "max"),
            ("memory.low", "0"),
            ("pids.max", "max"),
        ] {
            limits.insert(name.to_owned(), value.to_owned());
        }
        limits.insert("cpu.max".to_owned(), "max 100000".to_owned());
        let mut spec = json!({"linux": {"resources": resources}});
        drop(resources_for_spec(&record, &fixture::target(CgroupMode::V2), &mut spec).unwrap());
        let merged = &spec["linux"]["resources"];
        assert_eq!(merged["memory"], json!({"limit": -1, "swap": -1}));
        assert_eq!(merged["pids"], json!({"limit": -1}));
        assert_eq!(merged["cpu"]["quota"], json!(-1));
    }

    #[test]
    fn unified_keeps_its_keys_on_version_2_and_goes_on_version_1() {
        let resources = json!({"unified": {"memory.max": "1048576", "pids.max": "64", "other.key": "x"}});
        let (merged, changes) = merged("v2", CgroupMode::V2, &resources);
        assert_eq!(merged["unified"]["memory.max"], "268435456");
        assert_eq!(merged["unified"]["other.key"], "x");
        assert!(merged["memory"].get("limit").is_none() && merged.get("pids").is_none());
        assert!(names(&changes).contains(&"unified/memory.max") && !names(&changes).contains(&"unified/pids.max"));

        let (merged, _) = self::merged("v2", CgroupMode::V1, &resources);
        assert!(merged.get("unified").is_none());
        assert_eq!(merged["memory"]["limit"], 268_435_456);
    }

    #[test]
    fn fields_of_version_1_go_where_version_2_is_used() {
        let resources = json!({
            "memory": {"swappiness": 10, "kernel": -1, "disableOOMKiller": false, "useHierarchy": true},
            "cpu": {"realtimeRuntime": 0},
            "network": {"classID": 1_048_577},
        });
        let (merged, changes) = merged("v1", CgroupMode::V2, &resources);
        assert_eq!(
            merged["memory"].as_object().unwrap().keys().next().map(String::as_str),
            Some("useHierarchy")
        );
        assert!(merged["memory"].get("swappiness").is_none() && merged.get("network").is_none());
        assert!(merged["cpu"].get("realtimeRuntime").is_none());
        let lost = |file: &str| {
            changes
                .warnings
                .iter()
                .any(|warning| matches!(warning, Warning::NoEquivalent { file: f, .. } if f == file))
        };
        assert!(lost("net_cls.classid"));
    }

    #[test]
    fn device_numbers_are_those_of_this_host() {
        let old = json!([{"major": 8, "minor": 0, "rate": 5}]);
        let resources =
            json!({"blockIO": {"throttleReadBpsDevice": old, "throttleWriteIOPSDevice": old, "leafWeight": 3}});
        let (merged, changes) = merged("v2", CgroupMode::V2, &resources);
        assert_eq!(
            merged["blockIO"]["throttleReadBpsDevice"],
            json!([{"major": 259, "minor": 3, "rate": 1_048_576}])
        );
        assert_eq!(merged["blockIO"]["throttleWriteIOPSDevice"], json!([]));
        assert_eq!(merged["blockIO"]["leafWeight"], 3);
        let missing = changes
            .warnings
            .iter()
            .filter(|warning| matches!(warning, Warning::DeviceMissing { .. }))
            .count();
        assert_eq!(missing, 1, "{:?}", changes.warnings);
    }

    #[test]
    fn cpus_of_the_configuration_are_fitted_even_where_none_were_recorded() {
        let mut record = fixture::recorded("v1");
        for hierarchy in &mut record.hierarchies {
            hierarchy.groups[0].limits.remove("cpuset.cpus");
        }
        for (cpus, wanted) in [("0-7", json!("0-1")), ("4-7", Value::Null), ("1", json!("1"))] {
            let mut spec = json!({"linux": {"resources": {"cpu": {"cpus": cpus}}}});
            drop(resources_for_spec(&record, &fixture::target(CgroupMode::V1), &mut spec).unwrap());
            assert_eq!(spec["linux"]["resources"]["cpu"]["cpus"], wanted, "{cpus}");
        }
    }

    #[test]
    fn a_container_without_limits_leaves_the_configuration_alone() {
        let record = CgroupRecord {
            version: 1,
            mode: CgroupMode::V2,
            hierarchies: Vec::new(),
            unread: Vec::new(),
        };
        for spec in [
            json!({}),
            json!({"linux": {}}),
            json!({"linux": {"resources": {"pids": {"limit": 3}}}}),
        ] {
            let mut after = spec.clone();
            let out = resources_for_spec(&record, &fixture::target(CgroupMode::V2), &mut after).unwrap();
            assert_eq!((after, out), (spec, SpecChanges::default()));
        }
    }

    #[test]
    fn a_configuration_of_another_shape_is_refused_unchanged() {
        for spec in [json!([]), json!({"linux": []}), json!({"linux": {"resources": 3}})] {
            let mut after = spec.clone();
            let target = fixture::target(CgroupMode::V2);
            let result = resources_for_spec(&fixture::recorded("v2"), &target, &mut after);
            assert!(matches!(result, Err(Error::Spec { .. })), "{spec}");
            assert_eq!(after, spec);
        }
    }
}
