//! Plans of real-looking archives: what they do, what they change, and what they leave alone.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::manifest::{CgroupMode, RootfsMode};
use crate::request::{MapMount, Netns};
use crate::rewrite::testing::{Case, difference, limit, make_diff};

/// podman's container with everything that it needs allowed or mapped.
fn podman() -> Case {
    let mut case = Case::of("podman-rootful.json");
    let id = "abb45dedf37087f4a5946bbff53c6f9b945980cb9b8c0ec9279838f99fb94e27";
    case.manifest.container.id = id.to_owned();
    case.request.name = Some("web2".to_owned());
    case.request.map_mounts = vec![
        MapMount {
            destination: "/vol".into(),
            source: "/srv/vol".into(),
        },
        MapMount {
            destination: "/etc/f/".into(),
            source: "/srv/f".into(),
        },
    ];
    case.request.netns = Netns::New;
    case.request.allow_devices = vec!["/dev/fuse".to_owned()];
    case.at("/srv/vol", PathKind::Directory);
    case.at("/srv/f", PathKind::File);
    for file in ["resolv.conf", "hosts", "hostname", ".containerenv"] {
        case.at(
            &format!("/run/containers/storage/overlay-containers/{id}/userdata/{file}"),
            PathKind::File,
        );
    }
    case.request.allow_mounts = ["/etc/resolv.conf", "/etc/hosts", "/etc/hostname", "/run/.containerenv"]
        .map(str::to_owned)
        .to_vec();
    case.cgroups.limits = vec![
        limit("memory", "memory.max", "67108864"),
        limit("pids", "pids.max", "100"),
    ];
    case
}

/// runc's default container under another name, everywhere.
fn runc() -> Case {
    let mut case = Case::of("runc-default.json");
    case.spec["linux"]["cgroupsPath"] = json!("/box/web");
    case.spec["annotations"] = json!({"nerdctl/name": "web", "org.example.name": "web"});
    case.request.name = Some("copy".to_owned());
    case.request.hostname = Some("copy".to_owned());
    case.request.cgroup_parent = Some("other/place".to_owned());
    case.request.bundle = Some("/srv/copy".into());
    case.manifest.options.tcp_established = true;
    case.manifest.options.file_locks = true;
    case
}

/// crun's default container over files of this host, with its terminal.
fn crun() -> Case {
    let mut case = Case::of("crun-default.json");
    case.manifest.runtime.name = "crun".to_owned();
    case.spec["process"]["terminal"] = json!(true);
    case.request.console_socket = Some("/run/console.sock".into());
    case.at("/run/console.sock", PathKind::Socket);
    make_diff(&mut case);
    case
}

fn sample_cases() -> [(&'static str, Case); 3] {
    [("podman", podman()), ("runc", runc()), ("crun", crun())]
}

#[test]
fn plans_as_lines_and_as_json() {
    for (name, case) in sample_cases() {
        let plan = case.plan().unwrap();
        insta::assert_snapshot!(format!("{name}-lines"), plan.lines().join("\n"));
        let mut json = plan.to_json();
        // The configuration is the archived one with the changes; it would only make the snapshot long.
        assert_eq!(json["config"], plan.config);
        json["config"] = json!("…");
        insta::assert_snapshot!(format!("{name}-json"), serde_json::to_string_pretty(&json).unwrap());
    }
}

#[test]
fn the_configuration_differs_at_the_recorded_pointers_only() {
    for (name, case) in sample_cases() {
        let plan = case.plan().unwrap();
        let recorded: BTreeSet<String> = plan.changes.iter().map(|change| change.pointer.clone()).collect();
        assert_eq!(difference(&case.spec, &plan.config), recorded, "{name}");
    }
}

#[test]
fn unknown_keys_and_the_order_of_keys_survive() {
    for (name, mut case) in sample_cases() {
        add_unknown_keys(&mut case.spec);
        let plan = case.plan().unwrap();
        // Undone, the changes give back the archived text, byte for byte.
        let mut back = plan.config.clone();
        for change in plan.changes.iter().rev() {
            let (parent, key) = change.pointer.rsplit_once('/').unwrap();
            let object = back.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            let key = key.replace("~1", "/").replace("~0", "~");
            match &change.before {
                Some(before) => drop(object.insert(key, before.clone())),
                None => drop(object.shift_remove(&key)),
            }
        }
        assert_eq!(back.to_string(), case.spec.to_string(), "{name}");
    }
}

/// Puts keys that nobody knows into every object.
fn add_unknown_keys(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.values_mut().for_each(add_unknown_keys);
            // Maps of strings to strings have no unknown keys.
            if !object.contains_key("org.example.team") && !object.contains_key("org.example.name") {
                object.insert(
                    "x-future".to_owned(),
                    json!({"b": [1, -2, 1.5, 18_446_744_073_709_551_615_u64], "a": null}),
                );
            }
        }
        Value::Array(list) => list.iter_mut().for_each(add_unknown_keys),
        _ => {}
    }
}

#[test]
fn a_plan_asks_for_no_path_that_its_questions_do_not_name() {
    for (name, case) in sample_cases() {
        let spec = Spec::from_value(case.spec.clone()).unwrap();
        let inputs = Inputs {
            manifest: &case.manifest,
            spec: &spec,
            cgroups: &case.cgroups,
            request: &case.request,
            lxc: None,
        };
        let planner = Planner::new(inputs, &case.host.cgroup, Some(&case.host));
        let asked = planner.asked.clone();
        planner.make().unwrap();
        assert_eq!(asked.take(), case.questions(), "{name}");
    }
}

#[test]
fn a_container_keeps_its_name_and_all_that_holds_it() {
    let case = Case::plain();
    let plan = case.plan().unwrap();
    assert_eq!(plan.name.as_str(), "web");
    assert_eq!(plan.bundle, PathBuf::from("/var/lib/ckpt/containers/web"));
    let pointers: Vec<_> = plan.changes.iter().map(|change| change.pointer.as_str()).collect();
    assert_eq!(pointers, ["/root/path"], "only the root file system moves");
}

#[test]
fn cgroup_paths_keep_their_form() {
    let cases: &[(&str, &str, Option<&str>, &str)] = &[
        ("/box/web", "web", None, "/box/web"),
        ("/box/web", "copy", None, "/box/copy"),
        ("/box/libpod-web", "copy", None, "/box/libpod-copy"),
        ("/box/other", "copy", None, "/box/copy"),
        ("/box/web", "copy", Some("/there"), "/there/copy"),
        ("/box/web", "web", Some("there"), "/there/web"),
        ("/box/web", "web", Some("a.slice"), "/a.slice/web"),
        ("box//web/", "copy", None, "box/copy"),
        ("web", "copy", None, "copy"),
        ("machine.slice:libpod:web", "copy", None, "machine.slice:libpod:copy"),
        (
            "machine.slice:libpod:web",
            "copy",
            Some("user.slice"),
            "user.slice:libpod:copy",
        ),
        ("machine.slice:libpod:web", "copy", Some("/plain"), "/plain/libpod-copy"),
        (":runc:web", "web", None, ":runc:web"),
        ("::web", "web", Some("/plain"), "/plain/web"),
    ];
    for (archived, name, parent, expected) in cases {
        let mut case = Case::plain();
        case.spec["linux"]["cgroupsPath"] = json!(archived);
        case.host.cgroup.systemd = true;
        case.request.name = Some((*name).to_owned());
        case.request.cgroup_parent = parent.map(str::to_owned);
        let plan = case.plan().unwrap();
        assert_eq!(
            plan.config["linux"]["cgroupsPath"],
            json!(expected),
            "{archived} as {name} in {parent:?}"
        );
        assert_eq!(
            plan.restore().unwrap().systemd_cgroup,
            expected.contains(':'),
            "{expected}"
        );
        let made = plan.steps.iter().find_map(|step| match step {
            Step::MakeCgroup { directories, .. } => Some(directories.clone()),
            _ => None,
        });
        let directory = expected
            .strip_prefix('/')
            .map(|path| vec![PathBuf::from("/sys/fs/cgroup").join(path)]);
        assert_eq!(made, directory, "{expected}");
        let told = plan.restore().unwrap().cgroup.as_deref();
        let cgroup = match expected.split(':').collect::<Vec<_>>()[..] {
            ["", prefix, name] => Some(format!("/system.slice/{prefix}-{name}.scope")),
            [slice, prefix, name] => Some(format!("/{slice}/{prefix}-{name}.scope")),
            _ => Some((*expected).to_owned()).filter(|path| path.starts_with('/')),
        };
        assert_eq!(told, cgroup.as_deref(), "{expected}");
    }
}

#[test]
fn a_cgroup_that_the_runtime_chooses_stays_its_choice_unless_there_is_a_parent() {
    let mut case = Case::plain();
    case.spec["linux"].as_object_mut().unwrap().shift_remove("cgroupsPath");
    assert_eq!(case.plan().unwrap().config["linux"].get("cgroupsPath"), None);
    case.request.cgroup_parent = Some("/there".to_owned());
    assert_eq!(case.plan().unwrap().config["linux"]["cgroupsPath"], json!("/there/web"));
}

#[test]
fn the_root_file_system_is_extracted_overlaid_or_used() {
    let base = PathBuf::from("/base");
    let bundle = PathBuf::from("/var/lib/ckpt/containers/web");
    type Change = fn(&mut Case);
    let cases: [(Change, &str, Step); 5] = [
        (
            |_| {},
            "rootfs",
            Step::ExtractRootfs {
                entry: "rootfs.tar".into(),
                path: bundle.join("rootfs"),
            },
        ),
        (
            |case| case.request.root = Some("/base".into()),
            "/base",
            Step::ExtractRootfs {
                entry: "rootfs.tar".into(),
                path: base.clone(),
            },
        ),
        (
            make_diff,
            "rootfs",
            Step::OverlayRootfs {
                entry: "rootfs-diff.tar".into(),
                lower: base.clone(),
                upper: bundle.join("upper"),
                work: bundle.join("work"),
                merged: bundle.join("rootfs"),
            },
        ),
        (
            |case| {
                make_diff(case);
                case.manifest.filesystem.rootfs = RootfsMode::None;
            },
            "/base",
            Step::UseRootfs { path: base.clone() },
        ),
        (
            |case| {
                make_diff(case);
                case.request.ignore_rootfs = true;
            },
            "/base",
            Step::UseRootfs { path: base.clone() },
        ),
    ];
    for (change, path, step) in cases {
        let mut case = Case::plain();
        change(&mut case);
        let plan = case.plan().unwrap();
        assert_eq!(plan.config["root"]["path"], json!(path));
        assert!(plan.steps.contains(&step), "{step:?} is not in {:?}", plan.steps);
    }
}

#[test]
fn every_way_to_a_network_namespace() {
    let own = json!([{"type": "network"}]);
    let by_path = json!([{"type": "network", "path": "/run/netns/old"}]);
    let of_host = json!([]);
    let pin = "/var/lib/ckpt/containers/web/netns";
    let given = || Netns::Path("/run/netns/here".into());
    // (what the container had, what is asked for, path in the configuration, held, external, loopback)
    let cases = [
        (&own, Netns::Keep, None, false, false, true),
        (&own, Netns::New, None, false, false, true),
        (&own, given(), Some("/run/netns/here"), false, true, false),
        (&own, Netns::Host, Some("/proc/1/ns/net"), false, true, false),
        (&by_path, given(), Some("/run/netns/here"), false, true, false),
        (&by_path, Netns::Host, Some("/proc/1/ns/net"), false, true, false),
        (&by_path, Netns::New, Some(pin), true, false, false),
        (&of_host, Netns::Keep, None, false, false, false),
        (&of_host, Netns::Host, None, false, false, false),
    ];
    for (namespaces, asked, path, held, external, loopback) in cases {
        let mut case = Case::plain();
        case.spec["linux"]["namespaces"] = namespaces.clone();
        case.request.netns = asked.clone();
        case.at("/run/netns/here", PathKind::File);
        case.at("/proc/1/ns/net", PathKind::File);
        let plan = case.plan().unwrap();
        let has = |wanted: fn(&Step) -> bool| plan.steps.iter().any(wanted);
        let label = format!("{namespaces} {asked:?}");
        assert_eq!(
            plan.config.pointer("/linux/namespaces/0/path").and_then(Value::as_str),
            path,
            "{label}"
        );
        assert_eq!(has(|step| matches!(step, Step::NewNetns { .. })), held, "{label}");
        assert_eq!(
            has(|step| matches!(
                step,
                Step::PlaceImages {
                    external_netns: true,
                    ..
                }
            )),
            external,
            "{label}"
        );
        assert_eq!(has(|step| matches!(step, Step::LoopbackUp)), loopback, "{label}");
    }
}

#[test]
fn namespaces_that_were_shared_are_made_anew_where_criu_can() {
    let mut case = Case::plain();
    case.spec["linux"]["namespaces"] =
        json!([{"type": "ipc", "path": "/proc/7/ns/ipc"}, {"type": "uts", "path": "/proc/7/ns/uts"}, {"type": "pid"}]);
    let plan = case.plan().unwrap();
    assert_eq!(
        plan.config["linux"]["namespaces"],
        json!([{"type": "ipc"}, {"type": "uts"}, {"type": "pid"}])
    );
    assert!(
        plan.warnings
            .contains(&Warning::NamespaceUnshared { kind: "ipc".to_owned() })
    );
}

#[test]
fn shared_memory_is_a_new_tmpfs_of_the_same_options() {
    let cases: [(&[&str], &[&str], &[&str]); 4] = [
        (
            &["rw", "nosuid", "size=64k", "mode=1777", "inode64"],
            &["nosuid", "size=64k", "mode=1777"],
            &[],
        ),
        (
            &["size=50%", "nr_inodes=1k", "uid=100000"],
            &["size=50%", "nr_inodes=1k", "uid=100000"],
            &[],
        ),
        // What is not known is told, not passed on: it goes to mount(2).
        (
            &["size=64k,mpol=bind:0", "mpol=bind:0"],
            &[],
            &["size=64k,mpol=bind:0", "mpol=bind:0"],
        ),
        (
            &["size=", "mode=0x1", "nr_inodes=5%"],
            &[],
            &["size=", "mode=0x1", "nr_inodes=5%"],
        ),
    ];
    for (archived, kept, left) in cases {
        let mut case = podman();
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        case.manifest.filesystem.devshm.as_mut().unwrap().options = strings(archived);
        let plan = case.plan().unwrap();
        let made = plan.steps.iter().find_map(|step| match step {
            Step::MakeShm { options, entry, .. } => Some((options.clone(), entry.clone())),
            _ => None,
        });
        assert_eq!(made, Some((strings(kept), Some("devshm-checkpoint.tar".to_owned()))));
        let warned = plan.warnings.contains(&Warning::ShmOptions { options: strings(left) });
        assert_eq!(warned, !left.is_empty(), "{archived:?}");
    }
}

#[test]
fn a_mapped_shared_memory_is_the_importers() {
    let mut case = podman();
    case.request.map_mounts.push(MapMount {
        destination: "/dev/shm".into(),
        source: "/srv/vol".into(),
    });
    let plan = case.plan().unwrap();
    assert!(!plan.steps.iter().any(|step| matches!(step, Step::MakeShm { .. })));
    assert!(plan.warnings.contains(&Warning::ContentIgnored {
        destination: "/dev/shm".to_owned()
    }));
}

#[test]
fn mounts_that_travel_need_no_permission() {
    let mut case = podman();
    case.request.map_mounts.clear();
    for (mount, entry) in case
        .manifest
        .bind_mounts
        .iter_mut()
        .zip(["volumes/vol.tar", "volumes/f.tar"])
    {
        mount.entry = Some(entry.to_owned());
    }
    let plan = case.plan().unwrap();
    let sources: Vec<_> = plan
        .changes
        .iter()
        .filter(|change| change.pointer.ends_with("/source"))
        .collect();
    assert_eq!(sources[0].after, Some(json!("/var/lib/ckpt/containers/web2/mounts/1")));
    assert_eq!(
        sources[1].after,
        Some(json!("/var/lib/ckpt/containers/web2/mounts/7/content"))
    );
}

#[test]
fn images_are_given_to_the_root_of_a_user_namespace() {
    let mut case = Case::plain();
    case.spec["linux"]["uidMappings"] =
        json!([{"containerID": 1, "hostID": 5, "size": 9}, {"containerID": 0, "hostID": 100_000, "size": 65536}]);
    case.spec["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 200_000, "size": 65536}]);
    let plan = case.plan().unwrap();
    assert_eq!(
        plan.steps[0],
        Step::MakeBundle {
            path: plan.bundle.clone(),
            mode: 0o711
        }
    );
    let owner = Some(Owner { uid: 100_000, gid: 0 });
    let path = plan.bundle.join("checkpoint");
    assert!(plan.steps.contains(&Step::PlaceImages {
        path,
        owner,
        external_netns: false
    }));
}

#[test]
fn the_bundle_of_an_earlier_import_makes_room() {
    let mut case = Case::plain();
    case.request.replace = true;
    assert!(matches!(case.plan().unwrap().steps[0], Step::MakeBundle { .. }));
    case.at("/var/lib/ckpt/containers/web", PathKind::Directory);
    let plan = case.plan().unwrap();
    assert_eq!(
        plan.steps[0],
        Step::SetAside {
            path: plan.bundle.clone(),
            aside: "/var/lib/ckpt/containers/web~replaced".into(),
        }
    );
    // What is not ckpt's is never replaced.
    case.request.bundle = Some("/srv/web".into());
    case.at("/srv/web", PathKind::Directory);
    assert!(case.plan().is_err());
}

#[test]
fn the_switches_of_the_dump_are_repeated() {
    let mut case = Case::plain();
    let dump = &mut case.manifest.options;
    (dump.tcp_established, dump.file_locks, dump.shell_job) = (true, true, true);
    dump.manage_cgroups_mode = Some("full".to_owned());
    dump.empty_ns = vec!["network".to_owned()];
    case.request.restore.empty_ns = vec!["network".to_owned(), "ipc".to_owned()];
    case.request.restore.link_remap = true;
    let switches = case.plan().unwrap().restore().unwrap().options.clone();
    assert!(switches.tcp_established && switches.file_locks && switches.shell_job && switches.link_remap);
    assert_eq!(switches.manage_cgroups_mode.as_deref(), Some("full"));
    assert_eq!(switches.empty_ns, ["network", "ipc"]);

    case.request.restore.tcp_close = true;
    case.request.restore.manage_cgroups_mode = Some("ignore".to_owned());
    let switches = case.plan().unwrap().restore().unwrap().options.clone();
    assert!(
        switches.tcp_close && !switches.tcp_established,
        "closing decides against the dump's switch"
    );
    assert_eq!(switches.manage_cgroups_mode.as_deref(), Some("ignore"));
}

#[test]
fn without_a_restore_the_plan_stops_at_the_bundle() {
    let mut case = crun();
    case.request.no_restore = true;
    case.request.console_socket = None;
    case.host.runtime = None;
    case.host.name_taken = true;
    let plan = case.plan().unwrap();
    assert!(plan.steps.iter().all(Step::is_preparation));
    assert_eq!(plan.restore(), None);
}

#[test]
fn what_is_odd_but_stops_nothing_is_told() {
    let mut case = runc();
    case.manifest.host.cgroup_mode = CgroupMode::V1;
    case.manifest.runtime.version = "1.0.0".to_owned();
    case.manifest.filesystem.devshm = None;
    case.spec["hooks"] = json!({"poststop": [{"path": "/bin/true"}]});
    case.request.allow_hooks = true;
    make_diff(&mut case);
    case.manifest.filesystem.base = Some("sha256:1".to_owned());
    case.host.base = Some("sha256:2".to_owned());
    case.spec["linux"]["resources"]["devices"] = json!([
        {"allow": false, "access": "rwm"}, {"allow": true, "access": "rwm"}, {"allow": true, "access": "m"},
        {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        {"allow": true, "type": "c", "major": 136, "access": "rwm"},
    ]);
    let warnings: Vec<String> = case.plan().unwrap().warnings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(warnings.join("\n"));
}

#[test]
fn limits_are_left_out_when_asked() {
    let mut case = podman();
    case.cgroups.limits.push(limit("hugetlb", "hugetlb.2MB.max", "0"));
    case.request.ignore_cgroup_limits = true;
    assert!(
        !case
            .plan()
            .unwrap()
            .steps
            .iter()
            .any(|step| matches!(step, Step::ApplyLimits { .. }))
    );
}

#[test]
fn plans_follow_their_schema() {
    let schema: Value = serde_json::from_str(&plan_schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (name, case) in sample_cases() {
        let mut plan = case.plan().unwrap().to_json();
        let errors: Vec<_> = validator.iter_errors(&plan).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0], "{name}");
        plan["steps"][0]["step"] = json!("unknown");
        assert!(!validator.is_valid(&plan), "{name}: the schema tells steps apart");
    }
}
