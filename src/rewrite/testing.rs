//! An archive, a host and a request to test with, made from the configurations in `fixtures/spec/`.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::plan::{Plan, plan, questions};
use super::spec::mounts::{self, MountKind};
use super::{CgroupSummary, CgroupView, HostView, Inputs, Limit, PathKind, Refusals, Spec};
use crate::manifest::{BindMount, CgroupMode, DevShm, FileType, Manifest, RootfsMode};
use crate::request::{ImagesIn, ImportRequest, Input, Netns, RestoreOptions};

/// Bind mounts of files in the fixtures; all others are of directories.
const FILES: &[&str] = &[
    "/etc/f",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/hostname",
    "/run/.containerenv",
];

/// Everything that a plan is made from, to be changed by a test before it is.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) manifest: Manifest,
    pub(crate) spec: Value,
    pub(crate) cgroups: CgroupSummary,
    pub(crate) request: ImportRequest,
    pub(crate) host: HostView,
}

impl Case {
    /// An archive with the configuration of a fixture. Terminals are turned off: most tests are not about them.
    pub(crate) fn of(fixture: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures/spec")
            .join(fixture);
        let mut spec: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        if let Some(terminal) = spec.pointer_mut("/process/terminal") {
            *terminal = json!(false);
        }
        Self::with(spec)
    }

    /// A container without mounts or namespaces of interest.
    pub(crate) fn plain() -> Self {
        Self::with(json!({
            "root": {"path": "/old/rootfs"},
            "process": {"args": ["/bin/sh"]},
            "linux": {"namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "mount"}], "cgroupsPath": "/box/web"},
        }))
    }

    /// A container of this configuration.
    pub(super) fn with(spec: Value) -> Self {
        let manifest = manifest(&spec);
        Self {
            manifest,
            spec,
            cgroups: CgroupSummary::default(),
            request: request(),
            host: host(),
        }
    }

    /// Sets what is at a path of the host.
    pub(crate) fn at(&mut self, path: &str, kind: PathKind) {
        self.host.paths.insert(path.into(), kind);
    }

    pub(crate) fn plan(&self) -> Result<Plan, Refusals> {
        let spec = Spec::from_value(self.spec.clone()).unwrap();
        plan(self.inputs(&spec), &self.host)
    }

    pub(crate) fn questions(&self) -> BTreeSet<PathBuf> {
        let spec = Spec::from_value(self.spec.clone()).unwrap();
        questions(self.inputs(&spec), &self.host.cgroup)
    }

    pub(super) fn inputs<'a>(&'a self, spec: &'a Spec) -> Inputs<'a> {
        Inputs {
            manifest: &self.manifest,
            spec,
            cgroups: &self.cgroups,
            request: &self.request,
            lxc: None,
        }
    }
}

fn manifest(spec: &Value) -> Manifest {
    let binds = mounts::read(spec)
        .unwrap_or_default()
        .into_iter()
        .filter(|mount| mount.kind == MountKind::Bind);
    let bind_mounts: Vec<BindMount> = binds
        .map(|mount| BindMount {
            file_type: if FILES.contains(&mount.destination.as_str()) {
                FileType::File
            } else {
                FileType::Directory
            },
            destination: mount.destination,
            source: mount.source,
            options: vec!["rbind".to_owned()],
            permissions: "0755".to_owned(),
            entry: None,
        })
        .collect();
    let mut manifest: Manifest = serde_json::from_value(json!({
        "format": 1,
        "producer": {"name": "ckpt", "version": "0.1.0"},
        "checkpointed_at": "2026-11-20T10:00:00Z",
        "host": {
            "kernel": "6.12.0", "arch": "x86_64", "cgroup_mode": "v2", "criu": "4.2.1", "page_size": 4096,
            "cpu": {"vendor": "GenuineIntel", "family": 6, "model": 143, "name": "cpu", "xsave_size": 832, "flags": []},
        },
        "runtime": {"name": "runc", "version": "1.1.15"},
        "container": {
            "id": "web", "name": "web", "bundle": "/old/bundle", "rootfs": "/old/rootfs",
            "hostname": spec.get("hostname"), "terminal": false, "pid": 4711,
        },
        "options": {
            "leave-running": false, "tcp-established": false, "tcp-skip-in-flight": false, "ext-unix-sk": false,
            "shell-job": false, "file-locks": false, "link-remap": false, "pre-dump": false, "auto-dedup": false,
        },
        "namespaces": [],
        "bind_mounts": [],
        "filesystem": {"rootfs": "full", "entry": "rootfs.tar"},
    }))
    .unwrap();
    if bind_mounts.iter().any(|mount| mount.destination == "/dev/shm") {
        let options = ["rw", "nosuid", "nodev", "noexec", "relatime", "size=32000k", "inode64"].map(str::to_owned);
        manifest.filesystem.devshm = Some(DevShm {
            entry: "devshm-checkpoint.tar".to_owned(),
            options: options.to_vec(),
        });
    }
    manifest.bind_mounts = bind_mounts;
    manifest
}

fn request() -> ImportRequest {
    ImportRequest {
        input: Input::Stdin,
        threads: std::num::NonZeroUsize::MIN,
        name: None,
        runtime: None,
        allow_other_runtime: false,
        state_root: None,
        bundle: None,
        replace: false,
        root: None,
        ignore_rootfs: false,
        map_mounts: Vec::new(),
        allow_mounts: Vec::new(),
        allow_all_mounts: false,
        allow_hooks: false,
        allow_criu_config: false,
        allow_annotations: Vec::new(),
        allow_devices: Vec::new(),
        cgroup_parent: None,
        ignore_cgroup_limits: false,
        new_pidns: false,
        replace_files: Vec::new(),
        allow_files: Vec::new(),
        netns: Netns::Keep,
        hostname: None,
        console_socket: None,
        pid_file: None,
        parents: Vec::new(),
        pages: None,
        restore: RestoreOptions::default(),
        work_path: None,
        lazy: false,
        dry_run: false,
        no_restore: false,
        images_in: ImagesIn::Auto,
        podman: crate::request::PodmanOptions::default(),
        lxc: Default::default(),
    }
}

fn host() -> HostView {
    HostView {
        paths: BTreeMap::new(),
        runtime: Some("1.1.15".to_owned()),
        name_taken: false,
        bundle_user: None,
        cgroup: CgroupView {
            mode: CgroupMode::V2,
            systemd: false,
            controllers: ["cpu", "memory", "pids"].into_iter().map(str::to_owned).collect(),
            mountpoints: vec![PathBuf::from("/sys/fs/cgroup")],
        },
        base: None,
    }
}

/// A limit of the container's own cgroup.
pub(crate) fn limit(controller: &str, file: &str, value: &str) -> Limit {
    Limit {
        controller: controller.to_owned(),
        cgroup: String::new(),
        file: file.to_owned(),
        value: value.to_owned(),
    }
}

/// A diff archive over `/base`, which is on the host.
pub(crate) fn make_diff(case: &mut Case) {
    case.manifest.filesystem.rootfs = RootfsMode::Diff;
    case.manifest.filesystem.entry = Some("rootfs-diff.tar".to_owned());
    case.request.root = Some("/base".into());
    case.at("/base", PathKind::Directory);
}

/// The JSON pointers at which two values differ: of the smallest parts that do.
pub(crate) fn difference(before: &Value, after: &Value) -> BTreeSet<String> {
    fn walk(before: &Value, after: &Value, pointer: &str, found: &mut BTreeSet<String>) {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => {
                for key in before.keys().chain(after.keys()) {
                    let pointer = format!("{pointer}/{}", super::spec::escape(key));
                    match (before.get(key), after.get(key)) {
                        (Some(before), Some(after)) => walk(before, after, &pointer, found),
                        _ => drop(found.insert(pointer)),
                    }
                }
            }
            (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
                for (index, (before, after)) in before.iter().zip(after).enumerate() {
                    walk(before, after, &format!("{pointer}/{index}"), found);
                }
            }
            _ if before == after => {}
            _ => drop(found.insert(pointer.to_owned())),
        }
    }
    let mut found = BTreeSet::new();
    walk(before, after, "", &mut found);
    found
}
