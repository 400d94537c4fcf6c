//! Every refusal: what provokes it, what it says, what it advises, and whose matter it is.

use serde_json::json;

use super::*;
use crate::error::ErrorKind;
use crate::manifest::RootfsMode;
use crate::request::{MapMount, Netns};
use crate::rewrite::testing::{Case, limit, make_diff};

/// One archive or request with one defect, and how the refusal begins.
struct Refused {
    name: &'static str,
    kind: ErrorKind,
    spoil: fn(&mut Case),
}

/// Adds a bind mount at `/data`.
fn bind(case: &mut Case) {
    case.spec["mounts"] =
        json!([{"destination": "/data", "type": "bind", "source": "/srv/data", "options": ["rbind"]}]);
    case.manifest.bind_mounts = serde_json::from_value(json!([
        {"destination": "/data", "source": "/srv/data", "file_type": "directory", "permissions": "0755"}
    ]))
    .unwrap();
    case.at("/srv/data", PathKind::Directory);
    case.at("/srv/file", PathKind::File);
}

fn map(case: &mut Case, destination: &str, source: &str) {
    case.request.map_mounts.push(MapMount {
        destination: destination.into(),
        source: source.into(),
    });
}

const REFUSED: &[Refused] = &[
    // What the archive asks for.
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
    // What does not fit together.
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
    // What this host lacks.
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
    // What cannot be understood.
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

#[test]
fn every_refusal_says_what_and_advises() {
    let mut text = String::new();
    for Refused { name, kind, spoil } in REFUSED {
        let mut case = Case::plain();
        case.plan().unwrap();
        spoil(&mut case);
        let refusals = case.plan().expect_err(name);
        assert_eq!(refusals.kind(), *kind, "{name}: {refusals}");
        assert!(
            refusals.iter().all(|refusal| refusal.kind() == *kind),
            "{name} is refused for one thing: {refusals}"
        );
        text.push_str(&format!("[{name}]\n{refusals}\n\n"));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn each_refusal_ends_with_the_flag_that_it_advises() {
    type Change = fn(&mut Case);
    let cures: &[(&str, Change)] = &[
        ("hook", |case| case.request.allow_hooks = true),
        ("criu config", |case| case.request.allow_criu_config = true),
        ("cdi", |case| {
            case.request.allow_annotations = vec!["cdi.k8s.io/gpu".to_owned()]
        }),
        ("bind mount", |case| {
            case.request.allow_mounts = vec!["/data".to_owned()]
        }),
        ("bind mount", |case| case.request.allow_all_mounts = true),
        ("bind mount", |case| map(case, "/data", "/srv/data")),
        ("block device mounted", |case| {
            case.request.allow_mounts = vec!["/data".to_owned()]
        }),
        ("device", |case| {
            case.request.allow_devices = vec!["/dev/sda".to_owned()]
        }),
        ("other runtime", |case| case.request.allow_other_runtime = true),
        ("network namespace by path", |case| case.request.netns = Netns::New),
        ("parent missing", |case| case.request.parents = vec!["/parent".into()]),
        ("hostile identifier", |case| case.request.name = Some("web".to_owned())),
        ("cgroup taken", |case| {
            case.request.cgroup_parent = Some("/there".to_owned())
        }),
        ("name taken", |case| case.request.no_restore = true),
        ("bundle not empty", |case| case.request.bundle = Some("/new".into())),
        ("controller missing", |case| case.request.ignore_cgroup_limits = true),
        ("systemd missing", |case| {
            case.request.cgroup_parent = Some("/plain".to_owned())
        }),
        ("mount source missing", |case| {
            case.request.map_mounts[0].source = "/srv/data".into()
        }),
        ("full over a full directory", |case| case.request.ignore_rootfs = true),
    ];
    for (name, cure) in cures {
        let Refused { spoil, .. } = REFUSED.iter().find(|refused| refused.name == *name).unwrap();
        let mut case = Case::plain();
        spoil(&mut case);
        cure(&mut case);
        if let Err(refusals) = case.plan() {
            panic!("{name}: {refusals}");
        }
    }
}

#[test]
fn all_refusals_come_at_once() {
    let mut case = Case::of("podman-rootful.json");
    case.spec["hooks"] = json!({"prestart": [{"path": "/bin/a"}, {"path": "/bin/b"}]});
    case.host.runtime = None;
    case.request.netns = Netns::Path("/run/netns/none".into());
    case.manifest.options.pre_dump = true;
    let refusals = case.plan().unwrap_err();
    insta::assert_snapshot!(refusals.to_string());
    insta::assert_snapshot!(serde_json::to_string_pretty(&refusals.to_json()).unwrap());
    assert_eq!(refusals.kind(), ErrorKind::Usage);
}

#[test]
fn names_of_the_archive_can_neither_forge_lines_nor_commands() {
    let mut case = Case::plain();
    case.spec["mounts"] = json!([
        {"destination": "/a\n  - all is well", "type": "bind", "source": "/"},
        {"destination": "/$(reboot)'", "type": "bind", "source": "/\u{1b}[2J"},
    ]);
    insta::assert_snapshot!(case.plan().unwrap_err().to_string());
}

#[test]
fn a_path_longer_than_the_kernel_takes_is_refused() {
    let mut case = Case::plain();
    case.request.pid_file = Some(format!("/{}", "x".repeat(4094)).into());
    case.plan().unwrap();
    case.request.pid_file = Some(format!("/{}", "x".repeat(4095)).into());
    assert_eq!(case.plan().unwrap_err().kind(), ErrorKind::Usage);
}

#[test]
fn too_much_is_refused_before_it_is_walked() {
    let mount = json!({"destination": "/proc", "type": "proc"});
    let mut case = Case::plain();
    case.spec["mounts"] = Value::Array(vec![mount; crate::rewrite::spec::MAX_ELEMENTS + 1]);
    assert_eq!(case.plan().unwrap_err().kind(), ErrorKind::Archive);
    let long = vec![b' '; crate::rewrite::spec::MAX_SPEC_BYTES + 1];
    assert!(matches!(Spec::parse(&long), Err(SpecError::TooLarge { .. })));
    // Deeper than serde_json goes.
    let deep = "[".repeat(200);
    assert!(matches!(Spec::parse(deep.as_bytes()), Err(SpecError::Json(_))));
    assert!(matches!(Spec::parse(b"[]"), Err(SpecError::Type { .. })));
}
