//! Small files, read whole but never without a bound.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// Reads a file of at most `limit` bytes. The size that `stat` tells is not asked: files of /proc and /sys have none.
///
/// # Errors
/// Those of opening and reading; [`ErrorKind::FileTooLarge`] when there are more than `limit` bytes.
pub fn bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    bounded_from(File::open(path)?, limit)
}

/// Reads at most `limit` bytes of what `file` still holds.
///
/// # Errors
/// As [`bounded`].
pub fn bounded_from(file: impl Read, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Error::from(ErrorKind::FileTooLarge));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_inclusive() {
        assert_eq!(bounded_from(&b"abc"[..], 3).unwrap(), b"abc");
        assert_eq!(
            bounded_from(&b"abcd"[..], 3).unwrap_err().kind(),
            ErrorKind::FileTooLarge
        );
        assert_eq!(bounded_from(&b""[..], 0).unwrap(), b"");
    }
}
