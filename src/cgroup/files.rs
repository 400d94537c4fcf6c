//! The limit files of the kernel's controllers: which are kept, what shape their values have, and which value says nothing.
//!
//! This table is the only list of limit files: recording, checking a record, planning and reading back all go by it. The
//! order within a controller is the order of writing. Sources: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst; for
//! what CRIU restores by itself, criu/cgroup-props.c.

use super::idset::IdSet;
use super::record::{HierarchyVersion, MAX_VALUE};

/// A limit file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    /// The version of the hierarchies that have it.
    pub(super) version: HierarchyVersion,
    /// Its controller; empty for the files of the cgroup core.
    pub(super) controller: &'static str,
    /// Its name, with one `*` for the size of huge pages.
    pub(super) name: &'static str,
    /// The shape of its value.
    pub(super) shape: Shape,
    /// The value of a cgroup that nobody has limited.
    pub(super) usual: Usual,
}

/// The shape of a limit file's value: how it is recorded, written and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One line that reads as it was written.
    Text,
    /// A number of bytes, or no limit; the kernel rounds it down to pages.
    Bytes,
    /// A list of CPUs or memory nodes.
    Ids,
    /// Lines that begin with a device number.
    Devices,
    /// Lines that begin with a key, written one at a time.
    Lines,
    /// Words in any order, switched on by `+WORD`.
    Words,
    /// The device access rules of version 1: read in one file, written into two others.
    Rules,
}

impl Shape {
    /// Whether a recorded value can have been read from such a file. Keeps control characters out of what is written
    /// and shown.
    pub(super) fn accepts(self, value: &str) -> bool {
        let lines = matches!(self, Self::Devices | Self::Lines | Self::Rules);
        let plain = |c: char| !c.is_control() || c == '\t' || (lines && c == '\n');
        let well_formed = self != Self::Ids || value.parse::<IdSet>().is_ok();
        value.len() <= MAX_VALUE && value.chars().all(plain) && well_formed
    }
}

/// The value that a limit file has when nobody has set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usual {
    /// No limit: `max`, `-1`, or the largest number of pages.
    Unlimited,
    /// This value.
    Is(&'static str),
    /// None that is the same on every host, or none that needs keeping where another version has no such file.
    Any,
}

/// Version 1 shows a missing limit as the largest number of whole (huge) pages: 0x7fff_ffff_ffff_f000 for memory,
/// 0x7fff_ffff_c000_0000 for huge pages of a gigabyte. No machine has half as much.
const UNLIMITED_FROM: u64 = 1 << 62;

impl Usual {
    /// Whether `value` says nothing.
    pub(super) fn holds(self, value: &str) -> bool {
        match self {
            Self::Unlimited => is_unlimited(value),
            Self::Is(usual) => value == usual,
            Self::Any => true,
        }
    }
}

/// Whether a value means that there is no limit.
pub(super) fn is_unlimited(value: &str) -> bool {
    matches!(value, "max" | "-1") || value.parse().is_ok_and(|bytes: u64| bytes >= UNLIMITED_FROM)
}

const fn v1(controller: &'static str, name: &'static str, shape: Shape, usual: Usual) -> File {
    File {
        version: HierarchyVersion::V1,
        controller,
        name,
        shape,
        usual,
    }
}

const fn v2(controller: &'static str, name: &'static str, shape: Shape, usual: Usual) -> File {
    File {
        version: HierarchyVersion::V2,
        controller,
        name,
        shape,
        usual,
    }
}

use Shape::{Bytes, Devices, Ids, Lines, Rules, Text, Words};
use Usual::{Any, Is, Unlimited};

#[rustfmt::skip]
static FILES: &[File] = &[
    // The type comes before everything, or a threaded cgroup refuses its controllers; the subtree comes last (plan.rs).
    v2("", "cgroup.type", Text, Any),
    v2("", "cgroup.max.descendants", Text, Unlimited),
    v2("", "cgroup.max.depth", Text, Unlimited),
    v2("cpu", "cpu.weight", Text, Is("100")),
    v2("cpu", "cpu.max", Text, Is("max 100000")),
    v2("cpu", "cpu.max.burst", Text, Is("0")),
    v2("cpu", "cpu.idle", Text, Is("0")),
    v2("cpu", "cpu.uclamp.min", Text, Is("0.00")),
    v2("cpu", "cpu.uclamp.max", Text, Unlimited),
    v2("cpuset", "cpuset.cpus", Ids, Is("")),
    v2("cpuset", "cpuset.mems", Ids, Is("")),
    v2("cpuset", "cpuset.cpus.partition", Text, Is("member")),
    v2("memory", "memory.max", Bytes, Unlimited),
    v2("memory", "memory.high", Bytes, Unlimited),
    v2("memory", "memory.low", Bytes, Is("0")),
    v2("memory", "memory.min", Bytes, Is("0")),
    v2("memory", "memory.swap.max", Bytes, Unlimited),
    v2("memory", "memory.swap.high", Bytes, Unlimited),
    v2("memory", "memory.zswap.max", Bytes, Unlimited),
    v2("memory", "memory.oom.group", Text, Is("0")),
    v2("io", "io.weight", Devices, Is("default 100")),
    v2("io", "io.bfq.weight", Devices, Is("default 100")),
    v2("io", "io.max", Devices, Is("")),
    v2("io", "io.latency", Devices, Is("")),
    v2("pids", "pids.max", Text, Unlimited),
    v2("hugetlb", "hugetlb.*.max", Bytes, Unlimited),
    v2("hugetlb", "hugetlb.*.rsvd.max", Bytes, Unlimited),
    v2("rdma", "rdma.max", Lines, Is("")),
    v2("misc", "misc.max", Lines, Is("")),
    v2("", "cgroup.subtree_control", Words, Any),

    v1("cpu", "cpu.shares", Text, Is("1024")),
    v1("cpu", "cpu.cfs_period_us", Text, Is("100000")),
    v1("cpu", "cpu.cfs_quota_us", Text, Unlimited),
    v1("cpu", "cpu.cfs_burst_us", Text, Is("0")),
    v1("cpu", "cpu.rt_period_us", Text, Is("1000000")),
    v1("cpu", "cpu.rt_runtime_us", Text, Is("0")),
    v1("cpu", "cpu.idle", Text, Is("0")),
    v1("cpuset", "cgroup.clone_children", Text, Any),
    // Only recorded where they are not the parent's (read.rs).
    v1("cpuset", "cpuset.cpus", Ids, Is("")),
    v1("cpuset", "cpuset.mems", Ids, Is("")),
    v1("cpuset", "cpuset.cpu_exclusive", Text, Is("0")),
    v1("cpuset", "cpuset.mem_exclusive", Text, Is("0")),
    v1("cpuset", "cpuset.mem_hardwall", Text, Is("0")),
    v1("cpuset", "cpuset.memory_migrate", Text, Is("0")),
    v1("cpuset", "cpuset.memory_spread_page", Text, Is("0")),
    v1("cpuset", "cpuset.memory_spread_slab", Text, Is("0")),
    v1("cpuset", "cpuset.sched_load_balance", Text, Is("1")),
    v1("cpuset", "cpuset.sched_relax_domain_level", Text, Is("-1")),
    v1("memory", "memory.use_hierarchy", Text, Any),
    v1("memory", "memory.limit_in_bytes", Bytes, Unlimited),
    v1("memory", "memory.memsw.limit_in_bytes", Bytes, Unlimited),
    v1("memory", "memory.soft_limit_in_bytes", Bytes, Unlimited),
    v1("memory", "memory.kmem.limit_in_bytes", Bytes, Unlimited),
    v1("memory", "memory.kmem.tcp.limit_in_bytes", Bytes, Unlimited),
    v1("memory", "memory.swappiness", Text, Is("60")),
    v1("memory", "memory.oom_control", Lines, Is("oom_kill_disable 0")),
    v1("memory", "memory.move_charge_at_immigrate", Text, Is("0")),
    v1("blkio", "blkio.weight", Text, Is("500")),
    v1("blkio", "blkio.weight_device", Devices, Is("")),
    v1("blkio", "blkio.bfq.weight", Text, Is("100")),
    v1("blkio", "blkio.bfq.weight_device", Devices, Is("default 100")),
    v1("blkio", "blkio.throttle.read_bps_device", Devices, Is("")),
    v1("blkio", "blkio.throttle.write_bps_device", Devices, Is("")),
    v1("blkio", "blkio.throttle.read_iops_device", Devices, Is("")),
    v1("blkio", "blkio.throttle.write_iops_device", Devices, Is("")),
    v1("net_cls", "net_cls.classid", Text, Is("0")),
    v1("net_prio", "net_prio.ifpriomap", Lines, Is("")),
    v1("pids", "pids.max", Text, Unlimited),
    v1("hugetlb", "hugetlb.*.limit_in_bytes", Bytes, Unlimited),
    v1("hugetlb", "hugetlb.*.rsvd.limit_in_bytes", Bytes, Unlimited),
    v1("rdma", "rdma.max", Lines, Is("")),
    v1("misc", "misc.max", Lines, Is("")),
    // The first rules come from the configuration, which also knows them under version 2 where the kernel hides them.
    v1("devices", "devices.list", Rules, Any),
];

/// The limit file of this name.
pub(super) fn find(version: HierarchyVersion, name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.version == version && file.matches(name))
}

/// Where a file stands in the order of writing; files that are no limits come last.
pub(super) fn order(version: HierarchyVersion, name: &str) -> usize {
    FILES
        .iter()
        .position(|file| file.version == version && file.matches(name))
        .unwrap_or(usize::MAX)
}

impl File {
    fn matches(&self, name: &str) -> bool {
        match self.name.split_once('*') {
            None => self.name == name,
            Some((before, after)) => {
                let size = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                size.is_some_and(|size| !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            }
        }
    }
}

/// Whether a file that is no limit may be handed to another owner: the delegation files of version 2
/// (/sys/kernel/cgroup/delegate) and their like of version 1, and every limit file.
pub(super) fn is_delegable(name: &str) -> bool {
    let core = [
        "cgroup.procs",
        "cgroup.threads",
        "cgroup.subtree_control",
        "memory.oom.group",
        "memory.reclaim",
        "tasks",
    ];
    core.contains(&name) || FILES.iter().any(|file| file.matches(name))
}

#[cfg(test)]
mod tests {
    use super::HierarchyVersion::{V1, V2};
    use super::*;

    #[test]
    fn names_are_found_by_version() {
        let cases = [
            (V2, "memory.max", Some("memory")),
            (V1, "memory.max", None),
            (V1, "memory.limit_in_bytes", Some("memory")),
            (V2, "hugetlb.2MB.max", Some("hugetlb")),
            (V2, "hugetlb.2MB.rsvd.max", Some("hugetlb")),
            (V2, "hugetlb..max", None),
            (V2, "hugetlb.2/B.max", None),
            (V1, "hugetlb.1GB.limit_in_bytes", Some("hugetlb")),
            (V2, "cgroup.freeze", None),
            (V1, "freezer.state", None),
            (V2, "pids.max", Some("pids")),
            (V1, "pids.max", Some("pids")),
        ];
        for (version, name, controller) in cases {
            assert_eq!(find(version, name).map(|file| file.controller), controller, "{name}");
        }
        let rsvd = find(V2, "hugetlb.2MB.rsvd.max").unwrap();
        assert_eq!(rsvd.name, "hugetlb.*.rsvd.max");
    }

    #[test]
    fn every_file_has_the_prefix_of_its_controller() {
        for file in FILES
            .iter()
            .filter(|file| !file.controller.is_empty() && file.name != "cgroup.clone_children")
        {
            assert!(file.name.starts_with(&format!("{}.", file.controller)), "{}", file.name);
        }
    }

    #[test]
    fn missing_limits_are_recognised() {
        for value in [
            "max",
            "-1",
            "9223372036854771712",
            "9223372036854710272",
            "9223372035781033984",
        ] {
            assert!(is_unlimited(value), "{value}");
        }
        for value in ["0", "", "max 100000", "1099511627776", "-2"] {
            assert!(!is_unlimited(value), "{value}");
        }
    }

    #[test]
    fn shapes_refuse_what_no_such_file_holds() {
        assert!(Text.accepts("max 100000"));
        assert!(!Text.accepts("1\n2"));
        assert!(!Text.accepts("\x1b[2J"));
        assert!(Lines.accepts("a 1\nb 2"));
        assert!(Ids.accepts("0-3,7"));
        assert!(!Ids.accepts("0-"));
        assert!(!Text.accepts(&"1".repeat(MAX_VALUE + 1)));
    }
}
