//! Walking over the memory of processes: by the index of an archive, or in a second pass over one that has none.

use std::collections::HashMap;
use std::io::Read;

use super::super::archive::Archive;
use super::super::look::Look;
use super::super::render::Stop;
use super::super::render::failure::Failure;
use crate::archive::format::CHECKPOINT;
use crate::error::ErrorKind;
use crate::images::{Error, ProcessRegions};

/// How much is read of a stream at a time, bytes.
const PIECE: usize = 1 << 20;

/// Takes the bytes at an address of a process; `usize` is the number of the process.
pub type Take<'a> = &'a mut dyn FnMut(usize, u64, &[u8]) -> Result<(), Stop>;

/// An error of the images, or one of whoever takes the bytes.
enum Failed {
    Images(Error),
    Taker(Stop),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Images(error)
    }
}

/// The memory of the processes: all, or one.
pub fn processes(archive: &Archive, look: &Look, pid: Option<u32>) -> Result<Vec<ProcessRegions>, Stop> {
    ProcessRegions::read(look.images(), pid).map_err(|error| archive.fail_images(&error))
}

/// Hands all memory of the processes to `take`: of each process in ascending order of its pages images.
pub fn walk(archive: &Archive, look: &Look, processes: &[ProcessRegions], take: Take<'_>) -> Result<(), Stop> {
    if look.archived().is_none() {
        return pass(archive, processes, take);
    }
    for (number, process) in processes.iter().enumerate() {
        for part in &process.parts {
            let mut taker = |address: u64, bytes: &[u8]| take(number, address, bytes).map_err(Failed::Taker);
            part.walk(look.images(), &mut taker).map_err(|failed| match failed {
                Failed::Images(error) => archive.fail_images(&error),
                Failed::Taker(stop) => stop,
            })?;
        }
    }
    Ok(())
}

/// The same in one pass over the archive, in the order of its entries.
fn pass(archive: &Archive, processes: &[ProcessRegions], take: Take<'_>) -> Result<(), Stop> {
    if archive.passes_once() {
        let what = format!("{} has to be read twice, which a pipe cannot be", archive.name());
        let failure = Failure::bare(what, ErrorKind::Usage).state(None);
        return Err(failure
            .advice(Some("store the archive in a file first".to_owned()))
            .into());
    }
    let mut wanted: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
    for (number, process) in processes.iter().enumerate() {
        for (at, part) in process.parts.iter().enumerate() {
            let entry = format!("{CHECKPOINT}/{}", part.pages);
            wanted.entry(entry).or_default().push((number, at));
        }
    }
    let mut buffer = vec![0; PIECE];
    archive.read(&|name| wanted.contains_key(name), &mut |name, _, content| {
        let users = wanted.get(name).map_or(&[][..], Vec::as_slice);
        let mut offset = 0;
        loop {
            let count = fill(content, &mut buffer).map_err(|error| archive.fail_read(error))?;
            if count == 0 {
                return Ok(());
            }
            for &(number, at) in users {
                let part = &processes[number].parts[at];
                part.pass(offset, &buffer[..count], &mut |address, bytes| {
                    take(number, address, bytes)
                })?;
            }
            offset += count as u64;
        }
    })?;
    Ok(())
}

fn fill(content: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match content.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
