//! Rewrites of the fixtures: every line before and after, and every refusal.

use std::fmt::Write as _;
use std::fs;

use proptest::prelude::*;

use super::*;

fn fixture(name: &str) -> Vec<u8> {
    fs::read(format!("{}/fixtures/lxc/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn home(name: &str) -> Home {
    Home {
        name: name.to_owned(),
        lxcpath: "/var/lib/lxc".to_owned(),
    }
}

fn moving(old: &str, new: &str) -> LxcRequest {
    LxcRequest::moving(home(old), home(new))
}

fn run_with(text: &[u8], fstab: Option<&[u8]>, request: &LxcRequest) -> Result<Rewritten, Refusals> {
    let config = Config::parse(text).unwrap();
    let fstab = fstab.map(|text| Fstab::parse(text).unwrap());
    let inputs = Inputs {
        config: &config,
        includes: &BTreeMap::new(),
        fstab: fstab.as_ref(),
    };
    rewrite(inputs, request)
}

fn run(text: &str, request: &LxcRequest) -> Result<Rewritten, Refusals> {
    run_with(text.as_bytes(), None, request)
}

fn told(rewritten: &Rewritten) -> String {
    let mut text = String::new();
    rewritten
        .changes
        .iter()
        .for_each(|change| writeln!(text, "{change}").unwrap());
    rewritten
        .needs
        .iter()
        .for_each(|need| writeln!(text, "need {need:?}").unwrap());
    rewritten
        .notes
        .iter()
        .for_each(|note| writeln!(text, "note {note}").unwrap());
    text
}

/// Everything that can be asked of the good configuration.
fn full() -> LxcRequest {
    let mut request = moving("counter", "second");
    let eth0 = InterfaceRequest {
        link: Some("br1".into()),
        veth: Some("vethsecond".into()),
        hwaddr: Some("00:16:3e:44:55:66".into()),
        ipv4: Some(vec!["10.88.0.9/24".into(), "10.88.1.9/24".into()]),
        ipv6: Some(vec!["fd00::9/64".into()]),
        ipv4_gateway: Some("10.88.0.1".into()),
        ipv6_gateway: Some("auto".into()),
    };
    request.interfaces.insert("eth0".into(), eth0);
    request.map_mounts.insert("/data".into(), "/srv/other data".into());
    request.allow_mounts.push("mnt/space".into());
    request.id_map = Some(vec!["u 0 200000 65536".into(), "g 0 200000 65536".into()]);
    request
}

#[test]
fn everything_is_rewritten_and_nothing_else() {
    let rewritten = run_with(&fixture("good-new-syntax.conf"), Some(&fixture("good.fstab")), &full()).unwrap();
    insta::assert_snapshot!("new-syntax-changes", told(&rewritten));
    insta::assert_snapshot!(
        "new-syntax-config",
        String::from_utf8(rewritten.config.to_bytes()).unwrap()
    );
    insta::assert_snapshot!(
        "new-syntax-fstab",
        String::from_utf8(rewritten.fstab.unwrap().to_bytes()).unwrap()
    );
}

#[test]
fn old_keys_are_translated() {
    let mut request = moving("old", "old");
    request.interfaces.insert(
        "eth1".into(),
        InterfaceRequest {
            link: Some("br9".into()),
            ..InterfaceRequest::default()
        },
    );
    let rewritten = run_with(&fixture("good-old-syntax.conf"), Some(b""), &request).unwrap();
    insta::assert_snapshot!("old-syntax-changes", told(&rewritten));
    let effective = Effective::new(&rewritten.config, &BTreeMap::new());
    assert_eq!(effective.findings(), [], "LXC 6 reads all of it");
    assert_eq!(effective.networks().count(), 2);
}

#[test]
fn old_keys_stay_when_asked() {
    let mut request = moving("old", "next");
    request.upgrade = false;
    request.interfaces.insert(
        "eth0".into(),
        InterfaceRequest {
            hwaddr: Some("00:16:3e:44:55:66".into()),
            ipv6: Some(vec!["fd00::9/64".into()]),
            ..InterfaceRequest::default()
        },
    );
    let rewritten = run_with(&fixture("good-old-syntax.conf"), Some(b""), &request).unwrap();
    insta::assert_snapshot!("old-syntax-kept", told(&rewritten));
    let effective = Effective::new(&rewritten.config, &BTreeMap::new());
    let networks: Vec<_> = effective.networks().collect();
    assert_eq!(networks[0].get("hwaddr").unwrap().value, "00:16:3e:44:55:66");
    assert_eq!(networks[1].get("hwaddr"), None);
}

#[test]
fn the_same_home_changes_nothing() {
    let text = fixture("good-crlf-no-last-newline.conf");
    let rewritten = run_with(&text, None, &moving("counter", "counter")).unwrap();
    assert_eq!(rewritten.changes, []);
    assert_eq!(rewritten.config.to_bytes(), text);
}

#[test]
fn line_ends_are_kept() {
    let mut request = moving("counter", "counter");
    request.cgroup_dir = Some("lxc/c".into());
    let rewritten = run_with(&fixture("good-crlf-no-last-newline.conf"), None, &request).unwrap();
    let text = String::from_utf8(rewritten.config.to_bytes()).unwrap();
    assert!(text.ends_with("lxc.tty.max = 0\r\nlxc.cgroup.dir = lxc/c"), "{text:?}");
}

#[test]
fn what_debian_creates_needs_words_for_its_mounts() {
    let text = fixture("debian-lxc-create-busybox.conf");
    let mut request = moving("web", "site");
    request.drop_labels = true;
    insta::assert_snapshot!("debian-refused", run_with(&text, None, &request).unwrap_err());
    for target in ["lib", "usr/lib", "lib64", "usr/lib64", "sys/kernel/security"] {
        request.allow_mounts.push(target.to_owned());
    }
    request.interfaces.insert(
        "eth0".into(),
        InterfaceRequest {
            veth: Some("vethsite".into()),
            ..InterfaceRequest::default()
        },
    );
    insta::assert_snapshot!("debian-changes", told(&run_with(&text, None, &request).unwrap()));
}

#[test]
fn one_line_each() {
    let mut request = moving("a", "b");
    request.map_paths.push(PathMap {
        from: "/opt/old".into(),
        to: "/opt/new".into(),
    });
    request.allow_hooks = true;
    request.allow_paths.push("/srv/as-is".into());
    request.drop_labels = true;
    for (before, after) in [
        (
            "lxc.rootfs.path = overlay:/l:/u",
            "lxc.rootfs.path = dir:/var/lib/lxc/b/rootfs",
        ),
        ("lxc.uts.name='a'", "lxc.uts.name='b'"),
        ("lxc.uts.name = other", "lxc.uts.name = other"),
        ("lxc.log.file = /var/log/lxc/a.log", "lxc.log.file = /var/log/lxc/b.log"),
        ("lxc.log.file = /var/lib/lxc/a/log", "lxc.log.file = /var/lib/lxc/b/log"),
        ("lxc.console.logfile = /opt/old/x", "lxc.console.logfile = /opt/new/x"),
        (
            "lxc.include = /usr/share/lxc/config/common.conf",
            "lxc.include = /usr/share/lxc/config/common.conf",
        ),
        ("lxc.include = /srv/as-is", "lxc.include = /srv/as-is"),
        ("lxc.include = /opt/old", "lxc.include = /opt/new"),
        ("lxc.include =", "lxc.include ="),
        (
            "lxc.seccomp.profile = /usr/share/lxc/config/common.seccomp",
            "lxc.seccomp.profile = /usr/share/lxc/config/common.seccomp",
        ),
        (
            "lxc.hook.start = /opt/old/h  x /var/lib/lxc/a/y",
            "lxc.hook.start = /opt/new/h  x /var/lib/lxc/b/y",
        ),
        ("lxc.hook.version = 1", "lxc.hook.version = 1"),
        ("lxc.net.0.script.up = /usr/bin/up", "lxc.net.0.script.up = /usr/bin/up"),
        (
            "lxc.cgroup.dir.container = lxc/a/inner",
            "lxc.cgroup.dir.container = lxc/b/inner",
        ),
        ("lxc.apparmor.profile = generated", "lxc.apparmor.profile = "),
        ("lxc.mount.auto = proc\t sys", "lxc.mount.auto = proc\t sys"),
        (
            "lxc.mount.auto = proc shmounts:/opt/old/s:/m",
            "lxc.mount.auto = proc shmounts:/opt/new/s:/m",
        ),
        (
            "lxc.mount.entry = proc  proc proc x 0 0",
            "lxc.mount.entry = proc  proc proc x 0 0",
        ),
        (
            "lxc.mount.entry = /var/lib/lxc/a/d d none bind",
            "lxc.mount.entry = /var/lib/lxc/b/d d none bind",
        ),
        (
            "lxc.rootfs.mount = /usr/lib/x86_64-linux-gnu/lxc/rootfs",
            "lxc.rootfs.mount = /usr/lib/x86_64-linux-gnu/lxc/rootfs",
        ),
        ("lxc.tty = 4", "lxc.tty.max = 4"),
        ("lxc.limit.nofile = 4", "lxc.prlimit.nofile = 4"),
        ("# lxc.utsname = a", "# lxc.utsname = a"),
    ] {
        let rewritten = run(&format!("{before}\n"), &request).unwrap_or_else(|error| panic!("{before}: {error}"));
        assert_eq!(rewritten.config.lines()[0].text(), after, "{before}");
    }
}

#[test]
fn an_absolute_target_follows_the_root_file_system() {
    let text = "lxc.rootfs.path = /r\nlxc.mount.entry = /s /r/m none bind 0 0\n";
    let mut request = moving("a", "b");
    request.map_mounts.insert("m".into(), "/t".into());
    let rewritten = run(text, &request).unwrap();
    assert_eq!(
        rewritten.config.lines()[1].text(),
        "lxc.mount.entry = /t /var/lib/lxc/b/rootfs/m none bind 0 0"
    );
}

#[test]
fn included_networks_are_set_at_the_end() {
    let config =
        Config::parse(b"lxc.rootfs.path = /var/lib/lxc/a/rootfs\nlxc.include = /usr/share/lxc/config/n\n").unwrap();
    let net = b"lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.ipv4.address = 10.0.0.1/8\n";
    let file = Included {
        path: "/usr/share/lxc/config/n".into(),
        config: Config::parse(net).unwrap(),
    };
    let includes = BTreeMap::from([(file.path.clone(), vec![file])]);
    let inputs = Inputs {
        config: &config,
        includes: &includes,
        fstab: None,
    };
    let mut request = moving("a", "a");
    request.interfaces.insert(
        "eth0".into(),
        InterfaceRequest {
            link: Some("br1".into()),
            ipv4: Some(vec!["10.0.0.2/8".into()]),
            ..InterfaceRequest::default()
        },
    );
    let rewritten = rewrite(inputs, &request).unwrap();
    let effective = Effective::new(&rewritten.config, &includes);
    let addresses = effective.all("lxc.net.0.ipv4.address");
    assert_eq!(
        addresses.iter().map(|entry| &*entry.value).collect::<Vec<_>>(),
        ["10.0.0.2/8"]
    );
    assert_eq!(effective.get("lxc.net.0.link").unwrap().value, "br1");
}

#[test]
fn all_refusals_come_at_once() {
    let text = "lxc.rootfs.path = /var/lib/lxc/a/rootfs\n\
                lxc.include = /tmp/evil.conf\n\
                lxc.include = /usr/share/lxc/config/../../../tmp/x\n\
                lxc.include = /var/lib/lxc/a/rootfs/etc/evil.conf\n\
                lxc.log.file = /etc/cron.d/x\n\
                lxc.log.file = /var/lib/lxc/a/rootfs/log\n\
                lxc.log.file = /var/log/lxc/ab.log\n\
                lxc.console.path = /dev/tty8\n\
                lxc.rootfs.mount = /etc\n\
                lxc.seccomp.profile = relative\n\
                lxc.hook.pre-start = /bin/sh -c 'x'\n\
                lxc.net.0.type = veth\n\
                lxc.net.0.script.up = /tmp/up\n\
                lxc.net.0.veth.pair = v\n\
                lxc.net.1.type = veth\n\
                lxc.net.1.veth.pair = v\n\
                lxc.net.2.type = none\n\
                lxc.mount.fstab = /var/lib/lxc/a/fstab\n\
                lxc.mount.auto = shmounts:/etc\n\
                lxc.namespace.share.net = other\n\
                lxc.namespace.keep = pid\n\
                lxc.sysctl.kernel.core_pattern = x\n\
                lxc.sysctl.net.ipv4.ip_forward = 1\n\
                lxc.new.key = x\n\
                lxc.malformed\n\
                lxc.mount.entry = /etc etc none bind 0 0\n\
                lxc.mount.entry = /dev/sda1 disk ext4 defaults 0 0\n\
                lxc.environment = A=\u{fffd}\0";
    let mut bytes = text.as_bytes().to_vec();
    bytes.extend(b"\nlxc.hook.start = hidden\n");
    let mut request = moving("a", "b/c");
    request.map_mounts.insert("nowhere".into(), "rel".into());
    request.hostname = Some("a b".into());
    request.cgroup_dir = Some("/abs".into());
    request.id_map = Some(vec!["u 0 x 1".into()]);
    let asked = |veth: Option<&str>| InterfaceRequest {
        veth: veth.map(str::to_owned),
        link: Some("a/b".into()),
        hwaddr: Some("00:16".into()),
        ipv4: Some(vec!["10.0.0.1".into()]),
        ipv6: Some(vec!["fd00::1/129".into()]),
        ipv4_gateway: Some("::1".into()),
        ipv6_gateway: None,
    };
    request
        .interfaces
        .insert("eth2".into(), asked(Some("name-is-far-too-long")));
    request.interfaces.insert("wlan0".into(), InterfaceRequest::default());
    let refusals = run_with(&bytes, None, &request).unwrap_err();
    assert_eq!(refusals.kind(), crate::error::ErrorKind::Archive);
    insta::assert_snapshot!("refusals", refusals);
}

proptest! {
    /// Whatever is read: the change list tells every line that differs, and no other.
    #[test]
    fn changes_are_the_difference(lines in prop::collection::vec(
        "(lxc\\.(uts\\.name|utsname|tty|kmsg|rootfs|rootfs\\.path|id_map|idmap|net\\.[01]\\.(type|link)|network\\.(type|link)) ?= ?(a|veth|br0|)|# x|)", 0..12,
    )) {
        let text = lines.join("\n");
        let mut request = moving("a", "b");
        request.id_map = Some(vec!["u 0 1 2".into()]);
        let Ok(rewritten) = run(&text, &request) else { return Ok(()) };
        let mut left: Vec<Option<String>> = Config::parse(text.as_bytes()).unwrap().lines().iter().map(|line| Some(line.text())).collect();
        let mut added = vec![Vec::new(); left.len() + 1];
        for change in &rewritten.changes {
            match &change.before {
                Some(before) => {
                    prop_assert_eq!(left[change.line - 1].as_ref(), Some(before));
                    left[change.line - 1] = change.after.clone();
                }
                None => added[change.line].extend(change.after.clone()),
            }
        }
        let mut expected: Vec<String> = added[0].clone();
        for (line, added) in left.into_iter().zip(&added[1..]) {
            expected.extend(line);
            expected.extend(added.iter().cloned());
        }
        let found: Vec<String> = rewritten.config.lines().iter().map(|line| line.text()).collect();
        prop_assert_eq!(found, expected);
    }
}
