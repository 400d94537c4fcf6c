//! Archive format version 1, declared once for writer and reader: which entries there are, in which order, how large.
//!
//! Invariants: entries are in strictly rising order of ([rank](place), name); every name has one [`Kind`].
//! A change of this file or of [`super::header`], [`super::frames`] or [`super::index`] that changes a byte of an archive
//! is a new [`FORMAT_VERSION`](crate::manifest::FORMAT_VERSION).

use super::error::Error;
use super::header::Header;
use super::limits;
use super::path::ArchivePath;

/// The manifest, first entry.
pub const MANIFEST: &str = "ckpt.json";
/// Where everything is, for random access.
pub const INDEX: &str = "index.json";
/// Digests of all entries before it. Its own digest is the identity of the archive.
pub const SUMS: &str = "SHA256SUMS";
/// A signature of [`SUMS`].
pub const SIGNATURE: &str = "SHA256SUMS.sig";

/// Directory of CRIU's images.
pub const CHECKPOINT: &str = "checkpoint";
/// Directory of the images of a pre-dump.
pub const PRE_CHECKPOINT: &str = "pre-checkpoint";
/// Directory of the volumes' tar files.
pub const VOLUMES: &str = "volumes";

/// Directory of podman's artifacts.
pub const ARTIFACTS: &str = "artifacts";
/// Directory of LXC's configuration files.
pub const LXC: &str = "lxc";

/// Directories that entries are in.
pub const DIRECTORIES: [&str; 5] = [CHECKPOINT, PRE_CHECKPOINT, VOLUMES, ARTIFACTS, LXC];

/// Which names a [`Kind`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// One of these; no two of them are in the same archive.
    OneOf(&'static [&'static str]),
    /// Any number of files in a directory, with this suffix.
    In(&'static str, &'static str),
    /// `pages-N.img` in a directory, in the order of N.
    Pages(&'static str),
}

/// What the format knows about an entry by its name.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    names: Names,
    /// The largest size that is written or accepted, bytes.
    pub max_size: u64,
    /// A tar of files that import reads once, from front to back.
    pub nested_tar: bool,
    /// One of the container's files: they are written beside memory, and begin and end with a frame.
    pub files: bool,
    /// Its size may be unknown until it is complete, so its header has a frame and a form whose lengths do not depend on it.
    pub late: bool,
}

const fn one(names: &'static [&'static str], max_size: u64) -> Kind {
    Kind {
        names: Names::OneOf(names),
        max_size,
        nested_tar: false,
        files: false,
        late: false,
    }
}

const fn tar(names: Names) -> Kind {
    Kind {
        names,
        max_size: limits::MAX_FILE,
        nested_tar: true,
        files: true,
        late: false,
    }
}

const fn images(directory: &'static str) -> Kind {
    Kind {
        names: Names::In(directory, ""),
        max_size: limits::MAX_FILE,
        nested_tar: false,
        files: false,
        late: false,
    }
}

const fn pages(directory: &'static str) -> Kind {
    Kind {
        names: Names::Pages(directory),
        max_size: limits::MAX_FILE,
        nested_tar: false,
        files: false,
        late: true,
    }
}

/// Every entry that an archive can have. The position is the rank: entries are in this order.
///
/// Memory comes before the images that are complete only when all of it is dumped, and before the files, which can wait
/// compressed while memory cannot.
static KINDS: [Kind; 28] = [
    one(&[MANIFEST], limits::MAX_MANIFEST),
    one(&["config.dump"], limits::MAX_JSON),
    one(&["spec.dump"], limits::MAX_JSON),
    one(&["bind.mounts"], limits::MAX_JSON),
    one(&["network.status"], limits::MAX_JSON),
    one(&["cgroup.json"], limits::MAX_JSON),
    one(&["files.json"], limits::MAX_JSON),
    one(&["lxccg.img"], limits::MAX_JSON),
    Kind {
        max_size: limits::MAX_JSON,
        ..images(LXC)
    },
    pages(CHECKPOINT),
    images(CHECKPOINT),
    images(PRE_CHECKPOINT),
    tar(Names::OneOf(&["rootfs-diff.tar", "rootfs.tar"])),
    Kind {
        files: true,
        ..one(&["deleted.files"], limits::MAX_LIST)
    },
    tar(Names::In(VOLUMES, ".tar")),
    tar(Names::OneOf(&["devshm-checkpoint.tar"])),
    tar(Names::OneOf(&["files.tar"])),
    one(&["stats-dump"], limits::MAX_LOG),
    one(&["dump.log"], limits::MAX_LOG),
    // What engines put beside that, and a sealed archive keeps for them.
    images(ARTIFACTS),
    one(&["ctr.log"], limits::MAX_LOG),
    one(&["container.log"], limits::MAX_LOG),
    one(&["io.kubernetes.cri-o.LogPath"], limits::MAX_LOG),
    one(&["status"], limits::MAX_JSON),
    one(&["status.dump"], limits::MAX_JSON),
    one(&[INDEX], limits::MAX_INDEX),
    one(&[SUMS], limits::MAX_SUMS),
    one(&[SIGNATURE], limits::MAX_SIGNATURE),
];

impl Kind {
    fn has(&self, path: &ArchivePath) -> bool {
        match self.names {
            Names::OneOf(names) => names.contains(&path.as_str()),
            Names::In(directory, suffix) => {
                path.directory() == Some(directory)
                    && path.file_name().len() > suffix.len()
                    && path.file_name().ends_with(suffix)
            }
            Names::Pages(directory) => path.directory() == Some(directory) && pages_number(path).is_some(),
        }
    }

    /// Whether the writer makes the entry itself, after everything else.
    #[must_use]
    pub fn is_tail(&self) -> bool {
        matches!(self.names, Names::OneOf([INDEX | SUMS | SIGNATURE]))
    }
}

/// The N of `pages-N.img`, which has one way to be written.
#[must_use]
pub fn pages_number(path: &ArchivePath) -> Option<u32> {
    let digits = path.file_name().strip_prefix("pages-")?.strip_suffix(".img")?;
    let number: u32 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// The place of an entry in the order of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Position of its kind.
    pub rank: usize,
    /// Its kind.
    pub kind: &'static Kind,
}

/// The place of the entry of this name.
///
/// # Errors
/// [`Error::Unknown`] where no entry has that name.
pub fn place(path: &ArchivePath) -> Result<Place, Error> {
    KINDS
        .iter()
        .enumerate()
        .find(|(_, kind)| kind.has(path))
        .map(|(rank, kind)| Place { rank, kind })
        .ok_or_else(|| Error::Unknown {
            entry: path.to_string(),
        })
}

/// The entries so far: whether the next one may follow.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    seen: Vec<(usize, ArchivePath)>,
    /// What is before the first one is known elsewhere.
    continued: bool,
}

impl Sequence {
    /// A sequence that begins in the middle of an archive, where no directory is open.
    pub(super) fn continued() -> Self {
        Self {
            continued: true,
            ..Self::default()
        }
    }

    /// Takes the next entry, of `size` bytes.
    pub(super) fn admit(&mut self, path: &ArchivePath, size: u64) -> Result<&'static Kind, Error> {
        let Place { rank, kind } = place(path)?;
        let entry = || path.to_string();
        match self.seen.last() {
            None if rank != 0 && !self.continued => return Err(Error::NoManifest { entry: entry() }),
            None => {}
            Some(last) => self.follows(last, rank, path)?,
        }
        if size > kind.max_size {
            return Err(Error::TooLarge {
                entry: entry(),
                size,
                limit: kind.max_size,
            });
        }
        if self.seen.len() >= limits::MAX_ENTRIES {
            return Err(Error::TooManyEntries {
                entry: entry(),
                limit: limits::MAX_ENTRIES,
            });
        }
        self.seen.push((rank, path.clone()));
        Ok(kind)
    }

    /// Whether the header of its directory must precede the entry.
    pub(super) fn opens(&self, path: &ArchivePath) -> bool {
        let last = self.seen.last().and_then(|(_, last)| last.directory());
        path.directory().is_some_and(|directory| last != Some(directory))
    }

    /// Takes the next entry by its header: that of its directory is where it must be, and only there.
    pub(super) fn admit_header(&mut self, header: &Header) -> Result<(), Error> {
        let expected = self.opens(&header.path);
        self.admit(&header.path, header.size)?;
        let directory = || format!("{}/", header.path.directory().unwrap_or_default());
        match (expected, header.opens) {
            (true, false) => Err(Error::Missing { entry: directory() }),
            (false, true) => Err(Error::Repeated {
                entry: directory(),
                other: directory(),
            }),
            _ => Ok(()),
        }
    }

    fn follows(&self, last: &(usize, ArchivePath), rank: usize, path: &ArchivePath) -> Result<(), Error> {
        let (alone, later) = match KINDS[rank].names {
            Names::OneOf(_) => (true, false),
            Names::In(..) => (false, *path > last.1),
            Names::Pages(_) => (false, pages_number(path) > pages_number(&last.1)),
        };
        if rank > last.0 || (rank == last.0 && later) {
            return Ok(());
        }
        let before = self
            .seen
            .iter()
            .find(|(seen, other)| other == path || (alone && *seen == rank));
        Err(match before {
            Some((_, other)) => Error::Repeated {
                entry: path.to_string(),
                other: other.to_string(),
            },
            None => Error::Order {
                entry: path.to_string(),
                after: last.1.to_string(),
            },
        })
    }

    /// Whether the last entry is one of the container's files.
    pub(super) fn in_files(&self) -> bool {
        self.seen.last().is_some_and(|(rank, _)| KINDS[*rank].files)
    }

    /// The name of the last entry, for messages.
    pub(super) fn last(&self) -> &str {
        self.seen.last().map_or(MANIFEST, |(_, path)| path.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> ArchivePath {
        ArchivePath::try_from(name).expect(name)
    }

    fn admit(names: &[&str]) -> Result<(), Error> {
        let mut sequence = Sequence::default();
        names
            .iter()
            .try_for_each(|name| sequence.admit(&path(name), 1).map(drop))
    }

    #[test]
    fn every_name_of_the_format_in_order() {
        admit(&[
            "ckpt.json",
            "config.dump",
            "spec.dump",
            "bind.mounts",
            "network.status",
            "cgroup.json",
            "files.json",
            "checkpoint/pages-2.img",
            "checkpoint/pages-10.img",
            "checkpoint/core-1.img",
            "checkpoint/descriptors.json",
            "checkpoint/pages-010.img",
            "pre-checkpoint/core-1.img",
            "rootfs-diff.tar",
            "deleted.files",
            "volumes/a.tar",
            "volumes/b.tar",
            "devshm-checkpoint.tar",
            "files.tar",
            "stats-dump",
            "dump.log",
            "artifacts/a",
            "ctr.log",
            "container.log",
            "io.kubernetes.cri-o.LogPath",
            "status",
            "status.dump",
            "index.json",
            "SHA256SUMS",
            "SHA256SUMS.sig",
        ])
        .expect("in order");
    }

    #[test]
    fn what_does_not_follow_is_named() {
        let table: &[(&[&str], &str)] = &[
            (
                &["config.dump"],
                "not a ckpt archive: its first entry is \"config.dump\", not \"ckpt.json\"",
            ),
            (
                &["ckpt.json", "spec.dump", "config.dump"],
                "entry config.dump: must not follow spec.dump",
            ),
            (&["ckpt.json", "ckpt.json"], "entry ckpt.json: repeats ckpt.json"),
            (
                &["ckpt.json", "rootfs-diff.tar", "rootfs.tar"],
                "entry rootfs.tar: repeats rootfs-diff.tar",
            ),
            (
                &["ckpt.json", "checkpoint/b", "checkpoint/a"],
                "entry checkpoint/a: must not follow checkpoint/b",
            ),
            (
                &["ckpt.json", "checkpoint/a", "checkpoint/b", "checkpoint/a"],
                "entry checkpoint/a: repeats checkpoint/a",
            ),
            (
                &["ckpt.json", "checkpoint/pages-10.img", "checkpoint/pages-2.img"],
                "entry checkpoint/pages-2.img: must not follow checkpoint/pages-10.img",
            ),
            (
                &["ckpt.json", "checkpoint/core-1.img", "checkpoint/pages-1.img"],
                "entry checkpoint/pages-1.img: must not follow checkpoint/core-1.img",
            ),
            (
                &["ckpt.json", "passwd"],
                "entry passwd: no entry of that name belongs into an archive",
            ),
            (
                &["ckpt.json", "volumes/a"],
                "entry volumes/a: no entry of that name belongs into an archive",
            ),
            (
                &["ckpt.json", "volumes/.tar"],
                "entry volumes/.tar: no entry of that name belongs into an archive",
            ),
            (
                &["ckpt.json", "checkpoint"],
                "entry checkpoint: no entry of that name belongs into an archive",
            ),
        ];
        for (names, message) in table {
            assert_eq!(admit(names).expect_err(message).to_string(), *message);
        }
    }

    #[test]
    fn sizes_and_numbers_are_bounded() {
        let mut sequence = Sequence::default();
        let error = sequence
            .admit(&path("ckpt.json"), limits::MAX_MANIFEST + 1)
            .expect_err("too large");
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
        sequence.admit(&path("ckpt.json"), 1).expect("fits");
        let error = (0..=limits::MAX_ENTRIES)
            .find_map(|number| sequence.admit(&path(&format!("checkpoint/{number:08}")), 0).err())
            .expect("too many");
        assert!(matches!(error, Error::TooManyEntries { .. }), "{error}");
    }
}
