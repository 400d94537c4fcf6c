//! Whether an archive from another host fits this one. Pure.
//!
//! An error means that a restore fails, or that the restored processes may die of something they had: it is better known
//! before the original is stopped. A warning means that some containers will have trouble.

use serde::Serialize;

use super::{CriuVersion, HostFacts, Version};
use crate::ability::{self, Level};
use crate::cgroup::CgroupRecord;
use crate::manifest::{CgroupMode, Cpu, Manifest};
use crate::request::RuntimeKind;

/// The first CRIU that writes page counts in a new field of pagemap images. An older one reads such images wrongly.
const WIDE_PAGEMAP_CRIU: Version = Version::new(4, 2, 0);
/// The first kernel that refuses SO_PASSCRED on TCP sockets ...
const STRICT_KERNEL: Version = Version::new(6, 16, 0);
/// ... and the first CRIU that does not ask for it.
const STRICT_CRIU: Version = Version::new(4, 2, 0);

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The architecture.
    Arch,
    /// The size of a page of memory.
    PageSize,
    /// The maker of the processor.
    CpuVendor,
    /// The model of the processor.
    CpuModel,
    /// The processor's instructions.
    CpuFlags,
    /// The size of the processor's state.
    XsaveSize,
    /// The kernel's release.
    Kernel,
    /// CRIU's version.
    Criu,
    /// Whether TCP sockets can be dumped again.
    Tcp,
    /// How cgroups are mounted.
    CgroupMode,
    /// The cgroup controllers that limit the container.
    CgroupControllers,
    /// The container runtime.
    Runtime,
}

impl Subject {
    /// Its name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arch => "architecture",
            Self::PageSize => "page size",
            Self::CpuVendor => "CPU vendor",
            Self::CpuModel => "CPU model",
            Self::CpuFlags => "CPU features",
            Self::XsaveSize => "xsave size",
            Self::Kernel => "kernel",
            Self::Criu => "criu",
            Self::Tcp => "tcp",
            Self::CgroupMode => "cgroups",
            Self::CgroupControllers => "controllers",
            Self::Runtime => "runtime",
        }
    }
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was compared.
    pub subject: Subject,
    /// How bad it is.
    pub verdict: Level,
    /// What this host has.
    pub found: String,
    /// What the archive has, or wants.
    pub wanted: String,
    /// What to do about it; always there unless the verdict is ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<&'static str>,
}

impl Check {
    fn new(subject: Subject, found: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self {
            subject,
            verdict: Level::Ok,
            found: found.into(),
            wanted: wanted.into(),
            advice: None,
        }
    }

    fn judge(mut self, verdict: Level, advice: &'static str) -> Self {
        (self.verdict, self.advice) = (verdict, Some(advice));
        self
    }

    /// Judges only where something is wrong.
    fn unless(self, fine: bool, verdict: Level, advice: &'static str) -> Self {
        if fine { self } else { self.judge(verdict, advice) }
    }
}

impl From<Check> for ability::Check {
    fn from(check: Check) -> Self {
        let message = match check.verdict {
            Level::Ok => check.found,
            _ => format!("{} here, {} in the archive", check.found, check.wanted),
        };
        Self {
            level: check.verdict,
            subject: check.subject.name(),
            message,
            advice: check.advice.map(Into::into),
        }
    }
}

/// Compares an archive with this host.
#[must_use]
pub fn compare(archive: &Manifest, here: &HostFacts) -> Vec<Check> {
    let mut checks = if archive.host.arch.is_empty() {
        Vec::new()
    } else {
        vec![arch(archive, here), page_size(archive, here)]
    };
    // Processors of different kinds have nothing to compare.
    if archive.host.cpu.vendor.is_empty() {
        checks.push(unrecorded(here));
    } else if archive.host.arch == here.arch {
        checks.extend(cpu(&archive.host.cpu, &here.cpu, &here.arch));
    }
    if !archive.host.kernel.is_empty() {
        checks.push(kernel(archive, here));
    }
    checks.push(criu(archive, here));
    checks.extend(tcp(here));
    checks.push(cgroup_mode(archive, here));
    // Processes have none: CRIU is compared already.
    if archive.runtime.name != RuntimeKind::Process.name() {
        checks.push(runtime(archive, here));
    }
    checks
}

/// Compares the controllers that limit the container with those of this host.
#[must_use]
pub fn compare_cgroups(record: &CgroupRecord, here: &HostFacts) -> Check {
    let mut wanted: Vec<_> = record.set_limits().into_iter().map(|limit| limit.controller).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let has = |name: &str| {
        here.controllers
            .iter()
            .any(|known| crate::cgroup::counterpart(known) == name || known == name)
    };
    let missing: Vec<_> = wanted.iter().copied().filter(|name| !has(name)).collect();
    let found = if wanted.is_empty() {
        "no limits are set".to_owned()
    } else if missing.is_empty() {
        wanted.join(" ")
    } else {
        format!("no {}", missing.join(" "))
    };
    let advice =
        "the limits of these controllers will not hold here: enable the controllers, or accept the import without them";
    Check::new(Subject::CgroupControllers, found, wanted.join(" ")).unless(missing.is_empty(), Level::Warning, advice)
}

fn arch(archive: &Manifest, here: &HostFacts) -> Check {
    let advice = "memory of one architecture cannot run on another: import on a host of the same kind";
    let check = Check::new(Subject::Arch, &here.arch, &archive.host.arch);
    check.unless(here.arch == archive.host.arch, Level::Error, advice)
}

/// Engines do not record the processor.
fn unrecorded(here: &HostFacts) -> Check {
    let advice = "the engine that made the archive recorded none: import on a host like the one that it comes from";
    Check::new(Subject::CpuModel, model(&here.cpu), "nothing").judge(Level::Warning, advice)
}

fn page_size(archive: &Manifest, here: &HostFacts) -> Check {
    let (found, wanted) = (here.page_size, archive.host.page_size);
    let advice = "import on a host whose kernel has the same page size";
    Check::new(Subject::PageSize, found.to_string(), wanted.to_string()).unless(found == wanted, Level::Error, advice)
}

fn cpu(wanted: &Cpu, found: &Cpu, arch: &str) -> Vec<Check> {
    let vendor = "programs that chose their code by the vendor may fail: prefer a host of the same vendor";
    let vendor = Check::new(Subject::CpuVendor, &found.vendor, &wanted.vendor).unless(
        found.vendor == wanted.vendor,
        Level::Warning,
        vendor,
    );
    // What a model can do is in its features and its xsave size: the model alone decides nothing.
    let mut checks = vec![vendor, Check::new(Subject::CpuModel, model(found), model(wanted))];
    let missing: Vec<_> = wanted
        .flags
        .iter()
        .filter(|flag| matters(flag, arch) && !found.flags.contains(flag))
        .collect();
    let features = if missing.is_empty() {
        Check::new(Subject::CpuFlags, "all", "all")
    } else {
        let missing = missing.into_iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let advice = "processes may use these and would die of it: import on a host that has them, or start the original \
                      with a CPU model that both have";
        Check::new(Subject::CpuFlags, format!("none of: {missing}"), missing).judge(Level::Error, advice)
    };
    checks.push(features);
    if wanted.xsave_size > 0 {
        let advice = "CRIU restores the state of a processor only where it has the same size: import on a host whose \
                      processor, or virtual processor, has the same features";
        let check = Check::new(
            Subject::XsaveSize,
            found.xsave_size.to_string(),
            wanted.xsave_size.to_string(),
        );
        checks.push(check.unless(found.xsave_size == wanted.xsave_size, Level::Error, advice));
    }
    checks
}

fn model(cpu: &Cpu) -> String {
    let numbers = format!("family {} model {}", cpu.family, cpu.model);
    if cpu.name.is_empty() {
        numbers
    } else {
        format!("{} ({numbers})", cpu.name)
    }
}

/// Flags of x86 that are instructions or registers of user space. The others are the kernel's: mitigations, virtualisation,
/// properties of clocks. Those up to `xsaves` are the ones that CRIU compares (criu/arch/x86/cpu.c).
const X86_INSTRUCTIONS: [&str; 73] = [
    "fpu",
    "tsc",
    "cx8",
    "sep",
    "cmov",
    "clflush",
    "mmx",
    "fxsr",
    "sse",
    "sse2",
    "syscall",
    "mmxext",
    "rdtscp",
    "3dnowext",
    "3dnow",
    "pni",
    "pclmulqdq",
    "monitor",
    "ssse3",
    "cx16",
    "sse4_1",
    "sse4_2",
    "movbe",
    "popcnt",
    "aes",
    "xsave",
    "f16c",
    "rdrand",
    "abm",
    "sse4a",
    "misalignsse",
    "3dnowprefetch",
    "xop",
    "fma4",
    "tbm",
    "fsgsbase",
    "bmi1",
    "hle",
    "bmi2",
    "erms",
    "rtm",
    "mpx",
    "rdseed",
    "adx",
    "clflushopt",
    "sha_ni",
    "xsaveopt",
    "xsavec",
    "xgetbv1",
    "xsaves",
    "fma",
    "lahf_lm",
    "clwb",
    "clzero",
    "gfni",
    "vaes",
    "vpclmulqdq",
    "rdpid",
    "movdiri",
    "movdir64b",
    "serialize",
    "waitpkg",
    "pku",
    "cldemote",
    "tsxldtrk",
    "sha512",
    "sm3",
    "sm4",
    "cmpccxadd",
    "enqcmd",
    "uintr",
    "lwp",
    "prefetchwt1",
];
/// Flags of other architectures that tell of the kernel and not of instructions.
const NO_INSTRUCTIONS: [&str; 3] = ["cpuid", "evtstrm", "ssbs"];

/// Whether a process can have come to depend on a flag.
fn matters(flag: &str, arch: &str) -> bool {
    match arch {
        "x86_64" | "i686" | "i386" => {
            X86_INSTRUCTIONS.contains(&flag) || flag.starts_with("avx") || flag.starts_with("amx_")
        }
        _ => !NO_INSTRUCTIONS.contains(&flag),
    }
}

fn kernel(archive: &Manifest, here: &HostFacts) -> Check {
    let check = Check::new(Subject::Kernel, &here.kernel, &archive.host.kernel);
    let fine = match (here.kernel.parse::<Version>(), archive.host.kernel.parse::<Version>()) {
        (Ok(found), Ok(wanted)) => found >= wanted,
        _ => here.kernel == archive.host.kernel,
    };
    let advice =
        "processes may use system calls that this kernel lacks: prefer a host with the same kernel or a newer one";
    check.unless(fine, Level::Warning, advice)
}

fn criu(archive: &Manifest, here: &HostFacts) -> Check {
    let wanted = match archive.host.criu.as_str() {
        "" => "an unknown version",
        version => version,
    };
    let Some(found) = &here.criu else {
        let advice = "install CRIU, the version of the archive or a later one";
        return Check::new(Subject::Criu, "not found in PATH", wanted).judge(Level::Error, advice);
    };
    let found = &found.version;
    let check = Check::new(Subject::Criu, found.to_string(), wanted);
    match wanted.parse::<CriuVersion>() {
        Ok(wanted) if found.version >= wanted.version => check,
        Ok(wanted) if wanted.version >= WIDE_PAGEMAP_CRIU && found.version < WIDE_PAGEMAP_CRIU => {
            let advice = "images of CRIU 4.2 and later cannot be read by an older one: install CRIU 4.2 or later";
            check.judge(Level::Error, advice)
        }
        Ok(_) => check.judge(
            Level::Warning,
            "an older CRIU may not read newer images: install the version of the archive or a later one",
        ),
        Err(_) => check.judge(
            Level::Warning,
            "the archive does not tell which CRIU made it: if the restore fails, try a later one",
        ),
    }
}

/// Not of the archive, but of what becomes of it: the next export from here.
fn tcp(here: &HostFacts) -> Option<Check> {
    let criu = &here.criu.as_ref()?.version;
    let kernel: Version = here.kernel.parse().ok()?;
    let wanted = format!("CRIU {STRICT_CRIU} on kernels from {STRICT_KERNEL} on");
    let check = Check::new(Subject::Tcp, format!("CRIU {criu} on kernel {}", here.kernel), wanted);
    let advice = "a container with TCP sockets can be restored here but not exported again: install CRIU 4.2 or later";
    (kernel >= STRICT_KERNEL && criu.version < STRICT_CRIU).then(|| check.judge(Level::Warning, advice))
}

fn cgroup_mode(archive: &Manifest, here: &HostFacts) -> Check {
    let wanted = archive.host.cgroup_mode;
    let found = here.cgroup_mode.map_or("not mounted", mode_name);
    let check = Check::new(Subject::CgroupMode, found, mode_name(wanted));
    match here.cgroup_mode {
        None => check.judge(Level::Warning, "no limit will hold here: mount the cgroup hierarchies"),
        Some(mode) if mode == wanted || wanted == CgroupMode::Unknown => check,
        Some(_) => {
            let advice = "limits that mean the same are translated, cgroups below the container's are not made";
            check.judge(Level::Warning, advice)
        }
    }
}

fn mode_name(mode: CgroupMode) -> &'static str {
    match mode {
        CgroupMode::V1 => "version 1",
        CgroupMode::Hybrid => "versions 1 and 2",
        CgroupMode::V2 => "version 2",
        CgroupMode::Unknown => "not recorded",
    }
}

fn runtime(archive: &Manifest, here: &HostFacts) -> Check {
    let wanted = &archive.runtime;
    let text = format!("{} {}", wanted.name, wanted.version);
    let Some(found) = here.runtimes.get(&wanted.name) else {
        let advice = "images of one runtime cannot be restored by another: install the runtime of the archive";
        let others: Vec<_> = here.runtimes.keys().map(String::as_str).collect();
        let found = if others.is_empty() {
            "none".to_owned()
        } else {
            format!("only {}", others.join(" and "))
        };
        return Check::new(Subject::Runtime, found, text).judge(Level::Error, advice);
    };
    let check = Check::new(Subject::Runtime, format!("{} {}", wanted.name, found.version), text);
    let older = wanted
        .version
        .parse()
        .is_ok_and(|wanted: Version| found.version < wanted);
    check.unless(
        !older,
        Level::Warning,
        "an older runtime may not know all that the archive needs: prefer the same version or a later one",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::host::{Capabilities, Program};
    use crate::manifest::{Container, DumpOptions, FORMAT_VERSION, Filesystem, Host, Producer, Runtime};

    fn cpu() -> Cpu {
        crate::host::cpu::parse(include_str!("../../fixtures/proc/cpuinfo-amd"), 2440)
    }

    fn here() -> HostFacts {
        let program = |version| Program {
            path: "/usr/bin/runc".into(),
            version,
        };
        HostFacts {
            kernel: "6.12.5-amd64".into(),
            arch: "x86_64".into(),
            cpu: cpu(),
            cgroup_mode: Some(CgroupMode::V2),
            controllers: ["cpu", "memory", "io", "pids"].map(String::from).to_vec(),
            page_size: 4096,
            capabilities: Capabilities::parse("CapEff: 1ffffffffff").unwrap(),
            memory_tracking: true,
            userfaultfd: true,
            criu: Some(Program {
                path: "/usr/sbin/criu".into(),
                version: "4.1.1".parse().unwrap(),
            }),
            runtimes: BTreeMap::from([("runc".to_owned(), program(Version::new(1, 1, 15)))]),
        }
    }

    fn archive() -> Manifest {
        Manifest {
            format: FORMAT_VERSION,
            producer: Producer {
                name: "ckpt".into(),
                version: "0.1.0".into(),
            },
            engine: None,
            checkpointed_at: "2026-11-20T00:00:00Z".into(),
            host: Host {
                kernel: "6.12.1-amd64".into(),
                arch: "x86_64".into(),
                cpu: cpu(),
                cgroup_mode: CgroupMode::V2,
                criu: "4.1.1".into(),
                page_size: 4096,
            },
            runtime: Runtime {
                name: "runc".into(),
                version: "1.1.15+ds1".into(),
            },
            container: Container {
                id: "c1".into(),
                name: "c1".into(),
                bundle: "/b".into(),
                rootfs: "/b/rootfs".into(),
                hostname: None,
                image: None,
                terminal: false,
                pid: 1,
                created: None,
            },
            options: DumpOptions::default(),
            namespaces: Vec::new(),
            bind_mounts: Vec::new(),
            filesystem: Filesystem::default(),
            parent: None,
        }
    }

    /// The subjects that are not ok.
    fn found(archive: &Manifest, here: &HostFacts) -> Vec<(Subject, Level)> {
        let checks = compare(archive, here)
            .into_iter()
            .filter(|check| check.verdict != Level::Ok);
        checks
            .inspect(|check| assert!(check.advice.is_some(), "{check:?}"))
            .map(|check| (check.subject, check.verdict))
            .collect()
    }

    #[test]
    fn the_same_host_fits() {
        assert_eq!(found(&archive(), &here()), []);
    }

    #[test]
    fn each_difference_is_judged() {
        type Change = fn(&mut Manifest, &mut HostFacts);
        type Case = (&'static str, Change, &'static [(Subject, Level)]);
        let cases: [Case; 19] = [
            (
                "another architecture",
                |_, here| here.arch = "aarch64".into(),
                &[(Subject::Arch, Level::Error)],
            ),
            (
                "large pages",
                |_, here| here.page_size = 65536,
                &[(Subject::PageSize, Level::Error)],
            ),
            (
                "another vendor",
                |_, here| here.cpu.vendor = "GenuineIntel".into(),
                &[(Subject::CpuVendor, Level::Warning)],
            ),
            ("another model", |_, here| here.cpu.model = 1, &[]),
            (
                "no AVX-512",
                |_, here| here.cpu.flags.retain(|flag| flag != "avx512f"),
                &[(Subject::CpuFlags, Level::Error)],
            ),
            ("more features", |_, here| here.cpu.flags.push("avx10".into()), &[]),
            (
                "no hypervisor",
                |_, here| here.cpu.flags.retain(|flag| flag != "hypervisor"),
                &[],
            ),
            (
                "a smaller state",
                |_, here| here.cpu.xsave_size = 832,
                &[(Subject::XsaveSize, Level::Error)],
            ),
            (
                "a larger state",
                |_, here| here.cpu.xsave_size = 11008,
                &[(Subject::XsaveSize, Level::Error)],
            ),
            ("an unknown state", |archive, _| archive.host.cpu.xsave_size = 0, &[]),
            (
                "an older kernel",
                |_, here| here.kernel = "5.15.0-91-generic".into(),
                &[(Subject::Kernel, Level::Warning)],
            ),
            ("no CRIU", |_, here| here.criu = None, &[(Subject::Criu, Level::Error)]),
            (
                "newer images",
                |archive, _| archive.host.criu = "4.1.2".into(),
                &[(Subject::Criu, Level::Warning)],
            ),
            (
                "images of 4.2",
                |archive, _| archive.host.criu = "4.2".into(),
                &[(Subject::Criu, Level::Error)],
            ),
            (
                "images of somebody",
                |archive, _| archive.host.criu = "unknown".into(),
                &[(Subject::Criu, Level::Warning)],
            ),
            (
                "version 1",
                |_, here| here.cgroup_mode = Some(CgroupMode::V1),
                &[(Subject::CgroupMode, Level::Warning)],
            ),
            (
                "no cgroups",
                |_, here| here.cgroup_mode = None,
                &[(Subject::CgroupMode, Level::Warning)],
            ),
            (
                "another runtime",
                |archive, _| archive.runtime.name = "crun".into(),
                &[(Subject::Runtime, Level::Error)],
            ),
            (
                "a newer runtime",
                |archive, _| archive.runtime.version = "1.3.0".into(),
                &[(Subject::Runtime, Level::Warning)],
            ),
        ];
        for (name, change, wanted) in cases {
            let (mut archive, mut here) = (archive(), here());
            change(&mut archive, &mut here);
            assert_eq!(found(&archive, &here), wanted, "{name}");
        }
    }

    #[test]
    fn tcp_needs_a_new_criu_on_a_new_kernel() {
        for (kernel, criu, warned) in [
            ("6.16.0", "4.1.1", true),
            ("6.18.44-fc", "4.1.1", true),
            ("6.15.9", "4.1.1", false),
            ("6.16.0-rc1", "4.1.1", false),
            ("6.18.0", "4.2.1", false),
        ] {
            let mut here = here();
            here.kernel = kernel.into();
            here.criu.as_mut().unwrap().version = criu.parse().unwrap();
            let told = found(&archive(), &here).contains(&(Subject::Tcp, Level::Warning));
            assert_eq!(told, warned, "{kernel} {criu}");
        }
    }

    #[test]
    fn missing_instructions_are_named() {
        let mut here = here();
        here.cpu
            .flags
            .retain(|flag| !matches!(flag.as_str(), "avx2" | "bmi1" | "constant_tsc"));
        let checks = compare(&archive(), &here);
        let flags = checks.iter().find(|check| check.subject == Subject::CpuFlags).unwrap();
        assert_eq!(flags.wanted, "avx2 bmi1");
        assert!(matters("sve", "aarch64") && !matters("evtstrm", "aarch64"));
    }

    #[test]
    fn controllers_are_missed_only_where_they_limit() {
        let limits = |version: &str, controller: &str, file: &str, value: &str| {
            let record = serde_json::json!({
                "version": 1, "mode": "v1",
                "hierarchies": [{
                    "version": version, "controllers": [controller], "mount_root": "/", "mount_point": "/cg", "path": "c",
                    "groups": [{"path": "", "owner": {"uid": 0, "gid": 0, "mode": "0755"}, "limits": {file: value}}],
                }],
            });
            compare_cgroups(
                &CgroupRecord::from_json(record.to_string().as_bytes()).unwrap(),
                &here(),
            )
        };
        assert_eq!(
            limits("v1", "memory", "memory.limit_in_bytes", "1048576").verdict,
            Level::Ok
        );
        assert_eq!(
            limits("v1", "blkio", "blkio.weight", "200").verdict,
            Level::Ok,
            "version 2 calls it io"
        );
        assert_eq!(limits("v2", "hugetlb", "hugetlb.2MB.max", "max").verdict, Level::Ok);
        let missing = limits("v2", "hugetlb", "hugetlb.2MB.max", "0");
        assert_eq!(
            (missing.verdict, missing.found.as_str()),
            (Level::Warning, "no hugetlb")
        );
    }

    #[test]
    fn a_check_reads_as_one_line() {
        let mut here = here();
        here.page_size = 65536;
        let checks: Vec<ability::Check> = compare(&archive(), &here).into_iter().map(Into::into).collect();
        assert_eq!(
            (checks[1].subject, checks[1].message.as_str()),
            ("page size", "65536 here, 4096 in the archive")
        );
        assert_eq!((checks[0].level, checks[0].message.as_str()), (Level::Ok, "x86_64"));
    }
}
