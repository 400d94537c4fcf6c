//! Namespaces around CRIU: the network namespace to restore into, the PID namespace that a tree was restored into before, and
//! a new one.
//!
//! A new PID namespace needs a first process, which reaps what is orphaned in it and ends the namespace when it dies. That is a
//! second `ckpt criu-rpc`: it makes the mount namespace and its /proc, drives CRIU, tells its starter how that went, and stays
//! until no other process is left.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::order::{NetworkOf, Order};
use crate::criu::{Error, session};
use crate::sys::{netns, pidns};

/// What the first process says when the tree is restored.
const RESTORED: u8 = b'y';
/// The environment variable with the order for the first process.
pub const ORDER_VARIABLE: &str = "CKPT_CRIU_ORDER";
/// How often the first process looks whether it is alone, when it has no children. Who is there then was not born there: a
/// CRIU that dumps the tree from within.
const LOOK: Duration = Duration::from_millis(50);

/// Enters the network namespace that the tree is to be restored into. For the whole process: it has one thread.
pub(super) fn enter_network(network: &NetworkOf) -> Result<(), Error> {
    match network {
        NetworkOf::Host => Ok(()),
        NetworkOf::New => netns::enter_new().map_err(|error| Error::io("making", "a network namespace", error)),
        NetworkOf::Path(path) => File::open(path)
            .and_then(|namespace| netns::enter(namespace.as_fd()))
            .map_err(|error| Error::io("entering the network namespace", path, error)),
    }
}

/// Enters the PID, mount and network namespace of a process, where they are others: CRIU dumps a tree only from within its PID
/// namespace, and takes a network namespace for the host's, to be given again at the restore, that it is in itself. Returns the
/// number that the process has there.
pub(super) fn enter(pid: i32) -> Result<i32, Error> {
    pidns::enter_of(pid).map_err(|error| Error::io("entering the namespaces of process", pid.to_string(), error))
}

/// Restores in a new PID namespace, and returns when the tree runs there.
pub(super) fn restore(order: &Order) -> Result<(), Error> {
    let fault = |error| Error::io("making", "a PID namespace", error);
    pidns::unshare().map_err(fault)?;
    let mut command = Command::new(session::helper()?);
    // Not as an argument: it is seen in every list of processes as long as the tree lives.
    command
        .args(["criu-rpc", "--first"])
        .env(ORDER_VARIABLE, order.to_text()?);
    command.stdout(Stdio::piped());
    let mut child = command.spawn().map_err(fault)?;
    let mut said = [0];
    let told = child.stdout.take().map(|mut pipe| pipe.read_exact(&mut said));
    match told {
        Some(Ok(())) if said == [RESTORED] => Ok(()),
        _ => {
            let _ = child.wait();
            Err(Error::Rpc {
                operation: "waiting for",
                source: io::ErrorKind::UnexpectedEof.into(),
            })
        }
    }
}

/// The first process of a new PID namespace: restores, and stays.
///
/// # Errors
/// Where the restore fails; then nothing of it is left, as the kernel ends the namespace.
pub fn first_process(order: &Order) -> Result<(), Error> {
    let restored = pidns::mount_own_proc()
        .map_err(|error| Error::io("mounting", "/proc", error))
        .and_then(|()| order.converse());
    restored.inspect_err(|error| order.complain(error))?;
    let told = io::stdout()
        .write_all(&[RESTORED])
        .and_then(|()| io::stdout().flush())
        .and_then(|()| pidns::detach());
    told.map_err(|error| Error::io("leaving", "the session", error))?;
    while !pidns::reap() {
        std::thread::sleep(LOOK);
    }
    Ok(())
}
