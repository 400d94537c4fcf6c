//! `annotations`: labels, some of which make runtimes and engines act.
//!
//! The list of those is here, with what each does and who reads it. It was made from the documentation and sources of
//! runc, crun, containerd, CRI-O and podman; an annotation that is on it needs the importer's word.

use serde_json::Value;

use super::{Editor, SpecError, object_at};

/// The annotation that names an option file for CRIU. CRIU's options include programs that it runs as root.
pub const CRIU_CONFIG: &str = "org.criu.config";

/// How an annotation's key is matched.
#[derive(Debug, Clone, Copy)]
enum Key {
    /// This very key.
    Is(&'static str),
    /// Any key that begins so.
    Begins(&'static str),
}

/// Annotations that make a runtime or an engine do something on the host, and what.
const ACTING: &[(Key, &str)] = &[
    // Container Device Interface: device nodes, mounts and hooks from the host's own definitions.
    (
        Key::Begins("cdi.k8s.io/"),
        "injects devices, mounts and hooks of the host (CDI)",
    ),
    // crun
    (
        Key::Is("run.oci.handler"),
        "runs the container under another handler (crun)",
    ),
    (Key::Is("run.oci.hooks.stdout"), "writes to a file of the host (crun)"),
    (Key::Is("run.oci.hooks.stderr"), "writes to a file of the host (crun)"),
    (
        Key::Is("run.oci.seccomp.receiver"),
        "connects to a socket of the host (crun)",
    ),
    (Key::Is("run.oci.seccomp.plugins"), "loads a library of the host (crun)"),
    (
        Key::Is("run.oci.seccomp_bpf_data"),
        "replaces the seccomp filter (crun)",
    ),
    (
        Key::Is("run.oci.seccomp_fail_unknown_syscall"),
        "changes the seccomp filter (crun)",
    ),
    (
        Key::Is("run.oci.pidfd_receiver"),
        "connects to a socket of the host (crun)",
    ),
    (
        Key::Is("run.oci.keep_original_groups"),
        "keeps the caller's groups (crun)",
    ),
    (Key::Is("run.oci.delegate-cgroup"), "delegates a cgroup (crun)"),
    (Key::Begins("run.oci.systemd."), "changes how the cgroup is made (crun)"),
    (Key::Begins("krun."), "runs the container in a virtual machine (crun)"),
    (
        Key::Is("module.wasm.image/variant"),
        "runs the container under another handler (crun)",
    ),
    // runc and crun with systemd
    (
        Key::Begins("org.systemd.property."),
        "sets properties of the systemd unit (runc, crun)",
    ),
    // CRI-O
    (
        Key::Is("io.kubernetes.cri-o.Devices"),
        "adds devices of the host (CRI-O)",
    ),
    (Key::Is("io.kubernetes.cri-o.ShmSize"), "changes /dev/shm (CRI-O)"),
    (
        Key::Is("io.kubernetes.cri-o.UnifiedCgroup"),
        "sets cgroup files (CRI-O)",
    ),
    (
        Key::Begins("io.kubernetes.cri-o.UnifiedCgroup."),
        "sets cgroup files (CRI-O)",
    ),
    (
        Key::Is("io.kubernetes.cri-o.cgroup2-mount-hierarchy-rw"),
        "mounts cgroups writable (CRI-O)",
    ),
    (
        Key::Is("io.kubernetes.cri-o.userns-mode"),
        "changes the user namespace (CRI-O)",
    ),
    (
        Key::Begins("seccomp-profile.kubernetes.cri-o.io"),
        "replaces the seccomp filter (CRI-O)",
    ),
    // podman
    (
        Key::Is("io.podman.annotations.seccomp"),
        "replaces the seccomp filter (podman)",
    ),
    (
        Key::Is("io.podman.annotations.privileged"),
        "runs the container privileged (podman)",
    ),
    (
        Key::Is("io.podman.annotations.volumes-from"),
        "mounts volumes of other containers (podman)",
    ),
    (
        Key::Is("io.podman.annotations.userns"),
        "changes the user namespace (podman)",
    ),
    (
        Key::Begins("io.podman.annotations.checkpoint."),
        "is taken for a checkpoint image (podman)",
    ),
    // NRI and Kata, which read annotations of the container through containerd and CRI-O
    (
        Key::Begins("io.katacontainers."),
        "configures a virtual machine (Kata Containers)",
    ),
    (Key::Begins("devices.nri.io/"), "adds devices of the host (NRI)"),
    (Key::Begins("mounts.nri.io/"), "adds mounts of the host (NRI)"),
];

/// Annotations that a pattern of [`ACTING`] covers and that do no harm: podman writes them for every container.
const HARMLESS: &[&str] = &[
    "org.systemd.property.KillSignal",
    "org.systemd.property.TimeoutStopUSec",
];

/// Annotations known to hold the container's identifier or name.
const NAMING: &[&str] = &[
    "io.kubernetes.cri-o.ContainerID",
    "io.kubernetes.cri-o.ContainerName",
    "io.kubernetes.cri-o.Name",
    "io.kubernetes.cri.container-name",
    "io.kubernetes.container.name",
    "io.podman.annotations.container.name",
    "nerdctl/name",
];

/// An annotation that makes somebody act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acting {
    /// Its key.
    pub key: String,
    /// What it does, and who reads it.
    pub effect: &'static str,
}

/// Every annotation, in order.
///
/// # Errors
/// When the shape is wrong.
pub fn read(spec: &Value) -> Result<Vec<(&str, &str)>, SpecError> {
    let Some(annotations) = object_at(spec, "/annotations")? else {
        return Ok(Vec::new());
    };
    if annotations.len() > super::MAX_ELEMENTS {
        return Err(SpecError::TooMany {
            pointer: "/annotations".to_owned(),
            count: annotations.len(),
        });
    }
    annotations
        .iter()
        .map(|(key, value)| match value {
            Value::String(value) => Ok((key.as_str(), value.as_str())),
            Value::Null => Ok((key.as_str(), "")),
            other => Err(super::wrong(
                other,
                &format!("/annotations/{}", super::escape(key)),
                "a string",
            )),
        })
        .collect()
}

/// The annotations that make a runtime or an engine act; [`CRIU_CONFIG`] is not among them, it has its own flag.
///
/// # Errors
/// When the shape is wrong.
pub fn acting(spec: &Value) -> Result<Vec<Acting>, SpecError> {
    let effect = |key: &str| {
        if HARMLESS.contains(&key) {
            return None;
        }
        let found = ACTING.iter().find(|(pattern, _)| match pattern {
            Key::Is(name) => key == *name,
            Key::Begins(prefix) => key.starts_with(prefix),
        });
        found.map(|(_, effect)| *effect)
    };
    let annotations = read(spec)?;
    let acting = |(key, _): (&str, &str)| {
        effect(key).map(|effect| Acting {
            key: key.to_owned(),
            effect,
        })
    };
    Ok(annotations.into_iter().filter_map(acting).collect())
}

/// Gives the container its new name in the annotations that are known to hold it and do hold an old one.
///
/// # Errors
/// When the shape is wrong.
pub fn rename(editor: &mut Editor, old: &[&str], new: &str) -> Result<(), SpecError> {
    let holds = |(key, value): &(&str, &str)| NAMING.contains(key) && old.contains(value);
    let keys: Vec<String> = read(editor.spec())?
        .into_iter()
        .filter(holds)
        .map(|(key, _)| key.to_owned())
        .collect();
    for key in keys {
        editor.set("/annotations", &key, Value::from(new));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn acts(key: &str) -> bool {
        !acting(&json!({"annotations": {key: "x"}})).unwrap().is_empty()
    }

    #[test]
    fn every_pattern_of_the_list_is_met_and_its_neighbours_are_not() {
        for (pattern, _) in ACTING {
            match pattern {
                Key::Is(name) => assert!(acts(name) && !acts(&format!("{name}x")), "{name}"),
                Key::Begins(prefix) => assert!(
                    acts(prefix) && acts(&format!("{prefix}x")) && !acts(&prefix[1..]),
                    "{prefix}"
                ),
            }
        }
    }

    #[test]
    fn ordinary_annotations_do_nothing() {
        let podmans = [
            "io.container.manager",
            "org.opencontainers.image.stopSignal",
            "io.podman.annotations.autoremove",
        ];
        for key in podmans.iter().chain(HARMLESS).chain(NAMING) {
            assert!(!acts(key), "{key}");
        }
    }

    #[test]
    fn only_names_that_were_the_containers_are_changed() {
        let spec = json!({"annotations": {
            "io.kubernetes.cri-o.ContainerID": "0123", "io.kubernetes.cri-o.ContainerName": "web",
            "io.kubernetes.cri-o.Name": "pod", "org.example.name": "web",
        }});
        let mut editor = Editor::new(spec);
        rename(&mut editor, &["0123", "web"], "copy").unwrap();
        let (spec, changes) = editor.finish();
        assert_eq!(changes.len(), 2);
        assert_eq!(spec["annotations"]["io.kubernetes.cri-o.ContainerID"], "copy");
        assert_eq!(spec["annotations"]["io.kubernetes.cri-o.ContainerName"], "copy");
    }
}
