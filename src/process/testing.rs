//! Files of processes, to test with.

use super::{FileKind, OpenFile, Use};

/// A regular file of three bytes that a process has open.
pub(crate) fn open_file(path: &str) -> OpenFile {
    OpenFile {
        path: path.to_owned(),
        kind: FileKind::Regular,
        uses: vec![Use::Open],
        deleted: false,
        device: "8:1".to_owned(),
        inode: 1,
        size: 3,
        mode: "0644".to_owned(),
        mtime: 0,
        rdev: None,
        build_id: None,
        sha256: None,
        archived: false,
    }
}
