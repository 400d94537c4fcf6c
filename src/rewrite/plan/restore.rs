//! The names in the configuration, and the restore with what comes after it.

use super::policy::runtime_name;
use super::{Planner, RestoreCommand, Step, Warning};
use crate::manifest::DumpOptions;
use crate::request::RestoreOptions;
use crate::rewrite::spec::{annotations, names};

impl Planner<'_> {
    pub(super) fn plan_names(&mut self) {
        if self.is_renamed() {
            let (old, new) = (self.old_names(), self.name.to_string());
            if let Err(error) = annotations::rename(&mut self.editor, &old, &new) {
                self.refuse_once(error);
            }
        }
        let Some(hostname) = &self.request.hostname else { return };
        if self.manifest.container.hostname.as_deref() != Some(hostname) {
            let running = self.manifest.container.hostname.clone();
            self.warn(Warning::HostnameStays {
                running,
                asked: hostname.clone(),
            });
        }
        names::set_hostname(&mut self.editor, hostname);
    }

    pub(super) fn plan_restore(&mut self) {
        if self.request.no_restore {
            return;
        }
        let Some(runtime) = self.runtime else { return };
        let command = RestoreCommand {
            runtime: runtime_name(runtime),
            name: self.name.clone(),
            bundle: self.layout.bundle().to_owned(),
            images: self.layout.images(),
            state_root: match self.lxc {
                Some(lxc) => Some(lxc.here.lxcpath.clone()),
                None => self.request.state_root.clone(),
            },
            work_path: self.request.work_path.clone(),
            console_socket: self.request.console_socket.clone(),
            pid_file: self.request.pid_file.clone(),
            systemd_cgroup: self.systemd_cgroup,
            cgroup: self.cgroup_path.take(),
            processes: None,
            options: switches(&self.manifest.options, &self.request.restore),
        };
        self.steps.push(Step::Restore(Box::new(command)));
        // LXC does not have CRIU leave the network namespace empty, so the loopback interface is restored with it.
        if self.lxc.is_none() && self.has_own_netns() {
            self.steps.push(Step::LoopbackUp);
        }
        let links = std::mem::take(&mut self.lxc_links);
        self.steps.extend(links);
        self.plan_limits();
    }

    /// The switches of the restore.
    pub(super) fn switches(&self) -> RestoreOptions {
        switches(&self.manifest.options, &self.request.restore)
    }
}

/// CRIU wants most of the dump's switches again; the request adds to them and decides where only one can be.
pub(in crate::rewrite) fn switches(dump: &DumpOptions, asked: &RestoreOptions) -> RestoreOptions {
    let mut empty_ns = dump.empty_ns.clone();
    empty_ns.extend(
        asked
            .empty_ns
            .iter()
            .filter(|kind| !dump.empty_ns.contains(kind))
            .cloned(),
    );
    RestoreOptions {
        tcp_established: (dump.tcp_established || asked.tcp_established) && !asked.tcp_close,
        tcp_close: asked.tcp_close,
        ext_unix_sk: dump.ext_unix_sk || asked.ext_unix_sk,
        shell_job: dump.shell_job || asked.shell_job,
        file_locks: dump.file_locks || asked.file_locks,
        link_remap: dump.link_remap || asked.link_remap,
        manage_cgroups_mode: asked
            .manage_cgroups_mode
            .clone()
            .or_else(|| dump.manage_cgroups_mode.clone()),
        empty_ns,
        auto_dedup: asked.auto_dedup,
        status_fd: asked.status_fd,
        no_pivot: asked.no_pivot,
        lsm_profile: asked.lsm_profile.clone(),
        lsm_mount_context: asked.lsm_mount_context.clone(),
    }
}
