//! What makes the container this one: root file system, hostname, cgroup, identifiers, labels.

use super::Rewriter;
use super::change::Note;
use super::paths::split_backend;
use crate::lxc::keys;

impl Rewriter<'_> {
    /// Rewrites the root file system, hostname, cgroup directories, identifier maps and labels.
    pub(super) fn rewrite_identity(&mut self) {
        self.rewrite_rootfs();
        self.rewrite_hostname();
        self.rewrite_cgroup_dirs();
        if let Some(maps) = &self.request.id_map {
            self.replace_list(keys::IDMAP, maps);
            self.notes.push(Note::IdMapLater);
        }
        if self.request.drop_labels {
            for key in [keys::APPARMOR_PROFILE, keys::SELINUX_CONTEXT] {
                if self.effective.get(key).is_some() {
                    self.set_key(key, "");
                }
            }
        }
    }

    /// The files are in a plain directory here, whatever they were in before.
    fn rewrite_rootfs(&mut self) {
        let here = self.request.rootfs();
        let mut set = false;
        for (index, _, value) in self.lines(|key| key == keys::ROOTFS_PATH) {
            set |= !value.is_empty();
            match (value.is_empty(), split_backend(&value).0) {
                (true, _) => set = false,
                (false, Some(_)) => self.set(index, &format!("dir:{here}")),
                (false, None) => self.set(index, &here),
            }
        }
        let included = self
            .effective
            .get(keys::ROOTFS_PATH)
            .is_some_and(|entry| entry.place.file.is_some());
        if !set || included {
            self.append(self.written(keys::ROOTFS_PATH), &here);
        }
        for (index, ..) in self.lines(|key| key == keys::ROOTFS_BACKEND) {
            self.set(index, "dir");
        }
    }

    fn rewrite_hostname(&mut self) {
        let named = |value: &str| self.request.is_renamed() && value == self.request.old.name;
        let current = self.effective.get(keys::UTS_NAME).map(|entry| entry.value.clone());
        let wanted = match (&self.request.hostname, &current) {
            (Some(asked), _) => Some(asked.clone()),
            (None, Some(current)) if named(current) => Some(self.request.new.name.clone()),
            _ => None,
        };
        if let Some(wanted) = wanted.filter(|wanted| current.as_ref() != Some(wanted)) {
            self.set_key(keys::UTS_NAME, &wanted);
            self.notes.push(Note::HostnameLater);
        }
    }

    fn rewrite_cgroup_dirs(&mut self) {
        if let Some(dir) = &self.request.cgroup_dir {
            self.set_key(keys::CGROUP_DIR, dir);
        }
        if !self.request.is_renamed() {
            return;
        }
        let (old, new) = (&self.request.old.name, &self.request.new.name);
        let asked = self.request.cgroup_dir.is_some();
        for (index, key, value) in self.lines(|key| key.starts_with(keys::CGROUP_DIR)) {
            if asked && key == keys::CGROUP_DIR {
                continue;
            }
            let parts = value.split('/').map(|part| if part == old { new } else { part });
            let renamed = parts.collect::<Vec<_>>().join("/");
            self.set(index, &renamed);
        }
    }

    /// Replaces all values of a list: line by line where there are as many as before, else in the last one's place.
    pub(super) fn replace_list(&mut self, key: &str, values: &[String]) {
        let own = self.lines(|known| known == key);
        let filled: Vec<usize> = own
            .iter()
            .filter(|line| !line.2.is_empty())
            .map(|line| line.0)
            .collect();
        let cleared = own.len() != filled.len();
        let included = self.effective.all(key).iter().any(|entry| entry.place.file.is_some());
        if filled.len() == values.len() && !cleared && !included {
            filled
                .into_iter()
                .zip(values)
                .for_each(|(index, value)| self.set(index, value));
            return;
        }
        filled.iter().for_each(|index| self.editor.remove(*index));
        let written = self.written(key);
        if included {
            self.append(written, "");
        }
        let end = self.inputs.config.lines().len();
        let place = own.last().map_or(end, |line| line.0 + 1);
        for value in values {
            self.add_after(if included { end } else { place }, written, value);
        }
    }

    /// The name that a key of the container is written with in a new line.
    pub(super) fn written<'k>(&self, key: &'k str) -> &'k str {
        if self.writes_old() {
            keys::old_name(key).unwrap_or(key)
        } else {
            key
        }
    }
}
