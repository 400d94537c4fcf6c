//! What a configuration and its includes add up to, under the new names, as LXC 6 adds it up.
//!
//! Invariants: settings are applied in the order in which LXC meets them, includes in the place where they are named; a
//! later scalar replaces, a later list element is appended, an empty value takes away. What could not be applied is told
//! as a [`Finding`], never dropped in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::config::{Config, Kind, Setting};
use super::finding::Finding;
use super::keys::{self, Key, Shape, network_key};
use super::network::Network;

/// Deepest nesting of includes that is followed. LXC itself has no limit; real ones are two deep.
pub const MAX_INCLUDE_DEPTH: usize = 16;
/// Most included files in all: includes that name each other twice would double at every level.
pub const MAX_INCLUDED: usize = 512;

/// A file that an include names. A directory's include has one for each of its `*.conf`, in the order they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Included {
    /// Its path, for messages.
    pub path: String,
    /// What is in it.
    pub config: Config,
}

/// Where a setting stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The included file; `None` for the container's own configuration.
    pub file: Option<String>,
    /// Number of the line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            None => write!(f, "line {}", self.line),
            Some(file) => write!(f, "{file}, line {}", self.line),
        }
    }
}

/// A value that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value, never empty.
    pub value: String,
    /// Where it stands.
    pub place: Place,
}

/// The sum of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effective {
    settings: BTreeMap<String, Vec<Entry>>,
    numbers: BTreeSet<u32>,
    lines: BTreeMap<usize, String>,
    findings: Vec<Finding>,
}

impl Effective {
    /// Adds a configuration up. `includes` has the files of each `lxc.include` by its value; files named there may
    /// include others of the map.
    #[must_use]
    pub fn new(config: &Config, includes: &BTreeMap<String, Vec<Included>>) -> Self {
        let mut sum = Sum {
            includes,
            included: 0,
            last_old: None,
            effective: Self::default(),
        };
        sum.add(config, None, 0);
        sum.effective
    }

    /// The values of a key (its new name, whole), in order; none when it is not set.
    #[must_use]
    pub fn all(&self, key: &str) -> &[Entry] {
        self.settings.get(key).map_or(&[], Vec::as_slice)
    }

    /// The value of a key that has one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.all(key).last()
    }

    /// Every key that is `prefix.NAME`, with its values.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a [Entry])> {
        self.settings.iter().filter_map(move |(key, values)| {
            let name = key.strip_prefix(prefix)?.strip_prefix('.')?;
            Some((name, values.as_slice()))
        })
    }

    /// The networks by number.
    pub fn networks(&self) -> impl Iterator<Item = Network<'_>> {
        let numbers = self.numbers.iter().enumerate();
        numbers.map(|(position, number)| Network::new(self, *number, position))
    }

    /// The new name of the key on a line of the container's own configuration (from 0): networks have their numbers.
    /// `None` when the line sets nothing that LXC knows.
    #[must_use]
    pub fn key_on(&self, line: usize) -> Option<&str> {
        self.lines.get(&line).map(String::as_str)
    }

    /// What could not be read or applied.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

struct Sum<'a> {
    includes: &'a BTreeMap<String, Vec<Included>>,
    included: usize,
    /// Number of the network that the last old `type` began.
    last_old: Option<u32>,
    effective: Effective,
}

impl Sum<'_> {
    fn add(&mut self, config: &Config, file: Option<&str>, depth: usize) {
        for (index, line) in config.lines().iter().enumerate() {
            let place = Place {
                file: file.map(str::to_owned),
                line: index + 1,
            };
            match line.kind() {
                Kind::Blank | Kind::Comment | Kind::Foreign => {}
                Kind::Malformed => self.find(Finding::Malformed { place }),
                Kind::Opaque => self.find(Finding::NotText { place }),
                Kind::Beyond => self.find(Finding::Nul { place }),
                Kind::Setting(setting) => self.apply(setting, place, depth),
            }
        }
    }

    fn find(&mut self, finding: Finding) {
        self.effective.findings.push(finding);
    }

    fn apply(&mut self, setting: &Setting, place: Place, depth: usize) {
        let key = Key::resolve(&setting.key);
        let line = place.file.is_none().then_some(place.line - 1);
        let old = key.is_old();
        let name = match key {
            Key::Plain { name, shape, .. } => {
                self.apply_plain(&name, shape, &setting.value, &place, depth);
                Some(name)
            }
            Key::Network {
                number, part, shape, ..
            } => self.apply_network(number, part, shape, setting, &place),
            Key::AllNetworks { .. } => {
                self.clear_networks();
                Some("lxc.net".to_owned())
            }
            Key::Dropped => Some(setting.key.clone()),
            Key::Unknown => {
                let key = setting.key.clone();
                self.find(Finding::UnknownKey {
                    key,
                    place: place.clone(),
                });
                None
            }
        };
        if let Some(name) = name {
            if old {
                let new = (name != setting.key).then(|| name.clone());
                let key = setting.key.clone();
                self.find(Finding::OldKey { key, new, place });
            }
            line.and_then(|line| self.effective.lines.insert(line, name));
        }
    }

    fn apply_plain(&mut self, name: &str, shape: Shape, value: &str, place: &Place, depth: usize) {
        match name {
            keys::INCLUDE => return self.include(value, place, depth),
            keys::MOUNT_FSTAB if value.is_empty() => self.find(Finding::EmptyFstab { place: place.clone() }),
            // Either of them, empty, takes both away.
            "lxc.cap.drop" | "lxc.cap.keep" if value.is_empty() => {
                self.effective.settings.remove("lxc.cap.drop");
                self.effective.settings.remove("lxc.cap.keep");
            }
            _ => {}
        }
        self.set(name, shape, value, place);
    }

    fn set(&mut self, name: &str, shape: Shape, value: &str, place: &Place) {
        let settings = &mut self.effective.settings;
        if value.is_empty() {
            settings.remove(name);
            if matches!(shape, Shape::Named | Shape::NamedList) {
                let kept = ["lxc.hook.version", "lxc.cgroup.relative"];
                let below = |key: &str| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
                let dir = |key: &str| key.starts_with(keys::CGROUP_DIR);
                settings.retain(|key, _| !below(key) || dir(key) || kept.contains(&key.as_str()));
            }
            return;
        }
        let values = settings.entry(name.to_owned()).or_default();
        if matches!(shape, Shape::Scalar | Shape::Named) {
            values.clear();
        }
        values.push(Entry {
            value: value.to_owned(),
            place: place.clone(),
        });
    }

    fn apply_network(
        &mut self,
        number: Option<u32>,
        part: Option<&'static str>,
        shape: Shape,
        setting: &Setting,
        place: &Place,
    ) -> Option<String> {
        let value = setting.value.as_str();
        let Some(number) = number.or_else(|| self.old_number(part, value)) else {
            let (key, place) = (setting.key.clone(), place.clone());
            // LXC 1 and 2 take all networks away at an empty type; there is nothing to say of it.
            if value.is_empty() && part == Some("type") {
                self.clear_networks();
                return Some("lxc.net".to_owned());
            }
            self.find(Finding::NetworkBeforeType { key, place });
            return None;
        };
        let Some(part) = part else {
            if value.is_empty() {
                self.effective.numbers.remove(&number);
                let prefix = format!("lxc.net.{number}.");
                self.effective.settings.retain(|key, _| !key.starts_with(&prefix));
            } else {
                let (key, place) = (setting.key.clone(), place.clone());
                self.find(Finding::UnknownKey { key, place });
            }
            return Some(format!("lxc.net.{number}"));
        };
        if !value.is_empty() {
            self.effective.numbers.insert(number);
        }
        let name = network_key(number, part);
        self.set(&name, shape, value, place);
        Some(name)
    }

    /// The network that an old key means: `type` begins the next one.
    fn old_number(&mut self, part: Option<&str>, value: &str) -> Option<u32> {
        if part == Some("type") {
            if value.is_empty() {
                return None;
            }
            let next = self.effective.numbers.last().map_or(0, |last| last.saturating_add(1));
            self.last_old = Some(next);
        }
        self.last_old
    }

    fn clear_networks(&mut self) {
        self.last_old = None;
        self.effective.numbers.clear();
        self.effective.settings.retain(|key, _| !key.starts_with("lxc.net."));
    }

    fn include(&mut self, value: &str, place: &Place, depth: usize) {
        if value.is_empty() {
            return;
        }
        self.set(keys::INCLUDE, Shape::List, value, place);
        let Some(files) = self.includes.get(value) else {
            let name = value.to_owned();
            return self.find(Finding::IncludeMissing {
                name,
                place: place.clone(),
            });
        };
        for file in files {
            if depth >= MAX_INCLUDE_DEPTH || self.included >= MAX_INCLUDED {
                return self.find(Finding::IncludesTooMany { place: place.clone() });
            }
            self.included += 1;
            self.add(&file.config, Some(&file.path), depth + 1);
        }
    }
}

#[cfg(test)]
mod tests;
