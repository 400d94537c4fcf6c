//! Which parts of a mapping are in an archive, in few cells, whatever its size.

use schemars::JsonSchema;
use serde::Serialize;

use crate::criu::wire::PAGE_SIZE;
use crate::images::{Address, Mapping, MappingKind};

/// Most cells of a mapping.
const CELLS: u64 = 96;

/// A mapping in cells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MappingCells {
    /// Its first address.
    pub start: Address,
    /// The address after its last.
    pub end: Address,
    /// Its length, bytes.
    pub length: u64,
    /// What it is of.
    pub kind: MappingKind,
    /// As in /proc/PID/maps.
    pub protection: String,
    /// The file, or a name in brackets.
    pub name: String,
    /// Bytes of it in the archive.
    pub stored: u64,
    /// Bytes of those that are pages of zeros; absent where nobody looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero: Option<u64>,
    /// Bytes of it in the images of a parent.
    pub in_parent: u64,
    /// For every cell a digit: how many tenths of it are in the archive, rounded up.
    pub cells: String,
    /// For every cell a digit: how many tenths of it are pages of zeros in the archive.
    pub zeros: String,
}

/// Counts the pages of a mapping.
#[derive(Debug, Clone)]
pub struct Coverage {
    mapping: Mapping,
    stored: Vec<u64>,
    zero: Vec<u64>,
}

impl Coverage {
    /// Of a mapping of which nothing is known yet.
    #[must_use]
    pub fn new(mapping: &Mapping) -> Self {
        let cells = (mapping.length() / PAGE_SIZE).clamp(1, CELLS) as usize;
        Self {
            mapping: mapping.clone(),
            stored: vec![0; cells],
            zero: vec![0; cells],
        }
    }

    /// Notes that a page at this address is in the archive.
    pub fn page(&mut self, address: u64, zero: bool) {
        let Some(at) = address
            .checked_sub(self.mapping.start.0)
            .filter(|_| address < self.mapping.end.0)
        else {
            return;
        };
        let cell = (u128::from(at) * self.stored.len() as u128 / u128::from(self.mapping.length())) as usize;
        self.stored[cell] += PAGE_SIZE;
        if zero {
            self.zero[cell] += PAGE_SIZE;
        }
    }

    /// The cells; `looked` says whether the content of pages was looked at.
    #[must_use]
    pub fn cells(&self, looked: bool) -> MappingCells {
        let Mapping {
            start,
            end,
            kind,
            ref protection,
            stored,
            in_parent,
            ..
        } = self.mapping;
        let size = self.mapping.length().div_ceil(self.stored.len() as u64).max(1);
        let digits = |counts: &[u64]| counts.iter().map(|count| digit(*count, size)).collect();
        let own = self.mapping.shared_id.is_none();
        MappingCells {
            start,
            end,
            length: self.mapping.length(),
            kind,
            protection: protection.clone(),
            name: self.mapping.label(),
            stored: if own { stored } else { self.stored.iter().sum() },
            zero: looked.then(|| self.zero.iter().sum()),
            in_parent,
            cells: digits(&self.stored),
            zeros: digits(&self.zero),
        }
    }
}

/// Tenths, rounded up so that little is not nothing, and cut at nine.
fn digit(count: u64, size: u64) -> char {
    let tenths = (u128::from(count) * 10).div_ceil(u128::from(size)).min(9) as u32;
    char::from_digit(tenths, 10).unwrap_or('9')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(pages: u64) -> Mapping {
        Mapping {
            start: Address(16 * PAGE_SIZE),
            end: Address((16 + pages) * PAGE_SIZE),
            kind: MappingKind::Anonymous,
            protection: "rw-p".into(),
            name: None,
            stored: 0,
            in_parent: 0,
            shared_id: None,
            offset: 0,
        }
    }

    #[test]
    fn small_mappings_have_a_cell_for_each_page() {
        let mut coverage = Coverage::new(&mapping(4));
        coverage.page(17 * PAGE_SIZE, false);
        coverage.page(19 * PAGE_SIZE, true);
        coverage.page(20 * PAGE_SIZE, true);
        coverage.page(15 * PAGE_SIZE, true);
        let cells = coverage.cells(true);
        assert_eq!(
            (cells.cells.as_str(), cells.zeros.as_str(), cells.zero),
            ("0909", "0009", Some(PAGE_SIZE))
        );
    }

    #[test]
    fn a_page_of_a_giant_is_still_seen() {
        let mut coverage = Coverage::new(&mapping(1 << 30));
        coverage.page((16 + (1 << 30) - 1) * PAGE_SIZE, false);
        let cells = coverage.cells(false);
        assert_eq!(
            (cells.cells.len() as u64, cells.cells.ends_with("01"), cells.zero),
            (CELLS, true, None)
        );
    }
}
