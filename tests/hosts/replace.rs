//! A container that moves to and fro: each move takes the place of what the one before left (`import --replace`).

use std::time::Duration;

use crate::container::{assert_counts, start_counter, status};
use crate::support::{Cgroup, Host, Hosts};
use crate::undo::kill_import;

const BUNDLE: &str = "/var/lib/ckpt/containers/c1";

/// What is in the directory of bundles, and mounted below it.
fn bundles(host: Host<'_>) -> String {
    host.run(
        "cd /var/lib/ckpt/containers; find . -maxdepth 2 | sort; cat c1/config.json | sha256sum\n\
         awk '$5 ~ \"^/var/lib/ckpt/containers\" { print $5 }' /proc/self/mountinfo | sort",
    )
}

#[test]
fn a_container_moves_to_and_fro_under_one_name() {
    let Some(hosts) = Hosts::try_up(Cgroup::V1) else {
        return;
    };
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    a.run("mkdir -p /data/shm; mount -t tmpfs -o size=1m shm /data/shm");
    start_counter(a, "runc", "c1", "--shm /data/shm");
    let mut hosts = [(a, "a"), (b, "b")];
    for _ in 0..5 {
        let [(from, _), (to, name)] = hosts;
        from.run(&format!(
            "ckpt export c1 -o /data/c1.ckpt; scp -q /data/c1.ckpt {name}:/data/"
        ));
        to.run("ckpt import /data/c1.ckpt --replace");
        assert_counts(to, &format!("{BUNDLE}/rootfs/count"));
        assert_eq!(to.run("ls -A /var/lib/ckpt/containers"), "c1");
        hosts.swap(0, 1);
    }
}

#[test]
fn a_bundle_is_replaced_only_when_nobody_uses_it_and_comes_back_when_the_import_fails() {
    let Some(hosts) = Hosts::try_up(Cgroup::V1) else {
        return;
    };
    let a = hosts.host("a");
    a.run("mkdir -p /data/shm; mount -t tmpfs -o size=1m shm /data/shm");
    start_counter(a, "runc", "c1", "--shm /data/shm");
    a.run("ckpt export c1 -o /data/first.ckpt && ckpt import /data/first.ckpt");
    // It runs, under its name and under another one.
    let used = a.attempt("ckpt import /data/first.ckpt --replace");
    assert!(used.code == 2 && used.stderr.contains("lives in"), "{}", used.stderr);
    assert_eq!(status(a, "runc", "c1"), "running");
    a.run("ckpt export c1 -o /data/second.ckpt");
    let before = bundles(a);
    let refused = a.attempt("ckpt import /data/second.ckpt");
    assert!(
        refused.code == 2 && refused.stderr.contains("--replace"),
        "{}",
        refused.stderr
    );
    let plan = a.run("ckpt import /data/second.ckpt --replace --dry-run");
    assert!(plan.contains("aside"), "{plan}");
    a.run("cp -a /workloads/busybox /data/base; rm /data/base/bin/sh /data/base/bin/busybox");
    let failed = a.attempt("ckpt import /data/second.ckpt --replace --root /data/base --ignore-rootfs");
    assert_eq!(failed.code, 7, "{}", failed.stderr);
    assert_eq!(bundles(a), before);
    for delay in (0..10).map(|step| Duration::from_millis(10 + step * 30)) {
        kill_import(a, "ckpt import /data/second.ckpt --replace", delay);
        if !status(a, "runc", "c1").is_empty() {
            a.run("runc delete -f c1");
        }
        // One that was killed before the container ran has changed nothing, as the next one sees to it.
        a.run("ckpt import /data/second.ckpt --replace");
        assert_counts(a, &format!("{BUNDLE}/rootfs/count"));
        assert_eq!(a.run("ls -A /var/lib/ckpt/containers"), "c1");
        a.run("runc delete -f c1");
    }
}
