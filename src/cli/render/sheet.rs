//! A sheet of facts: titled sections of labelled lines, aligned.

use std::io::{self, Write};

use clap::builder::styling::Style;

use super::text;

/// Columns that labels take.
const LABEL: usize = 14;
const NO_LABEL: &str = "-";
const TITLE: Style = Style::new().bold();

/// Facts to print.
#[derive(Debug, Default)]
pub struct Sheet {
    sections: Vec<(String, Vec<(String, String)>)>,
}

impl Sheet {
    /// Begins a section; one that stays empty is not printed.
    pub fn section(&mut self, title: &str) -> &mut Self {
        self.sections.push((title.to_owned(), Vec::new()));
        self
    }

    /// A line of the present section. An empty label continues the line above.
    pub fn line(&mut self, label: &str, value: impl Into<String>) -> &mut Self {
        if let Some((_, lines)) = self.sections.last_mut() {
            lines.push((label.to_owned(), value.into()));
        }
        self
    }

    /// A line of the present section without a label.
    pub fn note(&mut self, value: impl Into<String>) -> &mut Self {
        self.line(NO_LABEL, value)
    }

    /// A line that is there only where there is a value.
    pub fn line_if(&mut self, label: &str, value: Option<impl Into<String>>) -> &mut Self {
        match value {
            Some(value) => self.line(label, value),
            None => self,
        }
    }

    /// Prints it.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let filled = self.sections.iter().filter(|(_, lines)| !lines.is_empty());
        for (number, (title, lines)) in filled.enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            writeln!(out, "{TITLE}{}{TITLE:#}", text::visible(title))?;
            for (label, value) in lines {
                let value = text::visible(value);
                match label.as_str() {
                    NO_LABEL => writeln!(out, "  {value}")?,
                    label => writeln!(out, "  {label:<LABEL$}{value}")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_sections_and_absent_values_leave_no_trace() {
        let mut sheet = Sheet::default();
        sheet
            .section("One")
            .line("a", "1\x1b[2J")
            .line_if("b", None::<String>)
            .line("", "2");
        sheet.section("None").section("Two").line("c", "3").note("4");
        let mut out = Vec::new();
        sheet.write(&mut out).unwrap();
        let text = anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string();
        assert_eq!(
            text,
            "One\n  a             1\\x1b[2J\n                2\n\nTwo\n  c             3\n  4\n"
        );
    }
}
