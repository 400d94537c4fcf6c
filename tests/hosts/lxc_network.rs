//! Containers of LXC on a bridge: who talks to them over TCP goes on talking while they move, and a dump that fails at any of
//! its phases leaves the network, the cgroups and the mounts as they were.

use std::time::Duration;

use crate::lxc::{Container, LIMITS, assert_said, wrapped};
use crate::support::{Cgroup, Host, Hosts, Ran, Tree, possible};

const ADDRESS: &str = "10.77.0.60";
/// A port of the hosts' bridge, with an address of its own on their network.
const NETWORK: &str = "'lxc.net.0.type = veth' 'lxc.net.0.link = br0' 'lxc.net.0.name = eth0' 'lxc.net.0.flags = up' \
    'lxc.net.0.veth.pair = vethc1' 'lxc.net.0.hwaddr = 02:77:00:00:02:60' 'lxc.net.0.ipv4.address = 10.77.0.60/24'";
const MOUNTS: &str = "'lxc.mount.entry = /data/shared shared none bind,create=dir 0 0' 'lxc.mount.fstab = /data/fstab'";

/// Starts a container that answers on TCP port 7000, with a bind entry and an fstab of a bind and a tmpfs.
fn start_server<'a>(host: Host<'a>, name: &'a str) -> Container<'a> {
    prepare(host);
    host.run(&format!(
        "printf '/data/files files none bind,create=dir 0 0\\ntmpfs scratch tmpfs size=1m,create=dir 0 0\\n' > /data/fstab\n\
         /opt/workloads/mklxc {name} /opt/workloads/echo.sh {LIMITS} {MOUNTS} {NETWORK}"
    ));
    let container = Container {
        host,
        lxcpath: "/var/lib/lxc",
        name,
    };
    host.wait_until(&format!("[ $(wc -l < {}) -ge 3 ]", container.count()));
    container.lxc("lxc-attach -- sh -c 'echo scratch > /scratch/where'");
    container
}

/// What the container's mounts have on a host.
fn prepare(host: Host<'_>) {
    host.run(
        "mkdir -p /data/shared /data/files; echo shared-$(hostname) > /data/shared/where\n\
         echo files-$(hostname) > /data/files/where",
    );
}

/// Asserts that the container is what it was and where it is: mounts of this host, limits, LXC's own commands.
fn assert_at_home(container: Container<'_>, host: &str, end: &str, bridge: &str) {
    container.assert_untouched();
    assert_eq!(container.limits(), "67108864\n33");
    let mounts = container.lxc("lxc-attach -- cat /shared/where /files/where /scratch/where");
    assert_eq!(mounts, format!("shared-{host}\nfiles-{host}\nscratch"));
    assert_eq!(container.lxc("lxc-info -sH"), "RUNNING");
    assert_eq!(container.lxc("lxc-info -iH"), ADDRESS);
    let link = container.host.run(&format!(
        "ip -j link show {end} | jq -r '.[0] | .master, .operstate, .mtu, .address[:2]'"
    ));
    assert_eq!(link, format!("{bridge}\nUP\n1500\nfe"));
}

#[test]
fn lxc_container_on_a_bridge_moves_a_b_a_b_with_its_client() {
    if !possible() {
        return;
    }
    let hosts = Hosts::with(Cgroup::V1, Tree::Criu42, &["a", "b", "c"]);
    let (a, b, c) = (hosts.host("a"), hosts.host("b"), hosts.host("c"));
    // The other host's bridge has another name.
    b.run("ip link set br0 down; ip link set br0 name br7; ip link set br7 up");
    prepare(b);
    let first = start_server(a, "c1");
    assert_at_home(first, "a", "vethc1", "br0");
    let mut client = c.spawn(&format!(
        "exec python3 /opt/workloads/echo-client.py {ADDRESS} /data/steady"
    ));
    let goes_on = || {
        let before = c.run("wc -l < /data/steady");
        c.wait_until(&format!("[ $(wc -l < /data/steady) -gt $(({before} + 20)) ]"));
        c.run("! grep FAIL /data/steady; awk '$1 != NR { exit 1 }' /data/steady");
    };
    c.wait_until("[ $(wc -l < /data/steady) -gt 5 ]");

    a.run("ckpt export c1 -o /data/c1.ckpt; scp -q /data/c1.ckpt b:/data/");
    let links = b.run("ip -o link | cut -d: -f2");
    let mounts = "--map-mount /shared=/data/shared --map-mount /files=/data/files";
    let refused = b.attempt(&format!("ckpt import /data/c1.ckpt {mounts}"));
    assert!(
        refused.stderr.contains("this host has no bridge \"br0\"") && refused.stderr.contains("--link"),
        "{}",
        refused.stderr
    );
    let planned = b.run(&format!(
        "ckpt import /data/c1.ckpt {mounts} --link eth0=br7 --veth eth0=vethmoved --dry-run"
    ));
    assert!(
        planned.contains("bring vethmoved, this host's end of the container's eth0, into the bridge br7 and up"),
        "{planned}"
    );
    assert_eq!(b.run("ip -o link | cut -d: -f2"), links);
    b.run("rm /data/c1.ckpt");

    let to_b = format!("{mounts} --link eth0=br7 --veth eth0=vethmoved");
    let to_a = format!("{mounts} --link eth0=br0 --veth eth0=vethback");
    // The archive is there already: the container is gone from a.
    b.run(&format!("scp -q a:/data/c1.ckpt /data/; umount -l /sys/fs/cgroup/unified; ckpt import /data/c1.ckpt -P /data/lxc --name b1 {to_b}"));
    let second = Container {
        host: b,
        lxcpath: "/data/lxc",
        name: "b1",
    };
    assert_at_home(second, "b", "vethmoved", "br7");
    goes_on();
    let third = second.moves_to(a, "a", "/data/lxc", "a2", &to_a);
    assert_at_home(third, "a", "vethback", "br0");
    goes_on();
    let fourth = third.moves_to(b, "b", "/data/lxc", "b2", &to_b);
    assert_at_home(fourth, "b", "vethmoved", "br7");
    goes_on();
    assert!(client.try_wait().expect("the client").is_none(), "the client has ended");
    client.kill().expect("the client");
    let _ = client.wait();
    fourth.lxc("lxc-stop -k");
    fourth.becomes("STOPPED");
    b.wait_until("! ip link show vethmoved 2>/dev/null");
}

/// Everything that a failed export must leave as it was: the host's links with their numbers, flags and bridge, the
/// container's addresses, routes and packet filter, mounts, cgroups with their limits and tasks. Of the packet filter
/// only rules are looked at: CRIU locks with rules in chains that it makes and does not take away.
fn state(host: Host<'_>) -> String {
    host.run(
        "P=$(lxc-info -n c1 -pH)\n\
         ip -d -j link | jq -c '.[] | [.ifname, .ifindex, .flags, .mtu, .address, .master, .operstate, .linkinfo.info_slave_data.state]'\n\
         ip -d -j link show vethc1 | jq -c '.[0].linkinfo.info_slave_data | del(.forward_delay_timer, .hold_timer, .message_age_timer)'\n\
         bridge -j fdb show dev vethc1 | jq -c '.[] | select(.state == \"static\" or .state == \"permanent\")' | sort\n\
         bridge -j vlan; ip -j addr | jq -c '.[] | [.ifname, [.addr_info[].local]]'; ip route; nft list ruleset\n\
         nsenter -t $P -n sh -c 'ip -j addr | jq -c \".[] | [.ifname, .ifindex, .flags, .address, [.addr_info[].local]]\"; ip route; ip -6 route; nft list ruleset | grep -v -e ^table -e chain -e policy -e } -e ^$; ip link show eth0 | grep -c LOWER_UP'\n\
         cat /proc/$P/mountinfo; cut -d' ' -f5- /proc/self/mountinfo | sort\n\
         find /sys/fs/cgroup -path '*lxc*' -type d | sort; cat /proc/$P/cgroup /proc/$(pgrep -o -x nc)/cgroup\n\
         cd /sys/fs/cgroup; cat memory/lxc.payload.c1/memory.limit_in_bytes pids/lxc.payload.c1/pids.max freezer/lxc.payload.c1/freezer.state cpuset/lxc.payload.c1/cpuset.cpus",
    )
}

/// One way for a dump to fail.
struct Phase {
    name: &'static str,
    fail: fn(Host<'_>) -> Ran,
}

/// Runs an export beside a CRIU that was put in the place of the real one.
fn export_with(host: Host<'_>, script: &str, action: &str) -> Ran {
    host.run(&wrapped(script, action));
    let ran = host.attempt("ckpt export c1 -o /data/c1.ckpt");
    host.run("umount $(command -v criu)");
    ran
}

/// Another script of CRIU's says no, before ckpt's is asked or after it.
fn vetoed(host: Host<'_>, action: &str) -> Ran {
    let script = "echo 'action-script \"/run/veto\"' >> $CRIU_CONFIG_FILE; exec /run/criu \"$@\"";
    export_with(host, script, action)
}

/// Exports into a pipe that is read until the container is cut off, and does something then.
fn when_cut_off(host: Host<'_>, then: &str) -> Ran {
    host.run("rm -f /data/pipe; mkfifo /data/pipe; rm -f /data/was-cut");
    let export = host.spawn("exec ckpt export c1 -o - --compress none > /data/pipe");
    let read = host.attempt(&format!(
        "exec 3< /data/pipe\n\
         for i in $(seq 400); do\n\
           [ $(cat /sys/class/net/vethc1/operstate) = up ] || {{ touch /data/was-cut; break; }}\n\
           timeout 1 head -c 32768 <&3 > /dev/null\n\
         done\n\
         {then}\n\
         cat <&3 > /dev/null"
    ));
    assert_eq!(read.code, 0, "{}", read.stderr);
    let ran = Ran::from(export.wait_with_output().expect("it ends"));
    host.run("[ -e /data/was-cut ]");
    ran
}

const PHASES: [Phase; 7] = [
    Phase {
        name: "CRIU does not start",
        fail: |host| export_with(host, "[ $1 != dump ] && exec /run/criu \"$@\"", "none"),
    },
    Phase {
        name: "pre-dump",
        fail: |host| vetoed(host, "pre-dump"),
    },
    Phase {
        name: "network-lock",
        fail: |host| vetoed(host, "network-lock"),
    },
    Phase {
        name: "post-dump, refused by another script",
        fail: |host| vetoed(host, "post-dump"),
    },
    Phase {
        name: "no room for the archive",
        fail: |host| {
            host.run("mkdir -p /data/full; mount -t tmpfs -o size=64k none /data/full");
            let ran = host.attempt("ckpt export c1 -o /data/full/c1.ckpt --compress none");
            host.run("umount /data/full");
            ran
        },
    },
    Phase {
        name: "cut off: the reader goes away",
        fail: |host| when_cut_off(host, "exit 0"),
    },
    Phase {
        name: "cut off: ckpt is terminated",
        fail: |host| when_cut_off(host, "pkill -TERM -o -x ckpt; sleep 0.5"),
    },
];

#[test]
fn lxc_dump_that_fails_at_any_phase_leaves_network_cgroups_and_mounts_as_they_were() {
    if !possible() {
        return;
    }
    let hosts = Hosts::with(Cgroup::V1, Tree::Criu42, &["a", "c"]);
    let (a, c) = (hosts.host("a"), hosts.host("c"));
    let container = start_server(a, "c1");
    // So that an archive is far from its end when the container has just been cut off.
    a.run("head -c 8000000 /dev/urandom > /var/lib/lxc/c1/rootfs/ballast");
    let mut client = c.spawn(&format!(
        "exec python3 /opt/workloads/echo-client.py {ADDRESS} /data/steady"
    ));
    c.wait_until("[ $(wc -l < /data/steady) -gt 5 ]");
    // A port that an administrator has tuned.
    a.run(
        "bridge link set dev vethc1 cost 7 priority 3 hairpin on isolated on learning off flood off mcast_flood off\n\
         bridge link set dev vethc1 guard on root_block on fastleave off\n\
         bridge fdb replace 02:77:00:00:02:60 dev vethc1 master static; bridge fdb replace 02:77:00:00:09:99 dev vethc1 master static",
    );
    let before = state(a);
    let assert_host_as_before = |phase: &str| {
        let now = state(a);
        let lines = |one: &str, other: &str| {
            let gone = one.lines().filter(|line| !other.lines().any(|other| other == *line));
            gone.map(str::to_owned).collect::<Vec<_>>()
        };
        let (gone, new) = (lines(&before, &now), lines(&now, &before));
        assert!(gone.is_empty() && new.is_empty(), "{phase}: {gone:#?} became {new:#?}");
    };
    let assert_as_before = |phase: &str| {
        let answers = c.run("wc -l < /data/steady");
        assert_host_as_before(phase);
        container.assert_untouched();
        c.wait_until(&format!("[ $(wc -l < /data/steady) -gt $(({answers} + 5)) ]"));
        c.run("! grep FAIL /data/steady");
    };
    for Phase { name, fail } in PHASES {
        let ran = fail(a);
        assert_eq!(ran.code, 6, "{name}: {}", ran.stderr);
        assert_said(&ran, &["c1"]);
        assert_as_before(name);
    }
    // Every ckpt killed at once: the one that exports and the one that asks it. Then at any moment.
    when_cut_off(a, "pkill -KILL -x ckpt");
    a.wait_until("! pgrep -x criu && ! pgrep -x lxc-checkpoint");
    assert_as_before("cut off: every ckpt is killed");
    for delay in (0..12).map(|step| Duration::from_millis(60 + step * 20)) {
        // Nothing of the archive is read before the kill: however slow the machine is, no export ends well.
        a.run("touch /data/hold");
        let mut export =
            a.spawn("exec ckpt export c1 -o - --compress none | { while [ -e /data/hold ]; do sleep 0.01; done; cat > /dev/null; }");
        std::thread::sleep(delay);
        a.run("pkill -KILL -x ckpt || :; rm /data/hold");
        let _ = export.wait();
        a.wait_until("! pgrep -x criu && ! pgrep -x lxc-checkpoint");
        assert_as_before("every ckpt is killed at any moment");
    }
    // Of a CRIU that is killed the kernel lets the tasks go, and one that reads from a connection in repair may end by that:
    // the host is as it was nevertheless.
    client.kill().expect("the client is still there");
    let _ = client.wait();
    for _ in 0..3 {
        let ran = when_cut_off(a, "pkill -KILL -x criu");
        assert_said(&ran, &["c1"]);
        assert_host_as_before("cut off: CRIU is killed");
    }
}
