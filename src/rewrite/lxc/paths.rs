//! Paths of the source host: mapped, allowed, moved with the container's directory, or refused.

use super::change::{File, Need};
use super::refusal::Refusal;
use super::{Rewriter, request::PathMap};
use crate::lxc::keys;

/// What LXC's package brings: it belongs to this host, not to the archive.
const PACKAGE: &str = "/usr/share/lxc";
/// The part of it that configurations include.
const PACKAGE_CONFIG: &str = "/usr/share/lxc/config";
/// Where LXC logs when nobody says otherwise, one file for each container.
const LOGS: &str = "/var/log/lxc";
/// The part of an old network's keys that name programs.
const SCRIPTS: [&str; 2] = [".script.up", ".script.down"];

/// Splits `TYPE:PATH` of a root file system at the first colon, as LXC does.
pub(super) fn split_backend(value: &str) -> (Option<&str>, &str) {
    value
        .split_once(':')
        .map_or((None, value), |(backend, path)| (Some(backend), path))
}

/// An absolute path without empty and `.` components; `None` for a relative one and one that goes up.
pub(super) fn clean(path: &str) -> Option<String> {
    let parts = path.strip_prefix('/')?.split('/');
    let mut clean = String::new();
    for part in parts.filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return None;
        }
        clean.push('/');
        clean.push_str(part);
    }
    Some(if clean.is_empty() { "/".to_owned() } else { clean })
}

/// What follows `directory` in `path`: empty for itself, else beginning with `/`.
pub(super) fn below<'p>(path: &'p str, directory: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(directory.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// By the longest mapped path that it is, or is below.
fn mapped(maps: &[PathMap], path: &str) -> Option<String> {
    let of = |map: &PathMap| Some((clean(&map.from)?, map.to.clone()));
    let maps = maps.iter().filter_map(of);
    let fitting = maps.filter(|(from, _)| below(path, from).is_some());
    let (from, to) = fitting.max_by_key(|(from, _)| from.len())?;
    clean(&format!("{to}{}", below(path, &from)?))
}

/// The path here of what a configuration includes; `None` when nobody vouches for it, and it will be refused.
#[must_use]
pub fn is_vouched_for(include: &str, maps: &[PathMap], allowed: &[String]) -> Option<String> {
    if allowed.iter().any(|path| path == include) {
        return Some(include.to_owned());
    }
    let cleaned = clean(include)?;
    let ours = below(&cleaned, PACKAGE_CONFIG).is_some();
    mapped(maps, &cleaned).or_else(|| ours.then(|| include.to_owned()))
}

impl Rewriter<'_> {
    /// Rewrites what names a file or directory.
    pub(super) fn rewrite_paths(&mut self) {
        for (index, key, value) in self.lines(is_path_key) {
            if value.is_empty() || (key == keys::CONSOLE_PATH && value == "none") {
                continue;
            }
            match self.place(&key, &value) {
                Some(path) => {
                    self.needs.extend(need_of(&key, &path));
                    self.set(index, &path);
                }
                None => self.refuse(Refusal::Path {
                    key,
                    path: value,
                    line: index + 1,
                }),
            }
        }
    }

    /// The path here that a key's path of the source host stands for; `None` when nobody vouches for it.
    fn place(&self, key: &str, path: &str) -> Option<String> {
        if self.is_allowed(path) {
            return Some(path.to_owned());
        }
        let cleaned = clean(path)?;
        let ours = |directory| below(&cleaned, directory).is_some();
        match key {
            keys::INCLUDE => self
                .mapped(&cleaned)
                .or_else(|| ours(PACKAGE_CONFIG).then(|| path.to_owned())),
            keys::SECCOMP_PROFILE => self
                .relocated(&cleaned)
                .or_else(|| ours(PACKAGE).then(|| path.to_owned())),
            keys::LOG_FILE | keys::CONSOLE_LOGFILE => self.relocated(&cleaned).or_else(|| self.log(&cleaned)),
            keys::ROOTFS_MOUNT => self
                .relocated(&cleaned)
                .or_else(|| is_default_mount(&cleaned).then(|| path.to_owned())),
            _ => self.relocated(&cleaned),
        }
    }

    fn is_allowed(&self, path: &str) -> bool {
        self.request.allow_paths.iter().any(|allowed| allowed == path)
    }

    /// As the importer maps it.
    pub(super) fn mapped(&self, path: &str) -> Option<String> {
        mapped(&self.request.map_paths, path)
    }

    /// As the importer maps it, or moved with the container's own directory. The root file system is not part of that
    /// here: what is below it comes from the archive, links included.
    pub(super) fn relocated(&self, path: &str) -> Option<String> {
        self.mapped(path).or_else(|| {
            let old = clean(&self.request.old.directory())?;
            let rootfs = clean(&self.request.old.rootfs())?;
            let given = self.old_rootfs.as_deref().and_then(clean);
            let inside = |rootfs: &str| below(path, rootfs).is_some();
            if inside(&rootfs) || given.is_some_and(|given| inside(&given)) {
                return None;
            }
            let rest = below(path, &old)?;
            Some(format!("{}{rest}", self.request.new.directory()))
        })
    }

    /// A log where LXC puts them anyway, under the container's name.
    fn log(&self, path: &str) -> Option<String> {
        let file = below(path, LOGS)?.strip_prefix('/')?;
        if file.contains('/') {
            return None;
        }
        let old = &self.request.old.name;
        let own = file.strip_prefix(old.as_str()).filter(|rest| rest.starts_with('.'))?;
        Some(format!("{LOGS}/{}{own}", self.request.new.name))
    }

    /// Rewrites what names a program: hooks and network scripts.
    pub(super) fn rewrite_programs(&mut self) {
        for (index, key, value) in self.lines(is_program_key) {
            let program = value.split([' ', '\t']).next().unwrap_or_default();
            if program.is_empty() {
                continue;
            }
            let named = self.request.map_paths.iter().any(|map| map.from == program);
            if named || self.request.allow_hooks {
                let words = map_words(&value, |word| self.relocated(&clean(word)?));
                if let Some(here) = words.split([' ', '\t']).next().filter(|here| here.starts_with('/')) {
                    self.needs.insert(Need::Path(here.to_owned()));
                }
                self.set(index, &words);
            } else {
                let program = program.to_owned();
                let line = index + 1;
                self.refuse(Refusal::Program { key, program, line });
            }
        }
    }

    /// Rewrites where the fstab is: it is written anew, into the container's directory.
    pub(super) fn rewrite_fstab(&mut self) {
        let there = self.fstab.is_some();
        for (index, _, value) in self.lines(|key| key == keys::MOUNT_FSTAB) {
            match (value.is_empty(), there) {
                (true, _) => {}
                (false, true) => self.set(index, &self.request.new.fstab()),
                (false, false) => self.refuse(Refusal::FstabNeeded {
                    path: value,
                    line: index + 1,
                }),
            }
        }
        self.rewrite_fstab_entries();
    }

    fn rewrite_fstab_entries(&mut self) {
        let Some(fstab) = self.inputs.fstab else { return };
        for (index, entry) in fstab.entries() {
            let (file, line) = (File::Fstab, index + 1);
            let Some(entry) = entry else {
                self.refuse(Refusal::NotText { file, line });
                continue;
            };
            if let (Some(entry), Some(fstab)) = (self.place_mount(&entry, file, line), &mut self.fstab) {
                fstab.replace(index, &entry);
            }
        }
    }
}

fn is_path_key(key: &str) -> bool {
    [
        keys::INCLUDE,
        keys::SECCOMP_PROFILE,
        keys::SECCOMP_PROXY,
        keys::LOG_FILE,
        keys::CONSOLE_LOGFILE,
        keys::CONSOLE_PATH,
        keys::ROOTFS_MOUNT,
    ]
    .contains(&key)
}

fn is_program_key(key: &str) -> bool {
    let hook = key.starts_with("lxc.hook.") && key != "lxc.hook.version";
    hook || (key.starts_with("lxc.net.") && SCRIPTS.iter().any(|script| key.ends_with(script)))
}

fn need_of(key: &str, path: &str) -> Option<Need> {
    match key {
        keys::LOG_FILE | keys::CONSOLE_LOGFILE => Some(Need::DirectoryOf(path.to_owned())),
        _ if path.starts_with('/') => Some(Need::Path(path.to_owned())),
        _ => None,
    }
}

/// Where packages of LXC have the empty directory that root file systems are mounted on.
fn is_default_mount(path: &str) -> bool {
    below(path, "/usr/lib").is_some_and(|rest| rest == "/lxc/rootfs" || rest.ends_with("/lxc/rootfs"))
}

/// Replaces words; the blanks between them stay.
pub(super) fn map_words(text: &str, mut replace: impl FnMut(&str) -> Option<String>) -> String {
    let pieces = text.split_inclusive([' ', '\t']).map(|piece| {
        let word = piece.trim_end_matches([' ', '\t']);
        let new = replace(word).unwrap_or_else(|| word.to_owned());
        format!("{new}{}", &piece[word.len()..])
    });
    pieces.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_or_refused() {
        for (path, expected) in [
            ("/a//b/./c/", Some("/a/b/c")),
            ("/", Some("/")),
            ("/a/../b", None),
            ("a/b", None),
            ("", None),
        ] {
            assert_eq!(clean(path).as_deref(), expected, "{path}");
        }
        assert_eq!(below("/a/bc", "/a/b"), None);
        assert_eq!(below("/a/b/c", "/a/b/"), Some("/c"));
        assert_eq!(below("/a", "/"), Some("/a"));
    }

    #[test]
    fn words_keep_their_blanks() {
        let upper = |word: &str| word.starts_with('/').then(|| word.to_uppercase());
        assert_eq!(map_words("/a  b\t/c ", upper), "/A  b\t/C ");
    }
}
