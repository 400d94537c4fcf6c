//! Holes of sparse files.
//!
//! A [`Map`] lists the data regions of a file in order; everything between them is a hole that reads as zeros. Maps are
//! valid by construction: regions do not overlap, are in order, and end within the file.

use std::os::fd::AsFd;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// A region of data in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Where it begins, bytes.
    pub offset: u64,
    /// How long it is, bytes.
    pub len: u64,
}

/// The data regions of a file with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    regions: Vec<Region>,
    data_len: u64,
}

/// What is wrong with a sparse map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("regions of the sparse map overlap, are out of order, or reach behind the end of the file")]
pub struct MapDefect;

impl Map {
    /// A map of a file of `size` bytes; regions of no length are left out.
    ///
    /// # Errors
    /// [`MapDefect`] when regions overlap, are not in order or end behind `size`.
    pub fn new(regions: impl IntoIterator<Item = Region>, size: u64) -> Result<Self, MapDefect> {
        let mut map = Self {
            regions: Vec::new(),
            data_len: 0,
        };
        let mut end = 0;
        for region in regions {
            if region.offset < end {
                return Err(MapDefect);
            }
            end = region
                .offset
                .checked_add(region.len)
                .filter(|&end| end <= size)
                .ok_or(MapDefect)?;
            map.data_len += region.len;
            if region.len > 0 {
                map.regions.push(region);
            }
        }
        Ok(map)
    }

    /// The regions, in order, none empty.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Bytes of data in all regions.
    #[must_use]
    pub const fn data_len(&self) -> u64 {
        self.data_len
    }

    /// The map as GNU's PAX format 1.0 puts it before the data: decimal lines (count, then offset and length of each
    /// region), padded to whole blocks. Ends with an empty region at the file's size: without it GNU tar restores files
    /// that end with a hole too short.
    #[must_use]
    pub fn encode(&self, size: u64) -> Vec<u8> {
        use std::fmt::Write;
        let mut text = String::new();
        let closing = Region { offset: size, len: 0 };
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{}", self.regions.len() + 1);
        for region in self.regions.iter().chain([&closing]) {
            let _ = write!(text, "{}\n{}\n", region.offset, region.len);
        }
        let mut bytes = text.into_bytes();
        bytes.resize(bytes.len().next_multiple_of(super::header::BLOCK), 0);
        bytes
    }
}

/// Asks the file system where a file has data. None when it has no hole. At most `max` regions: the last one then
/// reaches to the end of the file.
///
/// What the kernel answers for preallocated space depends on what is in the page cache, so two calls may differ for a
/// file that nobody changed.
///
/// # Errors
/// The system's, from `lseek`.
pub(super) fn scan(file: impl AsFd, size: u64, max: usize) -> Result<Option<Map>, Errno> {
    // One call for most files. The number of blocks would tell without a call, but counts those of attributes too.
    match seek(&file, SeekFrom::Hole(0)) {
        Ok(hole) if hole < size => {}
        // Empty, without a hole before its end, or of a file system that knows nothing of holes.
        Ok(_) | Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
        Err(e) => return Err(e),
    }
    let mut regions: Vec<Region> = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(&file, SeekFrom::Data(at)) {
            Ok(start) if start < size => start,
            Ok(_) | Err(Errno::NXIO) => break,
            Err(e) => return Err(e),
        };
        let full = regions.len() + 1 >= max;
        let end = if full {
            size
        } else {
            seek(&file, SeekFrom::Hole(start))?.min(size)
        };
        regions.push(Region {
            offset: start,
            len: end - start,
        });
        at = end;
    }
    Ok(Map::new(regions, size).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn region(offset: u64, len: u64) -> Region {
        Region { offset, len }
    }

    #[test]
    fn maps_are_in_order_and_inside_the_file() {
        assert!(Map::new([region(0, 10), region(10, 5), region(20, 0)], 20).is_ok());
        for bad in [
            vec![region(0, 10), region(9, 5)],
            vec![region(10, 5), region(0, 5)],
            vec![region(0, 21)],
            vec![region(20, 1)],
            vec![region(u64::MAX, 1)],
        ] {
            assert_eq!(Map::new(bad, 20), Err(MapDefect));
        }
    }

    #[test]
    fn encoding_ends_with_the_size() {
        let map = Map::new([region(4096, 4096)], 1 << 20).unwrap();
        let bytes = map.encode(1 << 20);
        assert_eq!(bytes.len(), 512);
        assert!(bytes.starts_with(b"2\n4096\n4096\n1048576\n0\n\0"));
    }

    #[test]
    fn more_regions_than_are_wanted_are_one() {
        use std::os::unix::fs::FileExt;
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        for at in [1 << 16, 1 << 17, 1 << 18, 1 << 19] {
            file.write_all_at(b"x", at).unwrap();
        }
        let map = scan(&file, 1 << 20, 2).unwrap().unwrap();
        let [first, rest] = map.regions() else {
            panic!("{map:?}")
        };
        assert!(first.offset <= 1 << 16 && first.offset + first.len < 1 << 17);
        assert!(rest.offset <= 1 << 17 && rest.offset + rest.len == 1 << 20);
    }

    #[test]
    fn scan_sees_holes() {
        use std::io::Write;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"dense").unwrap();
        assert_eq!(scan(&file, 5, 100).unwrap(), None);
        file.set_len(1 << 20).unwrap();
        let map = scan(&file, 1 << 20, 100).unwrap().unwrap();
        assert_eq!(map.regions().len(), 1);
        assert!(map.data_len() < 1 << 17);
        let empty = tempfile::tempfile().unwrap();
        empty.set_len(4 << 20).unwrap();
        assert_eq!(scan(&empty, 4 << 20, 100).unwrap().unwrap().data_len(), 0);
    }
}
