//! The documents that every engine writes, from a manifest.

use serde_json::{Value, json};

use crate::manifest::Manifest;

/// Go's zero time, which engines write where something has not happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// `config.dump`: the ten keys that CRI-O and containerd write and that every reader knows.
#[must_use]
pub fn config_dump(manifest: &Manifest) -> Value {
    let image = manifest.container.image.as_ref();
    let name = image.map_or("", |image| &image.name);
    json!({
        "id": manifest.container.id,
        "name": manifest.container.name,
        "rootfsImage": name,
        "rootfsImageRef": image.and_then(|image| image.digest.as_deref()).unwrap_or(""),
        "rootfsImageName": name,
        "runtime": manifest.runtime.name,
        "createdTime": manifest.container.created.as_deref().unwrap_or(NEVER),
        "checkpointedTime": manifest.checkpointed_at,
        "restoredTime": NEVER,
        "restored": false,
    })
}
