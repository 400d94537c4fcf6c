//! Which pages of memory are not the same in two checkpoints.
//!
//! Both are walked over at the same time, each by a thread; of every page its digest is kept, 24 bytes for 4 KiB. Shared memory is
//! compared in each process that maps it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::super::look::Look;
use super::super::memory::walk;
use super::super::render::Stop;
use super::Side;
use crate::criu::wire::PAGE_SIZE;
use crate::images::ProcessRegions;

/// Bytes of a digest that are kept: enough that nobody finds two pages with the same.
const DIGEST: usize = 16;

/// Changes in the memory of a process, in bytes of whole pages. Pages that an archive does not have (never touched, or the
/// same in a file) count as not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MemoryChange {
    /// Process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// What the first archive has.
    pub before: u64,
    /// What the second has.
    pub after: u64,
    /// What both have, with the same content; absent where pages were not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same: Option<u64>,
    /// What both have, with another content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
    /// What only the second has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added: Option<u64>,
    /// What only the first has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<u64>,
}

impl MemoryChange {
    /// Whether nothing changed, as far as was looked at.
    pub fn is_none(&self) -> bool {
        let counts = [self.changed, self.added, self.removed];
        self.before == self.after && counts.iter().all(|count| count.unwrap_or(0) == 0)
    }
}

/// A page: its address and its digest.
type Page = (u64, [u8; DIGEST]);

/// The pages of a process.
struct Pages {
    name: String,
    pages: Vec<Page>,
}

/// Compares sizes only.
pub fn sizes(one: &Side, other: &Side) -> Vec<MemoryChange> {
    let stored = |side: &Side| -> BTreeMap<u32, (String, u64)> {
        let processes = side.inspection.inside.processes.iter();
        let stored = processes.filter_map(|process| {
            let memory = process.memory.as_ref()?;
            Some((
                process.pid,
                (process.name.clone(), memory.stored.saturating_add(memory.shared)),
            ))
        });
        stored.collect()
    };
    let (before, after) = (stored(one), stored(other));
    let pids: std::collections::BTreeSet<u32> = before.keys().chain(after.keys()).copied().collect();
    let of = |pid| {
        let (one, other) = (before.get(&pid), after.get(&pid));
        MemoryChange {
            pid,
            name: one.or(other).map(|(name, _)| name.clone()).unwrap_or_default(),
            before: one.map_or(0, |(_, stored)| *stored),
            after: other.map_or(0, |(_, stored)| *stored),
            ..MemoryChange::default()
        }
    };
    pids.into_iter().map(of).collect()
}

/// Compares every page.
pub fn compare(one: &Side, one_look: &Look, other: &Side, other_look: &Look) -> Result<Vec<MemoryChange>, Stop> {
    let (before, after) = std::thread::scope(|scope| {
        let first = scope.spawn(|| pages(one, one_look));
        let after = pages(other, other_look);
        let before = first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (before, after)
    });
    let (mut before, after) = (before?, after?);
    let mut changes = Vec::new();
    for (pid, after) in after {
        let empty = Pages {
            name: after.name.clone(),
            pages: Vec::new(),
        };
        changes.push(change(pid, &before.remove(&pid).unwrap_or(empty), &after));
    }
    for (pid, before) in before {
        let after = Pages {
            name: before.name.clone(),
            pages: Vec::new(),
        };
        changes.push(change(pid, &before, &after));
    }
    changes.sort_by_key(|change| change.pid);
    Ok(changes)
}

/// The pages of all processes, by address. Without process tree there are none: that is told as a problem of the inspection.
fn pages(side: &Side, look: &Look) -> Result<BTreeMap<u32, Pages>, Stop> {
    let Ok(processes) = ProcessRegions::read(look.images(), None) else {
        return Ok(BTreeMap::new());
    };
    let mut found: Vec<Vec<Page>> = processes
        .iter()
        .map(|process| Vec::with_capacity(usize::try_from(process.stored() / PAGE_SIZE).unwrap_or(0)))
        .collect();
    walk::walk(&side.archive, look, &processes, &mut |number, address, bytes| {
        // Pieces are cut at multiples of a page.
        for (at, page) in bytes.chunks(PAGE_SIZE as usize).enumerate() {
            let mut digest = [0; DIGEST];
            digest.copy_from_slice(&blake3::hash(page).as_bytes()[..DIGEST]);
            found[number].push((address + at as u64 * PAGE_SIZE, digest));
        }
        Ok(())
    })?;
    let sorted = processes.into_iter().zip(found).map(|(process, mut pages)| {
        pages.sort_unstable_by_key(|(address, _)| *address);
        let name = process.name;
        (process.pid, Pages { name, pages })
    });
    Ok(sorted.collect())
}

fn change(pid: u32, before: &Pages, after: &Pages) -> MemoryChange {
    let (mut same, mut changed) = (0, 0);
    let mut rest = after.pages.iter().peekable();
    for (address, digest) in &before.pages {
        while rest.next_if(|(other, _)| other < address).is_some() {}
        match rest.next_if(|(other, _)| other == address) {
            Some((_, other)) if other == digest => same += PAGE_SIZE,
            Some(_) => changed += PAGE_SIZE,
            None => {}
        }
    }
    let size = |pages: &Pages| pages.pages.len() as u64 * PAGE_SIZE;
    MemoryChange {
        pid,
        name: after.name.clone(),
        before: size(before),
        after: size(after),
        same: Some(same),
        changed: Some(changed),
        added: Some(size(after) - same - changed),
        removed: Some(size(before) - same - changed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(list: &[(u64, u8)]) -> Pages {
        Pages {
            name: "x".into(),
            pages: list
                .iter()
                .map(|(page, digest)| (page * PAGE_SIZE, [*digest; DIGEST]))
                .collect(),
        }
    }

    #[test]
    fn pages_are_compared_by_address() {
        let before = pages(&[(1, 1), (2, 2), (3, 3), (9, 9)]);
        let after = pages(&[(0, 1), (2, 2), (3, 4), (10, 9), (11, 1)]);
        let found = change(7, &before, &after);
        let pages = |bytes: Option<u64>| bytes.unwrap() / PAGE_SIZE;
        assert_eq!(
            (
                pages(found.same),
                pages(found.changed),
                pages(found.added),
                pages(found.removed)
            ),
            (1, 1, 3, 2)
        );
        assert!(!found.is_none() && change(7, &before, &before).is_none());
    }
}
