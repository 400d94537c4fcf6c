//! Containers of LXC as people have them: a Debian with services, a console, a configuration in the old syntax.

use std::time::Duration;

use crate::lxc::Container;
use crate::support::{Cgroup, Host, Hosts, Tree, possible};

const ADDRESS: &str = "10.77.0.61";
const NETWORK: &str = "'lxc.net.0.type = veth' 'lxc.net.0.link = br0' 'lxc.net.0.name = eth0' 'lxc.net.0.flags = up' \
    'lxc.net.0.veth.pair = vethserv' 'lxc.net.0.hwaddr = 02:77:00:00:02:61' 'lxc.net.0.ipv4.address = 10.77.0.61/24'";

/// Cron's jobs come on the minute.
const JOB: Duration = Duration::from_secs(75);

/// What cron's job writes, as its host sees it.
fn jobs_of(container: &Container<'_>) -> String {
    format!("{}/rootfs/cron", container.directory())
}

fn at<'a>(host: Host<'a>, lxcpath: &'a str, name: &'a str) -> Container<'a> {
    Container { host, lxcpath, name }
}

#[test]
fn lxc_debian_with_nginx_cron_and_a_shell_loop_moves_there_and_back() {
    if !possible() {
        return;
    }
    let hosts = Hosts::with(Cgroup::V1, Tree::Criu42, &["a", "b", "c"]);
    let (a, b, c) = (hosts.host("a"), hosts.host("b"), hosts.host("c"));
    a.run(&format!(
        "/opt/workloads/mklxc -b serv /opt/workloads/services.sh {NETWORK}"
    ));
    let first = at(a, "/var/lib/lxc", "serv");
    a.wait_until(&format!("[ $(wc -l < {}) -ge 3 ]", first.count()));
    c.wait_until(&format!("nc -z {ADDRESS} 8080"));
    let mut client = c.spawn(&format!(
        "exec unshare -m sh -c 'mount --bind /data /workloads/debian/mnt && exec chroot /workloads/debian \
         python3 - {ADDRESS} /mnt/steady < /opt/workloads/http-client.py'"
    ));
    c.wait_until("[ $(wc -l < /data/steady) -gt 5 ]");
    let goes_on = || {
        let before = c.run("wc -l < /data/steady");
        c.wait_until(&format!("[ $(wc -l < /data/steady) -gt $(({before} + 20)) ]"));
        c.run("! grep FAIL /data/steady; awk '$1 != NR { exit 1 }' /data/steady");
    };
    // 3 MiB that no directory has any more: three times what CRIU takes where it is not told a limit.
    first.lxc("lxc-attach -- sh -c 'find -L /proc/[0-9]*/fd/3 -size +3000k 2>/dev/null | grep -q .'");
    first.host.wait_for(JOB, &format!("[ -s {} ]", jobs_of(&first)));
    let before = a.run(&format!("wc -l < {}", jobs_of(&first)));
    let import = "--root /workloads/debian";
    let second = first.moves_to(b, "b", "/data/lxc", "serv2", import);
    goes_on();
    let third = second.moves_to(a, "a", "/data/lxc", "serv3", import);
    goes_on();
    let processes = third.lxc("lxc-attach -- sh -c 'pgrep -c nginx; pgrep -x cron'");
    let (nginx, cron) = processes.split_once('\n').expect("both run");
    assert_eq!(nginx, "3", "a master and two workers");
    // Cron has its file locked still: no second one starts.
    assert_eq!(third.lxc("lxc-attach -- cat /run/crond.pid"), cron);
    let second = third.lxc("lxc-attach -- sh -c '! cron -f 2>&1'");
    assert!(second.contains(&format!("otherpid may be {cron}")), "{second}");
    let jobs = jobs_of(&third);
    third.host.wait_for(JOB, &format!("[ $(wc -l < {jobs}) -gt {before} ]"));
    client.kill().expect("the client is still there");
    let _ = client.wait();
    third.lxc("lxc-stop -k");
    third.becomes("STOPPED");
}

#[test]
fn lxc_console_moves_with_its_container() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    a.run("/opt/workloads/mklxc tty '/opt/workloads/console.sh /count' 'lxc.console.path ='");
    let first = at(a, "/var/lib/lxc", "tty");
    a.wait_until(&format!("[ $(wc -l < {}) -ge 3 ]", first.count()));
    let terminal = "lxc-attach -- sh -c 'readlink /proc/1/fd/0'";
    assert_eq!(first.lxc(terminal), "/dev/console");
    let second = first.moves_to(b, "b", "/data/lxc", "tty2", "");
    let third = second.moves_to(a, "a", "/data/lxc", "tty3", "");
    // It is a terminal, and the monitor has its other end.
    let said = third.lxc("lxc-attach -- sh -c 'echo hello > /proc/1/fd/1 && test -c /proc/1/fd/0 && echo written'");
    assert_eq!(said, "written");
    third.assert_untouched();
}

/// The container's configuration as LXC before version 3 wrote it.
const OLD: &str = r"s/^lxc.uts.name/lxc.utsname/; s/^lxc.rootfs.path = dir:/lxc.rootfs = /; s/^lxc.tty.max/lxc.tty/
s/^lxc.console.path/lxc.console/; s/^lxc.init.cmd/lxc.init_cmd/; s/^lxc.mount.fstab/lxc.mount/
s/^lxc.net.0.ipv4.address/lxc.network.ipv4/; s/^lxc.net.0/lxc.network/";

/// Makes a host's LXC one of version 2, as far as ckpt can see: the container's `config` is in the old syntax, and LXC's
/// programs, which are those of version 6, get the new one.
fn make_old(host: Host<'_>, name: &str) {
    host.run(&format!(
        "cd /var/lib/lxc/{name}; cp config config.new; sed '{OLD}' config.new > config\n\
         for program in lxc-info lxc-checkpoint; do\n\
           cat > /usr/local/sbin/$program <<'WRAPPER'\n\
#!/bin/sh\n\
[ \"$1\" != --version ] || {{ echo 2.0.11; exit; }}\n\
exec unshare -m --propagation unchanged sh -c 'mount --bind /var/lib/lxc/{name}/config.new /var/lib/lxc/{name}/config; exec /usr/bin/'${{0##*/}}' \"$@\"' sh \"$@\"\n\
WRAPPER\n\
           chmod +x /usr/local/sbin/$program\n\
         done"
    ));
}

#[test]
fn lxc_configuration_in_the_old_syntax_is_brought_up_to_date() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    a.run(&format!(
        "printf 'tmpfs scratch tmpfs size=1m,create=dir 0 0\\n' > /data/fstab\n\
         /opt/workloads/mklxc old '/bin/sh /opt/workloads/counter.sh /count' 'lxc.mount.fstab = /data/fstab' {NETWORK} \
         'lxc.cgroup.pids.max = 33'"
    ));
    let first = at(a, "/var/lib/lxc", "old");
    a.wait_until(&format!("[ $(wc -l < {}) -ge 3 ]", first.count()));
    make_old(a, "old");
    a.run("ckpt export old -o /data/old.ckpt; scp -q /data/old.ckpt b:/data/");
    let archived = a.run("ckpt cat /data/old.ckpt lxc/config");
    for line in [
        "lxc.utsname = old",
        "lxc.rootfs = /var/lib/lxc/old/rootfs",
        "lxc.network.type = veth",
        "lxc.network.veth.pair = vethserv",
        "lxc.mount = /data/fstab",
        "# old, as a test made it",
    ] {
        assert!(archived.contains(line), "{line:?} is missing in: {archived}");
    }
    b.run("umount -l /sys/fs/cgroup/unified; ckpt import /data/old.ckpt --name new -P /data/lxc");
    let second = at(b, "/data/lxc", "new");
    second.assert_untouched();
    let config = b.run("cat /data/lxc/new/config");
    for line in [
        "lxc.uts.name = new",
        "lxc.rootfs.path = /data/lxc/new/rootfs",
        "lxc.net.0.type = veth",
        "lxc.net.0.veth.pair = vethserv",
        "lxc.mount.fstab = /data/lxc/new/fstab",
        "# old, as a test made it",
    ] {
        assert!(config.contains(line), "{line:?} is missing in: {config}");
    }
    assert_eq!(b.run("ip -j link show vethserv | jq -r '.[0].master'"), "br0");
    assert_eq!(b.run("cat /sys/fs/cgroup/pids/lxc.payload.new/pids.max"), "33");
    // It has an ordinary configuration now, and moves like any other.
    b.run("ckpt export new -P /data/lxc -o /data/new.ckpt");
    second.becomes("STOPPED");
    b.run("ckpt verify /data/new.ckpt");
}
