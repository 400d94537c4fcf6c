//! What podman starts in the place of the OCI runtime while a container is exported.
//!
//! podman finds the program of an OCI runtime in its configuration, of which one file may come from the environment. Where it
//! asks for a dump, the stand-in runs ckpt's own command with the session's CRIU options, which podman keeps from a runtime's
//! environment; all else goes to the real runtime.
//!
//! A podman that paid no heed to that file would dump with the real runtime, and no one would ask ckpt before the container
//! is killed. So it is told to give every runtime a flag that only the stand-in knows: a real one ends at once.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::criu::Error;

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
    /// What a dump is to be made with.
    pub(super) inner: Command,
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

    /// Writes the files; CRIU will read `options`.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn place(&self, options: &Path) -> Result<(), Error> {
        let program = self.directory.join("runtime");
        write(&program, &self.script(options))?;
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

    fn script(&self, options: &Path) -> Vec<u8> {
        let inner: Vec<Vec<u8>> = std::iter::once(self.inner.get_program())
            .chain(self.inner.get_args())
            .map(shell_word)
            .collect();
        [
            b"#!/bin/sh\nset -e\ndump=\nfor word do\n    shift\n    case $word in\n    --".as_slice(),
            FLAG.as_bytes(),
            b") continue ;;\n    --image-path) dump=1 ;;\n    esac\n    set -- \"$@\" \"$word\"\ndone\n",
            b"if [ \"$dump\" ]; then\n    CRIU_CONFIG_FILE=",
            &shell_word(options.as_os_str()),
            b"\n    export CRIU_CONFIG_FILE\n    exec ",
            &inner.join(&b' '),
            b"\nfi\nexec ",
            &shell_word(self.real.as_os_str()),
            b" \"$@\"\n",
        ]
        .concat()
    }
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

    fn said(arguments: &[&str]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let mut inner = Command::new("/bin/sh");
        inner.args(["-c", "echo \"dump $CRIU_CONFIG_FILE $1\"", "sh", "it's $HOME"]);
        let stand_in = StandIn {
            directory: directory.path().to_owned(),
            name: "runc".to_owned(),
            real: "/bin/echo".into(),
            inner,
        };
        stand_in.place(Path::new("/run/a b/options")).unwrap();
        let toml = fs::read_to_string(stand_in.configuration()).unwrap();
        let program = directory.path().join("runtime");
        assert_eq!(
            toml,
            format!("[engine.runtimes]\n\"runc\" = [\"{}\"]\n", program.display())
        );
        let output = Command::new("/bin/sh").arg(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_dump_is_ckpt_s_own_and_all_else_the_runtime_s() {
        let dump = ["--ckpt-stand-in", "checkpoint", "--image-path", "/elsewhere", "id"];
        assert_eq!(said(&dump), "dump /run/a b/options it's $HOME\n");
        let other = ["--ckpt-stand-in", "--root", "a  b", "delete", "--force", "id"];
        assert_eq!(said(&other), "--root a  b delete --force id\n");
        assert_eq!(said(&["checkpoint", "--help"]), "checkpoint --help\n");
    }
}
