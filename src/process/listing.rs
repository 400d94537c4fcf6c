//! The listing of a process tree: its tasks and the files that they use. It is the entry `files.json` of an archive of
//! processes; `schema/files-v1.schema.json` is generated from these types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Error, JournalStream};

/// The version of the listing that this build writes and reads.
pub(super) const VERSION: u32 = 1;

/// A process tree and its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// Version of the listing.
    pub version: u32,
    /// The root of the tree, in its PID namespace.
    pub root: i32,
    /// Its tasks, the root first, each after its parent.
    pub tasks: Vec<Task>,
    /// The files that they use, by path.
    pub files: Vec<OpenFile>,
    /// Their connections to systemd's journal, which a restore makes anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub journal: Vec<JournalStream>,
    /// They are in the session of a process outside, and get one of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign_session: bool,
}

/// A process. Numbers are those of its own PID namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its number.
    pub pid: i32,
    /// Its parent's.
    pub ppid: i32,
    /// Its process group.
    pub pgid: i32,
    /// Its session.
    pub sid: i32,
    /// Its threads, itself among them.
    pub threads: Vec<i32>,
    /// Its name, as `ps` shows it.
    pub name: String,
    /// Its command line; empty for one that has ended and was not waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
}

/// A file that is open, mapped, or a program or directory of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenFile {
    /// Its path.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// What it is used for.
    pub uses: Vec<Use>,
    /// It has no name any more: its content is among CRIU's images, or it was linked back into its directory.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// The device it is on, `major:minor`.
    pub device: String,
    /// Its inode there.
    pub inode: u64,
    /// Its size, bytes; 0 for what is no regular file.
    pub size: u64,
    /// Its permission bits, as octal digits.
    pub mode: String,
    /// When its content was changed, seconds since 1970.
    pub mtime: i64,
    /// For a device: its own number, `major:minor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdev: Option<String>,
    /// The build identifier of a program or library (its ELF note), lowercase hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_id: Option<String>,
    /// SHA-256 of the content, lowercase hex, of a regular file without a build identifier that is not large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Its content is in the archive, in `files.tar`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archived: bool,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A FIFO.
    Fifo,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// Anything else.
    Other,
}

impl FileKind {
    /// Its name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Regular => "a regular file",
            Self::Directory => "a directory",
            Self::Fifo => "a FIFO",
            Self::CharacterDevice => "a character device",
            Self::BlockDevice => "a block device",
            Self::Other => "something else",
        }
    }
}

/// What a file is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// A task runs it.
    Program,
    /// Memory of a task.
    Mapped,
    /// Open for reading.
    Open,
    /// Open for writing.
    Written,
    /// A task's working directory.
    WorkingDirectory,
    /// A task's root directory.
    RootDirectory,
}

impl Listing {
    /// Its text in an archive.
    ///
    /// # Errors
    /// None that a listing of this build can cause.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads the text of an archive.
    ///
    /// # Errors
    /// [`Error::Listing`], and [`Error::Version`] for one of another version.
    pub fn from_json(text: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(text).map_err(Error::Listing)?;
        if version != VERSION {
            return Err(Error::Version { found: version });
        }
        serde_json::from_slice(text).map_err(Error::Listing)
    }

    /// The numbers that CRIU will give to tasks: those of all processes and threads, and of the leaders of their sessions and
    /// groups, which it stands in for where they have ended.
    #[must_use]
    pub fn numbers(&self) -> Vec<i32> {
        let own = self
            .tasks
            .iter()
            .flat_map(|task| task.threads.iter().copied().chain([task.pid]));
        let leaders = self.tasks.iter().skip(1).flat_map(|task| [task.pgid, task.sid]);
        // The root's own leaders, where it is none, are those of the caller's terminal.
        let outside: Vec<i32> = self
            .tasks
            .first()
            .map(|root| vec![root.pgid, root.sid])
            .unwrap_or_default();
        let known: Vec<i32> = own.collect();
        let mut numbers: Vec<i32> = leaders
            .filter(|leader| known.contains(leader) || !outside.contains(leader))
            .chain(known.iter().copied())
            .filter(|number| *number > 0)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(pid: i32, ppid: i32, pgid: i32, sid: i32, threads: &[i32]) -> Task {
        Task {
            pid,
            ppid,
            pgid,
            sid,
            threads: threads.to_vec(),
            name: "x".into(),
            command: Vec::new(),
        }
    }

    fn listing(tasks: Vec<Task>) -> Listing {
        Listing {
            version: VERSION,
            root: tasks[0].pid,
            tasks,
            files: Vec::new(),
            journal: Vec::new(),
            foreign_session: false,
        }
    }

    #[test]
    fn numbers_are_those_of_tasks_threads_and_leaders() {
        // A daemon: its worker has a thread and is in a group whose leader, 9, has ended.
        let daemon = listing(vec![task(5, 1, 5, 5, &[5]), task(6, 5, 9, 5, &[6, 7])]);
        assert_eq!(daemon.numbers(), [5, 6, 7, 9]);
        // A job of a shell: the session 3 and the group 8 are the shell's to give.
        let job = listing(vec![task(8, 3, 8, 3, &[8]), task(10, 8, 8, 3, &[10])]);
        assert_eq!(job.numbers(), [8, 10]);
    }

    #[test]
    fn a_listing_is_read_as_it_was_written_and_another_version_is_not() {
        let listing = listing(vec![task(5, 1, 5, 5, &[5])]);
        let text = listing.to_json().unwrap();
        assert_eq!(Listing::from_json(&text).unwrap(), listing);
        let newer = String::from_utf8(text)
            .unwrap()
            .replace("\"version\": 1", "\"version\": 2");
        assert!(matches!(
            Listing::from_json(newer.as_bytes()),
            Err(Error::Version { found: 2 })
        ));
        assert!(matches!(Listing::from_json(b"{"), Err(Error::Listing(_))));
    }
}
