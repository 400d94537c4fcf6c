//! The name of an archive entry, validated.
//!
//! Invariants: relative, one or two components, no empty, `.` or `..` component, only [`allowed`] bytes, at most
//! [`MAX_NAME`] bytes. So it needs no escaping in a tar header, in `SHA256SUMS`, in JSON or on a terminal, and
//! joining it to a directory stays beneath that directory.

use std::fmt;

use super::error::{Error, NameProblem};
use super::limits::MAX_NAME;

/// The name of an entry: `ckpt.json`, `checkpoint/pages-1.img`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchivePath(Box<str>);

impl ArchivePath {
    /// The name as it stands in the archive.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory component, where there is one.
    #[must_use]
    pub fn directory(&self) -> Option<&str> {
        self.0.split_once('/').map(|(directory, _)| directory)
    }

    /// The last component.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(_, name)| name)
    }
}

/// Graphic ASCII without what tar, `sha256sum`, JSON or a shell prompt would have to escape. CRIU's image names and the
/// volume names of podman and docker are within it.
const fn allowed(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"')
}

fn check(name: &[u8]) -> Result<(), NameProblem> {
    if name.is_empty() {
        return Err(NameProblem::Empty);
    }
    if name.len() > MAX_NAME {
        return Err(NameProblem::TooLong { length: name.len() });
    }
    if name[0] == b'/' {
        return Err(NameProblem::Absolute);
    }
    if let Some(&byte) = name.iter().find(|&&byte| !allowed(byte)) {
        return Err(NameProblem::Byte { byte });
    }
    if name.iter().filter(|&&byte| byte == b'/').count() > 1 {
        return Err(NameProblem::TooDeep);
    }
    name.split(|&byte| byte == b'/')
        .try_for_each(|component| match component {
            b"" => Err(NameProblem::EmptyComponent),
            b"." | b".." => Err(NameProblem::Dots),
            _ => Ok(()),
        })
}

impl TryFrom<&[u8]> for ArchivePath {
    type Error = Error;

    fn try_from(name: &[u8]) -> Result<Self, Error> {
        let failed = |problem| Error::Name {
            name: printable(name),
            problem,
        };
        check(name).map_err(failed)?;
        match std::str::from_utf8(name) {
            Ok(text) => Ok(Self(text.into())),
            Err(_) => Err(failed(NameProblem::Byte { byte: 0xff })),
        }
    }
}

impl TryFrom<&str> for ArchivePath {
    type Error = Error;

    fn try_from(name: &str) -> Result<Self, Error> {
        Self::try_from(name.as_bytes())
    }
}

impl std::str::FromStr for ArchivePath {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::try_from(name)
    }
}

impl fmt::Display for ArchivePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ArchivePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::borrow::Borrow<str> for ArchivePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// An untrusted name made fit for an error message: escaped, and cut where it is long.
pub(super) fn printable(name: &[u8]) -> String {
    const SHOWN: usize = 120;
    let mut text = name[..name.len().min(SHOWN)].escape_ascii().to_string();
    if name.len() > SHOWN {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_are_used() {
        for name in [
            "ckpt.json",
            "checkpoint/pages-1.img",
            "volumes/a_b.c-d.tar",
            "checkpoint/tmpfs-dev-7.tar.gz.img",
        ] {
            assert_eq!(ArchivePath::try_from(name).expect(name).as_str(), name);
        }
        let path = ArchivePath::try_from("checkpoint/core-1.img").expect("valid");
        assert_eq!((path.directory(), path.file_name()), (Some("checkpoint"), "core-1.img"));
        let path = ArchivePath::try_from("dump.log").expect("valid");
        assert_eq!((path.directory(), path.file_name()), (None, "dump.log"));
    }

    #[test]
    fn names_that_are_refused() {
        let long = "a".repeat(MAX_NAME + 1);
        let table: &[(&str, NameProblem)] = &[
            ("", NameProblem::Empty),
            (&long, NameProblem::TooLong { length: MAX_NAME + 1 }),
            ("/etc/passwd", NameProblem::Absolute),
            ("..", NameProblem::Dots),
            ("../x", NameProblem::Dots),
            ("checkpoint/..", NameProblem::Dots),
            ("./x", NameProblem::Dots),
            ("checkpoint/", NameProblem::EmptyComponent),
            ("checkpoint//x", NameProblem::TooDeep),
            ("a/b/c", NameProblem::TooDeep),
            ("a\0b", NameProblem::Byte { byte: 0 }),
            ("a\nb", NameProblem::Byte { byte: b'\n' }),
            ("a b", NameProblem::Byte { byte: b' ' }),
            ("a\\b", NameProblem::Byte { byte: b'\\' }),
            ("\u{e9}", NameProblem::Byte { byte: 0xc3 }),
            ("\x1b[2J", NameProblem::Byte { byte: 0x1b }),
        ];
        for (name, expected) in table {
            match ArchivePath::try_from(*name) {
                Err(Error::Name { problem, .. }) => assert_eq!(problem, *expected, "{name:?}"),
                other => panic!("{name:?}: {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_safe(name: Vec<u8>) {
            if let Ok(path) = ArchivePath::try_from(name.as_slice()) {
                prop_assert_eq!(path.as_str().as_bytes(), name.as_slice());
                prop_assert!(std::path::Path::new(path.as_str()).components()
                    .all(|component| matches!(component, std::path::Component::Normal(_))));
            }
        }
    }
}
