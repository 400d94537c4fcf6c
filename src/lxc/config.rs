//! An LXC configuration file, line by line.
//!
//! Invariants: [`Config::to_bytes`] of what was parsed is what was parsed; a changed line keeps its spacing, its end and,
//! where it has them, its quotes; a change that LXC would not read back as asked for is refused. Lines are told apart as
//! LXC 6 does it (`parse_line` of its confile.c): `\r` and `\n` both end a line, a NUL ends the whole text, lines that do
//! not begin with `lxc.` are passed over.

use std::ops::Range;

use super::text::{End, lines, trim};
use super::{Error, MAX_BYTES};

/// A configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    lines: Vec<Line>,
}

/// One line of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    bytes: Vec<u8>,
    end: End,
    kind: Kind,
}

/// What a line is to LXC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Blanks only.
    Blank,
    /// Begins with `#`.
    Comment,
    /// Does not begin with `lxc.`: LXC passes over it.
    Foreign,
    /// Begins with `lxc.` and has no `=`: LXC refuses the whole file.
    Malformed,
    /// A setting that is not UTF-8. LXC takes it, ckpt does not interpret it.
    Opaque,
    /// From a NUL on, where LXC stops reading.
    Beyond,
    /// A setting.
    Setting(Setting),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key as it is written, old or new.
    pub key: String,
    /// The value, without blanks and quotes around it.
    pub value: String,
    key_at: Range<usize>,
    value_at: Range<usize>,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; everything else is a configuration, though LXC may refuse it.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        if text.len() > MAX_BYTES {
            return Err(Error::TooLarge { bytes: text.len() });
        }
        let read = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        let (text, beyond) = text.split_at(read);
        let mut all: Vec<Line> = lines(text, |byte| byte == b'\n' || byte == b'\r')
            .into_iter()
            .map(|(line, end)| Line::new(line.to_vec(), end))
            .collect();
        if !beyond.is_empty() {
            all.push(Line {
                bytes: beyond.to_vec(),
                end: End::None,
                kind: Kind::Beyond,
            });
        }
        Ok(Self { lines: all })
    }

    /// The text: byte for byte what was parsed, but for what was changed since.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let parts = self.lines.iter().flat_map(|line| [&line.bytes[..], line.end.bytes()]);
        parts.flatten().copied().collect()
    }

    /// The lines.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The settings in order, each with the number of its line, from 0.
    pub fn settings(&self) -> impl Iterator<Item = (usize, &Setting)> {
        let settings = self.lines.iter().enumerate();
        settings.filter_map(|(index, line)| Some((index, line.setting()?)))
    }

    /// Builds a configuration of changed lines: `None` takes a line away, `added` come after the line they stand at (or
    /// before all lines, for the first). Ends are kept: a text whose last line had none has none afterwards.
    #[must_use]
    pub fn rebuilt(&self, changed: &[Option<Line>], added: &[Vec<String>]) -> Self {
        let usual = self.lines.iter().map(|line| line.end).find(|end| *end != End::None);
        let usual = usual.unwrap_or(End::Lf);
        let mut all: Vec<Line> = Vec::new();
        for (index, more) in added.iter().enumerate() {
            let line = index.checked_sub(1).and_then(|at| changed.get(at)).cloned().flatten();
            all.extend(line);
            all.extend(more.iter().map(|text| Line::new(text.clone().into_bytes(), usual)));
        }
        let body = all.iter().filter(|line| line.kind != Kind::Beyond).count();
        for line in all.iter_mut().take(body.saturating_sub(1)) {
            if line.end == End::None {
                line.end = usual;
            }
        }
        let unended = self.lines.iter().rfind(|line| line.kind != Kind::Beyond);
        if let (Some(last), Some(End::None)) =
            (body.checked_sub(1).map(|at| &mut all[at]), unended.map(|line| line.end))
        {
            last.end = End::None;
        }
        Self { lines: all }
    }
}

impl Line {
    fn new(bytes: Vec<u8>, end: End) -> Self {
        let kind = classify(&bytes);
        Self { bytes, end, kind }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The line without its end, for people.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The setting; `None` when it is none.
    #[must_use]
    pub fn setting(&self) -> Option<&Setting> {
        match &self.kind {
            Kind::Setting(setting) => Some(setting),
            _ => None,
        }
    }

    /// The same line with another value. Spacing and quotes stay.
    ///
    /// # Errors
    /// [`Error::NoSetting`], and [`Error::Value`] when LXC would read another value.
    pub fn with_value(&self, value: &str) -> Result<Self, Error> {
        let setting = self.setting().ok_or(Error::NoSetting { line: 0 })?;
        let at = setting.value_at.clone();
        // "key =" has no blank to keep: one is set as everyone writes it.
        let unspaced = at.is_empty() && self.bytes[..at.start].ends_with(b"=") && !value.is_empty();
        let blank: &[u8] = if unspaced { b" " } else { b"" };
        let bytes = [&self.bytes[..at.start], blank, value.as_bytes(), &self.bytes[at.end..]].concat();
        self.checked(bytes, &setting.key, value)
    }

    /// The same line with another key. Spacing stays.
    ///
    /// # Errors
    /// As [`with_value`](Self::with_value).
    pub fn with_key(&self, key: &str) -> Result<Self, Error> {
        let setting = self.setting().ok_or(Error::NoSetting { line: 0 })?;
        let at = setting.key_at.clone();
        let bytes = [&self.bytes[..at.start], key.as_bytes(), &self.bytes[at.end..]].concat();
        self.checked(bytes, key, &setting.value)
    }

    fn checked(&self, bytes: Vec<u8>, key: &str, value: &str) -> Result<Self, Error> {
        let line = Self::new(bytes, self.end);
        let broken = line.bytes.iter().any(|byte| b"\r\n\0".contains(byte));
        match line.setting() {
            Some(setting) if !broken && setting.key == key && setting.value == value => Ok(line),
            _ => Err(Error::Value {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
        }
    }
}

/// A new line that sets `key`.
///
/// # Errors
/// [`Error::Value`] when LXC would not read it so.
pub fn setting_line(key: &str, value: &str) -> Result<String, Error> {
    let line = Line::new(format!("{key} =").into_bytes(), End::Lf);
    Ok(line.with_value(value)?.text())
}

fn classify(bytes: &[u8]) -> Kind {
    if bytes.iter().all(|byte| b" \t\x0c".contains(byte)) {
        return Kind::Blank;
    }
    let start = trim(bytes, 0..bytes.len()).start;
    match &bytes[start..] {
        [b'#', ..] => Kind::Comment,
        rest if !rest.starts_with(b"lxc.") => Kind::Foreign,
        rest => rest
            .iter()
            .position(|&byte| byte == b'=')
            .map_or(Kind::Malformed, |equals| setting(bytes, start, start + equals)),
    }
}

fn setting(bytes: &[u8], start: usize, equals: usize) -> Kind {
    let key_at = trim(bytes, start..equals);
    let mut value_at = trim(bytes, equals + 1..bytes.len());
    if let [first @ (b'"' | b'\''), .., last] = bytes[value_at.clone()]
        && first == last
    {
        value_at = value_at.start + 1..value_at.end - 1;
    }
    let text = |at: &Range<usize>| std::str::from_utf8(&bytes[at.clone()]).map(str::to_owned);
    match (text(&key_at), text(&value_at)) {
        (Ok(key), Ok(value)) => Kind::Setting(Setting {
            key,
            value,
            key_at,
            value_at,
        }),
        _ => Kind::Opaque,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn only(text: &str) -> Line {
        let config = Config::parse(text.as_bytes()).unwrap();
        assert_eq!(config.lines().len(), 1, "{text:?}");
        config.lines()[0].clone()
    }

    #[test]
    fn lines_are_told_apart_as_lxc_does() {
        for (text, kind) in [
            (" \t\x0c", Kind::Blank),
            ("  # lxc.tty.max = 4", Kind::Comment),
            ("tty = 4", Kind::Foreign),
            ("LXC.tty = 4", Kind::Foreign),
            ("lxc.tty.max", Kind::Malformed),
        ] {
            assert_eq!(*only(text).kind(), kind, "{text:?}");
        }
    }

    #[test]
    fn values_lose_blanks_and_one_pair_of_quotes() {
        for (text, key, value) in [
            ("lxc.a=b", "lxc.a", "b"),
            ("\t lxc.a \t= b = c \t", "lxc.a", "b = c"),
            ("lxc.a = # b", "lxc.a", "# b"),
            ("lxc.a =", "lxc.a", ""),
            ("lxc.a =   ", "lxc.a", ""),
            ("lxc.a = 'b c '", "lxc.a", "b c "),
            ("lxc.a = \"b'", "lxc.a", "\"b'"),
            ("lxc.a = '", "lxc.a", "'"),
            ("lxc.a = ''", "lxc.a", ""),
        ] {
            let line = only(text);
            let setting = line.setting().unwrap();
            assert_eq!((&*setting.key, &*setting.value), (key, value), "{text:?}");
        }
    }

    #[test]
    fn a_nul_ends_the_text() {
        let config = Config::parse(b"lxc.a = 1\0\nlxc.b = 2\n").unwrap();
        assert_eq!(config.settings().count(), 1);
        assert_eq!(*config.lines()[1].kind(), Kind::Beyond);
    }

    #[test]
    fn changes_keep_spacing_quotes_and_ends() {
        for (text, after) in [
            ("lxc.a=b", "lxc.a=new"),
            ("  lxc.a  =  'b'\t", "  lxc.a  =  'new'\t"),
            ("lxc.a =", "lxc.a = new"),
            ("lxc.a = ", "lxc.a = new"),
        ] {
            let text_after = only(text).with_value("new").unwrap().text();
            assert_eq!(text_after.trim_end(), after.trim_end(), "{text:?}");
        }
        assert_eq!(
            only("  lxc.tty = 4 ").with_key("lxc.tty.max").unwrap().text(),
            "  lxc.tty.max = 4 "
        );
    }

    #[test]
    fn what_lxc_would_misread_is_not_written() {
        let line = only("lxc.a = b");
        for value in ["x\ny", "x\r", "x\0", " x", "x\t", "'x'", "\"\""] {
            assert!(matches!(line.with_value(value), Err(Error::Value { .. })), "{value:?}");
        }
        assert!(line.with_key("lxc.a=").is_err());
        assert!(only("# comment").with_value("x").is_err());
    }

    #[test]
    fn rebuilding_keeps_the_missing_last_newline_and_what_is_beyond() {
        for (text, after) in [
            ("lxc.a = 1", "lxc.a = 1\nlxc.b = 2"),
            ("lxc.a = 1\r\n", "lxc.a = 1\r\nlxc.b = 2\r\n"),
            ("", "lxc.b = 2\n"),
        ] {
            let config = Config::parse(text.as_bytes()).unwrap();
            let lines: Vec<_> = config.lines().iter().cloned().map(Some).collect();
            let mut added = vec![Vec::new(); lines.len() + 1];
            added[lines.len()].push("lxc.b = 2".to_owned());
            assert_eq!(config.rebuilt(&lines, &added).to_bytes(), after.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn an_oversized_text_is_refused() {
        assert!(matches!(
            Config::parse(&vec![b'\n'; MAX_BYTES + 1]),
            Err(Error::TooLarge { .. })
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(text in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Config::parse(&text).unwrap().to_bytes(), text);
        }

        #[test]
        fn anything_like_a_configuration_comes_back(text in "(([ \t]{0,2}(lxc\\.[a-z.0-9]{0,9}|#|x)[ =\t'\"]{0,4}\\PC{0,9})?(\n|\r\n|\r|\0)?){0,12}") {
            let config = Config::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(config.to_bytes(), text.as_bytes());
            let lines: Vec<_> = config.lines().iter().cloned().map(Some).collect();
            let rebuilt = config.rebuilt(&lines, &vec![Vec::new(); lines.len() + 1]);
            prop_assert_eq!(rebuilt.to_bytes(), text.as_bytes());
        }

        #[test]
        fn a_changed_value_is_read_back(before in "[a-z /'\"]{0,8}", value in "\\PC{0,12}") {
            let line = only(&format!("lxc.a = {before}"));
            if let Ok(changed) = line.with_value(&value) {
                prop_assert_eq!(&changed.setting().unwrap().value, &value);
            }
        }
    }
}
