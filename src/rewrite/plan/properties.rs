//! What holds for every configuration, also a hostile one.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;
use crate::rewrite::testing::{Case, difference};

/// Words that the rewrites know, so that arbitrary JSON reaches them.
const WORDS: &[&str] = &[
    "annotations",
    "bind",
    "c",
    "cgroup",
    "cgroupsPath",
    "containerID",
    "destination",
    "/dev/shm",
    "devices",
    "hooks",
    "hostID",
    "hostname",
    "ipc",
    "linux",
    "major",
    "minor",
    "mounts",
    "namespaces",
    "network",
    "options",
    "/old/rootfs",
    "path",
    "pid",
    "prestart",
    "process",
    "Process",
    "proc",
    "root",
    "size",
    "source",
    "terminal",
    "tmpfs",
    "type",
    "uidMappings",
    "a:b:c",
    "/a/web",
    "../..",
    "org.criu.config",
    "resources",
    "allow",
    "",
];

const FIXTURES: &[&str] = &["runc-default.json", "crun-default.json", "podman-rootful.json"];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![4 => proptest::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<String>()]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((word(), inner), 0..8).prop_map(|pairs| Value::Object(Map::from_iter(pairs))),
        ]
    })
}

/// Every pointer of a value.
fn pointers(value: &Value, pointer: String, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                pointers(value, format!("{pointer}/{}", crate::rewrite::spec::escape(key)), found);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                pointers(value, format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
    found.push(pointer);
}

/// A real configuration with one part replaced by something else.
fn spoilt() -> impl Strategy<Value = Value> {
    (
        proptest::sample::select(FIXTURES),
        any::<proptest::sample::Index>(),
        json(),
    )
        .prop_map(|(fixture, index, value)| {
            let mut spec = Case::of(fixture).spec;
            let mut all = Vec::new();
            pointers(&spec, String::new(), &mut all);
            *spec.pointer_mut(&all[index.index(all.len())]).unwrap() = value;
            spec
        })
}

/// Allows everything that can be allowed, so that as many plans as possible are made.
fn allow_all(case: &mut Case) {
    case.request.allow_all_mounts = true;
    case.request.allow_hooks = true;
    case.request.allow_criu_config = true;
    case.request.no_restore = true;
    case.request.name = Some("other".to_owned());
    case.request.cgroup_parent = Some("/elsewhere".to_owned());
    case.request.hostname = Some("other".to_owned());
    case.host.cgroup.systemd = true;
    let has_path = case
        .spec
        .pointer("/linux/namespaces")
        .is_some_and(|list| list.to_string().contains("path"));
    if has_path {
        case.request.netns = crate::request::Netns::New;
    }
    for path in case.questions() {
        let bundle = path.starts_with(crate::rewrite::CONTAINERS_DIR) || path.starts_with("/sys/fs/cgroup");
        case.host
            .paths
            .insert(path, if bundle { PathKind::Missing } else { PathKind::Directory });
    }
    case.manifest.bind_mounts.clear();
}

/// A plan touches what it names and nothing else, and takes no path of the archive that was not allowed.
fn check(mut case: Case, permissive: bool) -> Result<(), TestCaseError> {
    if !case.spec.is_object() {
        return Ok(());
    }
    if permissive {
        allow_all(&mut case);
    }
    match case.plan() {
        Ok(plan) => {
            let recorded: BTreeSet<String> = plan.changes.iter().map(|change| change.pointer.clone()).collect();
            for pointer in difference(&case.spec, &plan.config) {
                // A parent that had to be made is recorded with its children.
                prop_assert!(recorded.contains(&pointer), "{} is not recorded", pointer);
            }
            prop_assert!(!plan.lines().is_empty());
            prop_assert_eq!(&plan.to_json()["config"], &plan.config);
            if !permissive {
                let hooks = crate::rewrite::spec::hooks::read(&plan.config).unwrap();
                prop_assert!(hooks.is_empty(), "hooks without permission");
                let uses_host = plan.steps.iter().any(|step| matches!(step, Step::UseMount { .. }));
                prop_assert!(!uses_host, "a mount of the host without permission");
            }
        }
        Err(refusals) => prop_assert!(!refusals.to_string().is_empty()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_configuration_is_planned_or_refused(spec in json(), permissive: bool) {
        let mut case = Case::plain();
        case.spec = spec;
        check(case, permissive)?;
    }

    #[test]
    fn a_real_configuration_with_one_part_spoilt_is_planned_or_refused(spec in spoilt(), permissive: bool) {
        let mut case = Case::of("podman-rootful.json");
        case.spec = spec;
        check(case, permissive)?;
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = Spec::parse(&bytes);
    }
}
