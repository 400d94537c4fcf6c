//! The archive that podman is given: of the real one only what podman has to know, with what is changed for this host.

use std::fs::File;
use std::path::Path;

use serde_json::Value;

use crate::error::Error;
use crate::rewrite::apply::ContentsError;
use crate::rewrite::podman::PodmanConfig;

/// The image by which podman tells that there is a checkpoint.
const INVENTORY: &str = "inventory.img";

/// Writes it to `path`; `manager` makes podman's cgroups here.
pub(super) fn write(
    path: &Path,
    (config, manager): (&PodmanConfig, &str),
    spec: &Value,
    network: Option<&[u8]>,
    images: &Path,
) -> Result<(), Error> {
    let inventory = images.join(INVENTORY);
    let inventory = std::fs::read(&inventory).map_err(|error| Error::io("reading", &inventory, error))?;
    let config = json("config.dump", &config.cleaned(manager))?;
    let spec = json("spec.dump", spec)?;
    let mut entries: Vec<(&str, &[u8])> = vec![("config.dump", &config), ("spec.dump", &spec)];
    entries.extend(network.map(|status| ("network.status", status)));
    entries.push(("checkpoint/inventory.img", &inventory));
    tar(path, &entries).map_err(|error| Error::io("writing", path, error))
}

fn tar(path: &Path, entries: &[(&str, &[u8])]) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(File::create_new(path)?);
    for (name, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, name, *content)?;
    }
    archive.into_inner().map(drop)
}

fn json(entry: &'static str, value: &Value) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|source| Error::Json { entry, source })
}

/// An entry that cannot be read.
pub(super) fn unreadable(entry: &str, source: ContentsError) -> Error {
    Error::Entry {
        entry: entry.to_owned(),
        source,
    }
}
