//! `linux.namespaces` and the user namespace's mappings.

use serde_json::Value;

use super::{Editor, SpecError, list_at, path, string_at};

/// A namespace of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Its place in the list.
    pub index: usize,
    /// Its type: `pid`, `network`, `mount`, `ipc`, `uts`, `user`, `cgroup`, `time`.
    pub kind: String,
    /// The path that it is joined by; `None` where the runtime makes it.
    pub path: Option<String>,
}

/// The namespaces of the configuration, in order. A type that stands twice is an error: runtimes differ in which one
/// they take.
///
/// # Errors
/// When the shape is wrong.
pub fn read(spec: &Value) -> Result<Vec<Namespace>, SpecError> {
    let list = list_at(spec, "/linux/namespaces")?;
    let mut namespaces: Vec<Namespace> = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let namespace = read_one(value, index)?;
        if namespaces.iter().any(|other| other.kind == namespace.kind) {
            let pointer = format!("/linux/namespaces/{index}/type");
            return Err(SpecError::Type {
                pointer,
                expected: "a type that is not in the list yet",
                found: "a repetition",
            });
        }
        namespaces.push(namespace);
    }
    Ok(namespaces)
}

fn read_one(value: &Value, index: usize) -> Result<Namespace, SpecError> {
    let pointer = format!("/linux/namespaces/{index}");
    super::object(value, &pointer)?;
    let within = |error| super::mounts::prefix(error, &pointer);
    let kind = string_at(value, "/type")
        .map_err(within)?
        .ok_or_else(|| SpecError::Missing {
            pointer: format!("{pointer}/type"),
        })?;
    let joined = string_at(value, "/path")
        .map_err(within)?
        .filter(|text| !text.is_empty());
    let joined = joined.map(|text| path(text, &format!("{pointer}/path"))).transpose()?;
    Ok(Namespace {
        index,
        kind: kind.to_owned(),
        path: joined.map(str::to_owned),
    })
}

/// Sets the path of a namespace.
pub fn set_path(editor: &mut Editor, index: usize, path: &str) {
    editor.set(&format!("/linux/namespaces/{index}"), "path", Value::from(path));
}

/// Removes the path of a namespace, so that it is a new one.
pub fn remove_path(editor: &mut Editor, index: usize) {
    editor.remove(&format!("/linux/namespaces/{index}"), "path");
}

/// The identifier on the host that root of the container's user namespace has, of users (`uidMappings`) or groups
/// (`gidMappings`); `None` where nothing is mapped, or root is not.
///
/// # Errors
/// When the shape is wrong, or the identifier is no 32-bit number.
pub fn mapped_root(spec: &Value, mappings: &str) -> Result<Option<u32>, SpecError> {
    let pointer = format!("/linux/{mappings}");
    for (index, mapping) in list_at(spec, &pointer)?.iter().enumerate() {
        let pointer = format!("{pointer}/{index}");
        super::object(mapping, &pointer)?;
        let number = |key: &str| {
            super::integer_at(mapping, &format!("/{key}")).map_err(|error| super::mounts::prefix(error, &pointer))
        };
        if number("containerID")?.unwrap_or(0) == 0 {
            let host = number("hostID")?.unwrap_or(0);
            let found = "another number";
            return u32::try_from(host).map(Some).map_err(|_| SpecError::Type {
                pointer: format!("{pointer}/hostID"),
                expected: "a user or group identifier",
                found,
            });
        }
    }
    Ok(None)
}

/// Whether the container has mappings of its own, that is: a user namespace.
///
/// # Errors
/// When the shape is wrong.
pub fn has_user_namespace(spec: &Value) -> Result<bool, SpecError> {
    Ok(!list_at(spec, "/linux/uidMappings")?.is_empty())
}
