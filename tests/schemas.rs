//! The JSON Schemas in `schema/` are generated from the types, and say what the types say.
//!
//! `UPDATE=1 cargo test --test schemas` writes them again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that cannot run says so"
)]

use std::path::{Path, PathBuf};

use ckpt::cgroup::CgroupRecord;
use ckpt::manifest::Manifest;
use ckpt::process::Listing;
use schemars::JsonSchema;
use serde_json::{Value, json};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name)
}

/// Compares a schema file with its type, or writes it when `UPDATE` is set.
fn check<T: JsonSchema>(name: &str) {
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(T)).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path(name), &schema).unwrap();
    }
    let found = std::fs::read_to_string(path(name)).unwrap_or_default();
    assert!(
        found == schema,
        "schema/{name} is not that of its type: run UPDATE=1 cargo test --test schemas"
    );
}

fn validator(name: &str) -> jsonschema::Validator {
    let schema: Value = serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn manifest_schema_is_current() {
    check::<Manifest>("manifest-v1.schema.json");
}

#[test]
fn cgroup_schema_is_current() {
    check::<CgroupRecord>("cgroup-v1.schema.json");
}

#[test]
fn files_schema_is_current() {
    check::<Listing>("files-v1.schema.json");
}

#[test]
fn cgroup_records_follow_their_schema() {
    let validator = validator("cgroup-v1.schema.json");
    let record = json!({
        "version": 1,
        "mode": "hybrid",
        "hierarchies": [{
            "version": "v1",
            "controllers": ["blkio"],
            "mount_root": "/",
            "mount_point": "/sys/fs/cgroup/blkio",
            "path": "a/b",
            "groups": [{
                "path": "",
                "owner": {"uid": 0, "gid": 0, "mode": "0755"},
                "device_limits": {"blkio.throttle.read_bps_device": [{"device": "/dev/sda", "number": "8:0", "value": "1"}]},
                "processes": [1],
            }],
        }],
        "unread": [{"what": "cpuset", "reason": "not-mounted"}],
    });
    assert!(
        validator.is_valid(&record),
        "{:?}",
        validator.iter_errors(&record).next()
    );
    CgroupRecord::from_json(record.to_string().as_bytes()).unwrap();

    for (pointer, value) in [
        ("/mode", json!("v3")),
        ("/hierarchies/0/path", json!("/a")),
        ("/hierarchies/0/path", json!("a//b")),
        ("/hierarchies/0/path", json!("a/../b")),
        ("/hierarchies/0/groups/0/processes", json!(["1"])),
        ("/unread/0/reason", json!("whim")),
    ] {
        let mut bad = record.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(!validator.is_valid(&bad), "{pointer}");
    }
}
