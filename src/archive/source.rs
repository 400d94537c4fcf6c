//! Where an archive is read from: a regular file, in which one can seek, or a pipe.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::error::Error;
use super::frames::Codec;

/// See the module.
#[derive(Debug)]
pub struct Source {
    file: File,
    /// What of a pipe was looked at and not read yet.
    ahead: io::Cursor<Vec<u8>>,
    path: PathBuf,
    length: Option<u64>,
}

impl Source {
    /// Opens a file, FIFO or device.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::IsDirectory`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed("open it", path, errno))?;
        Self::new(file, path)
    }

    /// Standard input. Where it is a regular file that nobody has read from, one can seek in it.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn stdin() -> Result<Self, Error> {
        let path = Path::new("standard input");
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        Self::new(
            stdin.map_err(|source| Error::File {
                operation: "read it",
                path: path.to_owned(),
                source,
            })?,
            path,
        )
    }

    /// An open file, pipe or socket; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::IsDirectory`].
    pub fn new(file: OwnedFd, path: &Path) -> Result<Self, Error> {
        let stat = rustix::fs::fstat(&file).map_err(|errno| failed("look at it", path, errno))?;
        let mut file = File::from(file);
        let length = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Err(Error::IsDirectory { path: path.to_owned() }),
            FileType::RegularFile if file.stream_position().is_ok_and(|position| position == 0) => {
                Some(stat.st_size.unsigned_abs())
            }
            _ => None,
        };
        Ok(Self {
            file,
            ahead: io::Cursor::default(),
            path: path.to_owned(),
            length,
        })
    }

    /// Length in bytes, where one can seek.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether one can seek in it.
    #[must_use]
    pub fn is_seekable(&self) -> bool {
        self.length.is_some()
    }

    /// Whether it can be read by frames, in any order: one can seek in it, and it is compressed.
    #[must_use]
    pub fn has_frames(&self) -> bool {
        let mut start = [0; 4];
        let read = std::os::unix::fs::FileExt::read_at(&self.file, &mut start, 0).unwrap_or(0);
        self.is_seekable() && Codec::detect(&start[..read]) != Codec::None
    }

    /// Its first bytes, at most `count`; what is read afterwards begins with them all the same. Only before anything is read.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn peek(&mut self, count: usize) -> Result<Vec<u8>, Error> {
        let failed = |source| Error::File {
            operation: "read it",
            path: self.path.clone(),
            source,
        };
        let mut start = Vec::new();
        if self.is_seekable() {
            let mut file = self.file()?;
            (&mut file).take(count as u64).read_to_end(&mut start).map_err(failed)?;
            // Both handles share one position.
            file.rewind().map_err(failed)?;
        } else {
            // What was looked at before is looked at again.
            let ahead = self.ahead.get_mut();
            let more = count.saturating_sub(ahead.len());
            (&mut self.file).take(more as u64).read_to_end(ahead).map_err(failed)?;
            start.extend_from_slice(&ahead[..ahead.len().min(count)]);
        }
        Ok(start)
    }

    /// Its name, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another handle on the same file, for access by offset.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn file(&self) -> Result<File, Error> {
        let failed = |source| Error::File {
            operation: "open it again",
            path: self.path.clone(),
            source,
        };
        self.file.try_clone().map_err(failed)
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.ahead.read(buffer)? {
            0 => self.file.read(buffer),
            count => Ok(count),
        }
    }
}

fn failed(operation: &'static str, path: &Path, errno: Errno) -> Error {
    Error::File {
        operation,
        path: path.to_owned(),
        source: errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_at_is_read_all_the_same() {
        use std::io::Write as _;
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("a");
        std::fs::write(&path, "abcdef").expect("written");
        let (pipe, mut writer) = io::pipe().expect("pipe");
        writer.write_all(b"abcdef").expect("written");
        drop(writer);
        for mut source in [
            Source::open(&path).expect("file"),
            Source::new(pipe.into(), &path).expect("pipe"),
        ] {
            for (count, want) in [(2, "ab"), (4, "abcd"), (2, "ab"), (100, "abcdef")] {
                assert_eq!(source.peek(count).expect("peeked"), want.as_bytes());
            }
            let mut text = String::new();
            source.read_to_string(&mut text).expect("read");
            assert_eq!(text, "abcdef");
        }
    }

    #[test]
    fn files_are_seekable_and_pipes_are_not() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("a");
        std::fs::write(&path, "abc").expect("written");
        let mut source = Source::open(&path).expect("file");
        assert_eq!((source.length(), source.is_seekable()), (Some(3), true));
        let mut text = String::new();
        source.read_to_string(&mut text).expect("read");
        assert_eq!(text, "abc");
        assert!(
            !Source::new(source.file().expect("handle").into(), &path)
                .expect("source")
                .is_seekable(),
            "was read from"
        );
        let (pipe, _writer) = io::pipe().expect("pipe");
        assert!(
            !Source::new(pipe.into(), Path::new("pipe"))
                .expect("source")
                .is_seekable()
        );
        assert!(matches!(Source::open(directory.path()), Err(Error::IsDirectory { .. })));
        assert!(matches!(
            Source::open(&directory.path().join("none")),
            Err(Error::File { .. })
        ));
    }
}
