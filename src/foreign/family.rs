//! Whose archive it is, told by its first bytes.
//!
//! An archive of ckpt begins with the entry `ckpt.json`; a tar that begins with anything else is somebody else's. Nothing is
//! concluded from the name of a file.

use std::io::{self, Cursor, Read};
use std::os::unix::fs::FileExt as _;

use super::error::Error;
use super::stream::{Stream, detect};
use crate::archive::format::MANIFEST;
use crate::archive::{Codec, Limits};

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
    Foreign,
}

impl Family {
    /// Of a file, whose position stays as it is.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn of_file(file: &std::fs::File) -> Result<Self, Error> {
        let mut start = vec![0; START];
        let mut filled = 0;
        while filled < START {
            match file.read_at(&mut start[filled..], filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Read { source }),
            }
        }
        Ok(Self::of_start(&start[..filled]))
    }

    /// Of the first bytes of a file.
    #[must_use]
    pub fn of_start(start: &[u8]) -> Self {
        let Ok(mut stream) = Stream::new(start, Limits::default()) else {
            return Self::Foreign;
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
            Self::Foreign
        }
    }
}

/// A source whose first bytes were looked at.
#[derive(Debug)]
pub struct Probed<R> {
    /// Whose archive it is.
    pub family: Family,
    /// Whether it is compressed.
    pub compressed: bool,
    start: Cursor<Vec<u8>>,
    rest: R,
}

impl<R: Read> Probed<R> {
    /// Reads the first bytes of a pipe; they are handed out again.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn new(mut source: R) -> Result<Self, Error> {
        let mut start = Vec::new();
        let read = source.by_ref().take(START as u64).read_to_end(&mut start);
        read.map_err(|source| Error::Read { source })?;
        Ok(Self {
            family: Family::of_start(&start),
            compressed: detect(&start) != Codec::None,
            start: Cursor::new(start),
            rest: source,
        })
    }
}

impl<R: Read> Read for Probed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.start.read(buffer)? {
            0 => self.rest.read(buffer),
            count => Ok(count),
        }
    }
}
