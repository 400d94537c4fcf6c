//! Cgroups of this machine: recorded, made again elsewhere, read back. Needs root, and controllers of the version under test.
//!
//! Each test works below a cgroup of its own and takes it away again, its tasks first.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that cannot run says so"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use ckpt::cgroup::{
    ApplyPlan, Cause, CgroupRecord, Expect, GroupPath, HierarchyVersion, HostHierarchy, Place, Snapshot, Step, Subject,
    TargetCgroups, Write, apply, below, create_parent, hierarchies, plan_apply, record, remove_empty,
};
use ckpt::mounts::MountTable;

/// The controllers that the tests limit.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "memory", "blkio", "pids"];

/// The hierarchies of this machine, where the tests can run.
fn host() -> Option<(MountTable, Vec<HostHierarchy>)> {
    let mounts = MountTable::of_self().unwrap();
    let found = hierarchies(&mounts).unwrap();
    let v1 = |controller: &str| {
        let has = |host: &&HostHierarchy| host.has(controller) && host.version == HierarchyVersion::V1;
        found.iter().any(|host| has(&host))
    };
    let able = rustix::process::geteuid().is_root() && CONTROLLERS.iter().all(|controller| v1(controller));
    if !able {
        let reason = "needs root and cgroup version 1 with cpu, cpuset, memory, blkio and pids";
        assert!(std::env::var_os("CI").is_none(), "cannot run in CI: {reason}");
        eprintln!("SKIPPED: {reason}");
        return None;
    }
    Some((mounts, found))
}

/// A cgroup in every hierarchy for one test, with the tasks that were started for it.
struct Area {
    hosts: Vec<HostHierarchy>,
    name: String,
    tasks: Vec<Child>,
}

impl Area {
    fn new(hosts: Vec<HostHierarchy>, test: &str) -> Self {
        let name = format!("ckpt-cgroups-{test}-{}", std::process::id());
        Self {
            hosts,
            name,
            tasks: Vec::new(),
        }
    }

    fn path(&self, below: &str) -> GroupPath {
        let name = GroupPath::new(self.name.clone()).unwrap();
        if below.is_empty() {
            name
        } else {
            GroupPath::new(format!("{name}/{below}")).unwrap()
        }
    }

    /// Makes a cgroup in every hierarchy.
    fn make(&self, below: &str) {
        create_parent(&self.hosts, &self.path(below)).unwrap().keep();
    }

    fn directory(&self, controller: &str, below: &str) -> PathBuf {
        let host = self.hosts.iter().find(|host| host.has(controller)).unwrap();
        host.mount_point.join(self.path(below).as_str())
    }

    fn set(&self, controller: &str, below: &str, file: &str, value: &str) {
        std::fs::write(self.directory(controller, below).join(file), value).unwrap();
    }

    fn get(&self, controller: &str, below: &str, file: &str) -> String {
        std::fs::read_to_string(self.directory(controller, below).join(file))
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Starts a task and moves it, into the given cgroup in each hierarchy that has it.
    fn start(&mut self, below: &str) -> i32 {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        self.tasks.push(child);
        self.enter(pid, below);
        pid
    }

    fn enter(&self, pid: i32, below: &str) {
        for host in &self.hosts {
            let directory = host.mount_point.join(self.path(below).as_str());
            if directory.exists() {
                std::fs::write(directory.join("cgroup.procs"), pid.to_string()).unwrap();
            }
        }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        for task in &mut self.tasks {
            let _ = task.kill();
            let _ = task.wait();
        }
        for host in &self.hosts {
            let left = remove_empty(&host.mount_point.join(&self.name));
            if !std::thread::panicking() {
                assert_eq!(left.unwrap(), Vec::<PathBuf>::new(), "cgroups stay behind");
            }
        }
    }
}

/// The first child of a process, waited for.
fn child_of(pid: i32) -> i32 {
    let children = format!("/proc/{pid}/task/{pid}/children");
    for _ in 0..2000 {
        if let Some(child) = std::fs::read_to_string(&children).unwrap().split_whitespace().next() {
            return child.parse().unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("process {pid} has no child after ten seconds")
}

/// A disk of this machine, as the kernel numbers it.
fn disk() -> Option<String> {
    let entries = std::fs::read_dir("/sys/block").ok()?;
    let disk = entries
        .filter_map(Result::ok)
        .find(|entry| entry.path().join("device").exists())?;
    Some(std::fs::read_to_string(disk.path().join("dev")).ok()?.trim().to_owned())
}

fn recorded(mounts: &MountTable, pid: i32) -> CgroupRecord {
    record(&Subject {
        pid,
        mounts,
        directories: BTreeMap::new(),
    })
    .unwrap()
}

/// The limits of a record: per controllers, path and file.
fn limits(record: &CgroupRecord) -> BTreeMap<(String, String, String), String> {
    let mut all = BTreeMap::new();
    for hierarchy in &record.hierarchies {
        for group in &hierarchy.groups {
            let key = |file: &str| (hierarchy.controllers.join(","), group.path.to_string(), file.to_owned());
            all.extend(group.limits.iter().map(|(file, value)| (key(file), value.clone())));
            all.extend(
                group
                    .device_limits
                    .iter()
                    .map(|(file, limits)| (key(file), format!("{limits:?}"))),
            );
        }
    }
    all
}

/// Limits a cgroup `src` with one below it, each with a task; returns the task in `src`.
fn limited(area: &mut Area) -> i32 {
    area.make("src");
    for (controller, file, value) in [
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("memory", "memory.limit_in_bytes", "134217728"),
        ("memory", "memory.memsw.limit_in_bytes", "201326592"),
        ("memory", "memory.soft_limit_in_bytes", "67108864"),
        ("memory", "memory.swappiness", "10"),
        ("memory", "memory.oom_control", "1"),
        ("pids", "pids.max", "32"),
    ] {
        area.set(controller, "src", file, value);
    }
    if let Some(disk) = disk() {
        area.set(
            "blkio",
            "src",
            "blkio.throttle.read_bps_device",
            &format!("{disk} 1048576"),
        );
        area.set(
            "blkio",
            "src",
            "blkio.throttle.write_iops_device",
            &format!("{disk} 120"),
        );
    }
    area.make("src/inner");
    area.set("memory", "src/inner", "memory.limit_in_bytes", "67108864");
    area.set("pids", "src/inner", "pids.max", "7");
    let pid = area.start("src");
    area.start("src/inner");
    pid
}

#[test]
fn root_limits_of_version_1_are_made_again_and_read_back_equal() {
    let Some((mounts, hosts)) = host() else { return };
    let mut area = Area::new(hosts, "again");
    let first = limited(&mut area);
    let before = recorded(&mounts, first);
    let json = before.to_json().unwrap();
    let before = CgroupRecord::from_json(&json).unwrap();

    area.make("dst");
    let target = TargetCgroups::at(&mounts, &area.path("dst"), &before).unwrap();
    let plan = plan_apply(&before, &target);
    assert_eq!(plan.warnings, []);
    let report = apply(&plan);
    assert!(report.problems.is_empty(), "{:#?}", report.problems);
    assert!(report.written > 10, "{report:?}");
    assert!(
        report.created.contains(&area.directory("memory", "dst/inner")),
        "{:?}",
        report.created
    );
    assert_eq!(area.get("memory", "dst", "memory.memsw.limit_in_bytes"), "201326592");
    assert!(
        area.get("memory", "dst", "memory.oom_control")
            .starts_with("oom_kill_disable 1")
    );
    assert_eq!(area.get("pids", "dst/inner", "pids.max"), "7");

    let second = area.start("dst");
    let after = recorded(&mounts, second);
    assert_eq!(limits(&after), limits(&before));
    let again = apply(&plan_apply(
        &before,
        &TargetCgroups::of_process(&mounts, second, &before).unwrap(),
    ));
    assert_eq!((again.written, again.problems.len()), (0, 0), "all of it holds already");
}

#[test]
fn root_tasks_are_recorded_where_they_are() {
    let Some((mounts, hosts)) = host() else { return };
    let mut area = Area::new(hosts, "tasks");
    area.make("src");
    area.make("src/inner");
    // A shell and its child: what descends from the first process is the container's.
    let shell = Command::new("sh").args(["-c", "sleep 600 & wait"]).spawn().unwrap();
    let pid = i32::try_from(shell.id()).unwrap();
    area.tasks.push(shell);
    area.enter(pid, "src");
    let child = child_of(pid);
    area.enter(child, "src/inner");
    // Somebody else's task in the same cgroup is not the container's.
    area.start("src");
    let record = recorded(&mounts, pid);
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(child).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let memory = record
        .hierarchies
        .iter()
        .find(|hierarchy| hierarchy.controllers == ["memory"])
        .unwrap();
    assert_eq!(memory.path, area.path("src"));
    let found: Vec<_> = memory
        .groups
        .iter()
        .map(|group| (group.path.as_str(), group.processes.clone()))
        .collect();
    assert_eq!(found, [("", vec![pid]), ("inner", vec![child])]);
}

#[test]
fn root_tasks_have_the_numbers_of_their_pid_namespace() {
    let Some((mounts, hosts)) = host() else { return };
    let mut area = Area::new(hosts, "pidns");
    area.make("src");
    let script = "sleep 600 & wait";
    let outer = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "sh", "-c", script])
        .spawn()
        .unwrap();
    let outer_pid = i32::try_from(outer.id()).unwrap();
    area.tasks.push(outer);
    let first = child_of(outer_pid);
    let second = child_of(first);
    area.enter(first, "src");
    area.enter(second, "src");
    // Not in the namespace, so not of the container, though it is the parent of all.
    area.enter(outer_pid, "src");
    let record = recorded(&mounts, first);
    let pids = record
        .hierarchies
        .iter()
        .find(|hierarchy| hierarchy.controllers == ["pids"])
        .unwrap();
    assert_eq!(pids.groups[0].processes, [1, 2]);
}

/// Lends the root of version 2 controllers, where it does not have them enabled already.
struct Lent {
    control: PathBuf,
    controllers: Vec<String>,
}

impl Lent {
    fn new(root: &Path, controllers: &[&str]) -> Self {
        let control = root.join("cgroup.subtree_control");
        let enabled = std::fs::read_to_string(&control).unwrap();
        let enabled: Vec<_> = enabled.split_whitespace().collect();
        let missing = controllers.iter().filter(|controller| !enabled.contains(controller));
        let lent = Self {
            control,
            controllers: missing.map(|&controller| controller.to_owned()).collect(),
        };
        lent.switch('+').unwrap();
        lent
    }

    fn switch(&self, sign: char) -> std::io::Result<()> {
        let words: Vec<_> = self
            .controllers
            .iter()
            .map(|controller| format!("{sign}{controller}"))
            .collect();
        if words.is_empty() {
            Ok(())
        } else {
            std::fs::write(&self.control, words.join(" "))
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Somebody else may have begun to use them.
        let _ = self.switch('-');
    }
}

/// The hierarchy of version 2, where this is root and it has these controllers.
fn unified(controllers: &[&str]) -> Option<(MountTable, HostHierarchy)> {
    let mounts = MountTable::of_self().unwrap();
    let found = hierarchies(&mounts).unwrap();
    let able = |host: &HostHierarchy| {
        host.version == HierarchyVersion::V2 && controllers.iter().all(|controller| host.has(controller))
    };
    let host = found
        .into_iter()
        .find(able)
        .filter(|_| rustix::process::geteuid().is_root());
    if host.is_none() {
        // No machine has all controllers in both versions: where the tests of version 1 run, these cannot.
        eprintln!(
            "SKIPPED: needs root and cgroup version 2 with {}",
            controllers.join(", ")
        );
    }
    Some((mounts, host?))
}

/// Sets limits in a tree of version 2, makes it again from its record, and compares.
fn made_again(test: &str, controllers: &[&str], limits_of_src: &[(&str, &str)], limits_of_inner: &[(&str, &str)]) {
    let Some((mounts, host)) = unified(controllers) else {
        return;
    };
    let root = host.mount_point.clone();
    let lent = Lent::new(&root, controllers);
    let mut area = Area::new(vec![host], test);
    let key = controllers[0];
    let enable: Vec<_> = controllers.iter().map(|controller| format!("+{controller}")).collect();
    area.make("");
    area.set(key, "", "cgroup.subtree_control", &enable.join(" "));
    area.make("src");
    for (file, value) in limits_of_src {
        area.set(key, "src", file, value);
    }
    area.set(key, "src", "cgroup.subtree_control", &enable.join(" "));
    area.make("src/inner");
    for (file, value) in limits_of_inner {
        area.set(key, "src/inner", file, value);
    }
    let first = area.start("src/inner");
    let record_of = |pid: i32, below: &str| {
        let directories = BTreeMap::from([(String::new(), area.directory(key, below))]);
        record(&Subject {
            pid,
            mounts: &mounts,
            directories,
        })
        .unwrap()
    };
    let before = record_of(first, "src");
    let v2 = before
        .hierarchies
        .iter()
        .find(|hierarchy| hierarchy.version == HierarchyVersion::V2)
        .unwrap();
    assert_eq!(
        v2.groups.iter().map(|group| group.path.as_str()).collect::<Vec<_>>(),
        ["", "inner"]
    );
    assert_eq!(v2.groups[1].processes, [first]);

    area.make("dst");
    let mut target = TargetCgroups::at(&mounts, &area.path("dst"), &before).unwrap();
    target.hierarchies.retain(|here| here.host.mount_point == root);
    let report = apply(&plan_apply(&before, &target));
    assert!(report.problems.is_empty(), "{:#?}", report.problems);
    for (file, value) in limits_of_src {
        assert_eq!(
            area.get(key, "dst", file),
            area.get(key, "src", file),
            "{file} was set to {value}"
        );
    }
    let after = record_of(first, "dst");
    assert_eq!(limits(&after), limits(&before));
    drop(area);
    drop(lent);
}

#[test]
fn root_trees_of_version_2_are_made_again_and_read_back_equal() {
    let src = [
        ("hugetlb.2MB.max", "4194304"),
        ("cgroup.max.descendants", "5"),
        ("cgroup.max.depth", "3"),
    ];
    made_again("v2tree", &["hugetlb"], &src, &[("hugetlb.2MB.max", "2097152")]);
}

#[test]
fn root_limits_of_version_2_are_made_again_and_read_back_equal() {
    let disk = disk().map(|disk| format!("{disk} rbps=1048576 wiops=120"));
    let mut src = vec![
        ("cpu.weight", "59"),
        ("cpu.max", "50000 100000"),
        ("cpu.max.burst", "10000"),
        ("cpuset.cpus", "0"),
        ("memory.max", "134217728"),
        ("memory.high", "100663296"),
        ("memory.low", "33554432"),
        ("memory.min", "16777216"),
        ("memory.swap.max", "67108864"),
        ("memory.oom.group", "1"),
        ("pids.max", "32"),
    ];
    src.extend(disk.as_deref().map(|limit| ("io.max", limit)));
    let inner = [("cpu.idle", "1"), ("pids.max", "7"), ("memory.max", "67108864")];
    made_again("v2limits", &["cpu", "cpuset", "memory", "io", "pids"], &src, &inner);
}

#[test]
fn root_limits_are_raised_and_lowered_in_an_order_that_works() {
    let Some((mounts, hosts)) = host() else { return };
    let mut area = Area::new(hosts, "order");
    let pid = limited(&mut area);
    let record = recorded(&mounts, pid);
    for (name, memory, both) in [
        ("lower", "33554432", "41943040"),
        ("higher", "1073741824", "2147483648"),
    ] {
        area.make(name);
        area.set("memory", name, "memory.limit_in_bytes", memory);
        area.set("memory", name, "memory.memsw.limit_in_bytes", both);
        let target = TargetCgroups::at(&mounts, &area.path(name), &record).unwrap();
        let report = apply(&plan_apply(&record, &target));
        assert!(report.problems.is_empty(), "{name}: {:#?}", report.problems);
        assert_eq!(area.get("memory", name, "memory.limit_in_bytes"), "134217728", "{name}");
        assert_eq!(
            area.get("memory", name, "memory.memsw.limit_in_bytes"),
            "201326592",
            "{name}"
        );
    }
}

#[test]
fn root_what_does_not_hold_is_reported() {
    let Some((_, hosts)) = host() else { return };
    let area = Area::new(hosts, "report");
    area.make("a");
    let place = |controller: &str| Place {
        directory: area.directory(controller, "a"),
        group: GroupPath::default(),
    };
    let write = |controller: &str, file: &str, value: &str| {
        let (file, value) = (file.to_owned(), value.to_owned());
        Step::Write(Write {
            place: place(controller),
            file,
            value,
            expect: Expect::Text,
            usual: false,
        })
    };
    let unset = |file: &str| match write("pids", file, "0") {
        Step::Write(write) => Step::Write(Write { usual: true, ..write }),
        step => step,
    };
    let steps = vec![
        unset("pids.of_a_later_kernel"),
        write("pids", "pids.no_such", "1"),
        write("pids", "pids.max", "many"),
        // The kernel silently raises a share to its minimum of 2.
        write("cpu", "cpu.shares", "1"),
        write("pids", "pids.max", "9"),
    ];
    let report = apply(&ApplyPlan {
        steps,
        warnings: Vec::new(),
    });
    assert_eq!((report.written, report.unchanged), (1, 1));
    let causes: Vec<_> = report.problems.iter().map(|problem| &problem.source).collect();
    assert!(
        matches!(causes[..], [Cause::Missing, Cause::Refused(_), Cause::Differs { found }] if found == "2"),
        "{causes:?}"
    );
    assert_eq!(area.get("pids", "a", "pids.max"), "9");
}

#[test]
fn root_device_rules_below_the_container_are_made_equal() {
    let Some((_, hosts)) = host() else { return };
    if !hosts.iter().any(|host| host.has("devices")) {
        return;
    }
    let area = Area::new(hosts, "devices");
    area.make("a/b");
    let place = Place {
        directory: area.directory("devices", "a"),
        group: GroupPath::new("b").unwrap(),
    };
    let apply_rules = |rules: &[&str]| {
        let rules = rules.iter().map(|&rule| rule.to_owned()).collect();
        apply(&ApplyPlan {
            steps: vec![Step::DeviceRules {
                place: place.clone(),
                rules,
            }],
            warnings: Vec::new(),
        })
    };
    for rules in [
        &["c 1:3 rwm", "c 1:5 r"][..],
        &["c 1:5 r"],
        &["b 7:* rw", "c 1:5 r"],
        &["a *:* rwm"],
    ] {
        let report = apply_rules(rules);
        assert!(report.problems.is_empty(), "{rules:?}: {:#?}", report.problems);
        let found = area.get("devices", "a/b", "devices.list");
        let mut found: Vec<_> = found.lines().collect();
        found.sort_unstable();
        assert_eq!(found, rules);
    }
}

#[test]
fn root_owners_are_given_back() {
    use std::os::unix::fs::MetadataExt;
    let Some((mounts, hosts)) = host() else { return };
    let mut area = Area::new(hosts, "owners");
    let pid = limited(&mut area);
    let inner = area.directory("pids", "src/inner");
    std::os::unix::fs::chown(&inner, Some(1234), Some(5678)).unwrap();
    std::os::unix::fs::chown(inner.join("cgroup.procs"), Some(1234), Some(5678)).unwrap();
    let record = recorded(&mounts, pid);
    area.make("dst");
    let mut target = TargetCgroups::at(&mounts, &area.path("dst"), &record).unwrap();
    target.keep_owners = true;
    let report = apply(&plan_apply(&record, &target));
    assert!(report.problems.is_empty(), "{:#?}", report.problems);
    let owner = |path: &Path| {
        let metadata = std::fs::metadata(path).unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777)
    };
    let copy = area.directory("pids", "dst/inner");
    assert_eq!(owner(&copy), owner(&inner));
    assert_eq!(owner(&copy.join("cgroup.procs")), (1234, 5678, 0o644));
    assert_eq!(owner(&area.directory("memory", "dst/inner")).0, 0);
}

#[test]
fn root_only_empty_cgroups_are_removed() {
    let Some((_, hosts)) = host() else { return };
    let mut area = Area::new(hosts, "remove");
    for name in ["a/b/c", "a/d"] {
        area.make(name);
    }
    area.start("a/d");
    let top = area.directory("pids", "a");
    assert_eq!(below(&top).unwrap().len(), 3);
    let left = remove_empty(&top).unwrap();
    assert_eq!(left, [top.clone(), top.join("d")]);
    assert_eq!(below(&top).unwrap(), [top.join("d")]);
    assert!(below(&top.join("gone")).unwrap().is_empty());
}

#[test]
fn root_what_a_failed_restore_adds_is_removed() {
    let Some((mounts, hosts)) = host() else { return };
    let area = Area::new(hosts, "snapshot");
    area.make("old/kept");
    let record = CgroupRecord {
        version: 1,
        mode: ckpt::manifest::CgroupMode::V1,
        hierarchies: Vec::new(),
        unread: Vec::new(),
    };
    let take = |name: &str| Snapshot::take(&TargetCgroups::at(&mounts, &area.path(name), &record).unwrap()).unwrap();
    let (old, new) = (take("old"), take("new"));
    area.make("old/kept/added");
    area.make("new/a/b");
    assert!(old.remove_added().unwrap().is_empty());
    assert!(new.remove_added().unwrap().is_empty());
    assert!(area.directory("pids", "old/kept").exists());
    assert!(!area.directory("pids", "old/kept/added").exists());
    assert!(!area.directory("pids", "new").exists());
}

#[test]
fn root_a_parent_that_is_not_kept_goes_again() {
    let Some((_, hosts)) = host() else { return };
    let area = Area::new(hosts, "parent");
    area.make("there");
    let created = create_parent(&area.hosts, &area.path("there/a/b")).unwrap();
    assert_eq!(created.directories().len(), 2 * area.hosts.len());
    assert!(
        !area.get("cpuset", "there/a/b", "cpuset.cpus").is_empty(),
        "tasks can enter it"
    );
    drop(created);
    assert!(area.directory("pids", "there").exists());
    assert!(!area.directory("pids", "there/a").exists());
}
