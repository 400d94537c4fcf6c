//! The verified archive on the import's side: what the plan reads, and what its application takes from it.

use std::fs;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::archive::format::CHECKPOINT;
use crate::archive::limits::MAX_JSON;
use crate::archive::{Limits, ReaderOptions, Source, Staged, Verified};
use crate::cgroup::CgroupRecord;
use crate::criu::{self, Hook, ImageNetns, WorkDir};
use crate::error::Error;
use crate::event::Events;
use crate::manifest::Manifest;
use crate::request::{ImportRequest, Input};
use crate::rewrite::apply::ContentsError;
use crate::rewrite::{self, Spec, Step};

/// Where CRIU looks for the images that an incremental dump's are incremental to.
const PARENT: &str = "parent";

/// A verified archive, with those that it is incremental to.
pub(super) struct Archive<'a> {
    staged: Staged<Verified>,
    /// The parents, nearest first.
    parents: Vec<Staged<Verified>>,
    pub(super) manifest: Manifest,
    pub(super) spec: Spec,
    pub(super) cgroups: Option<CgroupRecord>,
    threads: NonZeroUsize,
    pages: Option<PathBuf>,
    interrupted: Hook<'a>,
    // Dropped last: what is staged is in it.
    _work: WorkDir,
}

impl<'a> Archive<'a> {
    /// Receives and verifies the archive that the request names, and its parents.
    pub(super) fn receive(request: &ImportRequest, events: &dyn Events, interrupted: Hook<'a>) -> Result<Self, Error> {
        // On the bundle's file system, so that the images get there by renaming.
        let work = match request.bundle.as_deref().and_then(Path::parent) {
            Some(beside) if beside.is_dir() => WorkDir::create_in(beside)?,
            _ => WorkDir::create()?,
        };
        let stage = |source| stage(source, work.path(), request.threads, events);
        let staged = stage(match &request.input {
            Input::File(path) => Source::open(path)?,
            Input::Stdin => Source::stdin()?,
        })?;
        let mut parents = Vec::new();
        let mut wanted = staged.manifest().parent.clone();
        for path in request.parents.iter().rev() {
            let parent = stage(Source::open(path)?)?;
            if wanted != Some(parent.identity().to_string()) {
                return Err(Error::Parent {
                    path: path.clone(),
                    why: "its child was made from another archive",
                });
            }
            wanted = parent.manifest().parent.clone();
            parents.push(parent);
        }
        if let Some(identity) = wanted {
            return Err(Error::ParentMissing { identity });
        }
        let manifest = staged.manifest().clone();
        let spec = staged
            .read("spec.dump", MAX_JSON)?
            .ok_or(Error::NoEntry { entry: "spec.dump" })?;
        let spec = Spec::parse(&spec).map_err(rewrite::Error::from)?;
        let cgroups = staged
            .read("cgroup.json", MAX_JSON)?
            .map(|text| CgroupRecord::from_json(&text))
            .transpose()?;
        Ok(Self {
            staged,
            parents,
            manifest,
            spec,
            cgroups,
            threads: request.threads,
            pages: request.pages.clone(),
            interrupted,
            _work: work,
        })
    }
}

fn stage(source: Source, parent: &Path, threads: NonZeroUsize, events: &dyn Events) -> Result<Staged<Verified>, Error> {
    let free = crate::sys::space::free(parent).unwrap_or(u64::MAX);
    let options = ReaderOptions {
        threads,
        limits: Limits {
            content: free,
            ..Limits::default()
        },
        ..ReaderOptions::default()
    };
    Ok(Staged::receive(source, parent, options, events)?.verify()?)
}

impl rewrite::Contents for Archive<'_> {
    fn open<'s>(&'s mut self, entry: &str) -> Result<Option<Box<dyn Read + 's>>, ContentsError> {
        let opened = self.staged.open(entry, self.threads)?;
        Ok(opened.map(|content| Box::new(content) as Box<dyn Read>))
    }

    fn place_images(&mut self, directory: &Path) -> Result<(), ContentsError> {
        place(&self.staged, directory)?;
        if let Some(pages) = &self.pages {
            copy_pages(pages, directory)?;
        }
        let mut below = directory.to_owned();
        for parent in &self.parents {
            below.push(PARENT);
            fs::create_dir(&below)?;
            place(parent, &below)?;
        }
        Ok(())
    }

    fn make_netns_external(&mut self, directory: &Path) -> Result<(), ContentsError> {
        Ok(criu::set_image_netns(directory, ImageNetns::External)?)
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
    let from = staged.path().join(CHECKPOINT);
    for entry in fs::read_dir(&from)? {
        let entry = entry?;
        let to = directory.join(entry.file_name());
        match fs::rename(entry.path(), &to) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => _ = fs::copy(entry.path(), &to)?,
            other => other?,
        }
    }
    Ok(())
}
