//! An archive that a command looks into: what it says of itself, its small entries, and its images.
//!
//! A file with an index is read where it is needed; everything else (a pipe, the archive of another engine) in one pass, of
//! which what is small is kept.
//!
//! Invariant: what is kept is bounded, whatever the archive holds.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use super::archive::{Archive, Summary, take_closing};
use super::args::value;
use super::render::Stop;
use super::render::failure::Failure;
use crate::archive::Indexed;
use crate::archive::format::{CHECKPOINT, PRE_CHECKPOINT};
use crate::error::ErrorKind;
use crate::images::{Archived, Collected, Error, ImageSource};

/// CRIU's statistics.
pub const STATISTICS: &str = "stats-dump";
/// The cgroup record.
pub const CGROUP: &str = "cgroup.json";
/// The OCI configuration.
pub const SPEC: &str = "spec.dump";
/// podman's description of the container.
pub const CONFIG: &str = "config.dump";
/// podman's networks.
pub const NETWORKS: &str = "network.status";
/// CRIU's log.
pub const LOG: &str = "dump.log";
/// The entries that are kept whole.
const SMALL: [&str; 6] = [STATISTICS, CGROUP, SPEC, CONFIG, NETWORKS, LOG];
/// How much of each of them is kept, bytes: the bound of the format on the largest of them but the log.
const MAX_SMALL: u64 = 16 << 20;

/// An archive with its images at hand.
pub struct Look {
    /// What it is, and what is in it.
    pub summary: Summary,
    place: Place,
}

enum Place {
    Indexed(Arc<Indexed>, Box<Archived>),
    Passed {
        images: Collected,
        small: BTreeMap<String, Vec<u8>>,
    },
}

impl Look {
    /// The images.
    pub fn images(&self) -> &dyn ImageSource {
        match &self.place {
            Place::Indexed(_, images) => images.as_ref(),
            Place::Passed { images, .. } => images,
        }
    }

    /// The images of an archive that can be read at any place.
    pub fn archived(&self) -> Option<&Archived> {
        match &self.place {
            Place::Indexed(_, images) => Some(images),
            Place::Passed { .. } => None,
        }
    }

    /// A small entry, where there is one and it can be read.
    pub fn entry(&self, name: &str) -> Option<Vec<u8>> {
        match &self.place {
            Place::Indexed(archive, _) => archive.read(name, MAX_SMALL).ok(),
            Place::Passed { small, .. } => small.get(name).cloned(),
        }
    }
}

impl Archive {
    /// Reads of an archive what is needed to look into it.
    pub fn look(&self) -> Result<Look, Stop> {
        match self.indexed()? {
            Some(archive) => self.look_indexed(Arc::new(archive)),
            None => self.look_passing(),
        }
    }

    fn look_indexed(&self, archive: Arc<Indexed>) -> Result<Look, Stop> {
        let closing = take_closing(archive.closing(), &|_| false, &mut |_, _, _| Ok(()))?;
        let images = Archived::new(archive.clone(), value::default_threads()).map_err(|error| self.fail(&error))?;
        Ok(Look {
            summary: Summary::of_indexed(&archive, closing),
            place: Place::Indexed(archive, Box::new(images)),
        })
    }

    fn look_passing(&self) -> Result<Look, Stop> {
        let (mut small, mut images) = (BTreeMap::new(), [Collected::new(), Collected::new()]);
        let wanted = |name: &str| SMALL.contains(&name) || image(name).is_some();
        let summary = self.read(&wanted, &mut |name, size, content| {
            match image(name) {
                Some((which, name)) => {
                    let taken = images[which].take(name, size, content);
                    taken.map_err(|error| self.fail_images(&error))?;
                }
                None => _ = small.insert(name.to_owned(), self.keep(content)?),
            }
            Ok(())
        })?;
        let [container, before] = images;
        let images = if container.images().is_empty() {
            before
        } else {
            container
        };
        Ok(Look {
            summary,
            place: Place::Passed { images, small },
        })
    }

    fn keep(&self, content: &mut dyn Read) -> Result<Vec<u8>, Stop> {
        let mut bytes = Vec::new();
        let read = content.take(MAX_SMALL).read_to_end(&mut bytes);
        read.map_err(|error| self.fail_read(error))?;
        Ok(bytes)
    }

    /// Says what is wrong with its images.
    pub fn fail_images(&self, error: &Error) -> Stop {
        let advice = match error {
            Error::NoProcess { .. } => Some(format!("`ckpt inspect {} --ps-tree` lists them", self.name())),
            _ => None,
        };
        self.failure(error.kind(), error).state(None).advice(advice).into()
    }

    /// Refuses an archive of which a part that was asked for cannot be shown.
    pub fn fail_problem(&self, problem: &str) -> Stop {
        let failure = Failure::bare(format!("{}: {problem}", self.name()), ErrorKind::Archive);
        failure.into()
    }
}

/// Which images an entry belongs to, those of the container or those of a pre-dump, and its name there.
fn image(name: &str) -> Option<(usize, &str)> {
    let below = |directory: &str| name.strip_prefix(directory)?.strip_prefix('/');
    let container = below(CHECKPOINT).map(|name| (0, name));
    container.or_else(|| below(PRE_CHECKPOINT).map(|name| (1, name)))
}
