//! `deleted.files`: the paths that a container removed from the files below its changes.
//!
//! A JSON array of strings, each an absolute path in the container, as podman writes it. Ours are sorted and never name
//! anything that the tar beside them has. A file name that is not UTF-8 cannot be in JSON: each of its stray bytes `0xNN`
//! is written as the lone surrogate `\udcNN`, as Python's `surrogateescape` does; podman and other readers of strict JSON
//! strings see a name that does not exist.

use std::fmt::Write;

use serde::Deserialize;

use super::path::{Escaped, PathDefect, TreePath};

/// Limits of a list that somebody else made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the list.
    pub bytes: usize,
    /// Paths in it.
    pub paths: usize,
    /// Bytes of a path.
    pub path: usize,
    /// Components of a path.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // A container that removed a million files has a list of some 60 MB; whole directories are one line each.
        Self {
            bytes: 64 * 1024 * 1024,
            paths: 1_000_000,
            path: 64 * 1024,
            depth: 4096,
        }
    }
}

/// What is wrong with a list of deleted files.
#[derive(Debug, thiserror::Error)]
pub enum Defect {
    /// It is too large.
    #[error("{0} bytes are too many")]
    Bytes(usize),
    /// It has too many paths.
    #[error("more than {0} paths")]
    Paths(usize),
    /// It is not a JSON array of strings.
    #[error("not a JSON array of strings")]
    Json(#[source] serde_json::Error),
    /// It is not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// A path is not allowed.
    #[error("`{path}`: {defect}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        defect: PathDefect,
    },
    /// It says that the root itself was deleted.
    #[error("the root of the tree cannot be deleted")]
    Root,
}

/// One string of the list, as bytes.
struct Text(Vec<u8>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Text;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a path")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(Text(bytes.to_vec()))
            }
        }
        // As bytes, because serde_json then lets lone surrogates through (as three bytes each).
        deserializer.deserialize_bytes(Visitor)
    }
}

/// Reads a list. Paths may begin with `/` or not.
///
/// # Errors
/// The [`Defect`].
pub fn parse(json: &[u8], limits: &Limits) -> Result<Vec<TreePath>, Defect> {
    if json.len() > limits.bytes {
        return Err(Defect::Bytes(json.len()));
    }
    std::str::from_utf8(json).map_err(|_| Defect::Utf8)?;
    // Go writes a list without members as null.
    let texts: Option<Vec<Text>> = serde_json::from_slice(json).map_err(Defect::Json)?;
    let texts = texts.unwrap_or_default();
    if texts.len() > limits.paths {
        return Err(Defect::Paths(limits.paths));
    }
    texts.into_iter().map(|text| path(&text.0, limits)).collect()
}

fn path(text: &[u8], limits: &Limits) -> Result<TreePath, Defect> {
    let raw = stray_bytes(text);
    let relative = raw.strip_prefix(b"/").unwrap_or(&raw);
    let path = TreePath::parse(relative, limits.path, limits.depth).map_err(|defect| Defect::Path {
        path: Escaped(&raw).to_string(),
        defect,
    })?;
    if path.is_root() { Err(Defect::Root) } else { Ok(path) }
}

/// Turns the surrogates `U+DC80` to `U+DCFF`, which arrive as three bytes each, into the bytes they stand for.
fn stray_bytes(mut text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    while let Some((&byte, rest)) = text.split_first() {
        (text, _) = match *text {
            [0xed, 0xb2, low @ 0x80..=0xbf, ref rest @ ..] => (rest, bytes.push(low)),
            [0xed, 0xb3, low @ 0x80..=0xbf, ref rest @ ..] => (rest, bytes.push(low + 0x40)),
            _ => (rest, bytes.push(byte)),
        };
    }
    bytes
}

/// Writes a list, a path per line.
pub fn format<'a>(paths: impl IntoIterator<Item = &'a TreePath>) -> Vec<u8> {
    let mut json = String::from("[");
    let mut separator = "\n  \"/";
    for path in paths {
        json.push_str(separator);
        separator = ",\n  \"/";
        escape(path.as_bytes(), &mut json);
        json.push('"');
    }
    json.push_str(if json.len() > 1 { "\n]\n" } else { "]\n" });
    json.into_bytes()
}

fn escape(bytes: &[u8], json: &mut String) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => json.extend(['\\', c]),
                // Writing into a String cannot fail.
                '\0'..'\x20' | '\x7f' => drop(write!(json, "\\u{:04x}", u32::from(c))),
                _ => json.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(json, "\\udc{byte:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Result<Vec<TreePath>, Defect> {
        parse(
            json.as_bytes(),
            &Limits {
                bytes: 100,
                paths: 3,
                path: 50,
                depth: 4,
            },
        )
    }

    fn shown(json: &str) -> Vec<String> {
        read(json).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lists_of_podman_and_of_others() {
        assert_eq!(shown(r#"["/root", "/var/log/x"]"#), ["root", "var/log/x"]);
        assert_eq!(shown(r#"["root", "./a/"]"#), ["root", "a"]);
        assert_eq!(shown("[]"), [""; 0]);
        assert_eq!(shown("null"), [""; 0]);
    }

    #[test]
    fn defects_are_told_apart() {
        for (json, text) in [
            (r#"["/../etc/passwd"]"#, "`/../etc/passwd`: `..` in the path"),
            (r#"["a/../../b"]"#, "`a/../../b`: `..` in the path"),
            (r#"["//etc"]"#, "`//etc`: absolute path"),
            (r#"["/"]"#, "`/`: empty path"),
            (r#"["./"]"#, "the root of the tree cannot be deleted"),
            (r#"[""]"#, "``: empty path"),
            (r#"["/a\u0000b"]"#, "`/a\\u{0}b`: NUL in the path"),
            (r#"["/1/2/3/4/5"]"#, "`/1/2/3/4/5`: path is nested too deeply"),
            (r#"["1","2","3","4"]"#, "more than 3 paths"),
            (r#"{"a":1}"#, "not a JSON array of strings"),
            (r"[1]", "not a JSON array of strings"),
            (r#"["a"] x"#, "not a JSON array of strings"),
            (r#"["a""#, "not a JSON array of strings"),
        ] {
            assert_eq!(read(json).unwrap_err().to_string(), text, "{json}");
        }
        assert!(matches!(read(&" ".repeat(101)), Err(Defect::Bytes(101))));
        assert!(matches!(parse(b"[\"\xff\"]", &Limits::default()), Err(Defect::Utf8)));
    }

    #[test]
    fn names_that_are_not_utf8() {
        let path = TreePath::parse(b"a\xff/\xed\xb2\x80b\"\\\n", 100, 10).unwrap();
        let json = format([&path]);
        assert_eq!(
            std::str::from_utf8(&json).unwrap(),
            "[\n  \"/a\\udcff/\\udced\\udcb2\\udc80b\\\"\\\\\\u000a\"\n]\n"
        );
        assert_eq!(parse(&json, &Limits::default()).unwrap(), [path]);
    }

    proptest! {
        #[test]
        fn any_path_round_trips(names in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 1..5)) {
            let raw = names.join(&b'/');
            let Ok(path) = TreePath::parse(&raw, 1000, 100) else { return Ok(()) };
            prop_assume!(!path.is_root());
            prop_assert_eq!(parse(&format([&path]), &Limits::default()).unwrap(), [path]);
        }
    }
}
