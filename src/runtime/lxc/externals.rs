//! What CRIU has to be told of a container of LXC beside what `lxc-checkpoint` tells it.
//!
//! `lxc-checkpoint` names the binds of `lxc.mount.entry` to CRIU, each by its target as it is written, and leaves those of
//! the fstab to CRIU's own search (`--ext-mount-map auto`). What that finds is restored from the path that the *source* host
//! had, whatever the fstab of this host says. So they are named here, the same way at both ends.

use super::describe::{destination, rootfs};
use crate::lxc::{MountEntry, Source};

/// A bind mount of the fstab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct External {
    /// Where it is in the container, from its root.
    pub(super) destination: String,
    /// What of this host is there.
    pub(super) source: String,
}

impl External {
    /// Its name in CRIU's images: as LXC has it for its own entries.
    fn name(&self) -> &str {
        self.destination.trim_start_matches('/')
    }

    /// The value of `external` at a dump.
    pub(super) fn at_dump(&self) -> String {
        format!("mnt[{}]:{}", self.destination, self.name())
    }

    /// The value of `external` at a restore.
    pub(super) fn at_restore(&self) -> String {
        format!("mnt[{}]:{}", self.name(), self.source)
    }
}

/// The bind mounts of the fstab.
pub(super) fn of_fstab(source: &Source) -> Vec<External> {
    let rootfs = rootfs(&source.effective());
    let external = |entry: MountEntry| External {
        destination: destination(&entry.target, &rootfs),
        source: entry.source,
    };
    let entries = source.fstab.iter().flat_map(|fstab| fstab.entries());
    entries
        .filter_map(|(_, entry)| entry)
        .filter(MountEntry::is_bind)
        .map(external)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lxc::{Config, Fstab};

    #[test]
    fn the_binds_of_the_fstab_are_named_alike_at_both_ends() {
        let config = "lxc.rootfs.path = dir:/c/rootfs\nlxc.mount.entry = /a a none bind 0 0\n";
        let fstab = "# one\nproc proc proc defaults 0 0\n/srv/www var/www none bind,ro 0 0\n\
            /srv/log /c/rootfs/var/log/ none rbind 0 0\ntmpfs tmp tmpfs size=1m 0 0\n";
        let source = Source {
            config: Config::parse(config.as_bytes()).unwrap(),
            fstab: Some(Fstab::parse(fstab.as_bytes()).unwrap()),
            ..Source::default()
        };
        let found = of_fstab(&source);
        let values: Vec<_> = found.iter().map(|one| (one.at_dump(), one.at_restore())).collect();
        let expected = [
            ("mnt[/var/www]:var/www", "mnt[var/www]:/srv/www"),
            ("mnt[/var/log]:var/log", "mnt[var/log]:/srv/log"),
        ];
        assert_eq!(
            values,
            expected.map(|(dump, restore)| (dump.to_owned(), restore.to_owned()))
        );
    }

    #[test]
    fn without_a_fstab_there_is_nothing_to_name() {
        assert_eq!(of_fstab(&Source::default()), []);
    }
}
