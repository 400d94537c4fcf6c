//! Which byte of which pages image holds the page at an address of a task.
//!
//! Invariants: ranges are in ascending order and do not overlap, as CRIU writes them, and none reaches beyond the end of its
//! pages image; images that are otherwise are refused, so a lookup cannot point astray.

use std::collections::HashMap;

use super::super::Error;
use super::super::images::{PE_LAZY, PE_PARENT, PE_PRESENT, Pagemap};
use super::super::wire::PAGE_SIZE;

/// A range of pages that may be restored lazily.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    address: u64,
    pages: u64,
    /// In the pages image, bytes.
    offset: u64,
}

#[derive(Debug)]
struct Task {
    pages_id: u32,
    ranges: Vec<Range>,
}

/// The pages of all tasks that may be restored lazily.
#[derive(Debug, Default)]
pub struct PageMap {
    tasks: HashMap<u64, Task>,
}

/// Where pages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Number of the pages image.
    pub pages_id: u32,
    /// Offset in it, bytes.
    pub offset: u64,
    /// How many of the pages that were asked for are there, one after the other; at least one.
    pub pages: u64,
}

impl PageMap {
    /// Adds the task with this pid (in its own namespace), whose pages image has `size` bytes.
    ///
    /// # Errors
    /// [`Error::Image`] where the pagemap is not in order, reaches beyond the pages image, or needs a parent's.
    pub fn add(&mut self, pid: u64, name: &str, pagemap: &Pagemap, size: u64) -> Result<(), Error> {
        let mut ranges: Vec<Range> = Vec::new();
        for part in Parts::of(name, pagemap, size) {
            let Part { range, lazy } = part?;
            let follows = |last: &Range| {
                last.address + last.pages * PAGE_SIZE == range.address
                    && last.offset + last.pages * PAGE_SIZE == range.offset
            };
            match ranges.last_mut() {
                _ if !lazy => {}
                Some(last) if follows(last) => last.pages += range.pages,
                _ => ranges.push(range),
            }
        }
        ranges.shrink_to_fit();
        let pages_id = pagemap.pages_id;
        self.tasks.insert(pid, Task { pages_id, ranges });
        Ok(())
    }

    /// The pages of a task from `address` on, `pages` of them or fewer; `None` where the first one is not there.
    #[must_use]
    pub fn find(&self, pid: u64, address: u64, pages: u64) -> Option<Found> {
        let task = self.tasks.get(&pid)?;
        let next = task.ranges.partition_point(|range| range.address <= address);
        let range = task.ranges.get(next.checked_sub(1)?)?;
        let into = address - range.address;
        if !into.is_multiple_of(PAGE_SIZE) || into / PAGE_SIZE >= range.pages || pages == 0 {
            return None;
        }
        Some(Found {
            pages_id: task.pages_id,
            offset: range.offset + into,
            pages: pages.min(range.pages - into / PAGE_SIZE),
        })
    }

    /// Number of pages that may be restored lazily.
    #[must_use]
    pub fn pages(&self) -> u64 {
        let ranges = self.tasks.values().flat_map(|task| &task.ranges);
        ranges.map(|range| range.pages).sum()
    }
}

/// The parts of a pages image that CRIU reads at once, in a lazy restore too: offset and length, bytes.
///
/// # Errors
/// As for [`PageMap::add`].
pub fn eager_parts(name: &str, pagemap: &Pagemap, size: u64) -> Result<Vec<(u64, u64)>, Error> {
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for part in Parts::of(name, pagemap, size) {
        let Part { range, lazy } = part?;
        match parts.last_mut() {
            _ if lazy => {}
            Some((offset, length)) if *offset + *length == range.offset => *length += range.pages * PAGE_SIZE,
            _ => parts.push((range.offset, range.pages * PAGE_SIZE)),
        }
    }
    Ok(parts)
}

struct Part {
    range: Range,
    lazy: bool,
}

/// Walks over what a pagemap says is in its pages image.
struct Parts<'a> {
    name: &'a str,
    entries: std::slice::Iter<'a, super::super::images::PagemapEntry>,
    /// First address that the next range may have.
    least: u64,
    /// Offset of the next range in the pages image.
    offset: u64,
    size: u64,
}

impl<'a> Parts<'a> {
    fn of(name: &'a str, pagemap: &'a Pagemap, size: u64) -> Self {
        Self {
            name,
            entries: pagemap.entries.iter(),
            least: 0,
            offset: 0,
            size,
        }
    }

    fn part(&mut self, address: u64, pages: u64, flags: u32) -> Result<Option<Part>, &'static str> {
        if flags & PE_PARENT != 0 {
            return Err("some of its pages are in the images of a parent");
        }
        let length = pages.checked_mul(PAGE_SIZE).ok_or("a range is too long")?;
        let end = address.checked_add(length).ok_or("a range is too long")?;
        if address < self.least || !address.is_multiple_of(PAGE_SIZE) {
            return Err("its ranges are not in order");
        }
        self.least = end;
        if flags & PE_PRESENT == 0 {
            return Err("some of its pages are in no image");
        }
        let offset = self.offset;
        self.offset = offset
            .checked_add(length)
            .filter(|end| *end <= self.size)
            .ok_or("it has more pages than its pages image")?;
        let range = Range { address, pages, offset };
        let lazy = flags & PE_LAZY != 0;
        Ok((pages > 0).then_some(Part { range, lazy }))
    }
}

impl Iterator for Parts<'_> {
    type Item = Result<Part, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = self.entries.next()?;
            match self.part(entry.vaddr, entry.pages(), entry.kind()) {
                Ok(Some(part)) => return Some(Ok(part)),
                Ok(None) => {}
                Err(why) => {
                    let image = self.name.to_owned();
                    return Some(Err(Error::Image { image, why }));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::images::PagemapEntry;
    use super::*;

    const LAZY: u32 = PE_LAZY | PE_PRESENT;

    fn pagemap(entries: &[(u64, u64, u32)]) -> Pagemap {
        let entry = |&(page, pages, flags): &(u64, u64, u32)| PagemapEntry {
            vaddr: page * PAGE_SIZE,
            nr_pages: Some(pages),
            flags: Some(flags),
            ..PagemapEntry::default()
        };
        Pagemap {
            pages_id: 4,
            entries: entries.iter().map(entry).collect(),
        }
    }

    fn map(entries: &[(u64, u64, u32)], size: u64) -> Result<PageMap, Error> {
        let mut map = PageMap::default();
        map.add(7, "pagemap-7.img", &pagemap(entries), size * PAGE_SIZE)?;
        Ok(map)
    }

    /// Looks up by pages, and gives the offset in pages.
    fn find(map: &PageMap, page: u64, pages: u64) -> Option<(u64, u64)> {
        let found = map.find(7, page * PAGE_SIZE, pages)?;
        assert_eq!(found.pages_id, 4);
        Some((found.offset / PAGE_SIZE, found.pages))
    }

    #[test]
    fn only_lazy_pages_are_found_and_others_take_their_place() {
        let map = map(&[(16, 2, LAZY), (20, 3, PE_PRESENT), (23, 4, LAZY)], 9).unwrap();
        for (page, pages, expected) in [
            (15, 1, None),
            (16, 1, Some((0, 1))),
            (16, 9, Some((0, 2))),
            (17, 1, Some((1, 1))),
            (18, 1, None),
            (20, 1, None),
            (22, 1, None),
            (23, 1, Some((5, 1))),
            (26, 2, Some((8, 1))),
            (27, 1, None),
            (16, 0, None),
        ] {
            assert_eq!(find(&map, page, pages), expected, "{page} {pages}");
        }
        assert_eq!((map.pages(), map.find(8, 16 * PAGE_SIZE, 1)), (6, None));
        assert_eq!(map.find(7, 16 * PAGE_SIZE + 1, 1), None);
    }

    #[test]
    fn ranges_that_go_on_from_one_another_are_one() {
        let map = map(&[(16, 2, LAZY), (18, 3, LAZY), (30, 1, LAZY)], 6).unwrap();
        assert_eq!(find(&map, 17, 100), Some((1, 4)));
    }

    #[test]
    fn what_criu_reads_at_once_is_what_is_not_lazy() {
        let pagemap = pagemap(&[
            (1, 2, PE_PRESENT),
            (9, 1, PE_PRESENT),
            (10, 4, LAZY),
            (20, 1, PE_PRESENT),
        ]);
        let parts = eager_parts("pagemap-7.img", &pagemap, 8 * PAGE_SIZE).unwrap();
        assert_eq!(parts, [(0, 3 * PAGE_SIZE), (7 * PAGE_SIZE, PAGE_SIZE)]);
    }

    #[test]
    fn a_bad_pagemap_is_refused_with_the_reason() {
        type Case<'a> = (&'a [(u64, u64, u32)], u64, &'a str);
        let cases: [Case<'_>; 6] = [
            (&[(16, 2, LAZY), (17, 1, LAZY)], 9, "its ranges are not in order"),
            (&[(16, 2, LAZY), (4, 1, LAZY)], 9, "its ranges are not in order"),
            (&[(16, 2, LAZY)], 1, "it has more pages than its pages image"),
            (&[(16, u64::MAX / 2, LAZY)], 1, "a range is too long"),
            (
                &[(16, 2, PE_PARENT)],
                9,
                "some of its pages are in the images of a parent",
            ),
            (&[(16, 2, PE_LAZY)], 9, "some of its pages are in no image"),
        ];
        for (entries, size, why) in cases {
            let error = map(entries, size).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("pagemap-7.img"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_found_is_inside_its_image(
            entries in prop::collection::vec((0..200_u64, 0..20_u64, prop::sample::select(vec![LAZY, PE_PRESENT])), 0..20),
            size in 0..400_u64, page: u16, pages: u64,
        ) {
            if let Ok(map) = map(&entries, size)
                && let Some((offset, count)) = find(&map, page.into(), pages)
            {
                prop_assert!(count >= 1 && count <= pages && offset + count <= size);
            }
        }
    }
}
