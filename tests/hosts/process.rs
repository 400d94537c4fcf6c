//! Plain processes: a service with its numbers, the same beside the original, a job of a terminal, and everything that is told
//! before anything is touched.

use crate::support::{Cgroup, Host, Hosts, Tree, possible};

const SERVICE: &str = "/opt/workloads/nginx-service.sh";

/// The processes of nginx: number and title, sorted.
const NGINX: &str = "ps -eo pid,args | grep '[n]ginx: ' | sort -n";

fn hosts() -> Option<Hosts> {
    let hosts = possible().then(|| Hosts::up(Cgroup::V1))?;
    // Far from the numbers that processes of the other host have, ckpt's own among them.
    hosts.host("a").run("echo 20000 > /proc/sys/kernel/ns_last_pid");
    Some(hosts)
}

/// What nginx at an address answers.
pub fn ping(host: Host<'_>, address: &str) -> String {
    host.run(&format!(
        "printf 'GET /ping HTTP/1.0\\r\\n\\r\\n' | timeout 10 nc -q1 {address} 8080 | tail -n 1"
    ))
}

/// A counter in a session of its own, whose number is in `/data/NAME.pid`. It counts into `/data/NAME/count`.
fn start_counter(host: Host<'_>, name: &str) -> String {
    host.run(&format!(
        "mkdir -p /data/{name}\n\
         setsid sh -c 'echo $$ > /data/{name}.pid; exec 3>>/data/{name}/log; i=0\n\
           while :; do i=$((i + 1)); echo $i >> /data/{name}/count; sleep 0.05; done' </dev/null >/dev/null 2>&1 &"
    ));
    host.wait_until(&format!("[ $(wc -l < /data/{name}/count) -ge 3 ]"));
    host.run(&format!("cat /data/{name}.pid"))
}

/// Asserts that a counter has missed nothing, and goes on.
fn assert_counts(host: Host<'_>, name: &str) {
    crate::container::assert_counts(host, &format!("/data/{name}/count"));
}

fn runs(host: Host<'_>, pid: &str) -> bool {
    host.attempt(&format!(
        "[ -e /proc/{pid} ] && ! grep -q '^State:.Z' /proc/{pid}/status"
    ))
    .code
        == 0
}

/// Nothing of ckpt's own is left.
fn assert_clean(host: Host<'_>) {
    host.run("[ -z \"$(ls -A /var/lib/ckpt/containers /var/lib/ckpt/work 2>/dev/null | grep -v :)\" ]");
    host.run("! pgrep -x criu; ! pgrep -f 'ckpt criu-rpc'");
}

#[test]
fn a_service_is_ended_by_its_export_and_goes_on_with_its_numbers_here_and_elsewhere() {
    let Some(hosts) = hosts() else { return };
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    a.run(&format!("{SERVICE} install; {SERVICE} start"));
    // The loader ends by itself; master, worker and cache manager stay.
    a.wait_until(&format!("[ \"$({NGINX} | grep -c 'master\\|worker\\|manager')\" = 3 ]"));
    let before = a.run(NGINX);
    assert_eq!(before.matches("process").count(), before.lines().count(), "{before}");
    let answer = ping(a, "127.0.0.1");
    a.run("ckpt export --unit nginx.service -o /data/n.ckpt; ! pgrep nginx");
    a.run("ckpt verify /data/n.ckpt && ckpt check --runtime process /data/n.ckpt");
    a.run("ckpt import /data/n.ckpt");
    assert_eq!(a.run(NGINX), before, "the same numbers");
    assert_eq!(ping(a, "127.0.0.1"), answer, "the same worker answers");
    a.run("[ $(wc -l < /sys/fs/cgroup/pids/system.slice/nginx.service/cgroup.procs) -ge 3 ]");
    assert_clean(a);

    // Where its files are missing each is named, by the check and by the import, and nothing was touched.
    a.run("ckpt export --unit nginx.service -o /data/n2.ckpt; scp -q /data/n2.ckpt b:/data/");
    for command in ["ckpt check --runtime process", "ckpt import"] {
        let ran = b.attempt(&format!("{command} /data/n2.ckpt 2>&1"));
        assert_eq!(ran.code, 3, "{}", ran.stdout);
        for file in ["/usr/sbin/nginx", "/var/log/nginx/error.log"] {
            assert!(
                ran.stdout.contains(&format!("{file} is not on this host")),
                "{}",
                ran.stdout
            );
        }
    }
    b.run(&format!(
        "! [ -e /usr/sbin/nginx ]; {SERVICE} install; touch /var/log/nginx/error.log"
    ));
    b.run("ckpt import /data/n2.ckpt");
    assert_eq!(b.run(NGINX), before);
    assert_eq!(ping(b, "127.0.0.1"), answer);
    b.run("kill -QUIT $(cat /run/nginx.pid 2>/dev/null || pgrep -o nginx)");
    b.wait_until("! pgrep nginx");
}

#[test]
fn a_service_goes_on_in_a_namespace_while_the_original_runs_and_can_be_exported_from_there() {
    let Some(hosts) = hosts() else { return };
    let a = hosts.host("a");
    a.run(&format!("{SERVICE} install; {SERVICE} start"));
    a.wait_until(&format!("[ \"$({NGINX} | grep -c 'master\\|worker\\|manager')\" = 3 ]"));
    a.run("ckpt export --unit nginx.service --leave-running -o /data/n.ckpt");
    let before = a.run("pgrep nginx");
    // In place every number is taken, and each is named with what has it.
    let ran = a.attempt("ckpt import /data/n.ckpt 2>&1");
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    for pid in before.lines() {
        assert!(
            ran.stdout
                .contains(&format!("the number {pid} has another process here: nginx")),
            "{}",
            ran.stdout
        );
    }
    a.run("/opt/workloads/mknetns copy 10.77.0.60/24");
    a.run("ckpt import /data/n.ckpt --new-pidns --netns /run/netns/copy --name copy --pid-file /run/copy.pid");
    let (original, copy) = (ping(a, "127.0.0.1"), ping(a, "10.77.0.60"));
    assert_eq!(
        original, copy,
        "both workers have the same number, each in its namespace"
    );
    let inside = a.run("nsenter -t $(cat /run/copy.pid) -p -m pgrep nginx");
    assert_eq!(inside, before, "with a /proc of its own");
    assert_ne!(a.run("cat /run/copy.pid"), before.lines().next().unwrap_or_default());

    // It moves again, and its namespace goes with it.
    a.run("ckpt export --pid $(cat /run/copy.pid) -o /data/again.ckpt");
    a.wait_until("[ $(pgrep -c nginx) = $(echo \"$(cat /run/nginx.pid; pgrep -P $(cat /run/nginx.pid))\" | wc -l) ]");
    a.run("ckpt import /data/again.ckpt --new-pidns --netns /run/netns/copy --pid-file /run/copy.pid");
    assert_eq!(ping(a, "10.77.0.60"), copy);
    // With its last process the namespace ends, and what held it.
    a.run("kill -QUIT $(cat /run/copy.pid)");
    a.wait_until("! pgrep -f 'ckpt criu-rpc'");
    assert_eq!(ping(a, "127.0.0.1"), original);
}

#[test]
fn an_editor_goes_on_on_the_terminal_of_whoever_imports_it() {
    let Some(hosts) = hosts() else { return };
    let a = hosts.host("a");
    // Debian's vim, with the libraries that the host lacks.
    a.run(
        "vim=/workloads/debian/usr/bin/vim.tiny; cp $vim /usr/local/bin/vi\n\
         for library in $(chroot /workloads/debian ldd /usr/bin/vim.tiny | sed -n 's/.*=> \\(\\/[^ ]*\\).*/\\1/p'); do\n\
           [ -e $library ] || cp -L /workloads/debian$library $library\n\
         done",
    );
    a.run(
        "printf 'first line\\nsecond line\\n' > /data/text; mkfifo /data/keys; touch /data/screen\n\
         (exec 3<>/data/keys; exec setsid script -qfc 'PS1=\"$ \" bash --norc -i' /data/screen <&3 3>&-) >/dev/null 2>&1 &",
    );
    let keys = |text: &str| a.run(&format!("printf '{text}' > /data/keys; sleep 0.5"));
    keys("vi -u NONE -n /data/text\\r");
    a.wait_until("pgrep -x vi");
    a.wait_until("grep -q 'second line' /data/screen");
    keys("inew ");
    // Without the word for it the export says what it is, and the editor does not notice.
    let ran = a.attempt("ckpt export --pid $(pgrep -x vi) -o /data/vi.ckpt 2>&1");
    assert_eq!(ran.code, 6, "{}", ran.stdout);
    assert!(
        ran.stdout.contains("leads no session") && ran.stdout.contains("uses the terminal /dev/pts/"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("--shell-job"), "{}", ran.stdout);
    a.run("ckpt export --pid $(pgrep -x vi) --shell-job -o /data/vi.ckpt; ! pgrep -x vi");
    // Not where there is no terminal.
    let ran = a.attempt("ckpt import /data/vi.ckpt </dev/null 2>&1");
    assert!(
        ran.code == 2 && ran.stdout.contains("standard input is none"),
        "{}",
        ran.stdout
    );
    keys("ckpt import /data/vi.ckpt; echo ended with $?\\r");
    a.wait_until("pgrep -x vi");
    keys("words ");
    keys("\\033");
    keys(":wq\\r");
    a.wait_until("grep -q 'ended with 0' /data/screen");
    assert_eq!(a.run("head -n 1 /data/text"), "new words first line");
    keys("echo back $((40 + 2))\\r");
    a.wait_until("grep -q 'back 42' /data/screen");
    assert_clean(a);
}

#[test]
fn what_cannot_be_dumped_is_told_before_anything_is_frozen() {
    let Some(hosts) = hosts() else { return };
    let a = hosts.host("a");
    // A pipe to a process that stays, a tracer, a session that was begun outside of the host's PID namespace.
    a.run(
        "(setsid sh -c 'echo $$ > /data/piped.pid; exec sleep 600' | exec sleep 601) </dev/null >/dev/null 2>&1 &\n\
         setsid sh -c 'echo $$ > /data/traced.pid; exec sleep 600' </dev/null >/dev/null 2>&1 &\n\
         sh -c 'echo $$ > /data/child.pid; exec sleep 600' </dev/null >/dev/null 2>&1 &",
    );
    a.wait_until("[ -s /data/piped.pid ] && [ -s /data/traced.pid ] && [ -s /data/child.pid ]");
    a.run("strace -o /dev/null -p $(cat /data/traced.pid) </dev/null >/dev/null 2>&1 &");
    a.wait_until("grep -q '^TracerPid:.[1-9]' /proc/$(cat /data/traced.pid)/status");
    let cases = [
        ("piped", "is a pipe that process"),
        ("traced", "is traced by process"),
        ("child", "leads no session"),
    ];
    for (name, says) in cases {
        let ran = a.attempt(&format!(
            "ckpt export --pid $(cat /data/{name}.pid) -o /data/{name}.ckpt 2>&1"
        ));
        assert!(ran.code == 6 && ran.stdout.contains(says), "{name}: {}", ran.stdout);
        assert!(!ran.stdout.contains("dumping"), "{name}: {}", ran.stdout);
        a.run(&format!(
            "grep -q '^State:.S' /proc/$(cat /data/{name}.pid)/status; ! [ -e /data/{name}.ckpt ]"
        ));
    }
    for (words, code) in [
        ("--pid 999999", 5),
        ("--unit no.service", 5),
        ("--runtime process web", 2),
    ] {
        let ran = a.attempt(&format!("ckpt export {words} -o /data/none.ckpt 2>&1"));
        assert_eq!(ran.code, code, "{}", ran.stdout);
    }
}

#[test]
fn a_daemon_of_a_shell_moves_without_a_flag_and_gets_a_session_of_its_own() {
    let Some(hosts) = hosts() else { return };
    let a = hosts.host("a");
    a.run(
        "mkdir /data/app; cat > /data/app/run <<'RUN'\n\
i=0; while :; do i=$((i + 1)); echo $i >> /data/app/count; sleep 0.05; done\n\
RUN\n\
         setsid sh -c 'sh /data/app/run </dev/null >/dev/null 2>&1 & echo $! > /data/app.pid; while sleep 0.1; do :; done' \\\n\
           </dev/null >/dev/null 2>&1 &",
    );
    a.wait_until("[ $(wc -l < /data/app/count) -ge 3 ]");
    let pid = a.run("cat /data/app.pid");
    let session = |pid: &str| a.run(&format!("ps -o sid= -p {pid} | tr -d ' '"));
    let before = session(&pid);
    assert_ne!(before, pid);
    a.run(&format!(
        "ckpt export --pid {pid} -o /data/app.ckpt; ckpt import /data/app.ckpt"
    ));
    assert_counts(a, "app");
    let after = session(&pid);
    assert!(after != before && after != pid, "{after}");
    // Once more, though nobody leads its session now; and in a namespace.
    a.run(&format!(
        "ckpt export --pid {pid} -o /data/app.ckpt; ckpt import /data/app.ckpt --new-pidns --pid-file /run/p"
    ));
    a.run("ckpt export --pid $(cat /run/p) -o /data/app.ckpt; ckpt import /data/app.ckpt");
    assert_counts(a, "app");
    assert_clean(a);
}

#[test]
fn open_files_travel_and_never_replace_others_without_the_word() {
    let Some(hosts) = hosts() else { return };
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    let pid = start_counter(a, "app");
    a.run("echo a line of the log >> /data/app/log; chmod 640 /data/app/log");
    a.run(&format!(
        "ckpt export --pid {pid} -o /data/app.ckpt --files open --files-below /data/app"
    ));
    a.run("scp -q /data/app.ckpt b:/data/");
    assert_eq!(
        b.run("ckpt cat /data/app.ckpt files.tar | tar t | grep -v '/$'"),
        "data/app/log"
    );
    // Another file is there: it stays as it is until it is named.
    b.run("mkdir /data/app; echo other > /data/app/log");
    let ran = b.attempt("ckpt import /data/app.ckpt 2>&1");
    assert_eq!(ran.code, 8, "{}", ran.stdout);
    assert!(ran.stdout.contains("--replace-file /data/app/log"), "{}", ran.stdout);
    assert_eq!(b.run("cat /data/app/log"), "other");
    b.run("ckpt import /data/app.ckpt --replace-file /data/app/log; [ $(ls -A /data/app | wc -l) -le 2 ]");
    assert_eq!(
        b.run("cat /data/app/log; stat -c %a /data/app/log"),
        "a line of the log\n640"
    );
    assert!(runs(b, &pid));
    b.run(&format!("kill -9 {pid}; rm -r /data/app"));
    b.wait_until(&format!("! [ -e /proc/{pid} ]"));
    // Nothing is there: it comes with its directory, and goes again when the restore fails.
    let ran = b.attempt("ckpt import /data/app.ckpt --pid-file /nowhere/pid 2>&1");
    assert_eq!(ran.code, 7, "{}", ran.stdout);
    b.run(&format!("! [ -e /data/app ]; ! [ -e /proc/{pid} ]"));
    assert_clean(b);
    b.run("ckpt import /data/app.ckpt");
    assert!(runs(b, &pid));
    b.run("grep -q 'a line of the log' /data/app/log");
}

/// Puts a process into a cgroup of its own with two limits.
fn limited(host: Host<'_>, pid: &str, cgroup: &str) {
    for (controller, file, limit) in [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("pids", "pids.max", "40"),
    ] {
        let directory = format!("/sys/fs/cgroup/{controller}{cgroup}");
        host.run(&format!(
            "mkdir -p {directory}; echo {limit} > {directory}/{file}; echo {pid} > {directory}/cgroup.procs"
        ));
    }
}

/// The two limits of the cgroups that a process is in, and the cgroup of one of them.
fn limits(host: Host<'_>, pid: &str) -> String {
    host.run(&format!(
        "memory=$(sed -n 's/^[0-9]*:memory://p' /proc/{pid}/cgroup) pids=$(sed -n 's/^[0-9]*:pids://p' /proc/{pid}/cgroup)\n\
         echo $(cat /sys/fs/cgroup/memory$memory/memory.limit_in_bytes) $(cat /sys/fs/cgroup/pids$pids/pids.max) $pids"
    ))
}

#[test]
fn limits_go_with_the_cgroup_of_the_processes_and_never_to_that_of_others() {
    let Some(hosts) = hosts() else { return };
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    let pid = start_counter(a, "app");
    limited(a, &pid, "/services/app.service");
    // In a cgroup that holds its next child, too: that one is forked into it from now on.
    a.run("sleep 0.3");
    a.run(&format!(
        "ckpt export --pid {pid} -o /data/app.ckpt --files open --files-below /data/app; scp -q /data/app.ckpt b:/data/"
    ));
    let pids = a.run(
        "ckpt cat /data/app.ckpt cgroup.json | jq -r '.hierarchies[] | select(.controllers == [\"pids\"]) | .path'",
    );
    assert_eq!(pids, "services/app.service");

    // Where it is missing it is made with its limits, and a failed import takes it away again.
    let ran = b.attempt("ckpt import /data/app.ckpt --pid-file /nowhere/pid 2>&1");
    assert_eq!(ran.code, 7, "{}", ran.stdout);
    b.run("! [ -e /sys/fs/cgroup/memory/services ]; ! [ -e /sys/fs/cgroup/pids/services ]");
    b.run("ckpt import /data/app.ckpt --dry-run | grep 'memory.limit_in_bytes = 67108864'; ckpt import /data/app.ckpt");
    assert_eq!(limits(b, &pid), "67108864 40 /services/app.service");
    // It is there now: it is not changed, and that is said.
    b.run("echo 33 > /sys/fs/cgroup/pids/services/app.service/pids.max");
    b.run(&format!("ckpt export --pid {pid} -o /data/again.ckpt"));
    let ran = b.attempt("ckpt import /data/app.ckpt 2>&1");
    assert!(
        ran.code == 0 && ran.stdout.contains("/services/app.service is there"),
        "{}",
        ran.stdout
    );
    assert_eq!(limits(b, &pid), "67108864 33 /services/app.service");

    // Under another parent it is another cgroup, with the recorded limits.
    b.run(&format!("kill -9 {pid}"));
    b.wait_until(&format!("! [ -e /proc/{pid} ]"));
    b.run("ckpt import /data/app.ckpt --cgroup-parent /other --name app2");
    assert_eq!(limits(b, &pid), "67108864 40 /other/app2");
    let ran = b.attempt("ckpt import /data/again.ckpt --new-pidns --cgroup-parent /other --name app2 2>&1");
    assert!(ran.code != 0 && ran.stdout.contains("/other/app2"), "{}", ran.stdout);
    b.run("ckpt import /data/again.ckpt --new-pidns --cgroup-parent other --name app3 --ignore-cgroup-limits --pid-file /run/p");
    assert!(limits(b, "$(cat /run/p)").ends_with(" max /other/app3"));
    // The cgroup of a process that shares it is nobody's to take along.
    let pid = start_counter(a, "plain");
    a.run(&format!(
        "ckpt export --pid {pid} -o /data/plain.ckpt; ! ckpt cat /data/plain.ckpt cgroup.json"
    ));
}

#[test]
fn whatever_fails_the_processes_run_on() {
    let Some(hosts) = hosts() else { return };
    let a = hosts.host("a");
    let pid = start_counter(a, "app");
    a.run("echo an older archive > /data/app.ckpt; mkdir /data/small; mount -t tmpfs -o size=64k tmpfs /data/small");
    // The place of the archive is full; ckpt is killed at the commit point; its reader goes away.
    let full = a.attempt(&format!("ckpt export --pid {pid} -o /data/small/app.ckpt 2>&1"));
    assert_eq!(full.code, 6, "{}", full.stdout);
    assert_counts(a, "app");
    a.run(&format!(
        "mkfifo /data/ready; ckpt export --pid {pid} -o /data/app.ckpt --status-fd 9 9>/data/ready & ckpt=$!\n\
         head -c 1 /data/ready > /dev/null; kill -9 $ckpt; wait $ckpt || :"
    ));
    a.wait_until("! pgrep -x criu");
    assert_counts(a, "app");
    let ran = a.attempt(&format!("set -o pipefail 2>/dev/null; (ckpt export --pid {pid} -o - -c none; echo $? > /data/code) | head -c 100 > /dev/null"));
    assert_eq!(a.run("cat /data/code"), "6", "{}", ran.stderr);
    assert_counts(a, "app");
    assert_eq!(a.run("cat /data/app.ckpt"), "an older archive");
    assert!(runs(a, &pid));
    a.run(&format!("ckpt export --pid {pid} -o /data/app.ckpt"));
    assert!(!runs(a, &pid));
    a.run("ckpt import /data/app.ckpt");
    assert_counts(a, "app");
}

#[test]
fn memory_streams_without_pages_on_disk_and_the_archive_is_criu_s() {
    let Some(hosts) = hosts() else { return };
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    let pid = start_counter(a, "app");
    b.run("mkdir /data/app; touch /data/app/log");
    a.run(&format!(
        "(while [ ! -e /data/done ]; do find /var/lib/ckpt /run/ckpt -name 'pages-*' 2>/dev/null; done) > /data/seen &\n\
         ckpt export --pid {pid} -o - | tee /data/app.ckpt | ssh b ckpt import -\n\
         touch /data/done; wait"
    ));
    assert_eq!(a.run("cat /data/seen"), "", "no pages on the source's disk");
    assert!(runs(b, &pid) && !runs(a, &pid));
    b.wait_until("[ $(wc -l < /data/app/count) -gt 3 ]");
    // CRIU alone restores what is in the archive.
    a.run("ckpt verify /data/app.ckpt; mkdir /data/x; ckpt extract /data/app.ckpt -C /data/x; cd /data/x; sha256sum -c --quiet SHA256SUMS");
    a.run("criu restore -d -D /data/x/checkpoint -o restore.log </dev/null >/dev/null 2>&1");
    assert!(runs(a, &pid));
    assert_counts(a, "app");
}

#[test]
fn memory_follows_in_a_namespace_that_ends_with_it() {
    let Some(hosts) = hosts() else { return };
    let a = hosts.host("a");
    let pid = start_counter(a, "app");
    a.run(&format!("ckpt export --pid {pid} -o /data/app.ckpt"));
    // sh and its sleep: nothing would end both.
    let ran = a.attempt("ckpt import /data/app.ckpt --lazy 2>&1");
    assert!(
        ran.code == 2 && ran.stdout.contains("--new-pidns makes a PID namespace"),
        "{}",
        ran.stdout
    );
    a.run("ckpt import /data/app.ckpt --lazy --new-pidns --pid-file /run/app.pid");
    assert_counts(a, "app");
    a.run("kill -9 $(cat /run/app.pid)");
    a.wait_until("! pgrep -f 'ckpt criu-rpc'");
    assert_clean(a);
}

#[test]
fn criu_4_1_does_the_same() {
    if !possible() {
        return;
    }
    let hosts = Hosts::with(Cgroup::V1, Tree::Criu41, &["a"]);
    let a = hosts.host("a");
    a.run("ckpt check --json | jq -e '[.[] | select(.level == \"error\")] == []'");
    let pid = start_counter(a, "app");
    a.run(&format!(
        "ckpt export --pid {pid} -o /data/app.ckpt; ckpt check /data/app.ckpt"
    ));
    a.run("ckpt import /data/app.ckpt");
    assert_counts(a, "app");
    a.run(&format!("kill -9 {pid}"));
    a.run("ckpt import /data/app.ckpt --new-pidns --pid-file /run/app.pid");
    a.run("ckpt export --pid $(cat /run/app.pid) -o /data/again.ckpt");
    a.wait_until("! pgrep -f 'ckpt criu-rpc'");
}

#[test]
fn the_check_says_what_criu_says() {
    let Some(hosts) = hosts() else { return };
    let a = hosts.host("a");
    let text = a.run("ckpt check");
    for line in [
        "criu check",
        "processor",
        "network lock",
        "mem_dirty_track",
        "lazy_pages",
        "pidfd_store",
        "timens",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let features = a.run("ckpt check --json | jq '[.[] | select(.subject == \"feature\")] | length'");
    assert_eq!(features, "12");
    let lacking = a.run("ckpt check --json | jq -r '.[] | select(.level != \"ok\") | .advice // \"none\"'");
    assert!(!lacking.lines().any(|advice| advice == "none"), "{lacking}");
}
