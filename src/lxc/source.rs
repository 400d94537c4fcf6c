//! A container's configuration with every text that it takes in, and its form in an archive.
//!
//! `lxc/config` and `lxc/fstab` are the files byte for byte. What is included is written into one entry, as the names of
//! entries cannot hold paths: it is kept for people and for comparison, the importing host has its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Config, Effective, Error, Fstab, Included};

/// The entry of the configuration.
pub const CONFIG_ENTRY: &str = "lxc/config";
/// The entry of the fstab.
pub const FSTAB_ENTRY: &str = "lxc/fstab";
/// The entry of what is included.
pub const INCLUDES_ENTRY: &str = "lxc/includes.json";
/// The entry of the cgroups in p.haul's form.
pub const PHAUL_ENTRY: &str = "lxccg.img";

/// What each `lxc.include` has, by its value.
pub type Includes = BTreeMap<String, Vec<Included>>;

/// A configuration with what it takes in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// The container's own configuration.
    pub config: Config,
    /// The file that its `lxc.mount.fstab` names.
    pub fstab: Option<Fstab>,
    /// What it includes.
    pub includes: Includes,
}

/// One included file as an archive has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    /// The value of `lxc.include`.
    include: String,
    /// The file.
    path: String,
    /// What is in it.
    text: String,
}

impl Source {
    /// What it adds up to.
    #[must_use]
    pub fn effective(&self) -> Effective {
        Effective::new(&self.config, &self.includes)
    }

    /// Its entries in an archive, in their order.
    #[must_use]
    pub fn entries(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut entries = vec![(CONFIG_ENTRY, self.config.to_bytes())];
        entries.extend(self.fstab.as_ref().map(|fstab| (FSTAB_ENTRY, fstab.to_bytes())));
        if !self.includes.is_empty() {
            let mut text = serde_json::to_vec_pretty(&self.texts()).unwrap_or_default();
            text.push(b'\n');
            entries.push((INCLUDES_ENTRY, text));
        }
        entries
    }

    fn texts(&self) -> Vec<Text> {
        let files = self.includes.iter().flat_map(|(include, files)| {
            files.iter().map(|file| Text {
                include: include.clone(),
                path: file.path.clone(),
                text: String::from_utf8_lossy(&file.config.to_bytes()).into_owned(),
            })
        });
        files.collect()
    }

    /// Reads the entries that `get` finds; `None` where there is no configuration.
    ///
    /// # Errors
    /// Those of `get`, and [`Error`] for an entry that is none.
    pub fn read<E: From<Error>>(get: impl Fn(&str) -> Result<Option<Vec<u8>>, E>) -> Result<Option<Self>, E> {
        let Some(config) = get(CONFIG_ENTRY)? else {
            return Ok(None);
        };
        let fstab = get(FSTAB_ENTRY)?.map(|text| Fstab::parse(&text)).transpose()?;
        let mut includes = Includes::new();
        if let Some(text) = get(INCLUDES_ENTRY)? {
            let texts: Vec<Text> = serde_json::from_slice(&text).map_err(|_| Error::Includes)?;
            for Text { include, path, text } in texts {
                let config = Config::parse(text.as_bytes())?;
                includes.entry(include).or_default().push(Included { path, config });
            }
        }
        Ok(Some(Self {
            config: Config::parse(&config)?,
            fstab,
            includes,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_comes_back_from_its_entries() {
        let include = Included {
            path: "/usr/share/lxc/config/common.conf".to_owned(),
            config: Config::parse(b"lxc.pty.max = 1024\n").unwrap(),
        };
        let source = Source {
            config: Config::parse(b"# mine\nlxc.include = /usr/share/lxc/config/common.conf\n").unwrap(),
            fstab: Some(Fstab::parse(b"proc proc proc defaults 0 0").unwrap()),
            includes: [("/usr/share/lxc/config/common.conf".to_owned(), vec![include])].into(),
        };
        let entries: BTreeMap<_, _> = source.entries().into_iter().collect();
        let read = Source::read::<Error>(|name| Ok(entries.get(name).cloned())).unwrap();
        assert_eq!(read, Some(source));
        assert_eq!(Source::read::<Error>(|_| Ok(None)).unwrap(), None);
    }

    #[test]
    fn includes_that_are_no_list_are_refused() {
        let get = |name: &str| {
            Ok(Some(if name == INCLUDES_ENTRY {
                b"{}".to_vec()
            } else {
                Vec::new()
            }))
        };
        assert_eq!(Source::read::<Error>(get), Err(Error::Includes));
    }
}
