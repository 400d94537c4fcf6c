//! Edits of a configuration. The record of changes is not kept but computed from the two texts, so that it is complete.

use super::change::{Change, File};
use crate::lxc::config::setting_line;
use crate::lxc::{Config, Error, Line};

/// A configuration being changed.
#[derive(Debug)]
pub(super) struct Editor<'a> {
    original: &'a Config,
    lines: Vec<Option<Line>>,
    /// New lines: the first before all lines, the one at N+1 after line N.
    added: Vec<Vec<String>>,
}

impl<'a> Editor<'a> {
    pub(super) fn new(original: &'a Config) -> Self {
        Self {
            original,
            lines: original.lines().iter().cloned().map(Some).collect(),
            added: vec![Vec::new(); original.lines().len() + 1],
        }
    }

    /// Sets the value of the line at `index`.
    pub(super) fn set_value(&mut self, index: usize, value: &str) -> Result<(), Error> {
        self.change(index, |line| line.with_value(value))
    }

    /// Sets the key of the line at `index`.
    pub(super) fn set_key(&mut self, index: usize, key: &str) -> Result<(), Error> {
        self.change(index, |line| line.with_key(key))
    }

    fn change(&mut self, index: usize, change: impl FnOnce(&Line) -> Result<Line, Error>) -> Result<(), Error> {
        // A line that is taken away needs no value.
        if let Some(Some(line)) = self.lines.get_mut(index) {
            *line = change(line)?;
        }
        Ok(())
    }

    /// Takes the line at `index` away.
    pub(super) fn remove(&mut self, index: usize) {
        if let Some(line) = self.lines.get_mut(index) {
            *line = None;
        }
    }

    /// Adds a line at the end.
    pub(super) fn append(&mut self, key: &str, value: &str) -> Result<(), Error> {
        self.add_after(self.lines.len(), key, value)
    }

    /// Adds a line after `line`, numbered from 1.
    pub(super) fn add_after(&mut self, line: usize, key: &str, value: &str) -> Result<(), Error> {
        let text = setting_line(key, value)?;
        if let Some(added) = self.added.get_mut(line) {
            added.push(text);
        }
        Ok(())
    }

    /// The new configuration, and how it differs.
    pub(super) fn finish(self) -> (Config, Vec<Change>) {
        let mut changes = Vec::new();
        for (number, added) in self.added.iter().enumerate() {
            let line = number
                .checked_sub(1)
                .and_then(|at| Some((self.original.lines().get(at)?, self.lines.get(at)?)));
            if let Some((before, after)) = line.filter(|(before, after)| after.as_ref() != Some(*before)) {
                changes.push(change(number, Some(before.text()), after.as_ref().map(Line::text)));
            }
            changes.extend(added.iter().map(|text| change(number, None, Some(text.clone()))));
        }
        (self.original.rebuilt(&self.lines, &self.added), changes)
    }
}

fn change(line: usize, before: Option<String>, after: Option<String>) -> Change {
    Change {
        file: File::Config,
        line,
        before,
        after,
    }
}
