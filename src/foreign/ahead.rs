//! Bytes that a thread of its own makes ahead of whoever reads them: one decompresses while the other looks at what came out.
//!
//! Invariants: memory is [`CHUNKS`] buffers of [`CHUNK`] bytes, however slow the reader is. What was made before an error is
//! handed out before it. The thread ends when its reader is gone, at the next buffer that it fills.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// Bytes that are handed over at a time: small enough to be still in the processor's cache when they are looked at.
const CHUNK: usize = 256 << 10;
/// Buffers that are under way: one is filled, one is read, two even out their speeds.
const CHUNKS: usize = 4;

/// See the module.
pub struct Ahead {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

impl Ahead {
    /// Begins to read `source`.
    pub(super) fn of(mut source: impl Read + Send + 'static) -> io::Result<Self> {
        let (full, filled) = sync_channel(CHUNKS);
        let (empty, emptied) = sync_channel(CHUNKS);
        for _ in 0..CHUNKS {
            let _ = empty.send(Vec::with_capacity(CHUNK));
        }
        thread::Builder::new().name("ckpt-ahead".to_owned()).spawn(move || {
            while let Ok(mut buffer) = emptied.recv() {
                let read = fill(&mut source, &mut buffer);
                let end = buffer.is_empty() || read.is_err();
                let sent = buffer.is_empty() || full.send(Ok(buffer)).is_ok();
                if let Err(error) = read {
                    let _ = full.send(Err(error));
                }
                if end || !sent {
                    break;
                }
            }
        })?;
        Ok(Self {
            full: filled,
            empty,
            current: Vec::new(),
            at: 0,
        })
    }
}

/// Fills a buffer as far as there is something.
fn fill(source: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    source.take(CHUNK as u64).read_to_end(buffer).map(drop)
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.current.len() {
            let used = std::mem::take(&mut self.current);
            self.at = 0;
            if used.capacity() > 0 {
                // Nobody takes it any more when everything was read.
                let _ = self.empty.send(used);
            }
            match self.full.recv() {
                Ok(chunk) => self.current = chunk?,
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len() - self.at);
        buffer[..count].copy_from_slice(&self.current[self.at..][..count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out so many bytes, and then fails or ends.
    struct Failing(usize, Option<io::ErrorKind>);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(self.0).min(1000);
            buffer[..count].fill(7);
            self.0 -= count;
            match self.1 {
                Some(kind) if count == 0 => Err(kind.into()),
                _ => Ok(count),
            }
        }
    }

    #[test]
    fn everything_comes_before_the_error_behind_it() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 9 * CHUNK + 5] {
            for end in [None, Some(io::ErrorKind::InvalidData)] {
                let mut bytes = Vec::new();
                let read = Ahead::of(Failing(length, end)).unwrap().read_to_end(&mut bytes);
                assert_eq!(bytes.len(), length);
                assert_eq!(read.err().map(|error| error.kind()), end, "{length}");
            }
        }
    }

    #[test]
    fn a_reader_may_go_before_the_end() {
        struct Dropped(Option<SyncSender<()>>);
        impl Read for Dropped {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                Ok(buffer.len())
            }
        }
        impl Drop for Dropped {
            fn drop(&mut self) {
                drop(self.0.take());
            }
        }
        let (held, gone) = sync_channel(0);
        drop(Ahead::of(Dropped(Some(held))).unwrap());
        assert!(gone.recv().is_err(), "the thread ends and drops its source");
    }
}
