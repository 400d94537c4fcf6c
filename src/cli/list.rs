//! `ckpt list`: the checkpoints in directories.
//!
//! Files that are no archives are passed over in a directory, and are an error where they were named.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use schemars::JsonSchema;
use serde::Serialize;

use super::Outcome;
use super::archive::Archive;
use super::args::ListArgs;
use super::render::{Stop, Ui, json, table, text};
use crate::archive::format::CHECKPOINT;
use crate::manifest::{Manifest, Pod};

/// Where the kubelet puts checkpoints.
const KUBELET: &str = "/var/lib/kubelet/checkpoints";
/// Ends of names that archives have.
const ENDINGS: [&str; 8] = [
    ".ckpt",
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.zst",
    ".tar.zstd",
    ".zst",
    ".gz",
];
/// What the kubelet's names begin with.
const PREFIX: &str = "checkpoint-";

/// A checkpoint, as `--json` lists it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Listed {
    /// The archive.
    pub file: PathBuf,
    /// Name of the container.
    pub container: String,
    /// Its identifier.
    pub id: String,
    /// Its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The namespace of its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The engine that made the checkpoint, or `ckpt`.
    pub engine: String,
    /// The runtime.
    pub runtime: String,
    /// When the container was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// When the checkpoint was taken.
    pub checkpointed_at: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Length of the archive, bytes.
    pub bytes: u64,
    /// Size of CRIU's images, bytes.
    pub images_bytes: u64,
    /// Size of the changes of the root file system, bytes.
    pub rootfs_bytes: u64,
}

/// Lists checkpoints.
pub fn run(args: ListArgs, ui: &Ui) -> Outcome {
    let places = match args.places.is_empty() {
        true => vec![PathBuf::from(KUBELET)],
        false => args.places.clone(),
    };
    let mut found = Vec::new();
    for place in &places {
        if place.is_dir() {
            found.extend(directory(place, ui)?);
        } else if !args.places.is_empty() {
            found.push(listed(place.clone())?);
        }
    }
    ui.result(&found, |out| match found.as_slice() {
        [] => {
            let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
            writeln!(out, "no checkpoints in {}", text::visible(&places.join(", ")))
        }
        found if args.long => show(out, &LONG, found, &long),
        found => show(out, &SHORT, found, &short),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The archives in a directory, by their names.
fn directory(place: &Path, ui: &Ui) -> Result<Vec<Listed>, Stop> {
    let failed = |error: std::io::Error| {
        let what = format!("cannot list {}", place.display());
        Stop::from(super::render::failure::Failure::new(
            what,
            crate::error::ErrorKind::Other,
            &error,
        ))
    };
    let mut paths = Vec::new();
    for entry in place.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() && (name.starts_with(PREFIX) || ENDINGS.iter().any(|ending| name.ends_with(ending))) {
            paths.push(path);
        }
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        match listed(path) {
            Ok(listed) => found.push(listed),
            Err(Stop::Failed(failure)) => {
                let message = std::iter::once(failure.what)
                    .chain(failure.causes)
                    .collect::<Vec<_>>()
                    .join(": ");
                ui.tell(
                    &json::Line::Warning {
                        message: message.clone(),
                    },
                    &message,
                );
            }
            Err(stop) => return Err(stop),
        }
    }
    Ok(found)
}

fn listed(path: PathBuf) -> Result<Listed, Stop> {
    let summary = Archive::new(path.clone(), None, "list").read(&|_| false, &mut |_, _, _| Ok(()))?;
    let below = |prefix: &str| {
        let entries = summary.entries.iter().filter(|entry| entry.name.starts_with(prefix));
        entries.map(|entry| entry.bytes).sum()
    };
    let Manifest {
        container,
        engine,
        runtime,
        checkpointed_at,
        ..
    } = summary.manifest;
    let Pod { name, namespace } = match engine.as_ref().and_then(|engine| engine.pod.clone()) {
        Some(pod) => pod,
        None => Pod {
            name: String::new(),
            namespace: None,
        },
    };
    Ok(Listed {
        file: path,
        container: container.name,
        id: container.id,
        image: container.image.map(|image| image.name),
        pod: Some(name).filter(|name| !name.is_empty()),
        namespace,
        engine: engine
            .as_ref()
            .map_or_else(|| "ckpt".to_owned(), |engine| engine.name.to_string()),
        runtime: runtime.name,
        created: container.created,
        checkpointed_at,
        addresses: engine
            .map(|engine| {
                engine
                    .networks
                    .into_iter()
                    .flat_map(|network| network.addresses)
                    .collect()
            })
            .unwrap_or_default(),
        bytes: summary.stored_bytes,
        images_bytes: below(&format!("{CHECKPOINT}/")),
        rootfs_bytes: below("rootfs"),
    })
}

const SHORT: [&str; 7] = ["CONTAINER", "NAMESPACE", "POD", "ENGINE", "TAKEN AT", "SIZE", "FILE"];
const LONG: [&str; 11] = [
    "CONTAINER",
    "IMAGE",
    "ID",
    "RUNTIME",
    "CREATED",
    "ENGINE",
    "TAKEN AT",
    "ADDRESS",
    "IMAGES",
    "ROOT FILES",
    "FILE",
];
/// Characters of an identifier that are shown.
const ID: usize = 12;

fn short(listed: &Listed) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        listed.container.clone(),
        or_dash(&listed.namespace),
        or_dash(&listed.pod),
        listed.engine.clone(),
        listed.checkpointed_at.clone(),
        text::bytes(listed.bytes),
        listed
            .file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    ]
}

fn long(listed: &Listed) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        listed.container.clone(),
        or_dash(&listed.image),
        listed.id.chars().take(ID).collect(),
        listed.runtime.clone(),
        or_dash(&listed.created),
        listed.engine.clone(),
        listed.checkpointed_at.clone(),
        or_dash(&Some(listed.addresses.join(",")).filter(|text| !text.is_empty())),
        text::bytes(listed.images_bytes),
        text::bytes(listed.rootfs_bytes),
        listed.file.display().to_string(),
    ]
}

fn show(
    out: &mut dyn Write,
    head: &[&str],
    found: &[Listed],
    row: &dyn Fn(&Listed) -> Vec<String>,
) -> std::io::Result<()> {
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    table::lines(head, &rows)
        .iter()
        .try_for_each(|line| writeln!(out, "{}", text::visible(line)))
}

/// The JSON Schema of what `--json` prints.
pub fn schema() -> String {
    json::schema_of::<Vec<Listed>>()
}
