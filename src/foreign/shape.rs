//! The documents that every engine writes, from a manifest.

use serde_json::{Value, json};

use crate::manifest::{Manifest, Namespace};

/// Size of /dev/shm that podman gives a container, bytes.
const SHM_SIZE: u64 = 65_536_000;

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

/// `config.dump` as podman wants it, of a container that was another engine's: without these keys it restores none. Everything
/// else of its hundred is as in a container that was made without options.
#[must_use]
pub fn podman_config(manifest: &Manifest) -> Value {
    let mut config = config_dump(manifest);
    let digest = manifest
        .container
        .image
        .as_ref()
        .and_then(|image| image.digest.as_deref());
    let own_network = |namespace: &Namespace| namespace.kind == "network";
    let more = json!({
        "rootfsImageID": digest.and_then(|digest| digest.strip_prefix("sha256:")).unwrap_or(""),
        "shmSize": SHM_SIZE,
        "logDriver": "k8s-file",
        "cgroupManager": "cgroupfs",
        "cgroupsMode": "enabled",
        "cgroupParent": "/libpod_parent",
        "createNetNS": manifest.namespaces.iter().any(own_network),
        "networkMode": "bridge",
        "newNetworks": {"podman": {"interface_name": "eth0"}},
    });
    if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
        config.extend(more);
    }
    config
}
