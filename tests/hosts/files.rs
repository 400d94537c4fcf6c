//! Files that were added, modified, deleted, renamed, chmod'ed and chown'ed in the container arrive so.

use crate::container::{assert_counts, start};
use crate::support::{Cgroup, Host, Hosts, possible};

/// Runs in the container: one change of every kind, below /etc and /srv, which no test host has in this form.
const CHANGES: &str = r#"
set -e
echo added > /srv/added
mkdir -p /srv/deep/er; echo deep > /srv/deep/er/file
echo modified >> /etc/passwd
echo modified > /usr/share/doc/only-in-image
rm /etc/fstab.unused
rm -r /usr/share/emptied; mkdir /usr/share/emptied; echo new > /usr/share/emptied/new
mv /usr/share/old-name /usr/share/new-name
chmod 4750 /usr/share/modes
chown 12:34 /usr/share/owners
chmod 711 /usr/share/directory
ln /srv/added /srv/hard; ln -s added /srv/soft; mkfifo /srv/fifo
rm -r /usr/share/was-directory; echo file > /usr/share/was-directory
dd if=/dev/zero of=/srv/sparse bs=1 count=1 seek=10485759 2>/dev/null
touch -d @1000000000 /srv/old
"#;

/// What the image has before.
const IMAGE: &str = r#"
mkdir -p $R/srv $R/etc $R/usr/share/doc $R/usr/share/emptied $R/usr/share/directory $R/usr/share/was-directory
echo root > $R/etc/passwd; echo image > $R/usr/share/doc/only-in-image; echo x > $R/etc/fstab.unused
echo old > $R/usr/share/emptied/old; echo name > $R/usr/share/old-name; echo m > $R/usr/share/modes
echo o > $R/usr/share/owners; echo w > $R/usr/share/was-directory/w
setfattr -n user.kept -v value $R/usr/share/doc/only-in-image 2>/dev/null || :
"#;

/// A listing of a tree: everything that must be the same. CRIU itself makes a directory in /tmp for a moment, and the number
/// of a directory's links differs between file systems.
fn listing(host: Host<'_>, root: &str) -> String {
    host.run(&format!(
        "cd {root}; find . -xdev ! -path ./count ! -path './opt/workloads*' ! -path ./changes -printf '%p %y %m %U %G %s %l %n %T@\\n' | grep -vE '^\\./(dev|proc|sys)/|^\\. |^\\./tmp ' | sed -E 's/^([^ ]+ d .*) [0-9]+ +([0-9]+\\.[0-9]+)$/\\1 \\2/' | sort\n\
         find . -xdev -type f ! -path ./count -exec md5sum {{}} + | sort"
    ))
}

fn files_arrive(rootfs: &str, export: &str, import: &str) {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    for host in [a, b] {
        host.run(&format!("cp -a /workloads/busybox /data/base; R=/data/base\n{IMAGE}\nfind /data/base -exec touch -h -d @1500000000 {{}} +"));
    }
    a.run("mkdir -p /data/c1/rootfs /data/c1/upper /data/c1/work");
    match rootfs {
        "overlay" => a.run(
            "mount -t overlay -o lowerdir=/data/base,upperdir=/data/c1/upper,workdir=/data/c1/work o /data/c1/rootfs",
        ),
        _ => a.run("cp -a /data/base/. /data/c1/rootfs"),
    };
    let script =
        format!("{CHANGES}\ntouch /changes\ni=0; while :; do i=$((i+1)); echo $i >> /count; sleep 0.05; done\n");
    std::fs::write(a.outside("/data/script"), script).expect("a script");
    a.run(
        "cd /data/c1; mv /data/script rootfs/script; runc spec\n\
         jq '.process.terminal=false | .process.args=[\"sh\",\"/script\"] | .root.readonly=false |
             .process.capabilities[] += [\"CAP_CHOWN\",\"CAP_FSETID\",\"CAP_DAC_OVERRIDE\",\"CAP_FOWNER\"]' config.json > c\n\
         mv c config.json; runc run -d --bundle /data/c1 c1 </dev/null >/dev/null 2>&1",
    );
    a.wait_until("[ -e /data/c1/rootfs/changes ] && [ $(wc -l < /data/c1/rootfs/count) -gt 2 ]");
    let before = listing(a, "/data/c1/rootfs");
    a.run(&format!(
        "ckpt export c1 -o /data/c1.tar.zst {export}; scp -q /data/c1.tar.zst b:/data/"
    ));
    b.run(&format!(
        "ckpt import /data/c1.tar.zst --name c2 --bundle /data/there {import}"
    ));
    assert_counts(b, "/data/there/rootfs/count");
    let after = listing(b, "/data/there/rootfs");
    let differ: Vec<_> = before.lines().filter(|line| !after.contains(line)).collect();
    let extra: Vec<_> = after.lines().filter(|line| !before.contains(line)).collect();
    assert!(
        differ.is_empty() && extra.is_empty(),
        "lost or changed: {differ:#?}\nnew: {extra:#?}"
    );
}

#[test]
fn changes_of_an_overlay_arrive_as_a_diff() {
    files_arrive("overlay", "", "--root /data/base");
}

#[test]
fn changes_of_an_overlay_arrive_in_full() {
    files_arrive("overlay", "--rootfs full", "");
}

#[test]
fn changes_of_a_plain_directory_arrive_in_full() {
    files_arrive("plain", "", "");
}

#[test]
fn devshm_and_mapped_bind_mounts_arrive() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    a.run("mkdir -p /data/shm /data/src; mount -t tmpfs -o size=7m,mode=1777 shm /data/shm; echo held > /data/shm/segment; echo here > /data/src/f");
    b.run("mkdir -p /data/other; echo there > /data/other/f");
    start(
        a,
        "runc",
        "c1",
        "--shm /data/shm --bind /data/src:/mnt/src",
        "sh /opt/workloads/counter.sh /count",
    );
    a.wait_until("[ -s /data/c1/rootfs/count ]");
    a.run("ckpt export c1 -o /data/c1.tar.zst; scp -q /data/c1.tar.zst b:/data/");
    let refused = b.attempt("ckpt import /data/c1.tar.zst --name c2 --bundle /data/there");
    assert_eq!(refused.code, 8, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("/mnt/src") && refused.stderr.contains("--map-mount"),
        "{}",
        refused.stderr
    );
    b.run("ckpt import /data/c1.tar.zst --name c2 --bundle /data/there --map-mount /mnt/src=/data/other");
    assert_counts(b, "/data/there/rootfs/count");
    assert_eq!(b.run("runc exec c2 cat /mnt/src/f"), "there");
    assert_eq!(b.run("runc exec c2 cat /dev/shm/segment"), "held");
    assert!(
        b.run("runc exec c2 sh -c 'grep /dev/shm /proc/mounts'")
            .contains("size=7168k")
    );
}
