//! `process`: of it, an import only needs to know whether there is a terminal.

use serde_json::Value;

use super::{SpecError, boolean_at, object_at};

/// Whether the container's process has a terminal.
///
/// # Errors
/// When `process` or its `terminal` has another type.
pub fn terminal(spec: &Value) -> Result<bool, SpecError> {
    object_at(spec, "/process")?;
    Ok(boolean_at(spec, "/process/terminal")?.unwrap_or(false))
}
