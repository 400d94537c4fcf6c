//! BLAKE3 digests, for frames as they are stored.
//!
//! Each byte of an archive is hashed when it is written and when it is read, beside the SHA-256 of its content: BLAKE3 takes a fifth
//! of SHA-256's time, also where the processor has instructions for that. Content has SHA-256 for the sake of `sha256sum -c`.

use std::fmt;

use super::digest;

/// The BLAKE3 digest (256 bits) of a frame. Shown as 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FrameDigest([u8; 32]);

impl FrameDigest {
    /// The digest of a frame, as it is stored.
    #[must_use]
    pub fn of(stored: &[u8]) -> Self {
        Self(blake3::hash(stored).into())
    }

    /// Parses 64 lowercase hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        digest::from_hex(text).map(Self)
    }

    /// The digits, without an allocation.
    #[must_use]
    pub fn hex(&self) -> [u8; digest::HEX] {
        digest::hex(&self.0)
    }
}

impl fmt::Debug for FrameDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.hex()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_b3sum_prints() {
        let abc = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
        let digest = FrameDigest::of(b"abc");
        assert_eq!(format!("{digest:?}"), abc);
        assert_eq!(FrameDigest::from_hex(abc.as_bytes()), Some(digest));
        assert_eq!(FrameDigest::from_hex(&abc.as_bytes()[1..]), None);
    }
}
