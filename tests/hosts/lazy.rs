//! Lazy imports: the container runs at once, its memory follows, and nothing ever runs on memory that is not whole.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Output};

use ckpt::archive::Indexed;

use crate::container::{assert_counts, start, start_counter, status};
use crate::support::{Cgroup, Host, Hosts, Tree};

/// MiB of memory that take long enough to follow for something to happen meanwhile.
const BIG: u32 = 512;

fn one(cgroup: Cgroup, tree: Tree) -> Option<Hosts> {
    Hosts::try_with(cgroup, tree, &["a"])
}

/// Starts `continuity.py`, which checks its memory all the time, as the container NAME.
fn start_checked(host: Host<'_>, runtime: &str, name: &str, options: &str) {
    start(
        host,
        runtime,
        name,
        "--base debian --rootfs overlay --tmpfs /run/held",
        &format!("python3 /opt/workloads/continuity.py /state --tmpfs /run/held {options}"),
    );
    host.wait_until(&format!("grep -q 'tick 5' /data/{name}/rootfs/state"));
}

/// Asserts that a container of [`start_checked`] goes on without a gap and without having found anything wrong.
fn assert_checked(host: Host<'_>, bundle: &str) {
    let state = format!("{bundle}/rootfs/state");
    let ticks = host.run(&format!("wc -l < {state}"));
    host.wait_until(&format!("[ $(wc -l < {state}) -gt $(({ticks} + 20)) ]"));
    host.run(&format!(
        "! grep FAIL {state}; awk '$2 != NR {{ print NR, $0; exit 1 }}' {state}"
    ));
}

/// Exports a container with much memory to `/data/big.ckpt`.
fn export_big(host: Host<'_>) {
    let options = "--base debian --rootfs overlay";
    start(
        host,
        "runc",
        "big",
        options,
        &format!("python3 /opt/workloads/memhog.py {BIG} /ready"),
    );
    host.wait_until("[ -e /data/big/rootfs/ready ]");
    host.run("ckpt export big -o /data/big.ckpt");
}

fn import_big(name: &str) -> String {
    format!("ckpt import --lazy /data/big.ckpt --name {name} --bundle /data/there/{name} --root /workloads/debian")
}

/// Starts a lazy import of `/data/big.ckpt` and stops CRIU's daemon in the middle of its work.
fn follow_half(host: Host<'_>, name: &str) -> Child {
    host.run(&format!(": > /data/{name}.err"));
    let child = host.spawn(&format!(
        "exec {} --progress json 2>>/data/{name}.err",
        import_big(name)
    ));
    host.run(&format!(
        "timeout 30 sh -c 'until grep -q follow /data/{name}.err; do sleep 0.01; done'; pkill -STOP -x criu"
    ));
    assert_eq!(status(host, "runc", name), "running");
    child
}

/// Asserts that a lazy import failed as its container's memory could not be completed, and that nothing is left.
fn assert_stopped(host: Host<'_>, name: &str, output: &Output) -> String {
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_nothing_left(host, name);
    let told = host.run(&format!("tail -n 1 /data/{name}.err"));
    assert!(
        told.contains("the container was stopped: its memory could not be completed"),
        "{told}"
    );
    told
}

/// What is told of a lazy import in whose middle `action` is done, after which the container is gone.
fn stopped_by(host: Host<'_>, action: &str) -> String {
    export_big(host);
    let child = follow_half(host, "lazy");
    host.run(action);
    let output = child.wait_with_output().expect("it ends");
    assert_stopped(host, "lazy", &output)
}

fn assert_nothing_left(host: Host<'_>, name: &str) {
    assert_eq!(status(host, "runc", name), "", "the container is gone");
    host.run(&format!(
        "[ ! -e /data/there/{name} ] || [ -z \"$(ls -A /data/there/{name})\" ]"
    ));
    host.run("! pgrep -f memhog.py; ! pgrep -x criu; ! pgrep -f lazy-guard; ! grep /data/there /proc/mounts");
}

fn memory_follows(cgroup: Cgroup, tree: Tree, runtime: &str) {
    let Some(hosts) = one(cgroup, tree) else { return };
    let a = hosts.host("a");
    start_checked(a, runtime, "py", "--memory 64");
    a.run("ckpt export py -o /data/py.ckpt");
    let told = a.run("ckpt import --lazy --json /data/py.ckpt --name two --bundle /data/two --root /workloads/debian");
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    assert!(told["followed"].as_u64().expect("a number") > 64 * 256, "{told}");
    assert_checked(a, "/data/two");
    a.run("! pgrep -x criu; ! pgrep -x ckpt; [ ! -e /data/two/.ckpt-import ]");
}

#[test]
fn memory_follows_under_runc() {
    memory_follows(Cgroup::V1, Tree::Criu42, "runc");
}

#[test]
fn memory_follows_with_criu_4_1() {
    memory_follows(Cgroup::V1, Tree::Criu41, "runc");
}

#[test]
fn memory_follows_under_crun() {
    memory_follows(Cgroup::V2, Tree::Criu42, "crun");
}

#[test]
fn memory_follows_under_crun_with_criu_4_1() {
    memory_follows(Cgroup::V2, Tree::Criu41, "crun");
}

#[test]
fn tasks_that_fork_while_their_memory_follows_have_all_of_it() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let a = hosts.host("a");
    let options = "--base debian --rootfs overlay";
    start(
        a,
        "runc",
        "forks",
        options,
        "python3 /opt/workloads/forks.py /state 128",
    );
    a.wait_until("grep -q 'tick 3' /data/forks/rootfs/state");
    a.run("ckpt export forks -o /data/forks.ckpt");
    a.run("ckpt import --lazy /data/forks.ckpt --name two --bundle /data/two --root /workloads/debian");
    assert_checked(a, "/data/two");
}

#[test]
fn two_hundred_processes_are_restored_lazily() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let a = hosts.host("a");
    let count = "sh -c 'for i in $(seq 200); do sh -c \"while :; do sleep 1; done\" & done; exec sh /opt/workloads/counter.sh /count'";
    start(a, "runc", "many", "", count);
    a.wait_until("[ $(runc ps many | grep -c 'while :') -eq 200 ] && [ -s /data/many/rootfs/count ]");
    a.run("ckpt export many -o /data/many.ckpt; ckpt import --lazy /data/many.ckpt --bundle /data/there");
    assert_counts(a, "/data/there/rootfs/count");
    assert_eq!(a.run("runc ps many | grep -c 'while :'"), "200");
}

#[test]
fn a_user_namespace_is_refused_where_the_kernel_does_not_allow_it() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let a = hosts.host("a");
    start_counter(a, "runc", "c1", "--userns shifted");
    a.run("ckpt export c1 -o /data/c1.ckpt");
    let ran = a.attempt("ckpt import --lazy /data/c1.ckpt --bundle /data/there");
    if a.run("cat /proc/sys/vm/unprivileged_userfaultfd") == "1" {
        assert_eq!(ran.code, 0, "{ran:?}");
        return assert_counts(a, "/data/there/rootfs/count");
    }
    assert!(
        ran.code == 2 && ran.stderr.contains("vm.unprivileged_userfaultfd=1"),
        "{ran:?}"
    );
    a.run("[ ! -e /data/there ]; ckpt import /data/c1.ckpt --bundle /data/there");
}

#[test]
fn a_lazily_restored_container_moves_on() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let a = hosts.host("a");
    start_checked(a, "runc", "py", "");
    let base = "--root /workloads/debian";
    for (from, to, lazy) in [("py", "one", "--lazy"), ("one", "two", "--lazy"), ("two", "three", "")] {
        a.run(&format!("ckpt export {from} -o /data/{from}.ckpt"));
        a.run(&format!(
            "ckpt import {lazy} /data/{from}.ckpt --name {to} --bundle /data/{to} {base}"
        ));
        assert_checked(a, &format!("/data/{to}"));
    }
}

#[test]
fn one_archive_is_imported_twice_at_once() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let a = hosts.host("a");
    start_checked(a, "runc", "py", "--memory 128");
    a.run("ckpt export py -o /data/py.ckpt");
    let import = "ckpt import --lazy /data/py.ckpt --root /workloads/debian";
    let both = ["one", "two"].map(|name| a.spawn(&format!("exec {import} --name {name} --bundle /data/{name}")));
    for child in both {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
    }
    for name in ["one", "two"] {
        assert_checked(a, &format!("/data/{name}"));
    }
}

#[test]
fn a_container_whose_memory_follows_is_not_exported() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let a = hosts.host("a");
    export_big(a);
    let child = follow_half(a, "lazy");
    let ran = a.attempt("ckpt export lazy -o /data/again.ckpt");
    assert!(
        ran.code == 6 && ran.stderr.contains("is working on container \"lazy\""),
        "{ran:?}"
    );
    a.run("[ ! -e /data/again.ckpt ]; pkill -CONT -x criu");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    a.run("ckpt export lazy -o /data/again.ckpt && ckpt verify /data/again.ckpt");
}

#[test]
fn a_killed_import_takes_its_container_along_and_can_be_repeated_at_once() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let a = hosts.host("a");
    export_big(a);
    let digest = a.run("sha256sum /data/big.ckpt");
    let child = follow_half(a, "lazy");
    a.run("pkill -KILL -f '^ckpt import'");
    a.run(&format!("{} || exit 1", import_big("lazy")));
    let _ = child.wait_with_output();
    assert_eq!(status(a, "runc", "lazy"), "running");
    assert_eq!(a.run("sha256sum /data/big.ckpt"), digest, "the archive is as it was");
    a.run("runc delete -f lazy; umount /data/there/lazy/rootfs; rm -rf /data/there/lazy");
    let child = follow_half(a, "lazy");
    a.run("pkill -KILL -f '^ckpt import'");
    let _ = child.wait_with_output();
    a.wait_until("! pgrep -f lazy-guard");
    assert_nothing_left(a, "lazy");
}

#[test]
fn an_import_killed_at_every_moment_leaves_no_container_without_memory() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let a = hosts.host("a");
    start_counter(a, "runc", "c1", "");
    a.run("ckpt export c1 -o /data/c1.ckpt");
    let import = "ckpt import --lazy /data/c1.ckpt --name c2 --bundle /data/there";
    for delay in (0..16).map(|step| std::time::Duration::from_millis(10 + step * 25)) {
        let mut killed = a.spawn(&format!("exec {import}"));
        std::thread::sleep(delay);
        a.run("pkill -KILL -f '^ckpt import' || :");
        let _ = killed.wait();
        a.wait_until("! pgrep -fa 'lazy-guard|runc.* restore|^criu'");
        if status(a, "runc", "c2").is_empty() {
            a.run(import);
        }
        assert_counts(a, "/data/there/rootfs/count");
        a.run("runc delete -f c2; rm -rf /data/there");
    }
}

#[test]
fn a_detached_import_goes_on_in_the_background_and_can_be_asked_how_far_it_is() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let a = hosts.host("a");
    export_big(a);
    let state = "ckpt import --status lazy --json | jq -r '.[0].state'";
    // Nothing of the caller's stays open: the pipe that the harness reads to its end is one of its streams.
    let told = a.run(&format!("{} --detach --json; pkill -STOP -x criu", import_big("lazy")));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&told).expect("JSON")["container"],
        "lazy"
    );
    assert_eq!(status(a, "runc", "lazy"), "running");
    assert_eq!(a.run(state), "following");
    let line = a.run("ckpt import --status");
    assert!(
        line.starts_with("lazy: runs, memory follows (") && line.ends_with("from /data/big.ckpt)"),
        "{line}"
    );
    a.run("pkill -CONT -x criu");
    a.wait_until(&format!("[ \"$({state})\" = complete ]"));
    a.wait_until("! pgrep -x criu; ! pgrep -x ckpt");
    a.run("[ ! -e /data/there/lazy/.ckpt-import ]; runc delete -f lazy");
    a.run("umount /data/there/lazy/rootfs; rm -rf /data/there/lazy");
    // And killed.
    a.run(&format!(
        "{} --detach; pkill -STOP -x criu; pkill -KILL -f '^[^ ]*ckpt import'",
        import_big("lazy")
    ));
    a.wait_until("! pgrep -f lazy-guard");
    assert_nothing_left(a, "lazy");
    assert_eq!(a.run(state), "killed");
    let ran = a.attempt("ckpt import --status nobody");
    assert_eq!(ran.code, 5, "{ran:?}");
}

#[test]
fn a_detached_import_that_fails_before_the_container_runs_says_so() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let a = hosts.host("a");
    start_counter(a, "runc", "c1", "");
    a.run("ckpt export c1 --leave-running -o /data/c1.ckpt");
    let ran = a.attempt("ckpt import --lazy --detach /data/c1.ckpt --bundle /data/c2");
    assert!(
        ran.code != 0 && ran.stderr.contains("cannot import /data/c1.ckpt"),
        "{ran:?}"
    );
}

#[test]
fn an_interrupted_import_takes_its_container_along() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let told = stopped_by(hosts.host("a"), "pkill -INT -f '^ckpt import'");
    assert!(told.contains("stopped by a signal"), "{told}");
}

#[test]
fn the_death_of_criu_s_daemon_ends_the_container() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let told = stopped_by(hosts.host("a"), "pkill -KILL -x criu");
    assert!(told.contains("CRIU's lazy-pages daemon ended too early"), "{told}");
}

#[test]
fn the_death_of_the_guard_ends_the_container() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let told = stopped_by(hosts.host("a"), "pkill -KILL -f 'ckpt lazy-guard'");
    assert!(told.contains("guards the container"), "{told}");
}

#[test]
fn an_archive_cut_off_meanwhile_ends_the_container() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let told = stopped_by(hosts.host("a"), "truncate -s 1M /data/big.ckpt; pkill -CONT -x criu");
    assert!(
        told.contains("which holds a part of checkpoint/pages-1.img, cannot be read"),
        "{told}"
    );
}

/// Flips a bit in the last frame but `back` of the entry, and gives the frame's number.
fn flip(archive: &Path, entry: &str, back: usize) -> usize {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(archive)
        .expect("the archive");
    let indexed = Indexed::open(file.try_clone().expect("a descriptor")).expect("an archive");
    let index = indexed.index();
    let end = index
        .find(entry)
        .map(|entry| entry.offset + entry.size)
        .expect("the entry");
    let mut content = 0;
    let holds_the_end = |frame: &ckpt::archive::Frame| {
        content += u64::from(frame.content);
        content >= end
    };
    let frame = index.frames().iter().position(holds_the_end).expect("a frame") - back;
    let offset: u64 = index.frames()[..frame]
        .iter()
        .map(|frame| u64::from(frame.stored))
        .sum();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset + 9).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x10], offset + 9).expect("it is written");
    frame
}

#[test]
fn a_flipped_bit_met_lazily_ends_the_container_and_names_the_frame() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let a = hosts.host("a");
    export_big(a);
    let entry = "checkpoint/pages-1.img";
    let frame = flip(&a.outside("/data/big.ckpt"), entry, 100);
    let child = a.spawn(&format!("exec {} --json 2>/data/lazy.err", import_big("lazy")));
    let output = child.wait_with_output().expect("it ends");
    let told = assert_stopped(a, "lazy", &output);
    assert!(
        told.contains(&format!("frame {frame}, which holds a part of {entry}, cannot be read")),
        "{told}"
    );
    assert!(told.contains("does not match its digest"), "{told}");
    // And again, at once, to the same end.
    let ran = a.attempt(&import_big("lazy"));
    assert_eq!(ran.code, 7, "{ran:?}");
    assert_nothing_left(a, "lazy");
}

#[test]
fn what_cannot_be_lazy_is_refused_with_the_reason() {
    let Some(hosts) = one(Cgroup::V1, Tree::Criu42) else {
        return;
    };
    let a = hosts.host("a");
    start_counter(a, "runc", "c1", "");
    for (options, import, why) in [
        ("--compress gzip", "/data/c1.ckpt", "this one is compressed with gzip"),
        ("--compress none", "/data/c1.ckpt", "this one is not compressed"),
        ("", "- < /data/c1.ckpt", "read once, from front to back"),
        (
            "",
            "/data/fifo & cat /data/c1.ckpt > /data/fifo; wait $!",
            "only an archive in a file",
        ),
    ] {
        a.run(&format!("rm -f /data/c1.ckpt /data/fifo; mkfifo /data/fifo; ckpt export c1 --leave-running -o /data/c1.ckpt {options}"));
        let ran = a.attempt(&format!("ckpt import --lazy --name c2 --bundle /data/c2 {import}"));
        assert!(ran.code == 2 && ran.stderr.contains(why), "{options} {import}: {ran:?}");
        a.run("[ ! -e /data/c2 ]");
    }
}
