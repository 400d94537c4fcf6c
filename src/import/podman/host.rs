//! What the plan has to know of podman on this host. Each question is a command, so they are asked at once.

use std::path::PathBuf;
use std::thread;

use serde_json::Value;

use super::ports;
use crate::error::Error;
use crate::import::describe;
use crate::request::{ImportRequest, RuntimeKind};
use crate::rewrite::plan::{PodmanView, podman_questions};
use crate::rewrite::podman::{PodmanConfig, PublishedPort};
use crate::rewrite::{HostView, Inputs};
use crate::runtime::{self, Oci, Podman, Runtime as _};

/// What was seen.
pub(super) struct Seen {
    /// podman, if it is installed.
    pub(super) podman: Option<Podman>,
    /// What is known of it.
    pub(super) view: PodmanView,
    /// The rest of the host.
    pub(super) host: HostView,
}

/// Looks at the host for an import of a container with this configuration.
pub(super) fn look(inputs: Inputs<'_>, config: Option<&PodmanConfig>) -> Result<Seen, Error> {
    let podman = match Podman::open(inputs.request.state_root.as_deref()) {
        Ok(podman) => Some(podman),
        Err(runtime::Error::NotInstalled { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let view = match (&podman, config) {
        (Some(podman), Some(config)) => ask(podman, config, inputs)?,
        _ => PodmanView::default(),
    };
    let lower = RuntimeKind::from_name(&inputs.manifest.runtime.name).filter(|kind| RuntimeKind::OCI.contains(kind));
    let lower = lower.and_then(|kind| Oci::open(kind, None).ok());
    let mut host = HostView {
        paths: Default::default(),
        runtime: lower.and_then(|runtime| runtime.version().ok()),
        name_taken: false,
        bundle_user: None,
        cgroup: describe::cgroup_view()?,
        base: None,
    };
    if let Some(config) = config {
        host.paths = HostView::look(&podman_questions(inputs, config, &host, &view));
    }
    Ok(Seen { podman, view, host })
}

fn ask(podman: &Podman, config: &PodmanConfig, inputs: Inputs<'_>) -> Result<PodmanView, Error> {
    let request = inputs.request;
    let name = request.name.as_deref().unwrap_or(config.name());
    let mut containers = vec![name.to_owned()];
    // Under a new name it gets a new identifier, too.
    if request.name.is_none() {
        containers.push(config.id().to_owned());
    }
    let volumes: Vec<String> = config.volumes().into_iter().map(|volume| volume.name).collect();
    let (networks, secrets) = (config.networks(), config.secrets());
    let there = |kind: &str, names: &[String]| -> Result<Vec<String>, Error> { Ok(podman.existing(kind, names)?) };
    let there = &there;
    let (containers, volumes) = (&containers, &volumes);
    thread::scope(|scope| {
        let info = scope.spawn(|| info(podman));
        let image = scope.spawn(|| image(podman, config.image().0));
        let containers = scope.spawn(move || there("container", containers));
        let volumes_there = scope.spawn(move || there("volume", volumes));
        let networks_there = there("network", &networks)?;
        let secrets_there = there("secret", &secrets)?;
        let pods: Vec<String> = request.podman.pod.iter().cloned().collect();
        let has_pod = !there("pod", &pods)?.is_empty();
        let missing = |names: &[String], there: &[String]| {
            names
                .iter()
                .filter(|name| !there.contains(name))
                .cloned()
                .collect::<Vec<_>>()
        };
        let info = joined(info)?;
        Ok(PodmanView {
            installed: true,
            volumes: info.volumes,
            storage: info.storage,
            cgroup_manager: info.cgroup_manager,
            containers_taken: joined(containers)?,
            volumes_taken: joined(volumes_there)?,
            image: joined(image)?,
            networks_missing: missing(&networks, &networks_there),
            secrets_missing: missing(&secrets, &secrets_there),
            ports_taken: ports::taken(&published(config, request)),
            has_pod,
        })
    })
}

/// The ports that the container will publish, as far as the archive says: other ones are between podman and who asks for them,
/// and in a pod they are the pod's.
fn published(config: &PodmanConfig, request: &ImportRequest) -> Vec<PublishedPort> {
    let asked = &request.podman;
    if asked.publish.is_empty() && !config.is_of_pod() {
        config.ports()
    } else {
        Vec::new()
    }
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What podman says of itself.
struct Info {
    /// The directory of volumes.
    volumes: PathBuf,
    /// That of all storage.
    storage: PathBuf,
    /// What makes its cgroups.
    cgroup_manager: String,
}

fn info(podman: &Podman) -> Result<Info, Error> {
    let text = podman.ask(&["info", "--format", "json"])?;
    let info: Value = serde_json::from_slice(&text).map_err(|source| runtime::Error::Json {
        what: "podman's description",
        id: "info".to_owned(),
        source,
    })?;
    let text = |pointer| info.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    Ok(Info {
        volumes: text("/store/volumePath").into(),
        storage: text("/store/graphRoot").into(),
        cgroup_manager: text("/host/cgroupManager").to_owned(),
    })
}

/// The identifier of the image of that name; `None` where there is none.
fn image(podman: &Podman, name: &str) -> Result<Option<String>, Error> {
    if name.is_empty() || podman.existing("image", &[name.to_owned()])?.is_empty() {
        return Ok(None);
    }
    let id = podman.ask(&["image", "inspect", "--format", "{{.Id}}", "--", name])?;
    Ok(Some(String::from_utf8_lossy(&id).trim().to_owned()))
}
