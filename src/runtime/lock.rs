//! One ckpt at a time for a container: two dumps of the same processes would trip over each other's ptrace.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::Error;
use crate::request::RuntimeKind;

const BASE: &str = "/run/ckpt";

/// Held while ckpt works on a container; the kernel releases it with the process.
#[derive(Debug)]
pub struct ContainerLock {
    _file: File,
}

impl ContainerLock {
    /// Takes the lock for a container.
    ///
    /// # Errors
    /// [`Error::Busy`] where another ckpt holds it.
    pub fn take(kind: RuntimeKind, id: &str) -> Result<Self, Error> {
        Self::take_in(Path::new(BASE), kind, id)
    }

    fn take_in(base: &Path, kind: RuntimeKind, id: &str) -> Result<Self, Error> {
        let path = base.join(format!("lock-{}-{id}", kind.name()));
        let fault = |source: std::io::Error| Error::Lock {
            path: path.clone(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(base)
            .map_err(fault)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(fault)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = (&file).take(64).read_to_string(&mut holder);
                return Err(Error::Busy {
                    id: id.to_owned(),
                    holder: holder.trim().to_owned(),
                });
            }
            Err(error) => return Err(fault(error.into())),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(fault)?;
        writeln!(file, "process {}", std::process::id()).map_err(fault)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_names_the_holder_and_another_container_is_free() {
        let base = tempfile::tempdir().unwrap();
        let first = ContainerLock::take_in(base.path(), RuntimeKind::Runc, "c1").unwrap();
        let second = ContainerLock::take_in(base.path(), RuntimeKind::Runc, "c1").unwrap_err();
        assert!(second.to_string().contains(&std::process::id().to_string()), "{second}");
        ContainerLock::take_in(base.path(), RuntimeKind::Crun, "c1").unwrap();
        drop(first);
        ContainerLock::take_in(base.path(), RuntimeKind::Runc, "c1").unwrap();
    }
}
