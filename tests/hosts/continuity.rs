//! Containers go on from the very next state on another host, under another path and name.

use crate::container::{assert_counts, last, start, start_counter, status};
use crate::support::{Cgroup, Host, Hosts, Tree, possible};

/// Exports NAME on one host, copies the archive with scp, and imports it on the other as NEW in `/data/elsewhere/NEW`.
fn migrate(from: Host<'_>, to: &str, name: &str, new: &str, export: &str, import: &str) {
    from.run(&format!("ckpt export {name} -o /data/{name}.tar.zst {export}"));
    from.run(&format!("scp -q /data/{name}.tar.zst {to}:/data/"));
    from.run(&format!(
        "ssh {to} ckpt import /data/{name}.tar.zst --name {new} --bundle /data/elsewhere/{new} {import}"
    ));
}

fn counter_moves(cgroup: Cgroup, tree: Tree, runtime: &str, options: &str) {
    if !possible() {
        return;
    }
    let hosts = Hosts::with(cgroup, tree, &["a", "b"]);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    start_counter(a, runtime, "c1", "");
    migrate(a, "b", "c1", "moved", options, "");
    assert_eq!(status(a, runtime, "c1"), "", "the source is gone");
    assert_eq!(status(b, runtime, "moved"), "running");
    let before = last(a, "/data/c1/rootfs/count");
    assert_counts(b, "/data/elsewhere/moved/rootfs/count");
    assert!(last(b, "/data/elsewhere/moved/rootfs/count") > before);
}

#[test]
fn counter_under_runc_on_cgroup_v1() {
    counter_moves(Cgroup::V1, Tree::Criu42, "runc", "");
}

#[test]
fn counter_under_runc_on_cgroup_v2() {
    counter_moves(Cgroup::V2, Tree::Criu42, "runc", "");
}

#[test]
fn counter_under_crun_on_cgroup_v2() {
    counter_moves(Cgroup::V2, Tree::Criu42, "crun", "");
}

#[test]
fn counter_with_criu_4_1() {
    counter_moves(Cgroup::V1, Tree::Criu41, "runc", "");
}

#[test]
fn every_kind_of_process_state_survives_three_moves() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    let options = "--base debian --rootfs overlay --tmpfs /run/held";
    start(
        a,
        "runc",
        "py",
        options,
        "python3 /opt/workloads/continuity.py /state --tmpfs /run/held",
    );
    a.wait_until("grep -q 'tick 5' /data/py/rootfs/state");
    // The changes alone travel, and each import puts them over the same image.
    let base = "--root /workloads/debian";
    migrate(a, "b", "py", "one", "", base);
    b.wait_until("tail -n 1 /data/elsewhere/one/rootfs/state | grep -q tick");
    migrate(b, "a", "one", "two", "", base);
    migrate(a, "b", "two", "three", "", base);
    let state = "/data/elsewhere/three/rootfs/state";
    b.run(&format!("! grep FAIL {state}"));
    b.run(&format!("awk '$2 != NR {{ print NR, $0; exit 1 }}' {state}"));
    let ticks = b.run(&format!("wc -l < {state}"));
    b.wait_until(&format!("[ $(wc -l < {state}) -gt $(({ticks} + 3)) ]"));
}
