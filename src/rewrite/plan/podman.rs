//! The plan of an import into podman: what podman is told, what of the archive's configurations reaches it, and what ckpt puts
//! in place when podman has made the container.

use std::path::PathBuf;

use super::{Inputs, Plan, Planner, Step, Warning};
use crate::request::RestoreOptions;
use crate::rewrite::host::HostView;
use crate::rewrite::layout::{Layout, Name};
use crate::rewrite::podman::{PodmanConfig, VolumeUse};
use crate::rewrite::refusal::{Refusal, Refusals};
use crate::rewrite::spec::mounts::{self, Mount, MountKind};
use crate::rewrite::spec::{clean, namespaces};

/// Where podman mounts files of its own into every container. It drops the archive's, and so does the plan: of two for one
/// place podman would drop one.
const PODMAN_S: [&str; 8] = [
    "/dev/shm",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/run/.containerenv",
    "/run/secrets",
    "/var/run/.containerenv",
    "/var/run/secrets",
];
/// Where a container has its secrets, for `--allow-mount`.
const SECRETS: &str = "/run/secrets";
/// The entry with what the container has said (podman's name).
const LOG: &str = "ctr.log";
/// Longest name of a volume, bytes: it becomes a directory.
const MAX_VOLUME_NAME: usize = 200;

/// What is known of podman on this host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodmanView {
    /// Whether it is installed.
    pub installed: bool,
    /// The directory of its volumes.
    pub volumes: PathBuf,
    /// The directory of its storage.
    pub storage: PathBuf,
    /// What makes its cgroups: `systemd` or `cgroupfs`.
    pub cgroup_manager: String,
    /// Names and identifiers of the archive's that containers have already.
    pub containers_taken: Vec<String>,
    /// Names of the archive's that volumes have already.
    pub volumes_taken: Vec<String>,
    /// Identifier of the image that has the name of the container's.
    pub image: Option<String>,
    /// Networks of the archive's that are not there.
    pub networks_missing: Vec<String>,
    /// Secrets of the archive's that are not there.
    pub secrets_missing: Vec<String>,
    /// Ports that the container publishes, and somebody listens on.
    pub ports_taken: Vec<String>,
    /// Whether the pod of the request is there.
    pub has_pod: bool,
}

/// Plans an import into podman. The restore is its own step, [`Step::PodmanRestore`].
///
/// # Errors
/// Everything that stands in its way, at once.
pub fn plan_podman(
    inputs: Inputs<'_>,
    config: Option<&PodmanConfig>,
    host: &HostView,
    podman: &PodmanView,
) -> Result<Plan, Refusals> {
    let mut planner = Planner::new(inputs, &host.cgroup, Some(host));
    let Some(config) = config else {
        planner.refuse(Refusal::NotOfPodman);
        return planner.finish();
    };
    planner.make_podman(config, podman)
}

/// The paths of this host that the plan of these inputs asks about.
#[must_use]
pub fn podman_questions(
    inputs: Inputs<'_>,
    config: &PodmanConfig,
    host: &HostView,
    podman: &PodmanView,
) -> std::collections::BTreeSet<PathBuf> {
    let planner = Planner::new(inputs, &host.cgroup, None);
    let asked = planner.asked.clone();
    drop(planner.make_podman(config, podman));
    asked.take()
}

impl Planner<'_> {
    fn make_podman(mut self, config: &PodmanConfig, podman: &PodmanView) -> Result<Plan, Refusals> {
        self.name_for_podman(config);
        self.judge_for_podman(config, podman);
        let volumes = self.volumes_for_podman(config, podman);
        self.mounts_for_podman(config, &volumes, podman);
        self.namespaces_for_podman(config);
        self.cgroup_for_podman(config, podman);
        self.restore_by_podman(config, podman, &volumes);
        self.finish()
    }

    fn name_for_podman(&mut self, config: &PodmanConfig) {
        let wanted = self.request.name.as_deref().unwrap_or(config.name());
        let first = |name: &str| name.starts_with(|letter: char| letter.is_ascii_alphanumeric());
        match Name::new(wanted).filter(|name| first(name.as_str()) && !name.as_str().contains('+')) {
            Some(name) => self.name = name,
            None => self.refuse(Refusal::Name {
                name: wanted.to_owned(),
            }),
        }
    }

    fn judge_for_podman(&mut self, config: &PodmanConfig, podman: &PodmanView) {
        for error in crate::rewrite::spec::ambiguous_keys(self.archived) {
            self.refuse(error.into());
        }
        self.judge_kind();
        self.judge_hooks();
        self.judge_annotations();
        self.judge_devices();
        self.judge_lower_runtime(podman);
        self.judge_engine(config, podman);
        self.judge_image(config, podman);
        self.judge_pod(config, podman);
        if self.request.restore.tcp_established && self.request.restore.tcp_close {
            self.refuse(Refusal::TcpConflict);
        }
    }

    /// The OCI runtime that made the images restores them.
    fn judge_lower_runtime(&mut self, podman: &PodmanView) {
        if !podman.installed {
            self.refuse(Refusal::NoRuntime { name: "podman" });
        }
        let name = &self.manifest.runtime.name;
        let kind = crate::request::RuntimeKind::OCI
            .into_iter()
            .find(|kind| kind.name() == name);
        let Some(kind) = kind else {
            return self.refuse(Refusal::UnknownRuntime { name: name.clone() });
        };
        match self.host.map(|host| host.runtime.as_deref()) {
            Some(None) => self.refuse(Refusal::NoRuntime { name: kind.name() }),
            // Other engines' archives say nothing of it.
            Some(Some(_)) if self.manifest.runtime.version.is_empty() => {}
            Some(Some(here)) if here != self.manifest.runtime.version => self.warn(Warning::RuntimeVersion {
                archive: format!("{name} {}", self.manifest.runtime.version),
                here: format!("{name} {here}"),
            }),
            _ => {}
        }
    }

    fn judge_engine(&mut self, config: &PodmanConfig, podman: &PodmanView) {
        for what in config.unrestorable() {
            self.refuse(Refusal::NotForPodman { what });
        }
        for name in &podman.containers_taken {
            self.refuse(Refusal::NameTaken { name: name.clone() });
        }
        for port in &podman.ports_taken {
            self.refuse(Refusal::PortTaken { port: port.clone() });
        }
        for name in &podman.networks_missing {
            self.refuse(Refusal::NetworkMissing { name: name.clone() });
        }
        let allowed =
            self.request.allow_all_mounts || self.request.allow_mounts.iter().any(|path| clean(path) == SECRETS);
        for name in config.secrets() {
            if !allowed {
                self.refuse(Refusal::Secret { name });
            } else if podman.secrets_missing.contains(&name) {
                self.refuse(Refusal::SecretMissing { name });
            }
        }
    }

    /// podman looks for the image by its name; what has that name here may be another.
    fn judge_image(&mut self, config: &PodmanConfig, podman: &PodmanView) {
        let (name, id) = config.image();
        match &podman.image {
            None => self.refuse(Refusal::ImageMissing {
                name: name.to_owned(),
                id: id.to_owned(),
            }),
            Some(here) if here.trim_start_matches("sha256:") != id => self.refuse(Refusal::ImageDiffers {
                name: name.to_owned(),
                archived: id.to_owned(),
                here: here.clone(),
            }),
            Some(_) => {}
        }
    }

    fn judge_pod(&mut self, config: &PodmanConfig, podman: &PodmanView) {
        match (config.is_of_pod(), &self.request.podman.pod) {
            (true, None) => self.refuse(Refusal::PodNeeded),
            (false, Some(_)) => self.refuse(Refusal::PodUnused),
            (true, Some(pod)) if !podman.has_pod => self.refuse(Refusal::PodMissing { name: pod.clone() }),
            _ => {}
        }
    }

    /// The volumes whose content is put in place.
    fn volumes_for_podman(&mut self, config: &PodmanConfig, podman: &PodmanView) -> Vec<VolumeUse> {
        let volumes = config.volumes();
        for volume in &volumes {
            let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            let name = &volume.name;
            let fits = name.len() <= MAX_VOLUME_NAME && name.chars().all(legal);
            if !fits || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                self.refuse(Refusal::VolumeName { name: name.clone() });
            } else if volume.driver_options && !podman.volumes_taken.contains(name) {
                self.refuse(Refusal::VolumeOptions { name: name.clone() });
            } else if podman.volumes_taken.contains(name) && !self.request.podman.ignore_volumes {
                self.refuse(Refusal::VolumeTaken { name: name.clone() });
            }
        }
        volumes
    }

    fn mounts_for_podman(&mut self, config: &PodmanConfig, volumes: &[VolumeUse], podman: &PodmanView) {
        let Some(all) = self.read(mounts::read) else { return };
        // Files that podman writes for a container, and mounts anew.
        let own = format!("/{}/userdata/", config.id());
        let (of_podman, others): (Vec<Mount>, Vec<Mount>) = all
            .into_iter()
            .partition(|mount| PODMAN_S.contains(&mount.destination.as_str()) || mount.source.contains(&own));
        let dropped: Vec<usize> = of_podman.iter().map(|mount| mount.index).collect();
        let maps = self.read_maps(&others, (!config.secrets().is_empty()).then_some(SECRETS));
        for mount in others {
            let volume = volumes.iter().find(|volume| volume.destination == mount.destination);
            match (mount.kind, volume) {
                (MountKind::Bind, Some(volume)) => {
                    let source = podman.volumes.join(&volume.name).join("_data");
                    mounts::set_source(&mut self.editor, mount.index, &source.to_string_lossy());
                }
                (MountKind::Bind, None) => match maps.get(&mount.destination) {
                    Some(path) => self.use_path(&mount, path.to_owned()),
                    None => self.plan_bind(&mount),
                },
                (MountKind::Pseudo, _) => self.check_cgroup_mount(&mount),
                (MountKind::Foreign, _) => self.plan_foreign(&mount),
            }
        }
        mounts::remove(&mut self.editor, &dropped);
    }

    /// Namespaces of the old host: podman makes the network's anew where it made it, and takes a pod's from the pod.
    fn namespaces_for_podman(&mut self, config: &PodmanConfig) {
        let Some(all) = self.read(namespaces::read) else { return };
        for namespace in all {
            let made_anew = config.is_of_pod() || (namespace.kind == "network" && config.has_network());
            match namespace.path {
                Some(path) if !made_anew && namespace.kind == "network" => self.refuse(Refusal::NetnsPath { path }),
                Some(path) if !made_anew => self.refuse(Refusal::NamespacePath {
                    kind: namespace.kind,
                    path,
                }),
                _ => {}
            }
        }
    }

    fn cgroup_for_podman(&mut self, config: &PodmanConfig, podman: &PodmanView) {
        let (archive, here) = (config.cgroup_manager(), podman.cgroup_manager.as_str());
        if podman.installed && !archive.is_empty() && archive != here {
            self.warn(Warning::CgroupManager {
                archive: archive.to_owned(),
                here: here.to_owned(),
            });
        }
    }

    fn restore_by_podman(&mut self, config: &PodmanConfig, podman: &PodmanView, volumes: &[VolumeUse]) {
        let options = self.switches();
        let command = PodmanCommand {
            runtime: self.manifest.runtime.name.clone(),
            name: self.name.clone(),
            image: config.image().0.to_owned(),
            words: self.podman_words(&options),
            storage: self.request.state_root.clone(),
            work_path: self.request.work_path.clone(),
            options,
        };
        self.layout = Layout::at(podman.storage.clone());
        self.steps.push(Step::PodmanRestore(Box::new(command)));
        for (name, entry) in self.manifest.filesystem.volumes.clone() {
            let Some(volume) = volumes.iter().find(|volume| volume.name == name) else {
                continue;
            };
            if !podman.volumes_taken.contains(&name) {
                let destination = volume.destination.clone();
                self.steps.push(Step::FillVolume {
                    name,
                    destination,
                    entry,
                });
            }
        }
        if let Some(entry) = self.manifest.filesystem.devshm.as_ref().map(|shm| shm.entry.clone()) {
            self.steps.push(Step::FillShm { entry });
        }
        self.steps.push(Step::AppendLog { entry: LOG.to_owned() });
        if let (Some(entry), false) = (self.manifest.filesystem.entry.clone(), self.request.ignore_rootfs) {
            self.steps.push(Step::ChangeRootfs { entry });
        }
        self.plan_limits();
    }

    /// What podman is told beside the archive.
    fn podman_words(&self, options: &RestoreOptions) -> Vec<String> {
        let mut words = Vec::new();
        let mut word = |on: bool, flag: &str| words.extend(on.then(|| flag.to_owned()));
        // podman refuses to keep a connection that its runtime would restore, unless it is told itself.
        word(options.tcp_established, "--tcp-established");
        word(options.tcp_close, "--tcp-close");
        word(options.file_locks, "--file-locks");
        let asked = &self.request.podman;
        word(asked.ignore_static_ip, "--ignore-static-ip");
        word(asked.ignore_static_mac, "--ignore-static-mac");
        if self.request.name.is_some() {
            words.push(format!("--name={}", self.name));
        }
        words.extend(asked.publish.iter().map(|port| format!("--publish={port}")));
        words.extend(asked.pod.iter().map(|pod| format!("--pod={pod}")));
        words
    }
}

/// The restore by podman.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct PodmanCommand {
    /// The OCI runtime below it, `runc` or `crun`.
    pub runtime: String,
    /// The container's name.
    pub name: Name,
    /// The image.
    pub image: String,
    /// What podman is told beside the archive.
    pub words: Vec<String>,
    /// podman's storage, where it is not the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<PathBuf>,
    /// CRIU's working directory; `None` for a private one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_path: Option<PathBuf>,
    /// CRIU's switches, those of the dump repeated.
    pub options: RestoreOptions,
}

impl Plan {
    /// The restore by podman; `None` of a plan for another runtime.
    #[must_use]
    pub fn podman(&self) -> Option<&PodmanCommand> {
        self.steps.iter().find_map(|step| match step {
            Step::PodmanRestore(command) => Some(&**command),
            _ => None,
        })
    }
}
