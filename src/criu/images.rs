//! CRIU's image files: their frame of magic numbers and length-prefixed messages, and the pagemaps among them.
//!
//! A message decoded here drops the fields it does not know, so none is written again unless nothing of it is lost.

use prost::Message;

use super::Error;

pub(super) const COMMON_MAGIC: u32 = 0x5456_4319;
pub(super) const PAGEMAP_MAGIC: u32 = 0x5608_4025;
/// Longest message that is read, bytes. Pagemap entries have some twenty.
const MESSAGE_LIMIT: usize = 64 * 1024;

/// The page is in the parent's images.
pub const PE_PARENT: u32 = 1;
/// The page may be restored lazily.
pub const PE_LAZY: u32 = 2;
/// The page is in the pages image.
pub const PE_PRESENT: u32 = 4;

/// One range of a pagemap.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PagemapEntry {
    /// Address of the first page.
    #[prost(uint64, required, tag = "1")]
    pub vaddr: u64,
    /// Number of pages, as CRIU up to 4.1 writes it.
    #[prost(uint32, optional, tag = "2")]
    pub compat_nr_pages: Option<u32>,
    /// The range is in the parent, as old CRIU writes it.
    #[prost(bool, optional, tag = "3")]
    pub in_parent: Option<bool>,
    /// [`PE_PARENT`], [`PE_LAZY`], [`PE_PRESENT`].
    #[prost(uint32, optional, tag = "4")]
    pub flags: Option<u32>,
    /// Number of pages, from CRIU 4.2 on.
    #[prost(uint64, optional, tag = "5")]
    pub nr_pages: Option<u64>,
}

impl PagemapEntry {
    /// Number of pages.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.nr_pages
            .unwrap_or_else(|| self.compat_nr_pages.unwrap_or(0).into())
    }

    /// Its flags; an entry without any is an old one: present, or in the parent.
    #[must_use]
    pub fn kind(&self) -> u32 {
        self.flags.unwrap_or(if self.in_parent == Some(true) {
            PE_PARENT
        } else {
            PE_PRESENT
        })
    }
}

/// The head of a pagemap: which pages image it belongs to.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PagemapHead {
    /// Number in `pages-N.img`.
    #[prost(uint32, required, tag = "1")]
    pub pages_id: u32,
}

/// A pagemap image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pagemap {
    /// Number of the pages image.
    pub pages_id: u32,
    /// Its ranges, in the order of the pages image.
    pub entries: Vec<PagemapEntry>,
}

impl Pagemap {
    /// Reads `pagemap-*.img`.
    ///
    /// # Errors
    /// [`Error::Image`] where it has another form; `name` is for the message.
    pub fn parse(name: &str, image: &[u8]) -> Result<Self, Error> {
        let bad = |why| Error::Image {
            image: name.to_owned(),
            why,
        };
        let mut records = Records::open(name, image, PAGEMAP_MAGIC)?;
        let head = records.next().ok_or_else(|| bad("no head"))??;
        let head = PagemapHead::decode(head).map_err(|_| bad("the head is not a protobuf message"))?;
        let entries = records
            .map(|record| PagemapEntry::decode(record?).map_err(|_| bad("an entry is not a protobuf message")))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            pages_id: head.pages_id,
            entries,
        })
    }

    /// The image with this content. What was decoded from another may have had fields that are unknown here: that it is the
    /// same is for the caller to compare.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut image = [COMMON_MAGIC.to_le_bytes(), PAGEMAP_MAGIC.to_le_bytes()].concat();
        let mut record = |message: Vec<u8>| {
            image.extend((message.len() as u32).to_le_bytes());
            image.extend(message);
        };
        let pages_id = self.pages_id;
        record(PagemapHead { pages_id }.encode_to_vec());
        self.entries.iter().for_each(|entry| record(entry.encode_to_vec()));
        image
    }

    /// Number of pages whose entry has all of `flags`.
    #[must_use]
    pub fn count(&self, flags: u32) -> u64 {
        self.entries
            .iter()
            .filter(|entry| entry.kind() & flags == flags)
            .map(PagemapEntry::pages)
            .sum()
    }
}

/// The messages of an image, still encoded.
#[derive(Debug)]
pub(super) struct Records<'a> {
    name: &'a str,
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub(super) fn open(name: &'a str, image: &'a [u8], magic: u32) -> Result<Self, Error> {
        let head = [COMMON_MAGIC.to_le_bytes(), magic.to_le_bytes()].concat();
        let rest = image.strip_prefix(head.as_slice());
        rest.map(|rest| Self { name, rest }).ok_or_else(|| Error::Image {
            image: name.to_owned(),
            why: "wrong magic number",
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<&'a [u8], Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let mut cut = || {
            let (length, rest) = self.rest.split_first_chunk()?;
            let length = u32::from_le_bytes(*length) as usize;
            let (message, rest) = rest
                .split_at_checked(length.min(MESSAGE_LIMIT + 1))
                .filter(|_| length <= MESSAGE_LIMIT)?;
            self.rest = rest;
            Some(message)
        };
        let message = cut();
        if message.is_none() {
            self.rest = &[];
        }
        Some(message.ok_or_else(|| Error::Image {
            image: self.name.to_owned(),
            why: "a message is cut off",
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut image = [COMMON_MAGIC.to_le_bytes(), PAGEMAP_MAGIC.to_le_bytes()].concat();
        for message in messages {
            image.extend((message.len() as u32).to_le_bytes());
            image.extend(message);
        }
        image
    }

    fn sample() -> Vec<u8> {
        let entry = |vaddr, pages, flags| PagemapEntry {
            vaddr,
            compat_nr_pages: Some(pages),
            flags: Some(flags),
            ..Default::default()
        };
        image(&[
            PagemapHead { pages_id: 3 }.encode_to_vec(),
            entry(0x1000, 2, PE_PRESENT | PE_LAZY).encode_to_vec(),
            entry(0x9000, 5, PE_PARENT).encode_to_vec(),
            PagemapEntry {
                nr_pages: Some(7),
                flags: Some(PE_PRESENT),
                ..Default::default()
            }
            .encode_to_vec(),
        ])
    }

    #[test]
    fn pages_are_counted_in_both_widths_and_by_flag() {
        let map = Pagemap::parse("pagemap-1.img", &sample()).unwrap();
        assert_eq!(
            (
                map.pages_id,
                map.count(PE_PRESENT),
                map.count(PE_LAZY),
                map.count(PE_PARENT)
            ),
            (3, 9, 2, 5)
        );
    }

    #[test]
    fn a_pagemap_is_written_as_it_was_read() {
        let map = Pagemap::parse("pagemap-1.img", &sample()).unwrap();
        assert_eq!(map.encode(), sample());
    }

    #[test]
    fn a_cut_image_is_refused_or_shorter_and_never_a_panic() {
        let whole = sample();
        for length in 0..whole.len() {
            if let Ok(map) = Pagemap::parse("pagemap-1.img", &whole[..length]) {
                assert!(map.entries.len() < 3, "{length}");
            }
        }
    }

    #[test]
    fn a_giant_length_is_refused() {
        let mut bad = image(&[]);
        bad.extend(u32::MAX.to_le_bytes());
        assert!(Pagemap::parse("pagemap-1.img", &bad).is_err());
    }
}
