//! Free space.

use std::io;
use std::path::Path;

/// Bytes that an ordinary process may still write to the file system of `path`.
///
/// # Errors
/// Where the path cannot be looked at.
pub fn free(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
