//! Configurations that cannot be understood.

use serde_json::json;

use super::*;

pub(super) const GARBLED: &[Refused] = &[
    Refused {
        name: "hooks in capitals",
        kind: ErrorKind::Archive,
        spoil: |case| {
            case.spec["Hooks"] = json!({"prestart": [{"path": "/bin/sh"}]});
        },
    },
    Refused {
        name: "source twice, by the long s",
        kind: ErrorKind::Archive,
        spoil: |case| {
            bind(case);
            case.request.allow_all_mounts = true;
            case.spec["mounts"][0]["\u{17f}ource"] = json!("/etc");
        },
    },
    Refused {
        name: "hooks as a list",
        kind: ErrorKind::Archive,
        spoil: |case| case.spec["hooks"] = json!([]),
    },
    Refused {
        name: "hook as a string",
        kind: ErrorKind::Archive,
        spoil: |case| {
            case.spec["hooks"] = json!({"prestart": ["/bin/sh"]});
        },
    },
    Refused {
        name: "linux as a list",
        kind: ErrorKind::Archive,
        spoil: |case| case.spec["linux"] = json!([1]),
    },
    Refused {
        name: "mounts as an object",
        kind: ErrorKind::Archive,
        spoil: |case| case.spec["mounts"] = json!({}),
    },
    Refused {
        name: "mount without destination",
        kind: ErrorKind::Archive,
        spoil: |case| {
            case.spec["mounts"] = json!([{"type": "proc"}]);
        },
    },
    Refused {
        name: "mount options as a string",
        kind: ErrorKind::Archive,
        spoil: |case| {
            case.spec["mounts"] = json!([{"destination": "/x", "options": "bind"}]);
        },
    },
    Refused {
        name: "bind mount without source",
        kind: ErrorKind::Archive,
        spoil: |case| {
            case.spec["mounts"] = json!([{"destination": "/x", "options": ["bind"]}]);
        },
    },
    Refused {
        name: "bind mount with a NUL",
        kind: ErrorKind::Archive,
        spoil: |case| {
            case.spec["mounts"] = json!([{"destination": "/x", "source": "/a\0b", "options": ["bind"]}]);
        },
    },
    Refused {
        name: "namespace twice",
        kind: ErrorKind::Archive,
        spoil: |case| {
            case.spec["linux"]["namespaces"] = json!([{"type": "network"}, {"type": "network", "path": "/x"}]);
        },
    },
    Refused {
        name: "annotation as a number",
        kind: ErrorKind::Archive,
        spoil: |case| {
            case.spec["annotations"] = json!({"a/b": 1});
        },
    },
    Refused {
        name: "root missing in the configuration",
        kind: ErrorKind::Archive,
        spoil: |case| {
            case.spec["root"] = json!(null);
        },
    },
    Refused {
        name: "terminal as a string",
        kind: ErrorKind::Archive,
        spoil: |case| {
            case.spec["process"]["terminal"] = json!("yes");
        },
    },
    Refused {
        name: "cgroup path upwards",
        kind: ErrorKind::Archive,
        spoil: |case| {
            case.spec["linux"]["cgroupsPath"] = json!("/a/../../b");
        },
    },
    Refused {
        name: "cgroup path is the root",
        kind: ErrorKind::Archive,
        spoil: |case| {
            case.spec["linux"]["cgroupsPath"] = json!("/./");
        },
    },
    Refused {
        name: "device without path",
        kind: ErrorKind::Archive,
        spoil: |case| {
            case.spec["linux"]["devices"] = json!([{"type": "c"}]);
        },
    },
    Refused {
        name: "mapping beyond 32 bits",
        kind: ErrorKind::Archive,
        spoil: |case| {
            case.spec["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 4_294_967_296_u64, "size": 1}]);
        },
    },
];
