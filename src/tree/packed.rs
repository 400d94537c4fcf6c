//! One entry of a tar, ready to be written.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use super::encode::{self, END};
use super::error::Error;
use super::meta::{Entry, Kind, Time};

/// An entry ready to be written.
pub(super) struct Packed {
    /// Under the name that it has in the tree, not in the tar.
    pub entry: Entry,
    /// The bytes before its content.
    pub head: Vec<u8>,
    /// Where the content is read from.
    pub file: Option<File>,
    /// Which visit of the walk it is of.
    pub ordinal: u64,
    /// When the file last changed.
    pub ctime: Time,
}

impl Packed {
    /// Bytes in the tar, whole blocks.
    pub fn len(&self) -> u64 {
        let data = self.entry.kind.data_len();
        self.head.len() as u64 + data + encode::padding(data)
    }

    /// Writes it; `buffer` is for copying.
    pub fn write(&self, out: &mut (impl Write + ?Sized), buffer: &mut [u8]) -> Result<(), Error> {
        out.write_all(&self.head).map_err(Error::Output)?;
        let Some(file) = &self.file else { return Ok(()) };
        match &self.entry.kind {
            Kind::File { sparse: Some(map), .. } => {
                for region in map.regions() {
                    self.copy(file, region.offset, region.len, out, buffer)?;
                }
            }
            kind => self.copy(file, 0, kind.data_len(), out, buffer)?,
        }
        let padding = encode::padding(self.entry.kind.data_len());
        out.write_all(&END[..usize::try_from(padding).unwrap_or(0)])
            .map_err(Error::Output)
    }

    fn copy(
        &self,
        file: &File,
        mut offset: u64,
        mut len: u64,
        out: &mut (impl Write + ?Sized),
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        while len > 0 {
            let want = usize::try_from(len).unwrap_or(usize::MAX).min(buffer.len());
            let got = match file.read_at(&mut buffer[..want], offset) {
                Ok(0) => {
                    return Err(Error::Changed {
                        path: self.entry.path.clone(),
                    });
                }
                Ok(got) => got,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::read("read", &self.entry.path)(e)),
            };
            out.write_all(&buffer[..got]).map_err(Error::Output)?;
            offset += got as u64;
            len -= got as u64;
        }
        Ok(())
    }
}
