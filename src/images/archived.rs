//! Images in an archive that has an index: any of them, at any place, without reading the rest.
//!
//! Invariant: bytes are handed out after the digest of their frame was checked. A plain tar has no frames: of it, small images
//! are checked by their own digests, and single pages are not; `ckpt verify` reads it whole.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::error::Error;
use super::limits::MAX_IMAGE;
use super::source::{Image, ImageSource, check_size};
use crate::archive::{self, Frames, Indexed};

/// The directories with images.
pub const DIRECTORIES: [&str; 2] = ["checkpoint", "pre-checkpoint"];

/// Content of a frame as ckpt cuts them, bytes.
const USUAL_FRAME: u64 = 1 << 20;

/// The images of one directory of an archive.
pub struct Archived {
    archive: Arc<Indexed>,
    frames: Option<Frames>,
    directory: &'static str,
    /// By name.
    images: Vec<Image>,
    /// The place of each of them in the index.
    positions: Vec<usize>,
}

impl Archived {
    /// The images of the container, or, where there are none, those of a pre-dump.
    ///
    /// # Errors
    /// [`archive::Error::Thread`].
    pub fn new(archive: Arc<Indexed>, threads: NonZeroUsize) -> Result<Self, archive::Error> {
        let images = |directory: &str| {
            let entries = archive.index().entries().iter().enumerate();
            let below = |(position, entry): (usize, &archive::Entry)| {
                let name = entry.path.as_str().strip_prefix(directory)?.strip_prefix('/')?;
                let (name, size) = (name.to_owned(), entry.size);
                Some((Image { name, size }, position))
            };
            entries.filter_map(below).collect::<Vec<_>>()
        };
        let (directory, mut images) = DIRECTORIES
            .into_iter()
            .map(|directory| (directory, images(directory)))
            .find(|(_, images)| !images.is_empty())
            .unwrap_or((DIRECTORIES[0], Vec::new()));
        images.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        let (images, positions) = images.into_iter().unzip();
        let frames = match archive.index().codec() {
            archive::Codec::None => None,
            _ => Some(Frames::any(archive.clone(), threads)?),
        };
        Ok(Self {
            archive,
            frames,
            directory,
            images,
            positions,
        })
    }

    /// The frames, of archives that have any.
    #[must_use]
    pub fn frames(&self) -> Option<&Frames> {
        self.frames.as_ref()
    }

    /// The name of an image's entry.
    #[must_use]
    pub fn entry(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.images.binary_search_by(|image| image.name.as_str().cmp(name)).ok()
    }

    /// Where an image is in the frames.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<archive::EntryAt> {
        self.frames.as_ref()?.entry_number(self.positions[self.position(name)?])
    }

    /// Fills `buffer` from an entry's frames.
    fn fill(&self, frames: &Frames, name: &str, mut offset: u64, mut buffer: &mut [u8]) -> Result<bool, Error> {
        let Some(entry) = self.place(name) else {
            return Ok(false);
        };
        while !buffer.is_empty() {
            let piece = frames.piece(entry, offset).map_err(|fault| Error::read(name, fault))?;
            let count = piece.len().min(buffer.len());
            if count == 0 {
                return Ok(false);
            }
            buffer[..count].copy_from_slice(&piece[..count]);
            buffer = &mut buffer[count..];
            offset += count as u64;
        }
        Ok(true)
    }
}

impl ImageSource for Archived {
    fn images(&self) -> &[Image] {
        &self.images
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let size = self
            .size(name)
            .ok_or_else(|| Error::Missing { image: name.to_owned() })?;
        check_size(name, size)?;
        let Some(frames) = &self.frames else {
            let read = self.archive.read(&self.entry(name), MAX_IMAGE);
            return read.map_err(|error| Error::read(name, error));
        };
        let mut content = vec![0; size as usize];
        match self.fill(frames, name, 0, &mut content)? {
            true => Ok(content),
            false => Err(Error::Missing { image: name.to_owned() }),
        }
    }

    fn pages(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<bool, Error> {
        let end = offset.checked_add(buffer.len() as u64);
        if self.size(name).zip(end).is_none_or(|(size, end)| end > size) {
            return Ok(false);
        }
        match &self.frames {
            Some(frames) => self.fill(frames, name, offset, buffer),
            None => {
                let read = self.archive.read_plain(&self.entry(name), offset, buffer);
                read.map(|()| true).map_err(|error| Error::read(name, error))
            }
        }
    }

    fn ahead(&self, name: &str, offset: u64, length: u64) {
        if let Some((frames, entry)) = self.frames.as_ref().zip(self.place(name)) {
            // The size of frames is the writer's choice; those of ckpt have this.
            let count = usize::try_from(length / USUAL_FRAME).unwrap_or(usize::MAX).max(1);
            frames.ahead(entry, offset, count);
        }
    }

    fn size(&self, name: &str) -> Option<u64> {
        self.position(name).map(|at| self.images[at].size)
    }
}
