//! Where in the pages images the memory of a process is, and walking over it.

use std::collections::HashSet;

use super::error::Error;
use super::files::Files;
use super::memory::{self, Mapping, Segments};
use super::pagemap::{Extents, PageState};
use super::source::ImageSource;
use super::tasks;

/// How much of a pages image is read at a time, bytes: the usual size of a frame.
const PIECE: u64 = 1 << 20;
/// How far ahead of what is looked at frames are decoded, bytes.
const AHEAD: u64 = 16 << 20;

/// Takes bytes of memory and the address of the first.
pub type TakeBytes<'a, E> = &'a mut dyn FnMut(u64, &[u8]) -> Result<(), E>;

/// A range of memory that is in a pages image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Address of its first byte in the process.
    pub address: u64,
    /// Length, bytes.
    pub length: u64,
    /// Offset in the pages image, bytes.
    pub offset: u64,
}

/// Ranges in one pages image, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Name of the pages image.
    pub pages: String,
    /// The ranges, by offset.
    pub regions: Vec<Region>,
}

/// The memory of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRegions {
    /// Process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Its mappings, by address.
    pub mappings: Vec<Mapping>,
    /// Its own memory first, then each shared one.
    pub parts: Vec<Part>,
    /// Bytes that are in the images of a parent, which this archive does not have.
    pub in_parent: u64,
}

impl ProcessRegions {
    /// The memory of the processes that have any: all, or one.
    ///
    /// # Errors
    /// [`Error::NoProcess`], [`Error::Ended`], and what is wrong with the images.
    pub fn read(images: &dyn ImageSource, pid: Option<u32>) -> Result<Vec<Self>, Error> {
        let tasks = tasks::read(images)?;
        if let Some(pid) = pid {
            let task = tasks
                .iter()
                .find(|task| task.pid == pid)
                .ok_or(Error::NoProcess { pid })?;
            if !task.state.lives() {
                return Err(Error::Ended { pid });
            }
        }
        // Names of mapped files are worth having, and not needed.
        let files = Files::read(images).unwrap_or_default();
        let wanted = tasks
            .into_iter()
            .filter(|task| task.state.lives() && pid.is_none_or(|pid| pid == task.pid));
        wanted
            .map(|task| Self::of(images, task.pid, task.name, &files))
            .collect()
    }

    fn of(images: &dyn ImageSource, pid: u32, name: String, files: &Files) -> Result<Self, Error> {
        let task = memory::read(images, pid, &mut Segments::new(), files)?;
        let mappings = task.memory.mappings.unwrap_or_default();
        let mut parts = vec![Part::new(
            &task.extents,
            task.extents.between(0, u64::MAX).map(|extent| (extent, 0)),
        )];
        let mut seen = HashSet::new();
        for mapping in &mappings {
            let Some(id) = mapping.shared_id.filter(|id| seen.insert(*id)) else {
                continue;
            };
            if let Some(extents) = Extents::of_shared(images, id)? {
                let (start, end) = (mapping.offset, mapping.offset.saturating_add(mapping.length()));
                let base = mapping.start.0.wrapping_sub(mapping.offset);
                parts.push(Part::new(
                    &extents,
                    extents.between(start, end).map(|extent| (extent, base)),
                ));
            }
        }
        parts.retain(|part| !part.regions.is_empty());
        Ok(Self {
            pid,
            name,
            mappings,
            parts,
            in_parent: task.memory.in_parent,
        })
    }

    /// The mapping that an address is in.
    #[must_use]
    pub fn mapping(&self, address: u64) -> Option<&Mapping> {
        let next = self.mappings.partition_point(|mapping| mapping.start.0 <= address);
        let mapping = self.mappings.get(next.checked_sub(1)?)?;
        (address < mapping.end.0).then_some(mapping)
    }

    /// Bytes of its memory that are in pages images.
    #[must_use]
    pub fn stored(&self) -> u64 {
        let regions = self.parts.iter().flat_map(|part| &part.regions);
        regions.map(|region| region.length).sum()
    }
}

impl Part {
    fn new(extents: &Extents, found: impl Iterator<Item = (super::pagemap::Extent, u64)>) -> Self {
        let stored = found.filter(|(extent, _)| extent.state == PageState::Stored);
        let region = |(extent, base): (super::pagemap::Extent, u64)| Region {
            address: extent.address.wrapping_add(base),
            length: extent.length,
            offset: extent.offset,
        };
        Self {
            pages: extents.pages.clone(),
            regions: stored.map(region).collect(),
        }
    }

    /// Hands every byte of it to `take`, with the address of the first: pieces of at most 1 MiB, in order.
    ///
    /// # Errors
    /// [`Error::Missing`] where the pages are not at hand; [`Error::Read`]; what `take` says.
    pub fn walk<E: From<Error>>(&self, images: &dyn ImageSource, take: TakeBytes<'_, E>) -> Result<(), E> {
        let mut buffer = vec![0; PIECE as usize];
        for region in &self.regions {
            let mut done = 0;
            while done < region.length {
                let offset = region.offset + done;
                // Up to the next multiple, so that a piece is mostly one frame.
                let count = (PIECE - offset % PIECE).min(region.length - done);
                let piece = &mut buffer[..count as usize];
                images.ahead(&self.pages, offset, AHEAD);
                if !images.pages(&self.pages, offset, piece)? {
                    return Err(self.missing().into());
                }
                take(region.address + done, piece)?;
                done += count;
            }
        }
        Ok(())
    }

    /// Hands bytes that pass by to `take`: those from `offset` of the pages image on. To be called in order.
    ///
    /// # Errors
    /// What `take` says.
    pub fn pass<E>(&self, offset: u64, bytes: &[u8], take: TakeBytes<'_, E>) -> Result<(), E> {
        let end = offset + bytes.len() as u64;
        let first = self
            .regions
            .partition_point(|region| region.offset + region.length <= offset);
        for region in self.regions[first..].iter().take_while(|region| region.offset < end) {
            let from = region.offset.max(offset);
            let to = (region.offset + region.length).min(end);
            let piece = &bytes[(from - offset) as usize..(to - offset) as usize];
            take(region.address + (from - region.offset), piece)?;
        }
        Ok(())
    }

    fn missing(&self) -> Error {
        Error::Missing {
            image: self.pages.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_has_the_addresses_of_the_regions() {
        let region = |address, length, offset| Region {
            address,
            length,
            offset,
        };
        let part = Part {
            pages: "pages-1.img".into(),
            regions: vec![region(1000, 10, 0), region(2000, 5, 10), region(3000, 5, 20)],
        };
        let bytes: Vec<u8> = (0..25).collect();
        for size in [1, 3, 7, 25] {
            let mut found: Vec<(u64, u8)> = Vec::new();
            for (number, piece) in bytes.chunks(size).enumerate() {
                let taken: Result<(), Error> = part.pass((number * size) as u64, piece, &mut |address, bytes| {
                    found.extend(bytes.iter().enumerate().map(|(at, byte)| (address + at as u64, *byte)));
                    Ok(())
                });
                taken.unwrap();
            }
            assert_eq!(found.len(), 20, "{size}");
            assert!(
                found.contains(&(1009, 9)) && found.contains(&(2000, 10)) && found.contains(&(3004, 24)),
                "{size}"
            );
        }
    }
}
