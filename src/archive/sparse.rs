//! Writes a file with holes where its content is zero.
//!
//! Memory images have whole pages of zeros; a hole costs neither disk nor page cache.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::zero::is_zero;

/// Granularity of holes: the block of nearly every file system, the page of nearly every machine.
const BLOCK: usize = 4096;

/// See the module.
pub(super) struct SparseFile {
    file: File,
    length: u64,
}

impl SparseFile {
    /// Writes into an empty file.
    pub(super) fn new(file: File) -> Self {
        Self { file, length: 0 }
    }

    /// Appends content.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_at(&self.file, bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Gives the file its length, which a hole at its end did not.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.set_len(self.length)
    }
}

/// Writes content to where the file has nothing yet. Runs of blocks that are not zero are written with one call.
pub(super) fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let data = run(bytes, offset, false);
        file.write_all_at(&bytes[..data], offset)?;
        let hole = run(&bytes[data..], offset + data as u64, true);
        offset += (data + hole) as u64;
        bytes = &bytes[data + hole..];
    }
    Ok(())
}

/// Length of the run of blocks at the beginning that are zero, or are not. Blocks are those of the file.
fn run(bytes: &[u8], offset: u64, zero: bool) -> usize {
    let mut end = 0;
    while end < bytes.len() {
        let block = BLOCK - ((offset + end as u64) % BLOCK as u64) as usize;
        let next = bytes.len().min(end + block);
        // Less than a block is not worth a hole.
        let is_zero = block == BLOCK && next - end == BLOCK && is_zero(&bytes[end..next]);
        if is_zero != zero {
            break;
        }
        end = next;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::MetadataExt;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn content_is_kept(parts in proptest::collection::vec((1_usize..20_000, any::<bool>()), 0..8), piece in 1_usize..30_000) {
            let content: Vec<u8> = parts.iter().flat_map(|(length, zero)| vec![u8::from(!zero); *length]).collect();
            let file = tempfile::NamedTempFile::new().expect("file");
            let mut sparse = SparseFile::new(file.reopen().expect("file"));
            content.chunks(piece).for_each(|piece| sparse.append(piece).expect("written"));
            sparse.finish().expect("length");
            prop_assert!(std::fs::read(file.path()).expect("file") == content);
        }
    }

    #[test]
    fn zeros_become_holes() {
        let file = tempfile::NamedTempFile::new().expect("file");
        let mut sparse = SparseFile::new(file.reopen().expect("file"));
        sparse.append(&[1; BLOCK]).expect("written");
        sparse.append(&vec![0; 1 << 20]).expect("hole");
        sparse.finish().expect("length");
        let metadata = file.as_file().metadata().expect("file");
        assert_eq!(metadata.len(), (1 << 20) + BLOCK as u64);
        assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
    }
}
