//! A buffered reader that knows its offset and lets a parser look ahead.
//!
//! Invariant: `offset` is the offset in the file of the next byte that is handed out, whatever was read ahead.

use std::io::{self, Read};

/// Size of the buffer: many block headers of a frame with one system call.
const BUFFER: usize = 128 << 10;

/// The input of a sequential reader.
#[derive(Debug)]
pub(super) struct Input<R> {
    inner: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    offset: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            buffer: vec![0; BUFFER].into(),
            start: 0,
            end: 0,
            offset: 0,
        }
    }

    /// Offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Offset of what was read so far, handed out or not.
    pub(super) fn end(&self) -> u64 {
        self.offset + (self.end - self.start) as u64
    }

    /// The next `count` bytes without taking them; fewer only at the end. `count` is at most the buffer's size.
    pub(super) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.end - self.start < count {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            while self.end < count {
                match read(&mut self.inner, &mut self.buffer[self.end..])? {
                    0 => break,
                    read => self.end += read,
                }
            }
        }
        Ok(&self.buffer[self.start..self.end.min(self.start + count)])
    }

    /// Appends the next `count` bytes to `out`; returns how many there were.
    pub(super) fn take(&mut self, count: usize, out: &mut Vec<u8>) -> io::Result<usize> {
        let begin = out.len();
        let ready = count.min(self.end - self.start);
        out.extend_from_slice(&self.buffer[self.start..self.start + ready]);
        self.start += ready;
        let taken = ready + self.take_unbuffered(count - ready, out, begin + ready)?;
        self.offset += taken as u64;
        Ok(taken)
    }

    /// Large rests are read where they belong, small ones through the buffer.
    fn take_unbuffered(&mut self, count: usize, out: &mut Vec<u8>, at: usize) -> io::Result<usize> {
        if count == 0 {
            return Ok(0);
        }
        if count < BUFFER / 2 {
            let available = self.peek(count)?.len();
            out.extend_from_slice(&self.buffer[self.start..self.start + available]);
            self.start += available;
            return Ok(available);
        }
        out.resize(at + count, 0);
        let mut filled = at;
        while filled < at + count {
            match read(&mut self.inner, &mut out[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        out.truncate(filled);
        Ok(filled - at)
    }
}

/// One read that is not interrupted.
fn read(inner: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match inner.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Hands out a few bytes at a time, as a pipe does.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len());
            self.0.read(&mut buffer[..count])
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn takes_what_a_slice_holds(
            length in 0_usize..600_000,
            piece in 1_usize..200_000,
            steps in proptest::collection::vec((0_usize..64, 0_usize..300_000), 1..8),
        ) {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 7 % 251) as u8).collect();
            let mut input = Input::new(Trickle(&bytes, piece));
            let mut at = 0;
            for (look, count) in steps {
                prop_assert_eq!(input.peek(look).expect("memory"), &bytes[at..(at + look).min(length)]);
                let mut out = vec![1, 2];
                let taken = input.take(count, &mut out).expect("memory");
                prop_assert_eq!(taken, count.min(length - at));
                prop_assert_eq!(&out[..2], &[1, 2]);
                prop_assert_eq!(&out[2..], &bytes[at..at + taken]);
                at += taken;
                prop_assert_eq!(input.offset(), at as u64);
            }
        }
    }
}
