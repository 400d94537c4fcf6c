//! The decompressed bytes of a foreign archive: bounded, in one pass.
//!
//! Invariants: memory is the decompressor's window and some buffers, whatever the archive claims. What comes out is never more
//! than the bounds allow. An error of the file is told from damage of the compression.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::ahead::Ahead;
use super::error::Error;
use crate::archive::{self, Codec, Limits};

/// The largest window of zstd that is accepted, as a power of two: what `zstd -d` accepts without being asked. podman's takes
/// 8 MiB, and an archive that somebody compressed again with `--ultra` 128 MiB.
const WINDOW_LOG: u32 = 27;
/// Bytes that are read at a time.
const BUFFER: usize = 256 << 10;

/// Compressions that podman reads and nobody writes; told by name.
const REFUSED: [(&[u8], &str); 2] = [(b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz")];

/// See the module.
pub(super) struct Stream<R: Read> {
    decoder: Decoder<R>,
    codec: Codec,
    stored: Arc<AtomicU64>,
    content: u64,
    limits: Limits,
}

type Input<R> = BufReader<Counted<R>>;

enum Decoder<R: Read> {
    Plain(Input<R>),
    Gzip(Box<MultiGzDecoder<Input<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Input<R>>>),
    /// One of the others, in a thread of its own.
    Ahead(Ahead),
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
            Self::Ahead(ahead) => ahead.read(buffer),
        }
    }
}

impl<R: Read> Stream<R> {
    /// Detects the compression.
    pub(super) fn new(source: R, limits: Limits) -> Result<Self, Error> {
        let stored = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            source,
            bytes: Arc::clone(&stored),
        };
        let mut input = BufReader::with_capacity(BUFFER, counted);
        let start = input.fill_buf().map_err(Error::from_io)?;
        if let Some((_, name)) = REFUSED.iter().find(|(magic, _)| start.starts_with(magic)) {
            return Err(Error::Compression { name });
        }
        let codec = detect(start);
        let decoder = match codec {
            Codec::None => Decoder::Plain(input),
            Codec::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(input))),
            Codec::Zstd => {
                let damaged = |source| Error::Damaged {
                    compression: codec,
                    stored: 0,
                    source,
                };
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(damaged)?;
                decoder.window_log_max(WINDOW_LOG).map_err(damaged)?;
                Decoder::Zstd(Box::new(decoder))
            }
        };
        Ok(Self {
            decoder,
            codec,
            stored,
            content: 0,
            limits,
        })
    }

    /// Lets a thread of its own decompress, ahead of what is read. What is not compressed would only be copied once more.
    pub(super) fn ahead(self) -> Result<Self, Error>
    where
        R: Send + 'static,
    {
        if self.codec == Codec::None {
            return Ok(self);
        }
        let ahead = Ahead::of(self.decoder).map_err(Error::from_io)?;
        Ok(Self {
            decoder: Decoder::Ahead(ahead),
            ..self
        })
    }

    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// Bytes of the archive that were read so far.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Bytes of the tar that were handed out so far.
    pub(super) fn content_bytes(&self) -> u64 {
        self.content
    }

    fn take_in(&mut self, count: usize) -> Result<(), Error> {
        self.content += count as u64;
        let stored = self.stored_bytes();
        let bomb = self.content > self.limits.expansion_floor
            && self.content / self.limits.expansion.max(1) > stored
            && self.codec != Codec::None;
        if self.content > self.limits.content || bomb {
            let content = self.content;
            return Err(Error::Bomb { content, stored });
        }
        Ok(())
    }
}

/// The compression of a file that begins so: magic numbers of zstd (a frame, or one that is skipped) and of gzip.
pub(super) fn detect(start: &[u8]) -> Codec {
    match *start {
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Codec::Zstd,
        [0x1f, 0x8b, ..] => Codec::Gzip,
        _ => Codec::None,
    }
}

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.decoder.read(buffer) {
            Ok(count) => self.take_in(count).map(|()| count).map_err(io::Error::from),
            Err(source) if source.kind() == io::ErrorKind::Interrupted => Err(source),
            // Of an archive that this one is inside of.
            Err(source)
                if source
                    .get_ref()
                    .is_some_and(|inner| inner.is::<Error>() || inner.is::<archive::Error>()) =>
            {
                Err(source)
            }
            // What the file says has a number of the system's, what a decompressor says has none.
            Err(source) if source.raw_os_error().is_some() || self.codec == Codec::None => {
                Err(Error::Read { source }.into())
            }
            Err(source) => Err(Error::Damaged {
                compression: self.codec,
                stored: self.stored_bytes(),
                source,
            }
            .into()),
        }
    }
}

/// Counts what is read.
struct Counted<R> {
    source: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
