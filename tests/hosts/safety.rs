//! Whatever fails, the container runs on and an older archive at the same name stays as it was.

use std::time::Duration;

use crate::container::{assert_counts, assert_untouched, start, start_counter, status};
use crate::support::{Cgroup, Host, Hosts, possible};

const OLD: &str = "an older archive";

/// A running counter `c1`, and an older file where its archive will be.
fn prepared(host: Host<'_>) {
    start_counter(host, "runc", "c1", "");
    host.run(&format!("echo '{OLD}' > /data/c1.tar.zst"));
}

/// Asserts that nothing happened: container, older archive, directory, ckpt's own directories.
fn assert_nothing_happened(host: Host<'_>) {
    assert_untouched(host, "runc", "c1");
    assert_eq!(host.run("cat /data/c1.tar.zst"), OLD);
    assert_eq!(
        host.run("ls -A /data | grep -v -e '^c1$' -e '^c1.tar.zst$' -e '^full$' || :"),
        "",
        "left behind"
    );
    assert_eq!(host.run("pgrep -x criu || :"), "", "CRIU left behind");
}

/// Asserts that a failed export says so: its exit code, and that the container runs on.
fn assert_said(ran: &crate::support::Ran, words: &[&str]) {
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    for word in [&["runs on"], words].concat() {
        assert!(ran.stderr.contains(word), "{word:?} is missing in: {}", ran.stderr);
    }
}

#[test]
fn disk_full() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    prepared(a);
    a.run(&format!(
        "mkdir /data/full; mount -t tmpfs -o size=64k none /data/full; echo '{OLD}' > /data/full/c1.tar.zst"
    ));
    let ran = a.attempt("ckpt export c1 -o /data/full/c1.tar.zst --compress none");
    assert_said(&ran, &["No space left", "/data/full/c1.tar.zst"]);
    assert_eq!(a.run("cat /data/full/c1.tar.zst"), OLD);
    assert_eq!(a.run("ls -A /data/full"), "c1.tar.zst");
    assert_nothing_happened(a);
}

#[test]
fn closed_pipe() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    prepared(a);
    let ran = a.attempt("(ckpt export c1 -o - --compress none; echo code=$? >&2) | head -c 1000 > /dev/null");
    assert!(
        ran.stderr.contains("code=6") && ran.stderr.contains("runs on"),
        "{}",
        ran.stderr
    );
    assert_nothing_happened(a);
}

#[test]
fn target_that_cannot_be_written() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    prepared(a);
    for target in ["/nonexistent/x.tar.zst", "/data", "/proc/x.tar.zst"] {
        let ran = a.attempt(&format!("ckpt export c1 -o {target}"));
        assert!(
            ran.code != 0 && ran.stderr.contains(target.trim_end_matches("/x.tar.zst")),
            "{target}: {}",
            ran.stderr
        );
    }
    a.run("mkdir /data/full; mount -t tmpfs -o ro none /data/full");
    let ran = a.attempt("ckpt export c1 -o /data/full/x.tar.zst");
    assert!(ran.code != 0 && ran.stderr.contains("/data/full"), "{}", ran.stderr);
    assert_nothing_happened(a);
}

#[test]
fn unreadable_file() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    // The kernel answers a read of the loopback interface's speed with an error, as a broken disk answers one of a file.
    start_counter(a, "runc", "c1", "--bind /sys/class/net/lo/:/mnt/odd");
    a.run(&format!(
        "echo '{OLD}' > /data/c1.tar.zst; ! cat /sys/class/net/lo/speed 2>/dev/null"
    ));
    let ran = a.attempt("ckpt export c1 -o /data/c1.tar.zst --with-mount /mnt/odd");
    assert_said(&ran, &["/sys/class/net/lo"]);
    assert_nothing_happened(a);
}

#[test]
fn criu_that_cannot_dump() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    // An open file whose name is gone while another link to it is left: CRIU wants to be told.
    let open = "echo held > /first; exec 3< /first; ln /first /second; rm /first; exec sleep 1000";
    let command = format!("sh -c '{open} & exec sh /opt/workloads/counter.sh /count'");
    start(a, "runc", "c1", "", &command);
    a.wait_until("[ -e /data/c1/rootfs/second ] && [ $(wc -l < /data/c1/rootfs/count) -ge 3 ]");
    a.run(&format!("echo '{OLD}' > /data/c1.tar.zst"));
    let ran = a.attempt("ckpt export c1 -o /data/c1.tar.zst");
    assert_said(&ran, &["link-remap", "dump.log"]);
    assert_nothing_happened(a);
}

#[test]
fn killed_at_every_moment() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    prepared(a);
    for delay in (0..30).map(|step| Duration::from_millis(5 + step * 15)) {
        let mut export = a.spawn("exec ckpt export c1 -o /data/c1.tar.zst --leave-running");
        std::thread::sleep(delay);
        a.run("pkill -KILL -x ckpt || :");
        let _ = export.wait();
        // A runtime that was just started goes on without ckpt until CRIU asks and nobody answers.
        std::thread::sleep(Duration::from_millis(100));
        a.wait_until(
            "! pgrep -x criu && ! pgrep -f 'runc.* checkpoint' && [ $(runc state c1 | jq -r .status) = running ]",
        );
        assert_untouched(a, "runc", "c1");
        let archive = a.attempt("ckpt verify /data/c1.tar.zst");
        let old = a.run("head -c 16 /data/c1.tar.zst | tr -d '\\0'");
        assert!(
            archive.code == 0 || old == OLD,
            "neither the older archive nor a whole new one after {delay:?}"
        );
    }
    a.run("ckpt export c1 -o /data/c1.tar.zst && ckpt verify /data/c1.tar.zst");
    assert_eq!(
        a.run("ls -A /var/lib/ckpt/work /run/ckpt 2>/dev/null | grep -e session -e work- || :"),
        "",
        "left behind"
    );
    assert_eq!(status(a, "runc", "c1"), "");
}

#[test]
fn two_exports_at_once() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    prepared(a);
    a.run(
        "ckpt export c1 -o /data/c1.tar.zst --leave-running 2>/data/e1; echo $? > /data/r1 &
         ckpt export c1 -o /data/c1b.tar.zst --leave-running 2>/data/e2; echo $? > /data/r2; wait",
    );
    let codes = [a.run("cat /data/r1"), a.run("cat /data/r2")];
    assert!(codes.contains(&"0".to_owned()), "{codes:?}");
    if codes.iter().any(|code| code != "0") {
        let said = a.run("cat /data/e1 /data/e2");
        assert!(said.contains("another ckpt"), "{said}");
    }
    assert_counts(a, "/data/c1/rootfs/count");
}

#[test]
fn a_container_that_does_not_run_is_left_as_it_is() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    a.run("/opt/workloads/mkbundle /data/c1 -- sh /opt/workloads/counter.sh /count; runc create --bundle /data/c1 c1 </dev/null >/dev/null 2>&1");
    let ran = a.attempt("ckpt export c1 -o /data/c1.tar.zst");
    assert!(ran.code == 6 && ran.stderr.contains("created"), "{}", ran.stderr);
    assert_eq!(status(a, "runc", "c1"), "created");
    a.run("runc start c1");
    a.wait_until("[ $(wc -l < /data/c1/rootfs/count) -ge 3 ]");
    assert_untouched(a, "runc", "c1");
}
