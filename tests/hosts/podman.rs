//! Containers of podman: exported with everything they hold, restored by podman itself and by ckpt, and podman's own view
//! of them afterwards.

use crate::container::{assert_counts, last};
use crate::support::{Cgroup, Host, Hosts, Ran, possible};

/// podman says on every start that version 1 cgroups will go.
const PODMAN: &str = "PODMAN_IGNORE_CGROUPSV1_WARNING=1; export PODMAN_IGNORE_CGROUPSV1_WARNING\n";

/// The image, with a file to modify, one to delete, and a directory to empty.
const IMAGE: &str = r#"
mkdir -p /data/image/opt; cp -a /workloads/busybox/. /data/image; cp -r /opt/workloads /data/image/opt
mkdir -p /data/image/usr/share/emptied /data/image/vol /data/image/www
echo of-the-image > /data/image/usr/share/modified; echo of-the-image > /data/image/usr/share/deleted
echo of-the-image > /data/image/usr/share/emptied/old; echo of-the-image > /data/image/vol/removed
echo served > /data/image/www/index.html
tar -C /data/image -cf - . | podman import -q - localhost/counter >/dev/null 2>&1
podman save -o /data/image.tar localhost/counter >/dev/null 2>&1
scp -q /data/image.tar b:/data/
ssh b podman load -q -i /data/image.tar >/dev/null 2>&1
"#;

/// What the container does to its files before it begins to count.
const CHANGES: &str = "echo changed > /usr/share/modified; rm /usr/share/deleted; echo new > /usr/share/added
rm -r /usr/share/emptied; mkdir /usr/share/emptied; echo new > /usr/share/emptied/new; chmod 4711 /usr/share/added
rm /vol/removed; echo kept > /vol/file; echo anonymous > /anon/file; echo held > /dev/shm/segment
httpd -p 80 -h /www; exec sh /opt/workloads/counter.sh /count";

/// Everything that is asked of a container, in the order of [`holds`].
const HELD: &str = "changed new new kept anonymous held";

fn run(host: Host<'_>, script: &str) -> String {
    host.run(&format!("{PODMAN}{script}"))
}

fn attempt(host: Host<'_>, script: &str) -> Ran {
    host.attempt(&format!("{PODMAN}{script}"))
}

/// Two hosts with the image, and the container `c1` of podman and `runtime` on the first; `options` are podman's.
fn started(runtime: &str, options: &str) -> Hosts {
    let hosts = Hosts::up(Cgroup::V1);
    let a = hosts.host("a");
    std::fs::write(a.outside("/data/changes"), CHANGES).unwrap();
    run(
        a,
        &format!(
            "{IMAGE}\nmkdir /data/script; mv /data/changes /data/script\n\
             podman --runtime {runtime} run -d --name c1 -v named:/vol -v /anon -p 8080:80 {options} localhost/counter \
             sh -c \"$(cat /data/script/changes)\" </dev/null >/dev/null 2>&1"
        ),
    );
    a.wait_until(&format!("{PODMAN}[ $(podman exec c1 tail -n 1 /count) -ge 3 ]"));
    hosts
}

/// The file that the container of that name counts in, as the host sees it.
fn count(host: Host<'_>, name: &str) -> String {
    format!("{}/count", run(host, &format!("podman mount {name}")))
}

/// Asserts that the container of that name holds everything that it held.
fn assert_holds(host: Host<'_>, name: &str, port: u16) {
    let held = "cat /usr/share/modified /usr/share/added /usr/share/emptied/new /vol/file /anon/file /dev/shm/segment";
    let lines = run(host, &format!("podman exec {name} sh -c '{held}'"));
    assert_eq!(lines.split_whitespace().collect::<Vec<_>>().join(" "), HELD);
    let gone = "/usr/share/deleted /usr/share/emptied/old";
    run(host, &format!("! podman exec {name} ls {gone} 2>/dev/null | grep ."));
    assert_eq!(
        run(host, &format!("podman exec {name} stat -c %a /usr/share/added")),
        "4711"
    );
    let asked = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 127.0.0.1 {port}");
    assert!(run(host, &asked).ends_with("served"), "the published port answers");
}

/// What podman says of a container; empty where it knows none.
fn status(host: Host<'_>, name: &str) -> String {
    let asked = format!("podman container inspect {name} --format '{{{{.State.Status}}}}' 2>/dev/null || :");
    run(host, &asked)
}

/// Asserts that nothing of an export is left on the host.
fn assert_nothing_left(host: Host<'_>) {
    let left = "ls -A /var/lib/ckpt/work 2>/dev/null; ls -A /run/ckpt 2>/dev/null | grep -v '^lock-'; pgrep -x criu; \
                cd /var/lib/containers/storage/overlay-containers && ls */userdata/*.dump */userdata/dump.log 2>/dev/null; :";
    assert_eq!(host.attempt(left).stdout.trim(), "", "left behind");
}

fn podman_restores(runtime: &str) {
    if !possible() {
        return;
    }
    let hosts = started(runtime, "--label team=blue");
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    assert_holds(a, "c1", 8080);
    run(a, "ckpt export c1 -o /data/c1.ckpt && scp -q /data/c1.ckpt b:/data/");
    assert_eq!(status(a, "c1"), "exited");
    assert_nothing_left(a);
    let before = last(a, &count(a, "c1"));

    run(
        b,
        &format!("podman --runtime {runtime} container restore -i /data/c1.ckpt"),
    );
    assert_counts(b, &count(b, "c1"));
    assert!(last(b, &count(b, "c1")) > before);
    assert_holds(b, "c1", 8080);
    let label = "podman container inspect c1 --format '{{.Config.Labels.team}}'";
    assert_eq!(run(b, label), "blue");

    // podman's own view of the source: it was checkpointed, can be started anew, and removed.
    assert_eq!(
        run(a, "podman container inspect c1 --format '{{.State.Checkpointed}}'"),
        "true"
    );
    run(a, "podman start c1 >/dev/null && podman rm -f -t 0 -v c1 >/dev/null");
    assert_eq!(run(a, "podman ps -aq; podman volume ls -q"), "named");
}

#[test]
fn podman_restores_what_ckpt_exported_with_runc() {
    podman_restores("runc");
}

#[test]
fn a_refused_export_leaves_the_container_and_podman_as_they_were() {
    if !possible() {
        return;
    }
    let hosts = started("runc", "");
    let a = hosts.host("a");
    a.run("mkdir /data/full; mount -t tmpfs -o size=64k none /data/full; echo old > /data/full/c1.ckpt");
    let ran = attempt(a, "ckpt export c1 -o /data/full/c1.ckpt --compress none");
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("No space left") && ran.stderr.contains("runs on"),
        "{}",
        ran.stderr
    );
    assert_eq!(a.run("cat /data/full/c1.ckpt"), "old");
    assert_nothing_left(a);
    assert_eq!(status(a, "c1"), "running");
    assert_counts(a, &count(a, "c1"));
    assert_holds(a, "c1", 8080);
    // By its identifier, and once more.
    run(
        a,
        "ckpt export --leave-running $(podman ps -q --no-trunc) -o /data/one.ckpt",
    );
    assert_counts(a, &count(a, "c1"));
    run(a, "ckpt export --runtime podman c1 -o /data/two.ckpt");
    assert_eq!(status(a, "c1"), "exited");
    assert_nothing_left(a);
}
