//! The manifest of an export: what is said of the container before any of it is read.

use serde_json::Value;

use crate::manifest::{Container, DumpOptions, Image, Namespace, Producer, Runtime};
use crate::runtime::Target;

/// Annotations that name the image a container was made from, with the one that holds its digest, if there is one.
const IMAGE_ANNOTATIONS: [(&str, Option<&str>); 4] = [
    ("io.kubernetes.cri-o.ImageName", Some("io.kubernetes.cri-o.ImageRef")),
    ("io.kubernetes.cri.image-name", None),
    ("io.podman.annotations.image", None),
    ("org.opencontainers.image.ref.name", None),
];

/// What made the archive.
pub(super) fn producer() -> Producer {
    Producer { name: "ckpt".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// The container's part of the manifest.
pub(super) fn container(target: &Target) -> Container {
    let text = |pointer| target.spec.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    Container {
        id: target.id.clone(),
        name: target.id.clone(),
        bundle: target.bundle.to_string_lossy().into_owned(),
        rootfs: target.rootfs.to_string_lossy().into_owned(),
        hostname: text("/hostname"),
        image: image(&target.spec),
        terminal: target.spec.pointer("/process/terminal").and_then(Value::as_bool).unwrap_or(false),
        pid: target.pid,
        created: target.created.clone(),
    }
}

fn image(spec: &Value) -> Option<Image> {
    let annotation = |name: &str| Some(spec.get("annotations")?.get(name)?.as_str()?.to_owned());
    IMAGE_ANNOTATIONS.iter().find_map(|(name, digest)| {
        Some(Image { name: annotation(name)?, digest: digest.and_then(annotation).filter(|d| d.contains("sha256:")) })
    })
}

/// The namespaces that the configuration asks for.
pub(super) fn namespaces(spec: &Value) -> Vec<Namespace> {
    let list = spec.pointer("/linux/namespaces").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|namespace| {
            let text = |key| namespace.get(key).and_then(Value::as_str).filter(|t: &&str| !t.is_empty());
            Some(Namespace { kind: text("type")?.to_owned(), path: text("path").map(str::to_owned) })
        })
        .collect()
}

/// The runtime's part of the manifest.
pub(super) fn runtime(name: &str, version: String) -> Runtime {
    Runtime { name: name.to_owned(), version }
}

/// What the manifest says of the switches: runc's CRIU repeats some at restore by itself only when told again.
pub(super) fn options(asked: &DumpOptions) -> DumpOptions {
    asked.clone()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn namespaces_keep_their_paths_and_empty_paths_are_none() {
        let spec = json!({"linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/run/netns/x"},
            {"type": "ipc", "path": ""}]}});
        let found = namespaces(&spec);
        assert_eq!(found.iter().map(|n| n.path.as_deref()).collect::<Vec<_>>(), [None, Some("/run/netns/x"), None]);
    }

    #[test]
    fn the_image_comes_with_its_digest_where_an_engine_says_so() {
        let spec = json!({"annotations": {"io.kubernetes.cri-o.ImageName": "busybox",
            "io.kubernetes.cri-o.ImageRef": "busybox@sha256:00"}});
        let found = image(&spec).unwrap();
        assert_eq!((found.name.as_str(), found.digest.as_deref()), ("busybox", Some("busybox@sha256:00")));
        assert_eq!(image(&json!({})), None);
    }
}
