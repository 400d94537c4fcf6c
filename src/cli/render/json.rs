//! What `--progress json` and `--json` write to standard error: one object per line.
//!
//! The shape is declared here once; `schema/events-v1.schema.json` is generated from it. Fields may be added, none is
//! removed or changes its meaning within version 1.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::failure::Failure;
use crate::event::Phase;

/// One line on standard error.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Line {
    /// A phase begins.
    Phase {
        /// Its name.
        phase: Phase,
        /// Content bytes it will handle, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
    },
    /// Content bytes handled since the phase began; at most ten lines a second.
    Progress {
        /// The phase.
        phase: Phase,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
    },
    /// Something to know that is not an error.
    Warning {
        /// The text, one line.
        message: String,
    },
    /// The container is no longer frozen.
    Frozen {
        /// How long it was.
        seconds: f64,
    },
    /// An export that went to standard output is complete.
    Exported(Exported),
    /// The command failed. Always the last line.
    Error(Failure),
}

/// What an export made.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Exported {
    /// The container.
    pub container: String,
    /// The archive; `null` for standard output.
    pub archive: Option<PathBuf>,
    /// SHA-256 of the archive's `SHA256SUMS`, which is its identity.
    pub identity: String,
    /// Bytes of all entries together.
    pub content_bytes: u64,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// How long the container was frozen; `null` for a dump that somebody else made.
    pub frozen_seconds: Option<f64>,
    /// Whether the container runs on.
    pub running: bool,
}

impl Line {
    /// The line for how long a container was frozen.
    pub fn frozen(duration: Duration) -> Self {
        Self::Frozen {
            seconds: duration.as_secs_f64(),
        }
    }
}

/// A value as JSON on one line. Our own types have only string keys and finite numbers, so nothing can fail.
pub fn line<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The JSON Schema of what a type is written as.
pub fn schema_of<T: JsonSchema>() -> String {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    let schema = settings.into_generator().into_root_schema_for::<T>();
    // A schema is plain JSON, which can always be written.
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

/// The JSON Schema of [`Line`], as `schema/events-v1.schema.json` holds it.
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(Line);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn lines() {
        let error = Failure::bare("cannot", ErrorKind::Archive);
        let lines = [
            Line::Phase {
                phase: Phase::Dump,
                total: None,
            },
            Line::Progress {
                phase: Phase::Memory,
                bytes: 1,
                total: Some(2),
            },
            Line::Warning { message: "a\nb".into() },
            Line::frozen(Duration::from_millis(420)),
            Line::Error(error),
        ];
        insta::assert_snapshot!(lines.map(|each| line(&each)).join("\n"), @r#"
        {"event":"phase","phase":"dump"}
        {"event":"progress","phase":"memory","bytes":1,"total":2}
        {"event":"warning","message":"a\nb"}
        {"event":"frozen","seconds":0.42}
        {"event":"error","kind":"archive","exit_code":4,"what":"cannot","causes":[]}
        "#);
    }
}
