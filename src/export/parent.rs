//! The parent of an incremental dump: an earlier archive of the same container, made with `--pre-dump`.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::archive::Indexed;
use crate::archive::format::{CHECKPOINT, pages_number};
use crate::error::Error;
use crate::runtime::Target;

/// The directory beside the images that the parent's are put into.
const DIRECTORY: &str = "parent";

/// An archive that can be a parent.
#[derive(Debug)]
pub(super) struct Parent {
    archive: Indexed,
}

impl Parent {
    /// Opens it, and checks that it is of this container and can have children.
    pub(super) fn open(path: &Path, target: &Target) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| Error::io("opening", path, error))?;
        let archive = Indexed::open(file)?;
        let manifest = archive.manifest();
        let refuse = |why| {
            Err(Error::Parent {
                path: path.to_owned(),
                why,
            })
        };
        if !manifest.options.pre_dump {
            return refuse("it was not made with --pre-dump");
        }
        if manifest.container.id != target.id || manifest.container.pid != target.pid {
            return refuse("it is of another container, or of an earlier run of this one");
        }
        Ok(Self { archive })
    }

    /// Its identity, as the manifest names it.
    pub(super) fn identity(&self) -> String {
        self.archive.identity().to_string()
    }

    /// Puts its images beside the images directory; returns their place as seen from there. What a dump looks up in them is
    /// which pages there are: the pages themselves stay in the archive.
    pub(super) fn place(&self, beside: &Path) -> Result<PathBuf, Error> {
        let directory = beside.join(DIRECTORY);
        fs::create_dir(&directory).map_err(|error| Error::io("making", &directory, error))?;
        for (entry, _) in self.archive.entries() {
            if entry.path.directory() != Some(CHECKPOINT) || pages_number(&entry.path).is_some() {
                continue;
            }
            let path = directory.join(entry.path.file_name());
            let mut file = File::create_new(&path).map_err(|error| Error::io("creating", &path, error))?;
            let Some(mut content) = self.archive.entry(entry.path.as_str(), NonZeroUsize::MIN)? else {
                continue;
            };
            io::copy(&mut content, &mut file).map_err(|error| Error::io("writing", &path, error))?;
        }
        Ok(Path::new("..").join(DIRECTORY))
    }
}
