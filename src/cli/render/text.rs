//! Words and numbers as people read them.
//!
//! Text that comes out of an archive, a log or a file name is not trusted: whatever goes to a terminal passes
//! [`visible`] first, so that it can neither move the cursor nor pretend to be another name.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

/// Units of 1024, each with the number of digits after the point that keep three significant ones.
const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A number of bytes: `0 B`, `1.5 KiB`, `12.0 MiB`.
pub fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // 1023.95 would be rounded up to 1024.0 of the smaller unit.
    while value >= 1023.95 {
        let Some(next) = units.next() else { break };
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// A duration: `0.42 s`, `83.0 s`; never minutes, because what is measured here is compared.
pub fn seconds(duration: Duration) -> String {
    let value = duration.as_secs_f64();
    if value < 10.0 {
        format!("{value:.2} s")
    } else {
        format!("{value:.1} s")
    }
}

/// Text for a terminal on one line: control characters, and those that change the direction of writing, are spelled
/// out as `\n`, `\x1b`, `\u{202e}`; a backslash too, where something was spelled out or could be taken for it.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| hidden(c) || c == '\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            c if c.is_ascii() && hidden(c) => push(&mut out, format_args!("\\x{:02x}", u32::from(c))),
            c if hidden(c) => push(&mut out, format_args!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Like [`visible`], for prose that may have several lines and backslashes of its own, as logs do.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| hidden(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    let lines: Vec<_> = text
        .split('\n')
        .map(|line| visible(line.trim_end_matches('\r')).replace("\\\\", "\\"))
        .collect();
    Cow::Owned(lines.join("\n"))
}

/// Whether a character is not seen as itself on a terminal.
fn hidden(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_counts() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (count, want) in cases {
            assert_eq!(bytes(count), want);
        }
    }

    #[test]
    fn durations() {
        assert_eq!(seconds(Duration::from_millis(424)), "0.42 s");
        assert_eq!(seconds(Duration::from_millis(83_040)), "83.0 s");
    }

    #[test]
    fn names_cannot_act_on_a_terminal() {
        let cases = [
            ("plain/näme", "plain/näme"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\x1b[2J", "\\x1b[2J"),
            ("exe\u{202e}gpj", "exe\\u{202e}gpj"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("back\\slash", "back\\\\slash"),
            ("\x7f", "\\x7f"),
        ];
        for (text, want) in cases {
            assert_eq!(visible(text), want);
        }
    }

    #[test]
    fn two_names_never_look_the_same() {
        assert_ne!(visible("a\n"), visible("a\\n"));
    }

    #[test]
    fn prose_keeps_its_lines() {
        assert_eq!(printable("one\ntwo\\n"), "one\ntwo\\n");
        assert_eq!(printable("one\r\n\x1b[0mtwo"), "one\n\\x1b[0mtwo");
    }
}
