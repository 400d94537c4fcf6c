//! `cgroup.json`: what an archive keeps of a container's cgroups.
//!
//! CRIU's own record leaves out every limit of version 2 and several of version 1, so an archive has this one. It holds the
//! kernel's own file names and raw values: what they mean on another host is decided where they are applied. Declared here
//! once; `schema/cgroup-v1.schema.json` is generated from these types.
//!
//! A record that was read is untrusted until [`CgroupRecord::from_json`] has returned it: from then on every path stays
//! below the container's cgroup, every limit is a file of the table in `files`, and every count is bounded.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::files::{self, Shape};
use super::{Bound, Error};
use crate::manifest::CgroupMode;

/// The version of the record that this build writes, and the only one so far.
pub const RECORD_VERSION: u32 = 1;

/// The largest record that is read, bytes. A system container with a thousand cgroups makes about 2 MiB.
pub const MAX_RECORD_BYTES: usize = 32 << 20;
/// The most hierarchies: a kernel has fifteen controllers, and named hierarchies are few.
const MAX_HIERARCHIES: usize = 64;
/// The most cgroups of one hierarchy.
pub(super) const MAX_GROUPS: usize = 16 << 10;
/// The most tasks of one hierarchy; CRIU is not known to restore as many.
pub(super) const MAX_TASKS: usize = 256 << 10;
/// The longest value, bytes: a page, which is what the kernel accepts in one write, and a device list of many lines.
pub(super) const MAX_VALUE: usize = 64 << 10;
/// The longest path below the container's cgroup, bytes (PATH_MAX), and the longest name in it (NAME_MAX).
const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;
/// How deep cgroups may nest below the container's.
pub(super) const MAX_DEPTH: usize = 64;

/// The cgroups of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CgroupRecord {
    /// Version of the record, [`RECORD_VERSION`].
    pub version: u32,
    /// How cgroups are mounted on the host.
    pub mode: CgroupMode,
    /// The hierarchies, in the order of /proc/PID/cgroup.
    pub hierarchies: Vec<Hierarchy>,
    /// What could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<Unread>,
}

/// The container's part of one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hierarchy {
    /// Version of the hierarchy.
    pub version: HierarchyVersion,
    /// Its controllers, or `name=NAME` for a named one. For version 2 those that the container's cgroup has.
    pub controllers: Vec<String>,
    /// The directory of the hierarchy that is mounted, `/` for all of it.
    pub mount_root: String,
    /// Where it is mounted on the host.
    pub mount_point: String,
    /// The container's cgroup, relative to the mount root; empty for the mount root itself.
    pub path: GroupPath,
    /// The container's cgroup first, then those below it, each after its parent.
    pub groups: Vec<Group>,
}

/// The version of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HierarchyVersion {
    /// One of possibly many hierarchies, each with its own controllers.
    V1,
    /// The unified hierarchy.
    V2,
}

/// One cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its path relative to the container's cgroup, which itself is the empty path.
    pub path: GroupPath,
    /// Owner and mode of its directory.
    pub owner: Owner,
    /// Files of it that belong to somebody else than root: what has been delegated.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub delegated: BTreeMap<String, Owner>,
    /// Limit files and their raw values, without the last newline.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, String>,
    /// Limit files whose values belong to block devices.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub device_limits: BTreeMap<String, Vec<DeviceLimit>>,
    /// Its processes, as numbered in the container's PID namespace, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<i32>,
    /// Threads in it whose process is in another cgroup, numbered likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub threads: Vec<i32>,
}

/// The owner and mode of a file or directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// User, as the host numbers it.
    pub uid: u32,
    /// Group, as the host numbers it.
    pub gid: u32,
    /// Permission bits, as octal digits.
    pub mode: String,
}

/// A limit of one block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceLimit {
    /// The device's path on the host (`/dev/sda`), absent where it has none. `default` stands for all other devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Its number on the host, `MAJOR:MINOR`; absent for `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// The value, without the device.
    pub value: String,
}

/// The device of a [`DeviceLimit`] that stands for all devices without one of their own.
pub const DEFAULT_DEVICE: &str = "default";

/// Something of the cgroups that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unread {
    /// The hierarchy's controllers or the file's path on the host.
    pub what: String,
    /// Why.
    pub reason: UnreadReason,
}

/// Why something could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnreadReason {
    /// The hierarchy is mounted nowhere where this process can see it.
    NotMounted,
    /// The container's cgroup is not below the directory that is mounted, or has been removed.
    OutOfReach,
    /// The container runs in the hierarchy's root, which has no limits and whose tree is the host's.
    Root,
    /// Reading the file failed.
    Failed,
    /// The file is no text, or too long.
    Malformed,
}

/// A path below a cgroup: relative, bounded, without `.`, `..` or NUL. Empty for the cgroup itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupPath(String);

impl JsonSchema for GroupPath {
    fn schema_name() -> Cow<'static, str> {
        "GroupPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A path below a cgroup: relative, without empty names, `.`, `..` or NUL. Empty for the cgroup itself.",
            "type": "string",
            "maxLength": MAX_PATH,
            "pattern": r"^((?!\.\.?(/|$))[^/\u0000]+(/(?!\.\.?(/|$))[^/\u0000]+)*)?$",
        })
    }
}

impl GroupPath {
    /// Checks a path.
    ///
    /// # Errors
    /// [`Error::Path`] for a path that is not as described above.
    pub fn new(path: impl Into<String>) -> Result<Self, Error> {
        let path = path.into();
        if path.is_empty() || (path.len() <= MAX_PATH && is_nested(&path)) {
            Ok(Self(path))
        } else {
            Err(Error::Path { path })
        }
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the cgroup itself.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names on the way down.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// This path with a name added.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn join(&self, name: &str) -> Result<Self, Error> {
        if self.is_empty() {
            Self::new(name)
        } else {
            Self::new(format!("{}/{name}", self.0))
        }
    }

    /// The path of the cgroup above, `None` above the cgroup itself.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let end = self.0.rfind('/').unwrap_or(0);
        (!self.is_empty()).then(|| Self(self.0[..end].to_owned()))
    }
}

fn is_nested(path: &str) -> bool {
    let is_name =
        |name: &str| !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME && !name.contains(['\0', '\n']);
    path.split('/').all(is_name) && path.split('/').count() <= MAX_DEPTH
}

impl TryFrom<String> for GroupPath {
    type Error = Error;

    fn try_from(path: String) -> Result<Self, Error> {
        Self::new(path)
    }
}

impl From<GroupPath> for String {
    fn from(path: GroupPath) -> Self {
        path.0
    }
}

impl fmt::Display for GroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

impl CgroupRecord {
    /// Reads a record from an archive.
    ///
    /// # Errors
    /// [`Error::TooMuch`] when a bound is passed, [`Error::Version`] for a record of another version, [`Error::Json`] for
    /// anything that is no record, [`Error::Record`] for a record that says something impossible.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        Bound::RecordBytes.check(bytes.len(), MAX_RECORD_BYTES)?;
        let probe: VersionProbe = serde_json::from_slice(bytes).map_err(|source| Error::Json { source })?;
        if probe.version != RECORD_VERSION {
            return Err(Error::Version { found: probe.version });
        }
        let record: Self = serde_json::from_slice(bytes).map_err(|source| Error::Json { source })?;
        record.validate()?;
        Ok(record)
    }

    /// The content of the archive's entry.
    ///
    /// # Errors
    /// [`Error::Json`], which no record that was read or made by this module causes.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec_pretty(self).map_err(|source| Error::Json { source })
    }

    /// The limits that somebody has set: those that differ from what the kernel gives a new cgroup.
    #[must_use]
    pub fn set_limits(&self) -> Vec<SetLimit<'_>> {
        let mut set = Vec::new();
        for hierarchy in &self.hierarchies {
            for group in &hierarchy.groups {
                set.extend(group.set_limits(hierarchy.version));
            }
        }
        set
    }

    /// The block devices that limits belong to, each once.
    #[must_use]
    pub fn devices(&self) -> Vec<&str> {
        let groups = self.hierarchies.iter().flat_map(|hierarchy| &hierarchy.groups);
        let limits = groups.flat_map(|group| group.device_limits.values().flatten());
        let mut devices: Vec<_> = limits.filter_map(|limit| limit.device.as_deref()).collect();
        devices.retain(|device| *device != DEFAULT_DEVICE);
        devices.sort_unstable();
        devices.dedup();
        devices
    }

    fn validate(&self) -> Result<(), Error> {
        Bound::Hierarchies.check(self.hierarchies.len(), MAX_HIERARCHIES)?;
        Bound::Groups.check(self.unread.len(), MAX_GROUPS)?;
        for hierarchy in &self.hierarchies {
            Bound::Groups.check(hierarchy.groups.len(), MAX_GROUPS)?;
            let tasks = hierarchy
                .groups
                .iter()
                .map(|group| group.processes.len() + group.threads.len())
                .sum();
            Bound::Tasks.check(tasks, MAX_TASKS)?;
            hierarchy.validate()?;
        }
        Ok(())
    }
}

/// A limit that somebody has set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetLimit<'record> {
    /// The controller, as the recorded version calls it.
    pub controller: &'static str,
    /// The cgroup, relative to the container's.
    pub group: &'record GroupPath,
    /// The file.
    pub file: &'record str,
    /// The value; of a file with values of devices the line, with the device's path where it has one.
    pub value: Cow<'record, str>,
}

/// Only the version: what else a newer record says is not looked at.
#[derive(Deserialize)]
struct VersionProbe {
    version: u32,
}

impl Hierarchy {
    /// The container's own cgroup, absent where it could not be read.
    #[must_use]
    pub fn top(&self) -> Option<&Group> {
        self.groups.first()
    }

    fn validate(&self) -> Result<(), Error> {
        let mut seen = std::collections::BTreeSet::new();
        for (index, group) in self.groups.iter().enumerate() {
            let parent_known = group.path.parent().is_none_or(|parent| seen.contains(&parent));
            if (index == 0) != group.path.is_empty() || !parent_known || !seen.insert(group.path.clone()) {
                return Err(group.bad("path"));
            }
            group.validate(self.version)?;
        }
        Ok(())
    }
}

impl Group {
    fn set_limits(&self, version: HierarchyVersion) -> Vec<SetLimit<'_>> {
        let limit = |name: &'_ str, value: &str| {
            let file =
                files::find(version, name).filter(|file| !file.controller.is_empty() && !file.usual.holds(value))?;
            Some(file.controller)
        };
        let values = self.limits.iter().filter_map(|(file, value)| {
            let controller = limit(file, value)?;
            Some(SetLimit {
                controller,
                group: &self.path,
                file,
                value: Cow::Borrowed(value.as_str()),
            })
        });
        let devices = self
            .device_limits
            .iter()
            .flat_map(|(file, limits)| limits.iter().map(move |limit| (file, limit)));
        let devices = devices.filter_map(|(file, device)| {
            let value = device.line();
            let controller = limit(file, &value)?;
            Some(SetLimit {
                controller,
                group: &self.path,
                file,
                value: Cow::Owned(value),
            })
        });
        values.chain(devices).collect()
    }

    fn bad(&self, what: &'static str) -> Error {
        Error::Record {
            group: self.path.clone(),
            what,
        }
    }

    fn validate(&self, version: HierarchyVersion) -> Result<(), Error> {
        for (name, value) in &self.limits {
            match files::find(version, name) {
                Some(file) if file.shape != Shape::Devices && file.shape.accepts(value) => {}
                _ => return Err(self.bad("limits")),
            }
        }
        for (name, limits) in &self.device_limits {
            let known = files::find(version, name).is_some_and(|file| file.shape == Shape::Devices);
            if !known || !limits.iter().all(DeviceLimit::is_valid) {
                return Err(self.bad("device_limits"));
            }
        }
        let mut owners = self.delegated.values().chain([&self.owner]);
        if !owners.all(|owner| owner.permissions().is_some()) {
            return Err(self.bad("mode"));
        }
        if !self.delegated.keys().all(|name| files::is_delegable(name)) {
            return Err(self.bad("delegated"));
        }
        Ok(())
    }
}

impl Owner {
    /// The permission bits; `None` when `mode` is no octal number up to 07777.
    #[must_use]
    pub fn permissions(&self) -> Option<u32> {
        let digits = (1..=4).contains(&self.mode.len()) && self.mode.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        digits.then(|| u32::from_str_radix(&self.mode, 8).ok()).flatten()
    }
}

impl DeviceLimit {
    /// Whether it stands for all devices without a limit of their own.
    pub(super) fn is_default(&self) -> bool {
        self.device.as_deref() == Some(DEFAULT_DEVICE)
    }

    /// What it belongs to, for people: the path of the device, or its number on the source host.
    pub(super) fn key(&self) -> &str {
        self.device.as_deref().or(self.number.as_deref()).unwrap_or_default()
    }

    /// The limit as a line, for people and for comparison with the usual one.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.key(), self.value)
    }

    /// Whether a limit read from an archive can be used: a single line, and a path that can only name a device.
    fn is_valid(&self) -> bool {
        let device = self.device.as_deref();
        let below_dev = |path: &str| {
            path.strip_prefix("/dev/")
                .is_some_and(|name| name.len() <= MAX_NAME && is_nested(name))
        };
        let number = self
            .number
            .as_deref()
            .is_none_or(|number| parse_number(number).is_some());
        device.is_none_or(|device| device == DEFAULT_DEVICE || below_dev(device))
            && number
            && Shape::Text.accepts(&self.value)
    }
}

/// Parses `MAJOR:MINOR`.
pub(super) fn parse_number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(major) && digits(minor)).then_some(())?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn minimal() -> Value {
        json!({
            "version": 1,
            "mode": "v2",
            "hierarchies": [{
                "version": "v2",
                "controllers": ["memory"],
                "mount_root": "/",
                "mount_point": "/sys/fs/cgroup",
                "path": "ct1",
                "groups": [
                    {
                        "path": "",
                        "owner": {"uid": 0, "gid": 0, "mode": "0755"},
                        "limits": {"memory.max": "max"},
                        "device_limits": {"io.max": [{"device": "/dev/sda", "number": "8:0", "value": "rbps=1"}]},
                        "processes": [1],
                    },
                    {"path": "a", "owner": {"uid": 0, "gid": 0, "mode": "0755"}},
                ],
            }],
        })
    }

    fn read(value: &Value) -> Result<CgroupRecord, Error> {
        CgroupRecord::from_json(value.to_string().as_bytes())
    }

    #[test]
    fn the_least_record_is_read() {
        let record = read(&minimal()).unwrap();
        assert_eq!(record.hierarchies[0].top().unwrap().processes, [1]);
        assert_eq!(record.devices(), ["/dev/sda"]);
    }

    /// Sets one value of the least record, by JSON pointer.
    fn with(pointer: &str, value: Value) -> Value {
        let mut record = minimal();
        *record.pointer_mut(pointer).unwrap() = value;
        record
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let paths = [
            "/a",
            "..",
            "a/../b",
            "a//b",
            "a/",
            ".",
            "a\0b",
            "a\nb",
            &"x".repeat(300),
            &"a/".repeat(3000),
        ];
        for path in paths {
            assert!(matches!(GroupPath::new(path), Err(Error::Path { .. })), "{path:?}");
            assert!(
                matches!(read(&with("/hierarchies/0/path", json!(path))), Err(Error::Json { .. })),
                "{path:?}"
            );
        }
        let deep = vec!["a"; MAX_DEPTH].join("/");
        assert!(GroupPath::new(deep.clone()).is_ok());
        assert!(GroupPath::new(format!("{deep}/a")).is_err());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let group = |field: &str| format!("/hierarchies/0/groups/0/{field}");
        let device = |value: Value| json!({"io.max": [value]});
        let cases = [
            ("a first group below", with(&group("path"), json!("b")), "path"),
            ("a second top", with("/hierarchies/0/groups/1/path", json!("")), "path"),
            ("no parent", with("/hierarchies/0/groups/1/path", json!("b/c")), "path"),
            (
                "an unknown file",
                with(&group("limits"), json!({"cgroup.kill": "1"})),
                "limits",
            ),
            (
                "a file elsewhere",
                with(&group("limits"), json!({"../memory.max": "1"})),
                "limits",
            ),
            (
                "a file of the other version",
                with(&group("limits"), json!({"memory.limit_in_bytes": "1"})),
                "limits",
            ),
            (
                "a device file as a value",
                with(&group("limits"), json!({"io.max": "8:0 rbps=1"})),
                "limits",
            ),
            (
                "two lines",
                with(&group("limits"), json!({"memory.max": "1\n2"})),
                "limits",
            ),
            (
                "an escape sequence",
                with(&group("limits"), json!({"memory.max": "\u{1b}[2J"})),
                "limits",
            ),
            (
                "no cpuset",
                with(&group("limits"), json!({"cpuset.cpus": "all"})),
                "limits",
            ),
            (
                "a value as a device file",
                with(&group("device_limits"), json!({"memory.max": []})),
                "device_limits",
            ),
            (
                "no device",
                with(
                    &group("device_limits"),
                    device(json!({"device": "/etc/passwd", "value": "1"})),
                ),
                "device_limits",
            ),
            (
                "a way out of /dev",
                with(
                    &group("device_limits"),
                    device(json!({"device": "/dev/../x", "value": "1"})),
                ),
                "device_limits",
            ),
            (
                "no number",
                with(&group("device_limits"), device(json!({"number": "8", "value": "1"}))),
                "device_limits",
            ),
            ("no mode", with(&group("owner/mode"), json!("rwx")), "mode"),
            ("a mode too long", with(&group("owner/mode"), json!("07777777")), "mode"),
        ];
        for (name, record, wanted) in cases {
            match read(&record) {
                Err(Error::Record { what, .. }) => assert_eq!(what, wanted, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        let mut record = minimal();
        record["hierarchies"][0]["groups"][0]["delegated"] =
            json!({"release_agent": {"uid": 0, "gid": 0, "mode": "0644"}});
        assert!(matches!(read(&record), Err(Error::Record { what: "delegated", .. })));
    }

    #[test]
    fn other_versions_are_told_before_their_content() {
        for version in [0, 2, 4_000_000_000_u32] {
            let record = json!({"version": version, "shape": "another"});
            assert!(matches!(read(&record), Err(Error::Version { found }) if found == version));
        }
        for text in ["", "[]", "{}", r#"{"version": "1"}"#, r#"{"version": 1}"#] {
            assert!(
                matches!(CgroupRecord::from_json(text.as_bytes()), Err(Error::Json { .. })),
                "{text}"
            );
        }
        let mut unknown = minimal();
        unknown["more"] = json!(1);
        assert!(matches!(read(&unknown), Err(Error::Json { .. })));
    }

    #[test]
    fn counts_are_bounded() {
        let group = |n: usize| json!({"path": if n == 0 { String::new() } else { n.to_string() }, "owner": {"uid": 0, "gid": 0, "mode": "0"}});
        let groups: Vec<_> = (0..=MAX_GROUPS).map(group).collect();
        let many = with("/hierarchies/0/groups", json!(groups));
        assert!(matches!(
            read(&many),
            Err(Error::TooMuch {
                what: Bound::Groups,
                ..
            })
        ));
        let tasks = with("/hierarchies/0/groups/0/processes", json!(vec![1; MAX_TASKS + 1]));
        assert!(matches!(read(&tasks), Err(Error::TooMuch { what: Bound::Tasks, .. })));
        let hierarchy = minimal()["hierarchies"][0].clone();
        let hierarchies = with("/hierarchies", json!(vec![hierarchy; MAX_HIERARCHIES + 1]));
        assert!(matches!(
            read(&hierarchies),
            Err(Error::TooMuch {
                what: Bound::Hierarchies,
                ..
            })
        ));
        let large = vec![b' '; MAX_RECORD_BYTES + 1];
        assert!(matches!(
            CgroupRecord::from_json(&large),
            Err(Error::TooMuch {
                what: Bound::RecordBytes,
                ..
            })
        ));
    }

    fn limits() -> impl Strategy<Value = BTreeMap<String, String>> {
        let name = prop_oneof![
            "memory\\.(max|high|low)",
            "cpu\\.(max|weight)",
            "hugetlb\\.[0-9]{1,2}MB\\.max",
            "pids\\.max"
        ];
        proptest::collection::btree_map(name, "[ -~]{0,20}", 0..4)
    }

    fn devices() -> impl Strategy<Value = BTreeMap<String, Vec<DeviceLimit>>> {
        let limit = (
            proptest::option::of("/dev/[a-z]{1,4}(/[a-z0-9]{1,4})?"),
            proptest::option::of("[0-9]{1,5}:[0-9]{1,5}"),
            "[ -~]{0,20}",
        );
        let limit = limit.prop_map(|(device, number, value)| DeviceLimit { device, number, value });
        proptest::collection::btree_map(
            "io\\.(max|weight|latency)",
            proptest::collection::vec(limit, 0..3),
            0..3,
        )
    }

    prop_compose! {
        fn group(path: String)(
            (uid, gid) in any::<(u32, u32)>(), mode in "[0-7]{4}", limits in limits(), device_limits in devices(),
            processes in proptest::collection::vec(any::<i32>(), 0..4),
            threads in proptest::collection::vec(any::<i32>(), 0..2), delegate in any::<bool>(),
        ) -> Group {
            let owner = Owner { uid, gid, mode };
            let delegated = delegate.then(|| ("cgroup.procs".to_owned(), owner.clone())).into_iter().collect();
            let path = GroupPath::new(path.clone()).unwrap();
            Group { path, owner, delegated, limits, device_limits, processes, threads }
        }
    }

    fn record() -> impl Strategy<Value = CgroupRecord> {
        let groups = proptest::collection::btree_set("[a-zé]{3,8}(\\.slice)?", 0..4).prop_flat_map(|names| {
            let paths = std::iter::once(String::new()).chain(names);
            paths.map(group).collect::<Vec<_>>()
        });
        let hierarchy = (groups, "[a-z]{1,8}(/[a-z]{1,8}){0,3}").prop_map(|(groups, path)| Hierarchy {
            version: HierarchyVersion::V2,
            controllers: vec!["memory".to_owned()],
            mount_root: "/".to_owned(),
            mount_point: "/sys/fs/cgroup".to_owned(),
            path: GroupPath::new(path).unwrap(),
            groups,
        });
        (proptest::collection::vec(hierarchy, 0..3), "\\PC{0,10}").prop_map(|(hierarchies, what)| CgroupRecord {
            version: RECORD_VERSION,
            mode: CgroupMode::Hybrid,
            hierarchies,
            unread: vec![Unread {
                what,
                reason: UnreadReason::Failed,
            }],
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(record in record()) {
            prop_assert_eq!(CgroupRecord::from_json(&record.to_json().unwrap()).unwrap(), record);
        }

        #[test]
        fn no_plan_of_a_valid_record_leaves_the_container(record in record()) {
            let plan = super::super::plan_apply(&record, &super::super::fixture::target(CgroupMode::V2));
            for step in &plan.steps {
                if let super::super::Step::Write(write) = step {
                    prop_assert!(write.place.path().starts_with("/cg/new/ct2"));
                    prop_assert!(!write.file.contains('/') && !write.place.path().to_str().unwrap().contains(".."));
                }
            }
        }
    }
}
