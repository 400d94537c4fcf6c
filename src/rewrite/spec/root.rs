//! `root.path`: where the container's root file system is.

use serde_json::Value;

use super::{Editor, SpecError, object_at, path, string_at};

/// The root path of the configuration, as it is written there: absolute, or relative to the bundle.
///
/// # Errors
/// When it is missing or no path.
pub fn read(spec: &Value) -> Result<&str, SpecError> {
    object_at(spec, "/root")?;
    let pointer = "/root/path";
    let text = string_at(spec, pointer)?.ok_or_else(|| SpecError::Missing {
        pointer: pointer.to_owned(),
    })?;
    path(text, pointer)
}

/// Sets the root path.
pub fn write(editor: &mut Editor, path: &str) {
    editor.set("/root", "path", Value::from(path));
}
