//! What containers of podman keep on their way, beyond files and memory: limits, secrets, terminals, connections, pods.

use crate::container::{assert_counts, last};
use crate::podman::{IMAGE, PODMAN, assert_nothing_left, attempt, count, moved, run, status};
use crate::support::{Cgroup, Host, Hosts, Tree, possible};

const COUNT: &str = "exec sh /opt/workloads/counter.sh /count";

/// Two hosts with the image, and the container `c1` that runs `script` on the first; `options` are podman's.
fn running(options: &str, script: &str) -> Hosts {
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    run(
        a,
        &format!(
            "{IMAGE}\nprintf confidential | podman secret create key - >/dev/null\n\
             podman --runtime runc run -d --name c1 {options} localhost/counter sh -c '{script}' </dev/null >/dev/null 2>&1"
        ),
    );
    a.wait_until(&format!("{PODMAN}[ $(podman exec c1 tail -n 1 /count) -ge 3 ]"));
    hosts
}

/// The limits of a container: as podman says them, and as the kernel has them.
fn limits(host: Host<'_>, name: &str) -> String {
    run(
        host,
        &format!(
            "podman inspect {name} --format '{{{{.HostConfig.Memory}}}} {{{{.HostConfig.PidsLimit}}}}'\n\
             cg=$(podman inspect {name} --format '{{{{.State.CgroupPath}}}}')\n\
             cat /sys/fs/cgroup/memory$cg/memory.limit_in_bytes /sys/fs/cgroup/pids$cg/pids.max"
        ),
    )
}

#[test]
fn limits_that_were_changed_since_are_set_again() {
    if !possible() {
        return;
    }
    let hosts = running("--memory 64m", COUNT);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    run(a, "podman update --memory 96m --pids-limit 77 c1 >/dev/null");
    let before = limits(a, "c1");
    assert_eq!(before, "100663296 77\n100663296\n77");
    moved(&hosts, "");
    // Under another name, too, whose cgroup is another one.
    for (name, more) in [("c1", ""), ("c2", "--name c2")] {
        run(b, &format!("ckpt import /data/c1.ckpt {more}"));
        assert_counts(b, &count(b, name));
        assert_eq!(limits(b, name), before);
    }
    run(b, "ckpt import /data/c1.ckpt --name c3 --ignore-cgroup-limits");
    assert_counts(b, &count(b, "c3"));
}

#[test]
fn secrets_have_the_content_that_they_have_here() {
    if !possible() {
        return;
    }
    let script = "cat /run/secrets/key > /seen; exec 5</run/secrets/key; exec sh /opt/workloads/counter.sh /count";
    let hosts = running("--secret key --secret key,type=env,target=KEY", script);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    assert_eq!(run(a, "podman exec c1 cat /seen"), "confidential");
    moved(&hosts, "");
    a.run("ckpt cat /data/c1.ckpt config.dump | grep -q key; ! ckpt extract /data/c1.ckpt --to /data/x || ! grep -rl confidential /data/x --include=*.dump --include=*.json");
    let refused = attempt(b, "ckpt import /data/c1.ckpt");
    assert_eq!(refused.code, 8, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("--allow-mount /run/secrets"),
        "{}",
        refused.stderr
    );
    let refused = attempt(b, "ckpt import /data/c1.ckpt --allow-mount /run/secrets");
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("podman secret create key FILE"),
        "{}",
        refused.stderr
    );
    run(b, "printf confidential | podman secret create key - >/dev/null");
    // Several times: podman adds its own mounts in any order.
    for _ in 0..4 {
        run(b, "ckpt import /data/c1.ckpt --allow-mount /run/secrets");
        assert_counts(b, &count(b, "c1"));
        let seen = "cat /run/secrets/key; echo; echo $KEY; cat /proc/1/fd/5";
        assert_eq!(
            run(b, &format!("podman exec c1 sh -c '{seen}'")),
            "confidential\nconfidential\nconfidential"
        );
        run(b, "podman rm -f -t 0 -v c1 >/dev/null");
    }
    assert_nothing_left(b);
}

#[test]
fn a_terminal_goes_on_to_the_log_and_to_who_attaches() {
    if !possible() {
        return;
    }
    let script = "echo began; n=0; while :; do n=$((n+1)); echo $n >> /count; sleep 0.1; \
                  [ -e /say ] && { cat /say; rm /say; }; done";
    let hosts = running("-t", script);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    moved(&hosts, "");
    assert_eq!(status(a, "c1"), "exited");
    run(b, "ckpt import /data/c1.ckpt");
    assert_counts(b, &count(b, "c1"));
    assert_eq!(run(b, "podman inspect c1 --format '{{.Config.Tty}}'"), "true");
    run(b, "podman exec c1 sh -c 'echo more > /more; mv /more /say'");
    b.wait_until(&format!("{PODMAN}podman logs c1 | grep -q more"));
    assert_eq!(run(b, "podman logs c1 | tr -d '\\r'"), "began\nmore");
    assert!(run(b, "podman exec c1 ls -l /proc/1/fd/1").ends_with("/dev/pts/0"));
}

#[test]
fn a_container_of_a_pod_goes_on_as_a_plain_one_of_runc() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    let script = "echo kept > /vol/file; echo held > /dev/shm/segment; echo new > /added; rm /usr/share/deleted
        echo changed > /usr/share/modified; httpd -p 80 -h /www; exec sh /opt/workloads/counter.sh /count";
    run(
        a,
        &format!(
            "{IMAGE}\npodman --runtime runc pod create --name web -p 8080:80 --infra-image localhost/counter --infra-command 'sleep 1000'\n\
             podman --runtime runc run -d --pod web --name c1 -v named:/vol localhost/counter sh -c '{script}' </dev/null >/dev/null 2>&1"
        ),
    );
    a.wait_until(&format!("{PODMAN}[ $(podman exec c1 tail -n 1 /count) -ge 3 ]"));
    moved(&hosts, "");
    let before = last(a, &count(a, "c1"));
    let import = "ckpt import --runtime runc --name plain --bundle /data/there --root $(podman image mount localhost/counter) /data/c1.ckpt";
    // The pod's network is refused by name; what becomes of its other namespaces is said.
    let refused = attempt(b, import);
    assert_eq!(refused.code, 8, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("/ns/net") && refused.stderr.contains("--netns new"),
        "{}",
        refused.stderr
    );
    let imported = attempt(b, &format!("{import} --netns new"));
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    for kind in ["ipc", "uts"] {
        assert!(
            imported.stderr.contains(&format!("shared its {kind} namespace")),
            "{}",
            imported.stderr
        );
    }
    assert_counts(b, "/data/there/rootfs/count");
    assert!(last(b, "/data/there/rootfs/count") > before);
    let cat = "cat /vol/file /dev/shm/segment /added /usr/share/modified; ls /usr/share/deleted 2>/dev/null; wget -q -O - http://127.0.0.1/";
    let held = b.run(&format!("runc exec plain sh -c '{cat}'"));
    assert_eq!(held, "kept\nheld\nnew\nchanged\nserved");
}

#[test]
fn a_client_stays_connected_to_a_container_that_moves() {
    if !possible() {
        return;
    }
    let hosts = Hosts::with(Cgroup::V1, Tree::Criu42, &["a", "b", "c"]);
    let (a, b, c) = (hosts.host("a"), hosts.host("b"), hosts.host("c"));
    // The container has an address of its own on the network between the hosts.
    let network = "podman network create --disable-dns --subnet 10.78.0.0/24 --interface-name br0 --opt mode=unmanaged wire >/dev/null";
    let command = "nc -ll -p 7000 -e /bin/cat & exec sh /opt/workloads/counter.sh /count";
    run(
        a,
        &format!(
            "{IMAGE}\n{network}; podman --runtime runc run -d --name c1 --network wire --ip 10.78.0.50 localhost/counter sh -c '{command}' \
             </dev/null >/dev/null 2>&1"
        ),
    );
    run(b, network);
    c.run("ip address add 10.78.0.3/24 dev br0");
    c.wait_until("nc -z 10.78.0.50 7000");
    let mut client =
        c.spawn("(n=0; while :; do n=$((n+1)); echo $n; sleep 0.2; done) | nc 10.78.0.50 7000 > /data/steady");
    c.wait_until("[ $(wc -l < /data/steady) -gt 5 ]");
    let refused = attempt(a, "ckpt export c1 -o /data/c1.ckpt");
    assert_eq!(refused.code, 6, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("--tcp-established") && refused.stderr.contains("runs on"),
        "{}",
        refused.stderr
    );
    moved(&hosts, "--tcp-established");
    // podman plugs the container in before its sockets are back, and the kernel would answer the client with a reset.
    run(
        b,
        "ip link set eth0 down; ckpt import /data/c1.ckpt; status=$?; ip link set eth0 up; exit $status",
    );
    assert_counts(b, &count(b, "c1"));
    let before = c.run("wc -l < /data/steady");
    c.wait_until(&format!("[ $(wc -l < /data/steady) -gt $(({before} + 10)) ]"));
    c.run("awk '$1 != NR { exit 1 }' /data/steady");
    let _ = client.kill();
    let _ = client.wait();
}
