//! A descriptor that the caller of ckpt handed down, to be told that something is ready.

use std::fs::OpenOptions;
use std::io::Write;

/// Writes one zero byte to the descriptor `fd`, as CRIU does to its `--status-fd`. A reader that is gone is no failure.
///
/// The descriptor is opened anew through `/proc`: taking it over by its number alone would be unsound.
pub fn signal(fd: i32) {
    let written = OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{fd}"))
        .and_then(|mut file| file.write_all(&[0]));
    if let Err(error) = written {
        tracing::warn!(fd, %error, "the status descriptor could not be written to");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn one_zero_byte_arrives() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        signal(writer.as_raw_fd());
        drop(writer);
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        assert_eq!(got, [0]);
    }
}
