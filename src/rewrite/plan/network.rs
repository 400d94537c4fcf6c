//! The network namespace, and the other namespaces that were joined by a path.
//!
//! | the container had | keep | `PATH` | `new` | `host` |
//! |---|---|---|---|---|
//! | one of its own | one of its own | PATH is set and the images are told | one of its own | as PATH |
//! | one by path | refused | the path is replaced | made, held, and its path set | as PATH |
//! | the host's | the host's | refused | refused | the host's |
//!
//! A runtime hands the namespace at the configuration's path to CRIU, and CRIU takes it only where the images call the
//! namespace external; so images of a namespace of the container's own are changed to say so. (CRIU's `join-ns` would need
//! no such change, but it is refused beside the `empty-ns` that runc sends with every restore.) Images of the host's
//! namespace have nothing that could be changed, and the tasks of a user namespace may not enter a network namespace that
//! belongs to another (`Can't setns 16/net: Operation not permitted`).

use std::path::{Path, PathBuf};

use super::{Planner, Step, Warning};
use crate::request::Netns;
use crate::rewrite::host::PathKind;
use crate::rewrite::refusal::Refusal;
use crate::rewrite::spec::namespaces::{self, Namespace};

/// The host's network namespace, as long as this host lives.
const HOST_NETNS: &str = "/proc/1/ns/net";

impl Planner<'_> {
    pub(super) fn plan_network(&mut self) {
        let Some(all) = self.read(namespaces::read) else { return };
        let network = all.iter().find(|namespace| namespace.kind == "network");
        match network {
            None => self.plan_from_host(),
            Some(Namespace { index, path: None, .. }) => self.plan_from_own(*index),
            Some(Namespace {
                index,
                path: Some(path),
                ..
            }) => self.plan_from_path(*index, path),
        }
        for namespace in all.iter().filter(|namespace| namespace.kind != "network") {
            self.plan_joined(namespace);
        }
    }

    fn plan_from_host(&mut self) {
        match self.request.netns.clone() {
            Netns::Keep | Netns::Host => self.warn(Warning::HostNetwork),
            Netns::Path(_) | Netns::New => self.refuse(Refusal::NetnsOfHost),
        }
    }

    fn plan_from_own(&mut self, index: usize) {
        match self.request.netns.clone() {
            // Runtimes make it with a loopback only, and the restore ends with bringing that up.
            Netns::Keep | Netns::New => {}
            Netns::Path(_) | Netns::Host if self.read(namespaces::has_user_namespace) == Some(true) => {
                self.refuse(Refusal::NetnsOfUser);
            }
            Netns::Path(path) => self.join(index, &path),
            Netns::Host => self.join_host(index),
        }
    }

    fn plan_from_path(&mut self, index: usize, archived: &str) {
        match self.request.netns.clone() {
            Netns::Keep => self.refuse(Refusal::NetnsPath {
                path: archived.to_owned(),
            }),
            Netns::Host => self.join_host(index),
            Netns::Path(path) => self.join(index, &path),
            Netns::New => {
                let pin = self.new_netns();
                self.warn(Warning::EmptyNetwork);
                namespaces::set_path(&mut self.editor, index, &pin.to_string_lossy());
            }
        }
    }

    /// Puts the container into the namespace at `path`. Images that call theirs external already are left as they are.
    fn join(&mut self, index: usize, path: &Path) {
        self.need_netns(path);
        namespaces::set_path(&mut self.editor, index, &path.to_string_lossy());
        self.external_netns = true;
    }

    /// To CRIU the host's namespace is one like any other from outside.
    fn join_host(&mut self, index: usize) {
        self.warn(Warning::HostNetwork);
        self.join(index, Path::new(HOST_NETNS));
    }

    fn new_netns(&mut self) -> PathBuf {
        let pin = self.layout.netns();
        self.steps.push(Step::NewNetns { pin: pin.clone() });
        pin
    }

    fn need_netns(&mut self, path: &Path) {
        match self.look(path) {
            Some(PathKind::Missing) => {
                self.refuse(Refusal::PathMissing {
                    flag: "--netns",
                    path: path.to_owned(),
                });
            }
            Some(kind) if kind.is_directory() => {
                let problem = "is a directory, no namespace";
                self.refuse(Refusal::Path {
                    flag: "--netns",
                    path: path.to_owned(),
                    problem,
                });
            }
            _ => {}
        }
    }

    /// A namespace other than the network's that was joined by a path of the old host. CRIU dumps the content of those
    /// that it can make anew; of the others it needs the very namespace.
    fn plan_joined(&mut self, namespace: &Namespace) {
        let Some(path) = &namespace.path else { return };
        match namespace.kind.as_str() {
            "ipc" | "uts" | "time" | "cgroup" => {
                namespaces::remove_path(&mut self.editor, namespace.index);
                self.warn(Warning::NamespaceUnshared {
                    kind: namespace.kind.clone(),
                });
            }
            kind => self.refuse(Refusal::NamespacePath {
                kind: kind.to_owned(),
                path: path.clone(),
            }),
        }
    }

    /// Whether the restored container is in a network namespace that CRIU made, with the loopback down.
    pub(super) fn has_own_netns(&mut self) -> bool {
        let own = |namespace: &Namespace| namespace.kind == "network" && namespace.path.is_none();
        !self.external_netns && self.read(namespaces::read).is_some_and(|all| all.iter().any(own))
    }
}
