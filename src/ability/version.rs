//! Versions of kernels and CRIU, as far as they decide anything: the first two numbers.

use std::fmt;

/// A version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    major: u32,
    minor: u32,
}

impl Version {
    /// The version of these two numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Reads it at the first digit of a text: `6.18.44-fc-v657`, `Version: 4.2.1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let start = text.find(|c: char| c.is_ascii_digit())?;
        let mut numbers = text[start..].split(|c: char| !c.is_ascii_digit());
        let mut next = || numbers.next()?.parse().ok();
        Some(Self {
            major: next()?,
            minor: next()?,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let cases = [
            ("6.18.44-fc-v657", Some(Version::new(6, 18))),
            ("Version: 4.2.1\nGitID: v4.2", Some(Version::new(4, 2))),
            ("4.10", Some(Version::new(4, 10))),
            ("6", None),
            ("none", None),
            ("99999999999.1", None),
        ];
        for (text, want) in cases {
            assert_eq!(Version::parse(text), want, "{text}");
        }
        assert!(Version::new(4, 10) > Version::new(4, 9));
    }
}
