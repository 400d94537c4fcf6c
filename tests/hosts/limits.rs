//! Limits read back equal after import.

use crate::container::{assert_counts, start_counter};
use crate::support::{Cgroup, Host, Hosts, possible};

/// Reads the container's limits where its runtime put them.
fn limits(host: Host<'_>, name: &str) -> String {
    host.run(&format!(
        "p=$(runc state {name} | jq .pid); g() {{ sed -n \"s|^[0-9]*:$1:||p\" /proc/$p/cgroup; }}\n\
         cat /sys/fs/cgroup/memory/$(g memory)/memory.limit_in_bytes /sys/fs/cgroup/pids/$(g pids)/pids.max \
         /sys/fs/cgroup/cpu/$(g cpu)/cpu.cfs_quota_us /sys/fs/cgroup/cpu/$(g cpu)/cpu.shares"
    ))
}

#[test]
fn runc_on_cgroup_v1() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    start_counter(
        a,
        "runc",
        "c1",
        "--memory 67108864 --pids 50 --cpu-quota 50000 --cgroups-path /old/c1",
    );
    // Changed after the container was made: config.json does not know.
    a.run("runc update --memory 83886080 --pids-limit 60 --cpu-share 512 c1");
    let before = limits(a, "c1");
    assert_eq!(before, "83886080\n60\n50000\n512");
    a.run("ckpt export c1 -o /data/c1.tar.zst; scp -q /data/c1.tar.zst b:/data/");
    b.run("ckpt import /data/c1.tar.zst --name c2 --bundle /data/there --cgroup-parent /new/parent");
    assert_eq!(limits(b, "c2"), before);
    assert!(
        b.run("cat /proc/$(runc state c2 | jq .pid)/cgroup")
            .contains(":memory:/new/parent/c2")
    );
    assert_counts(b, "/data/there/rootfs/count");
}
