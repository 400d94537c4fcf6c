//! What of the kernel a configuration takes that is not the container's own: namespaces and kernel parameters.

use super::Rewriter;
use super::refusal::Refusal;
use crate::lxc::keys;

/// Parameters that the container's namespaces keep in it: of its network, of its message queues, of its System V IPC.
const NAMESPACED: &[&str] = &[
    "fs.mqueue.",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "net.",
];

impl Rewriter<'_> {
    /// Refuses namespaces and kernel parameters that are not the container's own.
    pub(super) fn judge_kernel(&mut self) {
        let namespaces = |key: &str| key == keys::NAMESPACE_KEEP || key.starts_with(keys::NAMESPACE_SHARE);
        for (index, key, value) in self.lines(namespaces).into_iter().filter(|line| !line.2.is_empty()) {
            let line = index + 1;
            self.refuse(Refusal::Namespace { key, value, line });
        }
        for (index, key, value) in self.lines(|key| key.starts_with("lxc.sysctl.")) {
            let name = key.strip_prefix("lxc.sysctl.").unwrap_or(&key);
            if !value.is_empty() && !is_namespaced(name) {
                self.refuse(Refusal::Sysctl { key, line: index + 1 });
            }
        }
    }
}

fn is_namespaced(name: &str) -> bool {
    let fits = |known: &str| name == known || (known.ends_with('.') && name.starts_with(known));
    NAMESPACED.iter().any(|known| fits(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_the_host_are_told_apart() {
        for (name, own) in [
            ("net.ipv4.ip_forward", true),
            ("kernel.sem", true),
            ("fs.mqueue.msg_max", true),
            ("kernel.core_pattern", false),
            ("kernel.semantics", false),
            ("network", false),
        ] {
            assert_eq!(is_namespaced(name), own, "{name}");
        }
    }
}
