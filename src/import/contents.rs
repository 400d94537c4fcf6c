//! The verified archive on the import's side: what the plan reads, and what its application takes from it.

use std::fs;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::archive::format::CHECKPOINT;
use crate::archive::{Entry, Later, Limits, ReaderOptions, Source, Staged, Treatment, Verified};
use crate::criu::{self, Hook, ImageNetns, WorkDir};
use crate::error::Error;
use crate::event::Events;
use crate::request::{ImagesIn, ImportRequest, Input};
use crate::rewrite::apply::ContentsError;
use crate::rewrite::{self, Step};

use super::adopt::adopt;
use super::small::Small;
use super::thin::Thinning;

/// Where memory images are put that are to be in memory: in a directory of ours in the first that is a tmpfs.
const MEMORY: [&str; 2] = ["/dev/shm", "/run"];
/// The name of that directory.
const MEMORY_DIRECTORY: &str = "ckpt-images";
/// Where CRIU looks for the images that an incremental dump's are incremental to.
const PARENT: &str = "parent";

/// A verified archive, with those that it is incremental to.
pub(super) struct Archive<'a> {
    staged: Staged<Verified>,
    /// The parents, nearest first.
    parents: Vec<Staged<Verified>>,
    pub(super) small: Small,
    threads: NonZeroUsize,
    pages: Option<PathBuf>,
    interrupted: Hook<'a>,
    // Dropped last: what is staged is in them.
    memory: Option<WorkDir>,
    work: Option<WorkDir>,
}

impl<'a> Archive<'a> {
    /// Receives and verifies the archive that the request names, and its parents.
    pub(super) fn receive(request: &ImportRequest, events: &dyn Events, interrupted: Hook<'a>) -> Result<Self, Error> {
        let work = work_directory(request)?;
        let staging = Staging {
            parent: work.path(),
            threads: request.threads,
            events,
        };
        let source = match &request.input {
            Input::File(path) => Source::open(path)?,
            Input::Stdin => Source::stdin()?,
        };
        let source = adopt(source, work.path(), request.threads, events, interrupted)?;
        let mut staged = staging.begin(source)?;
        let thinning = match &staged.manifest().parent {
            None if request.pages.is_none() && !request.no_restore => Thinning::of(staged.path()),
            _ => Thinning::default(),
        };
        let memory = memory(request, &staged)?;
        staging.go_on(&mut staged, &thinning, memory.as_ref().map(WorkDir::path))?;
        let parents = staging.parents(request, staged.manifest().parent.clone())?;
        let small = Small::read(staged.manifest().clone(), |name, limit| Ok(staged.read(name, limit)?))?;
        Ok(Self {
            staged,
            parents,
            small,
            threads: request.threads,
            pages: request.pages.clone(),
            interrupted,
            memory,
            work: Some(work),
        })
    }
}

impl Archive<'_> {
    /// Where the images are for which the plan has `directory`. All of them are in one directory: a task opens them when its
    /// root is the container's already, so that no link leads out of it.
    pub(super) fn images(&self, directory: &Path) -> PathBuf {
        match &self.memory {
            Some(memory) => memory.path().join(CHECKPOINT),
            None => directory.to_owned(),
        }
    }

    /// Removes what is staged: all of it is where it belongs. From here on a killed import leaves no copy behind, which only
    /// the next import beside it would sweep.
    pub(super) fn clear(&mut self) {
        self.work = None;
    }
}

/// Where the archive is staged: on the bundle's file system, so that the images get there by renaming.
fn work_directory(request: &ImportRequest) -> Result<WorkDir, Error> {
    Ok(match request.bundle.as_deref().and_then(Path::parent) {
        Some(beside) if beside.is_dir() => WorkDir::create_in(beside)?,
        _ => WorkDir::create()?,
    })
}

/// How archives are staged.
struct Staging<'a> {
    parent: &'a Path,
    threads: NonZeroUsize,
    events: &'a dyn Events,
}

impl Staging<'_> {
    /// Receives and verifies the archives that one is incremental to, nearest first; `wanted` is the identity of the nearest.
    fn parents(&self, request: &ImportRequest, mut wanted: Option<String>) -> Result<Vec<Staged<Verified>>, Error> {
        let mut parents = Vec::new();
        for path in request.parents.iter().rev() {
            let parent = self.stage(Source::open(path)?)?;
            if wanted != Some(parent.identity().to_string()) {
                return Err(Error::Parent {
                    path: path.clone(),
                    why: "its child was made from another archive",
                });
            }
            wanted = parent.manifest().parent.clone();
            parents.push(parent);
        }
        match wanted {
            Some(identity) => Err(Error::ParentMissing { identity }),
            None => Ok(parents),
        }
    }

    /// Receives and verifies an archive.
    fn stage(&self, source: Source) -> Result<Staged<Verified>, Error> {
        let mut staged = self.begin(source)?;
        self.go_on(&mut staged, &Thinning::default(), None)?;
        Ok(staged)
    }

    /// What is small, as that says where and how memory is staged. Of what cannot be read by frames, everything.
    fn begin(&self, source: Source) -> Result<Staged<Verified>, Error> {
        let free = crate::sys::space::free(self.parent).unwrap_or(u64::MAX);
        let options = ReaderOptions {
            threads: self.threads,
            limits: Limits {
                content: free,
                ..Limits::default()
            },
            ..ReaderOptions::default()
        };
        let treat = if source.has_frames() {
            Treatment::lazy
        } else {
            Treatment::eager
        };
        Ok(Staged::receive_as(source, self.parent, options, &treat, self.events)?.verify()?)
    }

    /// The rest, memory in `memory` if that is given.
    fn go_on(&self, staged: &mut Staged<Verified>, thinning: &Thinning, memory: Option<&Path>) -> Result<(), Error> {
        let rest = Later {
            treat: &Treatment::eager,
            optional: &|entry: &Entry| thinning.optional(entry),
            parent: memory,
            threads: self.threads,
        };
        let left_out = staged.stage(&rest, self.events)?;
        thinning
            .finish(&left_out)
            .map_err(|source| Error::io("writing the pagemaps in", staged.path(), source))
    }
}

/// Whether it is a directory that nobody but this user can have put anything into.
fn is_private(path: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0)
}

/// A place in memory for the memory images of an archive, if the request wants one.
fn memory(request: &ImportRequest, staged: &Staged<Verified>) -> Result<Option<WorkDir>, Error> {
    // An import that was killed may have left as much there as a container has memory.
    let ours = MEMORY.map(|base| Path::new(base).join(MEMORY_DIRECTORY));
    ours.iter()
        .filter(|path| is_private(path))
        .for_each(|path| WorkDir::clear(path));
    if request.images_in != ImagesIn::Memory {
        return Ok(None);
    }
    let refused = |why| Error::ImagesInMemory { why };
    if !matches!(request.input, Input::File(_)) || staged.archive().is_none() {
        return Err(refused("the archive comes through a pipe"));
    }
    if staged
        .manifest()
        .namespaces
        .iter()
        .any(|namespace| namespace.kind == "user")
    {
        return Err(refused(
            "tasks in a user namespace read their images themselves, from the bundle",
        ));
    }
    let pages: u64 = staged
        .entries()
        .iter()
        .filter(|entry| Treatment::is_memory(entry))
        .map(|entry| entry.size)
        .sum();
    let base = ours
        .iter()
        .find(|path| path.parent().is_some_and(crate::sys::space::is_tmpfs));
    let base = base.ok_or_else(|| refused("neither /dev/shm nor /run is a tmpfs"))?;
    // Others may write to /dev/shm, and have made it before.
    let _ = fs::DirBuilder::new().mode(0o700).create(base);
    if !is_private(base) {
        return Err(refused("the directory ckpt-images there is not ours alone"));
    }
    let free = crate::sys::space::free(base).unwrap_or(0);
    let available = crate::sys::space::memory().unwrap_or(0);
    // Once as images, once as memory of the container.
    if free < pages || available / 2 < pages {
        return Err(refused("there is not enough of it free"));
    }
    Ok(Some(WorkDir::create_in(base)?))
}

impl rewrite::Contents for Archive<'_> {
    fn open<'s>(&'s mut self, entry: &str) -> Result<Option<Box<dyn Read + 's>>, ContentsError> {
        let opened = self.staged.open(entry, self.threads)?;
        Ok(opened.map(|content| Box::new(content) as Box<dyn Read>))
    }

    fn place_images(&mut self, directory: &Path) -> Result<(), ContentsError> {
        let mut below = self.images(directory);
        if below != directory {
            fs::create_dir(&below)?;
        }
        place(&self.staged, &below)?;
        if let Some(pages) = &self.pages {
            copy_pages(pages, &below)?;
        }
        for parent in &self.parents {
            below.push(PARENT);
            fs::create_dir(&below)?;
            place(parent, &below)?;
        }
        Ok(())
    }

    fn make_netns_external(&mut self, directory: &Path) -> Result<(), ContentsError> {
        Ok(criu::set_image_netns(&self.images(directory), ImageNetns::External)?)
    }

    fn proceed(&mut self, _: &Step) -> Result<(), ContentsError> {
        if (self.interrupted)() {
            Err(criu::Error::Interrupted.into())
        } else {
            Ok(())
        }
    }
}

/// Copies what a page server received: the pages, and the pagemaps that say where they belong.
fn copy_pages(from: &Path, directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let image = name.to_string_lossy();
        if entry.file_type()?.is_file() && (image.starts_with("pages-") || image.starts_with("pagemap-")) {
            fs::copy(entry.path(), directory.join(&name))?;
        }
    }
    Ok(())
}

/// Moves the staged images into `directory`; copies them where that is on another file system.
fn place(staged: &Staged<Verified>, directory: &Path) -> io::Result<()> {
    let from = [Some(staged.path()), staged.elsewhere()];
    let from = from.into_iter().flatten().map(|path| path.join(CHECKPOINT));
    for from in from.filter(|from| from.exists()) {
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let to = directory.join(entry.file_name());
            match fs::rename(entry.path(), &to) {
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => _ = fs::copy(entry.path(), &to)?,
                other => other?,
            }
        }
    }
    Ok(())
}

/// Removes the memory images in `directory` and in those that they were incremental to: the container has its memory back, and
/// what of them is not on disk yet need not get there.
pub(super) fn discard_memory(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() && name == PARENT {
            discard_memory(&entry.path())?;
        } else if name.starts_with("pages-") && !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn only_a_directory_of_this_user_alone_is_private() {
        let base = tempfile::tempdir().unwrap();
        let path = |name: &str| base.path().join(name);
        fs::DirBuilder::new().mode(0o700).create(path("ours")).unwrap();
        fs::create_dir(path("open")).unwrap();
        fs::set_permissions(path("open"), fs::Permissions::from_mode(0o1777)).unwrap();
        symlink(path("ours"), path("link")).unwrap();
        let found = ["ours", "open", "link", "none"].map(|name| is_private(&path(name)));
        assert_eq!(found, [true, false, false, false]);
    }
}
