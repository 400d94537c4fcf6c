//! `hooks`: programs of the host that a runtime runs when a container is created, started, stopped or restored.

use serde_json::Value;

use super::{MAX_ELEMENTS, SpecError, kind, object_at};

/// A hook of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// When it runs, as the configuration names it: `prestart`, `createRuntime`, `poststop`, ….
    pub moment: String,
    /// The program.
    pub path: String,
}

/// Every hook of the configuration, of known and unknown moments.
///
/// # Errors
/// When the shape is wrong: what is not understood must not pass for "no hooks".
pub fn read(spec: &Value) -> Result<Vec<Hook>, SpecError> {
    let Some(moments) = object_at(spec, "/hooks")? else {
        return Ok(Vec::new());
    };
    let mut hooks = Vec::new();
    for (moment, list) in moments.iter().take(MAX_ELEMENTS) {
        let pointer = format!("/hooks/{}", super::escape(moment));
        let list = match list {
            Value::Null => continue,
            Value::Array(list) => list,
            other => {
                return Err(SpecError::Type {
                    pointer,
                    expected: "a list",
                    found: kind(other),
                });
            }
        };
        for (index, hook) in list.iter().enumerate().take(MAX_ELEMENTS) {
            let hook = super::object(hook, &format!("{pointer}/{index}"))?;
            // Whatever the path is spelt like, an element of the list is a hook.
            let path = hook.get("path").and_then(Value::as_str).unwrap_or("?");
            hooks.push(Hook {
                moment: moment.clone(),
                path: path.to_owned(),
            });
        }
    }
    Ok(hooks)
}
