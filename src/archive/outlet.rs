//! Where frames go: to the sink, in order, those of an entry of unknown size behind a header that is put in later.
//!
//! In a file the header's place is left free and filled at the end of the entry. Into a pipe nothing can be put later: the
//! entry's frames wait, compressed, until its header is known. Invariants: what waits is compressed, whatever the archive
//! is; no more than [`SPOOL_MEMORY`] of it is in memory, the rest is in a file without a name.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use tempfile::SpooledTempFile;
use zstd::bulk::{Compressor, Decompressor};

use super::error::Error;
use super::frames::Codec;
use super::limits::FRAME_SIZE;

/// Bytes that wait in memory before a file is used.
const SPOOL_MEMORY: usize = 8 << 20;
/// Where that file is made: on disk, unlike /tmp on many hosts.
const SPOOL_DIRECTORY: &str = "/var/tmp";
/// Level at which content of an archive without compression waits: as fast as the copying.
const SPOOL_LEVEL: i32 = -1;

/// See the module.
pub(super) struct Outlet<W> {
    sink: W,
    /// The sink's file, where it can be written at an offset.
    file: Option<File>,
    codec: Codec,
    position: u64,
    spool: Option<Spool>,
}

/// The place of a header that is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    offset: u64,
    length: usize,
}

impl<W: Write> Outlet<W> {
    /// Writes to `sink`, which is at the beginning of `file`, if that is given.
    pub(super) fn new(sink: W, file: Option<File>, codec: Codec) -> Self {
        Self {
            sink,
            file,
            codec,
            position: 0,
            spool: None,
        }
    }

    /// Length of what was written so far, gaps included.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Writes the next frame.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.spool {
            Some(spool) => spool.put(bytes)?,
            None => self.sink.write_all(bytes).map_err(|source| Error::Write { source })?,
        }
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Leaves `length` bytes free.
    pub(super) fn leave(&mut self, length: usize) -> Result<Gap, Error> {
        let gap = Gap {
            offset: self.position,
            length,
        };
        if self.file.is_some() {
            self.write(&vec![0; length])?;
        } else {
            self.spool = Some(Spool::new(self.codec)?);
            self.position += length as u64;
        }
        Ok(gap)
    }

    /// Fills the last gap with as many bytes.
    pub(super) fn fill(&mut self, gap: Gap, bytes: &[u8]) -> Result<(), Error> {
        debug_assert_eq!(bytes.len(), gap.length, "what was left free is filled");
        let failed = |source| Error::Write { source };
        match self.spool.take() {
            None => {
                let file = self.file.as_ref().ok_or(Error::Poisoned)?;
                file.write_all_at(bytes, gap.offset).map_err(failed)
            }
            Some(spool) => {
                self.sink.write_all(bytes).map_err(failed)?;
                spool.drain(&mut self.sink)
            }
        }
    }

    /// The sink.
    pub(super) fn into_sink(self) -> W {
        self.sink
    }
}

/// What waits: pieces, each after its length.
struct Spool {
    file: SpooledTempFile,
    /// Where the archive is not compressed, what waits is.
    pack: Option<Compressor<'static>>,
}

fn failed(source: io::Error) -> Error {
    Error::Spool {
        path: directory(),
        source,
    }
}

fn directory() -> PathBuf {
    let preferred = PathBuf::from(SPOOL_DIRECTORY);
    if preferred.is_dir() {
        preferred
    } else {
        std::env::temp_dir()
    }
}

impl Spool {
    fn new(codec: Codec) -> Result<Self, Error> {
        let pack = match codec {
            Codec::None => Some(Compressor::new(SPOOL_LEVEL).map_err(failed)?),
            _ => None,
        };
        Ok(Self {
            file: tempfile::spooled_tempfile_in(SPOOL_MEMORY, directory()),
            pack,
        })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        for piece in bytes.chunks(FRAME_SIZE) {
            match &mut self.pack {
                None => self.put_piece(piece),
                Some(pack) => {
                    let packed = pack.compress(piece).map_err(failed)?;
                    self.put_piece(&packed)
                }
            }
            .map_err(failed)?;
        }
        Ok(())
    }

    fn put_piece(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(&(piece.len() as u32).to_le_bytes())?;
        self.file.write_all(piece)
    }

    /// Writes everything to `sink`.
    fn drain(mut self, sink: &mut impl Write) -> Result<(), Error> {
        let end = self.file.stream_position().map_err(failed)?;
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut unpack = match self.pack {
            Some(_) => Some(Decompressor::new().map_err(failed)?),
            None => None,
        };
        let (mut at, mut piece) = (0, Vec::new());
        while at < end {
            let mut length = [0; 4];
            self.file.read_exact(&mut length).map_err(failed)?;
            let length = u32::from_le_bytes(length);
            piece.resize(length as usize, 0);
            self.file.read_exact(&mut piece).map_err(failed)?;
            at += 4 + u64::from(length);
            let unpacked = match &mut unpack {
                Some(unpack) => Some(unpack.decompress(&piece, FRAME_SIZE).map_err(failed)?),
                None => None,
            };
            sink.write_all(unpacked.as_deref().unwrap_or(&piece))
                .map_err(|source| Error::Write { source })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through_a_pipe(codec: Codec) -> Vec<u8> {
        let mut outlet = Outlet::new(Vec::new(), None, codec);
        fill(&mut outlet);
        outlet.into_sink()
    }

    fn fill<W: Write>(outlet: &mut Outlet<W>) {
        outlet.write(b"before ").expect("written");
        let gap = outlet.leave(6).expect("left");
        outlet.write(b"after").expect("written");
        outlet.write(&vec![7; 3 * FRAME_SIZE + 1]).expect("written");
        assert_eq!(outlet.position(), 7 + 6 + 5 + 3 * FRAME_SIZE as u64 + 1);
        outlet.fill(gap, b"later ").expect("filled");
        outlet.write(b" end").expect("written");
    }

    #[test]
    fn a_pipe_and_a_file_get_the_same_bytes() {
        let file = tempfile::NamedTempFile::new().expect("file");
        let mut outlet = Outlet::new(
            file.reopen().expect("file"),
            Some(file.reopen().expect("file")),
            Codec::Zstd,
        );
        fill(&mut outlet);
        let written = std::fs::read(file.path()).expect("file");
        assert!(written.starts_with(b"before later after\x07") && written.ends_with(b"\x07 end"));
        for codec in [Codec::Zstd, Codec::Gzip, Codec::None] {
            assert!(through_a_pipe(codec) == written, "{codec}");
        }
    }

    #[test]
    fn what_waits_for_a_plain_archive_is_compressed() {
        let mut spool = Spool::new(Codec::None).expect("spool");
        spool.put(&vec![7; 4 * FRAME_SIZE]).expect("put");
        assert!(spool.file.stream_position().expect("position") < FRAME_SIZE as u64 / 8);
        let mut all = Vec::new();
        spool.drain(&mut all).expect("drained");
        assert!(all == vec![7; 4 * FRAME_SIZE]);
    }

    #[test]
    fn a_long_entry_waits_in_a_file() {
        let noise: Vec<u8> = (0..FRAME_SIZE as u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let mut spool = Spool::new(Codec::Zstd).expect("spool");
        for _ in 0..20 {
            spool.put(&noise).expect("put");
        }
        assert!(spool.file.is_rolled(), "not in memory");
        let mut all = Vec::new();
        spool.drain(&mut all).expect("drained");
        assert!(all.chunks(FRAME_SIZE).all(|piece| piece == noise) && all.len() == 20 * FRAME_SIZE);
    }
}
