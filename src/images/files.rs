//! What can be opened: the entries of `files.img`.

use std::collections::HashMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::error::Error;
use super::limits::MAX_FILES;
use super::proto;
use super::record::{FILES, MEMFD, Records, TTY_INFO};
use super::sockets::{self, Socket};
use super::source::ImageSource;
use super::text::text;

const FILES_IMAGE: &str = "files.img";

/// The kind of an open file, under CRIU's names (`fd_types` in its `fdinfo.proto`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "CRIU's names are all that there is to say")]
pub enum FileType {
    Und,
    Reg,
    Pipe,
    Fifo,
    Inetsk,
    Unixsk,
    Eventfd,
    Eventpoll,
    Inotify,
    Signalfd,
    Packetsk,
    Tty,
    Fanotify,
    Netlinksk,
    Ns,
    Tunf,
    Ext,
    Timerfd,
    Memfd,
    Bpfmap,
    Pidfd,
}

impl FileType {
    /// All of them, each at the place of its number.
    pub const ALL: [Self; 21] = [
        Self::Und,
        Self::Reg,
        Self::Pipe,
        Self::Fifo,
        Self::Inetsk,
        Self::Unixsk,
        Self::Eventfd,
        Self::Eventpoll,
        Self::Inotify,
        Self::Signalfd,
        Self::Packetsk,
        Self::Tty,
        Self::Fanotify,
        Self::Netlinksk,
        Self::Ns,
        Self::Tunf,
        Self::Ext,
        Self::Timerfd,
        Self::Memfd,
        Self::Bpfmap,
        Self::Pidfd,
    ];

    /// The kind of that number; unknown ones are [`FileType::Und`].
    pub(super) fn of(number: u32) -> Self {
        Self::ALL.get(number as usize).copied().unwrap_or(Self::Und)
    }

    /// CRIU's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Und => "UND",
            Self::Reg => "REG",
            Self::Pipe => "PIPE",
            Self::Fifo => "FIFO",
            Self::Inetsk => "INETSK",
            Self::Unixsk => "UNIXSK",
            Self::Eventfd => "EVENTFD",
            Self::Eventpoll => "EVENTPOLL",
            Self::Inotify => "INOTIFY",
            Self::Signalfd => "SIGNALFD",
            Self::Packetsk => "PACKETSK",
            Self::Tty => "TTY",
            Self::Fanotify => "FANOTIFY",
            Self::Netlinksk => "NETLINKSK",
            Self::Ns => "NS",
            Self::Tunf => "TUNF",
            Self::Ext => "EXT",
            Self::Timerfd => "TIMERFD",
            Self::Memfd => "MEMFD",
            Self::Bpfmap => "BPFMAP",
            Self::Pidfd => "PIDFD",
        }
    }

    /// Whether it is a socket.
    #[must_use]
    pub fn is_socket(self) -> bool {
        matches!(self, Self::Inetsk | Self::Unixsk | Self::Packetsk | Self::Netlinksk)
    }
}

/// An open file description.
#[derive(Debug, Clone)]
pub(super) struct Description {
    pub(super) kind: FileType,
    /// Its path, or what it is in brackets.
    pub(super) path: Arc<str>,
    /// Flags of open(2).
    pub(super) flags: Option<u32>,
    pub(super) offset: Option<u64>,
    pub(super) size: Option<u64>,
    pub(super) socket: Option<Arc<Socket>>,
    /// Number of the shared memory that it is.
    pub(super) segment: Option<u64>,
}

/// All open file descriptions, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Files {
    by_id: HashMap<u32, Description>,
}

impl Files {
    /// Reads `files.img` and what belongs to it.
    pub(super) fn read(images: &dyn ImageSource) -> Result<Self, Error> {
        let image = images.read(FILES_IMAGE)?;
        let names = Names::read(images)?;
        let mut files = Self::default();
        for entry in Records::of(FILES, FILES_IMAGE, &image)?.decoded::<proto::File>() {
            let entry = entry?;
            if files.by_id.len() == MAX_FILES {
                return Err(Error::too_many(FILES_IMAGE, "files", MAX_FILES));
            }
            let described = describe(images, &entry, &names)?;
            files.by_id.insert(entry.id, described);
        }
        files.resolve();
        Ok(files)
    }

    pub(super) fn get(&self, id: u32) -> Option<&Description> {
        self.by_id.get(&id)
    }

    /// The path of a file.
    pub(super) fn path(&self, id: u32) -> Option<Arc<str>> {
        self.get(id).map(|file| file.path.clone())
    }

    /// FIFOs and terminals have their path in a regular file that they refer to.
    fn resolve(&mut self) {
        let refers: Vec<(u32, u32)> = self
            .by_id
            .iter()
            .filter_map(|(id, file)| Some((*id, file.path.strip_prefix(REFERS)?.parse().ok()?)))
            .collect();
        for (id, other) in refers {
            let path = self.path(other).filter(|path| !path.starts_with(REFERS));
            if let Some(file) = self.by_id.get_mut(&id) {
                file.path = path.unwrap_or_else(|| format!("[{}]", file.kind.name().to_lowercase()).into());
            }
        }
    }
}

/// Before the number of the file that has the path. No path and nothing in brackets begins so.
const REFERS: &str = "\0";

/// Names that are in images of their own.
struct Names {
    terminals: HashMap<u32, String>,
    /// Name, and number of the shared memory.
    memory: HashMap<u64, (String, u64)>,
}

impl Names {
    fn read(images: &dyn ImageSource) -> Result<Self, Error> {
        let mut names = Self {
            terminals: HashMap::new(),
            memory: HashMap::new(),
        };
        if let Some(image) = images.find("tty-info.img")? {
            for entry in Records::of(TTY_INFO, "tty-info.img", &image)?
                .decoded::<proto::TtyInfo>()
                .take(MAX_FILES)
            {
                let entry = entry?;
                let name = match entry.pty {
                    Some(pty) => format!("[pts/{}]", pty.index),
                    None => format!("[tty {}:{}]", entry.rdev >> 8, entry.rdev & 0xff),
                };
                names.terminals.insert(entry.id, name);
            }
        }
        if let Some(image) = images.find("memfd.img")? {
            for entry in Records::of(MEMFD, "memfd.img", &image)?
                .decoded::<proto::MemfdInode>()
                .take(MAX_FILES)
            {
                let entry = entry?;
                names
                    .memory
                    .insert(entry.inode_id, (text(&entry.name), entry.shmid.into()));
            }
        }
        Ok(names)
    }
}

fn describe(images: &dyn ImageSource, entry: &proto::File, names: &Names) -> Result<Description, Error> {
    let mut file = Description {
        kind: FileType::of(entry.r#type),
        path: Arc::from(""),
        flags: None,
        offset: None,
        size: None,
        socket: None,
        segment: None,
    };
    if let Some(socket) = sockets::of(images, entry)? {
        file.path = socket.summary().into();
        file.flags = Some(socket.flags);
        file.socket = Some(Arc::new(socket));
        return Ok(file);
    }
    let (path, flags) = path_and_flags(entry, names).unwrap_or_else(|| {
        let kind = file.kind.name().to_lowercase();
        (format!("[{kind}]"), None)
    });
    (file.path, file.flags) = (path.into(), flags);
    if let Some(memory) = &entry.memfd {
        let found = names.memory.get(&memory.inode_id.into());
        file.segment = found.map(|(_, segment)| *segment);
    }
    if let Some(regular) = &entry.reg {
        file.offset = Some(regular.pos);
        file.size = regular.size;
    }
    Ok(file)
}

fn path_and_flags(entry: &proto::File, names: &Names) -> Option<(String, Option<u32>)> {
    let proto::File { reg, nsf, efd, .. } = entry;
    if let Some(file) = reg {
        return Some((text(&file.name), Some(file.flags)));
    }
    if let Some(file) = &entry.pipe {
        return Some((format!("pipe[{}]", file.pipe_id), Some(file.flags)));
    }
    if let Some(file) = &entry.fifo {
        let path = file.regf_id.map(|id| format!("{REFERS}{id}"));
        return Some((path.unwrap_or_else(|| format!("fifo[{}]", file.pipe_id)), None));
    }
    if let Some(file) = &entry.tty {
        let path = file.regf_id.map(|id| format!("{REFERS}{id}"));
        let path = path.or_else(|| names.terminals.get(&file.tty_info_id).cloned());
        return Some((path.unwrap_or_else(|| "[tty]".to_owned()), Some(file.flags)));
    }
    if let Some(file) = &entry.memfd {
        let name = names.memory.get(&file.inode_id.into()).map_or("", |(name, _)| name);
        return Some((format!("/memfd:{name}"), Some(file.flags)));
    }
    if let Some(file) = efd {
        return Some((format!("[eventfd, count {}]", file.counter), Some(file.flags)));
    }
    if let Some(file) = &entry.epfd {
        let watched: Vec<String> = file.tfd.iter().take(16).map(|target| target.tfd.to_string()).collect();
        let more = if file.tfd.len() > watched.len() { ", …" } else { "" };
        return Some((format!("[eventpoll of {}{more}]", watched.join(", ")), Some(file.flags)));
    }
    if let Some(file) = &entry.sgfd {
        return Some((format!("[signalfd, mask {:016x}]", file.sigmask), Some(file.flags)));
    }
    if let Some(file) = &entry.tfd {
        return Some((format!("[timerfd, clock {}]", file.clockid), Some(file.flags)));
    }
    if let Some(file) = nsf {
        return Some((format!("[namespace {:#x}]", file.ns_cflag), Some(file.flags)));
    }
    if let Some(file) = &entry.tunf {
        return Some((
            format!("[tun {}]", text(file.netdev.as_deref().unwrap_or_default())),
            None,
        ));
    }
    let file = entry.pidfd.as_ref()?;
    Some((format!("[pidfd of {}]", file.nspid), Some(file.flags)))
}
