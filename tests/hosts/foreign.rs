//! podman's own checkpoints on real hosts: sealed, converted, and imported into another runtime.

use crate::support::{Cgroup, Host, Hosts, possible};

/// A container of podman that counts in a volume, with files added, changed and deleted, and content in /dev/shm.
const START: &str = r#"
export PODMAN_IGNORE_CGROUPSV1_WARNING=1
podman() { /usr/bin/podman --runtime runc "$@"; }
tar -C /workloads/busybox -c . | podman import - localhost/counter:1 >/dev/null 2>&1
mkdir -p /data/bind && echo bound > /data/bind/f
podman run -d --name web -p 18080:80 -v data:/vol -v /data/bind:/bind localhost/counter:1 sh -c '
  echo added > /added; echo changed >> /etc/passwd; rm /bin/wc; echo vol > /vol/f; echo shm > /dev/shm/f
  i=0; while :; do i=$((i+1)); echo $i > /vol/next; mv /vol/next /vol/count; sleep 0.1; done' </dev/null >/dev/null 2>&1
i=0; until podman exec web test -s /vol/count 2>/dev/null || [ $i = 50 ]; do i=$((i+1)); sleep 0.2; done
"#;

fn podman(host: Host<'_>, script: &str) -> String {
    host.run(&format!(
        "export PODMAN_IGNORE_CGROUPSV1_WARNING=1\npodman() {{ /usr/bin/podman --runtime runc \"$@\"; }}\n{script}"
    ))
}

/// What the container has, seen from inside, with the counter last.
const LOOK: &str = "cat /added; tail -n1 /etc/passwd; test -e /bin/wc || echo gone; cat /vol/f /dev/shm/f /vol/count";

/// The counter was at `before`, and goes on from there, with every file as it was.
fn assert_goes_on(look: &dyn Fn() -> String, before: u64) {
    let seen = look();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[..5], ["added", "changed", "gone", "vol", "shm"], "{seen}");
    let count = |text: &str| {
        text.lines()
            .last()
            .and_then(|line| line.parse::<u64>().ok())
            .expect("a number")
    };
    let first = count(&seen);
    assert!((before..before + 100).contains(&first), "{before} then {first}");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while count(&look()) <= first {
        assert!(
            std::time::Instant::now() < deadline,
            "the counter stands still at {first}"
        );
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

#[test]
fn podman_s_own_checkpoint_goes_on_under_runc_on_another_host() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    a.run(START);
    podman(a, "podman container checkpoint -e /data/web.tar.zst web >/dev/null");
    let before: u64 = podman(a, "cat $(podman volume inspect data -f '{{.Mountpoint}}')/count")
        .parse()
        .expect("a number");
    a.run("scp -q /data/web.tar.zst b:/data/");
    b.run("cp -a /workloads/busybox /data/image; mkdir /data/mine; echo mine > /data/mine/f");

    let words = "ckpt import /data/web.tar.zst --name web --root /data/image";
    let refused = b.attempt(words);
    assert_eq!(refused.code, 8, "{}", refused.stderr);
    for named in ["/data/bind", "network namespace"] {
        assert!(refused.stderr.contains(named), "{named}: {}", refused.stderr);
    }
    assert_eq!(b.run("ls -A /var/lib/ckpt/containers 2>/dev/null || true"), "");

    b.run(&format!("{words} --netns new --map-mount /bind=/data/mine"));
    let look = || b.run(&format!("runc exec web sh -c '{LOOK}'"));
    assert_goes_on(&look, before);
    assert_eq!(
        b.run("runc exec web cat /bind/f /etc/hostname"),
        format!("mine\n{}", b.run("runc exec web hostname"))
    );
    assert_eq!(
        b.run("cat /data/image/etc/passwd | grep -c changed || true"),
        "0",
        "the image's files were written to"
    );
    b.run("runc kill web KILL");
}

#[test]
fn a_sealed_and_a_converted_checkpoint_of_podman_go_on_in_podman() {
    if !possible() {
        return;
    }
    let hosts = Hosts::with(Cgroup::V1, crate::support::Tree::Criu42, &["a"]);
    let a = hosts.host("a");
    a.run(START);
    for compress in ["zstd", "gzip", "none"] {
        podman(
            a,
            &format!("podman container checkpoint --leave-running -c {compress} -e /data/{compress} web >/dev/null"),
        );
    }
    a.run("for c in zstd gzip none; do ckpt verify -q /data/$c; ckpt seal -q /data/$c -c $c -o /data/$c.ckpt; ckpt verify -q /data/$c.ckpt; done");
    a.run("ckpt convert -q /data/none.ckpt --to podman -o /data/back; ckpt verify -q /data/back");
    for archive in ["zstd.ckpt", "gzip.ckpt", "none.ckpt", "back"] {
        // checkpointctl shows it as podman's.
        let shown = a.run(&format!("checkpointctl show /data/{archive}"));
        assert!(shown.contains("Podman"), "{shown}");
        podman(
            a,
            "podman rm -f -t 0 web >/dev/null; podman volume rm -f data >/dev/null",
        );
        podman(a, &format!("podman container restore -i /data/{archive} >/dev/null"));
        let look = || podman(a, &format!("podman exec web sh -c '{LOOK}'"));
        assert_goes_on(&look, 1);
        assert!(podman(a, "podman ps --format '{{.Ports}}'").contains("18080->80/tcp"));
    }
    podman(a, "podman rm -f -t 0 web >/dev/null");
}

#[test]
fn checkpointctl_reads_what_convert_makes() {
    if !possible() {
        return;
    }
    let hosts = Hosts::with(Cgroup::V1, crate::support::Tree::Criu42, &["a"]);
    let a = hosts.host("a");
    a.run(START);
    podman(
        a,
        "podman container checkpoint -e /data/web web >/dev/null; podman rm web >/dev/null",
    );
    for (form, engine) in [("podman", "Podman"), ("cri-o", "CRI-O"), ("containerd", "containerd")] {
        a.run(&format!("ckpt convert -q /data/web --to {form} -o /data/{form}"));
        let shown = a.run(&format!("checkpointctl show /data/{form}"));
        assert!(shown.contains(engine) && shown.contains("web"), "{shown}");
        let tree = a.run(&format!("checkpointctl inspect --all /data/{form}"));
        assert!(tree.contains("Process tree") && tree.contains("sh"), "{tree}");
    }
}

/// A container without anything that only podman records.
const PLAIN: &str = r#"
podman run -d --pids-limit 0 --name plain localhost/counter:1 sh -c '
  echo added > /added; rm /bin/wc; i=0; while :; do i=$((i+1)); echo $i > /next; mv /next /count; sleep 0.1; done' </dev/null >/dev/null 2>&1
i=0; until podman exec plain test -s /count 2>/dev/null || [ $i = 50 ]; do i=$((i+1)); sleep 0.2; done
"#;

#[test]
fn the_forms_of_cri_o_and_containerd_go_on_in_podman_and_under_runc() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    podman(
        a,
        "tar -C /workloads/busybox -c . | podman import - localhost/counter:1 >/dev/null 2>&1",
    );
    podman(a, PLAIN);
    podman(a, "podman container checkpoint -e /data/plain plain >/dev/null");
    b.run("cp -a /workloads/busybox /data/image");
    let look = "cat /added; test -e /bin/wc || echo gone; cat /count; sleep 0.5; cat /count";
    let goes_on = |seen: String| {
        let lines: Vec<&str> = seen.lines().collect();
        assert_eq!(lines[..2], ["added", "gone"], "{seen}");
        let numbers: Vec<u64> = lines[2..].iter().map(|line| line.parse().expect("a number")).collect();
        assert!(numbers[0] > 0 && numbers[0] < numbers[1], "{seen}");
    };
    for form in ["cri-o", "containerd"] {
        a.run(&format!(
            "ckpt convert -q /data/plain --to {form} -o /data/{form}; scp -q /data/{form} b:/data/"
        ));
        b.run(&format!(
            "ckpt import -q /data/{form} --name {form} --rootfs /data/image --netns new"
        ));
        goes_on(b.run(&format!("runc exec {form} sh -c '{look}'")));
        b.run(&format!("runc kill {form} KILL"));
        a.run(&format!(
            "ckpt convert -q /data/{form} --to podman -o /data/{form}.back"
        ));
        podman(a, "podman rm -fa -t 0 >/dev/null");
        podman(a, &format!("podman container restore -i /data/{form}.back >/dev/null"));
        goes_on(podman(a, &format!("podman exec plain sh -c '{look}'")));
    }
    podman(a, "podman rm -fa -t 0 >/dev/null");
}

#[test]
fn a_checkpoint_made_with_crun_goes_on_under_crun_on_another_host() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V2);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    let crun = |script: &str| {
        a.run(&format!(
            "podman() {{ /usr/bin/podman --runtime crun \"$@\"; }}\n{script}"
        ))
    };
    crun("tar -C /workloads/busybox -c . | podman import - localhost/counter:1 >/dev/null 2>&1");
    crun(PLAIN);
    crun("podman container checkpoint -e /data/plain plain >/dev/null");
    assert_eq!(
        a.run("ckpt inspect --json /data/plain | jq -r .manifest.runtime.name"),
        "crun"
    );
    a.run("scp -q /data/plain b:/data/");
    b.run("cp -a /workloads/busybox /data/image");
    b.run("ckpt import -q /data/plain --name plain --root /data/image --netns new --manage-cgroups-mode ignore");
    let seen = b.run("crun exec plain sh -c 'cat /added /count; sleep 0.5; cat /count'");
    let numbers: Vec<u64> = seen
        .lines()
        .skip(1)
        .map(|line| line.parse().expect("a number"))
        .collect();
    assert!(numbers[0] > 0 && numbers[0] < numbers[1], "{seen}");
    b.run("crun kill plain KILL");
}

/// A container with 200 MiB in /dev/shm that compress to nearly nothing, and podman's own archive of it on `b`.
fn with_much_content() -> Hosts {
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    let image = "tar -C /workloads/busybox -c . | podman import - localhost/counter:1 >/dev/null 2>&1";
    podman(
        a,
        &format!(
            "{image}; podman run -d --name web --shm-size 300m localhost/counter:1 sh -c \
             'yes content | head -c 209715200 > /dev/shm/f; touch /ready; while :; do sleep 1; done' </dev/null >/dev/null 2>&1\n\
             until podman exec web test -e /ready; do sleep 0.1; done\n\
             podman container checkpoint -e /data/web.tar.zst web >/dev/null; scp -q /data/web.tar.zst b:/data/"
        ),
    );
    podman(b, image);
    hosts
}

#[test]
fn a_checkpoint_on_its_way_in_is_on_disk_once() {
    if !possible() {
        return;
    }
    let hosts = with_much_content();
    let b = hosts.host("b");
    b.run("mkdir -p /var/lib/ckpt/work /data/image; cp -a /workloads/busybox/. /data/image");
    for (size, enough) in [(100, false), (260, true)] {
        b.run(&format!("mount -t tmpfs -o size={size}m none /var/lib/ckpt/work"));
        let ran = b.attempt("ckpt import /data/web.tar.zst --name web --root /data/image --netns new");
        if enough {
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            assert_eq!(b.run("runc exec web sh -c 'wc -c < /dev/shm/f'"), "209715200");
        } else {
            assert_eq!(ran.code, 3, "{}", ran.stderr);
            assert!(
                ran.stderr.contains("MiB at least") && ran.stderr.contains("nothing was started"),
                "{}",
                ran.stderr
            );
            assert_eq!(b.run("ls -A /var/lib/ckpt/work"), "");
        }
        b.run("umount -l /var/lib/ckpt/work");
    }
    b.run("runc kill web KILL");
}

#[test]
fn an_import_is_interrupted_while_a_checkpoint_is_sealed() {
    if !possible() {
        return;
    }
    let hosts = with_much_content();
    let b = hosts.host("b");
    // Through a pipe that stands still in the middle, so that it is interrupted there and nowhere else.
    b.run(
        "mkfifo /data/pipe; (head -c 4000 /data/web.tar.zst; sleep 3; tail -c +4001 /data/web.tar.zst) > /data/pipe & \
         ckpt import - --root /workloads/busybox --name web --netns new < /data/pipe 2> /data/said & \
         sleep 1; kill -INT $!; wait $! || echo $? > /data/code",
    );
    assert_eq!(b.run("cat /data/code"), "1");
    let said = b.run("cat /data/said");
    assert!(said.contains("stopped by a signal"), "{said}");
    assert_eq!(b.run("ls -A /var/lib/ckpt/work; runc list -q"), "");
}
