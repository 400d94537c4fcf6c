//! Bytes into lines and back, without loss.

use std::ops::Range;

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With `\n`.
    Lf,
    /// With `\r\n`.
    CrLf,
    /// With `\r` alone.
    Cr,
    /// With the text.
    None,
}

impl End {
    /// The bytes.
    pub(super) fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
            Self::Cr => b"\r",
            Self::None => b"",
        }
    }
}

/// Splits where `breaks` says, `\r\n` being one end when `\r` breaks. The last line has no end when nothing ends it; an
/// empty rest is no line.
pub(super) fn lines(text: &[u8], breaks: impl Fn(u8) -> bool) -> Vec<(&[u8], End)> {
    let mut rest = text;
    let mut lines = Vec::new();
    while !rest.is_empty() {
        let length = rest.iter().position(|&byte| breaks(byte)).unwrap_or(rest.len());
        let (line, tail) = rest.split_at(length);
        let end = match tail {
            [b'\r', b'\n', ..] => End::CrLf,
            [b'\r', ..] => End::Cr,
            [_, ..] => End::Lf,
            [] => End::None,
        };
        lines.push((line, end));
        rest = &tail[end.bytes().len()..];
    }
    lines
}

/// What LXC and the fstab reader strip around words.
pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The range of `text[range]` without the blanks around it.
pub(super) fn trim(text: &[u8], range: Range<usize>) -> Range<usize> {
    let slice = &text[range.clone()];
    let Some(first) = slice.iter().position(|&byte| !is_blank(byte)) else {
        return range.start..range.start;
    };
    let last = slice.iter().rposition(|&byte| !is_blank(byte)).unwrap_or(first);
    range.start + first..range.start + last + 1
}
