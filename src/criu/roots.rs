//! The mode that CRIU expects the container's root directory to have.
//!
//! CRIU compares the mode of every file that it opens with the one that it saw, that of the root directory too. podman's is
//! 0555, which neither its own archive says nor a copy of the image's files has.

use std::fs;
use std::path::Path;

use prost::Message;

use super::images::Records;

const FS_MAGIC: u32 = 0x5140_3912;
const FILES_MAGIC: u32 = 0x5630_3138;
/// Largest `files.img` that is read, bytes: some 400,000 files.
const IMAGE_LIMIT: u64 = 32 << 20;
/// The permission bits of a mode.
const PERMISSIONS: u32 = 0o7777;

/// CRIU's `fs_entry`.
#[derive(Clone, PartialEq, Eq, Message)]
struct FsEntry {
    #[prost(uint32, required, tag = "2")]
    root_id: u32,
}

/// CRIU's `file_entry`, of a regular file or directory.
#[derive(Clone, PartialEq, Eq, Message)]
struct FileEntry {
    #[prost(uint32, required, tag = "2")]
    id: u32,
    #[prost(message, optional, tag = "3")]
    regular: Option<RegularFile>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct RegularFile {
    #[prost(uint32, optional, tag = "10")]
    mode: Option<u32>,
}

/// The permission bits of the root directory of the first process in these images; `None` where they do not say.
#[must_use]
pub fn root_mode(directory: &Path) -> Option<u32> {
    let first = fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| number(&entry.ok()?.file_name().to_string_lossy()))
        .min()?;
    let name = format!("fs-{first}.img");
    let image = read(&directory.join(&name))?;
    let root = FsEntry::decode(Records::open(&name, &image, FS_MAGIC).ok()?.next()?.ok()?)
        .ok()?
        .root_id;
    let image = read(&directory.join("files.img"))?;
    let files = Records::open("files.img", &image, FILES_MAGIC).ok()?;
    let mode = files
        .filter_map(|record| FileEntry::decode(record.ok()?).ok())
        .find(|file| file.id == root)?
        .regular?
        .mode?;
    Some(mode & PERMISSIONS)
}

/// The N of `fs-N.img`.
fn number(name: &str) -> Option<u32> {
    name.strip_prefix("fs-")?.strip_suffix(".img")?.parse().ok()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let metadata = fs::metadata(path).ok()?;
    (metadata.len() <= IMAGE_LIMIT).then(|| fs::read(path).ok())?
}

#[cfg(test)]
mod tests {
    use super::super::images::COMMON_MAGIC;
    use super::*;

    fn image(magic: u32, message: &[u8]) -> Vec<u8> {
        let length = (message.len() as u32).to_le_bytes();
        [&COMMON_MAGIC.to_le_bytes(), &magic.to_le_bytes(), &length, message].concat()
    }

    #[test]
    fn the_first_process_says_it() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: Vec<u8>| fs::write(directory.path().join(name), content).unwrap();
        assert_eq!(root_mode(directory.path()), None);
        write("fs-1.img", image(FS_MAGIC, &FsEntry { root_id: 7 }.encode_to_vec()));
        write("fs-12.img", image(FS_MAGIC, &FsEntry { root_id: 8 }.encode_to_vec()));
        assert_eq!(root_mode(directory.path()), None);
        let file = |id, mode| FileEntry {
            id,
            regular: Some(RegularFile { mode: Some(mode) }),
        };
        let mut files = image(FILES_MAGIC, &file(8, 0o40_700).encode_to_vec());
        let second = file(7, 0o40_555).encode_to_vec();
        files.extend((second.len() as u32).to_le_bytes());
        files.extend(second);
        write("files.img", files);
        assert_eq!(root_mode(directory.path()), Some(0o555));
        write("files.img", vec![1, 2, 3]);
        assert_eq!(root_mode(directory.path()), None);
    }
}
