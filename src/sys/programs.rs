//! Programs of the host.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

/// Where programs are looked for when PATH is not set, as in a bare service.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program `name`, looked up in PATH.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|file| {
            file.metadata()
                .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        })
}

/// Has a command start in a session of its own.
pub fn in_own_session(command: &mut Command) {
    let lead = || rustix::process::setsid().map(drop).map_err(io::Error::from);
    #[expect(unsafe_code, reason = "what runs between fork and exec has to be safe there")]
    // SAFETY: the closure makes one system call and takes no lock.
    unsafe {
        command.pre_exec(lead);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_its_own_is_led_by_the_command() {
        let mut command = Command::new("sh");
        command.args(["-c", "set -- $(cat /proc/$$/stat); [ $1 = $6 ]"]);
        in_own_session(&mut command);
        assert!(command.status().unwrap().success());
    }

    #[test]
    fn sh_is_found_and_nonsense_is_not() {
        assert!(find("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find("no-such-program-anywhere"), None);
    }
}
