//! The documents by which engines describe a container, as they stand in the archive.

use super::names::{BINDS, CONFIG, DELETED, LOG, NETWORK, SPEC};

/// Bytes of CRIU's log that are kept: it says in its first lines what it runs on.
pub(super) const LOG_KEPT: u64 = 16 << 10;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Documents {
    /// `config.dump`.
    pub config: Option<Vec<u8>>,
    /// `spec.dump`.
    pub spec: Option<Vec<u8>>,
    /// `network.status`.
    pub network: Option<Vec<u8>>,
    /// `bind.mounts`.
    pub binds: Option<Vec<u8>>,
    /// `deleted.files`.
    pub deleted: Option<Vec<u8>>,
    /// The first 16 KiB of `dump.log`.
    pub log: Option<Vec<u8>>,
}

impl Documents {
    /// Keeps the content of an entry, if it is one of them.
    pub(super) fn keep(&mut self, name: &str, text: &[u8]) {
        let place = match name {
            CONFIG => &mut self.config,
            SPEC => &mut self.spec,
            NETWORK => &mut self.network,
            BINDS => &mut self.binds,
            DELETED => &mut self.deleted,
            LOG => &mut self.log,
            _ => return,
        };
        *place = Some(text.to_vec());
    }
}
