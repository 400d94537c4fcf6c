//! The sparse files of GNU tar's four forms, as [`Reader`] meets them.

use std::io::Read;

use super::error::{Defect, Error};
use super::header::{self, BLOCK, Header};
use super::meta::Kind;
use super::pax::{self, Sparse};
use super::read::{Block, Reader};
use super::sparse::{Map, Region};

/// Longest decimal number in a sparse map, with its newline.
const MAP_LINE: usize = 21;

impl<R: Read> Reader<R> {
    /// Sparse file of old GNU: regions in the header and in blocks behind it, which the header's size does not count.
    pub(super) fn old_gnu_sparse(&mut self, block: &Block, header: &Header) -> Result<Kind, Error> {
        if !header.gnu {
            return Err(self.defect(Defect::SparseForm));
        }
        let (mut regions, size, mut more) = header::gnu_sparse(block).map_err(|e| self.defect(e))?;
        while more {
            let extension = self.whole_block()?;
            let (next, again) = header::gnu_sparse_extension(&extension).map_err(|e| self.defect(e))?;
            more = again;
            regions.extend(next);
            self.check_regions(regions.len() as u64)?;
        }
        self.sparse(regions.into_iter().map(|(offset, len)| Region { offset, len }), size)
    }

    /// Sparse file of GNU's PAX forms: 1.0 has the map before the data, 0.x in the PAX header.
    pub(super) fn pax_sparse(&mut self, sparse: &Sparse) -> Result<Kind, Error> {
        let numbers = match (sparse.major, sparse.minor, sparse.blocks) {
            (Some(1), Some(0), None) if sparse.name.is_some() && sparse.numbers.is_empty() => self.sparse_text()?,
            (None | Some(0), None | Some(0 | 1), Some(blocks))
                if sparse.numbers.len() as u64 == blocks.saturating_mul(2) =>
            {
                sparse.numbers.clone()
            }
            _ => return Err(self.defect(Defect::SparseForm)),
        };
        let size = sparse.size.ok_or_else(|| self.defect(Defect::SparseForm))?;
        self.sparse(
            numbers.chunks_exact(2).map(|pair| Region {
                offset: pair[0],
                len: pair[1],
            }),
            size,
        )
    }

    /// A map that has been read: its regions are what is left of the content.
    fn sparse(&self, regions: impl Iterator<Item = Region>, size: u64) -> Result<Kind, Error> {
        let map = Map::new(regions, size).map_err(|e| self.defect(e))?;
        if map.data_len() == self.data {
            Ok(Kind::File {
                size,
                sparse: Some(map),
            })
        } else {
            Err(self.defect(Defect::SparseLength {
                data: self.data,
                map: map.data_len(),
            }))
        }
    }

    fn check_regions(&self, count: u64) -> Result<(), Error> {
        if count > self.limits.regions as u64 {
            Err(self.defect(Defect::SparseRegions(self.limits.regions)))
        } else {
            Ok(())
        }
    }

    /// The map of format 1.0: a count and as many pairs of numbers, a line each, in whole blocks.
    fn sparse_text(&mut self) -> Result<Vec<u64>, Error> {
        let mut text = Text::default();
        let count = self.sparse_number(&mut text)?;
        self.check_regions(count)?;
        let mut numbers = Vec::new();
        for _ in 0..2 * count {
            numbers.push(self.sparse_number(&mut text)?);
        }
        Ok(numbers)
    }

    fn sparse_number(&mut self, text: &mut Text) -> Result<u64, Error> {
        loop {
            if let Some(line) = text.line() {
                return pax::decimal(line).ok_or_else(|| self.defect(Defect::SparseText));
            }
            if self.data < BLOCK as u64 || text.pending() > MAP_LINE {
                return Err(self.defect(Defect::SparseText));
            }
            let block = self.whole_block()?;
            self.data -= BLOCK as u64;
            text.push(&block);
        }
    }
}

/// Lines of text that comes in blocks.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    at: usize,
}

impl Text {
    fn push(&mut self, block: &Block) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(block);
    }

    fn pending(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn line(&mut self) -> Option<&[u8]> {
        let len = self.bytes[self.at..].iter().position(|&b| b == b'\n')?;
        let line = &self.bytes[self.at..self.at + len];
        self.at += len + 1;
        Some(line)
    }
}
