//! Which switches a runtime's command has, and how ckpt passes the ones it lacks.
//!
//! Versions differ (runc learned `--link-remap` and `--tcp-skip-in-flight` after 1.1, crun has neither), so the program is
//! asked: `--help` of its subcommand lists its flags. A switch without a flag goes into CRIU's option file, where the
//! runtime does not send that option itself; one without either is refused by name.

use std::collections::BTreeMap;
use std::process::Command;

use super::{Error, Invocation};
use crate::criu::{Logs, OptionFile};

/// The flags of one subcommand, each with what its help says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flags(BTreeMap<String, String>);

impl Flags {
    /// Reads them from the help text: every word that begins with two dashes, up to the first character of a value, and
    /// the text up to the next one.
    pub(super) fn parse(help: &str) -> Self {
        let mut flags = BTreeMap::new();
        let mut current: Option<&mut String> = None;
        for word in help.split([' ', '\t', '\n', ',', '[', ']']) {
            if word.starts_with("--") {
                let name = word.split(['=', '<']).next().unwrap_or(word);
                current = Some(flags.entry(name.to_owned()).or_default());
            } else if let Some(text) = &mut current {
                text.push_str(word);
                text.push(' ');
            }
        }
        Self(flags)
    }

    fn has(&self, flag: &str) -> bool {
        self.0.contains_key(flag)
    }

    /// Whether the help of a flag names this value, as it does where a flag takes one of a few.
    fn names(&self, flag: &str, value: &str) -> bool {
        let named = |text: &String| {
            text.split(|c: char| !c.is_ascii_alphanumeric())
                .any(|word| word == value)
        };
        self.0.get(flag).is_some_and(named)
    }
}

/// A command that is being composed.
#[derive(Debug)]
pub(super) struct Composer<'a> {
    runtime: &'static str,
    flags: &'a Flags,
    command: Command,
    options: OptionFile,
}

impl<'a> Composer<'a> {
    pub(super) fn new(runtime: &'static str, flags: &'a Flags, command: Command) -> Self {
        Self {
            runtime,
            flags,
            command,
            options: OptionFile::new(),
        }
    }

    /// A switch that is on or off.
    pub(super) fn switch(&mut self, on: bool, flag: &str, option: Option<&str>) -> Result<(), Error> {
        match (on, self.flags.has(flag), option) {
            (false, ..) => {}
            (true, true, _) => _ = self.command.arg(flag),
            (true, false, Some(option)) => _ = self.options.switch(option),
            (true, false, None) => return Err(self.unsupported(flag)),
        }
        Ok(())
    }

    /// A flag with a value, if there is one.
    pub(super) fn value(&mut self, flag: &str, value: Option<impl AsRef<std::ffi::OsStr>>) -> Result<(), Error> {
        let Some(value) = value else { return Ok(()) };
        if !self.flags.has(flag) {
            return Err(self.unsupported(flag));
        }
        self.command.arg(flag).arg(value);
        Ok(())
    }

    /// A flag that takes one of a few values, all of them named in its help.
    pub(super) fn choice(&mut self, flag: &str, value: Option<&str>) -> Result<(), Error> {
        match value {
            Some(value) if !self.flags.names(flag, value) => Err(self.unsupported(&format!("{flag} {value}"))),
            value => self.value(flag, value),
        }
    }

    /// A flag with a value that CRIU's option file can carry too.
    pub(super) fn value_or_option(&mut self, flag: &str, value: &str, option: (&str, &str)) -> Result<(), Error> {
        if self.flags.has(flag) {
            self.command.arg(flag).arg(value);
        } else {
            self.options.value(option.0, option.1)?;
        }
        Ok(())
    }

    /// The option file, for what no runtime has a flag for.
    pub(super) fn options(&mut self) -> &mut OptionFile {
        &mut self.options
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.has(flag)
    }

    /// The command as far as it is composed.
    pub(super) fn parts(self) -> (Command, OptionFile) {
        (self.command, self.options)
    }

    pub(super) fn finish(mut self, id: &str, logs: Logs) -> Invocation {
        self.command.arg(id);
        Invocation::new(self.command, self.options, logs)
    }

    fn unsupported(&self, flag: &str) -> Error {
        Error::Unsupported {
            runtime: self.runtime,
            option: flag.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODES: &str = "--manage-cgroups-mode value  cgroups mode: 'soft' (default), 'full' and 'strict'\n --x\n";
    const RUNC: &str = "OPTIONS:\n   --image-path value  path\n   --leave-running  leave\n   --detach, -d\n";
    const CRUN: &str = "      --image-path=DIR       path\n  -b, --bundle=DIR   container bundle\n";

    #[test]
    fn flags_are_read_from_either_runtime_s_help() {
        let runc = Flags::parse(RUNC);
        assert!(
            runc.has("--image-path") && runc.has("--leave-running") && runc.has("--detach"),
            "{runc:?}"
        );
        let crun = Flags::parse(CRUN);
        assert!(
            crun.has("--image-path") && crun.has("--bundle") && !crun.has("--leave-running"),
            "{crun:?}"
        );
    }

    #[test]
    fn a_value_that_the_help_does_not_name_is_refused_with_its_flag() {
        let flags = Flags::parse(MODES);
        let mut composer = Composer::new("runc", &flags, Command::new("runc"));
        composer.choice("--manage-cgroups-mode", Some("full")).unwrap();
        let error = composer.choice("--manage-cgroups-mode", Some("ignore")).unwrap_err();
        assert_eq!(error.to_string(), "runc has no --manage-cgroups-mode ignore");
    }

    #[test]
    fn a_switch_is_a_flag_or_an_option_or_refused() {
        let flags = Flags::parse(RUNC);
        let mut composer = Composer::new("runc", &flags, Command::new("runc"));
        let logs = Logs {
            criu: "c".into(),
            runtime: "r".into(),
        };
        composer.switch(true, "--leave-running", None).unwrap();
        composer.switch(true, "--link-remap", Some("link-remap")).unwrap();
        composer.switch(false, "--what", None).unwrap();
        let error = composer.switch(true, "--what", None).unwrap_err();
        assert_eq!(error.to_string(), "runc has no --what");
        let invocation = composer.finish("c1", logs);
        let words: Vec<_> = invocation.command.get_args().collect();
        assert_eq!(
            (words, invocation.options.as_str()),
            (vec!["--leave-running".as_ref(), "c1".as_ref()], "link-remap\n")
        );
    }
}
