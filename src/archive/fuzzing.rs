//! What the fuzz targets call (`fuzz/`), and the test that replays their seeds.
//!
//! Errors are fine, panics are bugs; and what is accepted must have only one encoding.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroUsize;

use rustix::fs::MemfdFlags;

use super::header::{BLOCK, Context, Header};
use super::index::Index;
use super::indexed::Indexed;
use super::path::ArchivePath;
use super::reader::{Proof, Reader, ReaderOptions};
use super::tail::Tail;
use super::{Limits, seektable, sums};

/// Enough for any seed, too little to spend time on bombs.
const LIMITS: Limits = Limits {
    content: 64 << 20,
    expansion: 1000,
    expansion_floor: 16 << 20,
};

fn read(archive: &[u8]) -> Result<Proof, super::Error> {
    let options = ReaderOptions {
        threads: NonZeroUsize::MIN,
        limits: LIMITS,
        length: None,
    };
    let mut reader = Reader::new(archive, options)?;
    let mut content = Vec::new();
    while let Some(entry) = reader.next()? {
        // Some of it is read, the rest is skipped.
        let _ = entry.take(1000).read_to_end(&mut content);
    }
    reader.finish()
}

/// An archive from front to back, and by its index: what the first accepts, the second accepts and lists alike.
pub fn archive(bytes: &[u8]) {
    let proof = read(bytes);
    let indexed = memory_file(bytes).map(Indexed::open);
    if let (Ok(proof), Some(indexed)) = (proof, indexed) {
        assert!(indexed.is_ok_and(|indexed| *indexed.index() == proof.index && indexed.identity() == proof.identity));
    }
}

/// An archive by its index: whatever is accepted can be read or is an error.
pub fn indexed(bytes: &[u8]) {
    let Some(Ok(indexed)) = memory_file(bytes).map(Indexed::open) else {
        return;
    };
    for (entry, _) in indexed.entries() {
        let _ = indexed.read(entry.path.as_str(), LIMITS.content);
    }
}

fn memory_file(bytes: &[u8]) -> Option<File> {
    let mut file = File::from(rustix::fs::memfd_create("archive", MemfdFlags::CLOEXEC).ok()?);
    file.write_all(bytes).ok()?;
    Some(file)
}

/// `index.json` and the tail around it.
pub fn index(bytes: &[u8]) {
    if let Ok(index) = Index::parse(bytes) {
        assert_eq!(index.encode(), bytes);
    }
    if let Ok((index, _, tail)) = Tail::parse(bytes) {
        assert!(tail.encode(index.mtime()).is_ok_and(|stream| stream == bytes));
    }
}

/// A seek table, and a list of digests.
pub fn tables(bytes: &[u8]) {
    if let Some(frames) = seektable::parse(bytes) {
        assert_eq!(seektable::encode(frames.into_iter()), bytes);
    }
    if let Ok(lines) = sums::parse(bytes) {
        let lines = lines
            .into_iter()
            .map(|(name, digest)| Some((std::str::from_utf8(name).ok()?, digest)));
        if let Some(lines) = lines.collect::<Option<Vec<_>>>() {
            assert_eq!(sums::encode(lines.into_iter()), bytes);
        }
    }
}

/// Names and headers.
pub fn names(bytes: &[u8]) {
    if let Ok(path) = ArchivePath::try_from(bytes) {
        assert!(
            !path
                .as_str()
                .split('/')
                .any(|component| matches!(component, "" | "." | ".."))
        );
    }
    let context = Context { offset: 0, after: "" };
    let mut blocks = 1;
    while let Some(known) = bytes.get(..blocks * BLOCK) {
        match Header::blocks(known, context) {
            Ok(more) if more > blocks => blocks = more,
            Ok(_) => break,
            Err(_) => return,
        }
    }
    if let Some(header) = bytes.get(..blocks * BLOCK)
        && let Ok(parsed) = Header::parse(header, context)
    {
        assert_eq!(parsed.encode(), header);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Every file of a directory, and parts of it.
    fn replay(directory: &str, target: fn(&[u8])) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
        let mut count = 0;
        for entry in std::fs::read_dir(&directory).expect("seeds") {
            let bytes = std::fs::read(entry.expect("entry").path()).expect("seed");
            target(&bytes);
            target(&bytes[..bytes.len() / 2]);
            target(&bytes[bytes.len() / 3..]);
            count += 1;
        }
        assert!(count > 0, "{} is empty", directory.display());
    }

    #[test]
    fn seeds_of_the_fuzz_targets_are_no_bugs() {
        replay("fixtures/archives", archive);
        replay("fixtures/archives", indexed);
        replay("fuzz/seeds/index", index);
        replay("fuzz/seeds/tables", tables);
        replay("fuzz/seeds/names", names);
    }

    /// The seeds are parts of a good archive, so that the targets begin behind the first check.
    #[test]
    fn seeds_are_accepted() {
        let seed = |name: &str| {
            std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name)).expect(name)
        };
        Tail::parse(&seed("index/tail")).expect("tail");
        Index::parse(&seed("index/index.json")).expect("index");
        seektable::parse(&seed("tables/seek-table")).expect("seek table");
        sums::parse(&seed("tables/SHA256SUMS")).expect("digests");
        for name in ["names/header", "names/pax-header", "names/directory"] {
            Header::parse(&seed(name), Context { offset: 0, after: "" }).expect(name);
        }
    }
}
