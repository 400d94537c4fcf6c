//! In a virtual machine of its own: what needs cgroup version 2 with its controllers, or a kernel that tracks memory.

use std::path::Path;
use std::process::Command;

use crate::support::possible;

/// Runs a script of this directory in the virtual machine, with the `ckpt` under test in its PATH.
fn run(script: &str) {
    if !possible() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let testhosts = root.join("scripts/testhosts");
    let prepared = Command::new(&testhosts)
        .args(["prepare", "--vm"])
        .status()
        .expect("scripts/testhosts starts");
    assert!(prepared.success(), "scripts/testhosts prepare --vm: {prepared}");
    let ran = Command::new(&testhosts)
        .args(["vm", "run", "--timeout", "800", "--copy"])
        .arg(format!("{}:/usr/local/bin/ckpt", env!("CARGO_BIN_EXE_ckpt")))
        .arg("--copy")
        .arg(format!("{}:/opt/workloads", root.join("tests/workloads").display()))
        .arg(root.join("tests/hosts").join(script))
        .output()
        .expect("scripts/testhosts starts");
    let said = String::from_utf8_lossy(&ran.stdout);
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success() && said.contains("PASSED"),
        "{}\n{said}\n{errors}",
        ran.status
    );
}

#[test]
fn limits_read_back_equal_on_cgroup_v2() {
    run("vm-limits.sh");
}

#[test]
fn incremental_dumps_restore_from_their_chain() {
    run("vm-incremental.sh");
}

#[test]
fn lxc_and_services_keep_limits_on_cgroup_v2() {
    run("vm-lxc.sh");
}

#[test]
fn lxc_incremental_dumps_restore_from_their_chain() {
    run("vm-lxc-incremental.sh");
}
