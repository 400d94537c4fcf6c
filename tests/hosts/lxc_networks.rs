//! Containers of LXC with several networks, and of other kinds than one pair on one bridge.

use crate::lxc::Container;
use crate::support::{Cgroup, Host, Hosts, Tree, possible};

/// Two pairs, one on each bridge, of which the second has another MTU.
const TWO: &str = "'lxc.net.0.type = veth' 'lxc.net.0.link = br0' 'lxc.net.0.name = eth0' 'lxc.net.0.flags = up' \
    'lxc.net.0.veth.pair = vethone' 'lxc.net.0.ipv4.address = 10.77.0.71/24' \
    'lxc.net.1.type = veth' 'lxc.net.1.link = inner' 'lxc.net.1.name = lan1' 'lxc.net.1.flags = up' 'lxc.net.1.mtu = 1400' \
    'lxc.net.1.veth.pair = vethtwo' 'lxc.net.1.hwaddr = 02:77:00:00:02:72' 'lxc.net.1.ipv4.address = 10.78.0.72/24'";
const COUNTER: &str = "'/bin/sh /opt/workloads/counter.sh /count'";

/// A second bridge, with an address of its own.
fn make_bridge(host: Host<'_>, name: &str) {
    host.run(&format!(
        "ip link add {name} type bridge; ip addr add 10.78.0.1/24 dev {name}; ip link set {name} up"
    ));
}

fn start<'a>(host: Host<'a>, name: &'a str, network: &str) -> Container<'a> {
    host.run(&format!("/opt/workloads/mklxc {name} {COUNTER} {network}"));
    let container = Container {
        host,
        lxcpath: "/var/lib/lxc",
        name,
    };
    host.wait_until(&format!("[ $(wc -l < {}) -ge 3 ]", container.count()));
    container
}

/// The bridge, state and MTU of an interface.
fn port(host: Host<'_>, name: &str) -> String {
    host.run(&format!(
        "ip -j link show {name} | jq -r '.[0] | \"\\(.master) \\(.operstate) \\(.mtu)\"'"
    ))
}

fn answers(host: Host<'_>, address: &str) {
    host.wait_until(&format!("ping -c 1 -W 1 {address} >/dev/null"));
}

#[test]
fn lxc_container_with_two_networks_has_both_again() {
    if !possible() {
        return;
    }
    let hosts = Hosts::up(Cgroup::V1);
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    make_bridge(a, "inner");
    make_bridge(b, "lan");
    start(a, "two", TWO);
    let at_home = |host: Host<'_>, ends: [&str; 2], bridges: [&str; 2]| {
        assert_eq!(port(host, ends[0]), format!("{} UP 1500", bridges[0]));
        assert_eq!(port(host, ends[1]), format!("{} UP 1400", bridges[1]));
        answers(host, "10.77.0.71");
        answers(host, "10.78.0.72");
    };
    at_home(a, ["vethone", "vethtwo"], ["br0", "inner"]);

    // A dump that fails when both are cut off leaves both as they were.
    let state = "ip -d -j link | jq -c '.[] | [.ifname, .ifindex, .flags, .mtu, .master, .operstate]'";
    let before = a.run(state);
    a.run("mkdir /data/full; mount -t tmpfs -o size=64k none /data/full");
    let ran = a.attempt("ckpt export two -o /data/full/two.ckpt --compress none");
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    assert_eq!(a.run(state), before);
    at_home(a, ["vethone", "vethtwo"], ["br0", "inner"]);

    // An import without a bridge for each is refused, and names the one that is missing.
    a.run("ckpt export two -o /data/two.ckpt; scp -q /data/two.ckpt b:/data/");
    b.run("umount -l /sys/fs/cgroup/unified");
    let ran = b.attempt("ckpt import /data/two.ckpt");
    assert!(
        ran.code == 3 && ran.stderr.contains("no bridge \"inner\"") && ran.stderr.contains("--link lan1="),
        "{}",
        ran.stderr
    );
    // One that fails leaves neither pair.
    let links = b.run("ip -o link | cut -d: -f2");
    let ran = b.attempt("ckpt import /data/two.ckpt --link lan1=lan --pid-file /nowhere/pid");
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert_eq!(b.run("ip -o link | cut -d: -f2"), links);
    b.run("rm /data/two.ckpt");
    b.run("scp -q a:/data/two.ckpt /data/; ckpt import /data/two.ckpt --name two2 -P /data/lxc --link lan1=lan --veth eth0=vethb1");
    let second = Container {
        host: b,
        lxcpath: "/data/lxc",
        name: "two2",
    };
    second.assert_untouched();
    at_home(b, ["vethb1", "vethtwo"], ["br0", "lan"]);
    let third = second.moves_to(a, "a", "/data/lxc", "two3", "--link lan1=inner");
    at_home(a, ["vethb1", "vethtwo"], ["br0", "inner"]);
    third.lxc("lxc-stop -k");
    third.becomes("STOPPED");
}

#[test]
fn lxc_macvlan_moves_and_what_cannot_move_is_named_while_the_container_runs() {
    if !possible() {
        return;
    }
    let hosts = Hosts::with(Cgroup::V1, Tree::Criu42, &["a", "b", "c"]);
    let (a, b, c) = (hosts.host("a"), hosts.host("b"), hosts.host("c"));
    let container = start(
        a,
        "mac",
        "'lxc.net.0.type = macvlan' 'lxc.net.0.macvlan.mode = bridge' 'lxc.net.0.link = br0' 'lxc.net.0.name = eth0' \
         'lxc.net.0.flags = up' 'lxc.net.0.ipv4.address = 10.77.0.73/24'",
    );
    answers(c, "10.77.0.73");
    let pid = container.lxc("lxc-info -pH");
    for (kind, word) in [
        ("vlan", "network 1 is of the type vlan"),
        ("ipvlan", "network 1 is of the type ipvlan"),
        ("phys", "network 1 is of the type phys"),
        ("macvlan", "network 1 is a macvlan without the host's interface"),
    ] {
        a.run(&format!(
            "cp /var/lib/lxc/mac/config /data/config; echo 'lxc.net.1.type = {kind}' >> /var/lib/lxc/mac/config"
        ));
        let ran = a.attempt("ckpt export mac -o /data/mac.ckpt");
        assert!(ran.code == 6 && ran.stderr.contains(word), "{kind}: {}", ran.stderr);
        assert!(ran.stderr.contains("lxc.net.1."), "{kind}: {}", ran.stderr);
        assert!(!ran.stderr.contains("dumping"), "{kind}: {}", ran.stderr);
        a.run("cp /data/config /var/lib/lxc/mac/config; ! [ -e /data/mac.ckpt ]");
        assert_eq!(container.lxc("lxc-info -pH"), pid);
    }
    container.assert_untouched();
    let second = container.moves_to(b, "b", "/data/lxc", "mac2", "");
    answers(c, "10.77.0.73");
    second.lxc("lxc-stop -k");
}
