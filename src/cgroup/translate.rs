//! A container's own limits, apart from the version of cgroups that they were read from.
//!
//! Each field is a limit that both versions have with the same meaning, in the unit that both take. What only one version has
//! stays under its file name in `rest`. The conversions are those of the container runtimes, so that a limit means the
//! same whether it arrives through config.json or from here.

use std::collections::BTreeMap;

use super::files;
use super::record::{CgroupRecord, DEFAULT_DEVICE, DeviceLimit, Group, HierarchyVersion};
use super::warning::Warning;
use super::weight::Weight;

/// The value of a limit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// A value that concerns the whole cgroup.
    Value(String),
    /// Values of block devices.
    Devices(Vec<DeviceLimit>),
}

/// A limit file and what is to be written into it.
pub(super) type Setting = (String, Content);

/// A number of bytes, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amount {
    /// No limit.
    Unlimited,
    /// Bytes.
    Bytes(u64),
}

/// CPU time in each period, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quota {
    /// The time; without a limit where absent.
    pub(super) quota: Option<u64>,
    /// The period.
    pub(super) period: u64,
}

/// The limits of one block device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Throttle {
    /// Its path on the source host.
    pub(super) device: Option<String>,
    /// Its number on the source host.
    pub(super) number: Option<String>,
    /// Limits by version 2's names (`rbps`, `wbps`, `riops`, `wiops`).
    pub(super) limits: BTreeMap<&'static str, u64>,
}

/// Version 2's name of a device limit, and version 1's file of it.
pub(super) const THROTTLES: [(&str, &str); 4] = [
    ("rbps", "blkio.throttle.read_bps_device"),
    ("wbps", "blkio.throttle.write_bps_device"),
    ("riops", "blkio.throttle.read_iops_device"),
    ("wiops", "blkio.throttle.write_iops_device"),
];

/// The limits of a container's own cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    /// The version that they were read from.
    pub(super) version: HierarchyVersion,
    pub(super) weight: Option<Weight>,
    pub(super) quota: Option<Quota>,
    pub(super) burst: Option<u64>,
    pub(super) idle: Option<bool>,
    pub(super) cpus: Option<String>,
    pub(super) mems: Option<String>,
    pub(super) memory: Option<Amount>,
    /// Swap alone, without memory.
    pub(super) swap: Option<Amount>,
    /// Memory that is spared from reclaim; OCI's `reservation`.
    pub(super) low: Option<u64>,
    pub(super) pids: Option<String>,
    pub(super) throttles: Vec<Throttle>,
    pub(super) bfq_weight: Option<String>,
    pub(super) bfq_devices: Vec<DeviceLimit>,
    /// By size of page.
    pub(super) huge: BTreeMap<String, Amount>,
    /// Reservations, by size of page.
    pub(super) huge_reserved: BTreeMap<String, Amount>,
    pub(super) rdma: Option<String>,
    pub(super) misc: Option<String>,
    /// Everything else, by its file.
    pub(super) rest: BTreeMap<String, String>,
    /// Everything else that belongs to devices, by its file.
    pub(super) rest_devices: BTreeMap<String, Vec<DeviceLimit>>,
}

impl Limits {
    /// The limits that a record holds in hierarchies of one version, of those controllers that `wanted` picks.
    pub(super) fn of(record: &CgroupRecord, version: HierarchyVersion, wanted: impl Fn(&str) -> bool) -> Self {
        let mut values = BTreeMap::new();
        let mut devices = BTreeMap::new();
        let picked = |name: &str| files::find(version, name).is_some_and(|file| wanted(file.controller));
        let tops = record
            .hierarchies
            .iter()
            .filter(|hierarchy| hierarchy.version == version);
        for Group {
            limits, device_limits, ..
        } in tops.filter_map(|hierarchy| hierarchy.top())
        {
            let limits = limits.iter().filter(|(name, _)| picked(name));
            values.extend(limits.map(|(name, value)| (name.clone(), value.clone())));
            let limits = device_limits.iter().filter(|(name, _)| picked(name));
            devices.extend(limits.map(|(name, limits)| (name.clone(), limits.clone())));
        }
        match version {
            HierarchyVersion::V1 => Self::from_v1(Files { values, devices }),
            HierarchyVersion::V2 => Self::from_v2(Files { values, devices }),
        }
    }

    fn from_v1(mut files: Files) -> Self {
        let memory = files.amount("memory.limit_in_bytes");
        let both = files.amount("memory.memsw.limit_in_bytes");
        let period = files.number("cpu.cfs_period_us").unwrap_or(DEFAULT_PERIOD);
        let quota = files.take("cpu.cfs_quota_us").map(|quota| Quota {
            quota: quota.parse().ok(),
            period,
        });
        Self {
            version: HierarchyVersion::V1,
            weight: files.number("cpu.shares").map(Weight::Shares),
            quota,
            burst: files.number("cpu.cfs_burst_us"),
            idle: files.number("cpu.idle").map(|idle| idle != 0),
            cpus: files.take("cpuset.cpus"),
            mems: files.take("cpuset.mems"),
            memory,
            swap: both.map(|both| swap_alone(both, memory)),
            // Unlike elsewhere, no limit here means that nothing is spared.
            low: files
                .amount("memory.soft_limit_in_bytes")
                .map(|amount| amount.bytes().unwrap_or(0)),
            pids: files.take("pids.max"),
            throttles: throttles_of_v1(&mut files),
            bfq_weight: files.take("blkio.bfq.weight"),
            bfq_devices: without_default(files.devices.remove("blkio.bfq.weight_device").unwrap_or_default()),
            huge_reserved: files.sizes(".rsvd.limit_in_bytes"),
            huge: files.sizes(".limit_in_bytes"),
            rdma: files.take("rdma.max"),
            misc: files.take("misc.max"),
            rest: files.values,
            rest_devices: files.devices,
        }
    }

    fn from_v2(mut files: Files) -> Self {
        let bfq = files.devices.remove("io.bfq.weight").unwrap_or_default();
        let memory = files.amount("memory.max");
        Self {
            version: HierarchyVersion::V2,
            weight: files.number("cpu.weight").map(Weight::Weight),
            quota: files.take("cpu.max").and_then(|text| quota_of_v2(&text)),
            burst: files.number("cpu.max.burst"),
            idle: files.number("cpu.idle").map(|idle| idle != 0),
            cpus: files.take("cpuset.cpus"),
            mems: files.take("cpuset.mems"),
            memory,
            swap: files.amount("memory.swap.max"),
            low: files
                .amount("memory.low")
                .map(|amount| amount.bytes().unwrap_or(u64::MAX)),
            pids: files.take("pids.max"),
            throttles: files
                .devices
                .remove("io.max")
                .unwrap_or_default()
                .into_iter()
                .map(throttle_of_v2)
                .collect(),
            bfq_weight: bfq
                .iter()
                .find(|limit| limit.is_default())
                .map(|limit| limit.value.clone()),
            bfq_devices: without_default(bfq),
            huge_reserved: files.sizes(".rsvd.max"),
            huge: files.sizes(".max"),
            rdma: files.take("rdma.max"),
            misc: files.take("misc.max"),
            rest: files.values,
            rest_devices: files.devices,
        }
    }

    /// The limits as files of the other version, and what has none.
    pub(super) fn translated(&self) -> (Vec<Setting>, Vec<Warning>) {
        let mut warnings = Vec::new();
        let settings = match self.version {
            HierarchyVersion::V1 => self.to_v2(),
            HierarchyVersion::V2 => self.to_v1(&mut warnings),
        };
        warnings.extend(self.approximate());
        warnings.extend(self.untranslatable());
        (settings, warnings)
    }

    /// The runtimes make one of the other; but the soft limit is a pressure on the cgroup, and the other its protection.
    fn approximate(&self) -> Option<Warning> {
        let low = self.low.filter(|&low| low > 0)?.to_string();
        let (file, here) = ("memory.soft_limit_in_bytes".to_owned(), "memory.low".to_owned());
        let (file, here) = if self.version == HierarchyVersion::V1 {
            (file, here)
        } else {
            (here, file)
        };
        Some(Warning::Approximate {
            file,
            value: low.clone(),
            here,
            becomes: low,
        })
    }

    /// What only the recorded version has and is not usual.
    pub(super) fn untranslatable(&self) -> Vec<Warning> {
        let unusual =
            |name: &str, value: &str| files::find(self.version, name).is_some_and(|file| !file.usual.holds(value));
        let lost = |file: &str, value: String| Warning::NoEquivalent {
            file: file.to_owned(),
            value,
        };
        let values = self.rest.iter().filter(|(name, value)| unusual(name, value));
        let mut warnings: Vec<_> = values.map(|(name, value)| lost(name, value.clone())).collect();
        for (name, limits) in &self.rest_devices {
            for limit in limits {
                let line = limit.line();
                if unusual(name, &line) {
                    warnings.push(lost(name, line));
                }
            }
        }
        warnings
    }

    fn to_v2(&self) -> Vec<Setting> {
        let mut out = Settings::default();
        if self.idle != Some(true) {
            out.value("cpu.weight", self.weight.map(|weight| weight.as_weight().to_string()));
        }
        out.value("cpu.max", self.quota.map(Quota::as_v2));
        out.value("cpu.max.burst", self.burst);
        out.value("cpu.idle", self.idle.map(u8::from));
        out.value("cpuset.cpus", self.cpus.clone());
        out.value("cpuset.mems", self.mems.clone());
        out.value("memory.max", self.memory.map(Amount::as_v2));
        out.value("memory.low", self.low);
        out.value("memory.swap.max", self.swap.map(Amount::as_v2));
        out.value("pids.max", self.pids.clone());
        out.devices("io.max", self.throttles.iter().map(Throttle::as_v2).collect());
        // Only BFQ has this weight; its usual value is not worth a file that most hosts do not have.
        let weight = self.bfq_weight.clone().filter(|weight| weight != "100").into_iter();
        let default = weight.map(|value| DeviceLimit {
            device: Some(DEFAULT_DEVICE.to_owned()),
            number: None,
            value,
        });
        out.devices(
            "io.bfq.weight",
            default.chain(self.bfq_devices.iter().cloned()).collect(),
        );
        for (size, amount) in &self.huge {
            out.value(&format!("hugetlb.{size}.max"), Some(amount.as_v2()));
        }
        for (size, amount) in &self.huge_reserved {
            out.value(&format!("hugetlb.{size}.rsvd.max"), Some(amount.as_v2()));
        }
        out.value("rdma.max", self.rdma.clone());
        out.value("misc.max", self.misc.clone());
        out.0
    }

    fn to_v1(&self, warnings: &mut Vec<Warning>) -> Vec<Setting> {
        let mut out = Settings::default();
        if self.idle != Some(true) {
            out.value("cpu.shares", self.weight.map(|weight| weight.as_shares().to_string()));
        }
        out.value("cpu.cfs_period_us", self.quota.map(|quota| quota.period));
        out.value("cpu.cfs_quota_us", self.quota.map(|quota| signed(quota.quota)));
        out.value("cpu.cfs_burst_us", self.burst);
        out.value("cpu.idle", self.idle.map(u8::from));
        out.value("cpuset.cpus", self.cpus.clone().filter(|cpus| !cpus.is_empty()));
        out.value("cpuset.mems", self.mems.clone().filter(|mems| !mems.is_empty()));
        out.value(
            "memory.limit_in_bytes",
            self.memory.map(|amount| signed(amount.bytes())),
        );
        out.value(
            "memory.memsw.limit_in_bytes",
            self.memory_and_swap(warnings).map(|both| signed(both.bytes())),
        );
        out.value(
            "memory.soft_limit_in_bytes",
            self.low.map(|low| signed(Some(low).filter(|&low| low != 0))),
        );
        out.value("pids.max", self.pids.clone());
        for (name, file) in THROTTLES {
            out.devices(
                file,
                self.throttles
                    .iter()
                    .filter_map(|throttle| throttle.as_v1(name))
                    .collect(),
            );
        }
        out.value(
            "blkio.bfq.weight",
            self.bfq_weight.clone().filter(|weight| weight != "100"),
        );
        out.devices("blkio.bfq.weight_device", self.bfq_devices.clone());
        for (size, amount) in &self.huge {
            out.value(&format!("hugetlb.{size}.limit_in_bytes"), Some(signed(amount.bytes())));
        }
        for (size, amount) in &self.huge_reserved {
            out.value(
                &format!("hugetlb.{size}.rsvd.limit_in_bytes"),
                Some(signed(amount.bytes())),
            );
        }
        out.value("rdma.max", self.rdma.clone());
        out.value("misc.max", self.misc.clone());
        out.0
    }

    /// Version 1's limit of memory and swap together. Swap that is limited where memory is not cannot be said there.
    pub(super) fn memory_and_swap(&self, warnings: &mut Vec<Warning>) -> Option<Amount> {
        match (self.memory?, self.swap?) {
            (Amount::Bytes(memory), Amount::Bytes(swap)) => Some(Amount::Bytes(memory.saturating_add(swap))),
            (_, Amount::Unlimited) => Some(Amount::Unlimited),
            (Amount::Unlimited, Amount::Bytes(swap)) => {
                warnings.push(Warning::NoEquivalent {
                    file: "memory.swap.max".to_owned(),
                    value: swap.to_string(),
                });
                None
            }
        }
    }
}

const DEFAULT_PERIOD: u64 = 100_000;

/// Recorded files, taken out one by one.
struct Files {
    values: BTreeMap<String, String>,
    devices: BTreeMap<String, Vec<DeviceLimit>>,
}

impl Files {
    fn take(&mut self, name: &str) -> Option<String> {
        self.values.remove(name)
    }

    fn number(&mut self, name: &str) -> Option<u64> {
        self.take(name)?.parse().ok()
    }

    fn amount(&mut self, name: &str) -> Option<Amount> {
        Amount::parse(&self.take(name)?)
    }

    /// The files `hugetlb.SIZE<suffix>`, by size.
    fn sizes(&mut self, suffix: &str) -> BTreeMap<String, Amount> {
        let size = |name: &str| Some(name.strip_prefix("hugetlb.")?.strip_suffix(suffix)?.to_owned());
        let names: Vec<_> = self
            .values
            .keys()
            .filter_map(|name| Some((name.clone(), size(name)?)))
            .collect();
        names
            .into_iter()
            .filter_map(|(name, size)| Some((size, self.amount(&name)?)))
            .collect()
    }
}

/// Settings in the order that they are added in.
#[derive(Default)]
struct Settings(Vec<Setting>);

impl Settings {
    fn value(&mut self, file: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.0.push((file.to_owned(), Content::Value(value.to_string())));
        }
    }

    fn devices(&mut self, file: &str, limits: Vec<DeviceLimit>) {
        if !limits.is_empty() {
            self.0.push((file.to_owned(), Content::Devices(limits)));
        }
    }
}

impl HierarchyVersion {
    pub(super) fn other(self) -> Self {
        match self {
            Self::V1 => Self::V2,
            Self::V2 => Self::V1,
        }
    }
}

impl Amount {
    fn parse(text: &str) -> Option<Self> {
        if files::is_unlimited(text) {
            Some(Self::Unlimited)
        } else {
            text.parse().ok().map(Self::Bytes)
        }
    }

    /// The bytes, `None` without a limit.
    pub(super) fn bytes(self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::Bytes(bytes) => Some(bytes),
        }
    }

    pub(super) fn as_v2(self) -> String {
        self.bytes().map_or_else(|| "max".to_owned(), |bytes| bytes.to_string())
    }
}

/// Version 1 writes no limit as -1.
pub(super) fn signed(amount: Option<u64>) -> String {
    amount.map_or_else(|| "-1".to_owned(), |amount| amount.to_string())
}

impl Quota {
    pub(super) fn as_v2(self) -> String {
        let quota = self.quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        format!("{quota} {}", self.period)
    }
}

fn quota_of_v2(text: &str) -> Option<Quota> {
    let (quota, period) = text.split_once(' ')?;
    let quota = if quota == "max" {
        None
    } else {
        Some(quota.parse().ok()?)
    };
    Some(Quota {
        quota,
        period: period.parse().ok()?,
    })
}

/// Version 1 limits memory and swap together.
fn swap_alone(both: Amount, memory: Option<Amount>) -> Amount {
    match (both, memory) {
        (Amount::Bytes(both), Some(Amount::Bytes(memory))) => Amount::Bytes(both.saturating_sub(memory)),
        _ => Amount::Unlimited,
    }
}

fn without_default(mut limits: Vec<DeviceLimit>) -> Vec<DeviceLimit> {
    limits.retain(|limit| !limit.is_default());
    limits
}

fn throttles_of_v1(files: &mut Files) -> Vec<Throttle> {
    let mut throttles: Vec<Throttle> = Vec::new();
    for (name, file) in THROTTLES {
        for limit in files.devices.remove(file).unwrap_or_default() {
            let Ok(value) = limit.value.parse() else { continue };
            let same = |throttle: &&mut Throttle| throttle.device == limit.device && throttle.number == limit.number;
            match throttles.iter_mut().find(same) {
                Some(throttle) => drop(throttle.limits.insert(name, value)),
                None => throttles.push(Throttle {
                    device: limit.device,
                    number: limit.number,
                    limits: BTreeMap::from([(name, value)]),
                }),
            }
        }
    }
    throttles
}

fn throttle_of_v2(limit: DeviceLimit) -> Throttle {
    let value = |name: &str| {
        let word = limit
            .value
            .split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
        word.parse().ok()
    };
    let limits = THROTTLES
        .iter()
        .filter_map(|&(name, _)| Some((name, value(name)?)))
        .collect();
    Throttle {
        device: limit.device,
        number: limit.number,
        limits,
    }
}

impl Throttle {
    fn as_v2(&self) -> DeviceLimit {
        let words: Vec<_> = self
            .limits
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        DeviceLimit {
            device: self.device.clone(),
            number: self.number.clone(),
            value: words.join(" "),
        }
    }

    fn as_v1(&self, name: &str) -> Option<DeviceLimit> {
        let value = self.limits.get(name)?.to_string();
        Some(DeviceLimit {
            device: self.device.clone(),
            number: self.number.clone(),
            value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_counted_apart_and_together() {
        use Amount::{Bytes, Unlimited};
        let cases = [
            (Bytes(300), Some(Bytes(100)), Bytes(200)),
            (Bytes(100), Some(Bytes(100)), Bytes(0)),
            (Unlimited, Some(Bytes(100)), Unlimited),
            (Unlimited, Some(Unlimited), Unlimited),
        ];
        for (both, memory, swap) in cases {
            assert_eq!(swap_alone(both, memory), swap);
            let mut warnings = Vec::new();
            let files = Files {
                values: BTreeMap::new(),
                devices: BTreeMap::new(),
            };
            let limits = Limits {
                memory,
                swap: Some(swap),
                ..Limits::from_v2(files)
            };
            assert_eq!(limits.memory_and_swap(&mut warnings), Some(both));
            assert!(warnings.is_empty());
        }
    }
}
