//! The archived `config.json`: bounded reading by JSON pointer, and rewriting that touches nothing it does not name.
//!
//! The configuration stays a [`Value`] from the archive to the bundle: going through typed structures would drop unknown
//! keys and reject unknown values. Invariants:
//!
//! - only objects and arrays that a rewrite reads are judged, everything else passes as it is;
//! - every wrong shape is an error that names the JSON pointer;
//! - a key that differs from a known one in case only is an error. Go's `encoding/json`, which runc reads with, takes
//!   `Hooks` for `hooks`: without this rule an archive could hide from the importer what the runtime will act on.

pub mod annotations;
pub mod devices;
mod edit;
pub mod hooks;
pub mod mounts;
pub mod names;
pub mod namespaces;
pub mod process;
pub mod root;

pub use edit::{Change, Editor, escape};

use serde_json::{Map, Value};

/// Largest `config.json` that is read, bytes. Real ones are 5 to 200 KiB; the largest part is a seccomp profile.
pub const MAX_SPEC_BYTES: usize = 16 << 20;
/// Most elements of a list that is walked: far above what any engine writes, far below what would hold up a plan.
pub const MAX_ELEMENTS: usize = 10_000;
/// Longest path, bytes: the kernel's PATH_MAX, without its terminator.
pub const MAX_PATH_BYTES: usize = 4095;

/// A `config.json` whose shape is wrong.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It is larger than [`MAX_SPEC_BYTES`].
    #[error("config.json is {bytes} bytes long, more than {MAX_SPEC_BYTES} are not read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is not JSON.
    #[error("config.json is not JSON")]
    Json(#[source] serde_json::Error),
    /// A value has another type than the runtime specification says.
    #[error("config.json: {} must be {expected}, it is {found}", at(pointer))]
    Type {
        /// JSON pointer of the value.
        pointer: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A list has more than [`MAX_ELEMENTS`] elements.
    #[error(
        "config.json: {} has {count} elements, more than {MAX_ELEMENTS} are not read",
        at(pointer)
    )]
    TooMany {
        /// JSON pointer of the list.
        pointer: String,
        /// How many it has.
        count: usize,
    },
    /// A key that the runtime specification requires is missing.
    #[error("config.json: {} is missing", at(pointer))]
    Missing {
        /// JSON pointer of the key.
        pointer: String,
    },
    /// A key differs from a known one in case only, and some runtimes read the one for the other.
    #[error("config.json: the key {} can be taken for {known:?}", at(pointer))]
    Ambiguous {
        /// JSON pointer of the key.
        pointer: String,
        /// The key that it can be taken for.
        known: &'static str,
    },
    /// A path that cannot be one.
    #[error("config.json: the path at {} {problem}", at(pointer))]
    Path {
        /// JSON pointer of the path.
        pointer: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// A pointer as messages show it: the empty pointer is the whole document.
fn at(pointer: &str) -> &str {
    if pointer.is_empty() { "the document" } else { pointer }
}

/// The configuration of an archive, read but not trusted.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec(Value);

impl Spec {
    /// Reads `spec.dump`.
    ///
    /// # Errors
    /// When it is too large, no JSON, or no object.
    pub fn parse(bytes: &[u8]) -> Result<Self, SpecError> {
        if bytes.len() > MAX_SPEC_BYTES {
            return Err(SpecError::TooLarge { bytes: bytes.len() });
        }
        Self::from_value(serde_json::from_slice(bytes).map_err(SpecError::Json)?)
    }

    /// Takes a configuration that is already JSON.
    ///
    /// # Errors
    /// When it is no object.
    pub fn from_value(value: Value) -> Result<Self, SpecError> {
        object(&value, "")?;
        Ok(Self(value))
    }

    /// The configuration as JSON.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }
}

/// The keys of each object that a rewrite reads, by the pointer of the object (`*` stands for any element).
/// They are what the runtime specification 1.2 names and ckpt interprets; other keys may be spelt as they like.
const KNOWN: &[(&str, &[&str])] = &[
    (
        "",
        &["annotations", "hooks", "hostname", "linux", "mounts", "process", "root"],
    ),
    ("/root", &["path"]),
    ("/process", &["terminal"]),
    ("/mounts/*", &["destination", "options", "source", "type"]),
    (
        "/linux",
        &["cgroupsPath", "devices", "namespaces", "uidMappings", "gidMappings"],
    ),
    ("/linux/namespaces/*", &["path", "type"]),
    ("/linux/devices/*", &["path", "type", "major", "minor"]),
    ("/linux/uidMappings/*", &["containerID", "hostID", "size"]),
    ("/linux/gidMappings/*", &["containerID", "hostID", "size"]),
];

/// Finds every key that could be taken for another one, see [`SpecError::Ambiguous`].
#[must_use]
pub fn ambiguous_keys(spec: &Value) -> Vec<SpecError> {
    let mut found = Vec::new();
    for (pattern, known) in KNOWN {
        match pattern.strip_suffix("/*") {
            None => spec
                .pointer(pattern)
                .into_iter()
                .for_each(|value| check_keys(value, pattern, known, &mut found)),
            Some(list) => {
                let elements = spec.pointer(list).and_then(Value::as_array).into_iter().flatten();
                for (index, value) in elements.enumerate().take(MAX_ELEMENTS) {
                    check_keys(value, &format!("{list}/{index}"), known, &mut found);
                }
            }
        }
    }
    found
}

fn check_keys(value: &Value, pointer: &str, known: &[&'static str], found: &mut Vec<SpecError>) {
    let Some(object) = value.as_object() else { return };
    for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
        let folded = fold(key);
        if let Some(known) = known.iter().find(|known| fold(known) == folded) {
            found.push(SpecError::Ambiguous {
                pointer: format!("{pointer}/{}", escape(key)),
                known,
            });
        }
    }
}

/// Folds a key as Go's `encoding/json` does: ASCII case, and the two letters outside ASCII that fold into it.
fn fold(key: &str) -> String {
    key.chars()
        .map(|letter| match letter {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

/// What a value is, for messages.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wrong(value: &Value, pointer: &str, expected: &'static str) -> SpecError {
    SpecError::Type {
        pointer: pointer.to_owned(),
        expected,
        found: kind(value),
    }
}

/// The value as an object.
fn object<'a>(value: &'a Value, pointer: &str) -> Result<&'a Map<String, Value>, SpecError> {
    value.as_object().ok_or_else(|| wrong(value, pointer, "an object"))
}

/// The object at `pointer`; `None` when it or anything on the way is absent or null.
fn object_at<'a>(spec: &'a Value, pointer: &str) -> Result<Option<&'a Map<String, Value>>, SpecError> {
    match present(spec, pointer)? {
        None => Ok(None),
        Some(value) => object(value, pointer).map(Some),
    }
}

/// The elements of the list at `pointer`; none when it is absent or null.
fn list_at<'a>(spec: &'a Value, pointer: &str) -> Result<&'a [Value], SpecError> {
    let Some(value) = present(spec, pointer)? else {
        return Ok(&[]);
    };
    let list = value.as_array().ok_or_else(|| wrong(value, pointer, "a list"))?;
    if list.len() > MAX_ELEMENTS {
        return Err(SpecError::TooMany {
            pointer: pointer.to_owned(),
            count: list.len(),
        });
    }
    Ok(list)
}

/// The string at `pointer`; `None` when it is absent or null.
fn string_at<'a>(spec: &'a Value, pointer: &str) -> Result<Option<&'a str>, SpecError> {
    let Some(value) = present(spec, pointer)? else {
        return Ok(None);
    };
    value
        .as_str()
        .map(Some)
        .ok_or_else(|| wrong(value, pointer, "a string"))
}

/// The integer at `pointer`; `None` when it is absent or null.
fn integer_at(spec: &Value, pointer: &str) -> Result<Option<i64>, SpecError> {
    let Some(value) = present(spec, pointer)? else {
        return Ok(None);
    };
    value
        .as_i64()
        .map(Some)
        .ok_or_else(|| wrong(value, pointer, "an integer"))
}

/// The boolean at `pointer`; `None` when it is absent or null.
fn boolean_at(spec: &Value, pointer: &str) -> Result<Option<bool>, SpecError> {
    let Some(value) = present(spec, pointer)? else {
        return Ok(None);
    };
    value
        .as_bool()
        .map(Some)
        .ok_or_else(|| wrong(value, pointer, "a boolean"))
}

/// The value at `pointer`, `None` when it or a parent is absent or null.
///
/// A parent of another type than an object is an error: `Value::pointer` would answer "absent" for it.
fn present<'a>(spec: &'a Value, pointer: &str) -> Result<Option<&'a Value>, SpecError> {
    let mut value = spec;
    let mut end = 0;
    for token in pointer.split('/').skip(1) {
        let next = match value {
            Value::Null => return Ok(None),
            Value::Object(map) => map.get(&token.replace("~1", "/").replace("~0", "~")),
            Value::Array(list) => match token.parse::<usize>() {
                Ok(index) => list.get(index),
                Err(_) => return Err(wrong(value, &pointer[..end], "an object")),
            },
            other => return Err(wrong(other, &pointer[..end], "an object")),
        };
        end += 1 + token.len();
        match next {
            None => return Ok(None),
            Some(next) => value = next,
        }
    }
    Ok(if value.is_null() { None } else { Some(value) })
}

/// Judges a string as a path: not empty, bounded, without NUL.
fn path<'a>(text: &'a str, pointer: &str) -> Result<&'a str, SpecError> {
    let problem = if text.is_empty() {
        "is empty"
    } else if text.len() > MAX_PATH_BYTES {
        "is longer than 4095 bytes"
    } else if text.contains('\0') {
        "holds a NUL"
    } else {
        return Ok(text);
    };
    Err(SpecError::Path {
        pointer: pointer.to_owned(),
        problem,
    })
}

/// Cleans a path of a container as runtimes do before they use it: `.`, `..`, repeated and trailing slashes are resolved
/// by the text alone, and the result begins with a slash.
#[must_use]
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_cleaned_as_runtimes_clean_them() {
        let cases = [
            ("/dev/shm", "/dev/shm"),
            ("dev//shm/", "/dev/shm"),
            ("/dev/./x/../shm", "/dev/shm"),
            ("/../../etc", "/etc"),
            ("", "/"),
            ("..", "/"),
            ("/a b/ä", "/a b/ä"),
        ];
        for (path, cleaned) in cases {
            assert_eq!(clean(path), cleaned, "{path:?}");
        }
    }

    #[test]
    fn what_is_absent_and_what_is_wrong_are_told_apart() {
        let spec = json!({"a": {"b": [{"c": "x"}], "n": null, "e/f~": 1}, "s": "text"});
        let there = |pointer| present(&spec, pointer).unwrap().cloned();
        assert_eq!(there("/a/b/0/c"), Some(json!("x")));
        assert_eq!(there("/a/e~1f~0"), Some(json!(1)));
        for absent in ["/z", "/a/z/y", "/a/n", "/a/n/x", "/a/b/7", "/a/b/7/c"] {
            assert_eq!(there(absent), None, "{absent}");
        }
        for (wrong, at) in [("/s/x", "/s"), ("/a/b/x", "/a/b"), ("/a/b/0/c/d", "/a/b/0/c")] {
            match present(&spec, wrong).unwrap_err() {
                SpecError::Type {
                    pointer,
                    expected: "an object",
                    ..
                } => assert_eq!(pointer, at, "{wrong}"),
                other => panic!("{wrong}: {other}"),
            }
        }
    }

    #[test]
    fn keys_fold_as_in_go() {
        assert_eq!(fold("HOOKS"), "hooks");
        assert_eq!(fold("hoo\u{212a}s"), "hooks", "the Kelvin sign");
        assert_eq!(fold("mount\u{17f}"), "mounts", "the long s");
        assert_ne!(fold("h\u{f6}oks"), "hooks");
        let spec =
            json!({"HOO\u{212a}S": 1, "linux": {"CgroupsPath": "/x", "namespaces": [{"Path": "/x"}]}, "x-Hooks": 1});
        let found: Vec<_> = ambiguous_keys(&spec).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
