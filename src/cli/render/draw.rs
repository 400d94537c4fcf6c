//! The ways progress is drawn: a bar, plain lines, JSON lines, warnings only, nothing.

use std::io::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::json::{self, Line};
use super::progress::Draw;
use super::text;
use crate::event::Phase;

/// How often the spinner of a phase without a total turns.
const SPIN: Duration = Duration::from_millis(120);
const WITH_TOTAL: &str =
    "{prefix:<22} {bar:24} {binary_bytes:>11} of {binary_total_bytes:<11} {binary_bytes_per_sec:>13}";
const WITHOUT_TOTAL: &str = "{prefix:<22} {spinner} {binary_bytes:>11} {binary_bytes_per_sec:>13} {elapsed:>4}";
const WITHOUT_BYTES: &str = "{prefix:<22} {spinner} {elapsed:>4}";

/// What a phase is called on the screen.
fn title(phase: Phase) -> &'static str {
    match phase {
        Phase::Inspect => "looking",
        Phase::Dump => "dumping processes",
        Phase::Memory => "writing memory",
        Phase::Files => "writing files",
        Phase::Commit => "putting it in place",
        Phase::Verify => "verifying",
        Phase::Prepare => "preparing",
        Phase::Restore => "restoring",
        Phase::Follow => "running, memory follows",
    }
}

/// Writes one line; a standard error that is gone is no reason to stop working.
fn say(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

fn warning_line(message: &str) -> String {
    format!("ckpt: warning: {}", text::printable(message).replace('\n', " "))
}

fn frozen_line(duration: Duration) -> String {
    format!("ckpt: the container was frozen for {}", text::seconds(duration))
}

/// A bar on a terminal.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    sized: bool,
}

impl Bar {
    /// A bar that draws nothing before its first phase.
    pub fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            sized: false,
        }
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("=> "));
        }
    }
}

impl Draw for Bar {
    fn phase(&mut self, phase: Phase, total: Option<u64>) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        self.sized = total.is_some();
        self.style(if self.sized { WITH_TOTAL } else { WITHOUT_BYTES });
        self.bar.set_prefix(title(phase));
        self.bar.enable_steady_tick(SPIN);
    }

    fn bytes(&mut self, bytes: u64) {
        if !self.sized {
            self.sized = true;
            self.style(WITHOUT_TOTAL);
        }
        self.bar.set_position(bytes);
    }

    fn warning(&mut self, message: &str) {
        self.bar.suspend(|| say(&warning_line(message)));
    }

    fn frozen(&mut self, duration: Duration) {
        self.bar.suspend(|| say(&frozen_line(duration)));
    }

    fn finish(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// One line for each phase, with what it came to when it is over.
#[derive(Debug, Default)]
pub struct Plain {
    phase: Option<Phase>,
}

impl Draw for Plain {
    fn phase(&mut self, phase: Phase, total: Option<u64>) {
        // The same phase of a second file is nothing new to a reader of lines.
        if self.phase.replace(phase) == Some(phase) {
            return;
        }
        match total {
            Some(total) => say(&format!("ckpt: {} ({})", title(phase), text::bytes(total))),
            None => say(&format!("ckpt: {}", title(phase))),
        }
    }

    fn bytes(&mut self, _: u64) {}

    fn warning(&mut self, message: &str) {
        say(&warning_line(message));
    }

    fn frozen(&mut self, duration: Duration) {
        say(&frozen_line(duration));
    }
}

/// One JSON object per line.
#[derive(Debug, Default)]
pub struct Json {
    phase: Option<(Phase, Option<u64>)>,
}

impl Draw for Json {
    fn phase(&mut self, phase: Phase, total: Option<u64>) {
        self.phase = Some((phase, total));
        say(&json::line(&Line::Phase { phase, total }));
    }

    fn bytes(&mut self, bytes: u64) {
        if let Some((phase, total)) = self.phase {
            say(&json::line(&Line::Progress { phase, bytes, total }));
        }
    }

    fn warning(&mut self, message: &str) {
        say(&json::line(&Line::Warning {
            message: message.to_owned(),
        }));
    }

    fn frozen(&mut self, duration: Duration) {
        say(&json::line(&Line::frozen(duration)));
    }
}

/// Warnings, and nothing else.
#[derive(Debug, Default)]
pub struct Warnings;

impl Draw for Warnings {
    fn phase(&mut self, _: Phase, _: Option<u64>) {}
    fn bytes(&mut self, _: u64) {}
    fn warning(&mut self, message: &str) {
        say(&warning_line(message));
    }
    fn frozen(&mut self, _: Duration) {}
}

/// Nothing at all.
#[derive(Debug, Default)]
pub struct Nothing;

impl Draw for Nothing {
    fn phase(&mut self, _: Phase, _: Option<u64>) {}
    fn bytes(&mut self, _: u64) {}
    fn warning(&mut self, _: &str) {}
    fn frozen(&mut self, _: Duration) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid() {
        for template in [WITH_TOTAL, WITHOUT_TOTAL, WITHOUT_BYTES] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn warnings_stay_on_one_line() {
        assert_eq!(warning_line("a\nb\x1b[0m"), "ckpt: warning: a b\\x1b[0m");
    }
}
