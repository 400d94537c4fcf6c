//! Images that were collected while an archive without an index went by.
//!
//! Small images are kept whole; of every pages image only its end, where the stacks are and with them the command lines:
//! one pass over a stream is enough to show everything but the memory itself.
//!
//! Invariant: what is kept is bounded, whatever the stream holds.

use std::collections::HashMap;
use std::io::{self, Read};

use super::error::{Error, Problem};
use super::limits::{MAX_COLLECTED, MAX_TAILS, TAIL};
use super::source::{Image, ImageSource, check_size};

/// Names, up to their number, of the images that are looked at.
const WANTED: [&str; 18] = [
    "pstree.img",
    "files.img",
    "cgroup.img",
    "memfd.img",
    "tty-info.img",
    "core-",
    "ids-",
    "mm-",
    "pagemap-",
    "fdinfo-",
    "fs-",
    "mountpoints-",
    "tcp-stream-",
    "netdev-",
    "ifaddr-",
    "route-",
    "route6-",
    "utsns-",
];
/// How much is read at a time, bytes.
const CHUNK: usize = 128 << 10;

/// The end of a pages image.
#[derive(Debug)]
struct Tail {
    /// Offset of the first byte that is kept.
    start: u64,
    bytes: Vec<u8>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Collected {
    images: Vec<Image>,
    small: HashMap<String, Vec<u8>>,
    tails: HashMap<String, Tail>,
    /// Bytes in `small`.
    kept: u64,
    /// Bytes in `tails`.
    ends: usize,
}

impl Collected {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the content of the image of that name (without a directory) is of use: what is not needs not be handed to
    /// [`Collected::take`].
    #[must_use]
    pub fn wants(name: &str) -> bool {
        is_pages(name) || WANTED.iter().any(|wanted| name.starts_with(wanted))
    }

    /// Notes an image that is there, and keeps of it what is of use.
    ///
    /// # Errors
    /// [`Error::Image`] where it is too large, [`Error::TooMany`] where all together are, [`Error::Read`].
    pub fn take(&mut self, name: &str, size: u64, content: &mut dyn Read) -> Result<(), Error> {
        self.images.push(Image {
            name: name.to_owned(),
            size,
        });
        let read = |source| Error::read(name, source);
        if is_pages(name) {
            let keep = TAIL.min(MAX_TAILS - self.ends);
            let tail = tail(content, size, keep).map_err(read)?;
            self.ends += tail.bytes.len();
            self.tails.insert(name.to_owned(), tail);
        } else if Self::wants(name) {
            check_size(name, size)?;
            self.kept += size;
            if self.kept > MAX_COLLECTED {
                return Err(Error::image(name, Problem::TooLarge));
            }
            let mut bytes = Vec::new();
            content.take(size + 1).read_to_end(&mut bytes).map_err(read)?;
            self.small.insert(name.to_owned(), bytes);
        }
        Ok(())
    }
}

fn is_pages(name: &str) -> bool {
    name.starts_with("pages-")
}

/// Reads to the end and keeps the last bytes, `keep` of them where there are as many. Content that is not as long as it was
/// said to be leaves a shorter end.
fn tail(content: &mut dyn Read, size: u64, keep: usize) -> io::Result<Tail> {
    let start = size.saturating_sub(keep as u64);
    skip(&mut (&mut *content).take(start))?;
    let mut bytes = Vec::new();
    (&mut *content).take(keep as u64).read_to_end(&mut bytes)?;
    skip(content)?;
    Ok(Tail { start, bytes })
}

/// Reads to the end through one buffer, which stays in the processor's cache.
fn skip(content: &mut dyn Read) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
}

impl ImageSource for Collected {
    fn images(&self) -> &[Image] {
        &self.images
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.small
            .get(name)
            .cloned()
            .ok_or_else(|| Error::Missing { image: name.to_owned() })
    }

    fn pages(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<bool, Error> {
        let bytes = self.tails.get(name).and_then(|tail| {
            let from = usize::try_from(offset.checked_sub(tail.start)?).ok()?;
            tail.bytes.get(from..from.checked_add(buffer.len())?)
        });
        if let Some(bytes) = bytes {
            buffer.copy_from_slice(bytes);
        }
        Ok(bytes.is_some())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A source of these images.
    pub(crate) fn collected<N: AsRef<str>>(images: &[(N, Vec<u8>)]) -> Collected {
        let mut collected = Collected::new();
        for (name, content) in images {
            collected
                .take(name.as_ref(), content.len() as u64, &mut content.as_slice())
                .unwrap();
        }
        collected
    }

    #[test]
    fn the_end_of_pages_is_kept_and_nothing_else_of_them() {
        let pages: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let images = collected(&[
            ("pages-1.img", pages.clone()),
            ("core-1.img", vec![1]),
            ("ghost-file-1.img", vec![2]),
        ]);
        let mut buffer = vec![0; 5000];
        let last = pages.len() - 5000;
        assert!(images.pages("pages-1.img", last as u64, &mut buffer).unwrap());
        assert_eq!(buffer, pages[last..]);
        for (name, offset) in [
            ("pages-1.img", 0),
            ("pages-1.img", last as u64 + 1),
            ("pages-2.img", 0),
            ("pages-1.img", u64::MAX),
        ] {
            assert!(!images.pages(name, offset, &mut buffer).unwrap(), "{name} {offset}");
        }
        assert_eq!(images.tails["pages-1.img"].bytes.len(), TAIL);
        assert_eq!(
            (images.read("core-1.img").unwrap(), images.size("ghost-file-1.img")),
            (vec![1], Some(1))
        );
        assert!(images.find("ghost-file-1.img").unwrap().is_none());
    }

    #[test]
    fn images_are_found_by_their_numbers() {
        let images = collected(&[
            ("mountpoints-12.img", vec![]),
            ("mountpoints-2.img", vec![]),
            ("mountpoints-x.img", vec![]),
        ]);
        let names: Vec<_> = images
            .numbered("mountpoints")
            .into_iter()
            .map(|(number, _)| number)
            .collect();
        assert_eq!(names, [2, 12]);
    }
}
