//! Which pages of a dump need not be restored because fresh memory is what they hold: zero.
//!
//! A page that a pagemap does not name is one that the process never touched; CRIU maps its area and leaves it to the kernel,
//! which gives zeros at the first touch. CRIU's own dump leaves pages out that are the kernel's zero page. So a page of zeros
//! in private anonymous memory may be left out of pagemap and pages image, and costs neither time nor memory until it is used.
//!
//! That a process shares pages with its parent until one of them writes changes nothing: CRIU takes away from a child what
//! the parent has at addresses that the child's pagemap does not name, and compares what it does name with what is there.
//!
//! Invariant: whatever is not known for certain to be private anonymous memory of the plain kind is restored as it was dumped.

use std::ops::Range;

use prost::Message;

use super::Error;
use super::images::{COMMON_MAGIC, PE_LAZY, PE_PRESENT, Pagemap, PagemapEntry};
use super::wire::PAGE_SIZE;

const MM_MAGIC: u32 = 0x5749_2820;

/// Status of an area: it is mapped by the process itself, and not by the kernel for it.
const AREA_REGULAR: u32 = 1 << 0;
/// It is the heap.
const AREA_HEAP: u32 = 1 << 5;
/// It is no area, but tells of guard pages within one; CRIU lists them behind the areas.
const AREA_GUARD: u32 = 1 << 16;
/// It is private and anonymous.
const ANON_PRIVATE: u32 = 1 << 9;

/// mmap's flags.
const MAP_PRIVATE: u32 = 0x2;
const MAP_ANONYMOUS: u32 = 0x20;
const MAP_NORESERVE: u32 = 0x4000;

/// An area of a process's memory; what is not of use here is not decoded.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Area {
    /// Its first address.
    #[prost(uint64, required, tag = "1")]
    pub start: u64,
    /// The address behind it.
    #[prost(uint64, required, tag = "2")]
    pub end: u64,
    /// The flags of mmap.
    #[prost(uint32, required, tag = "6")]
    pub flags: u32,
    /// What kind of area it is, as CRIU classifies it.
    #[prost(uint32, required, tag = "7")]
    pub status: u32,
}

impl Area {
    /// Whether it is private anonymous memory of the plain kind: not locked (whose pages are all there), not a stack that
    /// grows (whose first page CRIU treats apart), not of huge pages, a ring, a shadow stack or anything unknown.
    fn is_plain(&self) -> bool {
        const STATUS: u32 = AREA_REGULAR | ANON_PRIVATE;
        const FLAGS: u32 = MAP_PRIVATE | MAP_ANONYMOUS;
        self.status & !AREA_HEAP == STATUS && self.flags & !MAP_NORESERVE == FLAGS
    }
}

/// The areas of a process, from `mm-*.img`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Areas {
    /// In rising order, except for guards.
    #[prost(message, repeated, tag = "14")]
    pub areas: Vec<Area>,
}

impl Areas {
    /// Reads `mm-*.img`.
    ///
    /// # Errors
    /// [`Error::Image`] where it has another form; `name` is for the message.
    pub fn parse(name: &str, image: &[u8]) -> Result<Self, Error> {
        let bad = |why| Error::Image {
            image: name.to_owned(),
            why,
        };
        let head = [COMMON_MAGIC.to_le_bytes(), MM_MAGIC.to_le_bytes()].concat();
        let rest = image
            .strip_prefix(head.as_slice())
            .ok_or_else(|| bad("wrong magic number"))?;
        let (length, message) = rest.split_first_chunk().ok_or_else(|| bad("no message"))?;
        if u32::from_le_bytes(*length) as usize != message.len() {
            return Err(bad("not one message"));
        }
        Self::decode(message).map_err(|_| bad("not a protobuf message"))
    }

    /// The addresses of plain memory, rising. None where areas are not in order: what CRIU will make of them is unknown.
    fn plain(&self) -> Vec<Range<u64>> {
        let mapped: Vec<&Area> = self.areas.iter().filter(|area| area.status != AREA_GUARD).collect();
        let ordered = mapped.is_sorted_by(|before, next| before.end <= next.start);
        let plain = mapped.into_iter().filter(|area| ordered && area.is_plain());
        plain.map(|area| area.start..area.end).collect()
    }
}

/// The pages of a pages image that need not be restored if they are zero: numbers of pages in the image, rising. Never all
/// that a pagemap names, as CRIU expects it to name one.
#[must_use]
pub fn optional(pagemap: &Pagemap, areas: &Areas) -> Vec<Range<u64>> {
    let mut optional = plain_pages(pagemap, &areas.plain());
    let named = pagemap
        .entries
        .iter()
        .fold(0, |sum: u64, entry| sum.saturating_add(entry.pages()));
    let all = optional.iter().map(|pages| pages.end - pages.start).sum::<u64>() == named;
    if let Some(first) = optional.first_mut().filter(|_| all) {
        first.start += 1;
    }
    optional
}

fn plain_pages(pagemap: &Pagemap, plain: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut optional = Vec::new();
    let mut first = 0_u64;
    for entry in &pagemap.entries {
        if entry.kind() & PE_PRESENT == 0 {
            continue;
        }
        let Some((next, addresses)) = first.checked_add(entry.pages()).zip(addresses(entry)) else {
            return Vec::new();
        };
        // CRIU says of a page that it may be restored lazily where the area is private and anonymous.
        if entry.kind() == PE_PRESENT | PE_LAZY {
            optional.extend(overlaps(&addresses, plain).map(|part| {
                let page = |address: u64| first + (address - addresses.start) / PAGE_SIZE;
                page(part.start)..page(part.end)
            }));
        }
        first = next;
    }
    optional
}

/// The addresses of an entry; `None` where there are no such.
fn addresses(entry: &PagemapEntry) -> Option<Range<u64>> {
    let end = entry
        .pages()
        .checked_mul(PAGE_SIZE)
        .and_then(|length| entry.vaddr.checked_add(length))?;
    entry.vaddr.is_multiple_of(PAGE_SIZE).then_some(entry.vaddr..end)
}

/// The parts of `range` that are in `areas`, which are rising; whole pages.
fn overlaps(range: &Range<u64>, areas: &[Range<u64>]) -> impl Iterator<Item = Range<u64>> {
    let (start, end) = (range.start, range.end);
    let first = areas.partition_point(|area| area.end <= start);
    let up_to = move |area: &&Range<u64>| area.start < end;
    let whole = |area: &&Range<u64>| area.start.is_multiple_of(PAGE_SIZE) && area.end.is_multiple_of(PAGE_SIZE);
    let areas = areas[first..].iter().take_while(up_to).filter(whole);
    areas.map(move |area| area.start.max(start)..area.end.min(end))
}

/// The pagemap of the same image without these pages: numbers of pages in the image, rising.
#[must_use]
pub fn without(pagemap: &Pagemap, left_out: &[Range<u64>]) -> Pagemap {
    let mut entries = Vec::new();
    let mut first = 0;
    for entry in &pagemap.entries {
        if entry.kind() & PE_PRESENT == 0 {
            entries.push(entry.clone());
            continue;
        }
        let next = first + entry.pages();
        let mut at = first;
        for gap in overlaps_of_pages(first..next, left_out) {
            entries.extend(part(entry, first, at..gap.start));
            at = gap.end;
        }
        entries.extend(part(entry, first, at..next));
        first = next;
    }
    let pages_id = pagemap.pages_id;
    Pagemap { pages_id, entries }
}

fn overlaps_of_pages(pages: Range<u64>, left_out: &[Range<u64>]) -> impl Iterator<Item = Range<u64>> {
    let first = left_out.partition_point(|gap| gap.end <= pages.start);
    let end = pages.end;
    left_out[first..]
        .iter()
        .take_while(move |gap| gap.start < end)
        .map(move |gap| gap.start.max(pages.start)..gap.end.min(pages.end))
}

/// The part of an entry that has these pages, in the same form; the entry's first page is the image's `first`.
fn part(entry: &PagemapEntry, first: u64, pages: Range<u64>) -> Option<PagemapEntry> {
    let count = pages.end.checked_sub(pages.start).filter(|count| *count > 0)?;
    Some(PagemapEntry {
        vaddr: entry.vaddr + (pages.start - first) * PAGE_SIZE,
        compat_nr_pages: entry.compat_nr_pages.map(|_| u32::try_from(count).unwrap_or(u32::MAX)),
        nr_pages: entry.nr_pages.map(|_| count),
        ..entry.clone()
    })
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges may have one")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const PLAIN: u32 = AREA_REGULAR | ANON_PRIVATE;
    const MAPPED: u32 = MAP_PRIVATE | MAP_ANONYMOUS;

    fn area(pages: Range<u64>, status: u32, flags: u32) -> Area {
        Area {
            start: pages.start * PAGE_SIZE,
            end: pages.end * PAGE_SIZE,
            flags,
            status,
        }
    }

    fn entry(page: u64, pages: u64, flags: u32) -> PagemapEntry {
        PagemapEntry {
            vaddr: page * PAGE_SIZE,
            compat_nr_pages: Some(pages as u32),
            flags: Some(flags),
            nr_pages: Some(pages),
            ..PagemapEntry::default()
        }
    }

    fn map(entries: Vec<PagemapEntry>) -> Pagemap {
        Pagemap { pages_id: 1, entries }
    }

    /// What an image says is where: by page, the number of the page in the pages image.
    fn places(map: &Pagemap) -> BTreeMap<u64, (u64, u32)> {
        let mut number = 0;
        let mut places = BTreeMap::new();
        for entry in &map.entries {
            for page in 0..entry.pages() {
                let at = if entry.kind() & PE_PRESENT == 0 {
                    u64::MAX
                } else {
                    number
                };
                number += u64::from(entry.kind() & PE_PRESENT != 0);
                places.insert(entry.vaddr / PAGE_SIZE + page, (at, entry.kind()));
            }
        }
        places
    }

    #[test]
    fn only_plain_private_anonymous_memory_is_optional() {
        const LAZY: u32 = PE_PRESENT | PE_LAZY;
        let table: [(&str, u32, u32, u32, bool); 16] = [
            ("plain", PLAIN, MAPPED, LAZY, true),
            ("the heap", PLAIN | AREA_HEAP, MAPPED, LAZY, true),
            ("not reserved", PLAIN, MAPPED | MAP_NORESERVE, LAZY, true),
            ("not lazy", PLAIN, MAPPED, PE_PRESENT, false),
            ("in the parent", PLAIN, MAPPED, LAZY | 1, false),
            ("an unknown flag of the entry", PLAIN, MAPPED, LAZY | 8, false),
            ("of a file", AREA_REGULAR | 1 << 6, MAP_PRIVATE, LAZY, false),
            ("shared", AREA_REGULAR | 1 << 8, 0x1 | MAP_ANONYMOUS, LAZY, false),
            ("a stack", PLAIN | 1 << 1, MAPPED, LAZY, false),
            ("growing", PLAIN, MAPPED | 0x100, LAZY, false),
            ("locked", PLAIN, MAPPED | 0x2000, LAZY, false),
            ("huge pages", PLAIN, MAPPED | 0x40000, LAZY, false),
            ("a ring", PLAIN | 1 << 13, MAPPED, LAZY, false),
            ("a shadow stack", PLAIN | 1 << 15, MAPPED, LAZY, false),
            ("the kernel's", 1 << 3 | ANON_PRIVATE, MAPPED, LAZY, false),
            ("of an unknown kind", PLAIN | 1 << 18, MAPPED, LAZY, false),
        ];
        for (what, status, flags, kind, expected) in table {
            let areas = Areas {
                areas: vec![area(10..20, status, flags)],
            };
            let optional = optional(&map(vec![entry(3, 2, PE_PRESENT), entry(12, 4, kind)]), &areas);
            assert_eq!(!optional.is_empty(), expected, "{what}");
            if expected {
                assert_eq!(optional, [2..6], "{what}");
            }
        }
    }

    #[test]
    fn what_cannot_be_true_makes_nothing_optional() {
        const LAZY: u32 = PE_PRESENT | PE_LAZY;
        let areas = |areas: &[Range<u64>]| Areas {
            areas: areas.iter().map(|pages| area(pages.clone(), PLAIN, MAPPED)).collect(),
        };
        let good = map(vec![entry(1, 3, LAZY)]);
        assert_eq!(
            optional(&good, &areas(&[0..2, 3..9])),
            [0..1, 2..3],
            "between areas is nothing"
        );
        assert!(optional(&good, &areas(&[3..9, 0..2])).is_empty(), "areas out of order");
        assert!(
            optional(&good, &areas(&[0..4, 3..9])).is_empty(),
            "areas over one another"
        );
        let odd = PagemapEntry {
            vaddr: 100,
            ..entry(1, 3, LAZY)
        };
        for bad in [odd, entry(u64::MAX / PAGE_SIZE, 9, LAZY), entry(1, u64::MAX, LAZY)] {
            assert!(optional(&map(vec![bad]), &areas(&[0..u64::MAX / PAGE_SIZE])).is_empty());
        }
        let mut guarded = areas(&[0..9]);
        guarded.areas.push(area(1..2, AREA_GUARD, 0));
        assert_eq!(optional(&good, &guarded), [1..3], "guards are listed at the end");
    }

    #[test]
    fn a_pagemap_names_at_least_one_page() {
        let areas = Areas {
            areas: vec![area(1..9, PLAIN, MAPPED)],
        };
        let one = |pages| optional(&map(vec![entry(1, pages, PE_PRESENT | PE_LAZY)]), &areas);
        assert_eq!((one(3), one(1)), (vec![1..3], vec![1..1]));
    }

    #[test]
    fn images_of_another_form_are_refused() {
        let areas = Areas {
            areas: vec![area(1..2, PLAIN, MAPPED)],
        };
        let message = areas.encode_to_vec();
        let head = [COMMON_MAGIC.to_le_bytes(), MM_MAGIC.to_le_bytes()].concat();
        let image = [&head, &(message.len() as u32).to_le_bytes()[..], &message].concat();
        assert_eq!(Areas::parse("mm-1.img", &image).unwrap(), areas);
        for bad in [
            &image[..7],
            &image[..10],
            &image[..image.len() - 1],
            &[&image[..], &[0]].concat(),
        ] {
            assert!(Areas::parse("mm-1.img", bad).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Every page that is not left out is where it was, and in the image it moves up by what is left out before it.
        #[test]
        fn the_other_pages_stay_where_they_are(
            entries in prop::collection::vec((0_u64..4, 1_u64..9, prop_oneof![Just(6_u32), Just(4), Just(1), Just(7)]), 1..12),
            areas in prop::collection::vec((0_u64..4, 1_u64..20, any::<bool>()), 0..8),
            zero in prop::collection::vec(any::<bool>(), 120),
        ) {
            let (mut entry_list, mut page) = (Vec::new(), 0);
            for (gap, pages, flags) in entries {
                entry_list.push(entry(page + gap, pages, flags));
                page += gap + pages;
            }
            let (mut area_list, mut at) = (Vec::new(), 0);
            for (gap, pages, plain) in areas {
                area_list.push(area(at + gap..at + gap + pages, if plain { PLAIN } else { AREA_REGULAR }, MAPPED));
                at += gap + pages;
            }
            let (before, areas) = (map(entry_list), Areas { areas: area_list });
            let optional = optional(&before, &areas);
            let left_out: Vec<Range<u64>> = optional.iter().cloned().flatten().filter(|page| zero[*page as usize]).map(|page| page..page + 1).collect();
            let after = places(&without(&before, &left_out));
            prop_assert!(!after.is_empty());
            for (page, (number, flags)) in places(&before) {
                let gone = |number: &u64| left_out.contains(&(*number..*number + 1));
                if number != u64::MAX && gone(&number) {
                    prop_assert_eq!(flags, PE_PRESENT | PE_LAZY);
                    let address = page * PAGE_SIZE;
                    prop_assert!(areas.areas.iter().any(|area| area.is_plain() && (area.start..area.end).contains(&address)));
                    prop_assert!(!after.contains_key(&page));
                } else {
                    let moved = (0..number.min(1000)).filter(gone).count() as u64;
                    let expected = if number == u64::MAX { number } else { number - moved };
                    prop_assert_eq!(after.get(&page), Some(&(expected, flags)));
                }
            }
            prop_assert_eq!(after.len() + left_out.len(), places(&before).len());
        }

        #[test]
        fn arbitrary_images_never_panic(image: Vec<u8>, pages in 0_u64..1 << 60, vaddr: u64) {
            let head = [COMMON_MAGIC.to_le_bytes(), MM_MAGIC.to_le_bytes(), (image.len() as u32).to_le_bytes()].concat();
            let areas = Areas::parse("mm-1.img", &[head, image].concat()).unwrap_or(Areas { areas: vec![area(0..1 << 50, PLAIN, MAPPED)] });
            let entry = PagemapEntry { vaddr, ..entry(0, pages, PE_PRESENT | PE_LAZY) };
            let pagemap = map(vec![entry.clone(), entry]);
            let optional = optional(&pagemap, &areas);
            let _ = without(&pagemap, &optional);
        }
    }
}
