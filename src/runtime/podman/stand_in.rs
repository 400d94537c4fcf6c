//! What podman starts in the place of the OCI runtime while a container is exported or imported.
//!
//! podman finds the program of an OCI runtime in its configuration, of which one file may come from the environment. Where it
//! asks for a dump, the stand-in runs ckpt's own command; where it asks for a restore, the stand-in asks ckpt first, and takes
//! ckpt's images. Both get the session's CRIU options, which podman keeps from a runtime's environment. All else goes to the
//! real runtime.
//!
//! A podman that paid no heed to that file would dump with the real runtime, and no one would ask ckpt before the container
//! is killed. So it is told to give every runtime a flag that only the stand-in knows: a real one ends at once.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::criu::{Error, Session};

/// The flag that only the stand-in knows.
const FLAG: &str = "ckpt-stand-in";

/// See the module.
#[derive(Debug)]
pub struct StandIn {
    /// A private directory that programs can be run from.
    pub(super) directory: PathBuf,
    /// podman's name of the runtime.
    pub(super) name: String,
    /// The runtime.
    pub(super) real: PathBuf,
    /// What it does itself.
    pub(super) task: Task,
}

/// What a stand-in does itself.
#[derive(Debug)]
pub(super) enum Task {
    /// Dumps with this command.
    Dump(Command),
    /// Restores from other images than podman says, when ckpt has put the files in place.
    Restore {
        /// The images.
        images: PathBuf,
        /// More flags.
        extras: Vec<OsString>,
    },
}

impl StandIn {
    /// Makes a command of podman's use it.
    pub(super) fn announce(&self, command: &mut Command) {
        command.env("CONTAINERS_CONF_OVERRIDE", self.configuration());
        command.arg("--runtime-flag").arg(FLAG);
    }

    /// What podman says when it fails goes here.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.directory.join("podman.log")
    }

    /// Writes the files.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn place(&self, session: &Session) -> Result<(), Error> {
        self.write(&self.script(&session.option_file(), &session.question()))
    }

    fn write(&self, script: &[u8]) -> Result<(), Error> {
        let program = self.directory.join("runtime");
        write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700))
            .map_err(|error| Error::io("making executable", &program, error))?;
        write(&self.configuration(), self.toml(&program)?.as_bytes())
    }

    fn configuration(&self) -> PathBuf {
        self.directory.join("containers.conf")
    }

    fn toml(&self, program: &Path) -> Result<String, Error> {
        let quoted = |text: &str| serde_json::to_string(text).map_err(|error| io::Error::other(error.to_string()));
        let lines = quoted(&self.name).and_then(|name| {
            let program = program.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
            Ok(format!("[engine.runtimes]\n{name} = [{}]\n", quoted(program)?))
        });
        lines.map_err(|error| Error::io("naming the stand-in of", &self.real, error))
    }

    fn script(&self, options: &Path, question: &str) -> Vec<u8> {
        let head = format!("#!/bin/sh\nset -e\nFLAG=--{FLAG}\nOPTIONS=").into_bytes();
        let options = shell_word(options.as_os_str());
        let real = shell_word(self.real.as_os_str());
        let task = match &self.task {
            Task::Dump(command) => dump_script(command),
            Task::Restore { images, extras } => restore_script(images, &self.directory, extras, question),
        };
        [&head, &options, b"\nREAL=".as_slice(), &real, b"\n", &task].concat()
    }
}

/// Runs a command instead of a dump.
fn dump_script(command: &Command) -> Vec<u8> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    [
        b"dump=\nfor word do\n    shift\n    case $word in\n    \"$FLAG\") continue ;;\n    --image-path) dump=1 ;;\n    esac\n"
            .as_slice(),
        b"    set -- \"$@\" \"$word\"\ndone\n[ \"$dump\" ] || exec \"$REAL\" \"$@\"\n",
        b"export CRIU_CONFIG_FILE=\"$OPTIONS\"\nexec ",
        &joined(words),
        b"\n",
    ]
    .concat()
}

/// Changes where a restore takes its images from and works, and asks before it.
fn restore_script(images: &Path, work: &Path, extras: &[OsString], question: &str) -> Vec<u8> {
    [
        b"IMAGES=".as_slice(),
        &shell_word(images.as_os_str()),
        b"\nWORK=",
        &shell_word(work.as_os_str()),
        b"\nrestore=\nbundle=\nbefore=\nfor word do\n    shift\n    case $before in\n    --image-path) restore=1; word=$IMAGES ;;\n",
        b"    --work-path) word=$WORK ;;\n    --bundle) bundle=$word ;;\n    esac\n    before=$word\n",
        b"    case $word in\n    \"$FLAG\") continue ;;\n    restore) set -- \"$@\" restore ",
        &joined(extras.iter().map(OsString::as_os_str)),
        b"; continue ;;\n    esac\n    set -- \"$@\" \"$word\"\ndone\n[ \"$restore\" ] || exec \"$REAL\" \"$@\"\n",
        b"CRTOOLS_SCRIPT_ACTION=pre-restore CRTOOLS_INIT_PID=\"$bundle\" ",
        question.as_bytes(),
        b"\nexport CRIU_CONFIG_FILE=\"$OPTIONS\"\nexec \"$REAL\" \"$@\"\n",
    ]
    .concat()
}

fn joined<'a>(words: impl Iterator<Item = &'a OsStr>) -> Vec<u8> {
    words.map(shell_word).collect::<Vec<_>>().join(&b' ')
}

fn write(path: &Path, text: &[u8]) -> Result<(), Error> {
    fs::write(path, text).map_err(|error| Error::io("writing", path, error))
}

fn shell_word(word: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in word.as_bytes() {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            other => quoted.push(*other),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stand-in for `/bin/echo` says to these arguments, whose question is answered by `question`.
    fn said(task: Task, question: &str, arguments: &[&str]) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let stand_in = StandIn {
            directory: directory.path().to_owned(),
            name: "runc".to_owned(),
            real: "/bin/echo".into(),
            task,
        };
        stand_in
            .write(&stand_in.script(Path::new("/run/a b/options"), question))
            .unwrap();
        let toml = fs::read_to_string(stand_in.configuration()).unwrap();
        let program = directory.path().join("runtime");
        assert_eq!(
            toml,
            format!("[engine.runtimes]\n\"runc\" = [\"{}\"]\n", program.display())
        );
        let output = Command::new("/bin/sh").arg(program).args(arguments).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let said = said.replace(&directory.path().display().to_string(), "WORK");
        output.status.success().then_some(said)
    }

    #[test]
    fn a_dump_is_ckpt_s_own_and_all_else_the_runtime_s() {
        let said = |arguments: &[&str]| {
            let mut inner = Command::new("/bin/sh");
            inner.args(["-c", "echo \"dump $CRIU_CONFIG_FILE $1\"", "sh", "it's $HOME"]);
            said(Task::Dump(inner), "false", arguments).unwrap()
        };
        let dump = ["--ckpt-stand-in", "checkpoint", "--image-path", "/elsewhere", "id"];
        assert_eq!(said(&dump), "dump /run/a b/options it's $HOME\n");
        let other = ["--ckpt-stand-in", "--root", "a  b", "delete", "--force", "id"];
        assert_eq!(said(&other), "--root a  b delete --force id\n");
        assert_eq!(said(&["checkpoint", "--help"]), "checkpoint --help\n");
    }

    #[test]
    fn a_restore_is_asked_for_and_takes_ckpt_s_images() {
        let said = |question: &str, arguments: &[&str]| {
            let task = Task::Restore {
                images: "/im ages".into(),
                extras: vec!["--ext-unix-sk".into()],
            };
            said(task, question, arguments)
        };
        let restore = [
            "--ckpt-stand-in",
            "--log",
            "l",
            "restore",
            "--bundle",
            "/b",
            "--image-path",
            "/old",
            "--work-path",
            "/w",
            "id",
        ];
        let want =
            "pre-restore /b\n--log l restore --ext-unix-sk --bundle /b --image-path /im ages --work-path WORK id\n";
        let question = "sh -c 'echo $CRTOOLS_SCRIPT_ACTION $CRTOOLS_INIT_PID'";
        assert_eq!(said(question, &restore).as_deref(), Some(want));
        assert_eq!(said("false", &restore), None);
        assert_eq!(
            said("false", &["--ckpt-stand-in", "kill", "id"]).as_deref(),
            Some("kill id\n")
        );
    }
}
