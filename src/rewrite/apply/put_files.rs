//! Files of the archive onto this host, each at the path that its processes have it open at.
//!
//! Nothing is overwritten: a file is put where nothing is, or where the plan, by the importer's word, says that what is there goes
//! aside; the kernel's own rename decides, not a look before it. What went aside comes back when the import fails.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, Timespec, Timestamps, renameat_with};
use rustix::io::Errno;

use super::Fault;
use super::undo::{Made, Undo};

/// What is added to the name of a file that went aside.
const ASIDE: &str = ".ckpt-replaced";

/// Puts the files below `staging`, a root directory, to the same paths of this host.
pub(super) fn put(staging: &Path, files: &[PathBuf], undo: &mut Undo<'_>) -> Result<(), Fault> {
    for path in files {
        let staged = below(staging, path);
        make_directories(staging, path, undo)?;
        if path.symlink_metadata().is_ok() {
            let aside = aside(path);
            renameat_with(CWD, path, CWD, &aside, RenameFlags::NOREPLACE).map_err(Fault::io("set aside", path))?;
            undo.note(Made::Aside {
                path: path.clone(),
                aside,
            });
        }
        place(&staged, path).map_err(Fault::std("put the archive's file at", path))?;
        undo.note(Made::File(path.clone()));
    }
    Ok(())
}

fn below(staging: &Path, path: &Path) -> PathBuf {
    staging.join(path.strip_prefix("/").unwrap_or(path))
}

fn aside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(ASIDE);
    path.with_file_name(name)
}

/// Makes the directories above `path` that are missing, as the archive has them.
fn make_directories(staging: &Path, path: &Path, undo: &mut Undo<'_>) -> Result<(), Fault> {
    let missing: Vec<&Path> = path.ancestors().skip(1).take_while(|above| !above.exists()).collect();
    for directory in missing.into_iter().rev() {
        fs::create_dir(directory).map_err(Fault::std("make the directory", directory))?;
        undo.note(Made::Parent(directory.to_owned()));
        attributes(&below(staging, directory), directory).map_err(Fault::std("set the attributes of", directory))?;
    }
    Ok(())
}

/// Moves a file; copies it where that is on another file system.
fn place(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::XDEV) => {}
        moved => return Ok(moved?),
    }
    let directory = to.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let copy = tempfile::Builder::new().prefix(".ckpt-").tempfile_in(directory)?;
    fs::copy(from, copy.path())?;
    attributes(from, copy.path())?;
    copy.persist_noclobber(to).map_err(|error| error.error)?;
    Ok(())
}

/// Owner, mode and time; the owner first, which clears bits of the mode.
fn attributes(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::metadata(from)?;
    std::os::unix::fs::chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    fs::set_permissions(to, metadata.permissions())?;
    let time = Timespec {
        tv_sec: metadata.mtime(),
        tv_nsec: metadata.mtime_nsec(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::utimensat(CWD, to, &times, rustix::fs::AtFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;

    /// A staged file `d/new`, and a host directory where the test's paths are.
    fn staged(host: &Path, name: &str) -> (tempfile::TempDir, PathBuf) {
        let staging = tempfile::tempdir().unwrap();
        let path = host.join(name);
        let from = below(staging.path(), &path);
        fs::create_dir_all(from.parent().unwrap()).unwrap();
        fs::write(&from, "archived").unwrap();
        (staging, path)
    }

    #[test]
    fn a_missing_file_comes_with_its_directory_and_goes_with_a_failure() {
        let host = tempfile::tempdir().unwrap();
        let (staging, path) = staged(host.path(), "d/new");
        let mut undo = Undo::new(&Silent);
        put(staging.path(), std::slice::from_ref(&path), &mut undo).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "archived");
        assert!(undo.run().is_empty());
        assert!(!host.path().join("d").exists());
    }

    #[test]
    fn a_replaced_file_comes_back_with_a_failure_and_goes_with_success() {
        let host = tempfile::tempdir().unwrap();
        for succeeds in [false, true] {
            let (staging, path) = staged(host.path(), "old");
            fs::write(&path, "older").unwrap();
            let mut undo = Undo::new(&Silent);
            put(staging.path(), std::slice::from_ref(&path), &mut undo).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "archived");
            if succeeds {
                undo.disarm();
            } else {
                assert!(undo.run().is_empty());
            }
            let expected = if succeeds { "archived" } else { "older" };
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
            assert!(!aside(&path).exists());
        }
    }

    #[test]
    fn a_copy_keeps_owner_mode_and_time() {
        let host = tempfile::tempdir().unwrap();
        let (from, to) = (host.path().join("from"), host.path().join("to"));
        fs::write(&from, "x").unwrap();
        fs::set_permissions(&from, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        fs::write(&to, "x").unwrap();
        attributes(&from, &to).unwrap();
        let (from, to) = (fs::metadata(&from).unwrap(), fs::metadata(&to).unwrap());
        assert_eq!(
            (from.mode(), from.mtime(), from.mtime_nsec()),
            (to.mode(), to.mtime(), to.mtime_nsec())
        );
    }
}
