//! Every refusal: what provokes it, what it says, what it advises, and whose matter it is.

mod garbled;
mod here;
mod policy;
mod request;

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

/// All of them.
fn refused() -> impl Iterator<Item = &'static Refused> {
    [policy::POLICY, request::REQUEST, here::HERE, garbled::GARBLED]
        .into_iter()
        .flatten()
}

#[test]
fn every_refusal_says_what_and_advises() {
    let mut text = String::new();
    for Refused { name, kind, spoil } in refused() {
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
        let Refused { spoil, .. } = refused().find(|refused| refused.name == *name).unwrap();
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
