//! Free and used space.

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

/// Bytes that are used on the file system of `path`.
///
/// # Errors
/// Where the path cannot be looked at.
pub fn used(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_blocks.saturating_sub(stat.f_bfree).saturating_mul(stat.f_frsize))
}
