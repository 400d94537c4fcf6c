//! A range of pages on its way into an image, without its zeros.
//!
//! Zeros are looked for in pieces, not page by page: a pagemap of single pages would be larger than what it saves.

use std::io;

use super::images::{PE_LAZY, PE_PRESENT};
use super::pagemap::PagemapWriter;
use super::wire::PAGE_SIZE;
use crate::zero::is_zero;

/// How many pages in a row have to be zero: 64 KiB. What the pagemap says of a piece takes some 20 bytes.
const PIECE: usize = 16 * PAGE_SIZE as usize;

/// The range that CRIU is sending.
#[derive(Debug)]
pub(super) struct ThinRange {
    /// Address of the next page.
    next: u64,
    /// Pages before it that are kept and that the pagemap does not have yet.
    run: u64,
}

impl ThinRange {
    /// One that begins at this address.
    pub(super) const fn at(address: u64) -> Self {
        Self { next: address, run: 0 }
    }

    /// Keeps so many pages, whatever they hold.
    pub(super) const fn keep(&mut self, pages: u64) {
        self.run += pages;
        self.next += pages * PAGE_SIZE;
    }

    /// Moves what is kept of these pages to their beginning, and returns its length; of an image `first` keeps one page anyway.
    pub(super) fn sift(&mut self, pages: &mut [u8], first: bool, map: &mut PagemapWriter) -> io::Result<usize> {
        let mut kept = 0;
        for start in (0..pages.len()).step_by(PIECE) {
            let piece = start..pages.len().min(start + PIECE);
            let length = piece.len();
            if is_zero(&pages[piece.clone()]) {
                let one = if first && kept == 0 { PAGE_SIZE as usize } else { 0 };
                self.keep((one as u64) / PAGE_SIZE);
                kept += one;
                self.skip(((length - one) as u64) / PAGE_SIZE, map)?;
                continue;
            }
            if kept != start {
                pages.copy_within(piece, kept);
            }
            kept += length;
            self.keep((length as u64) / PAGE_SIZE);
        }
        Ok(kept)
    }

    /// Leaves so many pages out.
    fn skip(&mut self, pages: u64, map: &mut PagemapWriter) -> io::Result<()> {
        self.note(map)?;
        self.next += pages * PAGE_SIZE;
        Ok(())
    }

    /// Tells the pagemap what is kept.
    fn note(&mut self, map: &mut PagemapWriter) -> io::Result<()> {
        let pages = std::mem::take(&mut self.run);
        if pages == 0 {
            return Ok(());
        }
        map.add_range(self.next - pages * PAGE_SIZE, pages, PE_PRESENT | PE_LAZY)
    }

    /// The range is complete.
    pub(super) fn finish(mut self, map: &mut PagemapWriter) -> io::Result<()> {
        self.note(map)
    }
}
