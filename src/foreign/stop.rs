//! Stopping in the middle of an archive, where the caller asks for it.

use std::fmt;
use std::io::{self, Read};

use super::error::Error;

/// Is asked at every buffer that is read; a yes ends what is under way with [`Error::Interrupted`].
#[derive(Clone, Copy)]
pub struct Stop<'a>(pub &'a dyn Fn() -> bool);

impl<'a> Stop<'a> {
    /// Goes on to the end.
    pub const NEVER: Stop<'static> = Stop(&|| false);

    /// The content, as long as nobody wants to stop.
    pub(super) fn watch<R: Read>(self, content: R) -> Stopping<'a, R> {
        Stopping { content, stop: self }
    }
}

impl fmt::Debug for Stop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stop")
    }
}

/// See [`Stop::watch`].
pub(super) struct Stopping<'a, R> {
    content: R,
    stop: Stop<'a>,
}

impl<R: Read> Read for Stopping<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.stop.0)() {
            return Err(Error::Interrupted.into());
        }
        self.content.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stopped_says_so() {
        let mut bytes = Vec::new();
        Stop::NEVER.watch(&b"abc"[..]).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"abc");
        let error = Stop(&|| true).watch(&b"abc"[..]).read_to_end(&mut bytes).unwrap_err();
        assert!(matches!(Error::from_io(error), Error::Interrupted));
    }
}
