//! fstab files and the values of `lxc.mount.entry`, which have the same form: getmntent(3)'s.
//!
//! Invariant: [`Fstab::to_bytes`] of what was parsed is what was parsed; a changed line keeps its spacing and end.

use std::ops::Range;

use super::text::{End, is_blank, lines, trim};
use super::{Error, MAX_BYTES};

/// File systems without content of the host: their source means nothing.
const PSEUDO: &[&str] = &[
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "devpts",
    "mqueue",
    "proc",
    "ramfs",
    "sysfs",
    "tmpfs",
];

/// A file of mounts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fstab {
    lines: Vec<FstabLine>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FstabLine {
    bytes: Vec<u8>,
    end: End,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// What is mounted.
    pub source: String,
    /// Where, as it is written: LXC takes a relative path from the container's root.
    pub target: String,
    /// Type of the file system; `none` with binds.
    pub fstype: String,
    /// Options, comma-separated.
    pub options: String,
    text: String,
    source_at: Range<usize>,
    target_at: Range<usize>,
}

impl Fstab {
    /// Reads an fstab.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; everything else is an fstab.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        if text.len() > MAX_BYTES {
            return Err(Error::TooLarge { bytes: text.len() });
        }
        let all = lines(text, |byte| byte == b'\n')
            .into_iter()
            .map(|(line, end)| FstabLine {
                bytes: line.to_vec(),
                end,
            });
        Ok(Self { lines: all.collect() })
    }

    /// The text: byte for byte what was parsed, but for what was changed since.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let parts = self.lines.iter().flat_map(|line| [&line.bytes[..], line.end.bytes()]);
        parts.flatten().copied().collect()
    }

    /// The lines that name a mount, each with its number from 0; `None` for one that is not UTF-8.
    pub fn entries(&self) -> impl Iterator<Item = (usize, Option<MountEntry>)> {
        let lines = self.lines.iter().enumerate();
        lines.filter_map(|(index, line)| match std::str::from_utf8(&line.bytes) {
            Ok(text) => Some((index, Some(MountEntry::parse(text)?))),
            Err(_) => Some((index, None)),
        })
    }

    /// A line without its end, for people.
    #[must_use]
    pub fn line(&self, index: usize) -> String {
        let line = self.lines.get(index).map(|line| String::from_utf8_lossy(&line.bytes));
        line.unwrap_or_default().into_owned()
    }

    /// Writes another entry on a line that has one.
    pub fn replace(&mut self, index: usize, entry: &MountEntry) {
        if let Some(line) = self.lines.get_mut(index) {
            line.bytes = entry.text.clone().into_bytes();
        }
    }
}

impl MountEntry {
    /// Reads one entry; `None` for a blank line and a comment.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let start = trim(text.as_bytes(), 0..text.len()).start;
        if start == text.len() || text[start..].starts_with('#') || text[start..].trim_matches([' ', '\t']).is_empty() {
            return None;
        }
        let mut at = start;
        let fields: [Range<usize>; 4] = std::array::from_fn(|_| field(text.as_bytes(), &mut at));
        let [source, target, fstype, options] = fields.clone().map(|range| unescape(&text[range]));
        let [source_at, target_at, ..] = fields;
        Some(Self {
            source,
            target,
            fstype,
            options,
            text: text.to_owned(),
            source_at,
            target_at,
        })
    }

    /// The entry as it is written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it has an option.
    #[must_use]
    pub fn has_option(&self, name: &str) -> bool {
        self.options.split(',').any(|option| option == name)
    }

    /// Whether it mounts a path of the host.
    #[must_use]
    pub fn is_bind(&self) -> bool {
        self.has_option("bind") || self.has_option("rbind")
    }

    /// Whether its source means nothing.
    #[must_use]
    pub fn is_pseudo(&self) -> bool {
        !self.is_bind() && PSEUDO.contains(&self.fstype.as_str())
    }

    /// The same entry with another source. Everything else stays as it is written.
    #[must_use]
    pub fn with_source(&self, source: &str) -> Self {
        self.with(&self.source_at, source)
    }

    /// The same entry with another target. Everything else stays as it is written.
    #[must_use]
    pub fn with_target(&self, target: &str) -> Self {
        self.with(&self.target_at, target)
    }

    fn with(&self, at: &Range<usize>, value: &str) -> Self {
        let text = format!("{}{}{}", &self.text[..at.start], escape(value), &self.text[at.end..]);
        Self::parse(&text).unwrap_or_else(|| self.clone())
    }
}

fn field(text: &[u8], at: &mut usize) -> Range<usize> {
    let begins = |from: usize| text[from..].iter().position(|&byte| !is_blank(byte));
    let start = begins(*at).map_or(text.len(), |skipped| *at + skipped);
    let length = text[start..].iter().position(|&byte| is_blank(byte));
    *at = length.map_or(text.len(), |length| start + length);
    start..*at
}

/// Escapes that getmntent(3) knows.
const ESCAPES: [(&str, char); 5] = [
    ("\\040", ' '),
    ("\\011", '\t'),
    ("\\012", '\n'),
    ("\\134", '\\'),
    ("\\\\", '\\'),
];

fn unescape(field: &str) -> String {
    let mut rest = field;
    let mut plain = String::with_capacity(field.len());
    while let Some(letter) = rest.chars().next() {
        let known = ESCAPES.iter().find(|(escape, _)| rest.starts_with(escape));
        let (length, letter) = known.map_or((letter.len_utf8(), letter), |(escape, letter)| (escape.len(), *letter));
        plain.push(letter);
        rest = &rest[length..];
    }
    plain
}

fn escape(plain: &str) -> String {
    let spell = |letter: char| match ESCAPES.iter().find(|(_, known)| *known == letter) {
        Some((escape, _)) => (*escape).to_owned(),
        None => letter.to_string(),
    };
    plain.chars().map(spell).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_are_read_as_getmntent_reads_them() {
        for (text, source, target, bind) in [
            ("/a b none bind 0 0", "/a", "b", true),
            ("\t/a\\040x  b\tnone\trbind,ro", "/a x", "b", true),
            ("shm dev/shm tmpfs defaults,create=dir 0 0", "shm", "dev/shm", false),
            ("/a\\134\\\\x b", "/a\\\\x", "b", false),
            ("/a", "/a", "", false),
        ] {
            let entry = MountEntry::parse(text).unwrap();
            assert_eq!(
                (&*entry.source, &*entry.target, entry.is_bind()),
                (source, target, bind),
                "{text:?}"
            );
        }
        for text in ["", " \t", "# /a b none bind", "  #"] {
            assert_eq!(MountEntry::parse(text), None, "{text:?}");
        }
        assert!(MountEntry::parse("x y tmpfs defaults 0 0").unwrap().is_pseudo());
        assert!(!MountEntry::parse("x y tmpfs bind 0 0").unwrap().is_pseudo());
    }

    #[test]
    fn a_changed_entry_keeps_its_spacing() {
        let entry = MountEntry::parse("  /a   b\tnone bind # 0").unwrap();
        assert_eq!(entry.with_source("/n w").text(), "  /n\\040w   b\tnone bind # 0");
        assert_eq!(entry.with_target("c").text(), "  /a   c\tnone bind # 0");
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let fstab = Fstab::parse(&text).unwrap();
            let _ = fstab.entries().count();
            prop_assert_eq!(fstab.to_bytes(), text);
        }

        #[test]
        fn sources_come_back(line in "[ \t]{0,2}[a-z/\\\\0-9]{1,9}[ \t]x[ \t]none[ \t]bind\\PC{0,4}", source in "/[^\0]{0,9}") {
            let entry = MountEntry::parse(&line).unwrap();
            let changed = entry.with_source(&source);
            prop_assert_eq!(changed.source, source);
            prop_assert_eq!(changed.target, entry.target);
        }
    }
}
