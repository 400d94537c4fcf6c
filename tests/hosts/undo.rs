//! A failed import leaves nothing behind, and the same import can be run again at once.

use std::time::Duration;

use crate::container::{assert_counts, start_counter, status};
use crate::support::{Cgroup, Host, Hosts, possible};

/// Everything of a host that an import could leave something in.
fn traces(host: Host<'_>) -> String {
    host.run(
        "runc list -q; crun list -q; find /sys/fs/cgroup -mindepth 2 -maxdepth 4 -type d | grep -v '/init$' | sort\n\
         awk '{ print $5 }' /proc/self/mountinfo | sort; find /data /var/lib/ckpt /run/runc /run/netns -maxdepth 3 2>/dev/null | grep -v -e /logs -e '^/data/base' | sort\n\
         nft list ruleset 2>/dev/null; ip -br link | awk '{ print $1 }'",
    )
}

#[test]
fn a_restore_that_criu_refuses_leaves_nothing_and_can_be_repeated() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    a.run("mkdir -p /data/shm; mount -t tmpfs -o size=1m shm /data/shm");
    start_counter(a, "runc", "c1", "--shm /data/shm --cgroups-path /deep/er/c1");
    a.run("ckpt export c1 -o /data/c1.tar.zst; scp -q /data/c1.tar.zst b:/data/");
    // Files that are not those of the container: CRIU finds the program missing.
    b.run(
        "cp -a /workloads/busybox /data/base; rm /data/base/bin/sh /data/base/bin/busybox; mkdir -p /var/lib/ckpt/work",
    );
    let before = traces(b);
    let ran =
        b.attempt("ckpt import /data/c1.tar.zst --name c2 --bundle /data/there --root /data/base --ignore-rootfs");
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    for word in ["c2", "restore.log", "Error ("] {
        assert!(ran.stderr.contains(word), "{word:?} is missing in: {}", ran.stderr);
    }
    assert_eq!(traces(b), before);
    b.run("ckpt import /data/c1.tar.zst --name c2 --bundle /data/there");
    assert_counts(b, "/data/there/rootfs/count");
    let running = traces(b);
    let again = b.attempt("ckpt import /data/c1.tar.zst --name c2 --bundle /data/there2");
    assert!(again.code != 0 && again.stderr.contains("c2"), "{}", again.stderr);
    assert_eq!(
        traces(b),
        running,
        "a name that is taken is refused before anything is made"
    );
    assert_eq!(status(b, "runc", "c2"), "running");
}

#[test]
fn a_dry_run_and_a_refusal_touch_nothing() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    a.run("mkdir -p /data/src; : > /data/criu.conf");
    start_counter(
        a,
        "runc",
        "c1",
        "--bind /data/src:/mnt/src --annotation org.criu.config=/data/criu.conf",
    );
    a.run("ckpt export c1 -o /data/c1.tar.zst; mkdir -p /var/lib/ckpt/work");
    let before = traces(a);
    let refused = a.attempt("ckpt import /data/c1.tar.zst --name c2");
    assert_eq!(refused.code, 8, "{}", refused.stderr);
    for word in ["--map-mount", "--allow-mount", "--allow-criu-config", "/mnt/src"] {
        assert!(
            refused.stderr.contains(word),
            "{word:?} is missing in: {}",
            refused.stderr
        );
    }
    let plan = a.run("ckpt import /data/c1.tar.zst --name c2 --dry-run --allow-mount /mnt/src --allow-criu-config");
    assert!(plan.contains("/var/lib/ckpt/containers/c2"), "{plan}");
    let json = a.run("ckpt import /data/c1.tar.zst --name c2 --dry-run --json --allow-mount /mnt/src --allow-criu-config | jq -r .name");
    assert_eq!(json, "c2");
    assert_eq!(traces(a), before);
}

#[test]
fn without_a_restore_bundle_and_images_are_ready_for_the_runtime() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    start_counter(a, "runc", "c1", "");
    a.run("ckpt export c1 -o - | ckpt import - --name c2 --bundle /data/there --no-restore");
    assert_eq!(status(a, "runc", "c2"), "");
    a.run(
        "cd /data/there; runc restore -d --image-path checkpoint --work-path /tmp/work c2 </dev/null >/dev/null 2>&1",
    );
    assert_counts(a, "/data/there/rootfs/count");
}

#[test]
fn a_damaged_archive_starts_nothing_and_leaves_nothing() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    start_counter(a, "runc", "c1", "");
    a.run("ckpt export c1 -o /data/c1.tar.zst; mkdir -p /var/lib/ckpt/work");
    let whole = std::fs::read(a.outside("/data/c1.tar.zst")).expect("the archive");
    let bad = a.outside("/data/bad.tar.zst");
    let before = traces(a);
    for part in 0..12 {
        let at = (whole.len() - 1) * part / 11;
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (part % 8);
        std::fs::write(&bad, &bytes).expect("a damaged copy");
        for input in [
            "/data/bad.tar.zst",
            "- < /data/bad.tar.zst",
            "- < <(cat /data/bad.tar.zst)",
        ] {
            let ran = a.attempt(&format!(
                "exec bash -c 'ckpt import {input} --name c2 --bundle /data/there'"
            ));
            assert_eq!(ran.code, 4, "byte {at} of {}, {input}: {}", whole.len(), ran.stderr);
        }
        std::fs::write(&bad, &whole[..at]).expect("a truncated copy");
        let ran = a.attempt("ckpt import /data/bad.tar.zst --name c2 --bundle /data/there");
        assert_eq!(ran.code, 4, "{at} bytes of {}: {}", whole.len(), ran.stderr);
    }
    std::fs::remove_file(bad).expect("the copy");
    assert_eq!(traces(a), before);
}

/// Kills an import of runc's with all that belongs to ckpt, and waits for those that outlive it.
pub fn kill_import(host: Host<'_>, import: &str, delay: Duration) {
    let mut killed = host.spawn(&format!("exec {import}"));
    std::thread::sleep(delay);
    host.run("pkill -KILL -x ckpt || :");
    let _ = killed.wait();
    std::thread::sleep(Duration::from_millis(100));
    host.wait_until("! pgrep -f 'runc.* restore' && ! pgrep -x criu");
}

#[test]
fn an_import_killed_at_every_moment_can_be_repeated_at_once() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    a.run("mkdir -p /data/shm; mount -t tmpfs -o size=1m shm /data/shm");
    start_counter(a, "runc", "c1", "--shm /data/shm");
    a.run("ckpt export c1 -o /data/c1.tar.zst");
    let import = "ckpt import /data/c1.tar.zst --name c2 --bundle /data/there";
    for delay in (0..20).map(|step| Duration::from_millis(10 + step * 20)) {
        kill_import(a, import, delay);
        if status(a, "runc", "c2").is_empty() {
            a.run(import);
        }
        assert_counts(a, "/data/there/rootfs/count");
        a.run("runc delete -f c2; umount /data/there/shm; rm -rf /data/there");
    }
    assert_eq!(a.run("ls -A /data | grep ckpt-work || :"), "", "left behind");
}
