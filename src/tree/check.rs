//! Reading a tar through without unpacking it: what `verify` does, what fuzzing starts from, and how our understanding of
//! a tar is compared with other programs'.

use std::io::Read;

use super::error::{Defect, Error};
use super::limits::Limits;
use super::meta::{Entry, Kind};
use super::read::Reader;
use super::seen::Seen;

/// What a tar holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries.
    pub entries: u64,
    /// Bytes of content, holes not counted.
    pub data: u64,
}

/// Reads a whole tar and gives each entry to `each`. Beyond what [`Reader`] refuses, a path that comes twice and a hard link
/// to something that did not come before are errors.
///
/// # Errors
/// The first defect, with its entry; or what `each` returns.
pub fn check(
    input: impl Read,
    limits: Limits,
    mut each: impl FnMut(&Entry) -> Result<(), Error>,
) -> Result<Summary, Error> {
    let mut reader = Reader::new(input, limits);
    let mut seen = Seen::default();
    let mut summary = Summary::default();
    while let Some(entry) = reader.next_entry()? {
        check_place(&mut seen, reader.name(), &entry)?;
        summary.entries += 1;
        summary.data += entry.kind.data_len();
        each(&entry)?;
    }
    Ok(summary)
}

/// Whether an entry may come after those seen.
pub(super) fn check_place(seen: &mut Seen, name: &[u8], entry: &Entry) -> Result<(), Error> {
    if let Kind::HardLink(target) = &entry.kind
        && !seen.has_file(target)
    {
        return Err(Error::entry(name, Defect::LinkTarget(target.clone())));
    }
    if seen.insert(&entry.path, entry.kind == Kind::Directory) {
        Ok(())
    } else {
        Err(Error::entry(name, Defect::Duplicate))
    }
}
