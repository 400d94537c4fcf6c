//! How settings add up, in one file and over several.

use super::*;

fn sum(text: &str) -> Effective {
    Effective::new(&Config::parse(text.as_bytes()).unwrap(), &BTreeMap::new())
}

fn values<'a>(effective: &'a Effective, key: &str) -> Vec<&'a str> {
    effective.all(key).iter().map(|entry| entry.value.as_str()).collect()
}

#[test]
fn scalars_replace_lists_append_and_empty_values_take_away() {
    for (text, key, expected) in [
        ("lxc.tty.max = 4\nlxc.tty = 0", "lxc.tty.max", &["0"][..]),
        ("lxc.tty.max = 4\nlxc.tty.max =", "lxc.tty.max", &[]),
        (
            "lxc.mount.entry = a\nlxc.mount.entry = b",
            "lxc.mount.entry",
            &["a", "b"],
        ),
        (
            "lxc.mount.entry = a\nlxc.mount.entry =\nlxc.mount.entry = b",
            "lxc.mount.entry",
            &["b"],
        ),
        ("lxc.cap.drop = a\nlxc.cap.keep =", "lxc.cap.drop", &[]),
        (
            "lxc.hook.start = a\nlxc.hook.stop = b\nlxc.hook =",
            "lxc.hook.start",
            &[],
        ),
        ("lxc.hook.version = 1\nlxc.hook =", "lxc.hook.version", &["1"]),
        ("lxc.cgroup.dir = x\nlxc.cgroup =", "lxc.cgroup.dir", &["x"]),
        (
            "lxc.cgroup2.devices.allow = a\nlxc.cgroup2.devices.allow = b",
            "lxc.cgroup2.devices.allow",
            &["a", "b"],
        ),
        (
            "lxc.cgroup2.memory.max = 1\nlxc.cgroup2 =",
            "lxc.cgroup2.memory.max",
            &[],
        ),
        (
            "lxc.prlimit.nofile = 1\nlxc.prlimit.nofile = 2",
            "lxc.prlimit.nofile",
            &["2"],
        ),
        ("lxc.net.0.link = a\nlxc.net.0.link = b", "lxc.net.0.link", &["b"]),
        ("lxc.net.0.link = a\nlxc.net.0 =", "lxc.net.0.link", &[]),
        (
            "lxc.net.0.ipv4.address = a\nlxc.net.0.ipv4.address = b",
            "lxc.net.0.ipv4.address",
            &["a", "b"],
        ),
        (
            "lxc.net.0.link = a\nlxc.net =\nlxc.net.1.link = c",
            "lxc.net.0.link",
            &[],
        ),
    ] {
        assert_eq!(values(&sum(text), key), expected, "{text:?}");
    }
}

#[test]
fn old_networks_are_numbered_by_their_types() {
    let effective = sum("lxc.network.type = veth\nlxc.network.link = a\n\
                         lxc.network.type = macvlan\nlxc.network.link = b\nlxc.network.ipv4 = 10.0.0.1/8\n");
    assert_eq!(values(&effective, "lxc.net.0.link"), ["a"]);
    assert_eq!(values(&effective, "lxc.net.1.link"), ["b"]);
    assert_eq!(values(&effective, "lxc.net.1.ipv4.address"), ["10.0.0.1/8"]);
    assert_eq!(effective.key_on(3), Some("lxc.net.1.link"));
    assert_eq!(effective.networks().count(), 2);
    let cleared = sum("lxc.network.type = veth\nlxc.network.type =\nlxc.network.type = phys\n");
    assert_eq!(values(&cleared, "lxc.net.0.type"), ["phys"]);
    let early = sum("lxc.network.link = a");
    assert!(matches!(early.findings(), [Finding::NetworkBeforeType { .. }]));
}

#[test]
fn includes_stand_where_they_are_named() {
    let config = Config::parse(b"lxc.tty.max = 1\nlxc.include = common\nlxc.pty.max = 9\n").unwrap();
    let common = Included {
        path: "/c/common.conf".into(),
        config: Config::parse(b"lxc.tty.max = 4\nlxc.pty.max = 1024\n").unwrap(),
    };
    let effective = Effective::new(&config, &BTreeMap::from([("common".to_owned(), vec![common])]));
    assert_eq!(values(&effective, "lxc.pty.max"), ["9"]);
    let tty = effective.get("lxc.tty.max").unwrap();
    assert_eq!(
        (tty.value.as_str(), tty.place.to_string().as_str()),
        ("4", "/c/common.conf, line 1")
    );
    assert_eq!(effective.key_on(0), Some("lxc.tty.max"));
}

#[test]
fn includes_that_go_round_end() {
    let text = Config::parse(b"lxc.include = a\nlxc.include = a\n").unwrap();
    let again = Included {
        path: "a".into(),
        config: text.clone(),
    };
    let effective = Effective::new(&text, &BTreeMap::from([("a".to_owned(), vec![again])]));
    assert!(
        effective
            .findings()
            .iter()
            .any(|found| matches!(found, Finding::IncludesTooMany { .. }))
    );
}
