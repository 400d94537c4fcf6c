//! Archives as the reading commands see them: entry by entry where the archive is a file, from front to back where it
//! comes through a pipe.
//!
//! Whose archive it is, ckpt's or another engine's, is told by its content. Invariant: what [`Archive::read`] hands out of a
//! file of ckpt's is verified when it is handed out; out of a pipe, once it returns. Archives of other engines have nothing
//! to verify it by.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::args::value;
use super::render::Stop;
use super::render::failure::Failure;
use crate::archive::format::MANIFEST;
use crate::archive::{Digest, Error, Indexed, Limits, Reader, ReaderOptions, Source};
use crate::error::ErrorKind;
use crate::foreign::{self, Family, Faults, Outline};
use crate::manifest::Manifest;
use crate::request::Input;

/// What to do about an archive of another engine that is not right.
const FOREIGN_ADVICE: &str = "copy it again, or make the checkpoint again: archives of other engines have no checksums that \
                              would tell where it was damaged";

/// An archive that a command reads.
#[derive(Debug)]
pub struct Archive {
    input: Input,
    threads: NonZeroUsize,
    doing: &'static str,
}

/// What an archive is, and what is in it.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Its manifest; of another engine's archive the one that it would have.
    pub manifest: Manifest,
    /// SHA-256 of its `SHA256SUMS`; archives of other engines have none.
    pub identity: Option<Digest>,
    /// Of another engine's archive, what was found in its images.
    pub faults: Option<Faults>,
    /// How it is compressed.
    pub compression: String,
    /// Length of the archive, bytes.
    pub stored_bytes: u64,
    /// Time of every entry, seconds since 1970.
    pub mtime: u64,
    /// Bytes of its content: of all entries but those at the end, which only describe the others.
    pub content_bytes: u64,
    /// Its entries, in their order.
    pub entries: Vec<Entry>,
}

/// An entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its size, bytes.
    pub bytes: u64,
    /// SHA-256 of its content, where the archive says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Takes the content of an entry: its name, its size, and itself.
pub type Take<'a> = &'a mut dyn FnMut(&str, u64, &mut dyn Read) -> Result<(), Stop>;

impl Archive {
    /// The archive that an argument names; `doing` completes "cannot … FILE".
    pub fn new(file: PathBuf, threads: Option<NonZeroUsize>, doing: &'static str) -> Self {
        Self::of(
            value::input(file),
            threads.unwrap_or_else(value::default_threads),
            doing,
        )
    }

    /// The archive of a request.
    pub fn of(input: Input, threads: NonZeroUsize, doing: &'static str) -> Self {
        Self { input, threads, doing }
    }

    /// Its name in messages.
    pub fn name(&self) -> String {
        super::source_name(&self.input)
    }

    /// Whether it cannot be read a second time.
    pub fn passes_once(&self) -> bool {
        self.file().is_none()
    }

    /// Opens it.
    pub fn source(&self) -> Result<Source, Stop> {
        let source = match &self.input {
            Input::Stdin => Source::stdin(),
            Input::File(path) => Source::open(path),
        };
        source.map_err(|error| self.fail(&error))
    }

    /// How it is read from front to back.
    pub fn options(&self, source: &Source) -> ReaderOptions {
        ReaderOptions {
            threads: self.threads,
            length: source.length(),
            ..ReaderOptions::default()
        }
    }

    /// Reads it, handing the entries that are `wanted` to `take`, in the order of the archive.
    pub fn read(&self, wanted: &dyn Fn(&str) -> bool, take: Take<'_>) -> Result<Summary, Stop> {
        let mut source = self.source()?;
        let family = Family::of(&mut source).map_err(|error| self.fail_foreign(&error))?;
        match (family, self.file()) {
            (Family::Foreign { .. }, _) => self.read_foreign(source, wanted, take),
            (Family::Ckpt, Some(file)) => self.read_file(file, wanted, take),
            (Family::Ckpt, None) => self.read_stream(source, wanted, take),
        }
    }

    /// Reads an archive of another engine in one pass.
    pub fn read_foreign(
        &self,
        source: impl Read + Send + 'static,
        wanted: &dyn Fn(&str) -> bool,
        take: Take<'_>,
    ) -> Result<Summary, Stop> {
        let failed = |error: foreign::Error| self.fail_foreign(&error);
        let mut reader = foreign::Reader::ahead(source, Limits::default()).map_err(failed)?;
        while let Some(entry) = reader.next_entry().map_err(failed)? {
            if wanted(entry.path.as_str()) {
                take(entry.path.as_str(), entry.size, &mut reader)?;
            }
        }
        let outline = reader.finish().map_err(failed)?;
        Summary::of_foreign(outline).map_err(failed)
    }

    /// The archive where it is a file, in which one can seek. What cannot be opened is told by [`Archive::source`].
    fn file(&self) -> Option<File> {
        let Input::File(path) = &self.input else { return None };
        // A FIFO is not opened twice: its writer would see a reader go.
        path.metadata()
            .ok()
            .filter(Metadata::is_file)
            .and_then(|_| File::open(path).ok())
    }

    fn read_file(&self, file: File, wanted: &dyn Fn(&str) -> bool, take: Take<'_>) -> Result<Summary, Stop> {
        let archive = Indexed::open(file).map_err(|error| self.fail(&error))?;
        for (entry, _) in archive.entries().filter(|(entry, _)| wanted(entry.path.as_str())) {
            let name = entry.path.as_str();
            if let Some(mut content) = archive.entry(name, self.threads).map_err(|error| self.fail(&error))? {
                take(name, entry.size, &mut content)?;
            }
        }
        let closing = take_closing(archive.closing(), wanted, take)?;
        Ok(Summary::of_indexed(&archive, closing))
    }

    /// The archive by its index; `None` where it has none or cannot be read at any place.
    pub fn indexed(&self) -> Result<Option<Indexed>, Stop> {
        let Some(file) = self.file() else { return Ok(None) };
        match Family::of(&mut self.source()?).map_err(|error| self.fail_foreign(&error))? {
            Family::Ckpt => Indexed::open(file).map(Some).map_err(|error| self.fail(&error)),
            Family::Foreign { .. } => Ok(None),
        }
    }

    fn read_stream(&self, source: Source, wanted: &dyn Fn(&str) -> bool, take: Take<'_>) -> Result<Summary, Stop> {
        let options = self.options(&source);
        let mut reader = Reader::new(source, options).map_err(|error| self.fail(&error))?;
        let manifest = reader.manifest().clone();
        if wanted(MANIFEST) {
            take(
                MANIFEST,
                reader.manifest_text().len() as u64,
                &mut reader.manifest_text(),
            )?;
        }
        while let Some(mut content) = reader.next().map_err(|error| self.fail(&error))? {
            let (name, size) = (content.entry().path.to_string(), content.entry().size);
            if wanted(&name) {
                take(&name, size, &mut content)?;
            }
        }
        let proof = reader.finish().map_err(|error| self.fail(&error))?;
        let closing = take_closing(proof.closing(), wanted, take)?;
        let entries = proof.index.entries().iter().zip(&proof.digests);
        let entries = entries.map(|(entry, digest)| Entry::new(entry.path.as_str(), entry.size, *digest));
        Ok(Summary {
            manifest,
            identity: Some(proof.identity),
            faults: None,
            compression: proof.index.codec().to_string(),
            stored_bytes: proof.stored_bytes,
            mtime: proof.index.mtime(),
            content_bytes: proof.index.entries().iter().map(|entry| entry.size).sum(),
            entries: entries.chain(closing).collect(),
        })
    }

    /// Says what is wrong with it.
    pub fn fail(&self, error: &Error) -> Stop {
        let kind = error.kind();
        let invalid = kind == ErrorKind::Archive;
        let advice = invalid.then(|| super::ARCHIVE_ADVICE.to_owned());
        self.failure(kind, error).state(None).advice(advice).into()
    }

    /// What was to be done with it failed.
    pub fn failure(&self, kind: ErrorKind, error: &dyn std::error::Error) -> Failure {
        Failure::new(format!("cannot {} {}", self.doing, self.name()), kind, error)
    }

    /// Says what is wrong with an archive of another engine.
    pub fn fail_foreign(&self, error: &foreign::Error) -> Stop {
        if let foreign::Error::Archive(error) = error {
            return self.fail(error);
        }
        let kind = error.kind();
        let what = format!("cannot {} {}", self.doing, self.name());
        let advice = (kind == ErrorKind::Archive).then(|| FOREIGN_ADVICE.to_owned());
        Failure::new(what, kind, error).state(None).advice(advice).into()
    }

    /// Says what is wrong with it, where the error came through a reader.
    pub fn fail_read(&self, error: io::Error) -> Stop {
        let error = match error.downcast::<foreign::Error>() {
            Ok(error) => return self.fail_foreign(&error),
            Err(error) => error,
        };
        let unwrapped = Error::from_io(error);
        self.fail(&unwrapped.unwrap_or_else(|source| Error::Read { offset: 0, source }))
    }

    /// Says what went wrong between reading it and writing elsewhere.
    pub fn fail_io(&self, error: io::Error, place: &Path) -> Stop {
        let error = match error.downcast::<foreign::Error>() {
            Ok(error) => return self.fail_foreign(&error),
            Err(error) => error,
        };
        match Error::from_io(error) {
            Ok(error) => self.fail(&error),
            Err(error) => {
                let what = format!("cannot write {}", place.display());
                Failure::new(what, ErrorKind::Other, &error).into()
            }
        }
    }
}

impl Summary {
    /// Of an archive with an index, and of what is at its end.
    pub fn of_indexed(archive: &Indexed, closing: Vec<Entry>) -> Self {
        let entries = archive
            .entries()
            .map(|(entry, digest)| Entry::new(entry.path.as_str(), entry.size, *digest));
        Self {
            manifest: archive.manifest().clone(),
            identity: Some(archive.identity()),
            faults: None,
            compression: archive.index().codec().to_string(),
            stored_bytes: archive.stored_bytes(),
            mtime: archive.index().mtime(),
            content_bytes: archive.index().entries().iter().map(|entry| entry.size).sum(),
            entries: entries.chain(closing).collect(),
        }
    }

    /// Of another engine's archive, of which this is known.
    fn of_foreign(outline: Outline) -> Result<Self, foreign::Error> {
        let entry = |entry: &foreign::Entry| Entry {
            name: entry.path.to_string(),
            bytes: entry.size,
            sha256: None,
        };
        Ok(Self {
            manifest: foreign::describe(&outline)?,
            identity: None,
            compression: outline.codec.to_string(),
            stored_bytes: outline.stored_bytes,
            mtime: u64::try_from(outline.time()).unwrap_or(0),
            content_bytes: outline.content_bytes(),
            entries: outline.entries.iter().map(entry).collect(),
            faults: Some(outline.faults),
        })
    }
}

/// The entries at the end, which were checked before anything else.
pub fn take_closing(
    closing: Vec<(&'static str, Vec<u8>)>,
    wanted: &dyn Fn(&str) -> bool,
    take: Take<'_>,
) -> Result<Vec<Entry>, Stop> {
    let entry = |(name, content): (&'static str, Vec<u8>)| {
        let bytes = content.len() as u64;
        if wanted(name) {
            take(name, bytes, &mut content.as_slice())?;
        }
        Ok(Entry::new(name, bytes, Digest::of(&content)))
    };
    closing.into_iter().map(entry).collect()
}

impl Entry {
    fn new(name: &str, bytes: u64, digest: Digest) -> Self {
        Self {
            name: name.to_owned(),
            bytes,
            sha256: Some(digest.to_string()),
        }
    }
}

/// Entries by their names, or by the directory that they are in.
#[derive(Debug)]
pub struct Selection(Vec<String>);

impl Selection {
    /// These; none means all.
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.trim_end_matches('/').to_owned()).collect())
    }

    /// Whether an entry is one of them.
    pub fn has(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| covers(wanted, name))
    }

    /// The first name that no entry has.
    pub fn missing<'a>(&'a self, entries: &[Entry]) -> Option<&'a str> {
        let there = |wanted: &&String| entries.iter().any(|entry| covers(wanted, &entry.name));
        self.0.iter().find(|wanted| !there(wanted)).map(String::as_str)
    }
}

fn covers(wanted: &str, name: &str) -> bool {
    name.strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// There is no such entry.
pub fn no_entry(archive: &Archive, entry: &str) -> Stop {
    let what = format!("there is no entry {entry} in {}", archive.name());
    let advice = format!("`ckpt ls {}` lists them", archive.name());
    Failure::bare(what, ErrorKind::Usage).advice(Some(advice)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_takes_names_and_directories() {
        let selection = Selection::new(&["checkpoint/".to_owned(), "dump.log".to_owned()]);
        for (name, want) in [
            ("checkpoint/core-1.img", true),
            ("dump.log", true),
            ("dump.log2", false),
            ("checkpoint2/x", false),
            ("ckpt.json", false),
        ] {
            assert_eq!(selection.has(name), want, "{name}");
        }
        assert!(Selection::new(&[]).has("anything"));
        let entries = [Entry {
            name: "dump.log".into(),
            bytes: 1,
            sha256: None,
        }];
        assert_eq!(selection.missing(&entries), Some("checkpoint"));
    }
}
