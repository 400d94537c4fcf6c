//! Changes of a configuration, each recorded with its JSON pointer and the values before and after.
//!
//! What no change names is not touched: order and content of every other key stay as they were.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// One change of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Change {
    /// JSON pointer (RFC 6901) of the value.
    pub pointer: String,
    /// The value before; absent where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The value after; absent where it was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Edits a configuration and keeps the record.
#[derive(Debug)]
pub struct Editor {
    spec: Value,
    changes: Vec<Change>,
}

impl Editor {
    /// Begins with a configuration, which is an object.
    #[must_use]
    pub fn new(spec: Value) -> Self {
        Self {
            spec,
            changes: Vec::new(),
        }
    }

    /// The configuration as changed so far.
    #[must_use]
    pub fn spec(&self) -> &Value {
        &self.spec
    }

    /// Sets the key `key` of the object at `parent`. A value that is the same already is no change; a parent that is
    /// missing (or null) on the way is made, one that is no object is left alone (readers refuse it before).
    pub fn set(&mut self, parent: &str, key: &str, value: Value) {
        for (above, name) in ancestors(parent) {
            if self.spec.pointer(&format!("{above}/{name}")).is_none_or(Value::is_null) {
                self.put(above, name, Value::Object(serde_json::Map::new()));
            }
        }
        self.put(parent, key, value);
    }

    fn put(&mut self, parent: &str, key: &str, value: Value) {
        let Some(Value::Object(object)) = self.spec.pointer_mut(parent) else {
            return;
        };
        if object.get(key) == Some(&value) {
            return;
        }
        let before = object.insert(key.to_owned(), value.clone());
        self.changes.push(Change {
            pointer: format!("{parent}/{}", escape(key)),
            before,
            after: Some(value),
        });
    }

    /// Removes the key `key` of the object at `parent`; nothing happens where there is none.
    pub fn remove(&mut self, parent: &str, key: &str) {
        let Some(Value::Object(object)) = self.spec.pointer_mut(parent) else {
            return;
        };
        // `remove` would move the last key into the place of the removed one.
        if let Some(before) = object.shift_remove(key) {
            self.changes.push(Change {
                pointer: format!("{parent}/{}", escape(key)),
                before: Some(before),
                after: None,
            });
        }
    }

    /// The changed configuration and the record.
    #[must_use]
    pub fn finish(self) -> (Value, Vec<Change>) {
        (self.spec, self.changes)
    }
}

/// The objects on the way to `pointer`, each as (parent, key). Only keys without escapes are used as parents.
fn ancestors(pointer: &str) -> impl Iterator<Item = (&str, &str)> {
    let ends = pointer
        .match_indices('/')
        .map(|(at, _)| at)
        .skip(1)
        .chain([pointer.len()]);
    ends.filter_map(|end| pointer[..end].rsplit_once('/'))
}

/// Escapes a key for a JSON pointer.
#[must_use]
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sets_removes_and_records() {
        let mut editor = Editor::new(json!({"a": 1, "b": {"x": true, "y": 2, "z": 3}, "c": null}));
        editor.set("", "a", json!(1));
        editor.set("/b", "y", json!(4));
        editor.remove("/b", "x");
        editor.remove("/b", "nothing");
        editor.set("", "d/e~f", json!("new"));
        editor.set("/c", "g", json!(5));
        let (spec, changes) = editor.finish();
        assert_eq!(
            serde_json::to_string(&spec).unwrap(),
            r#"{"a":1,"b":{"y":4,"z":3},"c":{"g":5},"d/e~f":"new"}"#,
            "the order of other keys stays"
        );
        let pointers: Vec<_> = changes.iter().map(|change| change.pointer.as_str()).collect();
        assert_eq!(pointers, ["/b/y", "/b/x", "/d~1e~0f", "/c", "/c/g"]);
        assert_eq!(
            changes[0],
            Change {
                pointer: "/b/y".into(),
                before: Some(json!(2)),
                after: Some(json!(4))
            }
        );
        assert_eq!(
            changes[1],
            Change {
                pointer: "/b/x".into(),
                before: Some(json!(true)),
                after: None
            }
        );
    }

    #[test]
    fn ancestors_are_walked_from_the_top() {
        assert_eq!(ancestors("").count(), 0);
        assert_eq!(ancestors("/a").collect::<Vec<_>>(), [("", "a")]);
        assert_eq!(
            ancestors("/a/b/c").collect::<Vec<_>>(),
            [("", "a"), ("/a", "b"), ("/a/b", "c")]
        );
    }
}
