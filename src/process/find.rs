//! The process that is to be exported: by its number, or as the main process of a systemd unit.
//!
//! systemd is asked where it runs. Elsewhere, as in a container without it, a unit is what is in a cgroup of its name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::proc::{self, Process};
use super::{Error, outside};
use crate::mounts::MountTable;
use crate::sys::programs;

/// How deep below the root of a hierarchy a unit's cgroup is looked for: slices nest, as in
/// `/system.slice/system-getty.slice/getty@tty1.service`.
const DEPTH: usize = 6;

/// What systemd is asked with.
const SYSTEMCTL: &str = "systemctl";

/// The root of a tree that is to be exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Its number.
    pub pid: i32,
    /// What the archive calls it.
    pub name: String,
    /// The unit of systemd that it is the main process of.
    pub unit: Option<String>,
}

/// The process with this number.
///
/// # Errors
/// [`Error::NoProcess`].
pub fn by_pid(pid: i32) -> Result<Root, Error> {
    let process = Process::of(pid).map_err(|_| Error::NoProcess { pid })?;
    let unit = outside::unit_of(pid).filter(|unit| main_process(unit) == Some(pid));
    Ok(Root {
        pid,
        name: container_name(&format!("{}-{pid}", process.name)),
        unit,
    })
}

/// The main process of a unit.
///
/// # Errors
/// [`Error::NoUnit`] where it has none, [`Error::SeveralRoots`] where there is no telling which.
pub fn by_unit(unit: &str) -> Result<Root, Error> {
    let name = container_name(unit);
    if let Some(pid) = main_process(unit) {
        let unit = Some(unit.to_owned());
        return Ok(Root { pid, name, unit });
    }
    let pids = in_cgroup(unit)?;
    let table = proc::all()?;
    let members: Vec<&Process> = pids.iter().filter_map(|pid| table.get(pid)).collect();
    let roots: Vec<&&Process> = members.iter().filter(|process| !pids.contains(&process.ppid)).collect();
    match roots[..] {
        [] => Err(Error::NoUnit {
            unit: unit.to_owned(),
            why: "its cgroup is empty",
        }),
        [root] => Ok(Root {
            pid: root.pid,
            name,
            unit: None,
        }),
        _ => Err(Error::SeveralRoots {
            unit: unit.to_owned(),
            roots: roots.iter().map(|process| process.label()).collect(),
        }),
    }
}

/// The main process of a unit, as systemd says; `None` where it does not run, or knows no such process.
fn main_process(unit: &str) -> Option<i32> {
    let output = Command::new(programs::find(SYSTEMCTL)?)
        .args(["show", "--property=MainPID", "--"])
        .arg(unit)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(properties: &str) -> Option<i32> {
    let mut lines = properties.lines();
    let pid: i32 = lines.find_map(|line| line.strip_prefix("MainPID="))?.parse().ok()?;
    (pid > 0).then_some(pid)
}

/// Tells systemd that a unit is to end, without waiting for that: systemd then neither starts it anew when its processes are
/// gone nor takes their end for a failure to be answered.
///
/// # Errors
/// [`Error::Stop`] where systemd does not take it.
pub fn stop(unit: &str) -> Result<(), Error> {
    let mut command = Command::new(SYSTEMCTL);
    command
        .args(["stop", "--no-block", "--"])
        .arg(unit)
        .stdin(Stdio::null());
    let said = match command.output() {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    let unit = unit.to_owned();
    Err(Error::Stop { unit, said })
}

/// The processes in the cgroup of a unit, and in those below it.
fn in_cgroup(unit: &str) -> Result<Vec<i32>, Error> {
    let fault = |why| Error::NoUnit {
        unit: unit.to_owned(),
        why,
    };
    let table = MountTable::of_self().map_err(|_| fault("cgroups are not mounted here"))?;
    let mounts = table
        .iter()
        .filter(|mount| matches!(mount.fs_type.to_str(), Some("cgroup" | "cgroup2")));
    let groups: Vec<PathBuf> = mounts
        .filter_map(|mount| search(&mount.mount_point, unit, DEPTH))
        .collect();
    let mut pids: Vec<i32> = groups.iter().flat_map(|group| processes_below(group)).collect();
    pids.sort_unstable();
    pids.dedup();
    if groups.is_empty() {
        return Err(fault(
            "systemd does not know it or does not run here, and no cgroup has its name",
        ));
    }
    Ok(pids)
}

fn directories(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

fn search(directory: &Path, name: &str, depth: usize) -> Option<PathBuf> {
    if depth == 0 {
        return None;
    }
    directories(directory).find_map(|path| {
        if path.file_name().is_some_and(|file| file == name) {
            Some(path)
        } else {
            search(&path, name, depth - 1)
        }
    })
}

fn processes_below(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let own = text.lines().filter_map(|line| line.trim().parse().ok());
    own.chain(directories(group).flat_map(|path| processes_below(&path)))
        .collect()
}

/// A name as archives and runtimes take it.
fn container_name(text: &str) -> String {
    let legal = |letter: char| letter.is_ascii_alphanumeric() || "_+-.".contains(letter);
    let name: String = text
        .chars()
        .map(|letter| if legal(letter) { letter } else { '-' })
        .collect();
    let name = name.trim_start_matches(['-', '.']);
    if name.is_empty() {
        "process".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_containers() {
        for (text, name) in [
            ("nginx.service", "nginx.service"),
            ("getty@tty1.service", "getty-tty1.service"),
            ("(sd-pam)-7", "sd-pam--7"),
            ("..", "process"),
        ] {
            assert_eq!(container_name(text), name);
        }
    }

    #[test]
    fn what_systemd_says() {
        assert_eq!(parse("MainPID=0\n"), None);
        assert_eq!(parse("MainPID=12\n"), Some(12));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_unit_is_found_by_its_cgroup_s_name() {
        let base = tempfile::tempdir().unwrap();
        let group = base.path().join("system.slice/x.service");
        fs::create_dir_all(group.join("inner")).unwrap();
        fs::write(group.join("cgroup.procs"), "7\n").unwrap();
        fs::write(group.join("inner/cgroup.procs"), "9\n").unwrap();
        assert_eq!(
            search(base.path(), "x.service", DEPTH).as_deref(),
            Some(group.as_path())
        );
        assert_eq!(search(base.path(), "y.service", DEPTH), None);
        assert_eq!(processes_below(&group), [7, 9]);
    }

    #[test]
    fn this_process_is_found_and_no_other() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(by_pid(own).unwrap().name.ends_with(&format!("-{own}")));
        assert!(matches!(by_pid(i32::MAX), Err(Error::NoProcess { .. })));
        assert!(matches!(
            by_unit("no-such-unit-anywhere.service"),
            Err(Error::NoUnit { .. })
        ));
    }
}
