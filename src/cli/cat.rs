//! `ckpt cat`: one entry of an archive, checked while it is written.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use super::Outcome;
use super::archive::{Archive, no_entry};
use super::args::CatArgs;
use super::render::Stop;

/// Bytes that are copied at a time.
const BUFFER: usize = 256 * 1024;

/// Writes an entry to standard output.
pub fn run(args: CatArgs) -> Outcome {
    let archive = Archive::new(args.file, None, "read");
    let mut found = false;
    archive.read(&|name| name == args.entry, &mut |_, _, content| {
        found = true;
        copy(&archive, content)
    })?;
    if found {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(no_entry(&archive, &args.entry))
    }
}

/// Copies to standard output, and tells what is wrong with either end from what is wrong with the other.
fn copy(archive: &Archive, content: &mut dyn Read) -> Result<(), Stop> {
    let mut out = io::stdout().lock();
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => return out.flush().map_err(|error| Stop::stdout(&error)),
            Ok(count) => count,
            Err(error) => return Err(archive.fail_read(error)),
        };
        out.write_all(&buffer[..count]).map_err(|error| Stop::stdout(&error))?;
    }
}
