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

/// Whether `path` is on a tmpfs: what is written there stays in memory.
#[must_use]
pub fn is_tmpfs(path: &Path) -> bool {
    /// `TMPFS_MAGIC` of linux/magic.h.
    const TMPFS: u64 = 0x0102_1994;
    rustix::fs::statfs(path).is_ok_and(|stat| u64::try_from(stat.f_type).ok() == Some(TMPFS))
}

/// Bytes of memory that could be used without anything being swapped out, `MemAvailable` of /proc/meminfo.
///
/// # Errors
/// Where it cannot be read, or says nothing about it.
pub fn memory() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    available(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_found() {
        assert_eq!(available("MemFree:  1 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(available("MemFree:  1 kB\n"), None);
        assert!(memory().unwrap() > 0);
        assert!(!is_tmpfs(Path::new("/proc")));
    }
}
