//! Which pages of a task, or of shared memory, an archive has, and where in which pages image.
//!
//! Invariants: extents are in ascending order and do not overlap; their offsets follow from one another, and none reaches
//! beyond the end of the pages image. Images that are otherwise are refused.

use super::error::{Error, Problem};
use super::limits::MAX_EXTENTS;
use super::record::{PAGEMAP, Records, decode};
use super::source::ImageSource;
use crate::criu::images::{PE_LAZY, PE_PARENT, PE_PRESENT, PagemapEntry, PagemapHead};
use crate::criu::wire::PAGE_SIZE;

/// Where the content of pages is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageState {
    /// In the pages image.
    Stored,
    /// In the images of a parent.
    Parent,
    /// In no image.
    Absent,
}

/// A range of pages of the same state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Address of the first page; in shared memory, its offset.
    pub address: u64,
    /// Length, bytes.
    pub length: u64,
    /// Where the content is.
    pub state: PageState,
    /// Offset in the pages image, bytes; of [`PageState::Stored`] only.
    pub offset: u64,
    /// May be restored lazily.
    pub lazy: bool,
}

impl Extent {
    /// Address after the last page.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.address.saturating_add(self.length)
    }
}

/// A pagemap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extents {
    /// Name of the pages image.
    pub pages: String,
    /// The ranges, those that go on from one another as one.
    pub extents: Vec<Extent>,
}

impl Extents {
    /// The pagemap of a task, by its pid.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Image`], [`Error::TooMany`], [`Error::Read`].
    pub fn of_task(images: &dyn ImageSource, pid: u32) -> Result<Self, Error> {
        Self::read(images, &format!("pagemap-{pid}.img"))
    }

    /// The pagemap of shared memory; `None` where it has no image: nothing was written to it.
    ///
    /// # Errors
    /// [`Error::Image`], [`Error::TooMany`], [`Error::Read`].
    pub fn of_shared(images: &dyn ImageSource, id: u64) -> Result<Option<Self>, Error> {
        match Self::read(images, &format!("pagemap-shmem-{id}.img")) {
            Err(Error::Missing { .. }) => Ok(None),
            read => read.map(Some),
        }
    }

    fn read(images: &dyn ImageSource, name: &str) -> Result<Self, Error> {
        let image = images.read(name)?;
        let parsed = Self::parse(name, &image)?;
        // What is not there at all is told where pages are looked for.
        match images.size(&parsed.pages) {
            Some(size) if parsed.stored() > size => Err(Error::image(name, Problem::Pages)),
            _ => Ok(parsed),
        }
    }

    /// Reads a pagemap image.
    ///
    /// # Errors
    /// [`Error::Image`], [`Error::TooMany`].
    pub fn parse(name: &str, image: &[u8]) -> Result<Self, Error> {
        let mut records = Records::of(PAGEMAP, name, image)?;
        let head = records.next().ok_or_else(|| Error::image(name, Problem::Empty))??;
        let head: PagemapHead = decode(name, head)?;
        let mut extents: Vec<Extent> = Vec::new();
        let mut offset = 0_u64;
        for entry in records.decoded::<PagemapEntry>() {
            let extent = extent(&entry?, offset).ok_or_else(|| Error::image(name, Problem::Order))?;
            if extent.state == PageState::Stored {
                offset = offset
                    .checked_add(extent.length)
                    .ok_or_else(|| Error::image(name, Problem::Pages))?;
            }
            let full = extents.len() == MAX_EXTENTS;
            match extents.last_mut() {
                Some(last) if extent.address < last.end() => return Err(Error::image(name, Problem::Order)),
                Some(last) if goes_on(last, &extent) => last.length += extent.length,
                _ if extent.length == 0 => {}
                _ if full => return Err(Error::too_many(name, "ranges", MAX_EXTENTS)),
                _ => extents.push(extent),
            }
        }
        Ok(Self {
            pages: format!("pages-{}.img", head.pages_id),
            extents,
        })
    }

    /// Bytes in the pages image.
    #[must_use]
    pub fn stored(&self) -> u64 {
        let stored = self.extents.iter().filter(|extent| extent.state == PageState::Stored);
        stored.map(|extent| extent.length).sum()
    }

    /// What is between two addresses, cut to them.
    pub fn between(&self, start: u64, end: u64) -> impl Iterator<Item = Extent> {
        let first = self.extents.partition_point(|extent| extent.end() <= start);
        self.extents[first..]
            .iter()
            .take_while(move |extent| extent.address < end)
            .filter_map(move |extent| {
                let from = extent.address.max(start);
                let length = extent.end().min(end).checked_sub(from).filter(|length| *length > 0)?;
                let offset = extent.offset + (from - extent.address);
                Some(Extent {
                    address: from,
                    length,
                    offset,
                    ..*extent
                })
            })
    }
}

fn extent(entry: &PagemapEntry, offset: u64) -> Option<Extent> {
    let flags = entry.kind();
    let length = entry.pages().checked_mul(PAGE_SIZE)?;
    entry.vaddr.checked_add(length)?;
    let state = match flags {
        _ if flags & PE_PRESENT != 0 => PageState::Stored,
        _ if flags & PE_PARENT != 0 => PageState::Parent,
        _ => PageState::Absent,
    };
    entry.vaddr.is_multiple_of(PAGE_SIZE).then_some(Extent {
        address: entry.vaddr,
        length,
        state,
        offset,
        lazy: flags & PE_LAZY != 0,
    })
}

fn goes_on(last: &Extent, next: &Extent) -> bool {
    last.end() == next.address && last.state == next.state && last.lazy == next.lazy
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    /// A pagemap of ranges in pages: address, number, flags.
    fn image(entries: &[(u64, u64, u32)]) -> Vec<u8> {
        let head = super::super::record::image(PAGEMAP, &[PagemapHead { pages_id: 3 }]);
        let mut image = head;
        for &(page, pages, flags) in entries {
            let entry = PagemapEntry {
                vaddr: page.wrapping_mul(PAGE_SIZE),
                nr_pages: Some(pages),
                flags: Some(flags),
                ..PagemapEntry::default()
            }
            .encode_to_vec();
            image.extend((entry.len() as u32).to_le_bytes());
            image.extend(entry);
        }
        image
    }

    fn parse(entries: &[(u64, u64, u32)]) -> Result<Extents, Error> {
        Extents::parse("pagemap-1.img", &image(entries))
    }

    #[test]
    fn only_stored_pages_take_place_in_the_pages_image() {
        let map = parse(&[
            (1, 2, PE_PRESENT),
            (3, 1, PE_PRESENT),
            (5, 4, PE_PARENT),
            (20, 2, PE_PRESENT | PE_LAZY),
        ])
        .unwrap();
        assert_eq!(map.pages, "pages-3.img");
        let found: Vec<_> = map
            .between(0, u64::MAX)
            .map(|e| (e.address / PAGE_SIZE, e.length / PAGE_SIZE, e.state))
            .collect();
        let want = [
            (1, 3, PageState::Stored),
            (5, 4, PageState::Parent),
            (20, 2, PageState::Stored),
        ];
        assert_eq!(found, want);
        let last = map.between(21 * PAGE_SIZE, 50 * PAGE_SIZE).next().unwrap();
        assert_eq!((last.offset / PAGE_SIZE, last.length / PAGE_SIZE), (4, 1));
        assert_eq!(
            (
                map.stored() / PAGE_SIZE,
                map.between(9 * PAGE_SIZE, 20 * PAGE_SIZE).count()
            ),
            (5, 0)
        );
    }

    #[test]
    fn ranges_out_of_order_and_beyond_all_memory_are_refused() {
        for bad in [
            &[(5, 2, PE_PRESENT), (6, 1, PE_PRESENT)][..],
            &[(5, 2, PE_PRESENT), (1, 1, PE_PRESENT)],
            &[(5, u64::MAX / PAGE_SIZE, PE_PRESENT)],
            &[(1, u64::MAX / 2, PE_PRESENT)],
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains("not in order"), "{bad:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_cut_out_lies_within(entries in prop::collection::vec((0..100_u64, 0..9_u64, 0..8_u32), 0..12), a in 0..120_u64, b in 0..120_u64) {
            let Ok(map) = parse(&entries) else { return Ok(()) };
            for extent in map.between(a * PAGE_SIZE, b * PAGE_SIZE) {
                prop_assert!(extent.address >= a * PAGE_SIZE && extent.end() <= b * PAGE_SIZE && extent.length > 0);
                prop_assert!(extent.state != PageState::Stored || extent.offset + extent.length <= map.stored());
            }
        }
    }
}
