//! Containers of podman: exported with everything they hold, restored by podman itself and by ckpt, and podman's own view
//! of them afterwards.

use crate::container::{assert_counts, last};
use crate::support::{Cgroup, Host, Hosts, Ran, possible};

/// podman says on every start that version 1 cgroups will go.
pub(crate) const PODMAN: &str = "PODMAN_IGNORE_CGROUPSV1_WARNING=1; export PODMAN_IGNORE_CGROUPSV1_WARNING\n";

/// The image, with a file to modify, one to delete, and a directory to empty.
pub(crate) const IMAGE: &str = r#"
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
const CHANGES: &str =
    "echo began; echo changed > /usr/share/modified; rm /usr/share/deleted; echo new > /usr/share/added
rm -r /usr/share/emptied; mkdir /usr/share/emptied; echo new > /usr/share/emptied/new; chmod 4711 /usr/share/added
rm /vol/removed; echo kept > /vol/file; echo anonymous > /anon/file; echo held > /dev/shm/segment
httpd -p 80 -h /www; exec 5</usr/share/added; exec sh /opt/workloads/counter.sh /count";

/// Everything that is asked of a container, in the order of [`holds`].
const HELD: &str = "changed new new kept anonymous held";

pub(crate) fn run(host: Host<'_>, script: &str) -> String {
    host.run(&format!("{PODMAN}{script}"))
}

pub(crate) fn attempt(host: Host<'_>, script: &str) -> Ran {
    host.attempt(&format!("{PODMAN}{script}"))
}

/// Two hosts with the image, and the container `c1` of podman and `runtime` on the first; `options` are podman's.
pub(crate) fn started(runtime: &str, options: &str) -> Hosts {
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
pub(crate) fn count(host: Host<'_>, name: &str) -> String {
    format!("{}/count", run(host, &format!("podman mount {name}")))
}

/// Asserts that the container of that name holds everything that it held.
pub(crate) fn assert_holds(host: Host<'_>, name: &str, port: u16) {
    let held = "cat /usr/share/modified /usr/share/added /usr/share/emptied/new /vol/file /anon/file /dev/shm/segment";
    let lines = run(host, &format!("podman exec {name} sh -c '{held}'"));
    assert_eq!(lines.split_whitespace().collect::<Vec<_>>().join(" "), HELD);
    let gone = "/usr/share/deleted /usr/share/emptied/old";
    run(host, &format!("! podman exec {name} ls {gone} 2>/dev/null | grep ."));
    assert_eq!(
        run(host, &format!("podman exec {name} stat -c %a /usr/share/added")),
        "4711"
    );
    assert_eq!(run(host, &format!("podman logs {name}")), "began");
    let asked = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 127.0.0.1 {port}");
    assert!(run(host, &asked).ends_with("served"), "the published port answers");
}

/// What podman says of a container; empty where it knows none.
pub(crate) fn status(host: Host<'_>, name: &str) -> String {
    let asked = format!("podman container inspect {name} --format '{{{{.State.Status}}}}' 2>/dev/null || :");
    run(host, &asked)
}

/// Asserts that nothing of an export is left on the host.
pub(crate) fn assert_nothing_left(host: Host<'_>) {
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

/// The archive of a container that ran on `a`, on `b`.
pub(crate) fn moved(hosts: &Hosts, export: &str) {
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    run(
        a,
        &format!("ckpt export c1 -o /data/c1.ckpt {export} && scp -q /data/c1.ckpt b:/data/"),
    );
    assert_nothing_left(a);
    assert_nothing_left(b);
}

/// Asserts that an import that was refused or failed has left nothing of the container.
pub(crate) fn assert_not_imported(host: Host<'_>) {
    let there = run(
        host,
        "podman ps -aq; podman volume ls -q; ls -A /run/netns 2>/dev/null || :",
    );
    assert_eq!(there, "", "left behind");
    assert_nothing_left(host);
}

#[test]
fn ckpt_restores_into_podman() {
    if !possible() {
        return;
    }
    let hosts = started("runc", "--label team=blue");
    moved(&hosts, "");
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    let before = last(a, &count(a, "c1"));
    let planned = run(b, "ckpt import --runtime podman /data/c1.ckpt --dry-run");
    assert!(
        planned.contains("volumes/named.tar to the volume named, mounted at /vol"),
        "{planned}"
    );
    assert_not_imported(b);
    run(b, "ckpt import --runtime podman - < /data/c1.ckpt");
    assert_counts(b, &count(b, "c1"));
    assert!(last(b, &count(b, "c1")) > before);
    assert_holds(b, "c1", 8080);
    // podman copies it from the image into a new volume; the container had removed it.
    run(b, "! podman exec c1 ls /vol/removed 2>/dev/null");
    let inspected =
        "podman container inspect c1 --format '{{.State.Restored}} {{.Config.Labels.team}} {{.OCIRuntime}}'";
    assert_eq!(run(b, inspected), "true blue runc");
    assert_nothing_left(b);
    // And on: as any other container of podman's.
    run(
        b,
        "ckpt export c1 -o /data/again.ckpt && podman rm -v c1 && podman volume rm named && ckpt import --runtime podman /data/again.ckpt",
    );
    assert_holds(b, "c1", 8080);
    run(
        b,
        "podman restart -t 0 c1 && podman exec c1 true && podman rm -f -t 0 -v c1",
    );
    assert_eq!(run(b, "podman volume ls -q"), "named");
}

#[test]
fn a_copy_runs_beside_the_original_under_another_name_and_port() {
    if !possible() {
        return;
    }
    let hosts = started("runc", "");
    let a = hosts.host("a");
    run(a, "ckpt export c1 -o /data/c1.ckpt --leave-running");
    let refused = attempt(a, "ckpt import --runtime podman /data/c1.ckpt");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    for word in ["a container \"c1\"", "a volume \"named\"", "--ignore-volumes", "--name"] {
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
    run(
        a,
        "ckpt import --runtime podman /data/c1.ckpt --name c2 -p 8081:80 --ignore-volumes --ignore-static-ip --ignore-static-mac",
    );
    for (name, port) in [("c1", 8080), ("c2", 8081)] {
        assert_counts(a, &count(a, name));
        assert_holds(a, name, port);
    }
    let addresses = run(
        a,
        "podman inspect c1 c2 --format '{{.NetworkSettings.IPAddress}}' | sort -u | wc -l",
    );
    assert_eq!(addresses, "2");
    assert_nothing_left(a);
}

#[test]
fn what_stands_in_the_way_of_podman_is_told_before_anything_is_made() {
    if !possible() {
        return;
    }
    let hosts = started("runc", "-v /data/image/www:/mnt/host");
    moved(&hosts, "");
    let b = hosts.host("b");
    let refused = attempt(b, "ckpt import --runtime podman /data/c1.ckpt");
    assert_eq!(refused.code, 8, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("--map-mount /mnt/host=PATH"),
        "{}",
        refused.stderr
    );
    assert_not_imported(b);
    // Another image of the same name.
    run(
        b,
        "mkdir /data/mine; podman tag localhost/counter localhost/kept; podman untag localhost/counter localhost/counter\n\
            tar -C /workloads/busybox -cf - . | podman import -q - localhost/counter 2>/dev/null",
    );
    let import = "ckpt import --runtime podman /data/c1.ckpt --map-mount /mnt/host=/data/mine";
    let refused = attempt(b, import);
    assert!(
        refused.code == 3 && refused.stderr.contains("is another image"),
        "{}",
        refused.stderr
    );
    run(b, "podman untag localhost/counter localhost/counter");
    let refused = attempt(b, import);
    assert!(
        refused.code == 3 && refused.stderr.contains("podman pull"),
        "{}",
        refused.stderr
    );
    assert_not_imported(b);
    run(
        b,
        "podman tag localhost/kept localhost/counter; echo mine > /data/mine/f",
    );
    let refused = attempt(b, &format!("{import} --bundle /data/x"));
    assert!(
        refused.code == 2 && refused.stderr.contains("--bundle"),
        "{}",
        refused.stderr
    );
    run(b, import);
    assert_holds(b, "c1", 8080);
    assert_eq!(run(b, "podman exec c1 cat /mnt/host/f"), "mine");
}

#[test]
fn a_restore_that_failed_leaves_nothing_and_can_be_repeated() {
    if !possible() {
        return;
    }
    let hosts = started("runc", "");
    moved(&hosts, "");
    let b = hosts.host("b");
    // podman itself fails: the address of the container is somebody else's.
    run(
        b,
        "podman --runtime runc run -d --name other --ip $(ckpt cat /data/c1.ckpt network.status | grep -o '10\\.88\\.[0-9.]*' | head -n 1) \
         localhost/counter sleep 1000 </dev/null >/dev/null 2>&1",
    );
    let failed = attempt(b, "ckpt import --runtime podman /data/c1.ckpt");
    assert_eq!(failed.code, 7, "{}", failed.stderr);
    assert!(failed.stderr.contains("nothing of it is left"), "{}", failed.stderr);
    run(b, "podman rm -f -t 0 other >/dev/null");
    assert_not_imported(b);
    // Files that the images refer to are missing: CRIU itself fails.
    let failed = attempt(b, "ckpt import --runtime podman /data/c1.ckpt --ignore-rootfs");
    assert_eq!(failed.code, 7, "{}", failed.stderr);
    assert!(failed.stderr.contains("restore.log"), "{}", failed.stderr);
    assert_not_imported(b);
    // The archive is not what it was.
    b.run("cp /data/c1.ckpt /data/bad.ckpt; printf x | dd of=/data/bad.ckpt bs=1 seek=40000 conv=notrunc 2>/dev/null");
    assert_eq!(attempt(b, "ckpt import --runtime podman /data/bad.ckpt").code, 4);
    assert_not_imported(b);
    run(b, "ckpt import --runtime podman /data/c1.ckpt");
    assert_holds(b, "c1", 8080);
}

#[test]
fn podman_s_own_archives_are_restored() {
    if !possible() {
        return;
    }
    let hosts = started("runc", "");
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    // What the image has is not in such an archive when it was modified: a fault of podman's (it looks for it on the host).
    let held = "new new kept anonymous held";
    for (compression, import) in [
        ("zstd", "/data/own"),
        ("gzip", "- < /data/own"),
        ("none", "--runtime podman /data/own"),
    ] {
        run(
            a,
            &format!(
                "podman container checkpoint --compress {compression} -e /data/own c1 && scp -q /data/own b:/data/"
            ),
        );
        run(b, &format!("ckpt import {import}"));
        assert_counts(b, &count(b, "c1"));
        let cat = "cat /usr/share/added /usr/share/emptied/new /vol/file /anon/file /dev/shm/segment";
        let lines = run(b, &format!("podman exec c1 sh -c '{cat}'"));
        assert_eq!(lines.split_whitespace().collect::<Vec<_>>().join(" "), held);
        assert_nothing_left(b);
        // And back, so that podman can make the next one.
        run(
            b,
            "ckpt export c1 -o /data/back.ckpt && scp -q /data/back.ckpt a:/data/ && podman rm -v c1 && podman volume rm named",
        );
        run(
            a,
            "podman rm -v c1 && podman volume rm named && ckpt import /data/back.ckpt",
        );
        assert_counts(a, &count(a, "c1"));
    }
}

#[test]
fn a_container_moves_from_pod_to_pod() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    run(a, IMAGE);
    let pod = "podman --runtime runc pod create --name web -p 8080:80 --infra-image localhost/counter --infra-command 'sleep 1000'";
    let command = "sh -c 'httpd -p 80 -h /www; exec sh /opt/workloads/counter.sh /count'";
    run(
        a,
        &format!(
            "{pod} && podman --runtime runc run -d --pod web --name c1 localhost/counter {command} </dev/null >/dev/null 2>&1"
        ),
    );
    a.wait_until(&format!("{PODMAN}[ $(podman exec c1 tail -n 1 /count) -ge 3 ]"));
    let infra = run(a, "podman pod inspect web --format '{{.InfraContainerID}}'");
    let refused = attempt(a, &format!("ckpt export {infra} -o /data/x"));
    assert!(refused.stderr.contains("namespaces of a pod"), "{}", refused.stderr);
    moved(&hosts, "");
    let refused = attempt(b, "ckpt import /data/c1.ckpt");
    assert!(
        refused.code == 2 && refused.stderr.contains("--pod"),
        "{}",
        refused.stderr
    );
    run(b, &format!("{pod} && ckpt import /data/c1.ckpt --pod web"));
    assert_counts(b, &count(b, "c1"));
    let asked = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 127.0.0.1 8080";
    assert!(run(b, asked).ends_with("served"), "the pod's port answers");
}

#[test]
fn killed_exports_and_imports_leave_podman_as_it_was() {
    if !possible() {
        return;
    }
    let hosts = started("runc", "");
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    a.run("echo old > /data/c1.ckpt");
    for delay in ["0.05", "0.15", "0.25", "0.35", "0.5", "0.7"] {
        let export = "ckpt export c1 -R -o /data/c1.ckpt >/dev/null 2>&1 & sleep";
        run(a, &format!("{export} {delay}; kill -KILL $! 2>/dev/null || :"));
        a.wait_until("! pgrep -x criu && ! pgrep -x podman");
        assert_eq!(status(a, "c1"), "running", "killed after {delay} s");
        assert_counts(a, &count(a, "c1"));
    }
    moved(&hosts, "");
    for delay in ["0.2", "0.4", "0.6", "0.8"] {
        let import = "ckpt import --runtime podman /data/c1.ckpt >/dev/null 2>&1 & sleep";
        run(b, &format!("{import} {delay}; kill -KILL $! 2>/dev/null || :"));
        b.wait_until("! pgrep -x criu && ! pgrep -x podman");
        let running = run(b, "podman ps -q --filter status=running | wc -l");
        assert!(["0", "1"].contains(&running.as_str()), "{running}");
        // One that was killed when the container ran has done its work; what any other left goes with the next import.
        if running == "0" {
            run(b, "ckpt import --runtime podman /data/c1.ckpt");
        }
        assert_holds(b, "c1", 8080);
        run(
            b,
            "podman rm -f -t 0 -v c1 >/dev/null; podman volume rm named >/dev/null",
        );
    }
    assert_nothing_left(b);
}

#[test]
fn what_removes_or_restarts_itself_is_as_after_a_checkpoint_of_podman_s() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    run(a, IMAGE);
    for (name, options) in [
        ("gone", "--rm"),
        ("stays", "--restart=always"),
        ("asked", "--health-cmd true --health-interval 1s"),
    ] {
        let command = "localhost/counter sh /opt/workloads/counter.sh /count </dev/null >/dev/null 2>&1";
        run(
            a,
            &format!("podman --runtime runc run -d --name {name} {options} {command}"),
        );
        a.wait_until(&format!("{PODMAN}podman exec {name} test -s /count"));
        run(
            a,
            &format!("ckpt export {name} -o /data/{name}.ckpt && scp -q /data/{name}.ckpt b:/data/"),
        );
        run(b, &format!("ckpt import /data/{name}.ckpt"));
        assert_counts(b, &count(b, name));
    }
    // podman removes the first when its monitor has seen it end.
    a.wait_until(&format!("{PODMAN}! podman container exists gone"));
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(
        (status(a, "stays"), status(a, "asked")),
        ("exited".to_owned(), "exited".to_owned())
    );
    run(b, "podman stop -t 0 gone >/dev/null");
    b.wait_until(&format!("{PODMAN}! podman container exists gone"));
}

#[test]
fn a_container_of_podman_s_goes_on_as_a_plain_one_of_runc() {
    if !possible() {
        return;
    }
    let hosts = started("runc", "");
    moved(&hosts, "");
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    let before = last(a, &count(a, "c1"));
    run(
        b,
        "ckpt import --runtime runc --name plain --bundle /data/there --netns new \
         --root $(podman image mount localhost/counter) /data/c1.ckpt",
    );
    assert_counts(b, "/data/there/rootfs/count");
    assert!(last(b, "/data/there/rootfs/count") > before);
    let cat = "cat /usr/share/modified /usr/share/added /usr/share/emptied/new /vol/file /anon/file /dev/shm/segment";
    let lines = b.run(&format!("runc exec plain sh -c '{cat}'"));
    assert_eq!(lines.split_whitespace().collect::<Vec<_>>().join(" "), HELD);
    b.run("! runc exec plain ls /usr/share/deleted /usr/share/emptied/old /vol/removed 2>/dev/null | grep .");
    let served = b.run("runc exec plain wget -q -O - http://127.0.0.1/");
    assert_eq!(served, "served");
    assert_eq!(run(b, "podman ps -aq"), "", "podman has nothing to do with it");
}

#[test]
fn a_container_of_crun_on_cgroup_v2_moves_from_podman_to_podman() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V2);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    // These hosts have no controllers, and podman limits processes unless it is told not to.
    let options = "--pids-limit=0 -v named:/vol";
    let command =
        "localhost/counter sh -c 'echo began; echo kept > /vol/file; exec sh /opt/workloads/counter.sh /count'";
    run(
        a,
        &format!("{IMAGE}\npodman --runtime crun run -d --name c1 {options} {command} </dev/null >/dev/null 2>&1"),
    );
    a.wait_until(&format!("{PODMAN}[ $(podman exec c1 tail -n 1 /count) -ge 3 ]"));
    moved(&hosts, "");
    let before = last(a, &count(a, "c1"));
    // Under another name it is in another cgroup, too.
    for (name, more) in [("c1", ""), ("c2", "--name c2 --ignore-volumes")] {
        run(b, &format!("ckpt import /data/c1.ckpt {more}"));
        assert_counts(b, &count(b, name));
        assert!(last(b, &count(b, name)) > before);
        assert_eq!(
            run(b, &format!("podman exec {name} cat /vol/file; podman logs {name}")),
            "kept\nbegan"
        );
        let cgroup = format!("podman inspect {name} --format '{{{{.State.CgroupPath}}}}'");
        let member =
            format!("grep -qF $({cgroup}) /proc/$(podman inspect {name} --format '{{{{.State.Pid}}}}')/cgroup");
        run(b, &member);
    }
}
