//! Whose archive it is, told by its first bytes.
//!
//! An archive of ckpt begins with the entry `ckpt.json`; a tar that begins with anything else is somebody else's. Nothing is
//! concluded from the name of a file.

use std::io::Read;

use super::error::Error;
use super::stream::{Stream, detect};
use crate::archive::format::MANIFEST;
use crate::archive::{Codec, Limits, Source};

/// Bytes that are looked at: enough for the first block of any compression (128 KiB, and what little comes before it).
const START: usize = 256 << 10;
/// Bytes of a tar header.
const BLOCK: usize = 512;
/// Where a header has its magic.
const MAGIC: std::ops::Range<usize> = 257..262;

/// Whose archive a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// ckpt's, or nobody's: its reader says what is wrong with it.
    Ckpt,
    /// Another tar.
    Foreign {
        /// Whether it is not compressed.
        plain: bool,
    },
}

impl Family {
    /// Of a source of which nothing was read yet.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn of(source: &mut Source) -> Result<Self, Error> {
        Ok(Self::of_start(&source.peek(START)?))
    }

    /// Of the first bytes of a file.
    #[must_use]
    pub fn of_start(start: &[u8]) -> Self {
        let foreign = Self::Foreign {
            plain: detect(start) == Codec::None,
        };
        let Ok(mut stream) = Stream::new(start, Limits::default()) else {
            return foreign;
        };
        let mut header = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match stream.read(&mut header[filled..]) {
                Ok(count @ 1..) => filled += count,
                Ok(0) | Err(_) => return Self::Ckpt,
            }
        }
        let name = header.split(|&byte| byte == 0).next().unwrap_or_default();
        if header[MAGIC] != *b"ustar" || name == MANIFEST.as_bytes() {
            Self::Ckpt
        } else {
            foreign
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[MAGIC].copy_from_slice(b"ustar");
        header
    }

    #[test]
    fn the_first_entry_decides() {
        let foreign = |plain| Family::Foreign { plain };
        let zstd = |bytes: Vec<u8>| zstd::stream::encode_all(bytes.as_slice(), 1).unwrap();
        for (start, want) in [
            (header("config.dump"), foreign(true)),
            (header("ckpt.json"), Family::Ckpt),
            (zstd(header("checkpoint/")), foreign(false)),
            (zstd(header("ckpt.json")), Family::Ckpt),
            (header("config.dump")[..BLOCK - 1].to_vec(), Family::Ckpt),
            (b"no archive at all".to_vec(), Family::Ckpt),
            (Vec::new(), Family::Ckpt),
            (b"BZh9".to_vec(), foreign(true)),
        ] {
            assert_eq!(Family::of_start(&start), want, "{:?}", &start[..start.len().min(20)]);
        }
    }
}
