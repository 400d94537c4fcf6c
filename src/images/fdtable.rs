//! The open files of a process: its file descriptors (`fdinfo` images).

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::error::Error;
use super::files::{FileType, Files};
use super::limits::MAX_OPEN_FILES;
use super::proto;
use super::record::{FDINFO, FS, IDS, Records, first};
use super::sockets::Socket;
use super::source::ImageSource;

/// FD_CLOEXEC.
const CLOSE_ON_EXEC: u32 = 1;

/// An open file of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OpenFile {
    /// The file descriptor.
    pub fd: u32,
    /// The kind of file, under CRIU's name.
    #[serde(rename = "type")]
    pub kind: FileType,
    /// Its path; of what has none, what it is.
    pub path: Arc<str>,
    /// `read`, `write` or `read-write`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<&'static str>,
    /// Where the next byte is read or written, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Its size, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Whether execve(2) closes it.
    pub close_on_exec: bool,
    /// The number of the open file: descriptors with the same one share offset and flags.
    pub file_id: u32,
    /// The socket that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<Arc<Socket>>,
}

/// The files of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) open: Vec<OpenFile>,
    pub(super) working_directory: Option<Arc<str>>,
    pub(super) root: Option<Arc<str>>,
}

/// The file descriptors of a process, by number. `budget` is how many bytes of them are still accepted of all processes.
pub(super) fn read(images: &dyn ImageSource, pid: u32, files: &Files, budget: &mut usize) -> Result<Table, Error> {
    let name = format!("ids-{pid}.img");
    let ids: proto::Ids = first(IDS, &name, &images.read(&name)?)?;
    let name = format!("fdinfo-{}.img", ids.files_id);
    let mut open = Vec::new();
    // Without any open file there is no image.
    if let Some(image) = images.find(&name)? {
        for entry in Records::of(FDINFO, &name, &image)?.decoded::<proto::Fdinfo>() {
            let file = open_file(&entry?, files);
            // Paths are shared here, but written once for each descriptor.
            *budget = budget
                .checked_sub(size_of::<OpenFile>() + 2 * file.path.len())
                .ok_or_else(|| Error::too_many(&name, "bytes of open files", MAX_OPEN_FILES))?;
            open.push(file);
        }
    }
    open.sort_by_key(|file: &OpenFile| file.fd);
    let name = format!("fs-{pid}.img");
    let place: Option<proto::Fs> = match images.find(&name)? {
        Some(image) => Some(first(FS, &name, &image)?),
        None => None,
    };
    Ok(Table {
        open,
        working_directory: place.and_then(|place| files.path(place.cwd_id)),
        root: place.and_then(|place| files.path(place.root_id)),
    })
}

fn open_file(entry: &proto::Fdinfo, files: &Files) -> OpenFile {
    let file = files.get(entry.id);
    OpenFile {
        fd: entry.fd,
        kind: FileType::of(entry.r#type),
        path: file.map_or_else(|| "[unknown]".into(), |file| file.path.clone()),
        access: file.and_then(|file| file.flags).map(access),
        offset: file.and_then(|file| file.offset),
        size: file.and_then(|file| file.size),
        close_on_exec: entry.flags & CLOSE_ON_EXEC != 0,
        file_id: entry.id,
        socket: file.and_then(|file| file.socket.clone()),
    }
}

/// O_ACCMODE.
fn access(flags: u32) -> &'static str {
    match flags & 3 {
        0 => "read",
        1 => "write",
        _ => "read-write",
    }
}
