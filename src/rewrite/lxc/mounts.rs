//! Mounts of the configuration and of the fstab: the importer's word for what they take of this host.

use super::Rewriter;
use super::change::{File, Need};
use super::paths::{below, clean, map_words};
use super::refusal::Refusal;
use crate::lxc::{MountEntry, keys};

/// A standard mount that takes a directory of the host.
const SHMOUNTS: &str = "shmounts:";

impl Rewriter<'_> {
    /// Rewrites the entries and standard mounts of the configuration.
    pub(super) fn rewrite_mounts(&mut self) {
        self.check_targets();
        for (index, _, value) in self.lines(|key| key == keys::MOUNT_ENTRY) {
            let Some(entry) = MountEntry::parse(&value) else {
                continue;
            };
            if let Some(entry) = self.place_mount(&entry, File::Config, index + 1) {
                self.set(index, entry.text());
            }
        }
        for (index, key, value) in self.lines(|key| key == keys::MOUNT_AUTO) {
            let words = map_words(&value, |word| Some(self.place_auto(word, &key, index)));
            self.set(index, &words);
        }
    }

    /// Every target that the request names must be one.
    fn check_targets(&mut self) {
        let entries = self.lines(|key| key == keys::MOUNT_ENTRY);
        let own = entries.iter().filter_map(|(_, _, value)| MountEntry::parse(value));
        let fstab = self.inputs.fstab.into_iter().flat_map(|fstab| fstab.entries());
        let all = own.chain(fstab.filter_map(|(_, entry)| entry));
        let known: Vec<String> = all
            .filter(|entry| !entry.is_pseudo())
            .map(|entry| self.target(&entry.target))
            .collect();
        let request = self.request;
        let mapped = request.map_mounts.keys().map(|target| ("--map-mount", target));
        let allowed = request.allow_mounts.iter().map(|target| ("--allow-mount", target));
        for (flag, target) in mapped.chain(allowed) {
            if !known.contains(&self.target(target)) {
                self.refuse(Refusal::UnknownMount {
                    flag,
                    target: target.clone(),
                    known: known.clone(),
                });
            }
        }
    }

    /// A target from the container's root, with a `/` before it, however it is written.
    fn target(&self, target: &str) -> String {
        let cleaned = clean(&format!("/{target}")).unwrap_or_else(|| format!("/{target}"));
        let inside = self
            .old_rootfs
            .as_deref()
            .and_then(clean)
            .filter(|rootfs| rootfs != "/");
        let rest = inside.and_then(|rootfs| below(&cleaned, &rootfs).map(str::to_owned));
        rest.unwrap_or(cleaned)
    }

    /// The mount as it is made here; `None` when it is refused.
    pub(super) fn place_mount(&mut self, entry: &MountEntry, file: File, line: usize) -> Option<MountEntry> {
        let target = self.target(&entry.target);
        let entry = self.retarget(entry, &target);
        if entry.is_pseudo() {
            return Some(entry);
        }
        let of = |list: &str| self.target(list) == target;
        let allowed = self.request.allow_mounts.iter().any(|allowed| of(allowed));
        let mapped = self.request.map_mounts.iter().find(|(mapped, _)| of(mapped));
        let mapped = mapped.map(|(_, source)| source.clone());
        if !entry.is_bind() && !allowed {
            self.refuse(Refusal::ForeignMount {
                file,
                line,
                target,
                fstype: entry.fstype,
            });
            return None;
        }
        let placed = match (mapped, allowed) {
            (Some(source), _) if entry.is_bind() => Some(source),
            (_, true) => Some(entry.source.clone()),
            _ => clean(&entry.source).and_then(|source| self.relocated(&source)),
        };
        let Some(source) = placed else {
            let origin = entry.source;
            self.refuse(Refusal::Mount {
                file,
                line,
                target,
                origin,
            });
            return None;
        };
        if entry.is_bind() && !entry.has_option("optional") {
            self.needs.insert(Need::Path(source.clone()));
        }
        // Untouched is untouched, also where escapes could be written in another way.
        Some(if source == entry.source {
            entry
        } else {
            entry.with_source(&source)
        })
    }

    /// A target named by its path on the source host is below another root file system here.
    fn retarget(&self, entry: &MountEntry, target: &str) -> MountEntry {
        let rootfs = self.old_rootfs.as_deref().and_then(clean);
        let absolute = clean(&entry.target).filter(|_| entry.target.starts_with('/'));
        match (rootfs, absolute) {
            (Some(rootfs), Some(path)) if below(&path, &rootfs).is_some() => {
                entry.with_target(&format!("{}{target}", self.request.rootfs()))
            }
            _ => entry.clone(),
        }
    }

    fn place_auto(&mut self, word: &str, key: &str, index: usize) -> String {
        let Some(paths) = word.strip_prefix(SHMOUNTS) else {
            return word.to_owned();
        };
        let (host, rest) = paths.find(':').map_or((paths, ""), |at| paths.split_at(at));
        let allowed = self.request.allow_paths.iter().any(|path| path == host);
        let here = clean(host).and_then(|path| self.relocated(&path));
        let Some(here) = here.or_else(|| allowed.then(|| host.to_owned())) else {
            self.refuse(Refusal::Path {
                key: key.to_owned(),
                path: host.to_owned(),
                line: index + 1,
            });
            return word.to_owned();
        };
        self.needs.insert(Need::Path(here.clone()));
        format!("{SHMOUNTS}{here}{rest}")
    }
}
