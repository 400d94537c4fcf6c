//! Whatever happens while memory streams into the archive, the container runs on or the error says what became of it, an
//! older archive stays as it was, and nothing is left behind.

use std::time::{Duration, Instant};

use crate::container::{assert_counts, start, status};
use crate::support::{Cgroup, Host, Hosts, Ran, Tree, possible};

const OLD: &str = "an older archive";
/// How long ckpt may take at most, with a pipe's slow reader or with memory of any size: KiB.
const MEMORY_KIB: u64 = 96 << 10;

const PYTHON: &str = "--base debian --rootfs overlay";
const BASE: &str = "--root /workloads/debian";

/// Starts `c1`, processes that hold `arguments` (see `steady.py`), and puts an older file where its archive will be.
fn steady(host: Host<'_>, runtime: &str, arguments: &str) {
    let command = format!("python3 /opt/workloads/steady.py /count {arguments}");
    start(host, runtime, "c1", PYTHON, &command);
    host.wait_until("[ $(wc -l < /data/c1/rootfs/count) -ge 3 ]");
    host.run(&format!("echo '{OLD}' > /data/c1.tar.zst"));
}

/// Asserts that the container is as if nothing had happened: it counts, and its memory is what it was.
fn assert_runs(host: Host<'_>, runtime: &str, bundle: &str, name: &str) {
    assert_eq!(status(host, runtime, name), "running", "{name} must run on");
    host.run(&format!("! grep -h FAIL {bundle}/rootfs/count*"));
    assert_counts(host, &format!("{bundle}/rootfs/count"));
}

/// Asserts that nothing is left of an export: no directory, temporary file, listening socket, process, lock.
fn assert_nothing_left(host: Host<'_>) {
    let left = host.run(
        "ls -A /var/tmp; ls -A /var/lib/ckpt/work /run/ckpt 2>/dev/null | grep -e session -e work- || :\n\
         ls -A /data | grep -v -e '^c1$' -e '^c1.tar.zst$' -e '^full$' -e '^said$' || :\n\
         awk '$4 == \"0A\" && $2 ~ /^0100007F/' /proc/net/tcp; pgrep -x criu || :; pgrep -x ckpt || :",
    );
    assert_eq!(left, "", "left behind");
}

fn assert_old(host: Host<'_>) {
    assert_eq!(host.run("cat /data/c1.tar.zst"), OLD);
}

/// Asserts that a failed export says so: its exit code, and what became of the container.
fn assert_said(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "{word:?} is missing in: {}", ran.stderr);
    }
}

/// Exports, and kills the newest process `program` so many milliseconds after CRIU has begun. The last lines of what ckpt
/// says tell how the container was when it ended.
fn killed(host: Host<'_>, program: &str, delay: Duration) -> Ran {
    host.attempt(&format!(
        "ckpt export c1 -o /data/c1.tar.zst --leave-running & ckpt=$!\n\
         until ls /run/ckpt/.ckpt-work-*/dump.log > /dev/null 2>&1 || ! kill -0 $ckpt; do sleep 0.002; done\n\
         sleep {}; pkill -KILL -n -x {program}; wait $ckpt",
        delay.as_secs_f64()
    ))
}

/// Asserts that no trace of CRIU's is in the container: the freezer, the rules that lock its network, a process.
fn assert_let_go(host: Host<'_>, runtime: &str) {
    assert_eq!(
        host.run(&format!(
            "nsenter -n -t $({runtime} state c1 | jq .pid) sh -c 'nft list ruleset' | grep -c CRIU || :; pgrep -x criu || :"
        )),
        "0",
        "CRIU left something"
    );
}

/// Kills `program` at moments all over an export. CRIU runs code of its own in tasks: some moments are the end of a task,
/// which ckpt must tell.
fn program_killed(cgroup: Cgroup, runtime: &str, program: &str, moments: u32) {
    let Some(hosts) = Hosts::try_with(cgroup, Tree::Criu42, &["a"]) else {
        return;
    };
    let a = hosts.host("a");
    steady(a, runtime, "200 2");
    let began = Instant::now();
    a.run("ckpt export c1 -o /data/c1.tar.zst --leave-running");
    let (mut all, mut failed, mut broken) = (began.elapsed(), 0, 0);
    a.run(&format!("echo '{OLD}' > /data/c1.tar.zst"));
    for moment in 0..moments {
        let delay = all * moment / moments;
        let began = Instant::now();
        let ran = killed(a, program, delay);
        if ran.code == 0 {
            // Killed too late: an export takes less than was thought.
            all = all.min(began.elapsed());
            a.run(&format!(
                "ckpt verify /data/c1.tar.zst; echo '{OLD}' > /data/c1.tar.zst"
            ));
            continue;
        }
        failed += 1;
        assert_said(&ran, &["cause:", "/data/c1.tar.zst was not written"]);
        assert_old(a);
        if ran.stderr.contains("state: c1 runs on; ") {
            assert_let_go(a, runtime);
            assert_runs(a, runtime, "/data/c1", "c1");
            a.run("[ $(cat /data/c1/rootfs/count.1 | wc -l) -gt 0 ]");
            continue;
        }
        broken += 1;
        assert_eq!(program, "criu", "only CRIU's own death breaks a task: {}", ran.stderr);
        assert!(
            ran.stderr.contains("c1 is stopped; ") || ran.stderr.contains("is as it was: "),
            "after {delay:?}: {}",
            ran.stderr
        );
        a.run(&format!(
            "{runtime} delete -f c1; umount /data/c1/rootfs; rm -r /data/c1"
        ));
        steady(a, runtime, "200 2");
    }
    eprintln!("{failed} of {moments} exports failed, {broken} tasks broke");
    assert!(
        failed >= moments / 2,
        "killed too late: {failed} of {moments}, in {all:?}"
    );
    a.run("ckpt export c1 -o /data/c1.tar.zst");
    assert_nothing_left(a);
    a.run(&format!(
        "umount /data/c1/rootfs; mv /data/c1 /data/old; ckpt import /data/c1.tar.zst --name c1 --bundle /data/c1 {BASE}"
    ));
    assert_runs(a, runtime, "/data/c1", "c1");
}

#[test]
fn criu_killed_under_runc() {
    program_killed(Cgroup::V1, "runc", "criu", 20);
}

#[test]
fn criu_killed_under_crun() {
    program_killed(Cgroup::V2, "crun", "criu", 20);
}

#[test]
fn runc_killed() {
    program_killed(Cgroup::V1, "runc", "runc", 8);
}

#[test]
fn crun_killed() {
    program_killed(Cgroup::V2, "crun", "crun", 8);
}

#[test]
fn disk_full_in_the_middle_of_the_pages() {
    let Some(hosts) = Hosts::try_with(Cgroup::V1, Tree::Criu42, &["a"]) else {
        return;
    };
    let a = hosts.host("a");
    steady(a, "runc", "120 1 0.05 noise");
    a.run(&format!(
        "mkdir /data/full; mount -t tmpfs -o size=40m none /data/full; echo '{OLD}' > /data/full/c1.tar.zst"
    ));
    for flags in ["", "--leave-running", "--compress none"] {
        let ran = a.attempt(&format!("ckpt export c1 -o /data/full/c1.tar.zst {flags}"));
        assert_said(&ran, &["c1 runs on", "No space left", "/data/full/c1.tar.zst"]);
        assert_eq!(
            a.run("cat /data/full/*; ls -A /data/full"),
            format!("{OLD}\nc1.tar.zst")
        );
        assert_let_go(a, "runc");
        assert_runs(a, "runc", "/data/c1", "c1");
    }
    assert_old(a);
    assert_nothing_left(a);
}

/// Reads as much as it is given, with a rest now and then; the bytes go to a file.
const SLOW: &str = "import sys, time\n\
    time.sleep(1)\n\
    while block := sys.stdin.buffer.read(1 << 20):\n\
    \x20   sys.stdout.buffer.write(block)\n\
    \x20   time.sleep(0.02)\n";

#[test]
fn a_slow_reader_of_a_pipe_costs_no_memory() {
    let Some(hosts) = Hosts::try_with(Cgroup::V1, Tree::Criu42, &["a"]) else {
        return;
    };
    let a = hosts.host("a");
    steady(a, "runc", "320 2");
    std::fs::write(a.outside("/data/slow.py"), SLOW).expect("a script");
    let peak = a.run(
        "mkfifo /data/pipe; python3 /data/slow.py < /data/pipe > /data/c1.tar.zst & reader=$!\n\
         ckpt -q export c1 -o - > /data/pipe & ckpt=$!\n\
         while kill -0 $ckpt 2>/dev/null; do peak=$(sed -n 's/VmHWM:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$ckpt/status || :); echo ${peak:-0} >> /data/peaks; sleep 0.02; done\n\
         wait $ckpt; wait $reader; sort -n /data/peaks | tail -n 1; rm /data/pipe /data/peaks /data/slow.py",
    );
    let peak: u64 = peak.parse().expect("a number");
    assert!(peak > 0 && peak < MEMORY_KIB, "{peak} KiB");
    assert_eq!(status(a, "runc", "c1"), "");
    assert_nothing_left(a);
    a.run(&format!(
        "ckpt verify /data/c1.tar.zst; ckpt import /data/c1.tar.zst --name c2 --bundle /data/c2 {BASE}"
    ));
    assert_runs(a, "runc", "/data/c2", "c2");
}

#[test]
fn a_reader_that_goes_away_in_the_middle_of_the_pages() {
    let Some(hosts) = Hosts::try_with(Cgroup::V1, Tree::Criu42, &["a"]) else {
        return;
    };
    let a = hosts.host("a");
    steady(a, "runc", "200 1 0.05 noise");
    for bytes in ["1000000", "90000000"] {
        let ran = a.attempt(&format!(
            "(ckpt export c1 -o -; echo code=$? >&2) | (sleep 1; head -c {bytes}) > /dev/null"
        ));
        for word in ["code=6", "c1 runs on", "Broken pipe"] {
            assert!(ran.stderr.contains(word), "{word:?} is missing in: {}", ran.stderr);
        }
        assert_let_go(a, "runc");
        assert_runs(a, "runc", "/data/c1", "c1");
    }
    assert_old(a);
    assert_nothing_left(a);
}

#[test]
fn processes_that_fork_and_map_while_the_dump_begins() {
    let Some(hosts) = Hosts::try_with(Cgroup::V1, Tree::Criu42, &["a"]) else {
        return;
    };
    let a = hosts.host("a");
    start(a, "runc", "c1", PYTHON, "python3 /opt/workloads/churn.py /count");
    a.wait_until("[ $(wc -l < /data/c1/rootfs/count) -ge 3 ]");
    for round in 0..5 {
        a.run(&format!(
            "ckpt export c1 -o /data/{round}.tar.zst --leave-running; ckpt verify /data/{round}.tar.zst"
        ));
    }
    assert_runs(a, "runc", "/data/c1", "c1");
    a.run(&format!(
        "runc delete -f c1; ckpt import /data/4.tar.zst --name c2 --bundle /data/c2 {BASE}"
    ));
    assert_runs(a, "runc", "/data/c2", "c2");
    assert_eq!(
        a.run("pgrep -f churn.py | wc -l")
            .parse::<u32>()
            .expect("a number")
            .min(3),
        3
    );
}

#[test]
fn two_hundred_processes() {
    let Some(hosts) = Hosts::try_with(Cgroup::V1, Tree::Criu42, &["a", "b"]) else {
        return;
    };
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    steady(a, "runc", "50 200 0.5");
    a.wait_until("[ $(ls /data/c1/rootfs/count.* | grep -vc gap) = 199 ]");
    a.run("ckpt export c1 -o /data/c1.tar.zst; scp -q /data/c1.tar.zst b:/data/");
    assert_nothing_left(a);
    b.run(&format!(
        "ckpt import /data/c1.tar.zst --name c2 --bundle /data/c2 {BASE}"
    ));
    let counts = "cd /data/c2/rootfs; for file in count $(ls count.* | grep -v gap)";
    let before = b.run(&format!("{counts}; do tail -n 1 $file; done"));
    assert_eq!(before.lines().count(), 200);
    assert_runs(b, "runc", "/data/c2", "c2");
    b.run(&format!(
        "sleep 1; {counts}; do awk '$1 != NR {{ print FILENAME, NR, $0; exit 1 }}' $file; done"
    ));
    let after = b.run(&format!("{counts}; do tail -n 1 $file; done"));
    let number = |line: &str| line.parse::<u32>().expect("a number");
    let stuck = before
        .lines()
        .zip(after.lines())
        .filter(|(one, two)| number(two) <= number(one));
    assert_eq!(stuck.count(), 0, "some do not run");
}

fn shared_memory_moves(tree: Tree, cgroup: Cgroup, runtime: &str) {
    let Some(hosts) = Hosts::try_with(cgroup, tree, &["a", "b"]) else {
        return;
    };
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    start(a, runtime, "c1", PYTHON, "python3 /opt/workloads/shared.py /count");
    a.wait_until("[ $(wc -l < /data/c1/rootfs/count) -ge 3 ]");
    a.run("ckpt export c1 -o /data/c1.tar.zst --leave-running");
    assert_runs(a, runtime, "/data/c1", "c1");
    a.run("ckpt export c1 -o /data/c1.tar.zst; scp -q /data/c1.tar.zst b:/data/");
    assert_nothing_left(a);
    b.run(&format!(
        "ckpt import /data/c1.tar.zst --name c2 --bundle /data/c2 {BASE}"
    ));
    b.run("sleep 0.5");
    assert_runs(b, runtime, "/data/c2", "c2");
}

#[test]
fn shared_memory_under_runc() {
    shared_memory_moves(Tree::Criu42, Cgroup::V1, "runc");
}

#[test]
fn shared_memory_under_crun() {
    shared_memory_moves(Tree::Criu42, Cgroup::V2, "crun");
}

#[test]
fn shared_memory_with_criu_4_1_under_runc() {
    shared_memory_moves(Tree::Criu41, Cgroup::V1, "runc");
}

#[test]
fn shared_memory_with_criu_4_1_under_crun() {
    shared_memory_moves(Tree::Criu41, Cgroup::V2, "crun");
}

/// Reads an archive that is not compressed until what comes after memory and files, and says then, twice, how far the
/// container is; then reads on.
const HALTING: &str = "import sys, time\n\
    last, said = b'', []\n\
    while block := sys.stdin.buffer.read1(1 << 16):\n\
    \x20   if not said and b'stats-dump' in last + block:\n\
    \x20       for _ in range(2):\n\
    \x20           time.sleep(1)\n\
    \x20           said.append(open('/data/c1/rootfs/count').read().split()[-1])\n\
    \x20   last = block[-16:]\n\
    print(*said)\n";

#[test]
fn a_container_that_is_left_running_does_not_wait_for_its_archive() {
    let Some(hosts) = Hosts::try_with(Cgroup::V1, Tree::Criu42, &["a"]) else {
        return;
    };
    let a = hosts.host("a");
    steady(a, "runc", "64 1");
    std::fs::write(a.outside("/data/halting.py"), HALTING).expect("a script");
    let said =
        a.run("ckpt -q export c1 -o - --leave-running --compress none | python3 /data/halting.py; rm /data/halting.py");
    let numbers: Vec<u32> = said.split(' ').map(|word| word.parse().expect("a number")).collect();
    assert!(
        numbers[1] > numbers[0],
        "it stood still while its archive was not finished: {said}"
    );
    assert_runs(a, "runc", "/data/c1", "c1");
    let began = Instant::now();
    a.run("ckpt export c1 -o /data/c1.tar.zst --leave-running");
    let took = began.elapsed();
    let gap = Duration::from_millis(a.run("cat /data/c1/rootfs/count.gap").parse().expect("a number"));
    assert!(
        gap < took + Duration::from_secs(2),
        "stood still for {gap:?} of {took:?}"
    );
    assert_nothing_left(a);
}

/// Level 19 takes some twenty times as long as the levels that `auto` chooses from when CRIU would have to wait: the container
/// stands still for what compression takes only where the user asks for it.
#[test]
fn the_level_gives_way_before_the_container_waits() {
    let Some(hosts) = Hosts::try_with(Cgroup::V1, Tree::Criu42, &["a"]) else {
        return;
    };
    let a = hosts.host("a");
    let command = "python3 /opt/workloads/memhog.py 48 /ready";
    start(a, "runc", "c1", PYTHON, command);
    a.wait_until("[ -e /data/c1/rootfs/ready ]");
    let frozen = |level: &str| {
        let archive = format!("/data/{level}.ckpt");
        let seconds = a.run(&format!(
            "ckpt export c1 -o {archive} --leave-running --level {level} --json 2>/dev/null | jq .frozen_seconds"
        ));
        a.run(&format!("ckpt verify {archive}"));
        let size: u64 = a.run(&format!("stat -c %s {archive}")).parse().expect("a size");
        (seconds.parse::<f64>().expect("seconds"), size)
    };
    let ((slow, small), (fast, large)) = (frozen("19"), frozen("auto"));
    assert!(fast * 3.0 < slow, "{fast} s with auto, {slow} s with 19");
    assert!(small < large, "{small} bytes with 19, {large} with auto");
}

#[test]
fn disk_full_after_the_container_was_let_go() {
    let Some(hosts) = Hosts::try_with(Cgroup::V1, Tree::Criu42, &["a"]) else {
        return;
    };
    let a = hosts.host("a");
    steady(a, "runc", "16 1 0.05 noise");
    // The last thing in an archive that is large enough is CRIU's log: there is no room for its end.
    a.run(
        "ckpt export c1 -o /data/full --leave-running --compress none; bytes=$(stat -c %s /data/full); rm /data/full\n\
         mkdir /data/full; mount -t tmpfs -o size=$((bytes / 4096 * 4096 - 65536)) none /data/full",
    );
    let ran = a.attempt("ckpt export c1 -o /data/full/c1.tar.zst --leave-running --compress none");
    assert_said(
        &ran,
        &["c1 runs on", "No space left", "/data/full/c1.tar.zst was not written"],
    );
    let log = ran.stderr.lines().find_map(|line| line.trim().strip_prefix("log:"));
    a.run(&format!(
        "grep -q 'Dumping finished successfully' {}",
        log.expect("a log")
    ));
    assert_eq!(a.run("ls -A /data/full"), "");
    assert_let_go(a, "runc");
    assert_runs(a, "runc", "/data/c1", "c1");
    assert_old(a);
    assert_nothing_left(a);
}

#[test]
fn there_is_no_port_at_which_a_stranger_could_knock() {
    let Some(hosts) = Hosts::try_with(Cgroup::V1, Tree::Criu42, &["a"]) else {
        return;
    };
    let a = hosts.host("a");
    steady(a, "runc", "64 2");
    a.run(
        "python3 /opt/workloads/stranger.py /data/said & stranger=$!\n\
         until grep -q ready /data/said; do sleep 0.05; done\n\
         ckpt export c1 -o /data/c1.tar.zst; ckpt verify /data/c1.tar.zst; kill $stranger",
    );
    let said = a.run("cat /data/said");
    assert_eq!(said.trim(), "ready", "something listened");
    assert_nothing_left(a);
    a.run(&format!(
        "ckpt import /data/c1.tar.zst --name c2 --bundle /data/c2 {BASE}"
    ));
    assert_runs(a, "runc", "/data/c2", "c2");
}

#[test]
fn files_are_of_the_same_moment_as_memory() {
    let Some(hosts) = Hosts::try_with(Cgroup::V1, Tree::Criu42, &["a"]) else {
        return;
    };
    let a = hosts.host("a");
    start(a, "runc", "c0", PYTHON, "python3 /opt/workloads/twice.py /file /count");
    a.wait_until("[ $(wc -l < /data/c0/rootfs/count) -ge 3 ]");
    for round in 0..4 {
        let (old, new) = (format!("c{round}"), format!("c{}", round + 1));
        a.run(&format!(
            "ckpt export {old} -o /data/x.tar.zst; ckpt import /data/x.tar.zst --name {new} --bundle /data/{new} {BASE}"
        ));
        assert_runs(a, "runc", &format!("/data/{new}"), &new);
    }
}

#[test]
fn files_are_taken_while_memory_streams() {
    let Some(hosts) = Hosts::try_with(Cgroup::V1, Tree::Criu42, &["a"]) else {
        return;
    };
    let a = hosts.host("a");
    steady(a, "runc", "320 1");
    // More than is kept of files while memory is on its way: whoever takes them waits with the file open.
    a.run(
        "dd if=/dev/urandom of=/data/c1/rootfs/large bs=1M count=150 2>/dev/null; mkfifo /data/pipe\n\
         (sleep 4; cat) < /data/pipe > /data/c1.tar.zst & reader=$!\n\
         ckpt -q export c1 -o - > /data/pipe & ckpt=$!\n\
         until ls -l /proc/$ckpt/fd | grep -q /large; do kill -0 $ckpt; sleep 0.02; done\n\
         ps -C criu -o args= | grep -q dump\n\
         wait $ckpt; wait $reader; rm /data/pipe /data/c1/rootfs/large",
    );
    a.run(&format!(
        "ckpt import /data/c1.tar.zst --name c2 --bundle /data/c2 {BASE}; [ $(stat -c %s /data/c2/rootfs/large) = 157286400 ]"
    ));
    assert_runs(a, "runc", "/data/c2", "c2");
}

#[test]
fn link_remapped_files_stream_too() {
    let Some(hosts) = Hosts::try_with(Cgroup::V1, Tree::Criu42, &["a", "b"]) else {
        return;
    };
    let (a, b) = (hosts.host("a"), hosts.host("b"));
    let open = "echo held > /first; exec 3< /first; ln /first /second; rm /first; until false; do sleep 0.2; done";
    let command = format!("sh -c '{open} & exec sh /opt/workloads/counter.sh /count'");
    start(a, "runc", "c1", "", &command);
    a.wait_until("[ -e /data/c1/rootfs/second ] && [ $(wc -l < /data/c1/rootfs/count) -ge 3 ]");
    a.run("ckpt export c1 -o - --link-remap | ssh b ckpt import - --name c2 --bundle /data/c2 --link-remap");
    assert_runs(b, "runc", "/data/c2", "c2");
    b.run("cat /proc/$(pgrep -f 'until false' | head -n 1)/fd/3 | grep -q held");
}

/// Counts, and holds huge pages whose checksum it verifies; a line `FAIL` where it is not what it was.
const HUGE: &str = "import mmap, random, sys, time, zlib\n\
    kind = mmap.MAP_SHARED if sys.argv[2] == 'shared' else mmap.MAP_PRIVATE\n\
    huge = mmap.mmap(-1, 8 << 20, flags=mmap.MAP_ANONYMOUS | 0x40000 | kind)\n\
    huge[:] = random.Random(1).randbytes(8 << 20)\n\
    expected = zlib.crc32(huge)\n\
    with open(sys.argv[1], 'a', buffering=1) as file:\n\
    \x20   for number in range(1, 20000):\n\
    \x20       print(number if zlib.crc32(huge) == expected else 'FAIL', file=file)\n\
    \x20       time.sleep(0.05)\n";

/// Huge pages that the machine sets aside for a test, and no longer: the number is the whole machine's.
struct HugePages(String);

impl HugePages {
    const FILE: &str = "/proc/sys/vm/nr_hugepages";

    /// So many; `None` where the kernel has none.
    fn set_aside(count: u32) -> Option<Self> {
        let pages = Self(std::fs::read_to_string(Self::FILE).ok()?);
        std::fs::write(Self::FILE, count.to_string()).ok()?;
        let got: u32 = std::fs::read_to_string(Self::FILE).ok()?.trim().parse().ok()?;
        (got >= count).then_some(pages)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::FILE, &self.0);
    }
}

#[test]
fn huge_pages_move() {
    if !possible() {
        return;
    }
    let Some(_pages) = HugePages::set_aside(32) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "this machine has no huge pages to set aside, and CI must not skip them"
        );
        eprintln!("SKIPPED: this machine has no huge pages to set aside");
        return;
    };
    let hosts = Hosts::with(Cgroup::V1, Tree::Criu42, &["a"]);
    let a = hosts.host("a");
    std::fs::write(a.outside("/data/huge.py"), HUGE).expect("a script");
    for kind in ["private", "shared"] {
        let options = format!("{PYTHON} --bind /data:/data");
        start(
            a,
            "runc",
            kind,
            &options,
            &format!("python3 /data/huge.py /count {kind}"),
        );
        a.wait_until(&format!("[ $(wc -l < /data/{kind}/rootfs/count) -ge 3 ]"));
        let new = format!("{kind}-2");
        a.run(&format!(
            "ckpt export {kind} -o /data/x.tar.zst\n\
             ckpt import /data/x.tar.zst --name {new} --bundle /data/{new} {BASE} --map-mount /data=/data"
        ));
        assert_runs(a, "runc", &format!("/data/{new}"), &new);
        a.run(&format!(
            "grep -q '^HugetlbPages:.* 8192 kB' /proc/$(runc state {new} | jq .pid)/status; runc delete -f {new}"
        ));
    }
}
