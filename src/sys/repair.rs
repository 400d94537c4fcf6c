//! TCP sockets in repair mode, as a CRIU that was killed leaves them: they neither send nor answer.
//!
//! Nothing of a connection is changed in that mode unless somebody asks for it, and a dump only reads, so the connection
//! goes on from where it was once the mode is left.
#![expect(
    unsafe_code,
    reason = "the option has no safe wrapper, and the C library's call is declared here"
)]

use std::ffi::{c_int, c_void};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// `IPPROTO_TCP` of `netinet/in.h`.
const IPPROTO_TCP: c_int = 6;
/// `TCP_REPAIR` of `linux/tcp.h`.
const TCP_REPAIR: c_int = 19;
/// Length of an option's value.
const INT: u32 = size_of::<c_int>() as u32;

unsafe extern "C" {
    fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut u32) -> c_int;
    fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, length: u32) -> c_int;
}

/// Ends the repair mode of all TCP sockets of the process `pid`; returns how many were in it.
///
/// # Errors
/// Where the process is gone, or its descriptors cannot be had (CAP_SYS_PTRACE, CAP_NET_ADMIN).
pub fn end_repair(pid: i32) -> io::Result<usize> {
    let process = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
    let process = pidfd_open(process, PidfdFlags::empty()).map_err(|error| match error {
        Errno::SRCH => io::ErrorKind::NotFound.into(),
        error => io::Error::from(error),
    })?;
    let mut ended = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let is_socket = fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|_| is_socket) else {
            continue;
        };
        let socket = pidfd_getfd(&process, number, PidfdGetfdFlags::empty())?;
        if is_tcp(&socket) && repair(&socket)? {
            set_repair(&socket, false)?;
            ended += 1;
        }
    }
    Ok(ended)
}

fn is_tcp(socket: &OwnedFd) -> bool {
    matches!(socket_domain(socket), Ok(AddressFamily::INET | AddressFamily::INET6))
        && socket_type(socket) == Ok(SocketType::STREAM)
}

fn repair(socket: &OwnedFd) -> io::Result<bool> {
    let (mut value, mut length): (c_int, u32) = (0, INT);
    // SAFETY: the value and its length are local, and as long as the kernel is told.
    let result = unsafe {
        getsockopt(
            socket.as_raw_fd(),
            IPPROTO_TCP,
            TCP_REPAIR,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    match result {
        0 => Ok(value != 0),
        // Streams of other protocols.
        _ if io::Error::last_os_error().raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => Ok(false),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set_repair(socket: &OwnedFd, on: bool) -> io::Result<()> {
    let value = c_int::from(on);
    // SAFETY: the value is local, and as long as the kernel is told.
    let result = unsafe {
        setsockopt(
            socket.as_raw_fd(),
            IPPROTO_TCP,
            TCP_REPAIR,
            (&raw const value).cast(),
            INT,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::netns;
    use crate::sys::testing::in_private_network;

    #[test]
    fn as_root_a_connection_goes_on_after_its_repair() {
        in_private_network(|| {
            netns::loopback_up_in(fs::File::open("/proc/thread-self/ns/net").unwrap().as_fd()).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut there, _) = listener.accept().unwrap();
            let socket = OwnedFd::from(here.try_clone().unwrap());
            set_repair(&socket, true).unwrap();
            assert!(repair(&socket).unwrap());
            // The same socket through two descriptors is ended once.
            assert_eq!(end_repair(i32::try_from(std::process::id()).unwrap()).unwrap(), 1);
            assert!(!repair(&socket).unwrap());
            here.write_all(b"x").unwrap();
            let mut byte = [0];
            there.read_exact(&mut byte).unwrap();
            assert_eq!(&byte, b"x");
        });
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        for gone in [0, i32::MAX] {
            assert_eq!(end_repair(gone).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }
}
