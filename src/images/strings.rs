//! Command lines and environments, which are in the memory of each process.

use super::error::Error;
use super::memory::{Layout, TaskMemory};
use super::pagemap::{Extents, PageState};
use super::source::ImageSource;
use super::text::text;

/// Strings of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Strings {
    /// These.
    Read(Vec<String>),
    /// Their pages are not at hand: in a parent's images, or in a part of a stream that was not kept.
    NotAtHand,
}

/// The arguments of a process, at most so many bytes of them.
pub(super) fn arguments(images: &dyn ImageSource, task: &TaskMemory, limit: u64) -> Result<Strings, Error> {
    let Layout { arguments, .. } = task.layout;
    read(images, &task.extents, arguments, limit)
}

/// The environment of a process, at most so many bytes of it.
pub(super) fn environment(images: &dyn ImageSource, task: &TaskMemory, limit: u64) -> Result<Strings, Error> {
    let Layout { environment, .. } = task.layout;
    read(images, &task.extents, environment, limit)
}

fn read(images: &dyn ImageSource, extents: &Extents, (start, end): (u64, u64), limit: u64) -> Result<Strings, Error> {
    if images.size(&extents.pages).is_none() && end > start {
        return Err(Error::Missing {
            image: extents.pages.clone(),
        });
    }
    let end = end.min(start.saturating_add(limit)).max(start);
    let mut bytes = vec![0; (end - start) as usize];
    let mut covered = 0;
    for extent in extents.between(start, end) {
        let at = (extent.address - start) as usize;
        let part = &mut bytes[at..at + extent.length as usize];
        if extent.state != PageState::Stored || !images.pages(&extents.pages, extent.offset, part)? {
            return Ok(Strings::NotAtHand);
        }
        covered += extent.length;
    }
    // A page that nobody ever wrote to has no arguments: they are somewhere else.
    Ok(if covered < end - start {
        Strings::NotAtHand
    } else {
        Strings::Read(split(&bytes))
    })
}

/// Strings end with a zero byte. A process may have written over them: whatever is there then is shown.
fn split(bytes: &[u8]) -> Vec<String> {
    let trimmed = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let bytes = &bytes[..trimmed];
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|byte| *byte == 0).map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_with_zeros() {
        assert_eq!(split(b"sh\0-c\0\0x\0\0\0"), ["sh", "-c", "", "x"]);
        assert_eq!(
            split(b"nginx: master process nginx\0\0"),
            ["nginx: master process nginx"]
        );
        assert!(split(b"").is_empty() && split(b"\0\0").is_empty());
    }
}
