//! Pagemaps as a page server handles them: writing those of a dump, and looking into those of its parent.
//!
//! A pagemap is written range by range as CRIU sends them, in the form of the CRIU that sends them: up to 4.1 the number of
//! pages has 32 bits and a field of its own.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use prost::Message;

use super::images::{COMMON_MAGIC, PAGEMAP_MAGIC, Pagemap, PagemapEntry, PagemapHead};
use super::wire::{Destination, HeaderForm, PAGE_SIZE};

/// Where CRIU and a page server look for the images that these are incremental to.
const PARENT: &str = "parent";

/// The name of a destination's pagemap.
fn file_name(destination: Destination) -> String {
    match destination {
        Destination::Task(id) => format!("pagemap-{id}.img"),
        Destination::Shared(id) => format!("pagemap-shmem-{id}.img"),
    }
}

/// A pagemap that is being written.
#[derive(Debug)]
pub(super) struct PagemapWriter {
    file: BufWriter<File>,
    form: HeaderForm,
}

impl PagemapWriter {
    /// Begins the pagemap of `destination` whose pages are in `pages-N.img`.
    pub(super) fn create(images: &Path, destination: Destination, number: u32, form: HeaderForm) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create_new(images.join(file_name(destination)))?);
        file.write_all(&COMMON_MAGIC.to_le_bytes())?;
        file.write_all(&PAGEMAP_MAGIC.to_le_bytes())?;
        let mut writer = Self { file, form };
        writer.record(&PagemapHead { pages_id: number })?;
        Ok(writer)
    }

    /// An entry of so many pages and nothing else, in this CRIU's form.
    fn count(&self, pages: u64) -> PagemapEntry {
        match (self.form, u32::try_from(pages)) {
            (HeaderForm::Narrow, Ok(pages)) => PagemapEntry {
                compat_nr_pages: Some(pages),
                ..PagemapEntry::default()
            },
            // The older field is still required, and 0.
            _ => PagemapEntry {
                compat_nr_pages: Some(0),
                nr_pages: Some(pages),
                ..PagemapEntry::default()
            },
        }
    }

    /// Adds a range.
    pub(super) fn add_range(&mut self, vaddr: u64, pages: u64, flags: u32) -> io::Result<()> {
        let entry = PagemapEntry {
            vaddr,
            flags: Some(flags),
            ..self.count(pages)
        };
        self.record(&entry)
    }

    fn record(&mut self, message: &impl Message) -> io::Result<()> {
        let bytes = message.encode_to_vec();
        self.file.write_all(&(bytes.len() as u32).to_le_bytes())?;
        self.file.write_all(&bytes)
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What of an address space a parent's images have.
#[derive(Debug)]
pub(super) struct ParentMap {
    /// First and behind the last address of each range, in rising order.
    ranges: Vec<(u64, u64)>,
}

impl ParentMap {
    fn path(images: &Path, destination: Destination) -> PathBuf {
        images.join(PARENT).join(file_name(destination))
    }

    /// Whether the parent has pages of `destination`.
    pub(super) fn exists(images: &Path, destination: Destination) -> bool {
        Self::path(images, destination).exists()
    }

    /// Reads the parent's pagemap of `destination`, if there is one.
    pub(super) fn open(images: &Path, destination: Destination) -> io::Result<Option<Self>> {
        let path = Self::path(images, destination);
        let image = match fs::read(&path) {
            Ok(image) => image,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let map = Pagemap::parse(&path.to_string_lossy(), &image).map_err(io::Error::other)?;
        let mut ranges: Vec<(u64, u64)> = map
            .entries
            .iter()
            .map(|entry| {
                (
                    entry.vaddr,
                    entry.vaddr.saturating_add(entry.pages().saturating_mul(PAGE_SIZE)),
                )
            })
            .collect();
        ranges.sort_unstable();
        Ok(Some(Self { ranges }))
    }

    /// The first address of `from..end` that the parent does not have.
    pub(super) fn missing(&self, from: u64, end: u64) -> Option<u64> {
        let mut at = from;
        let first = self.ranges.partition_point(|(_, end)| *end <= from);
        for (begin, behind) in &self.ranges[first..] {
            if at >= end || *begin > at {
                break;
            }
            at = at.max(*behind);
        }
        (at < end).then_some(at)
    }
}
