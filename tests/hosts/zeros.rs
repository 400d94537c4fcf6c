//! Pages of zeros that an import leaves to the kernel: memory is what it was, and less of it is there.

use crate::container::{assert_counts, start};
use crate::support::{Cgroup, Host, Hosts, Tree, possible};

const ROLES: [&str; 3] = ["parent", "child", "grandchild"];

/// Resident private memory of all processes of a container, KiB.
fn resident(host: Host<'_>, runtime: &str, name: &str) -> u64 {
    let pid = host.run(&format!("{runtime} state {name} | jq .pid"));
    let sum = format!(
        "{runtime} exec {name} cat /proc/1/status /proc/2/status /proc/3/status 2>/dev/null || cat /proc/{pid}/status"
    );
    host.run(&format!(
        "({sum}) | awk '/^RssAnon/ {{ sum += $2 }} END {{ print sum }}'"
    ))
    .parse()
    .expect("a number")
}

fn zeros_are_left_to_the_kernel(tree: Tree, cgroup: Cgroup, runtime: &str, import: &str) {
    if !possible() {
        return;
    }
    let hosts = Hosts::with(cgroup, tree, &["a"]);
    let a = hosts.host("a");
    start(
        a,
        runtime,
        "z",
        "--base debian --rootfs overlay",
        "python3 /opt/workloads/zeros.py",
    );
    for role in ROLES {
        a.wait_until(&format!("[ -e /data/z/rootfs/ready-{role} ]"));
    }
    a.run("touch /data/z/rootfs/go");
    for role in ROLES {
        a.wait_until(&format!("[ -e /data/z/rootfs/known-{role} ]"));
    }
    let before = resident(a, runtime, "z");
    a.run("ckpt export z -o /data/z.tar.zst");
    a.run(&format!(
        "ckpt import /data/z.tar.zst --name z2 --bundle /data/z2 --root /workloads/debian {import}"
    ));
    let after = resident(a, runtime, "z2");
    a.run("touch /data/z2/rootfs/check");
    for role in ROLES {
        a.wait_until(&format!("[ -e /data/z2/rootfs/checked-{role} ]"));
        assert_eq!(a.run(&format!("cat /data/z2/rootfs/checked-{role}")), "ok", "{role}");
    }
    // 2000 pages of zeros in the first process alone.
    assert!(after + 4 * 1500 < before, "{before} KiB before, {after} KiB after");
    assert_eq!(
        a.run("find /data/z2/checkpoint -name 'pages-*'; ls -A /dev/shm/ckpt-images 2>/dev/null || true"),
        ""
    );
}

#[test]
fn under_runc() {
    zeros_are_left_to_the_kernel(Tree::Criu42, Cgroup::V1, "runc", "");
}

#[test]
fn under_crun() {
    zeros_are_left_to_the_kernel(Tree::Criu42, Cgroup::V2, "crun", "");
}

#[test]
fn with_criu_4_1() {
    zeros_are_left_to_the_kernel(Tree::Criu41, Cgroup::V1, "runc", "--images-in disk");
}

/// What a killed import left in memory goes with the next import, wherever that has its images.
#[test]
fn images_that_a_killed_import_left_in_memory_are_removed() {
    if !possible() {
        return;
    }
    let hosts = Hosts::with(Cgroup::V1, Tree::Criu42, &["a"]);
    let a = hosts.host("a");
    start(a, "runc", "c", "", "sh /opt/workloads/counter.sh /count");
    a.wait_until("[ $(wc -l < /data/c/rootfs/count) -ge 3 ]");
    a.run("ckpt export c -o /data/c.tar.zst; umask 077; mkdir -p /dev/shm/ckpt-images/.ckpt-work-gone");
    a.run("ckpt import /data/c.tar.zst --name c2 --bundle /data/c2");
    assert_eq!(a.run("ls -A /dev/shm/ckpt-images"), "");
    assert_counts(a, "/data/c2/rootfs/count");
}

#[test]
fn with_images_in_memory() {
    zeros_are_left_to_the_kernel(Tree::Criu42, Cgroup::V1, "runc", "--images-in memory");
}
