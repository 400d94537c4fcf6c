//! runc's CRIU switches, each on a container that needs it, with either runtime where it has a say in it.

use crate::container::{assert_counts, start, start_counter, status};
use crate::support::{Cgroup, Host, Hosts, Tree, possible};

/// Runs a test on a host for runc and on one for crun, which wants cgroup version 2.
fn each(test: impl Fn(Host<'_>, &str)) {
    if !possible() {
        return;
    }
    for (runtime, cgroup) in [("runc", Cgroup::V1), ("crun", Cgroup::V2)] {
        let hosts = Hosts::with(cgroup, Tree::Criu42, &["a"]);
        test(hosts.host("a"), runtime);
    }
}

/// Exports and imports a container on the same host.
fn round_trip(host: Host<'_>, name: &str, export: &str, import: &str) {
    host.run(&format!("ckpt export {name} -o /data/{name}.tar.zst {export}"));
    host.run(&format!(
        "ckpt import /data/{name}.tar.zst --name {name}-2 --bundle /data/{name}-2 {import}"
    ));
}

/// A container in which `script` has been run as a process of its own beside a counter.
fn start_with(host: Host<'_>, runtime: &str, name: &str, options: &str, script: &str) {
    let command = format!("sh -c '{script} & exec sh /opt/workloads/counter.sh /count'");
    start(host, runtime, name, options, &command);
    host.wait_until(&format!("[ $(wc -l < /data/{name}/rootfs/count) -ge 3 ]"));
}

#[test]
fn leave_running_and_status_fd() {
    each(|a, runtime| {
        let name = format!("l-{runtime}");
        start_counter(a, runtime, &name, "");
        a.run(&format!(
            "ckpt export {name} -o /data/{name}.tar.zst --leave-running --status-fd 5 5> /data/status"
        ));
        assert_eq!(a.run("od -An -tx1 /data/status").trim(), "00");
        assert_eq!(status(a, runtime, &name), "running");
        assert_counts(a, &format!("/data/{name}/rootfs/count"));
        a.run(&format!(
            "{runtime} delete -f {name}; ckpt import /data/{name}.tar.zst --name {name}-2 --bundle /data/{name}-2"
        ));
        assert_counts(a, &format!("/data/{name}-2/rootfs/count"));
    });
}

#[test]
fn file_locks() {
    each(|a, runtime| {
        let name = format!("f-{runtime}");
        start_with(
            a,
            runtime,
            &name,
            "--base debian --rootfs overlay",
            "flock /locked sleep 1000",
        );
        let refused = a.attempt(&format!("ckpt export {name} -o /data/x.tar.zst"));
        assert_eq!(refused.code, 6, "{}", refused.stderr);
        round_trip(a, &name, "--file-locks", "--root /workloads/debian");
        assert_counts(a, &format!("/data/{name}-2/rootfs/count"));
        a.run(&format!("! {runtime} exec {name}-2 flock -n /locked true"));
    });
}

#[test]
fn link_remap() {
    each(|a, runtime| {
        // An open file whose name is gone while another link to it is left.
        let script = "echo held > /first; exec 3< /first; ln /first /second; rm /first; exec sleep 1000";
        let name = format!("r-{runtime}");
        start_with(a, runtime, &name, "", script);
        let refused = a.attempt(&format!("ckpt export {name} -o /data/x.tar.zst"));
        assert_eq!(refused.code, 6, "{}", refused.stderr);
        assert!(refused.stderr.contains("link-remap"), "{}", refused.stderr);
        round_trip(a, &name, "--link-remap", "");
        assert_counts(a, &format!("/data/{name}-2/rootfs/count"));
        assert_eq!(
            a.run(&format!(
                "cat /proc/$(pgrep -x sleep | head -n 1)/fd/3 2>/dev/null || {runtime} exec {name}-2 cat /second"
            )),
            "held"
        );
        a.run(&format!("{runtime} delete -f {name}-2"));
    });
}

/// Takes datagrams for ever.
const SERVER: &str = r#"
import socket
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind("/data/sockets/log")
while True:
    server.recv(16)
"#;

/// Sends datagrams to a socket outside its container for ever.
const CLIENT: &str = r#"
import socket, time
client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
client.connect("/data/sockets/log")
while True:
    client.send(b"x")
    time.sleep(0.1)
"#;

#[test]
fn ext_unix_sk() {
    each(|a, runtime| {
        a.run("mkdir /data/sockets");
        std::fs::write(a.outside("/data/server.py"), SERVER).expect("a script");
        a.run("(setsid python3 /data/server.py </dev/null >/dev/null 2>&1 &)");
        a.wait_until("[ -S /data/sockets/log ]");
        std::fs::write(a.outside("/data/sockets/client.py"), CLIENT).expect("a script");
        let name = format!("u-{runtime}");
        start(
            a,
            runtime,
            &name,
            "--base debian --rootfs overlay --netns host --bind /data/sockets:/data/sockets",
            "python3 /data/sockets/client.py",
        );
        std::thread::sleep(std::time::Duration::from_millis(500));
        let refused = a.attempt(&format!("ckpt export {name} -o /data/x.tar.zst"));
        assert_eq!(refused.code, 6, "{}", refused.stderr);
        round_trip(
            a,
            &name,
            "--ext-unix-sk",
            "--root /workloads/debian --map-mount /data/sockets=/data/sockets",
        );
        assert_eq!(status(a, runtime, &format!("{name}-2")), "running");
        a.run(&format!("{runtime} delete -f {name}-2"));
    });
}

#[test]
fn shell_job() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    a.run("/opt/workloads/mkbundle /data/job -- sh /opt/workloads/counter.sh /count");
    // A terminal of the host's own, not the container's: the container is a job of its shell.
    a.run(
        "(setsid script -qc 'runc run -d --bundle /data/job job; sleep 1000' /dev/null </dev/null >/dev/null 2>&1 &)",
    );
    a.wait_until("[ $(wc -l < /data/job/rootfs/count) -ge 3 ]");
    let refused = a.attempt("ckpt export job -o /data/x.tar.zst");
    assert_eq!(refused.code, 6, "{}", refused.stderr);
    a.run("ckpt export job -o /data/job.tar.zst --shell-job --leave-running");
    assert_counts(a, "/data/job/rootfs/count");
    // runc makes CRIU hand it the terminal's master and then has no place for it. The refusal must cost nothing.
    let ran = a.attempt("ckpt import /data/job.tar.zst --name job-2 --bundle /data/job-2");
    assert!(
        ran.code == 7 && ran.stderr.contains("nothing of it is left"),
        "{}",
        ran.stderr
    );
    assert_eq!(a.run("ls -d /data/job-2 2>/dev/null || :"), "");
    assert_counts(a, "/data/job/rootfs/count");
}

#[test]
fn cgroup_modes_and_empty_namespaces() {
    each(|a, runtime| {
        let modes: &[&str] = if runtime == "runc" {
            &["soft", "full", "strict"]
        } else {
            &["soft", "ignore"]
        };
        for mode in modes {
            let name = format!("g-{runtime}-{mode}");
            // CRIU cannot put what it ignored at the dump into a cgroup of another name.
            let new = if *mode == "ignore" {
                name.clone()
            } else {
                format!("{name}-2")
            };
            start_counter(a, runtime, &name, "");
            a.run(&format!(
                "ckpt export {name} -o /data/x.tar.zst --manage-cgroups-mode {mode} --empty-ns network\n\
                 ckpt import /data/x.tar.zst --name {new} --bundle /data/{name}-2; rm /data/x.tar.zst"
            ));
            assert_counts(a, &format!("/data/{name}-2/rootfs/count"));
            a.run(&format!("{runtime} delete -f {new}"));
        }
        if runtime == "runc" {
            start_counter(a, "runc", "refused", "");
            let refused = a.attempt("ckpt export refused -o /data/x.tar.zst --manage-cgroups-mode ignore");
            assert!(
                refused.code != 0 && refused.stderr.contains("ignore"),
                "{}",
                refused.stderr
            );
            assert_counts(a, "/data/refused/rootfs/count");
        }
    });
}

#[test]
fn work_path_is_kept_and_skip_in_flight_and_dedup_are_taken() {
    each(|a, runtime| {
        let name = format!("w-{runtime}");
        start_counter(a, runtime, &name, "");
        round_trip(
            a,
            &name,
            "--work-path /data/work --tcp-skip-in-flight --auto-dedup",
            "--work-path /data/work --auto-dedup",
        );
        a.run("grep -q 'Dumping finished' /data/work/dump.log; grep -q 'Restore finished' /data/work/restore.log; [ ! -e /data/work/images ]");
        assert_counts(a, &format!("/data/{name}-2/rootfs/count"));
        a.run("rm -r /data/work");
    });
}

#[test]
fn memory_goes_to_a_page_server() {
    each(|a, runtime| {
        let name = format!("p-{runtime}");
        start_counter(a, runtime, &name, "");
        a.run("mkdir /data/pages; criu page-server --images-dir /data/pages --port 9876 --daemon </dev/null >/dev/null 2>&1; sleep 0.2");
        a.run(&format!(
            "ckpt export {name} -o /data/{name}.tar.zst --page-server 127.0.0.1:9876"
        ));
        a.run(&format!("! ckpt ls /data/{name}.tar.zst | grep pages-"));
        let refused = a.attempt(&format!(
            "ckpt import /data/{name}.tar.zst --name {name}-2 --bundle /data/{name}-2"
        ));
        assert!(
            refused.code != 0 && refused.stderr.contains("--pages"),
            "{}",
            refused.stderr
        );
        a.run(&format!(
            "ckpt import /data/{name}.tar.zst --name {name}-2 --bundle /data/{name}-2 --pages /data/pages"
        ));
        assert_counts(a, &format!("/data/{name}-2/rootfs/count"));
        a.run("rm -r /data/pages");
    });
}

#[test]
fn without_memory_tracking_a_pre_dump_is_refused_with_the_reason() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    if a.attempt("criu check --feature mem_dirty_track").code == 0 {
        return;
    }
    start_counter(a, "runc", "c1", "");
    let refused = a.attempt("ckpt export c1 -o /data/x.tar.zst --pre-dump");
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("CONFIG_MEM_SOFT_DIRTY"), "{}", refused.stderr);
    assert_counts(a, "/data/c1/rootfs/count");
}

#[test]
fn network_namespaces_are_chosen_at_import() {
    each(|a, runtime| {
        a.run("ip netns add other; ip -n other link set lo up");
        let name = format!("n-{runtime}");
        start_counter(a, runtime, &name, "");
        let inode = |name: &str| a.run(&format!("readlink /proc/$({runtime} state {name} | jq .pid)/ns/net"));
        // Its own, into one that is there.
        round_trip(a, &name, "", "--netns /run/netns/other");
        let other = a.run("ip netns exec other readlink /proc/self/ns/net");
        assert_eq!(inode(&format!("{name}-2")), other);
        // From one that was there, into the host's.
        round_trip(a, &format!("{name}-2"), "", "--netns host");
        assert_eq!(inode(&format!("{name}-2-2")), a.run("readlink /proc/1/ns/net"));
        a.run(&format!("{runtime} delete -f {name}-2-2; ckpt import /data/{name}.tar.zst --name {name}-2 --bundle /data/{name}-3 --netns /run/netns/other"));
        a.run(&format!("rm -rf /data/{name}-2-2"));
        // From one that was there, into a new one with its loopback interface up.
        round_trip(a, &format!("{name}-2"), "", "--netns new");
        let last = format!("{name}-2-2");
        assert_ne!(inode(&last), other);
        a.run(&format!(
            "nsenter -n -t $({runtime} state {last} | jq .pid) ip -br addr show lo | grep -q 127.0.0.1"
        ));
        assert_counts(a, &format!("/data/{last}/rootfs/count"));
        a.run(&format!("{runtime} delete -f {last}"));
    });
}

#[test]
fn user_namespaces() {
    each(|a, runtime| {
        for kind in ["identity", "shifted"] {
            let name = format!("s-{runtime}-{kind}");
            start_counter(a, runtime, &name, &format!("--userns {kind}"));
            round_trip(a, &name, "", "");
            assert_counts(a, &format!("/data/{name}-2/rootfs/count"));
            a.run(&format!("{runtime} delete -f {name}-2"));
        }
    });
}

/// Takes terminals' masters over a socket and holds them.
const CONSOLE: &str = r#"
import os, socket, time
if os.path.exists("/data/console"):
    os.remove("/data/console")
server = socket.socket(socket.AF_UNIX)
server.bind("/data/console")
server.listen(4)
held = []
while True:
    client, _ = server.accept()
    held.append(client.recvmsg(4096, socket.CMSG_SPACE(4)))
"#;

#[test]
fn a_terminal_goes_to_the_console_socket_and_names_and_pid_file_are_the_importer_s() {
    each(|a, runtime| {
        std::fs::write(a.outside("/data/console.py"), CONSOLE).expect("a script");
        a.run("(setsid python3 /data/console.py </dev/null >/dev/null 2>&1 &)");
        a.wait_until("[ -S /data/console ]");
        a.run(&format!(
            "/opt/workloads/mkbundle /data/t --runtime {runtime} --hostname before -- sh /opt/workloads/counter.sh /count\n\
             jq '.process.terminal = true' /data/t/config.json > /data/c; mv /data/c /data/t/config.json\n\
             {runtime} run -d --console-socket /data/console --bundle /data/t t </dev/null >/dev/null 2>&1"
        ));
        a.wait_until("[ $(wc -l < /data/t/rootfs/count) -ge 3 ]");
        a.run("ckpt export t -o /data/t.tar.zst");
        let refused = a.attempt("ckpt import /data/t.tar.zst --name u --bundle /data/u");
        assert!(
            refused.code != 0 && refused.stderr.contains("--console-socket"),
            "{}",
            refused.stderr
        );
        a.run(
            "ckpt import /data/t.tar.zst --name u --bundle /data/u --console-socket /data/console \
             --pid-file /data/pid --hostname after",
        );
        assert_counts(a, "/data/u/rootfs/count");
        assert_eq!(a.run("cat /data/pid"), a.run(&format!("{runtime} state u | jq .pid")));
        assert_eq!(a.run("jq -r .hostname /data/u/config.json"), "after");
        a.run("readlink /proc/$(cat /data/pid)/fd/0 | grep -q pts");
    });
}
