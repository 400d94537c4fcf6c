//! The archive of a lazy import: its small parts are taken out at once, its memory stays where it is.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::{self, EntryAt, Frames, Indexed, Source};
use crate::criu::images::Pagemap;
use crate::criu::lazy::{PageMap, PageSource, SourceError, eager_parts};
use crate::criu::wire::PAGE_SIZE;
use crate::criu::{self, Hook, ImageNetns};
use crate::error::Error;
use crate::foreign::Family;
use crate::import::Opened;
use crate::import::small::Small;
use crate::request::{ImportRequest, Input};
use crate::rewrite::apply::ContentsError;
use crate::rewrite::{self, Spec, Step};

/// Where CRIU's images are in an archive.
const IMAGES: &str = "checkpoint/";
/// Longest pagemap that is read, bytes: 4 million ranges.
const MAX_PAGEMAP: u64 = 64 << 20;
/// Threads that decode ahead: one beside the one that answers and CRIU's daemon.
const AHEAD_THREADS: NonZeroUsize = NonZeroUsize::MIN;
/// Frames that are decoded ahead of what was asked for: what the daemon takes in its next two or three requests.
const AHEAD_FRAMES: usize = 8;

/// An archive whose memory is restored lazily.
pub(in crate::import) struct LazyArchive<'a> {
    path: PathBuf,
    frames: Arc<Frames>,
    small: Small,
    threads: NonZeroUsize,
    map: PageMap,
    pages: HashMap<u32, EntryAt>,
    interrupted: Hook<'a>,
}

impl<'a> LazyArchive<'a> {
    /// Opens the archive that the request names, and reads and verifies what the plan needs.
    pub(in crate::import) fn open(request: &ImportRequest, interrupted: Hook<'a>) -> Result<Self, Error> {
        let Input::File(path) = &request.input else {
            return Err(Error::NotLazy {
                why: "an archive from a pipe is read once, from front to back",
            });
        };
        if !crate::sys::probe::userfaultfd() {
            return Err(Error::NoUserfaultfd);
        }
        let file = File::open(path).map_err(|error| Error::io("opening", path, error))?;
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(Error::NotLazy {
                why: "only an archive in a file can be read in parts",
            });
        }
        if Family::of(&mut Source::open(path)?)? != Family::Ckpt {
            return Err(Error::NotLazy {
                why: "an archive of another engine has to be read from front to back; ckpt seal makes one that has not",
            });
        }
        let frames = Arc::new(Frames::new(Arc::new(Indexed::open(file)?), AHEAD_THREADS)?);
        let archive = frames.archive();
        let manifest = archive.manifest().clone();
        if manifest.parent.is_some() {
            return Err(Error::NotLazy {
                why: "the archive is incremental: its memory is in several archives",
            });
        }
        let small = Small::read(manifest, |name, limit| {
            let there = frames.entry(name).map(|_| archive.read(name, limit));
            Ok(there.transpose()?)
        })?;
        if has_user_namespace(&small.spec) && !open_to_user_namespaces() {
            return Err(Error::NotLazy {
                why: "the container has a user namespace, from which this host allows no userfaultfd \
                      (sysctl vm.unprivileged_userfaultfd=1 does)",
            });
        }
        Ok(Self {
            path: std::path::absolute(path).unwrap_or_else(|_| path.clone()),
            frames,
            small,
            threads: request.threads,
            map: PageMap::default(),
            pages: HashMap::new(),
            interrupted,
        })
    }

    /// The pagemaps of tasks, with the pid; what else has pages (shared memory) is restored at once.
    fn pagemaps(&self, images: &[String]) -> Result<Vec<(u64, String, Pagemap)>, Error> {
        let tasks = images.iter().filter_map(|image| Some((task_of(image)?, image)));
        let read = |(pid, image): (u64, &String)| {
            let text = self.frames.archive().read(&format!("{IMAGES}{image}"), MAX_PAGEMAP)?;
            Ok((pid, image.clone(), Pagemap::parse(image, &text)?))
        };
        tasks.map(read).collect()
    }

    fn write_image(&self, image: &str, directory: &Path) -> Result<(), ContentsError> {
        let mut content = self
            .frames
            .archive()
            .entry(&format!("{IMAGES}{image}"), NonZeroUsize::MIN)?;
        let mut file = create(directory, image)?;
        if let Some(content) = &mut content {
            io::copy(content, &mut file)?;
        }
        Ok(())
    }

    /// Writes those parts of a pages image that CRIU reads itself; the rest is a hole.
    fn write_parts(&self, image: &str, parts: &[(u64, u64)], directory: &Path) -> Result<(), ContentsError> {
        let Some(entry) = self.frames.entry(&format!("{IMAGES}{image}")) else {
            return Ok(());
        };
        let file = create(directory, image)?;
        file.set_len(entry.size)?;
        for &(begin, length) in parts {
            let mut offset = begin;
            while offset < begin + length {
                let piece = self.frames.piece(entry, offset)?;
                let count = (begin + length - offset).min(piece.len() as u64);
                file.write_all_at(&piece[..count as usize], offset)?;
                offset += count;
            }
        }
        Ok(())
    }
}

impl rewrite::Contents for LazyArchive<'_> {
    fn open<'s>(&'s mut self, entry: &str) -> Result<Option<Box<dyn Read + 's>>, ContentsError> {
        let opened = self.frames.archive().entry(entry, self.threads)?;
        Ok(opened.map(|content| Box::new(content) as Box<dyn Read>))
    }

    fn place_images(&mut self, directory: &Path) -> Result<(), ContentsError> {
        let entries = self.frames.archive().index().entries().iter();
        let names = entries.filter_map(|entry| entry.path.as_str().strip_prefix(IMAGES));
        let images: Vec<String> = names.map(str::to_owned).collect();
        let mut eager: HashMap<u32, Vec<(u64, u64)>> = HashMap::new();
        for (pid, name, pagemap) in self.pagemaps(&images)? {
            let id = pagemap.pages_id;
            let pages = self.frames.entry(&format!("{IMAGES}pages-{id}.img"));
            let size = pages.map_or(0, |pages| pages.size);
            self.map.add(pid, &name, &pagemap, size)?;
            eager.entry(id).or_default().extend(eager_parts(&name, &pagemap, size)?);
            self.pages.extend(pages.map(|pages| (id, pages)));
        }
        for image in &images {
            match pages_of(image).and_then(|id| eager.get(&id)) {
                Some(parts) => self.write_parts(image, parts, directory)?,
                None => self.write_image(image, directory)?,
            }
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

impl Opened for LazyArchive<'_> {
    fn small(&self) -> &Small {
        &self.small
    }

    fn memory(&mut self) -> Option<Memory> {
        Some(Memory {
            archive: self.path.clone(),
            map: std::mem::take(&mut self.map),
            source: ArchivePages {
                frames: self.frames.clone(),
                pages: std::mem::take(&mut self.pages),
            },
        })
    }
}

/// Whether a container has a user namespace of its own, as its configuration says.
fn has_user_namespace(spec: &Spec) -> bool {
    let namespaces = spec
        .value()
        .pointer("/linux/namespaces")
        .and_then(serde_json::Value::as_array);
    namespaces.is_some_and(|list| list.iter().any(|namespace| namespace["type"] == "user"))
}

/// Whether the kernel lets the root of a user namespace catch the faults of its own system calls, as CRIU must there.
fn open_to_user_namespaces() -> bool {
    std::fs::read_to_string("/proc/sys/vm/unprivileged_userfaultfd").is_ok_and(|text| text.trim() == "1")
}

/// The pid in `pagemap-PID.img`.
fn task_of(image: &str) -> Option<u64> {
    image.strip_prefix("pagemap-")?.strip_suffix(".img")?.parse().ok()
}

/// The number in `pages-N.img`.
fn pages_of(image: &str) -> Option<u32> {
    image.strip_prefix("pages-")?.strip_suffix(".img")?.parse().ok()
}

fn create(directory: &Path, image: &str) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(directory.join(image))
}

/// The memory of a lazy import.
pub(in crate::import) struct Memory {
    /// The archive, as an absolute path.
    pub(super) archive: PathBuf,
    pub(super) map: PageMap,
    pub(super) source: ArchivePages,
}

/// Pages out of an archive.
pub(super) struct ArchivePages {
    frames: Arc<Frames>,
    pages: HashMap<u32, EntryAt>,
}

impl PageSource for ArchivePages {
    fn read(&self, pages_id: u32, mut offset: u64, length: u64, into: &mut Vec<u8>) -> Result<(), SourceError> {
        let missing = || archive::Error::Missing {
            entry: format!("{IMAGES}pages-{pages_id}.img"),
        };
        let entry = *self.pages.get(&pages_id).ok_or_else(missing)?;
        let end = offset + length;
        while offset < end {
            let piece = self.frames.piece(entry, offset)?;
            let count = piece.len().min((end - offset) as usize);
            if count == 0 {
                return Err(missing().into());
            }
            into.extend_from_slice(&piece[..count]);
            offset += count as u64;
        }
        Ok(())
    }

    fn asked(&self, pages_id: u32, bytes: Range<u64>) {
        let Some(entry) = self.pages.get(&pages_id) else {
            return;
        };
        if bytes.end - bytes.start == PAGE_SIZE {
            self.frames.around(*entry, bytes.start);
        } else {
            self.frames.ahead(*entry, bytes.end, AHEAD_FRAMES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_namespace_is_seen_in_the_configuration() {
        for (namespaces, expected) in [
            (r#"[{"type":"pid"},{"type":"user"}]"#, true),
            (r#"[{"type":"pid"}]"#, false),
            ("[]", false),
        ] {
            let text =
                format!(r#"{{"ociVersion":"1.0.2","root":{{"path":"r"}},"linux":{{"namespaces":{namespaces}}}}}"#);
            let spec = Spec::parse(text.as_bytes()).unwrap();
            assert_eq!(has_user_namespace(&spec), expected, "{namespaces}");
        }
    }

    #[test]
    fn only_tasks_have_memory_that_may_come_later() {
        for (image, pid) in [
            ("pagemap-1.img", Some(1)),
            ("pagemap-31337.img", Some(31337)),
            ("pagemap-shmem-7.img", None),
            ("pagemap-.img", None),
            ("pages-1.img", None),
            ("core-1.img", None),
        ] {
            assert_eq!(task_of(image), pid, "{image}");
        }
        assert_eq!((pages_of("pages-3.img"), pages_of("pagemap-3.img")), (Some(3), None));
    }
}
