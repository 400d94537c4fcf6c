//! What of a listing is otherwise on this host: numbers that other processes have, and files that are missing or different.
//!
//! CRIU refuses a file whose size, permission bits or build identifier is another one. It does not see a file of the same size
//! with other content; a program that goes on in the middle of one would, so that is a difference here too.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::files::{self, Fingerprint};
use super::listing::{FileKind, Listing, OpenFile};
use super::proc;

/// Most bytes that are read to compare files.
const MAX_READ: u64 = 512 << 20;
/// Where the kernel says which numbers there are.
const PID_MAX: &str = "/proc/sys/kernel/pid_max";

/// What is wrong with a file of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It is not there.
    Missing,
    /// It is something else.
    Kind {
        /// What is there.
        here: FileKind,
    },
    /// It has another size, which CRIU refuses.
    Size {
        /// Its size here, bytes.
        here: u64,
    },
    /// It has other permission bits, which CRIU refuses.
    Mode {
        /// Those here, octal.
        here: String,
    },
    /// It is another build, which CRIU refuses.
    Build,
    /// It has other content of the same size, which CRIU does not see.
    Content,
    /// It is another device.
    Device {
        /// Its number here.
        here: String,
    },
}

impl Difference {
    /// Whether CRIU would restore nonetheless.
    #[must_use]
    pub const fn is_allowable(&self) -> bool {
        matches!(self, Self::Content)
    }
}

/// A file that is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'a> {
    /// As the archive has it.
    pub file: &'a OpenFile,
    /// How it is here.
    pub difference: Difference,
}

/// What stands in the way of a restore here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Here<'a> {
    /// Numbers that are taken, each with what has it.
    pub taken: Vec<(i32, String)>,
    /// The largest number that this host gives, where the listing has larger ones.
    pub pid_max: Option<i32>,
    /// Files that are missing or different, by path.
    pub files: Vec<Found<'a>>,
}

/// What has a number. ckpt itself may, and only until it ends.
fn taken_by(pid: i32) -> Option<String> {
    let own = i32::try_from(std::process::id()).is_ok_and(|own| own == pid);
    let own = own.then(|| "this very ckpt (run it again, and it has another one)".to_owned());
    own.or_else(|| proc::described(pid))
}

/// Compares a listing with this host.
#[must_use]
pub fn compare(listing: &Listing) -> Here<'_> {
    let numbers = listing.numbers();
    let taken = numbers.iter().filter_map(|pid| Some((*pid, taken_by(*pid)?))).collect();
    let max: Option<i32> = fs::read_to_string(PID_MAX)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let mut left = MAX_READ;
    let files = listing.files.iter().filter(|file| !file.deleted);
    Here {
        taken,
        pid_max: max.filter(|max| numbers.last().is_some_and(|largest| largest >= max)),
        files: files
            .filter_map(|file| {
                Some(Found {
                    file,
                    difference: difference(file, &mut left)?,
                })
            })
            .collect(),
    }
}

/// How a file of this host differs from the one in the archive; `None` where it does not.
pub(crate) fn difference(file: &OpenFile, left: &mut u64) -> Option<Difference> {
    let path = Path::new(&file.path);
    let Ok(metadata) = fs::metadata(path) else {
        return Some(Difference::Missing);
    };
    let kind = files::kind_of(&metadata);
    if kind != file.kind {
        return Some(Difference::Kind { here: kind });
    }
    let rdev = files::device(metadata.rdev());
    if file.rdev.as_ref().is_some_and(|archived| *archived != rdev) {
        return Some(Difference::Device { here: rdev });
    }
    if kind != FileKind::Regular {
        return None;
    }
    if metadata.len() != file.size {
        return Some(Difference::Size { here: metadata.len() });
    }
    let mode = format!("{:04o}", metadata.mode() & 0o7777);
    if mode != file.mode {
        return Some(Difference::Mode { here: mode });
    }
    let Fingerprint { build_id, sha256 } = files::fingerprint(path, metadata.len(), left);
    match (&file.build_id, &file.sha256) {
        (Some(_), _) => (file.build_id != build_id).then_some(Difference::Build),
        (None, Some(_)) if sha256.is_some() || build_id.is_some() => {
            (file.sha256 != sha256).then_some(Difference::Content)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::testing::open_file;
    use super::*;

    #[test]
    fn each_difference_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let write = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let of = |file: &OpenFile| difference(file, &mut 1000);
        let file = OpenFile {
            sha256: Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into()),
            ..open_file(&path.to_string_lossy())
        };
        assert_eq!(of(&file), Some(Difference::Missing));
        write("abc", 0o644);
        assert_eq!(of(&file), None);
        write("abd", 0o644);
        assert_eq!(of(&file), Some(Difference::Content));
        write("abcd", 0o644);
        assert_eq!(of(&file), Some(Difference::Size { here: 4 }));
        write("abc", 0o600);
        assert_eq!(of(&file), Some(Difference::Mode { here: "0600".into() }));
        let build = OpenFile {
            build_id: Some("ab".into()),
            mode: "0600".into(),
            ..file.clone()
        };
        assert_eq!(of(&build), Some(Difference::Build));
        let device = OpenFile {
            path: "/dev/null".into(),
            kind: FileKind::CharacterDevice,
            rdev: Some("1:5".into()),
            ..file.clone()
        };
        assert_eq!(of(&device), Some(Difference::Device { here: "1:3".into() }));
        assert_eq!(
            of(&OpenFile {
                kind: FileKind::Directory,
                ..file
            }),
            Some(Difference::Kind {
                here: FileKind::Regular
            })
        );
    }

    #[test]
    fn numbers_that_are_taken_are_named() {
        let own = i32::try_from(std::process::id()).unwrap();
        let tree = super::super::Tree {
            processes: vec![proc::Process::of(own).unwrap()],
        };
        let listing = Listing {
            version: 1,
            root: own,
            tasks: tree.tasks(),
            files: Vec::new(),
            journal: Vec::new(),
            foreign_session: false,
        };
        let here = compare(&listing);
        assert!(here.taken.iter().any(|(pid, _)| *pid == own), "{here:?}");
        assert_eq!(here.pid_max, None);
    }
}
