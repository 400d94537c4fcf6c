//! What the first walk over a tree leaves for the second, so that the second can tell what changed.

use std::collections::BTreeMap;

use super::error::Error;
use super::header::BLOCK;
use super::meta::{Kind, Time};
use super::packed::Packed;
use super::path::TreePath;
use super::sparse::Map;

/// Entries whose sizes are remembered between the walks, eight bytes each. A change behind them is still noticed, but the
/// error then names the file at which the sum went wrong.
const TRACED: usize = 2 * 1024 * 1024;
/// How many entries further on one is looked for, to tell a file that vanished from one that appeared.
const LOOK_AHEAD: usize = 1000;
/// Data regions remembered between the walks for all sparse files, 16 bytes each. Files beyond are written in full.
pub(super) const MAPPED: usize = 1 << 20;

/// What the first walk leaves for the second.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Bytes of the tar.
    pub size: u64,
    trace: Vec<Trace>,
    /// Where sparse files have data.
    pub maps: Maps,
}

/// One entry, to name it if it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trace {
    name: u32,
    blocks: u32,
}

impl Trace {
    fn of(packed: &Packed) -> Self {
        let blocks = packed.len() / BLOCK as u64;
        Self {
            name: name_hash(&packed.entry.path),
            blocks: u32::try_from(blocks).unwrap_or(u32::MAX),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
fn name_hash(path: &TreePath) -> u32 {
    xxhash_rust::xxh64::xxh64(path.as_bytes(), 0) as u32
}

impl Record {
    /// Notes an entry.
    pub fn add(&mut self, packed: &Packed) {
        self.size += packed.len();
        if self.trace.len() < TRACED {
            self.trace.push(Trace::of(packed));
        }
        if let Kind::File { sparse: Some(map), .. } = &packed.entry.kind {
            self.maps.add(packed.ordinal, packed.ctime, map.clone());
        }
    }

    /// Compares an entry with what was there at its place in the first walk.
    pub fn check(&self, at: usize, packed: &Packed, last: &TreePath) -> Result<(), Error> {
        let now = Trace::of(packed);
        let path = packed.entry.path.clone();
        match self.trace.get(at) {
            None if self.trace.len() < TRACED => Err(Error::Appeared { path }),
            None => Ok(()),
            Some(then) if *then == now => Ok(()),
            Some(then) if then.name == now.name => Err(Error::Changed { path }),
            // Is it further on? Then those before it are gone; else it is new.
            Some(_)
                if self.trace[at..]
                    .iter()
                    .take(LOOK_AHEAD)
                    .any(|then| then.name == now.name) =>
            {
                Err(Error::Vanished { after: last.clone() })
            }
            Some(_) => Err(Error::Appeared { path }),
        }
    }
}

/// Maps of sparse files by the ordinal of their entry.
///
/// They are kept, not asked for again: what the kernel answers for preallocated space depends on the page cache, so the
/// second answer may differ for an unchanged file.
#[derive(Debug, Default)]
pub(super) struct Maps(BTreeMap<u64, (Time, Map)>);

impl Maps {
    fn add(&mut self, ordinal: u64, ctime: Time, map: Map) {
        self.0.insert(ordinal, (ctime, map));
    }

    /// The map of a file, and when the file had last changed.
    pub fn get(&self, ordinal: u64) -> Option<&(Time, Map)> {
        self.0.get(&ordinal)
    }
}
