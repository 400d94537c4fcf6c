//! A checkpoint as one page of HTML, for a browser.
//!
//! The page is self-contained: its style, its script and its data are in it, and its Content Security Policy lets nothing be
//! loaded, nothing be sent, and no script run but the one whose digest it names.
//!
//! Invariants: text of an archive never becomes markup. In the file it stands in two places only: in the title, escaped, and in
//! a block of JSON in which `<`, `>` and `&` are escapes; in the page the script writes it as text, never as HTML.

mod coverage;
mod timeline;

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

pub use coverage::{Coverage, MappingCells};
pub use timeline::{Span, SpanKind, timeline};

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The parts of the template, in their order.
const PLACES: [&str; 5] = ["@POLICY@", "@TITLE@", "@STYLE@", "@DATA@", "@SCRIPT@"];

/// The page of this title with this data, which the script knows how to show.
#[must_use]
pub fn page<T: Serialize>(title: &str, data: &T) -> String {
    // The data has only string keys and finite numbers: it can always be written.
    let data = script_safe(&serde_json::to_string(data).unwrap_or_default());
    let policy = policy();
    let title = escape(title);
    let mut page = String::with_capacity(HTML.len() + STYLE.len() + SCRIPT.len() + data.len() + 256);
    let mut rest = HTML;
    // In one go from front to back: what is put in is not looked at again.
    for (place, content) in PLACES.into_iter().zip([policy.as_str(), &title, STYLE, &data, SCRIPT]) {
        let (before, after) = rest.split_once(place).unwrap_or((rest, ""));
        page.push_str(before);
        page.push_str(content);
        rest = after;
    }
    page.push_str(rest);
    page
}

fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", base64(&Sha256::digest(text.as_bytes())));
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src {}; base-uri 'none'; form-action 'none'",
        hash(SCRIPT)
    )
}

/// Text as HTML shows it.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// JSON that may stand between `<script>` and `</script>`: outside of its strings it has none of these characters.
fn script_safe(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing into a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let used = digit <= chunk.len();
            let value = (word >> (18 - 6 * digit)) & 63;
            out.push(if used { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (text, want) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), want);
        }
    }

    #[test]
    fn text_of_an_archive_is_never_markup() {
        let hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>@SCRIPT@\u{2028}&\"'";
        let page = page(hostile, &serde_json::json!({ "name": hostile }));
        // The template's own: one block of data, one script.
        assert_eq!(page.matches("<script").count(), HTML.matches("<script").count());
        assert_eq!(page.matches("</script").count(), HTML.matches("</script").count());
        assert!(!page.contains("<img"));
        assert_eq!(page.matches(SCRIPT).count(), 1);
        let data = page
            .split("type=\"application/json\">")
            .nth(1)
            .and_then(|rest| rest.split("</script>").next());
        let data: serde_json::Value = serde_json::from_str(data.unwrap()).unwrap();
        assert_eq!(data["name"], hostile);
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for text in [HTML, STYLE, SCRIPT] {
            for bad in [
                "http://",
                "https://",
                "url(",
                "@import",
                "innerHTML",
                "outerHTML",
                "document.write",
                "eval(",
                "insertAdjacentHTML",
            ] {
                let svg = text.matches("http://www.w3.org/2000/svg").count();
                let found = text.matches(bad).count() - if bad == "http://" { svg } else { 0 };
                assert_eq!(found, 0, "{bad}");
            }
        }
        for place in PLACES {
            assert_eq!(HTML.matches(place).count(), 1, "{place}");
        }
    }
}
