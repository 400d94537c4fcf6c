//! PID namespaces: a new one with its own /proc, that of another process, and what its processes are called here.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::WaitOptions;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// Children of this thread from now on are in a new PID namespace, the first one as its first process.
///
/// # Errors
/// Without CAP_SYS_ADMIN.
pub fn unshare() -> io::Result<()> {
    unshare_flags(UnshareFlags::NEWPID)
}

/// A mount namespace of its own for this process, with a /proc of its PID namespace. Mounts of the host still arrive in it; none
/// of its own leaves it.
///
/// # Errors
/// Without CAP_SYS_ADMIN.
pub fn mount_own_proc() -> io::Result<()> {
    unshare_flags(UnshareFlags::NEWNS)?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None)?;
    Ok(())
}

#[expect(unsafe_code, reason = "unshare can part a thread from the process's descriptors")]
fn unshare_flags(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: the descriptor table stays shared, as CLONE_FILES is not among the flags.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(Into::into)
}

/// Enters the mount and network namespace of `pid`, and has children enter its PID namespace, where those are not this process's
/// own.
/// Returns the number of the process in its own namespace.
///
/// # Errors
/// Where there is no such process, or without CAP_SYS_ADMIN. This process must have one thread.
pub fn enter_of(pid: i32) -> io::Result<i32> {
    let inner = inner_pid(pid)?;
    for (name, kind) in [
        ("pid", LinkNameSpaceType::ProcessID),
        ("net", LinkNameSpaceType::Network),
        ("mnt", LinkNameSpaceType::Mount),
    ] {
        if !shares(pid, name)? {
            let namespace = File::open(format!("/proc/{pid}/ns/{name}"))?;
            move_into_link_name_space(namespace.as_fd(), Some(kind))?;
        }
    }
    Ok(inner)
}

/// Whether a process shares the namespace `name` (`pid`, `mnt`, `net`, …) with this one.
///
/// # Errors
/// Where there is no such process.
pub fn shares(pid: i32, name: &str) -> io::Result<bool> {
    Ok(fs::read_link(format!("/proc/{pid}/ns/{name}"))? == fs::read_link(format!("/proc/self/ns/{name}"))?)
}

/// The number of a process in its own PID namespace.
///
/// # Errors
/// Where there is no such process.
pub fn inner_pid(pid: i32) -> io::Result<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    innermost(&status).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The number that this host gives the process which calls itself `inner` in the PID namespace of `neighbour`; `None` where
/// there is none.
#[must_use]
pub fn outer_pid(neighbour: i32, inner: i32) -> Option<i32> {
    let namespace = fs::read_link(format!("/proc/{neighbour}/ns/pid")).ok()?;
    if fs::read_link("/proc/self/ns/pid").ok()? == namespace {
        return Some(inner);
    }
    all().find(|pid| {
        fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|of| of == namespace)
            && inner_pid(*pid).is_ok_and(|number| number == inner)
    })
}

/// A process whose root directory is `directory`; `None` where there is none.
#[must_use]
pub fn rooted_in(directory: &Path) -> Option<i32> {
    let wanted = fs::metadata(directory).ok()?;
    all().find(|pid| {
        fs::metadata(format!("/proc/{pid}/root"))
            .is_ok_and(|root| (root.dev(), root.ino()) == (wanted.dev(), wanted.ino()))
    })
}

/// Every process that this one sees.
fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The last number of the line `NSpid:`, which has one for each level.
fn innermost(status: &str) -> Option<i32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().last()?.parse().ok()
}

/// Leaves the caller's session, working directory and standard streams.
///
/// # Errors
/// Where /dev/null cannot be opened.
pub fn detach() -> io::Result<()> {
    // It leads a process group where it was started in one of its own; then it stays there, with nobody else.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/")?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// Waits for the end of children; true when there are none and no other process is in the namespace.
#[must_use]
pub fn reap() -> bool {
    loop {
        if let Err(Errno::CHILD) = rustix::process::wait(WaitOptions::empty()) {
            return alone(Path::new("/proc"));
        }
    }
}

fn alone(proc: &Path) -> bool {
    let Ok(entries) = fs::read_dir(proc) else { return true };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().all(|pid| pid == std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_number_is_the_last() {
        assert_eq!(innermost("Name:\tx\nNSpid:\t4411\t7\nNSpgid:\t9\n"), Some(7));
        assert_eq!(innermost("NSpid:\t12\n"), Some(12));
        assert_eq!(innermost("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_is_itself() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(shares(own, "pid").unwrap());
        assert_eq!(outer_pid(own, 17), Some(17));
        assert_eq!(inner_pid(own).unwrap(), own);
        assert!(!alone(Path::new("/proc")));
        assert_eq!(inner_pid(i32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
