//! The manifest of an export: what is said of the container before any of it is read.

use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::files::Files;
use crate::manifest::{
    BindMount, Container, FORMAT_VERSION, FileType, Filesystem, Host, Image, Manifest, Namespace, Producer, Runtime,
};
use crate::mounts::bind::Declared;
use crate::request::{ExportRequest, RuntimeKind};
use crate::runtime::{Engine, Target};

/// Annotations that name the image a container was made from, with the one that holds its digest, if there is one.
const IMAGE_ANNOTATIONS: [(&str, Option<&str>); 4] = [
    ("io.kubernetes.cri-o.ImageName", Some("io.kubernetes.cri-o.ImageRef")),
    ("io.kubernetes.cri.image-name", None),
    ("io.podman.annotations.image", None),
    ("org.opencontainers.image.ref.name", None),
];

/// The manifest; what is in it of the file system is filled in when that has been captured.
pub(super) fn manifest(
    request: &ExportRequest,
    host: Host,
    (kind, version): (RuntimeKind, String),
    target: &Target,
    bind_mounts: Vec<BindMount>,
    timestamp: u64,
) -> Manifest {
    Manifest {
        format: FORMAT_VERSION,
        producer: Producer {
            name: "ckpt".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        engine: None,
        checkpointed_at: rfc3339(timestamp),
        host,
        runtime: Runtime {
            name: kind.name().to_owned(),
            version,
        },
        container: container(target),
        options: request.dump.clone(),
        namespaces: namespaces(&target.spec),
        bind_mounts,
        filesystem: Filesystem::default(),
        parent: None,
    }
}

/// Adds what an engine knows.
pub(super) fn engine(manifest: &mut Manifest, engine: &Engine) {
    manifest.container.name.clone_from(&engine.name);
    if engine.image.is_some() {
        manifest.container.image.clone_from(&engine.image);
    }
}

/// Adds what will be taken of the container's files.
pub(super) fn files(manifest: &mut Manifest, files: &Files) {
    manifest.filesystem = files.describe();
    for (destination, entry) in files.mounts() {
        let mut mounts = manifest.bind_mounts.iter_mut();
        if let Some(mount) = mounts.find(|mount| mount.destination == destination) {
            mount.entry = Some(entry.to_owned());
        }
    }
}

/// Seconds since 1970: what the request says, or now.
pub(super) fn timestamp(request: &ExportRequest) -> u64 {
    let now = || {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    };
    request.timestamp.unwrap_or_else(now)
}

fn rfc3339(timestamp: u64) -> String {
    let time = i64::try_from(timestamp)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
}

/// A bind mount of which only the configuration is known.
pub(super) fn declared(mount: Declared) -> BindMount {
    let metadata = std::fs::metadata(&mount.source).ok();
    let directory = metadata.as_ref().is_none_or(std::fs::Metadata::is_dir);
    BindMount {
        destination: mount.destination,
        source: mount.source,
        options: mount.options,
        file_type: if directory { FileType::Directory } else { FileType::File },
        permissions: format!("{:04o}", metadata.map_or(0o755, |metadata| metadata.mode()) & 0o7777),
        entry: None,
    }
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
        terminal: target
            .spec
            .pointer("/process/terminal")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        pid: target.pid,
        created: target.created.clone(),
    }
}

fn image(spec: &Value) -> Option<Image> {
    let annotation = |name: &str| Some(spec.get("annotations")?.get(name)?.as_str()?.to_owned());
    IMAGE_ANNOTATIONS.iter().find_map(|(name, digest)| {
        Some(Image {
            name: annotation(name)?,
            digest: digest.and_then(annotation).filter(|d| d.contains("sha256:")),
        })
    })
}

/// The namespaces that the configuration asks for.
pub(super) fn namespaces(spec: &Value) -> Vec<Namespace> {
    let list = spec.pointer("/linux/namespaces").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|namespace| {
            let text = |key| {
                namespace
                    .get(key)
                    .and_then(Value::as_str)
                    .filter(|t: &&str| !t.is_empty())
            };
            Some(Namespace {
                kind: text("type")?.to_owned(),
                path: text("path").map(str::to_owned),
            })
        })
        .collect()
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
        assert_eq!(
            found.iter().map(|n| n.path.as_deref()).collect::<Vec<_>>(),
            [None, Some("/run/netns/x"), None]
        );
    }

    #[test]
    fn the_image_comes_with_its_digest_where_an_engine_says_so() {
        let spec = json!({"annotations": {"io.kubernetes.cri-o.ImageName": "busybox",
            "io.kubernetes.cri-o.ImageRef": "busybox@sha256:00"}});
        let found = image(&spec).unwrap();
        assert_eq!(
            (found.name.as_str(), found.digest.as_deref()),
            ("busybox", Some("busybox@sha256:00"))
        );
        assert_eq!(image(&json!({})), None);
    }
}
