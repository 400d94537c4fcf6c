//! The reasons why an import is not planned, as one error.

use std::fmt;

use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use super::{Refusal, one_line};
use crate::error::ErrorKind;

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Refusal", 3)?;
        fields.serialize_field("exit_code", &self.kind().exit_code())?;
        fields.serialize_field("message", &self.to_string())?;
        fields.serialize_field("advice", &self.advice())?;
        fields.end()
    }
}

/// Every reason why an import is not planned; never empty.
#[derive(Debug)]
pub struct Refusals(Vec<Refusal>);

impl Refusals {
    /// Collects refusals; `None` when there are none.
    #[must_use]
    pub fn collect(refusals: Vec<Refusal>) -> Option<Self> {
        (!refusals.is_empty()).then_some(Self(refusals))
    }

    /// The refusals, in the order they were met.
    pub fn iter(&self) -> impl Iterator<Item = &Refusal> {
        self.0.iter()
    }

    /// The refusals, to be told among others.
    pub(in crate::rewrite) fn into_inner(self) -> Vec<Refusal> {
        self.0
    }

    /// The class of the whole: a wrong archive or request first, then policy, then what the host lacks. Whoever settles
    /// the first kind meets the next.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        let order = [ErrorKind::Archive, ErrorKind::Usage, ErrorKind::Policy];
        let has = |kind: &ErrorKind| self.0.iter().any(|refusal| refusal.kind() == *kind);
        order.into_iter().find(has).unwrap_or(ErrorKind::Host)
    }

    /// The refusals as JSON: a list of objects with `exit_code`, `message` and `advice`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Refusals {
    /// One line for one refusal; a list for several.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = self.0.len() > 1;
        if several {
            write!(f, "{} things stand in the way of this import", self.0.len())?;
        }
        for refusal in &self.0 {
            f.write_str(if several { "\n  - " } else { "" })?;
            f.write_str(&one_line(&refusal.to_string()))?;
            if let Some(advice) = refusal.advice() {
                let before = if several { "\n      " } else { ": " };
                write!(f, "{before}{}", one_line(&advice))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Refusals {}
