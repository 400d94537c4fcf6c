//! CRIU's option file: one option a line, without the leading dashes.
//!
//! Given in `CRIU_CONFIG_FILE` it adds to what the runtime asks of CRIU. Booleans that the runtime sends in its request
//! override it; lists add up. A value may stand in double quotes; CRIU's parser knows `\"` but no other escape, so values
//! with quotes, backslashes or line breaks are refused instead of guessed at.

use std::fmt::Write as _;

use super::Error;

/// The content of an option file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptionFile {
    text: String,
}

impl OptionFile {
    /// An option file without options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an option that takes no value.
    pub fn switch(&mut self, option: &str) -> &mut Self {
        let _ = writeln!(self.text, "{option}");
        self
    }

    /// Adds an option with a value.
    ///
    /// # Errors
    /// [`Error::OptionValue`] where the value cannot be written in the file's syntax.
    pub fn value(&mut self, option: &str, value: &str) -> Result<&mut Self, Error> {
        if value.is_empty() || value.contains(['"', '\\', '\n', '\r', '\0']) {
            return Err(Error::OptionValue {
                option: option.to_owned(),
            });
        }
        let _ = writeln!(self.text, "{option} \"{value}\"");
        Ok(self)
    }

    /// The file's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_one_a_line_with_quoted_values() {
        let mut file = OptionFile::new();
        file.switch("link-remap")
            .value("action-script", "/run/a b/script")
            .unwrap();
        assert_eq!(file.as_str(), "link-remap\naction-script \"/run/a b/script\"\n");
    }

    #[test]
    fn values_that_the_syntax_cannot_hold_are_refused() {
        for value in ["", "a\"b", "a\\b", "a\nb", "a\0b"] {
            assert!(OptionFile::new().value("external", value).is_err(), "{value:?}");
        }
    }
}
