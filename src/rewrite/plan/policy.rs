//! What the archive asks of this host that needs the importer's word.

use super::{Planner, Warning};
use crate::request::RuntimeKind;
use crate::rewrite::refusal::Refusal;
use crate::rewrite::spec::{annotations, clean, devices, hooks};

impl Planner<'_> {
    /// Judges the archive as a whole.
    pub(super) fn judge_archive(&mut self) {
        for error in crate::rewrite::spec::ambiguous_keys(self.archived) {
            self.refuse(error);
        }
        self.judge_for_processes();
        self.judge_whole();
        self.judge_hooks();
        self.judge_annotations();
        self.judge_devices();
    }

    /// Judges what is alike for all runtimes: whether it can be restored by itself, and by which.
    pub(super) fn judge_whole(&mut self) {
        self.judge_kind();
        self.judge_runtime();
    }

    pub(super) fn judge_kind(&mut self) {
        if self.manifest.options.pre_dump {
            self.refuse(Refusal::PreDump);
        }
        match (self.manifest.options.page_server, &self.request.pages) {
            (true, None) => self.refuse(Refusal::PagesNeeded),
            (false, Some(_)) => self.refuse(Refusal::PagesUnused),
            _ => {}
        }
        if let (Some(digest), true) = (&self.manifest.parent, self.request.parents.is_empty()) {
            self.refuse(Refusal::ParentsNeeded { digest: digest.clone() });
        }
    }

    /// Switches that only mean something for processes, which a container's archive has none of by themselves.
    fn judge_for_processes(&mut self) {
        let given = [
            ("--new-pidns", self.request.new_pidns),
            ("--replace-file", !self.request.replace_files.is_empty()),
            ("--allow-file", !self.request.allow_files.is_empty()),
        ];
        for (flag, _) in given.into_iter().filter(|(_, given)| *given) {
            self.refuse(Refusal::OnlyForProcesses { flag });
        }
    }

    fn judge_runtime(&mut self) {
        let made_by = &self.manifest.runtime.name;
        let same = runtime_of(made_by);
        self.runtime = self.request.runtime.or(same);
        let Some(runtime) = self.runtime else {
            return self.refuse(Refusal::UnknownRuntime { name: made_by.clone() });
        };
        let lays_out_alike = (runtime == RuntimeKind::Lxc) == (same == Some(RuntimeKind::Lxc));
        if !lays_out_alike {
            self.refuse(Refusal::NoWay {
                made_by: made_by.clone(),
                wanted: runtime_name(runtime),
            });
        } else if same != Some(runtime) && !self.request.allow_other_runtime {
            self.refuse(Refusal::OtherRuntime {
                made_by: made_by.clone(),
                wanted: runtime_name(runtime),
            });
        }
        let Some(host) = self.host else { return };
        match &host.runtime {
            None if !self.request.no_restore => self.refuse(Refusal::NoRuntime {
                name: runtime_name(runtime),
            }),
            // Engines record no version.
            Some(_) if self.manifest.runtime.version.is_empty() => {}
            Some(here) if same == Some(runtime) && *here != self.manifest.runtime.version => {
                let archive = format!("{made_by} {}", self.manifest.runtime.version);
                self.warn(Warning::RuntimeVersion {
                    archive,
                    here: format!("{made_by} {here}"),
                });
            }
            _ => {}
        }
        if host.name_taken && !self.request.no_restore {
            self.refuse(Refusal::NameTaken {
                name: self.name.to_string(),
            });
        }
    }

    pub(super) fn judge_hooks(&mut self) {
        let Some(hooks) = self.read(hooks::read) else { return };
        match (hooks.is_empty(), self.request.allow_hooks) {
            (true, _) => {}
            (false, true) => self.warn(Warning::HooksRun { count: hooks.len() }),
            (false, false) => {
                for hook in hooks {
                    self.refuse(Refusal::Hook {
                        moment: hook.moment,
                        path: hook.path,
                    });
                }
            }
        }
    }

    pub(super) fn judge_annotations(&mut self) {
        let Some(all) = self.read(annotations::read) else {
            return;
        };
        let criu = all.iter().find(|(key, _)| *key == annotations::CRIU_CONFIG);
        if let (Some((_, path)), false) = (criu, self.request.allow_criu_config) {
            self.refuse(Refusal::CriuConfig {
                path: (*path).to_owned(),
            });
        }
        for acting in self.read(annotations::acting).unwrap_or_default() {
            if !self.request.allow_annotations.contains(&acting.key) {
                self.refuse(Refusal::Annotation {
                    key: acting.key,
                    effect: acting.effect,
                });
            }
        }
        for key in &self.request.allow_annotations {
            if !all.iter().any(|(known, _)| known == key) {
                self.refuse(Refusal::UnknownDestination {
                    flag: "--allow-annotation",
                    destination: key.clone(),
                    what: "annotation",
                    known: all.iter().map(|(key, _)| (*key).to_owned()).collect(),
                });
            }
        }
    }

    pub(super) fn judge_devices(&mut self) {
        let Some(devices) = self.read(devices::read) else {
            return;
        };
        let allowed: Vec<String> = self.request.allow_devices.iter().map(|path| clean(path)).collect();
        for device in devices
            .iter()
            .filter(|device| !device.is_default() && !allowed.contains(&device.path))
        {
            let devices::Device {
                path,
                kind,
                major,
                minor,
            } = device.clone();
            self.refuse(Refusal::Device {
                path,
                kind,
                major,
                minor,
            });
        }
        for path in allowed
            .iter()
            .filter(|path| !devices.iter().any(|device| device.path == **path))
        {
            self.refuse(Refusal::UnknownDestination {
                flag: "--allow-device",
                destination: path.clone(),
                what: "device",
                known: devices.iter().map(|device| device.path.clone()).collect(),
            });
        }
        let given: Vec<_> = devices.iter().filter(|device| allowed.contains(&device.path)).collect();
        let rules = self
            .read(|spec| devices::rules_beyond(spec, &given))
            .unwrap_or_default();
        if rules > 0 {
            self.warn(Warning::DevicesAllowed { rules });
        }
    }
}

/// The runtime of a name in a manifest.
fn runtime_of(name: &str) -> Option<RuntimeKind> {
    RuntimeKind::from_name(name)
}

/// The name of a runtime, as manifests have it.
pub(super) fn runtime_name(kind: RuntimeKind) -> &'static str {
    kind.name()
}
