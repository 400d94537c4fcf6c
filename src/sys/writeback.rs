//! Writing a file to disk while more of it is still to come.

use std::ffi::{c_int, c_uint};
use std::fs::File;
use std::os::fd::AsRawFd;

/// Start writing what is dirty; wait for nothing (`linux/fs.h`).
const SYNC_FILE_RANGE_WRITE: c_uint = 2;

#[expect(
    unsafe_code,
    reason = "a system call that rustix does not have; the prototype is that of its manual page"
)]
unsafe extern "C" {
    fn sync_file_range(fd: c_int, offset: i64, nbytes: i64, flags: c_uint) -> c_int;
}

/// Asks the kernel to begin writing a range of the file to disk. A hint: file systems that cannot are left alone, and whether
/// it can be written at all is for `fsync` to say, at the end.
pub fn start(file: &File, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else {
        return;
    };
    // SAFETY: the descriptor is open, and no memory is passed.
    #[expect(unsafe_code, reason = "the call is foreign")]
    let _ = unsafe { sync_file_range(file.as_raw_fd(), offset, length, SYNC_FILE_RANGE_WRITE) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn any_file_stays_as_it_is() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 10_000]).unwrap();
        start(&file, 0, 8192);
        start(&file, 8192, u64::MAX);
        start(&file, 1 << 40, 1);
        assert_eq!(file.metadata().unwrap().len(), 10_000);
        let mut null = File::open("/dev/null").unwrap();
        start(&null, 0, 1);
        assert_eq!(null.read(&mut [0]).unwrap(), 0);
    }
}
