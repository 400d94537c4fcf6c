//! Containers of LXC: they move as often as anybody likes, whatever fails leaves them running, and what is left of a failed
//! import is nothing.

use std::time::Duration;

use crate::container::assert_counts;
use crate::support::{Cgroup, Host, Hosts, Ran, Tree};

const OLD: &str = "an older archive";
pub const LIMITS: &str = "'lxc.cgroup.memory.limit_in_bytes = 64M' 'lxc.cgroup.pids.max = 33'";
/// What a host has of LXC's containers in memory: cgroups, sockets, mounts, links, processes. The cgroup `lxc.pivot` stays
/// behind whenever a container has ended, LXC puts its monitors there to remove theirs.
pub const TRACES: &str = "ls -d /sys/fs/cgroup/*/lxc.* 2>/dev/null | grep -v lxc.pivot || :; grep lxc /proc/net/unix /proc/self/mountinfo || :;\n\
    ip -o link | cut -d: -f2; pgrep -a -f 'lxc monitor' || :; pgrep -x criu || :; pgrep -x lxc-checkpoint || :";

/// A container of LXC where it is.
#[derive(Clone, Copy)]
pub struct Container<'a> {
    pub host: Host<'a>,
    pub lxcpath: &'a str,
    pub name: &'a str,
}

impl<'a> Container<'a> {
    /// Makes one that counts into `/count`, and waits until it does.
    pub fn counter(host: Host<'a>, name: &'a str, lines: &str) -> Self {
        Self::started(host, "", name, "/bin/sh /opt/workloads/counter.sh /count", lines)
    }

    /// Makes one of which COMMAND counts into `/count`; `options` are mklxc's.
    fn started(host: Host<'a>, options: &str, name: &'a str, command: &str, lines: &str) -> Self {
        let container = Self {
            host,
            lxcpath: "/var/lib/lxc",
            name,
        };
        host.run(&format!("/opt/workloads/mklxc {options} {name} '{command}' {lines}"));
        host.wait_until(&format!("[ $(wc -l < {}) -ge 3 ]", container.count()));
        container
    }

    pub fn directory(self) -> String {
        format!("{}/{}", self.lxcpath, self.name)
    }

    pub fn count(self) -> String {
        format!("{}/rootfs/count", self.directory())
    }

    /// Runs one of LXC's commands on it.
    pub fn lxc(self, command: &str) -> String {
        let (program, arguments) = command.split_once(' ').unwrap_or((command, ""));
        let Self { lxcpath, name, .. } = self;
        self.host.run(&format!("{program} -P {lxcpath} -n {name} {arguments}"))
    }

    /// Waits until LXC gives it a state.
    pub fn becomes(self, state: &str) {
        self.lxc(&format!("lxc-wait -s {state} -t 10"));
    }

    /// The limits that [`LIMITS`] are, as the kernel has them.
    pub fn limits(self) -> String {
        self.host.run(&format!(
            "cat /sys/fs/cgroup/memory/lxc.payload.{0}/memory.limit_in_bytes /sys/fs/cgroup/pids/lxc.payload.{0}/pids.max",
            self.name
        ))
    }

    pub fn assert_untouched(self) {
        assert_eq!(self.lxc("lxc-info -sH"), "RUNNING", "{} must run on", self.name);
        assert_counts(self.host, &self.count());
    }

    /// Exports it, copies the archive, and imports it on another host under another name and directory.
    pub fn moves_to<'b>(
        self,
        host: Host<'b>,
        to: &str,
        lxcpath: &'b str,
        name: &'b str,
        import: &str,
    ) -> Container<'b> {
        let Self { lxcpath: from, .. } = self;
        self.host
            .run(&format!("ckpt export {} -P {from} -o /data/{0}.ckpt", self.name));
        assert_eq!(self.lxc("lxc-info -sH"), "STOPPED");
        self.host.run(&format!("scp -q /data/{}.ckpt {to}:/data/", self.name));
        // What the host has of version 2 cgroups would crash lxc-checkpoint: see mklxc.
        host.run("umount -l /sys/fs/cgroup/unified 2>/dev/null || :");
        host.run(&format!(
            "ckpt import /data/{}.ckpt --name {name} -P {lxcpath} {import}",
            self.name
        ));
        let there = Container { host, lxcpath, name };
        there.assert_untouched();
        there
    }
}

/// Asserts that a failed export says so: its exit code, and that the container runs on.
pub fn assert_said(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    for word in [&["runs on"], words].concat() {
        assert!(ran.stderr.contains(word), "{word:?} is missing in: {}", ran.stderr);
    }
}

/// Puts a shell script in the place of criu, which is at /run/criu then; /run/veto says no to one action.
pub fn wrapped(script: &str, action: &str) -> String {
    format!(
        "cp $(command -v criu) /run/criu; printf '#!/bin/sh\\n[ $CRTOOLS_SCRIPT_ACTION != {action} ]\\n' > /run/veto\n\
         printf '%s\\n' '#!/bin/sh' {} > /run/wrapper; chmod +x /run/veto /run/wrapper\n\
         mount --bind /run/wrapper $(command -v criu)",
        shell_quoted(script)
    )
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn there_and_back(tree: Tree) {
    let Some(hosts) = Hosts::try_with(Cgroup::V1, tree, &["a", "b"]) else {
        return;
    };
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    let bind = "'lxc.mount.entry = /data/shared shared none bind,create=dir 0 0'";
    a.run("mkdir -p /data/shared; echo a > /data/shared/host");
    b.run("mkdir -p /data/elsewhere; echo b > /data/elsewhere/host");
    let first = Container::counter(a, "c1", &format!("{LIMITS} {bind}"));
    let limits = first.limits();
    b.run(&format!("umount -l /sys/fs/cgroup/unified; ({TRACES}) > /run/traces"));
    assert_eq!(limits, "67108864\n33");
    let second = first.moves_to(b, "b", "/data/lxc", "moved", "--map-mount /shared=/data/elsewhere");
    assert_eq!(second.limits(), limits);
    assert_eq!(second.lxc("lxc-attach -- cat /shared/host"), "b");
    let third = second.moves_to(a, "a", "/data/lxc", "again", "--map-mount /shared=/data/shared");
    assert_eq!(third.limits(), limits);
    let fourth = third.moves_to(b, "b", "/data/lxc", "once-more", "--map-mount /shared=/data/elsewhere");
    assert_eq!(fourth.limits(), limits);
    // LXC's own commands work on it as on any other.
    assert_eq!(fourth.lxc("lxc-attach -- cat /shared/host"), "b");
    fourth.lxc("lxc-freeze");
    fourth.becomes("FROZEN");
    fourth.lxc("lxc-unfreeze");
    fourth.assert_untouched();
    fourth.lxc("lxc-stop -k");
    fourth.becomes("STOPPED");
    b.wait_until(&format!("[ \"$({TRACES})\" = \"$(cat /run/traces)\" ]"));
}

#[test]
fn lxc_counter_moves_there_and_back_again() {
    there_and_back(Tree::Criu42);
}

#[test]
fn lxc_counter_moves_with_criu_4_1() {
    there_and_back(Tree::Criu41);
}

#[test]
fn lxc_container_is_renamed_in_cgroups_of_version_2() {
    let Some(hosts) = Hosts::try_up(Cgroup::V2) else {
        return;
    };
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    let first = Container::counter(a, "c1", "");
    let second = first.moves_to(b, "b", "/var/lib/lxc", "moved", "");
    let cgroup = "cat /proc/$(lxc-info -n moved -pH)/cgroup | tail -n 1";
    assert_eq!(b.run(cgroup), "0::/init/lxc.payload.moved");
    second.lxc("lxc-freeze");
    let ran = b.attempt("ckpt export moved -o /data/frozen.ckpt");
    assert!(ran.code == 6 && ran.stderr.contains("paused"), "{}", ran.stderr);
    second.lxc("lxc-unfreeze");
    second.assert_untouched();
}

#[test]
fn lxc_container_in_a_user_namespace_moves() {
    let Some(hosts) = Hosts::try_up(Cgroup::V1) else {
        return;
    };
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    let first = Container::started(a, "-u", "un", "/bin/sh /opt/workloads/counter.sh /count", "");
    let second = first.moves_to(b, "b", "/data/lxc", "there", "");
    let map = b.run("cat /proc/$(lxc-info -P /data/lxc -n there -pH)/uid_map");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    second.moves_to(a, "a", "/data/lxc", "back", "");
}

#[test]
fn lxc_overlay_travels_as_its_changes_and_mounts_with_their_content() {
    let Some(hosts) = Hosts::try_up(Cgroup::V1) else {
        return;
    };
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    a.run("mkdir -p /data/vol; echo of-a > /data/vol/file; echo one > /data/one");
    let python = "/usr/bin/python3 /opt/workloads/steady.py /count 32 2";
    let mounts = "'lxc.mount.entry = /data/vol vol none bind,create=dir 0 0' 'lxc.mount.entry = /data/one one none bind,create=file 0 0'";
    let first = Container::started(a, "-b -c", "ov", python, mounts);
    first.lxc("lxc-attach -- sh -c 'echo changed >> /vol/file; rm /etc/motd; echo new > /etc/new'");
    a.run("ckpt export ov -o /data/ov.ckpt --with-mount /vol --with-mount /one; scp -q /data/ov.ckpt b:/data/");
    assert_eq!(a.run("ckpt ls /data/ov.ckpt | grep rootfs"), "rootfs-diff.tar");
    b.run("umount -l /sys/fs/cgroup/unified; ckpt import /data/ov.ckpt --root /workloads/debian");
    let there = Container { host: b, ..first };
    there.assert_untouched();
    assert_eq!(
        there.lxc("lxc-attach -- cat /vol/file /one /etc/new"),
        "of-a\nchanged\none\nnew"
    );
    there.lxc("lxc-attach -- sh -c '! [ -e /etc/motd ]'");
    b.run(&format!("! grep FAIL {}*", there.count()));
}

#[test]
fn lxc_dump_made_by_others_is_imported_with_the_limits_of_its_configuration() {
    let Some(hosts) = Hosts::try_up(Cgroup::V1) else {
        return;
    };
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    Container::counter(a, "c1", LIMITS);
    // As p.haul leaves it: images, and beside them the configuration and the record of cgroups.
    a.run(
        "mkdir /data/images; lxc-checkpoint -s -n c1 -D /data/images; cp /var/lib/lxc/c1/config /data/images/
         for controller in memory pids cpuset; do echo $controller/lxc.payload.c1; done > /data/images/lxccg.img
         ckpt export --images /data/images --bundle /var/lib/lxc/c1 --runtime lxc -o /data/c1.ckpt
         scp -q /data/c1.ckpt b:/data/",
    );
    assert_eq!(
        a.run("ckpt ls /data/c1.ckpt | grep -e cgroup.json -e lxc"),
        "lxccg.img\nlxc/config"
    );
    b.run("umount -l /sys/fs/cgroup/unified");
    let planned = b.run("ckpt import /data/c1.ckpt -P /data/lxc --name moved --dry-run");
    assert!(
        planned.contains("memory.limit_in_bytes = 67108864, pids.max = 33"),
        "{planned}"
    );
    b.run("ckpt import /data/c1.ckpt -P /data/lxc --name moved");
    let there = Container {
        host: b,
        lxcpath: "/data/lxc",
        name: "moved",
    };
    there.assert_untouched();
    assert_eq!(there.limits(), "67108864\n33");
}

#[test]
fn lxc_lazy_import_runs_at_once_and_one_that_is_killed_leaves_nothing() {
    let Some(hosts) = Hosts::try_with(Cgroup::V1, Tree::Criu42, &["a"]) else {
        return;
    };
    let a = hosts.host("a");
    let python = "/usr/bin/python3 /opt/workloads/steady.py /count 128 2";
    let first = Container::started(a, "-b -c", "big", python, "");
    a.run("ckpt export big -o /data/big.ckpt");
    first.becomes("STOPPED");
    let import = "ckpt import /data/big.ckpt --lazy -P /data/lxc --root /workloads/debian";
    // Half the memory is there, and the rest will never come: the container must not go on.
    a.run(&format!(
        "{import} > /dev/null 2> /data/said & ckpt=$!\n\
         timeout 30 sh -c 'until grep -q follow /data/said; do sleep 0.01; done'; pkill -STOP -x criu; kill -KILL $ckpt; wait $ckpt || :"
    ));
    a.wait_until(
        "! [ -e /data/lxc/big/config ] && ! pgrep -x criu && ! pgrep -f 'lxc monitor' &&
         ! ls -d /sys/fs/cgroup/*/lxc.payload*",
    );
    // The same import works at once.
    a.run(&format!("{import} && umount /var/lib/lxc/big/rootfs"));
    let there = Container {
        lxcpath: "/data/lxc",
        ..first
    };
    there.assert_untouched();
    a.run(&format!("! grep FAIL {}*", there.count()));
}

#[test]
fn lxc_export_is_refused_where_lxc_checkpoint_would_crash() {
    let Some(hosts) = Hosts::try_with(Cgroup::V1, Tree::Criu42, &["a"]) else {
        return;
    };
    let a = hosts.host("a");
    a.run("mkdir /data/none; mount -t cgroup2 none /data/none");
    let container = Container::counter(a, "c1", "");
    a.run("mount --bind /data/none /sys/fs/cgroup/unified 2>/dev/null || { mkdir -p /sys/fs/cgroup/unified; mount --bind /data/none /sys/fs/cgroup/unified; }");
    let ran = a.attempt("ckpt export c1 -o /data/c1.ckpt");
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("crashes") && ran.stderr.contains("runs on"),
        "{}",
        ran.stderr
    );
    container.assert_untouched();
}

#[test]
fn lxc_streams_from_host_to_host_and_its_configuration_is_shown() {
    let Some(hosts) = Hosts::try_up(Cgroup::V1) else {
        return;
    };
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    b.run("umount -l /sys/fs/cgroup/unified");
    Container::counter(a, "c1", LIMITS);
    a.run("ckpt export c1 --runtime lxc -o - | ssh b ckpt import -");
    let there = Container {
        host: b,
        lxcpath: "/var/lib/lxc",
        name: "c1",
    };
    there.assert_untouched();
    // The memory did not go through files: CRIU was told of a page server, and nothing else.
    b.run("ckpt export c1 -o /data/c1.ckpt --leave-running");
    let said = b.run("ckpt cat /data/c1.ckpt dump.log | grep -c 'page-xfer.*[Pp]age server\\|Closing connection' || :");
    assert_ne!(said, "0", "{}", b.run("ckpt cat /data/c1.ckpt dump.log"));
    let before = b.run(TRACES);
    let planned = b.run("ckpt import /data/c1.ckpt --dry-run --name new -P /data/lxc");
    for line in [
        "- lxc.uts.name = c1",
        "+ lxc.uts.name = new",
        "- lxc.rootfs.path = dir:/var/lib/lxc/c1/rootfs",
        "+ lxc.rootfs.path = dir:/data/lxc/new/rootfs",
        "memory.limit_in_bytes = 67108864",
    ] {
        assert!(planned.contains(line), "{line:?} is missing in: {planned}");
    }
    let json =
        b.run("ckpt import /data/c1.ckpt --dry-run --json --name new -P /data/lxc | jq -r '.lxc.changes[0].after'");
    assert_eq!(json, "lxc.uts.name = new");
    assert_eq!(b.run(TRACES), before, "a dry run changed something");
    b.run("! [ -e /data/lxc ]");
    there.assert_untouched();
}

#[test]
fn lxc_export_that_fails_leaves_the_container_running() {
    let Some(hosts) = Hosts::try_up(Cgroup::V1) else {
        return;
    };
    let a = hosts.host("a");
    let container = Container::counter(a, "c1", LIMITS);
    a.run(&format!("echo '{OLD}' > /data/c1.ckpt"));
    let traces = a.run(TRACES);
    let assert_nothing_happened = || {
        container.assert_untouched();
        assert_eq!(a.run("head -c 16 /data/c1.ckpt | tr -d '\\0'"), OLD);
        assert_eq!(a.run(TRACES), traces);
        assert_eq!(container.limits(), "67108864\n33");
        let left = a.run("ls -A /var/lib/ckpt/work /run/ckpt 2>/dev/null | grep -e session -e work- || :; ls -A /data | grep -v -e c1.ckpt -e full || :");
        assert_eq!(left, "", "left behind");
    };
    // Before anything is frozen.
    a.run("mkdir /data/full; mount -t tmpfs -o size=64k none /data/full");
    for (arguments, word) in [
        ("--manage-cgroups-mode ignore", "--manage-cgroups-mode ignore"),
        ("--shell-job", "--shell-job"),
        ("--with-mount /nowhere", "/nowhere"),
    ] {
        let ran = a.attempt(&format!("ckpt export c1 -o /data/c1.ckpt {arguments}"));
        assert!(
            ran.code == 2 && ran.stderr.contains(word),
            "{}: {}",
            ran.code,
            ran.stderr
        );
        assert_nothing_happened();
    }
    a.run("cp /var/lib/lxc/c1/config /data/full/config; sed -i 's/^lxc.console.path.*/lxc.pty.max = 1024/' /var/lib/lxc/c1/config");
    let ran = a.attempt("ckpt export c1 -o /data/c1.ckpt");
    a.run("cp /data/full/config /var/lib/lxc/c1/config; rm /data/full/config");
    assert!(
        ran.code == 6 && ran.stderr.contains("lxc.console.path"),
        "{}",
        ran.stderr
    );
    assert_nothing_happened();
    // While CRIU dumps: another script of CRIU's says no.
    a.run(&wrapped(
        "echo 'action-script \"/run/veto\"' >> $CRIU_CONFIG_FILE; exec /run/criu \"$@\"",
        "network-lock",
    ));
    let ran = a.attempt("ckpt export c1 -o /data/c1.ckpt");
    a.run("umount $(command -v criu)");
    assert_said(&ran, &["lxc-checkpoint"]);
    assert_nothing_happened();
    // At the commit point: no room for the archive.
    let ran = a.attempt("ckpt export c1 -o /data/full/c1.ckpt --compress none");
    assert_said(&ran, &["No space left"]);
    assert_eq!(a.run("ls -A /data/full"), "");
    assert_nothing_happened();
    // CRIU killed while everything is frozen, and ckpt at any moment.
    a.run("mkfifo /data/pipe");
    let export = a.spawn("exec ckpt export c1 -o - --compress none > /data/pipe");
    a.run("exec 3< /data/pipe; head -c 100 <&3 > /dev/null; pkill -KILL -x criu; cat <&3 > /dev/null");
    let ran = Ran::from(export.wait_with_output().expect("it ends"));
    a.run("rm /data/pipe");
    assert_said(&ran, &["CRIU"]);
    assert_nothing_happened();
    for delay in (0..16).map(|step| Duration::from_millis(5 + step * 20)) {
        let mut export = a.spawn("exec ckpt export c1 -o /data/c1.ckpt --leave-running");
        std::thread::sleep(delay);
        a.run("pkill -KILL -x ckpt || :");
        let _ = export.wait();
        std::thread::sleep(Duration::from_millis(100));
        a.wait_until("! pgrep -x criu && ! pgrep -x lxc-checkpoint && [ $(lxc-info -n c1 -sH) = RUNNING ]");
        container.assert_untouched();
        let archive = a.attempt("ckpt verify /data/c1.ckpt");
        let old = a.run("head -c 16 /data/c1.ckpt | tr -d '\\0'");
        assert!(archive.code == 0 || old == OLD, "no archive after {delay:?}");
    }
    a.run("ckpt export c1 -o /data/c1.ckpt && ckpt verify /data/c1.ckpt");
}

#[test]
fn lxc_import_that_fails_leaves_nothing_and_can_be_repeated() {
    let Some(hosts) = Hosts::try_up(Cgroup::V1) else {
        return;
    };
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    b.run("umount -l /sys/fs/cgroup/unified");
    Container::counter(a, "c1", LIMITS);
    a.run("ckpt export c1 -o /data/c1.ckpt; scp -q /data/c1.ckpt b:/data/");
    let traces = b.run(TRACES);
    let assert_nothing_left = |ran: &Ran| {
        assert_eq!(b.run(TRACES), traces, "{}", ran.stderr);
        let left = b.run("ls -A /data | grep -v c1.ckpt || :; ls -A /var/lib/lxc; ls -A /var/lib/ckpt/work /run/ckpt 2>/dev/null | grep -e session -e work- || :");
        assert_eq!(left, "", "left behind: {}", ran.stderr);
    };
    let import = "ckpt import /data/c1.ckpt -P /data/lxc";
    // CRIU fails at once, and when everything is restored.
    for script in [
        "exec false",
        "echo 'action-script \"/run/veto\"' >> $CRIU_CONFIG_FILE; exec /run/criu \"$@\"",
    ] {
        b.run(&wrapped(script, "post-restore"));
        let ran = b.attempt(import);
        b.run("umount $(command -v criu)");
        assert_eq!(ran.code, 7, "{}", ran.stderr);
        assert!(ran.stderr.contains("nothing of it is left"), "{}", ran.stderr);
        assert_nothing_left(&ran);
    }
    // What the plan refuses changes nothing.
    for (arguments, code, word) in [
        ("--bundle /data/x", 2, "--bundle"),
        ("--netns new", 2, "--netns"),
        ("--runtime runc", 2, "runc"),
        ("--map-mount /nowhere=/data", 2, "/nowhere"),
        ("--link eth7=br0", 2, "eth7"),
    ] {
        let ran = b.attempt(&format!("ckpt import /data/c1.ckpt {arguments}"));
        assert!(
            ran.code == code && ran.stderr.contains(word),
            "{arguments}: {} {}",
            ran.code,
            ran.stderr
        );
        assert_nothing_left(&ran);
    }
    b.run(import);
    let container = Container {
        host: b,
        lxcpath: "/data/lxc",
        name: "c1",
    };
    container.assert_untouched();
    assert_eq!(container.limits(), "67108864\n33");
    let ran = b.attempt(import);
    assert!(ran.code == 2 && ran.stderr.contains("c1"), "{}", ran.stderr);
    container.assert_untouched();
}
