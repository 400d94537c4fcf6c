//! What does not fit together: the request, the archive, and what is there already.

use serde_json::json;

use super::*;

pub(super) const REQUEST: &[Refused] = &[
    Refused {
        name: "pre-dump",
        kind: ErrorKind::Usage,
        spoil: |case| case.manifest.options.pre_dump = true,
    },
    Refused {
        name: "parent missing",
        kind: ErrorKind::Usage,
        spoil: |case| case.manifest.parent = Some("ab12".into()),
    },
    Refused {
        name: "hostile identifier",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.manifest.container.id = "../../etc".to_owned();
        },
    },
    Refused {
        name: "name",
        kind: ErrorKind::Usage,
        spoil: |case| case.request.name = Some("a/b".to_owned()),
    },
    Refused {
        name: "hostname",
        kind: ErrorKind::Usage,
        spoil: |case| case.request.hostname = Some("a b".to_owned()),
    },
    Refused {
        name: "cgroup parent",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.request.cgroup_parent = Some("/a/../..".to_owned());
        },
    },
    Refused {
        name: "cgroup parent of systemd",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.host.cgroup.systemd = true;
            case.spec["linux"]["cgroupsPath"] = json!("machine.slice:runc:web");
            case.request.cgroup_parent = Some("machine".to_owned());
        },
    },
    Refused {
        name: "cgroup taken",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.at("/sys/fs/cgroup/box/web", PathKind::Directory);
        },
    },
    Refused {
        name: "unknown mount mapped",
        kind: ErrorKind::Usage,
        spoil: |case| {
            bind(case);
            case.request.allow_all_mounts = true;
            map(case, "/dta", "/srv/data");
        },
    },
    Refused {
        name: "unknown mount mapped, none there",
        kind: ErrorKind::Usage,
        spoil: |case| {
            map(case, "/data", "/srv/data");
        },
    },
    Refused {
        name: "unknown mount allowed",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.request.allow_mounts = vec!["/data".to_owned()];
        },
    },
    Refused {
        name: "mount mapped twice",
        kind: ErrorKind::Usage,
        spoil: |case| {
            bind(case);
            map(case, "/data", "/srv/data");
            map(case, "/data/", "/srv/data");
        },
    },
    Refused {
        name: "unknown annotation",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.request.allow_annotations = vec!["a.b".to_owned()];
        },
    },
    Refused {
        name: "unknown device",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.request.allow_devices = vec!["/dev/fuse".to_owned()];
        },
    },
    Refused {
        name: "relative path",
        kind: ErrorKind::Usage,
        spoil: |case| case.request.bundle = Some("b".into()),
    },
    Refused {
        name: "upward path",
        kind: ErrorKind::Usage,
        spoil: |case| case.request.root = Some("/a/../b".into()),
    },
    Refused {
        name: "path that is no text",
        kind: ErrorKind::Usage,
        spoil: |case| {
            use std::os::unix::ffi::OsStrExt as _;
            case.request.pid_file = Some(std::ffi::OsStr::from_bytes(b"/\xff").into());
        },
    },
    Refused {
        name: "path with a control character",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.request.work_path = Some("/a\nb".into());
        },
    },
    Refused {
        name: "diff without root",
        kind: ErrorKind::Usage,
        spoil: |case| {
            make_diff(case);
            case.request.root = None;
        },
    },
    Refused {
        name: "no root file system at all",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.manifest.filesystem.rootfs = RootfsMode::None;
        },
    },
    Refused {
        name: "root ignored and none named",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.request.ignore_rootfs = true;
        },
    },
    Refused {
        name: "full over a full directory",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.request.root = Some("/base".into());
            case.at("/base", PathKind::Directory);
        },
    },
    Refused {
        name: "root is a file",
        kind: ErrorKind::Usage,
        spoil: |case| {
            make_diff(case);
            case.at("/base", PathKind::File);
        },
    },
    Refused {
        name: "overlay over a path with a colon",
        kind: ErrorKind::Usage,
        spoil: |case| {
            make_diff(case);
            case.request.root = Some("/a:b".into());
            case.at("/a:b", PathKind::Directory);
        },
    },
    Refused {
        name: "bundle not empty",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.at("/var/lib/ckpt/containers/web", PathKind::Directory);
        },
    },
    Refused {
        name: "bundle is a file",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.at("/var/lib/ckpt/containers/web", PathKind::File);
        },
    },
    Refused {
        name: "bundle to replace in use",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.at("/var/lib/ckpt/containers/web", PathKind::Directory);
            case.request.replace = true;
            case.host.bundle_user = Some(4711);
        },
    },
    Refused {
        name: "name taken",
        kind: ErrorKind::Usage,
        spoil: |case| case.host.name_taken = true,
    },
    Refused {
        name: "terminal without console socket",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.spec["process"]["terminal"] = json!(true);
        },
    },
    Refused {
        name: "console socket without terminal",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.request.console_socket = Some("/run/s".into());
        },
    },
    Refused {
        name: "console socket is none",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.spec["process"]["terminal"] = json!(true);
            case.request.console_socket = Some("/run/s".into());
            case.at("/run/s", PathKind::File);
        },
    },
    Refused {
        name: "connections both ways",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.request.restore.tcp_established = true;
            case.request.restore.tcp_close = true;
        },
    },
    Refused {
        name: "network of a user namespace into another",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.spec["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
            case.request.netns = Netns::Path("/run/netns/here".into());
            case.at("/run/netns/here", PathKind::File);
        },
    },
    Refused {
        name: "host's network into a new one",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.spec["linux"]["namespaces"] = json!([]);
            case.request.netns = Netns::New;
        },
    },
    Refused {
        name: "network namespace is a directory",
        kind: ErrorKind::Usage,
        spoil: |case| {
            case.request.netns = Netns::Path("/run/netns".into());
            case.at("/run/netns", PathKind::Directory);
        },
    },
];
