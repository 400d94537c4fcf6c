//! Paths inside a tree.
//!
//! A [`TreePath`] is relative, has no empty, `.` or `..` component and no NUL, so that walking its components from a
//! directory descriptor without following symbolic links cannot leave the tree. Names are bytes, as in the kernel.

use std::fmt;

use super::limits;

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathDefect {
    /// It begins with `/`.
    #[error("absolute path")]
    Absolute,
    /// It is empty.
    #[error("empty path")]
    Empty,
    /// It holds a `..` component.
    #[error("`..` in the path")]
    Parent,
    /// It holds an empty or `.` component, for which readers have different meanings.
    #[error("empty or `.` component in the path")]
    EmptyComponent,
    /// It holds a NUL.
    #[error("NUL in the path")]
    Nul,
    /// It is longer than the limit.
    #[error("path of {0} bytes is too long")]
    TooLong(usize),
    /// One component is longer than a file system can hold.
    #[error("file name of {0} bytes is too long")]
    NameTooLong(usize),
    /// It has more components than the limit.
    #[error("path is nested too deeply")]
    TooDeep,
}

/// A path relative to the root of a tree. The empty path is the root itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root of the tree.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Checks a name as tar writers spell it: leading `./` and one trailing `/` are taken off, everything else has to be
    /// in its only spelling.
    ///
    /// # Errors
    /// The [`PathDefect`].
    pub fn parse(raw: &[u8], max_len: usize, max_depth: usize) -> Result<Self, PathDefect> {
        if raw.is_empty() {
            return Err(PathDefect::Empty);
        }
        if raw.len() > max_len {
            return Err(PathDefect::TooLong(raw.len()));
        }
        if raw[0] == b'/' {
            return Err(PathDefect::Absolute);
        }
        let mut rest = raw;
        while let Some(tail) = rest.strip_prefix(b"./") {
            rest = tail;
        }
        let rest = rest.strip_suffix(b"/").unwrap_or(rest);
        if rest.is_empty() || rest == b"." {
            return Ok(Self::root());
        }
        for (depth, name) in rest.split(|&b| b == b'/').enumerate() {
            check_name(name)?;
            if depth >= max_depth {
                return Err(PathDefect::TooDeep);
            }
        }
        Ok(Self(rest.to_vec()))
    }

    /// This path with one more component, which must be a valid file name.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        debug_assert!(check_name(name).is_ok());
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        path.extend_from_slice(&self.0);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Self(path)
    }

    /// Its bytes, without leading or trailing slash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the root of the tree.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory that holds it and its name there; none for the root.
    #[must_use]
    pub fn split(&self) -> Option<(Self, &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|&b| b == b'/') {
            Some(at) => (Self(self.0[..at].to_vec()), &self.0[at + 1..]),
            None => (Self::root(), &self.0),
        })
    }

    /// Its components, none for the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|name| !name.is_empty())
    }

    /// Whether it is `ancestor` or beneath it.
    #[must_use]
    pub fn starts_with(&self, ancestor: &Self) -> bool {
        ancestor.is_root()
            || (self.0.starts_with(&ancestor.0) && matches!(self.0.get(ancestor.0.len()), None | Some(b'/')))
    }
}

/// Checks one component.
fn check_name(name: &[u8]) -> Result<(), PathDefect> {
    match name {
        b"" | b"." => Err(PathDefect::EmptyComponent),
        b".." => Err(PathDefect::Parent),
        _ if name.len() > limits::NAME_MAX => Err(PathDefect::NameTooLong(name.len())),
        _ if name.contains(&0) => Err(PathDefect::Nul),
        _ => Ok(()),
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        Escaped(&self.0).fmt(f)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreePath({self})")
    }
}

/// Most bytes of a name that an error message shows.
const SHOWN: usize = 400;

/// Bytes as one line of text: control characters and bytes that are not UTF-8 as `\xNN`, long ones cut. Names from an
/// archive go to terminals only through this.
pub(crate) struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, cut) = if self.0.len() > SHOWN {
            (&self.0[..SHOWN], "…")
        } else {
            (self.0, "")
        };
        for chunk in shown.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() || is_directional(c) {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    write!(f, "{c}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_str(cut)
    }
}

/// Characters that reorder the text around them on a terminal.
const fn is_directional(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_tar_writers_are_one_path() {
        for (raw, path) in [
            ("./", "."),
            (".", "."),
            ("./a", "a"),
            ("a/", "a"),
            ("././a/b/", "a/b"),
            ("a/..b", "a/..b"),
        ] {
            assert_eq!(TreePath::parse(raw.as_bytes(), 100, 10).unwrap().to_string(), path);
        }
    }

    #[test]
    fn defects_are_told_apart() {
        let long = vec![b'n'; 256];
        for (raw, defect) in [
            (&b""[..], PathDefect::Empty),
            (b"/etc/passwd", PathDefect::Absolute),
            (b"..", PathDefect::Parent),
            (b"a/../b", PathDefect::Parent),
            (b"./..", PathDefect::Parent),
            (b".//a", PathDefect::EmptyComponent),
            (b"a//b", PathDefect::EmptyComponent),
            (b"a/./b", PathDefect::EmptyComponent),
            (b"a//", PathDefect::EmptyComponent),
            (b"a\0b", PathDefect::Nul),
            (&long, PathDefect::NameTooLong(256)),
            (b"1/2/3/4/5", PathDefect::TooDeep),
        ] {
            assert_eq!(TreePath::parse(raw, 300, 4), Err(defect), "{raw:?}");
        }
        assert_eq!(TreePath::parse(b"abcdef", 5, 4), Err(PathDefect::TooLong(6)));
    }

    #[test]
    fn ancestry_goes_by_component() {
        let path = |p: &str| TreePath::parse(p.as_bytes(), 100, 10).unwrap();
        assert!(path("a/b").starts_with(&path("a")));
        assert!(path("a").starts_with(&path("a")));
        assert!(path("a").starts_with(&TreePath::root()));
        assert!(!path("ab").starts_with(&path("a")));
        assert!(!path("a").starts_with(&path("a/b")));
    }

    #[test]
    fn names_on_terminals_are_escaped() {
        assert_eq!(
            Escaped(b"a\x1b[31m\n\xff\xc3\xa9").to_string(),
            "a\\u{1b}[31m\\n\\xff\u{e9}"
        );
    }
}
