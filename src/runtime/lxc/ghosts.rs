//! Files that tasks of a container have open though nobody finds them any more: how large they are.
//!
//! CRIU takes such a file with its images, unless it is larger than the limit that it is given: 1 MiB where nobody says
//! otherwise, and `lxc-checkpoint` has no switch for it. A log that was rotated away is larger soon.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// CRIU's own limit, bytes.
const DEFAULT: u64 = 1024 * 1024;
/// Bytes in one of the blocks that the kernel counts.
const BLOCK: u64 = 512;

/// The limit that CRIU needs for the container whose first process is `pid`; `None` where its own will do.
pub(super) fn limit(pid: i32) -> Option<u64> {
    limit_for(&sizes(Path::new("/proc"), pid))
}

/// Twice the largest, because they may grow until everything is frozen.
fn limit_for(sizes: &[u64]) -> Option<u64> {
    let largest = *sizes.iter().max()?;
    let wanted = largest.saturating_mul(2);
    (wanted > DEFAULT).then_some(wanted)
}

/// What each of them takes on disk, which is what CRIU compares. What cannot be looked at is not counted: CRIU says so.
fn sizes(proc: &Path, pid: i32) -> Vec<u64> {
    let namespace = |process: &Path| fs::read_link(process.join("ns/pid")).ok();
    let Some(container) = namespace(&proc.join(pid.to_string())) else {
        return Vec::new();
    };
    let tasks = entries(proc).filter(|task| namespace(task).as_ref() == Some(&container));
    let opened = tasks.flat_map(|task| entries(&task.join("fd")).chain(entries(&task.join("map_files"))));
    opened
        .filter_map(|open| fs::metadata(open).ok())
        .filter(is_ghost)
        .map(|file| file.blocks().saturating_mul(BLOCK))
        .collect()
}

fn is_ghost(file: &Metadata) -> bool {
    file.is_file() && file.nlink() == 0
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_limit_is_raised_where_it_must_be() {
        for (sizes, expected) in [
            (&[][..], None),
            (&[0, 4096][..], None),
            (&[DEFAULT / 2][..], None),
            (&[DEFAULT, 4096][..], Some(2 * DEFAULT)),
            (&[u64::MAX][..], Some(u64::MAX)),
        ] {
            assert_eq!(limit_for(sizes), expected, "{sizes:?}");
        }
    }

    #[test]
    fn a_deleted_file_that_is_open_is_found_and_others_are_not() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        // No file system has one of exactly this size by chance.
        let mut ghost = tempfile::tempfile_in(&directory).unwrap();
        ghost.write_all(&vec![7; 1_234_944]).unwrap();
        ghost.sync_all().unwrap();
        let size = ghost.metadata().unwrap().blocks() * BLOCK;
        assert!(sizes(Path::new("/proc"), pid).contains(&size));
        drop(ghost);
        let mut named = fs::File::create(directory.path().join("named")).unwrap();
        named.write_all(&vec![7; 1_234_944]).unwrap();
        named.sync_all().unwrap();
        assert!(!sizes(Path::new("/proc"), pid).contains(&size));
    }
}
