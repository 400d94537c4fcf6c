//! An import that was killed on its way into podman: it wrote down what it was about to make, and the next import of the same
//! name takes away what is there of it.
//!
//! Invariants: only a container is taken away that has never run, of the same image, that podman made after the note was
//! written, and under the archive's identifier where it keeps that; volumes only where that container has them, and the note
//! says that they were not there before. Anything else is somebody else's and stays.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::Error;
use crate::event::{Event, Events};
use crate::rewrite::Name;
use crate::runtime::{NeverRun, Podman};

/// Where the notes are. They stay over a reboot, as containers do.
const NOTES: &str = "/var/lib/ckpt/podman";
/// Longest note that is read, bytes: a container has a few volumes.
const MAX_NOTE: u64 = 1 << 20;

/// What an import is about to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// When it began, nanoseconds since 1970.
    since: i128,
    /// The container's identifier, where it keeps the archive's.
    id: Option<String>,
    /// The identifier of its image.
    image: String,
    /// Volumes that were not there.
    volumes: Vec<String>,
    /// podman's storage, where it is not the default.
    storage: Option<PathBuf>,
}

/// A note that is there while its import is under way.
#[derive(Debug)]
pub(super) struct Underway(PathBuf);

impl Drop for Underway {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Note {
    pub(super) fn new(id: Option<&str>, image: &str, volumes: Vec<String>, storage: Option<&Path>) -> Self {
        Self {
            since: OffsetDateTime::now_utc().unix_timestamp_nanos(),
            id: id.map(str::to_owned),
            image: image.to_owned(),
            volumes,
            storage: storage.map(Path::to_owned),
        }
    }

    /// Writes it down.
    pub(super) fn write(&self, name: &Name) -> Result<Underway, Error> {
        let path = place(name);
        let failed = |error| Error::io("writing", &path, error);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(NOTES)
            .map_err(failed)?;
        let text = serde_json::to_vec(self).map_err(|source| Error::Json {
            entry: "note of an import",
            source,
        })?;
        let underway = Underway(path.clone());
        fs::write(&path, text).map_err(failed)?;
        Ok(underway)
    }

    /// What a killed import of that name has written down.
    fn read(name: &Name) -> Option<Self> {
        let path = place(name);
        let small = fs::metadata(&path).is_ok_and(|found| found.len() <= MAX_NOTE);
        small
            .then(|| fs::read(&path).ok())
            .flatten()
            .and_then(|text| serde_json::from_slice(&text).ok())
    }

    /// Whether a container is the one that the note is about.
    fn is_of(&self, found: &NeverRun) -> bool {
        let made = found
            .created
            .as_deref()
            .and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let later = made.is_some_and(|made| made.unix_timestamp_nanos() >= self.since);
        later && found.image == self.image && self.id.as_ref().is_none_or(|id| *id == found.id)
    }
}

fn place(name: &Name) -> PathBuf {
    Path::new(NOTES).join(format!("{name}.json"))
}

/// Takes away what a killed import of that name left in podman, and says so.
pub(super) fn clear(podman: &Podman, name: &Name, storage: Option<&Path>, events: &dyn Events) -> Result<(), Error> {
    let Some(note) = Note::read(name).filter(|note| note.storage.as_deref() == storage) else {
        return Ok(());
    };
    // From here on the note is not needed: what cannot be taken away is an error of this import.
    let _done = Underway(place(name));
    let Some(found) = podman.never_run(name.as_str())?.filter(|found| note.is_of(found)) else {
        return Ok(());
    };
    podman.remove_by_id(&found.id)?;
    let mut taken = vec![format!("the container {name}")];
    for volume in found.volumes.iter().filter(|volume| note.volumes.contains(volume)) {
        // An anonymous one is gone with its container.
        if podman.has_volume(volume) {
            podman.ask(&["volume", "rm", "--", volume])?;
            taken.push(format!("the volume {volume}"));
        }
    }
    let message = format!("removed what an import that was killed had left: {}", taken.join(", "));
    events.emit(Event::Warning { message });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_killed_import_made_is_its_own() {
        let note = Note {
            since: 1_700_000_000_000_000_000,
            ..Note::new(Some("aa"), "ff", vec!["v".to_owned()], None)
        };
        let found = NeverRun {
            id: "aa".to_owned(),
            image: "ff".to_owned(),
            created: Some("2026-11-20T19:38:14.403705262Z".to_owned()),
            volumes: Vec::new(),
        };
        assert!(note.is_of(&found));
        let renamed = Note {
            id: None,
            ..note.clone()
        };
        let other = |id: &str, image: &str, created: Option<&str>| NeverRun {
            id: id.to_owned(),
            image: image.to_owned(),
            created: created.map(str::to_owned),
            volumes: Vec::new(),
        };
        let now = found.created.as_deref();
        assert!(renamed.is_of(&other("bb", "ff", now)));
        for (id, image, created) in [
            ("bb", "ff", now),
            ("aa", "ee", now),
            ("aa", "ff", None),
            ("aa", "ff", Some("2020-01-01T00:00:00Z")),
            ("aa", "ff", Some("yesterday")),
        ] {
            assert!(!note.is_of(&other(id, image, created)), "{id} {image} {created:?}");
        }
    }
}
