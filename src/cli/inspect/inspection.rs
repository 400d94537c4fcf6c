//! Everything that is known of an archive, in one value: what `--json` prints, and what every view is made from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::super::archive::{Archive, Entry, Summary};
use super::super::look::{CGROUP, Look, SPEC, STATISTICS};
use super::super::render::Stop;
use crate::cgroup::CgroupRecord;
use crate::criu::stats::DumpStats;
use crate::foreign::Faults;
use crate::images::{CgroupLimits, Inside, Want};
use crate::manifest::Manifest;

/// What is known of an archive.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Inspection {
    /// The archive's name as it was given.
    #[serde(skip)]
    pub file: String,
    /// The archive as a file.
    pub archive: File,
    /// Its manifest; of another engine's archive the one that it would have.
    pub manifest: Manifest,
    /// Its entries, in their order.
    pub entries: Vec<Entry>,
    /// CRIU's statistics of the dump.
    pub statistics: Option<DumpStats>,
    /// Why there are no statistics.
    #[serde(skip)]
    pub statistics_problem: Option<String>,
    /// Of another engine's archive, what is wrong or strange in its images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<Faults>,
    /// Annotations of the OCI configuration.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What CRIU's images say.
    #[serde(flatten)]
    pub inside: Inside,
}

/// An archive as a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct File {
    /// SHA-256 of its list of checksums; none where another engine made it, which makes no checksums.
    pub identity: Option<String>,
    /// How it is compressed.
    pub compression: String,
    /// Its length, bytes.
    pub bytes: u64,
    /// Bytes of its content.
    pub content_bytes: u64,
}

/// The part of an OCI configuration that is looked at.
#[derive(Debug, Default, serde::Deserialize)]
struct Spec {
    #[serde(default)]
    annotations: BTreeMap<String, serde_json::Value>,
}

impl Inspection {
    /// Looks at an archive.
    pub fn of(archive: &Archive, look: &Look, want: Want) -> Result<Self, Stop> {
        let mut inside = Inside::read(look.images(), want).map_err(|error| archive.fail_images(&error))?;
        if let Some(record) = record(look) {
            inside.cgroups = record;
        }
        let (statistics, statistics_problem) = match statistics(look) {
            Ok(statistics) => (Some(statistics), None),
            Err(problem) => (None, Some(problem)),
        };
        let annotations = annotations(look);
        let Summary {
            manifest,
            identity,
            faults,
            compression,
            stored_bytes,
            content_bytes,
            entries,
            ..
        } = look.summary.clone();
        Ok(Self {
            file: archive.name(),
            archive: File {
                identity: identity.map(|identity| identity.to_string()),
                compression,
                bytes: stored_bytes,
                content_bytes,
            },
            manifest,
            entries,
            statistics,
            statistics_problem,
            images: faults,
            annotations,
            inside,
        })
    }
}

fn statistics(look: &Look) -> Result<DumpStats, String> {
    let file = look
        .entry(STATISTICS)
        .ok_or_else(|| format!("there is no entry {STATISTICS}"))?;
    DumpStats::from_file(&file).map_err(|error| format!("{STATISTICS}: {error}"))
}

/// Annotations that are no strings are none.
fn annotations(look: &Look) -> BTreeMap<String, String> {
    let spec: Spec = look
        .entry(SPEC)
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    let strings = spec.annotations.into_iter().filter_map(|(name, value)| match value {
        serde_json::Value::String(value) => Some((name, value)),
        _ => None,
    });
    strings.collect()
}

/// The limits in the cgroup record, which is more complete than CRIU's.
fn record(look: &Look) -> Option<Vec<CgroupLimits>> {
    let record = CgroupRecord::from_json(&look.entry(CGROUP)?).ok()?;
    let groups = record.hierarchies.iter().flat_map(|hierarchy| {
        hierarchy.groups.iter().map(|group| {
            let mut limits = group.limits.clone();
            for (file, devices) in &group.device_limits {
                let line = |limit: &crate::cgroup::DeviceLimit| {
                    let device = limit.device.as_deref().or(limit.number.as_deref()).unwrap_or_default();
                    format!("{device} {}", limit.value)
                };
                limits.insert(file.clone(), devices.iter().map(line).collect::<Vec<_>>().join(", "));
            }
            CgroupLimits {
                controllers: hierarchy.controllers.clone(),
                path: [hierarchy.path.as_str(), group.path.as_str()]
                    .iter()
                    .filter(|part| !part.is_empty())
                    .map(|part| format!("/{part}"))
                    .collect(),
                limits,
            }
        })
    });
    Some(groups.filter(|group| !group.limits.is_empty()).collect())
}

/// The JSON Schema of an [`Inspection`].
pub fn schema() -> String {
    super::super::render::json::schema_of::<Inspection>()
}
