//! The files of a process tree, read from /proc: through the links there, so that it is the very file that a task has and not
//! what has its name by now.
//!
//! Contents are read before anything is frozen; when the tree is frozen it is looked at again, and only what changed in between
//! is read once more.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::listing::{FileKind, Listing, OpenFile, Use, VERSION};
use super::proc::Tree;
use super::{Error, build_id, outside};

/// Largest file whose digest is taken, bytes: 16 MiB take some ten milliseconds.
const MAX_DIGESTED: u64 = 16 << 20;
/// Most bytes that digests are taken of in one survey: a process that has hundreds of large files open is told by their sizes.
const MAX_DIGESTED_TOGETHER: u64 = 256 << 20;
/// What is open below these is the kernel's, and belongs to no file system that could be carried anywhere.
const KERNEL: [&str; 2] = ["/proc/", "/sys/"];
/// Terminals: a shell job gets those of whoever restores it.
const TERMINALS: &str = "/dev/pts/";
/// `O_ACCMODE`, `O_WRONLY`, `O_RDWR` in the octal flags of fdinfo.
const ACCESS: u32 = 0o3;

/// What tells a file and its content, as far as the kernel knows.
type Identity = (u64, u64, u64, i64, i64);

/// Looks at the files of a tree, and remembers contents.
#[derive(Debug, Default)]
pub struct Survey {
    known: HashMap<Identity, Fingerprint>,
}

/// What tells the content of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) build_id: Option<String>,
    pub(super) sha256: Option<String>,
}

impl Survey {
    /// A survey that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The listing of a tree as it is now.
    ///
    /// # Errors
    /// Where a process cannot be looked at for another reason than that it is gone.
    pub fn listing(&mut self, tree: &Tree) -> Result<Listing, Error> {
        let mut found = BTreeMap::new();
        for process in tree.processes.iter().filter(|process| process.state != 'Z') {
            look(process.pid, &mut found).or_else(gone(process.pid))?;
        }
        let mut left = MAX_DIGESTED_TOGETHER;
        let files = found
            .into_values()
            .map(|found| self.describe(found, &mut left))
            .collect();
        let tasks = tree.tasks();
        Ok(Listing {
            version: VERSION,
            root: tasks.first().map_or(0, |root| root.pid),
            tasks,
            files,
            journal: outside::journal_of(tree),
            foreign_session: outside::is_in_another_session(tree),
        })
    }

    fn describe(&mut self, found: Found, left: &mut u64) -> OpenFile {
        let Found {
            path,
            deleted,
            link,
            metadata,
            mut uses,
        } = found;
        uses.sort_unstable();
        uses.dedup();
        let kind = kind_of(&metadata);
        let regular = kind == FileKind::Regular;
        let print = match regular && !deleted {
            true => self.fingerprint(&link, &metadata, left),
            false => Fingerprint::default(),
        };
        let is_device = matches!(kind, FileKind::CharacterDevice | FileKind::BlockDevice);
        OpenFile {
            path: path.to_string_lossy().into_owned(),
            kind,
            uses,
            deleted,
            device: device(metadata.dev()),
            inode: metadata.ino(),
            size: if regular { metadata.len() } else { 0 },
            mode: format!("{:04o}", metadata.mode() & 0o7777),
            mtime: metadata.mtime(),
            rdev: is_device.then(|| device(metadata.rdev())),
            build_id: print.build_id,
            sha256: print.sha256,
            archived: false,
        }
    }

    fn fingerprint(&mut self, link: &Path, metadata: &Metadata, left: &mut u64) -> Fingerprint {
        let identity = (
            metadata.dev(),
            metadata.ino(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        );
        if let Some(known) = self.known.get(&identity) {
            return known.clone();
        }
        let print = fingerprint(link, metadata.len(), left);
        self.known.insert(identity, print.clone());
        print
    }
}

/// A process that ends while it is looked at has no files any more.
fn gone(pid: i32) -> impl FnOnce(io::Error) -> Result<(), Error> {
    move |source| match source.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ if source.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(()),
        _ => Err(Error::Proc {
            path: format!("/proc/{pid}"),
            source,
        }),
    }
}

/// What tells the content of the file at `path`; nothing of one that cannot be read.
pub(super) fn fingerprint(path: &Path, size: u64, left: &mut u64) -> Fingerprint {
    let Ok(file) = File::open(path) else {
        return Fingerprint::default();
    };
    let build_id = build_id::of(&file);
    let wanted = build_id.is_none() && size <= MAX_DIGESTED.min(*left);
    if wanted {
        *left -= size;
    }
    Fingerprint {
        sha256: wanted.then(|| digest(file, size).ok()).flatten(),
        build_id,
    }
}

/// The digest of the first `size` bytes, which are all there were.
fn digest(file: File, size: u64) -> io::Result<String> {
    /// Bytes that are read at once.
    const PIECE: usize = 128 << 10;
    let (mut hash, mut file, mut piece) = (Sha256::new(), file.take(size), vec![0; PIECE]);
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            break;
        }
        hash.update(piece.get(..count).unwrap_or_default());
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A file that was found, by its path.
struct Found {
    path: PathBuf,
    deleted: bool,
    /// The link in /proc that leads to it.
    link: PathBuf,
    metadata: Metadata,
    uses: Vec<Use>,
}

fn look(pid: i32, found: &mut BTreeMap<(PathBuf, bool), Found>) -> io::Result<()> {
    let base = PathBuf::from(format!("/proc/{pid}"));
    for (name, usage) in [
        ("exe", Use::Program),
        ("cwd", Use::WorkingDirectory),
        ("root", Use::RootDirectory),
    ] {
        note(base.join(name), usage, found)?;
    }
    for entry in fs::read_dir(base.join("fd"))? {
        let name = entry?.file_name();
        let info = fs::read_to_string(base.join("fdinfo").join(&name)).unwrap_or_default();
        let usage = if is_written(&info) { Use::Written } else { Use::Open };
        note(base.join("fd").join(&name), usage, found)?;
    }
    for entry in fs::read_dir(base.join("map_files"))? {
        note(entry?.path(), Use::Mapped, found)?;
    }
    Ok(())
}

fn is_written(fdinfo: &str) -> bool {
    let flags = fdinfo.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.is_some_and(|flags| u32::from_str_radix(flags.trim(), 8).is_ok_and(|flags| flags & ACCESS != 0))
}

/// Notes what a link in /proc leads to, if that is a file with a path. A link that is gone belonged to something that was
/// closed in between.
fn note(link: PathBuf, usage: Use, found: &mut BTreeMap<(PathBuf, bool), Found>) -> io::Result<()> {
    let (target, metadata) = match (fs::read_link(&link), fs::metadata(&link)) {
        (Ok(target), Ok(metadata)) => (target, metadata),
        (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let text = target.to_string_lossy();
    let is_file = text.starts_with('/') && !text.starts_with("/memfd:") && !metadata.file_type().is_socket();
    let is_kernels = KERNEL.iter().chain([&TERMINALS]).any(|prefix| text.starts_with(prefix));
    if !is_file || is_kernels {
        return Ok(());
    }
    let (path, deleted) = match text.strip_suffix(" (deleted)") {
        Some(path) if metadata.nlink() == 0 => (PathBuf::from(path), true),
        _ => (target.clone(), false),
    };
    // Shared memory without a file has such a name, which is on no disk.
    if deleted && (path.starts_with("/SYSV00000000") || path == Path::new("/dev/zero")) {
        return Ok(());
    }
    let entry = found.entry((path.clone(), deleted)).or_insert_with(|| Found {
        path,
        deleted,
        link,
        metadata,
        uses: Vec::new(),
    });
    entry.uses.push(usage);
    Ok(())
}

pub(super) fn kind_of(metadata: &Metadata) -> FileKind {
    let kind = metadata.file_type();
    if kind.is_file() {
        FileKind::Regular
    } else if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_fifo() {
        FileKind::Fifo
    } else if kind.is_char_device() {
        FileKind::CharacterDevice
    } else if kind.is_block_device() {
        FileKind::BlockDevice
    } else {
        FileKind::Other
    }
}

pub(super) fn device(number: u64) -> String {
    format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_descriptors() {
        assert!(!is_written("pos:\t0\nflags:\t0100000\nmnt_id:\t9\n"));
        assert!(is_written("flags:\t02100001\n"));
        assert!(is_written("flags:\t0100002\n"));
        assert!(!is_written(""));
    }

    #[test]
    fn as_root_the_files_of_this_process_are_found_with_their_identity() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("open");
        fs::write(&path, "abc").unwrap();
        let held = File::open(&path).unwrap();
        let gone = directory.path().join("gone");
        let deleted = File::create(&gone).unwrap();
        fs::remove_file(&gone).unwrap();

        let own = i32::try_from(std::process::id()).unwrap();
        let tree = Tree {
            processes: vec![super::super::proc::Process::of(own).unwrap()],
        };
        let listing = Survey::new().listing(&tree).unwrap();
        let of = |path: &Path| listing.files.iter().find(|file| Path::new(&file.path) == path);

        let file = of(&path).unwrap();
        assert_eq!(
            (file.size, file.kind, file.uses.as_slice()),
            (3, FileKind::Regular, &[Use::Open][..])
        );
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(file.sha256.as_deref(), Some(abc));
        assert!(of(&gone).unwrap().deleted);
        let program = of(&std::env::current_exe().unwrap()).unwrap();
        assert!(program.uses.contains(&Use::Program) && program.uses.contains(&Use::Mapped));
        assert!(program.build_id.is_some() && program.sha256.is_none());
        assert!(of(Path::new("/")).unwrap().uses.contains(&Use::RootDirectory));
        drop((held, deleted));
    }
}
