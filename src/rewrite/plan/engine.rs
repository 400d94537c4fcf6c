//! The files that engines make for every container and mount into it.
//!
//! podman and the kubelet give a container files of its own for its name, its hosts and its resolver, which engines do not put
//! into their archives. They are made anew here, for this host. Invariant: nothing of what the archive says of their sources
//! is used, so making them gives away nothing; where the importer maps or allows the mount, that goes first.

use super::{FileContent, Planner, Step};
use crate::rewrite::spec::mounts::{self, Mount};

/// What a container that had an engine finds at these paths, whatever the engine.
const RESOLVER: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
const HOSTNAME: &str = "/etc/hostname";
/// Marks of podman, and where Kubernetes looks for last words. They hold nothing that is worth having.
const EMPTY: [&str; 3] = ["/run/.containerenv", "/.dockerenv", "/dev/termination-log"];

impl Planner<'_> {
    /// What the file holds that an engine had made for this mount; `None` for any other mount.
    pub(super) fn made_by_engine(&self, mount: &Mount) -> Option<FileContent> {
        self.manifest.engine.as_ref()?;
        if self.is_allowed(mount) {
            return None;
        }
        let hostname = self.manifest.container.hostname.as_deref().unwrap_or("localhost");
        match mount.destination.as_str() {
            RESOLVER => Some(FileContent::CopyOf(RESOLVER.into())),
            HOSTNAME => Some(FileContent::Text(format!("{hostname}\n"))),
            HOSTS => Some(FileContent::Text(format!(
                "127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost\n"
            ))),
            other if EMPTY.contains(&other) => Some(FileContent::Text(String::new())),
            _ => None,
        }
    }

    pub(super) fn plan_made(&mut self, mount: &Mount, content: FileContent) {
        let path = self.layout.mounts().join(mount.index.to_string());
        let origin = path.join(super::mounts::FILE_NAME);
        mounts::set_source(&mut self.editor, mount.index, &origin.to_string_lossy());
        self.steps.push(Step::MakeFile {
            destination: mount.destination.clone(),
            path,
            origin,
            content,
        });
    }
}
