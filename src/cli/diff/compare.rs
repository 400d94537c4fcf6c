//! The comparison of two inspections.
//!
//! Invariant: everything is found by what makes it the same thing in both (a pid, a descriptor of a pid, a mount point), so the
//! order in which images have things makes no difference.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::super::args::DiffArgs;
use super::super::inspect::Inspection;
use super::Side;
use super::pages::MemoryChange;
use crate::images::{Mount, OpenFile, Process};

/// Entries that are compared by what is in them, not by their digests.
const UNDERSTOOD: [&str; 14] = [
    "ckpt.json",
    "config.dump",
    "spec.dump",
    "bind.mounts",
    "network.status",
    "cgroup.json",
    "stats-dump",
    "dump.log",
    "index.json",
    "SHA256SUMS",
    "SHA256SUMS.sig",
    "checkpoint/",
    "pre-checkpoint/",
    "status",
];
/// Parts of a manifest that are of the checkpoint, not of the container.
const MOMENTARY: [&str; 4] = ["/checkpointed_at", "/producer", "/parent", "/container/pid"];
/// Settings that are told; an OCI configuration has some hundred.
const MOST_SETTINGS: usize = 10_000;

/// What is different between two checkpoints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Difference {
    /// Whether nothing is.
    pub same: bool,
    /// The first.
    pub before: Checkpoint,
    /// The second.
    pub after: Checkpoint,
    /// Manifest, OCI configuration and limits: each by its place.
    pub configuration: Vec<Setting>,
    /// Processes.
    pub processes: Changes<ProcessView>,
    /// Open files that are no sockets.
    pub files: Changes<FileView>,
    /// Sockets.
    pub sockets: Changes<SocketView>,
    /// Mounts.
    pub mounts: Changes<MountView>,
    /// Memory of each process that either has.
    pub memory: Vec<MemoryChange>,
    /// Files of the container: entries of the archives that are not the same.
    pub content: Vec<Setting>,
    /// What could not be compared, and why.
    pub problems: Vec<String>,
}

/// One of the two checkpoints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Checkpoint {
    /// The archive.
    pub file: String,
    /// SHA-256 of its list of checksums, where it has one.
    pub identity: Option<String>,
    /// Name of the container.
    pub container: String,
    /// Its identifier.
    pub id: String,
    /// Its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// When it was taken.
    pub checkpointed_at: String,
    /// Length of the archive, bytes.
    pub bytes: u64,
    /// Bytes of memory in it.
    pub memory: u64,
}

/// Something that has a value.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Setting {
    /// What it is.
    pub name: String,
    /// Its value in the first, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its value in the second, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Changes among things of one kind.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Changes<T> {
    /// Those that only the second has.
    pub added: Vec<T>,
    /// Those that only the first has.
    pub removed: Vec<T>,
    /// Those that are not the same in both.
    pub changed: Vec<Changed<T>>,
    /// Those that are; only where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchanged: Option<Vec<T>>,
}

/// Something that is not the same in both.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Changed<T> {
    /// In the first.
    pub before: T,
    /// In the second.
    pub after: T,
}

/// What is compared of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProcessView {
    /// Process id.
    pub pid: u32,
    /// Its parent's.
    pub ppid: u32,
    /// Its name.
    pub name: String,
    /// Its command line, or its name where that is not at hand.
    pub command: String,
    /// What it was doing.
    pub state: crate::images::TaskState,
    /// Ids of its threads.
    pub threads: Vec<u32>,
    /// Its environment, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Vec<String>>,
}

/// What is compared of an open file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FileView {
    /// Process id.
    pub pid: u32,
    /// File descriptor.
    pub fd: u32,
    /// Kind of file.
    #[serde(rename = "type")]
    pub kind: crate::images::FileType,
    /// Its path, or what it is.
    pub path: String,
    /// Where the next byte is read or written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// What is compared of a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SocketView {
    /// Process id.
    pub pid: u32,
    /// File descriptor.
    pub fd: u32,
    /// The protocol.
    pub protocol: String,
    /// Its state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Its own address, or its name.
    pub local: String,
    /// That of the other end.
    pub remote: String,
}

/// What is compared of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MountView {
    /// Where it is.
    pub mountpoint: String,
    /// The file system.
    pub filesystem: String,
    /// Its source.
    pub source: String,
    /// Options of the mount.
    pub options: String,
}

impl Difference {
    /// Of two checkpoints.
    pub fn of(one: &Side, other: &Side, memory: Vec<MemoryChange>, args: &DiffArgs) -> Self {
        let (before, after) = (&one.inspection, &other.inspection);
        let unchanged = args.unchanged;
        let problems = [one, other].into_iter().flat_map(|side| {
            let problems = side.inspection.inside.problems.iter();
            problems.map(|problem| format!("{}: {}", side.inspection.file, problem.problem))
        });
        let mut difference = Self {
            same: false,
            before: Checkpoint::of(before),
            after: Checkpoint::of(after),
            configuration: settings(&configuration(one), &configuration(other)),
            processes: changes(processes(before), processes(after), unchanged),
            files: changes(files(before), files(after), unchanged),
            sockets: changes(sockets(before), sockets(after), unchanged),
            mounts: changes(mounts(before), mounts(after), unchanged),
            memory,
            content: settings(&content(before), &content(after)),
            problems: problems.collect(),
        };
        difference.same = difference.is_empty();
        difference
    }

    fn is_empty(&self) -> bool {
        self.configuration.is_empty()
            && self.content.is_empty()
            && self.processes.is_empty()
            && self.files.is_empty()
            && self.sockets.is_empty()
            && self.mounts.is_empty()
            && self.memory.iter().all(MemoryChange::is_none)
    }
}

impl<T> Changes<T> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl Checkpoint {
    fn of(inspection: &Inspection) -> Self {
        let container = &inspection.manifest.container;
        Self {
            file: inspection.file.clone(),
            identity: inspection.archive.identity.clone(),
            container: container.name.clone(),
            id: container.id.clone(),
            image: container.image.as_ref().map(|image| image.name.clone()),
            checkpointed_at: inspection.manifest.checkpointed_at.clone(),
            bytes: inspection.archive.bytes,
            memory: inspection
                .inside
                .memory
                .private
                .saturating_add(inspection.inside.memory.shared),
        }
    }
}

fn changes<K: Ord, T: PartialEq + Clone>(
    mut before: BTreeMap<K, T>,
    after: BTreeMap<K, T>,
    unchanged: bool,
) -> Changes<T> {
    let mut changes = Changes {
        added: Vec::new(),
        removed: Vec::new(),
        changed: Vec::new(),
        unchanged: unchanged.then(Vec::new),
    };
    for (key, after) in after {
        match before.remove(&key) {
            None => changes.added.push(after),
            Some(before) if before != after => changes.changed.push(Changed { before, after }),
            Some(_) => changes.unchanged.iter_mut().for_each(|list| list.push(after.clone())),
        }
    }
    changes.removed = before.into_values().collect();
    changes
}

fn processes(inspection: &Inspection) -> BTreeMap<u32, ProcessView> {
    let view = |process: &Process| ProcessView {
        pid: process.pid,
        ppid: process.ppid,
        name: process.name.clone(),
        command: process.command(),
        state: process.state,
        threads: process.threads.iter().map(|thread| thread.tid).collect(),
        environment: process.environment.clone(),
    };
    let processes = inspection.inside.processes.iter();
    processes.map(|process| (process.pid, view(process))).collect()
}

fn files(inspection: &Inspection) -> BTreeMap<(u32, u32), FileView> {
    let view = |pid, file: &OpenFile| FileView {
        pid,
        fd: file.fd,
        kind: file.kind,
        // Numbers of pipes and of other things without a name are the kernel's, and another time others.
        path: match file.path.split_once('[') {
            Some((kind @ ("pipe" | "fifo"), _)) => kind.to_owned(),
            _ => file.path.to_string(),
        },
        offset: file.offset,
        size: file.size,
    };
    let processes = inspection.inside.processes.iter();
    let files = processes.flat_map(|process| {
        let files = process.files.iter().filter(|file| !file.kind.is_socket());
        files.map(move |file| ((process.pid, file.fd), view(process.pid, file)))
    });
    files.collect()
}

/// By what they are connected to: a descriptor that is another connection now is one socket gone and one added.
fn sockets(inspection: &Inspection) -> BTreeMap<(u32, u32, String, String, String), SocketView> {
    let processes = inspection.inside.processes.iter();
    let sockets = processes.flat_map(|process| process.sockets().map(|file| (process.pid, file)));
    let views = sockets.filter_map(|(pid, file)| {
        let socket = file.socket.as_ref()?;
        let end = |endpoint: &Option<crate::images::Endpoint>| endpoint.as_ref().map(ToString::to_string);
        Some(SocketView {
            pid,
            fd: file.fd,
            protocol: socket.protocol.clone(),
            state: socket.state.clone(),
            local: end(&socket.local).or_else(|| socket.path.clone()).unwrap_or_default(),
            remote: end(&socket.remote).unwrap_or_default(),
        })
    });
    let key = |view: &SocketView| {
        let SocketView {
            pid,
            fd,
            protocol,
            local,
            remote,
            ..
        } = view;
        (*pid, *fd, protocol.clone(), local.clone(), remote.clone())
    };
    views.map(|view| (key(&view), view)).collect()
}

/// Several mounts may be on one place; the order of their numbers tells them apart.
fn mounts(inspection: &Inspection) -> BTreeMap<(String, usize), MountView> {
    let mut found = BTreeMap::new();
    let view = |mount: &Mount| MountView {
        mountpoint: mount.mountpoint.clone(),
        filesystem: mount.filesystem.clone(),
        source: mount.source.clone(),
        options: mount.flags.join(","),
    };
    for mount in &inspection.inside.mounts {
        let before = found
            .range((mount.mountpoint.clone(), 0)..=(mount.mountpoint.clone(), usize::MAX))
            .count();
        found.insert((mount.mountpoint.clone(), before), view(mount));
    }
    found
}

/// Everything that was set, by its place.
fn configuration(side: &Side) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let manifest = serde_json::to_value(&side.inspection.manifest).unwrap_or_default();
    flatten("", &manifest, &mut found);
    found.retain(|place, _| !MOMENTARY.iter().any(|momentary| place.starts_with(momentary)));
    if let Some(spec) = &side.spec {
        flatten("/spec", spec, &mut found);
    }
    for group in &side.inspection.inside.cgroups {
        for (file, value) in &group.limits {
            found.insert(format!("/cgroup{}/{file}", group.path), value.clone());
        }
    }
    found
}

fn flatten(place: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields
                .iter()
                .for_each(|(name, value)| flatten(&format!("{place}/{name}"), value, found));
        }
        Value::Array(list) if list.iter().any(|value| value.is_object() || value.is_array()) => {
            list.iter()
                .enumerate()
                .for_each(|(at, value)| flatten(&format!("{place}/{at}"), value, found));
        }
        Value::String(text) => _ = found.insert(place.to_owned(), text.clone()),
        value => _ = found.insert(place.to_owned(), value.to_string()),
    }
}

fn settings(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Setting> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let different = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let setting = |name: &String| Setting {
        name: name.clone(),
        before: before.get(name).cloned(),
        after: after.get(name).cloned(),
    };
    different.take(MOST_SETTINGS).map(setting).collect()
}

/// Entries that only their digests tell apart, or, where there are none, their sizes.
fn content(inspection: &Inspection) -> BTreeMap<String, String> {
    let opaque = |name: &str| {
        !UNDERSTOOD
            .iter()
            .any(|known| name == *known || (known.ends_with('/') && name.starts_with(known)))
    };
    let entries = inspection.entries.iter().filter(|entry| opaque(&entry.name));
    let value = |entry: &super::super::archive::Entry| match &entry.sha256 {
        Some(digest) => format!("{} bytes, sha256:{digest}", entry.bytes),
        None => format!("{} bytes", entry.bytes),
    };
    entries.map(|entry| (entry.name.clone(), value(entry))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_matched_by_what_they_are_connected_to() {
        let view = |fd: u32, remote: &str, state: &str| {
            let socket = SocketView {
                pid: 1,
                fd,
                protocol: "TCP".into(),
                state: Some(state.into()),
                local: "127.0.0.1:5000".into(),
                remote: remote.into(),
            };
            (
                (1, fd, "TCP".to_owned(), socket.local.clone(), remote.to_owned()),
                socket,
            )
        };
        let before = [
            view(3, "", "LISTEN"),
            view(4, "127.0.0.1:7", "ESTABLISHED"),
            view(5, "127.0.0.1:8", "ESTABLISHED"),
        ];
        let after = [
            view(3, "", "LISTEN"),
            view(4, "127.0.0.1:9", "ESTABLISHED"),
            view(5, "127.0.0.1:8", "CLOSE_WAIT"),
        ];
        let found = changes(before.into_iter().collect(), after.into_iter().collect(), true);
        assert_eq!(
            (found.added[0].remote.as_str(), found.removed[0].remote.as_str()),
            ("127.0.0.1:9", "127.0.0.1:7")
        );
        assert_eq!(found.changed[0].after.state.as_deref(), Some("CLOSE_WAIT"));
        assert_eq!(
            found.unchanged.as_deref().map(|list| list[0].state.as_deref()),
            Some(Some("LISTEN"))
        );
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(
            [&json["added"], &json["removed"], &json["unchanged"]].map(|list| list.as_array().unwrap().len()),
            [1, 1, 1]
        );
    }

    #[test]
    fn settings_are_told_by_their_place() {
        let flat = |value: Value| {
            let mut found = BTreeMap::new();
            flatten("", &value, &mut found);
            found
        };
        let before = flat(serde_json::json!({"a": {"b": 1}, "args": ["x", "y"], "mounts": [{"source": "/a"}]}));
        let after = flat(serde_json::json!({"a": {"c": 1}, "args": ["x", "z"], "mounts": [{"source": "/b"}]}));
        let found: Vec<(String, Option<String>, Option<String>)> = settings(&before, &after)
            .into_iter()
            .map(|s| (s.name, s.before, s.after))
            .collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            found,
            [
                ("/a/b".to_owned(), text("1"), None),
                ("/a/c".to_owned(), None, text("1")),
                ("/args".to_owned(), text("[\"x\",\"y\"]"), text("[\"x\",\"z\"]")),
                ("/mounts/0/source".to_owned(), text("/a"), text("/b")),
            ]
        );
    }
}
