//! What this host lacks.

use serde_json::json;

use super::*;

pub(super) const HERE: &[Refused] = &[
    Refused {
        name: "mount source missing",
        kind: ErrorKind::Host,
        spoil: |case| {
            bind(case);
            map(case, "/data", "/srv/gone");
        },
    },
    Refused {
        name: "allowed mount source missing",
        kind: ErrorKind::Host,
        spoil: |case| {
            bind(case);
            case.request.allow_mounts = vec!["/data".to_owned()];
            case.at("/srv/data", PathKind::Missing);
        },
    },
    Refused {
        name: "mount source of the wrong type",
        kind: ErrorKind::Host,
        spoil: |case| {
            bind(case);
            map(case, "/data", "/srv/file");
        },
    },
    Refused {
        name: "no runtime",
        kind: ErrorKind::Host,
        spoil: |case| case.host.runtime = None,
    },
    Refused {
        name: "unknown runtime",
        kind: ErrorKind::Host,
        spoil: |case| {
            case.manifest.runtime.name = "youki".to_owned();
        },
    },
    Refused {
        name: "root missing",
        kind: ErrorKind::Host,
        spoil: |case| {
            make_diff(case);
            case.at("/base", PathKind::Missing);
        },
    },
    Refused {
        name: "network namespace missing",
        kind: ErrorKind::Host,
        spoil: |case| {
            case.request.netns = Netns::Path("/run/netns/gone".into());
        },
    },
    Refused {
        name: "console socket missing",
        kind: ErrorKind::Host,
        spoil: |case| {
            case.spec["process"]["terminal"] = json!(true);
            case.request.console_socket = Some("/run/gone".into());
        },
    },
    Refused {
        name: "controller missing",
        kind: ErrorKind::Host,
        spoil: |case| {
            case.cgroups.limits = vec![
                limit("memory", "memory.max", "1"),
                limit("cpuacct", "cpuacct.usage", "0"),
                limit("blkio", "blkio.weight", "500"),
            ];
        },
    },
    Refused {
        name: "systemd missing",
        kind: ErrorKind::Host,
        spoil: |case| {
            case.spec["linux"]["cgroupsPath"] = json!("machine.slice:runc:web");
        },
    },
];
