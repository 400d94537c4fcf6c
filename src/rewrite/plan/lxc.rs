//! The plan for a container of LXC: the same steps, with LXC's own configuration instead of config.json.
//!
//! What counts is the archived configuration, which `rewrite::lxc` rewrites and judges; `spec.dump` of such an archive is
//! a description for tools. LXC makes cgroups, namespaces and interfaces itself.

use std::path::{Path, PathBuf};

use super::{LxcPlan, Planner, Step, Warning};
use crate::lxc::{Context, Effective, Finding, Includes, MountEntry, Network, NetworkType, Source, judge, keys};
use crate::manifest::{BindMount, FileType, RootfsMode};
use crate::request::Netns;
use crate::rewrite::host::{LxcHost, PathKind};
use crate::rewrite::lxc::{self, Home, LxcRequest, Need, Rewritten};
use crate::rewrite::refusal::Refusal;
use crate::rewrite::spec::clean;

/// Where containers have POSIX shared memory.
const SHM: &str = "/dev/shm";

/// What a plan for LXC is made from beside all else.
#[derive(Debug, Clone, Copy)]
pub struct LxcInputs<'a> {
    /// The archived configuration.
    pub source: &'a Source,
    /// LXC on this host.
    pub here: &'a LxcHost,
}

impl Planner<'_> {
    /// Plans the files of the container's directory.
    pub(super) fn plan_lxc(&mut self, inputs: LxcInputs<'_>) {
        self.judge_flags();
        let request = self.lxc_request(inputs);
        let source = lxc::Inputs {
            config: &inputs.source.config,
            includes: &inputs.here.includes,
            fstab: inputs.source.fstab.as_ref(),
        };
        let rewritten = match lxc::rewrite(source, &request) {
            Ok(rewritten) => rewritten,
            Err(refusals) => return self.refusals.extend(refusals.into_inner()),
        };
        self.check_needs(&rewritten, inputs.here);
        self.judge_rewritten(&rewritten, &inputs.here.includes, inputs.here.major);
        if request.drop_labels {
            self.warn(Warning::LabelsDropped);
        }
        let remarks = rewritten.notes.iter().map(|note| Warning::Lxc {
            remark: note.to_string(),
        });
        self.warnings.extend(remarks);
        self.push_files(&rewritten);
    }

    fn push_files(&mut self, rewritten: &Rewritten) {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let plan = LxcPlan {
            config: text(rewritten.config.to_bytes()),
            fstab: rewritten.fstab.as_ref().map(|fstab| text(fstab.to_bytes())),
            changes: rewritten.changes.clone(),
        };
        if plan.fstab.is_some() {
            let path = self.layout.bundle().join("fstab");
            self.lxc_steps.push(Step::WriteFstab { path });
        }
        let path = self.layout.bundle().join("config");
        self.lxc_steps.push(Step::WriteConfig { path });
        self.lxc_plan = Some(plan);
    }

    /// Switches that mean something to runc and crun only.
    fn judge_flags(&mut self) {
        let request = self.request;
        let container = "an LXC container is in LXCPATH/NAME: -P LXCPATH and --name NAME say which";
        let networks = "--link, --veth and --hwaddr change its interfaces";
        let flags = [
            (request.bundle.is_some(), "--bundle", container),
            (
                request.replace,
                "--replace",
                "`lxc-destroy -n NAME` removes a container that is no longer needed",
            ),
            (request.netns != Netns::Keep, "--netns", networks),
            (
                request.console_socket.is_some(),
                "--console-socket",
                "LXC holds terminals itself: lxc-console",
            ),
        ];
        for (given, flag, instead) in flags {
            if given {
                self.refuse(Refusal::Lxc(lxc::Refusal::Flag { flag, instead }));
            }
        }
    }

    fn lxc_request(&mut self, inputs: LxcInputs<'_>) -> LxcRequest {
        let old = Path::new(&self.manifest.container.bundle);
        let home = |directory: &Path, name: &str| Home {
            name: name.to_owned(),
            lxcpath: directory.parent().unwrap_or(Path::new("/")).display().to_string(),
        };
        let mut request = LxcRequest::moving(
            home(old, &self.manifest.container.id),
            home(self.layout.bundle(), self.name.as_str()),
        );
        let asked = self.request;
        request.rootfs = self.lxc_rootfs();
        request.hostname.clone_from(&asked.hostname);
        request.interfaces.clone_from(&asked.lxc.interfaces);
        request.map_paths.clone_from(&asked.lxc.map_paths);
        request.allow_paths.clone_from(&asked.lxc.allow_paths);
        request.id_map.clone_from(&asked.lxc.id_map);
        request.allow_hooks = asked.allow_hooks;
        request.cgroup_dir = asked
            .cgroup_parent
            .as_ref()
            .map(|path| path.trim_matches('/').to_owned());
        request.drop_labels = drops_labels(inputs);
        self.lxc_mounts(inputs.source, &mut request);
        request
    }

    /// A directory of the importer's, unless the changes over it are put into the container's own.
    fn lxc_rootfs(&self) -> Option<String> {
        let diff = self.manifest.filesystem.rootfs == RootfsMode::Diff && !self.request.ignore_rootfs;
        let root = self.request.root.as_ref().filter(|_| !diff)?;
        Some(root.display().to_string())
    }

    /// What is mapped or allowed, and what travels: that comes from the container's directory.
    fn lxc_mounts(&mut self, source: &Source, request: &mut LxcRequest) {
        for map in &self.request.map_mounts {
            let origin = map.source.display().to_string();
            request.map_mounts.insert(clean(&map.destination), origin);
        }
        request.allow_mounts.clone_from(&self.request.allow_mounts);
        let mounts = self.manifest.bind_mounts.clone();
        for (index, mount) in mounts.iter().enumerate() {
            let destination = clean(&mount.destination);
            let mapped = request.map_mounts.get(&destination).cloned();
            match (mapped, self.lxc_content(index, mount, &destination)) {
                (Some(origin), content) => {
                    if content.is_some() {
                        self.warn(Warning::ContentIgnored {
                            destination: destination.clone(),
                        });
                    }
                    let origin = PathBuf::from(origin);
                    self.steps.push(Step::UseMount { destination, origin });
                }
                (None, Some((step, origin))) => {
                    self.steps.push(step);
                    self.lxc_made.push(origin.clone());
                    request.map_mounts.insert(destination, origin.display().to_string());
                }
                (None, None) => {}
            }
        }
        if self.request.allow_all_mounts {
            request.allow_mounts.extend(targets(source));
        }
    }

    /// The step that puts the archived content of a mount in place, and where.
    fn lxc_content(&self, index: usize, mount: &BindMount, destination: &str) -> Option<(Step, PathBuf)> {
        let shm = self.manifest.filesystem.devshm.as_ref();
        if let Some(shm) = shm.filter(|_| destination == SHM) {
            let path = self.layout.shm();
            let options = shm.options.iter().filter(|option| super::mounts::is_shm_option(option));
            let step = Step::MakeShm {
                path: path.clone(),
                options: options.cloned().collect(),
                entry: Some(shm.entry.clone()),
            };
            return Some((step, path));
        }
        let path = self.layout.mounts().join(index.to_string());
        let origin = match mount.file_type {
            FileType::Directory => path.clone(),
            FileType::File => path.join(super::mounts::FILE_NAME),
        };
        let step = Step::PutMount {
            destination: destination.to_owned(),
            entry: mount.entry.clone()?,
            file_type: mount.file_type,
            path,
            origin: origin.clone(),
        };
        Some((step, origin))
    }

    /// Everything that the new configuration takes for granted must be here.
    fn check_needs(&mut self, rewritten: &Rewritten, here: &LxcHost) {
        let profile = Effective::new(&rewritten.config, &here.includes)
            .get(keys::APPARMOR_PROFILE)
            .is_some();
        let security = (profile && here.apparmor).then_some(Need::SecurityFs);
        for need in rewritten.needs.iter().chain(&security) {
            let met = match need {
                Need::Path(path) if self.is_made(Path::new(path)) => true,
                Need::Path(path) => self.look(Path::new(path)) != Some(PathKind::Missing),
                Need::DirectoryOf(path) => {
                    let directory = Path::new(path).parent().unwrap_or(Path::new("/"));
                    directory == self.layout.bundle() || self.look(directory).is_none_or(PathKind::is_directory)
                }
                Need::Interface { name, .. } => here.interfaces.contains(name),
                Need::Bridge { name, .. } => here.bridges.contains(name),
                Need::SecurityFs => here.securityfs,
                Need::FreeInterface { name, .. } => !here.interfaces.contains(name),
            };
            if !met {
                self.refuse(Refusal::Lxc(lxc::Refusal::Lacking { need: need.clone() }));
            }
        }
    }

    fn is_made(&self, path: &Path) -> bool {
        self.lxc_made.iter().any(|made| path.starts_with(made))
    }

    /// LXC of this host reads the configuration with what it includes here.
    fn judge_rewritten(&mut self, rewritten: &Rewritten, includes: &Includes, major: Option<u32>) {
        let source = Source {
            config: rewritten.config.clone(),
            fstab: rewritten.fstab.clone(),
            includes: includes.clone(),
        };
        let context = Context {
            lxc: major,
            fstab: source.fstab.as_ref(),
        };
        let effective = source.effective();
        self.lxc_links = links(&effective);
        for finding in judge(&effective, context) {
            if finding.blocks() {
                self.refuse(Refusal::Lxc(lxc::Refusal::Found { finding }));
            } else if !matches!(finding, Finding::Label { .. }) {
                let remark = format!("{finding}: {}", finding.advice());
                self.warn(Warning::Lxc { remark });
            }
        }
    }
}

/// The links that the configuration gives the container.
fn links(effective: &Effective) -> Vec<Step> {
    let veth = |network: &Network<'_>| network.kind() == Some(NetworkType::Veth);
    let step = |network: Network<'_>| {
        let value = |part| network.get(part).map(|entry| entry.value.clone());
        Some(Step::BringBack {
            interface: network.interface(),
            // Without a name it is found to be a defect of the configuration.
            host: value("veth.pair")?,
            bridge: value("link").filter(|link| !link.is_empty()),
        })
    };
    effective.networks().filter(veth).filter_map(step).collect()
}

/// Whether this host has no use for the security labels of the configuration: LXC would have CRIU restore them, and CRIU
/// refuses.
fn drops_labels(inputs: LxcInputs<'_>) -> bool {
    let effective = inputs.source.effective();
    let set = |key| effective.get(key).is_some();
    let labelled = |key, here: bool| set(key) && !here;
    labelled(keys::APPARMOR_PROFILE, inputs.here.apparmor) || labelled(keys::SELINUX_CONTEXT, inputs.here.selinux)
}

/// The targets of all mounts that take something of the host.
fn targets(source: &Source) -> Vec<String> {
    let effective = source.effective();
    let own = effective.all(keys::MOUNT_ENTRY).iter();
    let own = own.filter_map(|entry| MountEntry::parse(&entry.value));
    let fstab = source.fstab.iter().flat_map(|fstab| fstab.entries());
    let all = own.chain(fstab.filter_map(|(_, entry)| entry));
    all.filter(|entry| !entry.is_pseudo())
        .map(|entry| entry.target)
        .collect()
}
