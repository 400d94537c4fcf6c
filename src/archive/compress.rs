//! What one thread of the pool does with a frame that is being written: compress it and hash what is stored.
//!
//! Invariant: at a fixed level the result depends on the content alone.

use std::io;
use std::sync::Arc;

use super::framedigest::FrameDigest;
use super::frames::{Compression, Encoder};
use super::pool::{Buffers, Content};
use crate::zero::is_zero;

/// A frame and the level to compress it at.
pub(super) struct Job {
    pub content: Arc<Content>,
    pub level: i32,
}

/// A frame that is ready to be written.
pub(super) struct Done {
    /// Held until it is written, so that the number of buffers bounds the number of frames.
    pub content: Arc<Content>,
    pub stored: Vec<u8>,
    pub digest: FrameDigest,
}

/// A frame of zeros, which is made once: large processes have thousands.
struct Zeros {
    length: usize,
    level: i32,
    stored: Vec<u8>,
    digest: FrameDigest,
}

/// Starts the work of one thread; buffers for what is stored come from `spare`.
pub(super) fn worker(
    compression: Compression,
    spare: Buffers,
) -> io::Result<impl FnMut(Job) -> io::Result<Done> + Send + 'static> {
    let mut encoder = Encoder::new(compression)?;
    let mut zeros: Option<Zeros> = None;
    Ok(move |Job { content, level }| {
        let mut stored = spare.get();
        let zero = is_zero(&content);
        if let Some(known) = zeros
            .as_ref()
            .filter(|known| zero && (known.length, known.level) == (content.len(), level))
        {
            stored.clear();
            stored.extend_from_slice(&known.stored);
            let digest = known.digest;
            return Ok(Done {
                content,
                stored,
                digest,
            });
        }
        encoder.encode(&content, level, &mut stored)?;
        let digest = FrameDigest::of(&stored);
        if zero {
            zeros = Some(Zeros {
                length: content.len(),
                level,
                stored: stored.clone(),
                digest,
            });
        }
        Ok(Done {
            content,
            stored,
            digest,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_compressed_as_ever() {
        for compression in ["zstd", "gzip"] {
            let compression: Compression = compression.parse().expect("name");
            let spare = Buffers::new(1);
            let mut work = worker(compression, spare.clone()).expect("worker");
            let level = compression.ladder()[0];
            for length in [1 << 20, 1 << 20, 4096, 4096, 1 << 20] {
                let content = Content::new(vec![0; length], length, &Buffers::new(1));
                let done = work(Job { content, level }).expect("compresses");
                let mut expected = Vec::new();
                let mut encoder = Encoder::new(compression).expect("encoder");
                encoder
                    .encode(&vec![0; length], level, &mut expected)
                    .expect("compresses");
                assert_eq!((&done.stored, done.digest), (&expected, FrameDigest::of(&expected)));
                spare.put(done.stored);
            }
        }
    }
}
