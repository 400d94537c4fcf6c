//! `ckpt extract`: entries of an archive as files.
//!
//! Files appear under their names only after everything that was asked for is verified; until then they are in a
//! directory beside, which a failure takes away. Nothing is overwritten, and no link that is already in the target directory
//! is followed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::Outcome;
use super::archive::{Archive, Selection, no_entry};
use super::args::ExtractArgs;
use super::render::failure::Failure;
use super::render::{Stop, Ui, text};
use crate::error::ErrorKind;

/// Extracts entries.
pub fn run(args: ExtractArgs, ui: &Ui) -> Outcome {
    let archive = Archive::new(args.file, args.threads, "extract");
    let selection = Selection::new(&args.entries);
    let target = &args.directory;
    fs::create_dir_all(target).map_err(|error| failed(target, &error))?;
    let staging = staging(target)?;
    let mut names = Vec::new();
    let summary = archive.read(&|name| selection.has(name), &mut |name, _, content| {
        write(&archive, staging.path(), name, content)?;
        names.push(name.to_owned());
        Ok(())
    })?;
    if let Some(missing) = selection.missing(&summary.entries) {
        return Err(no_entry(&archive, missing));
    }
    publish(staging.path(), target, &names)?;
    if !ui.quiet() || ui.json() {
        ui.result(&names, |out| {
            names
                .iter()
                .try_for_each(|name| writeln!(out, "{}", text::visible(name)))
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A directory beside the files to be, which a failure takes away.
fn staging(target: &Path) -> Result<tempfile::TempDir, Stop> {
    let staging = tempfile::Builder::new().prefix(".ckpt-extract-").tempdir_in(target);
    staging.map_err(|error| failed(target, &error))
}

/// Writes one entry into the staging directory, which nobody else writes into.
fn write(archive: &Archive, staging: &Path, name: &str, content: &mut dyn Read) -> Result<(), Stop> {
    let path = staging.join(name);
    let make = || -> io::Result<File> {
        fs::create_dir_all(path.parent().unwrap_or(staging))?;
        File::create_new(&path)
    };
    let mut file = make().map_err(|error| failed(&path, &error))?;
    io::copy(content, &mut file).map_err(|error| archive.fail_io(error, &path))?;
    Ok(())
}

/// Moves the files to their names, or none of them where one name is taken already.
fn publish(staging: &Path, target: &Path, names: &[String]) -> Result<(), Stop> {
    let paths = names.iter().map(|name| target.join(name));
    if let Some(taken) = paths.clone().find(|path| path.symlink_metadata().is_ok()) {
        return Err(exists(&taken));
    }
    for (name, path) in names.iter().zip(paths) {
        move_one(staging, target, name).map_err(|errno| match errno {
            Errno::EXIST => exists(&path),
            errno => failed(&path, &errno.into()),
        })?;
    }
    Ok(())
}

/// An entry's name has one component or two; the directory of the second is opened without following a link.
fn move_one(staging: &Path, target: &Path, name: &str) -> Result<(), Errno> {
    let from = staging.join(name);
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
    let target = rustix::fs::open(target, flags, Mode::empty())?;
    let (directory, last): (OwnedFd, &str) = match name.rsplit_once('/') {
        None => (target, name),
        Some((parent, last)) => {
            match rustix::fs::mkdirat(&target, parent, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            (
                rustix::fs::openat(&target, parent, flags | OFlags::NOFOLLOW, Mode::empty())?,
                last,
            )
        }
    };
    match rustix::fs::renameat_with(CWD, &from, &directory, last, RenameFlags::NOREPLACE) {
        // NFS cannot; a second name that may not replace anything does the same there.
        Err(Errno::INVAL) => rustix::fs::linkat(CWD, &from, &directory, last, AtFlags::empty()),
        done => done,
    }
}

fn exists(path: &Path) -> Stop {
    let what = format!("cannot extract to {}: it is there already", path.display());
    let advice = "name another directory with -C: nothing is overwritten".to_owned();
    Failure::bare(what, ErrorKind::Other).advice(Some(advice)).into()
}

fn failed(path: &Path, error: &io::Error) -> Stop {
    Failure::new(
        format!("cannot write {}", PathBuf::from(path).display()),
        ErrorKind::Other,
        error,
    )
    .into()
}
