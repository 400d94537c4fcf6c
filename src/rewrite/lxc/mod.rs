//! What an import changes in an LXC configuration and its fstab: a pure function of both and of the request.
//!
//! Invariants:
//!
//! - the new text differs from the old one in the lines of [`Rewritten::changes`] and nowhere else, byte for byte;
//! - a path of the source host stays in the configuration only when the importer mapped or allowed it, when it belongs to
//!   LXC's package, or when it was in the container's own directory and now is in the new one;
//! - everything that is refused is refused at once;
//! - programs (hooks, scripts) are a matter of their own: a mapped directory does not let them run.

mod change;
mod editor;
mod identity;
mod kernel;
mod mounts;
mod networks;
mod paths;
mod refusal;
mod request;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};

pub use change::{Change, File, Need, Note};
pub use paths::is_vouched_for;
pub use refusal::Refusal;
pub use request::{Home, InterfaceRequest, LxcRequest, PathMap};

use crate::lxc::{Config, Effective, Fstab, Included, Kind, keys};
use crate::rewrite::refusal::Refusals;
use editor::Editor;

/// What is rewritten.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The container's own configuration.
    pub config: &'a Config,
    /// What its includes have on this host, by the value of the include.
    pub includes: &'a BTreeMap<String, Vec<Included>>,
    /// The file that its `lxc.mount.fstab` names.
    pub fstab: Option<&'a Fstab>,
}

/// A configuration for this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// The configuration.
    pub config: Config,
    /// The fstab, where there was one. It belongs at [`Home::fstab`] of the new home.
    pub fstab: Option<Fstab>,
    /// The lines that differ, those of the configuration first.
    pub changes: Vec<Change>,
    /// What has to be on this host, or must not be.
    pub needs: BTreeSet<Need>,
    /// What the importer should know.
    pub notes: Vec<Note>,
}

/// Rewrites a configuration.
///
/// # Errors
/// Everything that stands in the way, at once.
pub fn rewrite(inputs: Inputs<'_>, request: &LxcRequest) -> Result<Rewritten, Refusals> {
    let mut rewriter = Rewriter::new(inputs, request);
    rewriter.judge_text();
    rewriter.judge_kernel();
    rewriter.upgrade();
    rewriter.rewrite_identity();
    rewriter.rewrite_paths();
    rewriter.rewrite_programs();
    rewriter.rewrite_networks();
    rewriter.rewrite_mounts();
    rewriter.rewrite_fstab();
    rewriter.finish()
}

struct Rewriter<'a> {
    inputs: Inputs<'a>,
    request: &'a LxcRequest,
    effective: Effective,
    /// The root file system on the source host, without the storage before it.
    old_rootfs: Option<String>,
    editor: Editor<'a>,
    fstab: Option<Fstab>,
    needs: BTreeSet<Need>,
    notes: Vec<Note>,
    refusals: Vec<Refusal>,
}

impl<'a> Rewriter<'a> {
    fn new(inputs: Inputs<'a>, request: &'a LxcRequest) -> Self {
        let effective = Effective::new(inputs.config, inputs.includes);
        let rootfs = effective.get(keys::ROOTFS_PATH);
        let old_rootfs = rootfs.map(|entry| paths::split_backend(&entry.value).1.to_owned());
        Self {
            inputs,
            request,
            effective,
            old_rootfs,
            editor: Editor::new(inputs.config),
            fstab: inputs.fstab.cloned(),
            needs: BTreeSet::new(),
            notes: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// What is not understood cannot be vouched for: LXC refuses unknown keys, but another version of it may know them.
    fn judge_text(&mut self) {
        for (index, line) in self.inputs.config.lines().iter().enumerate() {
            let number = index + 1;
            let taken = match line.kind() {
                Kind::Opaque | Kind::Beyond => {
                    self.refuse(Refusal::NotText {
                        file: File::Config,
                        line: number,
                    });
                    continue;
                }
                Kind::Malformed => false,
                Kind::Setting(_) => self.effective.key_on(index).is_some(),
                Kind::Blank | Kind::Comment | Kind::Foreign => true,
            };
            if !taken {
                let text = line.text();
                self.refuse(Refusal::NotTaken { text, line: number });
            }
        }
        if let Err(refusals) = self.request.check() {
            self.refusals.extend(refusals);
        }
    }

    /// The lines that set a key which `wanted` takes, as (index, key, value). Overridden lines count like all others:
    /// another version of LXC may add them up in another way.
    fn lines(&self, wanted: impl Fn(&str) -> bool) -> Vec<(usize, String, String)> {
        let settings = self.inputs.config.settings().filter_map(|(index, setting)| {
            let key = self.effective.key_on(index).filter(|key| wanted(key))?;
            Some((index, key.to_owned(), setting.value.clone()))
        });
        settings.collect()
    }

    /// Sets the value of a line; one that cannot be written is refused.
    fn set(&mut self, index: usize, value: &str) {
        if let Err(error) = self.editor.set_value(index, value) {
            self.refuse(Refusal::Unwritable(error));
        }
    }

    /// Sets a scalar: in the last line that has it, or in a new line at the end, where it counts whatever is included.
    fn set_key(&mut self, key: &str, value: &str) {
        let own = self.lines(|known| known == key).pop();
        let place = self.effective.get(key).map(|entry| entry.place.clone());
        match (own, place) {
            (Some((index, ..)), Some(place)) if place.file.is_none() => self.set(index, value),
            _ => self.append(self.written(key), value),
        }
    }

    fn append(&mut self, key: &str, value: &str) {
        if let Err(error) = self.editor.append(key, value) {
            self.refuse(Refusal::Unwritable(error));
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        if !self.refusals.contains(&refusal) {
            self.refusals.push(refusal);
        }
    }

    fn finish(self) -> Result<Rewritten, Refusals> {
        let refused = self.refusals.into_iter().map(Into::into).collect();
        if let Some(refusals) = Refusals::collect(refused) {
            return Err(refusals);
        }
        let (config, mut changes) = self.editor.finish();
        if let (Some(before), Some(after)) = (self.inputs.fstab, &self.fstab) {
            changes.extend(change::of_fstab(before, after));
        }
        Ok(Rewritten {
            config,
            fstab: self.fstab,
            changes,
            needs: self.needs,
            notes: self.notes,
        })
    }
}

#[cfg(test)]
mod tests;
