//! The small entries in the shapes of podman and CRI-O, so that their tools read what ckpt writes.

use serde_json::{Value, json};

use crate::manifest::Manifest;

/// Go's zero time, which these engines write where something has not happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// `config.dump`: the ten keys that CRI-O and containerd write and that every reader knows.
pub(super) fn config_dump(manifest: &Manifest) -> Value {
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

/// `network.status`: podman's networks of the container. A container of a plain runtime has none.
pub(super) const NETWORK_STATUS: &[u8] = b"null\n";

/// JSON as it stands in an archive: indented, with a newline at its end, so that it reads well with `ckpt cat`.
pub(super) fn text(value: &impl serde::Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}
