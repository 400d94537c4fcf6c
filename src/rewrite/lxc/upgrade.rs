//! Old keys into new ones: LXC from version 3 on reads no other.
//!
//! The same translation as LXC's lxc-update-config makes, except that comments stay as they are.

use super::Rewriter;
use super::refusal::Refusal;
use crate::lxc::keys::{Key, network_key};

impl Rewriter<'_> {
    /// Translates the keys of lines that stand with old ones, and takes away those that nothing replaces.
    pub(super) fn upgrade(&mut self) {
        if !self.request.upgrade {
            return;
        }
        for (index, setting) in self.inputs.config.settings() {
            let new = match (Key::resolve(&setting.key), self.effective.key_on(index)) {
                (Key::Dropped, _) => {
                    self.editor.remove(index);
                    continue;
                }
                (key, Some(new)) if key.is_old() => new.to_owned(),
                _ => continue,
            };
            if let Err(error) = self.editor.set_key(index, &new) {
                self.refuse(Refusal::Unwritable(error));
            }
        }
    }

    /// Whether new lines have to be written with old keys.
    pub(super) fn writes_old(&self) -> bool {
        let old = |key: &str| Key::resolve(key).is_old();
        !self.request.upgrade && self.inputs.config.settings().any(|(_, setting)| old(&setting.key))
    }

    /// The key of a network as a new line has it.
    pub(super) fn written_network(&self, number: u32, part: &str) -> String {
        if !self.writes_old() {
            return network_key(number, part);
        }
        let part = part.strip_suffix(".address").unwrap_or(part);
        format!("lxc.network.{part}")
    }

    pub(super) fn add_after(&mut self, line: usize, key: &str, value: &str) {
        if let Err(error) = self.editor.add_after(line, key, value) {
            self.refuse(Refusal::Unwritable(error));
        }
    }
}
