//! Network namespaces: a new one held by a bind mount, and the loopback interface in one.
//!
//! A thread that changes its network namespace is a thread of its own that ends afterwards, so no other code ever runs in
//! the wrong one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use super::rtnetlink::{Change, Netlink};

/// Index of the loopback interface: the kernel gives it to the first interface of every network namespace.
const LOOPBACK_INDEX: u32 = 1;

/// Makes a network namespace with its loopback interface up and binds it to the file at `pin`, which is there.
///
/// # Errors
/// When the namespace cannot be made (CAP_SYS_ADMIN), or not be bound.
pub fn create_pinned(pin: &Path) -> io::Result<()> {
    in_thread(|| {
        unshare_net()?;
        loopback_up()?;
        // The thread's own entry: /proc/self is the main thread's, which is in another namespace.
        rustix::mount::mount_bind("/proc/thread-self/ns/net", pin)?;
        Ok(())
    })
}

/// Brings the loopback interface up in a network namespace, given by an open `/proc/PID/ns/net` or a file bound to one.
/// The kernel then gives it its addresses.
///
/// # Errors
/// When the namespace cannot be entered (CAP_SYS_ADMIN) or the interface not be changed.
pub fn loopback_up_in(namespace: BorrowedFd<'_>) -> io::Result<()> {
    within(namespace, loopback_up)
}

/// Brings the loopback interface up in the network namespace of a process.
///
/// # Errors
/// As [`loopback_up_in`], and when there is no such process.
pub fn loopback_up_of(pid: i32) -> io::Result<()> {
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
    loopback_up_in(namespace.as_fd())
}

/// Does something, such as starting a program, in an open network namespace.
///
/// # Errors
/// As [`loopback_up_in`], and those of `work`.
pub fn within<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    in_thread(|| {
        rustix::thread::move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
        work()
    })
}

/// Moves the calling thread, and what it starts, into an open network namespace.
///
/// # Errors
/// Where it cannot be entered (CAP_SYS_ADMIN).
pub fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::thread::move_into_link_name_space(
        namespace,
        Some(LinkNameSpaceType::Network),
    )?)
}

/// Moves the calling thread, and what it starts, into a new network namespace with its loopback interface up.
///
/// # Errors
/// Where it cannot be made (CAP_SYS_ADMIN).
pub fn enter_new() -> io::Result<()> {
    unshare_net()?;
    loopback_up()
}

fn in_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, work)?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread in the network namespace panicked")))
    })
}

#[expect(unsafe_code, reason = "unshare can part a thread from the process's descriptors")]
fn unshare_net() -> io::Result<()> {
    // SAFETY: the descriptor table stays shared, as CLONE_FILES is not among the flags.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.map_err(Into::into)
}

/// Sets `IFF_UP` in the calling thread's namespace.
fn loopback_up() -> io::Result<()> {
    Netlink::open()?.change(LOOPBACK_INDEX, Change::Up(true))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// Connects to itself over the loopback interface.
    fn talk() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        TcpStream::connect(listener.local_addr()?).map(drop)
    }

    fn enter(namespace: &Path) -> io::Result<()> {
        let namespace = std::fs::File::open(namespace)?;
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(())
    }

    #[test]
    fn as_root_a_new_namespace_is_pinned_with_its_loopback_up() {
        crate::sys::testing::in_private_mounts(|| {
            let directory = tempfile::tempdir().unwrap();
            let pin = directory.path().join("netns");
            std::fs::write(&pin, "").unwrap();
            create_pinned(&pin).unwrap();
            let own = std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
            assert_ne!(std::fs::metadata(&pin).unwrap().ino(), own);
            in_thread(|| {
                enter(&pin)?;
                talk()
            })
            .unwrap();
            assert_eq!(
                std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino(),
                own,
                "the caller stays where it was"
            );
            rustix::mount::unmount(&pin, rustix::mount::UnmountFlags::empty()).unwrap();
        });
    }

    #[test]
    fn as_root_a_loopback_is_brought_up_once_and_again() {
        in_thread(|| {
            unshare_net()?;
            assert!(talk().is_err(), "a new namespace has its loopback down");
            let namespace = std::fs::File::open("/proc/thread-self/ns/net")?;
            loopback_up_in(namespace.as_fd())?;
            talk()?;
            loopback_up_in(namespace.as_fd())
        })
        .unwrap();
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert_eq!(loopback_up_of(i32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
