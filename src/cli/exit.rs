//! Exit codes: the one table that the documentation, the man page and the tests are made from.

use crate::error::ErrorKind;

/// Exit code where the reader of standard output went away: what a shell makes of a tool that SIGPIPE ended.
pub const READER_GONE: u8 = 128 + 13;

/// Every class of error with its meaning, in the order of the codes.
const MEANINGS: [(ErrorKind, &str); 8] = [
    (ErrorKind::Other, "something failed that no other code describes"),
    (ErrorKind::Usage, "the command line is wrong; nothing was done"),
    (
        ErrorKind::Host,
        "this host cannot do it: no CRIU, no kernel support, no privilege; `ckpt check` says what is missing",
    ),
    (
        ErrorKind::Archive,
        "the archive is damaged, hostile, or of a version that this ckpt does not know; nothing of it was used",
    ),
    (ErrorKind::NotFound, "the runtime knows no such container"),
    (
        ErrorKind::Dump,
        "the export failed; the container runs on, and an older archive of that name is as it was",
    ),
    (
        ErrorKind::Restore,
        "the restore failed; nothing of it is left on this host, and the archive is as it was",
    ),
    (
        ErrorKind::Policy,
        "the archive asks for something of this host that a flag has to allow by name; nothing was started",
    ),
];

/// Exit codes with their meanings: those of errors, success, and [`READER_GONE`].
#[must_use]
pub fn exit_codes() -> Vec<(u8, &'static str)> {
    let errors = MEANINGS.iter().map(|(kind, meaning)| (kind.exit_code(), *meaning));
    let gone = (
        READER_GONE,
        "the reader of standard output went away before everything was written, as in `ckpt ls FILE | head`",
    );
    [(0, "done")].into_iter().chain(errors).chain([gone]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_code_of_its_own_and_a_meaning() {
        let codes: Vec<u8> = exit_codes().into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, READER_GONE]);
        for (kind, _) in MEANINGS {
            // A class that is added fails to compile here, and is then added to the table above.
            match kind {
                ErrorKind::Other
                | ErrorKind::Usage
                | ErrorKind::Host
                | ErrorKind::Archive
                | ErrorKind::NotFound
                | ErrorKind::Dump
                | ErrorKind::Restore
                | ErrorKind::Policy => {}
            }
        }
    }
}
