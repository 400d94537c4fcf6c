//! What is refused by name, or looked at beforehand, with containers of podman.

use crate::container::assert_counts;
use crate::podman::{
    PODMAN, assert_holds, assert_not_imported, assert_nothing_left, attempt, count, moved, run, started, status,
};
use crate::support::{Cgroup, Hosts, possible};

#[test]
fn what_podman_could_not_restore_is_refused_while_it_runs() {
    if !possible() {
        return;
    }
    let hosts = started("runc", "--uidmap 0:100000:65536");
    let a = hosts.host("a");
    let refused = attempt(a, "ckpt export c1 -o /data/c1.ckpt");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    for word in ["c1", "--uidmap", "user namespace", "run it without"] {
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
    // Nobody but root: neither its containers, nor those of rootless podman.
    let user = "setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps=-all env HOME=/tmp";
    for command in [
        "ckpt export c1 -o /tmp/c1.ckpt",
        "ckpt export --runtime podman c1 -o /tmp/c1.ckpt",
        "ckpt import --runtime podman /tmp/c1.ckpt",
    ] {
        let refused = attempt(a, &format!("{user} {command}"));
        assert_eq!(refused.code, 3, "{}", refused.stderr);
        for word in ["only root", "rootless podman"] {
            assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
        }
    }
    let missing = attempt(a, "ckpt export another -o /data/another.ckpt");
    assert_eq!(missing.code, 5, "{}", missing.stderr);
    for word in ["podman ps", "rootless podman"] {
        assert!(missing.stderr.contains(word), "{word}: {}", missing.stderr);
    }
    a.run("[ ! -e /data/c1.ckpt ] && [ ! -e /data/another.ckpt ] && [ ! -e /tmp/c1.ckpt ]");
    assert_eq!(status(a, "c1"), "running");
    assert_nothing_left(a);
}

#[test]
fn check_says_what_an_import_into_podman_would_say() {
    if !possible() {
        return;
    }
    let hosts = started("runc", "");
    moved(&hosts, "");
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    let checked = run(b, "ckpt check /data/c1.ckpt");
    assert!(
        checked.contains("would go on as c1 in podman, whose image"),
        "{checked}"
    );
    assert!(checked.contains("podman 5."), "the runtimes of this host: {checked}");
    // Where it came from, its name and its volumes are taken, but not its port: it does not run any more.
    let checked = attempt(a, "ckpt check /data/c1.ckpt").stdout;
    for word in ["a container \"c1\"", "a volume \"named\"", "--ignore-volumes"] {
        assert!(checked.contains(word), "{word}: {checked}");
    }
    assert!(!checked.contains("8080"), "{checked}");
    run(
        b,
        "nc -lk -p 8080 >/dev/null 2>&1 </dev/null & echo $! > /data/listener; sleep 0.2",
    );
    let checked = attempt(b, "ckpt check /data/c1.ckpt").stdout;
    assert!(checked.contains("the port 8080/tcp"), "{checked}");
    let refused = attempt(b, "ckpt import /data/c1.ckpt");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("--publish"), "{}", refused.stderr);
    run(
        b,
        "ckpt import /data/c1.ckpt -p 8081:80 && podman rm -f -t 0 -v c1 >/dev/null && podman volume rm named >/dev/null",
    );
    b.run("kill $(cat /data/listener)");
    run(b, "podman rmi localhost/counter >/dev/null");
    let checked = attempt(b, "ckpt check --runtime podman /data/c1.ckpt");
    assert_eq!(checked.code, 3, "{}", checked.stdout);
    assert!(checked.stdout.contains("podman pull"), "{}", checked.stdout);
    // As a bundle, where that is asked for.
    let checked = attempt(b, "ckpt check --runtime runc --root /data/image /data/c1.ckpt").stdout;
    assert!(
        checked.contains("--netns") && !checked.contains("podman pull"),
        "{checked}"
    );
    assert_not_imported(b);
}

#[test]
fn what_a_killed_import_left_goes_with_the_next_one_and_nothing_else_does() {
    if !possible() {
        return;
    }
    let hosts = started("runc", "");
    moved(&hosts, "");
    let b = hosts.host("b");
    for (name, more) in [("c1", ""), ("c2", "--name c2 -p 8082:80")] {
        let import = format!("ckpt import /data/c1.ckpt {more}");
        // Killed when podman has made the container, which does not run.
        run(
            b,
            &format!(
                "{import} >/dev/null 2>&1 & until podman container exists {name}; do sleep 0.01; done; kill -KILL $!\n\
                 while pgrep -x podman || pgrep -x criu; do sleep 0.1; done >/dev/null"
            ),
        );
        assert_eq!(status(b, name), "created");
        b.run(&format!("[ -e /var/lib/ckpt/podman/{name}.json ]"));
        let refused = attempt(b, &format!("{import} --dry-run"));
        assert_eq!(refused.code, 2, "a plan changes nothing: {}", refused.stderr);
        let imported = attempt(b, &import);
        assert_eq!(imported.code, 0, "{}", imported.stderr);
        assert!(
            imported.stderr.contains(&format!(
                "removed what an import that was killed had left: the container {name}, the volume named"
            )),
            "{}",
            imported.stderr
        );
        assert_holds(b, name, if more.is_empty() { 8080 } else { 8082 });
        run(
            b,
            &format!("podman rm -f -t 0 -v {name} >/dev/null && podman volume rm named >/dev/null"),
        );
        assert_eq!(b.run("ls -A /var/lib/ckpt/podman"), "");
    }
    // Somebody's container of that name, which never ran either: made later, of the same image, but not by the import.
    run(
        b,
        "ckpt import /data/c1.ckpt >/dev/null 2>&1 & until podman container exists c1; do sleep 0.01; done; kill -KILL $!\n\
         while pgrep -x podman || pgrep -x criu; do sleep 0.1; done >/dev/null\n\
         podman rm -v c1 >/dev/null; podman --runtime runc create --name c1 -v named:/vol localhost/counter true >/dev/null",
    );
    let refused = attempt(b, "ckpt import /data/c1.ckpt");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert_eq!(status(b, "c1"), "created");
}

#[test]
fn a_cgroup_that_systemd_made_becomes_one_of_podman_s_here() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    run(
        a,
        &format!(
            "{}\npodman --runtime runc run -d --name c1 localhost/counter sh /opt/workloads/counter.sh /count </dev/null >/dev/null 2>&1",
            crate::podman::IMAGE
        ),
    );
    a.wait_until(&format!("{PODMAN}[ $(podman exec c1 tail -n 1 /count) -ge 3 ]"));
    moved(&hosts, "");
    // The archive of a host whose podman lets systemd make cgroups says so in these two documents.
    b.run(
        "cd /data; ckpt convert -q c1.ckpt --to podman --compress none -o own; mkdir x; tar -C x -xf own; cd x\n\
         jq '.cgroupManager=\"systemd\" | .cgroupParent=\"machine.slice\"' config.dump > c; mv c config.dump\n\
         jq '.linux.cgroupsPath=\"machine.slice:libpod:\\(.annotations.none // \"c1\")\"' spec.dump > s; mv s spec.dump\n\
         tar -cf ../systemd.tar *",
    );
    let imported = attempt(b, "ckpt import /data/systemd.tar");
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    assert!(imported.stderr.contains("made by systemd"), "{}", imported.stderr);
    assert_counts(b, &count(b, "c1"));
    let asked = "podman inspect c1 --format '{{.HostConfig.CgroupManager}} {{.State.CgroupPath}}'";
    assert!(run(b, asked).starts_with("cgroupfs /libpod_parent/libpod-"));
}
