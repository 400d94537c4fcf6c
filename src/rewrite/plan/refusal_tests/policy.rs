//! What an archive asks for that needs the importer's word.

use serde_json::json;

use super::*;

pub(super) const POLICY: &[Refused] = &[
    Refused {
        name: "hook",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.spec["hooks"] = json!({"prestart": null, "createRuntime": [{"path": "/bin/sh"}]});
        },
    },
    Refused {
        name: "hook of an unknown moment",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.spec["hooks"] = json!({"someday": [{}]});
        },
    },
    Refused {
        name: "criu config",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.spec["annotations"] = json!({"org.criu.config": "/tmp/evil.conf"});
        },
    },
    Refused {
        name: "empty criu config",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.spec["annotations"] = json!({"org.criu.config": null});
        },
    },
    Refused {
        name: "cdi",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.spec["annotations"] = json!({"cdi.k8s.io/gpu": "vendor.com/gpu=all"});
        },
    },
    Refused {
        name: "crun handler",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.spec["annotations"] = json!({"run.oci.handler": "krun"});
        },
    },
    Refused {
        name: "systemd property",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.spec["annotations"] = json!({"org.systemd.property.ExecStopPost": "/bin/sh"});
        },
    },
    Refused {
        name: "bind mount",
        kind: ErrorKind::Policy,
        spoil: bind,
    },
    Refused {
        name: "bind mount by type only",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.spec["mounts"] = json!([{"destination": "/data/../data", "type": "bind", "source": "/"}]);
        },
    },
    Refused {
        name: "bind mount by option only",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.spec["mounts"] =
                json!([{"destination": "/data", "type": "tmpfs", "source": "/", "options": ["bind"]}]);
        },
    },
    Refused {
        name: "bind mount from the bundle",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.spec["mounts"] = json!([{"destination": "/data", "source": "../data", "options": ["bind"]}]);
        },
    },
    Refused {
        name: "block device mounted",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.spec["mounts"] = json!([{"destination": "/data", "type": "ext4", "source": "/dev/sda1"}]);
        },
    },
    Refused {
        name: "device",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.spec["linux"]["devices"] = json!([
                {"path": "/dev/null", "type": "c", "major": 1, "minor": 3},
                {"path": "/dev/pipe", "type": "p"},
                {"path": "/dev/sda", "type": "b", "major": 8, "minor": 0},
            ]);
        },
    },
    Refused {
        name: "device under the name of a default one",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.spec["linux"]["devices"] = json!([{"path": "/dev/null", "type": "c", "major": 1, "minor": 1}]);
        },
    },
    Refused {
        name: "other runtime",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.manifest.runtime.name = "crun".to_owned();
            case.request.runtime = Some(RuntimeKind::Runc);
        },
    },
    Refused {
        name: "network namespace by path",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.spec["linux"]["namespaces"] = json!([{"type": "network", "path": "/run/netns/old"}]);
        },
    },
    Refused {
        name: "pid namespace by path",
        kind: ErrorKind::Policy,
        spoil: |case| {
            case.spec["linux"]["namespaces"] = json!([{"type": "pid", "path": "/proc/1/ns/pid"}]);
        },
    },
];
