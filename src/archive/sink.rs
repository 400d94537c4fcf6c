//! Where an archive is written to: a file that appears whole or not at all, or a pipe.
//!
//! Invariants: until [`Sink::commit`] has synchronised the file and renamed it into place, an older file of that name is
//! untouched; dropping a sink leaves nothing behind. Only `commit` makes a [`Durable`].

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::digest::Digest;
use super::error::Error;
use super::writer::Summary;

/// Only root reads a container's memory.
const MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Bytes after which the kernel is asked to begin writing them to disk: much at once, and little left for the end, when the
/// container stands still until all of it is there.
const WRITE_BACK: u64 = 8 << 20;

/// Proof that an archive is complete and, where it is a file, on disk under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Durable {
    identity: Digest,
    path: Option<PathBuf>,
    bytes: u64,
}

impl Durable {
    /// SHA-256 of the archive's `SHA256SUMS`.
    pub fn identity(&self) -> Digest {
        self.identity
    }

    /// Where it is; `None` for a pipe.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// See the module.
#[derive(Debug)]
pub struct Sink {
    file: File,
    target: Option<Target>,
    /// Bytes written, and how many of them the kernel was asked to write to disk.
    written: u64,
    begun: u64,
}

impl Sink {
    fn new(file: File, target: Option<Target>) -> Self {
        Self {
            file,
            target,
            written: 0,
            begun: 0,
        }
    }

    /// A sink that becomes the file `path` when it is committed. Where `path` is a FIFO or a device, it is written to.
    ///
    /// # Errors
    /// [`Error::IsDirectory`]; [`Error::File`] where the directory is missing or cannot be written.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let kind = match rustix::fs::stat(path) {
            Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(failed("look at it", path, errno)),
        };
        match kind {
            None | Some(FileType::RegularFile) => Self::create_file(path),
            Some(FileType::Directory) => Err(Error::IsDirectory { path: path.to_owned() }),
            Some(_) => {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
                let file =
                    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed("open it", path, errno))?;
                Ok(Self::new(file.into(), None))
            }
        }
    }

    fn create_file(path: &Path) -> Result<Self, Error> {
        // Where the name is a link to an archive, that archive is replaced, not the link.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            return Err(failed("create it", &path, Errno::NOENT));
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent, flags, Mode::empty())
            .map_err(|errno| failed("open the directory", parent, errno))?;
        let (file, temporary) = create_in(&directory).map_err(|errno| failed("create a file in it", parent, errno))?;
        let target = Target {
            directory,
            path,
            name,
            temporary,
        };
        Ok(Self::new(file.into(), Some(target)))
    }

    /// A sink that writes to standard output.
    ///
    /// # Errors
    /// [`Error::File`] where it is closed.
    pub fn stdout() -> Result<Self, Error> {
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        let failed = |source| Error::File {
            operation: "write to it",
            path: "standard output".into(),
            source,
        };
        Ok(Self::new(stdout.map_err(failed)?.into(), None))
    }

    /// A sink that writes to an open pipe or socket.
    #[must_use]
    pub fn pipe(pipe: OwnedFd) -> Self {
        Self::new(pipe.into(), None)
    }

    /// Another handle of the file, to write at an offset; `None` where it is a pipe or a device.
    ///
    /// # Errors
    /// [`Error::Write`] where there are too many open files.
    pub fn file(&self) -> Result<Option<File>, Error> {
        let file = self.target.as_ref().map(|_| self.file.try_clone());
        file.transpose().map_err(|source| Error::Write { source })
    }

    /// Puts the archive into place: from here on it survives a loss of power.
    ///
    /// # Errors
    /// [`Error::File`]; the older file of that name is untouched then, unless only the last step, synchronising the
    /// directory, failed.
    pub fn commit(mut self, summary: &Summary) -> Result<Durable, Error> {
        let path = match self.target.take() {
            None => {
                self.file.flush().map_err(|source| Error::Write { source })?;
                None
            }
            Some(target) => Some(target.commit(&self.file)?),
        };
        Ok(Durable {
            identity: summary.identity,
            path,
            bytes: summary.stored_bytes,
        })
    }
}

impl Sink {
    /// Puts a file into place that is no archive of this format; `None` for a pipe.
    ///
    /// # Errors
    /// As [`Sink::commit`].
    pub fn commit_plain(mut self) -> Result<Option<PathBuf>, Error> {
        match self.target.take() {
            None => self
                .file
                .flush()
                .map(|()| None)
                .map_err(|source| Error::Write { source }),
            Some(target) => target.commit(&self.file).map(Some),
        }
    }

    /// Has what was written go to disk while the next part is being made.
    fn write_back(&mut self) {
        let due = self.written - self.begun;
        if self.target.is_some() && due >= WRITE_BACK {
            crate::sys::writeback::start(&self.file, self.begun, due);
            self.begun = self.written;
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        self.write_back();
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The name that a file is to have.
#[derive(Debug)]
struct Target {
    directory: OwnedFd,
    path: PathBuf,
    name: OsString,
    /// The name that it has before, where the file system has no unnamed files.
    temporary: Option<OsString>,
}

impl Target {
    fn commit(mut self, file: &File) -> Result<PathBuf, Error> {
        let path = self.path.clone();
        let failed = |operation| {
            let path = path.clone();
            move |errno| failed(operation, &path, errno)
        };
        rustix::fs::fsync(file).map_err(failed("synchronise it"))?;
        if self.temporary.is_none() {
            // A link cannot replace a file, a rename can. From here to the rename there is a hidden name to take away.
            self.temporary = Some(link(file, &self.directory).map_err(failed("link it"))?);
        }
        if let Some(temporary) = &self.temporary {
            rustix::fs::renameat(&self.directory, temporary, &self.directory, &self.name)
                .map_err(failed("rename it into place"))?;
            self.temporary = None;
        }
        rustix::fs::fsync(&self.directory).map_err(failed("synchronise its directory"))?;
        Ok(path)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let _ = rustix::fs::unlinkat(&self.directory, temporary, AtFlags::empty());
        }
    }
}

/// An unnamed file in a directory, or one of a hidden name.
fn create_in(directory: &OwnedFd) -> Result<(OwnedFd, Option<OsString>), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, ".", flags | OFlags::TMPFILE, MODE) {
        Ok(file) => Ok((file, None)),
        // What file systems and kernels say that have no O_TMPFILE.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL | Errno::NOSYS) => {
            let named = |name: &OsStr| {
                rustix::fs::openat(
                    directory,
                    name,
                    flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW,
                    MODE,
                )
            };
            hidden(named).map(|(file, name)| (file, Some(name)))
        }
        Err(errno) => Err(errno),
    }
}

/// Gives an unnamed file a hidden name.
fn link(file: &File, directory: &OwnedFd) -> Result<OsString, Errno> {
    let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
    let by_proc = |name: &OsStr| rustix::fs::linkat(CWD, itself.as_str(), directory, name, AtFlags::SYMLINK_FOLLOW);
    let named = |name: &OsStr| match by_proc(name) {
        // Without /proc, a privileged process can name the descriptor itself.
        Err(Errno::NOENT) => rustix::fs::linkat(file, "", directory, name, AtFlags::EMPTY_PATH),
        result => result,
    };
    hidden(named).map(|((), name)| name)
}

/// Calls `make` with hidden names until one is not taken.
fn hidden<T>(make: impl Fn(&OsStr) -> Result<T, Errno>) -> Result<(T, OsString), Errno> {
    /// Attempts: names are of the process and a counter, so that only leftovers of a killed process collide.
    const ATTEMPTS: u32 = 1000;
    let process = std::process::id();
    for attempt in 0..ATTEMPTS {
        let name = OsString::from(format!(".ckpt-{process}-{attempt}.tmp"));
        match make(&name) {
            Err(Errno::EXIST) => {}
            result => return result.map(|made| (made, name)),
        }
    }
    Err(Errno::EXIST)
}

fn failed(operation: &'static str, path: &Path, errno: Errno) -> Error {
    let shown = if path.as_os_str().as_bytes().is_empty() {
        Path::new("\"\"")
    } else {
        path
    };
    Error::File {
        operation,
        path: shown.to_owned(),
        source: errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const SUMMARY: Summary = Summary {
        identity: Digest::ZERO,
        entries: 1,
        content_bytes: 1,
        stored_bytes: 3,
    };

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .expect("directory")
            .map(|entry| entry.expect("entry").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_when_it_is_committed() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("a.ckpt");
        std::fs::write(&path, "older").expect("older");
        let mut sink = Sink::create(&path).expect("sink");
        sink.write_all(b"new").expect("written");
        assert_eq!(std::fs::read(&path).expect("file"), b"older");
        let durable = sink.commit(&SUMMARY).expect("committed");
        assert_eq!(
            (durable.path(), durable.bytes()),
            (Some(std::fs::canonicalize(&path).expect("path").as_path()), 3)
        );
        assert_eq!(std::fs::read(&path).expect("file"), b"new");
        assert_eq!(
            std::fs::metadata(&path).expect("file").permissions().mode() & 0o7777,
            0o600
        );
        assert_eq!(names(directory.path()), ["a.ckpt"]);
    }

    #[test]
    fn what_goes_to_disk_early_is_all_there() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("a.ckpt");
        let piece: Vec<u8> = (0..WRITE_BACK / 3 + 1).map(|at| (at % 251) as u8).collect();
        let mut sink = Sink::create(&path).expect("sink");
        (0..10).for_each(|_| sink.write_all(&piece).expect("written"));
        assert!(sink.begun > 2 * WRITE_BACK && sink.written - sink.begun < WRITE_BACK);
        let _ = sink.commit(&SUMMARY).expect("committed");
        assert!(std::fs::read(&path).expect("file") == piece.repeat(10));
    }

    #[test]
    fn a_file_without_unnamed_files_too() {
        let directory = tempfile::tempdir().expect("directory");
        let open =
            || rustix::fs::open(directory.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("open");
        let make = || {
            let name: OsString = ".ckpt-named.tmp".into();
            let file = File::create(directory.path().join(&name)).expect("file");
            let path = directory.path().join("a.ckpt");
            (
                file,
                Target {
                    directory: open(),
                    path,
                    name: "a.ckpt".into(),
                    temporary: Some(name),
                },
            )
        };
        drop(make());
        assert!(names(directory.path()).is_empty(), "dropped: nothing is left");
        let (file, target) = make();
        target.commit(&file).expect("committed");
        assert_eq!(names(directory.path()), ["a.ckpt"]);
    }

    #[test]
    fn a_dropped_sink_leaves_the_older_file() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("a.ckpt");
        std::fs::write(&path, "older").expect("older");
        let mut sink = Sink::create(&path).expect("sink");
        sink.write_all(b"new").expect("written");
        drop(sink);
        assert_eq!(std::fs::read(&path).expect("file"), b"older");
        assert_eq!(names(directory.path()), ["a.ckpt"]);
    }

    #[test]
    fn a_link_is_followed() {
        let directory = tempfile::tempdir().expect("directory");
        let (path, link) = (directory.path().join("a.ckpt"), directory.path().join("latest"));
        std::fs::write(&path, "older").expect("older");
        std::os::unix::fs::symlink("a.ckpt", &link).expect("link");
        let sink = Sink::create(&link).expect("sink");
        let _ = sink.commit(&SUMMARY).expect("committed");
        assert_eq!(std::fs::read(&path).expect("file"), b"");
        assert!(std::fs::symlink_metadata(&link).expect("link").is_symlink());
    }

    #[test]
    fn what_cannot_be_a_target_is_refused_at_once() {
        let directory = tempfile::tempdir().expect("directory");
        let error = Sink::create(directory.path()).expect_err("a directory");
        assert!(matches!(error, Error::IsDirectory { .. }), "{error}");
        for path in ["missing/a.ckpt", "", "/proc/a.ckpt"] {
            let path = if path.is_empty() || path.starts_with('/') {
                path.into()
            } else {
                directory.path().join(path)
            };
            let error = Sink::create(&path).expect_err("no directory to write to");
            assert!(matches!(error, Error::File { .. }), "{error}");
        }
    }

    #[test]
    fn a_device_is_written_to() {
        let mut sink = Sink::create(Path::new("/dev/null")).expect("sink");
        sink.write_all(b"gone").expect("written");
        assert_eq!(sink.commit(&SUMMARY).expect("flushed").path(), None);
        let mut full = Sink::create(Path::new("/dev/full")).expect("sink");
        assert_eq!(
            full.write_all(b"x").expect_err("full").kind(),
            io::ErrorKind::StorageFull
        );
    }
}
