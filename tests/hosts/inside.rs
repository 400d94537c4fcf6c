//! What is shown of a checkpoint: a program that holds one of everything, and checkpointctl beside ckpt on the same archives.
//!
//! docs/checkpointctl.md maps every test of checkpointctl's own suite to one of ckpt's.

use serde_json::Value;

use crate::container::start;
use crate::support::{Cgroup, Host, Hosts, Tree, possible};

/// Starts the program that holds one of everything, and takes a checkpoint of it.
fn checkpoint(host: Host<'_>, name: &str, how: &str) {
    let options = "--base debian --rootfs overlay --env SECRET=hunter2 --env 'WITH=a b' --memory 268435456 --pids 100 --tmpfs /tmp";
    start(
        host,
        "runc",
        name,
        options,
        &format!("python3 /opt/workloads/inside.py /state {how}"),
    );
    host.wait_until(&format!("grep -q ready /data/{name}/rootfs/state"));
    host.run(&format!(
        "ckpt export {name} -q -o /data/{name}.ckpt --leave-running --tcp-established --ext-unix-sk --file-locks --link-remap"
    ));
}

fn json(host: Host<'_>, command: &str) -> Value {
    serde_json::from_str(&host.run(command)).expect("JSON")
}

fn array<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// The process of that pid.
fn process(ours: &Value, pid: &Value) -> Value {
    let found = array(ours, "processes").iter().find(|process| &process["pid"] == pid);
    found.unwrap_or_else(|| panic!("no process {pid} in {ours}")).clone()
}

/// All processes of checkpointctl's tree.
fn flatten<'a>(node: &'a Value, found: &mut Vec<&'a Value>) {
    found.push(node);
    array(node, "children").iter().for_each(|child| flatten(child, found));
}

fn has_what_checkpointctl_says_of_the_container(theirs: &Value, ours: &Value) {
    let container = &ours["manifest"]["container"];
    assert_eq!(theirs["id"], container["id"]);
    assert_eq!(theirs["runtime"], ours["manifest"]["runtime"]["name"]);
    assert_eq!(theirs["checkpointed"], ours["manifest"]["checkpointed_at"]);
    let size = |wanted: &dyn Fn(&str) -> bool| -> u64 {
        let entries = array(ours, "entries").iter();
        let wanted = entries.filter(|entry| wanted(entry["name"].as_str().unwrap_or_default()));
        wanted.filter_map(|entry| entry["bytes"].as_u64()).sum()
    };
    let sizes = &theirs["checkpoint_size"];
    assert_eq!(sizes["total_size"], size(&|name| name.starts_with("checkpoint/")));
    assert_eq!(
        sizes["memory_pages_size"],
        size(&|name| name.starts_with("checkpoint/pages-"))
    );
    assert_eq!(sizes["root_fs_diff_size"], size(&|name| name == "rootfs-diff.tar"));
    for (name, value) in theirs["statistics"].as_object().expect("statistics") {
        assert_eq!(value, &ours["statistics"][name], "{name}");
    }
    for mount in array(theirs, "mounts") {
        let there = array(ours, "mounts")
            .iter()
            .any(|ours| ours["mountpoint"] == mount["destination"]);
        assert!(there, "{mount}");
    }
}

fn has_checkpointctl_s_processes(theirs: &Value, ours: &Value, strings: bool) {
    let mut nodes = Vec::new();
    flatten(&theirs["process_tree"], &mut nodes);
    assert_eq!(nodes.len(), array(ours, "processes").len());
    for node in nodes {
        let process = process(ours, &node["pid"]);
        assert_eq!(process["name"], node["command"]);
        for child in array(node, "children") {
            assert_eq!(self::process(ours, &child["pid"])["ppid"], node["pid"]);
        }
        if !strings {
            continue;
        }
        let words: Vec<&str> = array(&process, "command_line")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let cmdline = node["cmdline"].as_str().unwrap_or_default();
        assert_eq!(cmdline.trim_end(), words.join(" "));
        let environment: Vec<&str> = array(&process, "environment")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let theirs = node["environment_variables"].as_object().expect("an environment");
        for (name, value) in theirs {
            let line = format!("{name}={}", value.as_str().unwrap_or_default());
            assert!(environment.contains(&line.as_str()), "{line}");
        }
        assert_eq!(theirs.len(), environment.len());
    }
}

fn has_checkpointctl_s_files(theirs: &Value, ours: &Value) {
    for table in array(theirs, "file_descriptors") {
        let process = process(ours, &table["pid"]);
        for file in array(table, "open_files") {
            let (label, path) = (
                file["fd"].as_str().unwrap_or_default(),
                file["path"].as_str().unwrap_or_default(),
            );
            let Some((kind, number)) = label.split_once(' ') else {
                let name = if label == "cwd" { "working_directory" } else { label };
                assert_eq!(process[name], path, "{label}");
                continue;
            };
            let same = |ours: &&Value| ours["fd"].as_i64() == number.parse().ok() && ours["type"] == kind;
            let found = array(&process, "files").iter().find(same);
            let found = found.unwrap_or_else(|| panic!("no {file} in {process}"));
            // Of other kinds they show a number of the images.
            if matches!(kind, "REG" | "PIPE") {
                assert_eq!(found["path"], path, "{file}");
            }
        }
    }
}

fn has_checkpointctl_s_sockets(theirs: &Value, ours: &Value) {
    let mut count = 0;
    for table in array(theirs, "sockets") {
        let process = process(ours, &table["pid"]);
        let sockets: Vec<&Value> = array(&process, "files")
            .iter()
            .map(|file| &file["socket"])
            .filter(|s| s.is_object())
            .collect();
        assert_eq!(array(table, "open_sockets").len(), sockets.len());
        for socket in array(table, "open_sockets") {
            let data = &socket["data"];
            let end = |name: &str, port: &str| {
                (
                    data[name].as_str().unwrap_or_default().to_owned(),
                    data[port].as_u64().unwrap_or(0),
                )
            };
            let at = |end: &Value| {
                let address = end["address"].as_str().unwrap_or_default().to_owned();
                (address, end["port"].as_u64().unwrap_or(0))
            };
            let same = |ours: &&&Value| match data["type"].as_str() {
                Some("TCP" | "UDP") => {
                    // Of IPv6 addresses they show the last four bytes four times.
                    let four = ours["family"] == "ipv4";
                    ours["protocol"] == data["type"]
                        && ours["state"] == data["state"]
                        && at(&ours["local"]).1 == end("src", "src_port").1
                        && at(&ours["remote"]).1 == end("dst", "dst_port").1
                        && (!four
                            || (at(&ours["local"]), at(&ours["remote"]))
                                == (end("src", "src_port"), end("dst", "dst_port")))
                }
                Some("UNIX") => {
                    let name = data["address"].as_str().unwrap_or_default().trim_end_matches('\0');
                    let ours = ours["path"].as_str().unwrap_or_default();
                    ours == name.replace('\0', "@") || name.is_empty()
                }
                _ => true,
            };
            assert!(sockets.iter().any(|ours| same(&ours)), "{socket} is not in {sockets:?}");
            count += 1;
        }
    }
    assert!(count > 10, "{count} sockets were compared");
}

#[test]
fn everything_that_checkpointctl_shows_is_there() {
    if !possible() {
        return;
    }
    let hosts = Hosts::with(Cgroup::V1, Tree::Criu42, &["a"]);
    let a = hosts.host("a");
    checkpoint(a, "c1", "alive");
    let theirs = json(
        a,
        "checkpointctl inspect --format json --stats --mounts --ps-tree --files --sockets /data/c1.ckpt",
    );
    let ours = json(a, "ckpt inspect --json /data/c1.ckpt");
    let theirs = &theirs[0];
    has_what_checkpointctl_says_of_the_container(theirs, &ours);
    has_checkpointctl_s_processes(theirs, &ours, false);
    has_checkpointctl_s_files(theirs, &ours);
    has_checkpointctl_s_sockets(theirs, &ours);
    // The same, of an archive as other engines make them, without an index.
    a.run("mkdir /data/x; cd /data/x; tar xf /data/c1.ckpt --zstd; rm ckpt.json index.json SHA256SUMS cgroup.json; tar czf ../c1.tgz *");
    let theirs = json(
        a,
        "checkpointctl inspect --format json --ps-tree --files --sockets /data/c1.tgz",
    );
    let ours = json(a, "ckpt inspect --json /data/c1.tgz");
    has_checkpointctl_s_processes(&theirs[0], &ours, false);
    has_checkpointctl_s_files(&theirs[0], &ours);
    has_checkpointctl_s_sockets(&theirs[0], &ours);
    a.run("mkdir /data/k; cp /data/c1.tgz /data/k/checkpoint-c1.tar");
    let listed = json(a, "ckpt list --json /data/k");
    assert_eq!(listed[0]["engine"], "containerd");
    assert!(a.run("checkpointctl list /data/k").contains("containerd"));
}

/// checkpointctl 1.3 knows the number of pages only as CRIU up to 4.1 writes it: of dumps of 4.2 it reads no memory at all.
/// And on new kernels CRIU 4.1 can dump no sockets but those of Unix.
#[test]
fn memory_is_what_checkpointctl_finds_in_it() {
    if !possible() {
        return;
    }
    let hosts = Hosts::with(Cgroup::V1, Tree::Criu41, &["a"]);
    let a = hosts.host("a");
    checkpoint(a, "c1", "alive only-unix");
    let theirs = json(
        a,
        "checkpointctl inspect --format json --ps-tree-cmd --ps-tree-env /data/c1.ckpt",
    );
    let ours = json(a, "ckpt inspect --json --ps-tree-cmd --ps-tree-env /data/c1.ckpt");
    has_checkpointctl_s_processes(&theirs[0], &ours, true);

    let sizes = a.run("checkpointctl memparse /data/c1.ckpt");
    for process in array(&ours, "processes") {
        let mebibytes = |bytes: &Value| format!("{:.1} MiB", bytes.as_u64().unwrap_or(0) as f64 / 1_048_576.0);
        let (stored, shared) = (
            mebibytes(&process["memory"]["stored"]),
            mebibytes(&process["memory"]["kinds"]["shared"]["mapped"]),
        );
        let row = sizes
            .lines()
            .find(|line| line.contains(process["name"].as_str().unwrap_or_default()));
        let row = row.unwrap_or_else(|| panic!("{process} is not in {sizes}"));
        assert!(
            row.contains(&stored) && row.contains(&shared),
            "{row}: {stored}, {shared}"
        );
    }
    for (theirs, ours) in [
        ("--search needle", "--search needle"),
        ("--search-regex 'WITH=([^?]+)'", "--regex 'WITH='"),
    ] {
        let found = a.run(&format!("checkpointctl memparse --pid 1 {theirs} /data/c1.ckpt"));
        let ours = json(a, &format!("ckpt memory --json --pid 1 {ours} /data/c1.ckpt"));
        let addresses: Vec<String> = array(&ours, "matches")
            .iter()
            .map(|one| one["address"].as_str().unwrap_or_default().to_owned())
            .collect();
        let theirs = found
            .lines()
            .filter_map(|line| line.split('|').nth(1))
            .map(str::trim)
            .filter(|word| word.len() == 16);
        let theirs: Vec<&str> = theirs.collect();
        assert!(!theirs.is_empty(), "{found}");
        for address in theirs {
            let address = address.trim_start_matches('0');
            assert!(
                addresses.iter().any(|ours| ours.trim_start_matches('0') == address),
                "{address} in {addresses:?}: {found}"
            );
        }
    }
    let theirs =
        a.run("checkpointctl memparse --pid 1 /data/c1.ckpt | grep '|$' | head -3 | cut -d'|' -f1 | tr -s ' '");
    let ours = a.run("ckpt memory --pid 1 /data/c1.ckpt | grep '|$' | head -3 | cut -d'|' -f1 | tr -s ' '");
    assert_eq!(theirs, ours);
}

#[test]
fn one_of_everything_is_shown() {
    if !possible() {
        return;
    }
    let hosts = Hosts::with(Cgroup::V1, Tree::Criu42, &["a"]);
    let a = hosts.host("a");
    checkpoint(a, "c1", "");
    let short = a.run("ckpt inspect /data/c1.ckpt");
    for wanted in [
        "1 python3 /opt/workloads/inside.py /state",
        " (dead) zombie-child",
        "pids.max 100",
        "memory.limit_in_bytes 268435456",
    ] {
        assert!(short.contains(wanted), "{wanted}: {short}");
    }
    let all = a.run("ckpt inspect --all /data/c1.ckpt");
    for wanted in [
        "first-thread",
        "second-thread",
        "SECRET=hunter2",
        "TCP ESTABLISHED 127.0.0.1:5000 -> 127.0.0.1:",
        "[::]:5002",
        "/tmp/inside.sock",
        "@inside",
        "[eventfd, count 5]",
        "/memfd:inside-memfd",
        "/etc/passwd (at 100 of",
        "pipe[",
        "/tmp/fifo",
        "[SIGNALFD",
        "[TIMERFD",
        "[INOTIFY",
        "NETLINK ROUTE",
        "PACKET 0x0003",
        "UDP ESTABLISHED 127.0.0.1:",
    ] {
        assert!(all.contains(wanted), "{wanted}: {all}");
    }
    let connection = all
        .lines()
        .find(|line| line.contains("ESTABLISHED  127.0.0.1:5000"))
        .expect("the server's end");
    assert!(connection.contains("  7 "), "seven bytes are unread: {connection}");
    // Across pages, in shared memory, and in the process that was forked.
    assert!(
        a.run("ckpt memory /data/c1.ckpt --search acrosspage -p 1")
            .lines()
            .count()
            > 15
    );
    let shared = a.run("ckpt memory /data/c1.ckpt --search 'needle shared memory' | grep rw-s");
    assert_eq!(shared.lines().count(), 2, "{shared}");
    // A second checkpoint, in which the program is the same and little of its memory has changed.
    a.run(
        "ckpt export c1 -q -o /data/c2.ckpt --leave-running --tcp-established --ext-unix-sk --file-locks --link-remap",
    );
    let ran = a.attempt("ckpt diff --json /data/c1.ckpt /data/c2.ckpt");
    assert!(ran.code <= 1, "{}", ran.stderr);
    let difference: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    for kind in ["processes", "sockets", "mounts"] {
        for change in ["added", "removed"] {
            assert!(
                array(&difference[kind], change).is_empty(),
                "{kind} {change}: {}",
                difference[kind]
            );
        }
    }
    let memory = &difference["memory"][0];
    assert!(
        memory["same"].as_u64() > memory["changed"].as_u64().map(|changed| changed * 10),
        "{memory}"
    );
    let ran = a.attempt("ckpt diff /data/c1.ckpt /data/c1.ckpt");
    assert_eq!(ran.code, 0, "{}", ran.stdout);
}
