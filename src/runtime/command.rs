//! Running a runtime's short commands (`state`, `delete`, `--help`) and reading what they say.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use super::Error;

/// Longest message of a failed program that is quoted, characters.
const QUOTED: usize = 600;

/// Runs `command` to its end. A process group of its own keeps a Ctrl-C at the terminal from it.
pub(super) fn output(command: &mut Command) -> Result<Output, Error> {
    command.stdin(Stdio::null()).process_group(0);
    command.output().map_err(|source| Error::Run {
        program: program(command),
        source,
    })
}

/// Its standard output, or the error that says how it failed.
pub(super) fn checked(command: &mut Command) -> Result<Vec<u8>, Error> {
    let output = output(command)?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(failed(command, &output))
    }
}

pub(super) fn failed(command: &Command, output: &Output) -> Error {
    Error::Failed {
        program: program(command),
        status: output.status.to_string(),
        message: String::from_utf8_lossy(&output.stderr)
            .trim()
            .chars()
            .take(QUOTED)
            .collect(),
    }
}

fn program(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy())
            .filter(|word| !word.starts_with('/')),
    );
    words.join(" ")
}
