//! A strict reader of tar streams that somebody else made.
//!
//! It reads what ckpt, podman (Go), GNU tar and Python write: ustar, PAX headers per entry, GNU long names, and sparse files
//! in the old GNU form and the three PAX forms. A tar that two readers could understand differently is refused; so is one
//! that exceeds a limit, before memory is taken for it. It looks at one entry at a time and keeps nothing of it: paths that
//! come twice and what links point to are for [`super::check()`] and [`super::unpack()`].

use std::io::{ErrorKind, Read};

use super::error::{Defect, Error};
use super::header::{self, BLOCK, Header, OCTAL_12_MAX};
use super::limits::{self, Limits, TRAILING_ZEROS};
use super::meta::{Device, Entry, Kind, Meta, Time};
use super::path::TreePath;
use super::pax::{self, Overrides, Sparse};

pub(super) type Block = [u8; BLOCK];

/// Reads the entries of one tar in turn.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    pub(super) limits: Limits,
    /// Name of the current entry as the tar spells it.
    name: Vec<u8>,
    /// Content of the current entry that has not been read.
    pub(super) data: u64,
    /// Padding behind it.
    padding: u64,
    entries: u64,
    bytes: u64,
    ended: bool,
}

/// Extension headers that came before an entry.
#[derive(Debug, Default)]
struct Extensions {
    pax: Option<Overrides>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Extensions {
    const fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }
}

impl<R: Read> Reader<R> {
    /// A reader of the tar that begins at the input's position.
    pub const fn new(input: R, limits: Limits) -> Self {
        Self {
            input,
            limits,
            name: Vec::new(),
            data: 0,
            padding: 0,
            entries: 0,
            bytes: 0,
            ended: false,
        }
    }

    /// The next entry; what is left of the content of the one before is skipped. None at the end of the tar, which has
    /// then been read to the end of the input.
    ///
    /// # Errors
    /// The defect, with the name of the entry it is in (or comes after).
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        if self.ended {
            return Ok(None);
        }
        self.skip_content()?;
        let mut extensions = Extensions::default();
        loop {
            let Some(block) = self.block()? else {
                self.end(&extensions)?;
                return Ok(None);
            };
            let header =
                Header::decode(&block).map_err(|defect| Error::entry(header::name_for_messages(&block), defect))?;
            if self.extension(&header, &mut extensions)? {
                continue;
            }
            return self.entry(&block, header, extensions).map(Some);
        }
    }

    /// Name of the current entry as the tar spells it.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// What it reads from: at the content of the current entry, as nothing is read ahead.
    pub(crate) fn input(&self) -> &R {
        &self.input
    }

    /// What it reads from.
    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    /// Reads content of the current entry: of a sparse file its data without the holes. Returns 0 at its end.
    ///
    /// # Errors
    /// [`Defect::Truncated`], or what the input fails with.
    pub fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let want = usize::try_from(self.data).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let got = self.read_some(&mut buffer[..want])?;
        if got == 0 {
            return Err(self.defect(Defect::Truncated));
        }
        self.data -= got as u64;
        Ok(got)
    }

    pub(super) fn defect(&self, defect: impl Into<Defect>) -> Error {
        Error::entry(&self.name, defect)
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.input.read(buffer) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                result => return result.map_err(Error::Input),
            }
        }
    }

    /// Fills the buffer, or says how much of it is there.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_some(&mut buffer[filled..])? {
                0 => break,
                got => filled += got,
            }
        }
        Ok(filled)
    }

    pub(super) fn whole_block(&mut self) -> Result<Block, Error> {
        let mut block = [0; BLOCK];
        match self.fill(&mut block)? {
            BLOCK => Ok(block),
            _ => Err(self.defect(Defect::Truncated)),
        }
    }

    /// The next header block; none for one of zeros.
    fn block(&mut self) -> Result<Option<Block>, Error> {
        let block = self.whole_block()?;
        Ok(block.iter().any(|&b| b != 0).then_some(block))
    }

    fn skip_content(&mut self) -> Result<(), Error> {
        let mut buffer = [0; 16 * BLOCK];
        while self.read_data(&mut buffer)? > 0 {}
        let padding = usize::try_from(std::mem::take(&mut self.padding)).unwrap_or(0);
        if self.fill(&mut buffer[..padding])? == padding {
            Ok(())
        } else {
            Err(self.defect(Defect::Truncated))
        }
    }

    /// The first block of zeros has been read: one more, and nothing else but zeros behind it.
    fn end(&mut self, extensions: &Extensions) -> Result<(), Error> {
        if !extensions.is_empty() {
            return Err(self.defect(Defect::Orphan));
        }
        if self.block()?.is_some() {
            return Err(self.defect(Defect::Trailing));
        }
        let mut buffer = [0; 16 * BLOCK];
        let mut zeros = 0;
        loop {
            let got = self.fill(&mut buffer)?;
            zeros += got as u64;
            if buffer[..got].iter().any(|&b| b != 0) || zeros > TRAILING_ZEROS {
                return Err(self.defect(Defect::Trailing));
            }
            if got < buffer.len() {
                self.ended = true;
                return Ok(());
            }
        }
    }

    /// Takes an extension header in. False when this is none.
    fn extension(&mut self, header: &Header, extensions: &mut Extensions) -> Result<bool, Error> {
        let mixed = match header.typeflag {
            b'x' => !extensions.is_empty(),
            b'L' => extensions.pax.is_some() || extensions.long_name.is_some(),
            b'K' => extensions.pax.is_some() || extensions.long_link.is_some(),
            b'g' => return Err(Error::entry(&header.name, Defect::GlobalHeader)),
            _ => return Ok(false),
        };
        if mixed {
            return Err(Error::entry(&header.name, Defect::MixedExtensions));
        }
        let max = if header.typeflag == b'x' {
            self.limits.pax
        } else {
            self.limits.path as u64 + 1
        };
        if header.size > max {
            return Err(Error::entry(&header.name, Defect::ExtensionSize(header.size)));
        }
        let content = self.extension_content(header.size)?;
        match header.typeflag {
            b'x' => {
                let overrides = pax::parse(&content, &self.limits).map_err(|defect| self.named(header, defect))?;
                // Every later message about this entry can name it.
                self.name = overrides.path.clone().unwrap_or_default();
                extensions.pax = Some(overrides);
            }
            b'L' => extensions.long_name = Some(self.long_text(header, content)?),
            _ => extensions.long_link = Some(self.long_text(header, content)?),
        }
        Ok(true)
    }

    /// A defect of an extension header: the entry it belongs to is not known yet.
    fn named(&self, header: &Header, defect: impl Into<Defect>) -> Error {
        let after = [b"PAX header after ", self.name.as_slice()].concat();
        Error::entry(if header.typeflag == b'x' { &after } else { &header.name }, defect)
    }

    fn extension_content(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        // Grows with what is really there: a header that only claims a size takes no memory.
        let padded = size + super::encode::padding(size);
        (&mut self.input)
            .take(padded)
            .read_to_end(&mut content)
            .map_err(Error::Input)?;
        if content.len() as u64 != padded {
            return Err(self.defect(Defect::Truncated));
        }
        let padding = content.split_off(usize::try_from(size).unwrap_or(content.len()));
        if padding.iter().any(|&b| b != 0) {
            return Err(self.defect(Defect::Padding));
        }
        Ok(content)
    }

    /// A GNU long name: text with NULs at its end.
    fn long_text(&self, header: &Header, mut content: Vec<u8>) -> Result<Vec<u8>, Error> {
        while content.last() == Some(&0) {
            content.pop();
        }
        if content.is_empty() || content.contains(&0) {
            Err(self.named(header, Defect::Path(super::path::PathDefect::Nul)))
        } else {
            Ok(content)
        }
    }

    fn entry(&mut self, block: &Block, header: Header, extensions: Extensions) -> Result<Entry, Error> {
        let Extensions {
            pax,
            long_name,
            long_link,
        } = extensions;
        let mut overrides = pax.unwrap_or_default();
        let sparse = std::mem::take(&mut overrides.sparse);
        let raw_name = sparse.name.as_ref().or(overrides.path.as_ref()).or(long_name.as_ref());
        self.name = raw_name.unwrap_or(&header.name).clone();
        self.count()?;

        let stored = self.stored_size(&header, overrides.size)?;
        let path = TreePath::parse(&self.name, self.limits.path, self.limits.depth).map_err(|e| self.defect(e))?;
        let link = overrides
            .linkpath
            .take()
            .or(long_link)
            .unwrap_or_else(|| header.link.clone());
        self.data = stored;
        self.padding = super::encode::padding(stored);
        let kind = self.kind(block, &header, link, &sparse)?;
        if path.is_root() && kind != Kind::Directory {
            return Err(self.defect(Defect::RootKind));
        }
        let meta = self.meta(&header, overrides)?;
        self.bytes = self.bytes.saturating_add(kind.data_len());
        if self.bytes > self.limits.bytes {
            Err(self.defect(Defect::Bytes(self.limits.bytes)))
        } else {
            Ok(Entry { path, kind, meta })
        }
    }

    fn count(&mut self) -> Result<(), Error> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            Err(self.defect(Defect::Entries(self.limits.entries)))
        } else {
            Ok(())
        }
    }

    /// Bytes behind the header. A PAX size has to say what the header says, unless the header cannot say it.
    fn stored_size(&self, header: &Header, pax: Option<u64>) -> Result<u64, Error> {
        match pax {
            None => Ok(header.size),
            Some(pax) if pax == header.size => Ok(pax),
            Some(pax) if pax > OCTAL_12_MAX && matches!(header.size, 0 | OCTAL_12_MAX) => Ok(pax),
            Some(pax) => Err(self.defect(Defect::SizeDisagreement {
                header: header.size,
                pax,
            })),
        }
    }

    fn kind(&mut self, block: &Block, header: &Header, link: Vec<u8>, sparse: &Sparse) -> Result<Kind, Error> {
        let regular = matches!(header.typeflag, b'0' | b'\0' | b'S');
        if regular && self.name.ends_with(b"/") {
            return Err(self.defect(Defect::FileNamedAsDirectory));
        }
        let has_pax_map = *sparse != Sparse::default();
        if has_pax_map && !matches!(header.typeflag, b'0' | b'\0') {
            return Err(self.defect(Defect::SparseForm));
        }
        if !regular && self.data != 0 {
            return Err(self.defect(Defect::Content(self.data)));
        }
        Ok(match header.typeflag {
            b'S' => self.old_gnu_sparse(block, header)?,
            b'0' | b'\0' if has_pax_map => self.pax_sparse(sparse)?,
            b'0' | b'\0' => Kind::File {
                size: self.data,
                sparse: None,
            },
            b'1' => {
                let target = TreePath::parse(&link, self.limits.path, self.limits.depth);
                Kind::HardLink(target.map_err(|e| self.defect(Defect::LinkPath(e)))?)
            }
            b'2' if link.is_empty() || link.len() > limits::TARGET_MAX || link.contains(&0) => {
                return Err(self.defect(Defect::Target));
            }
            b'2' => Kind::Symlink(link),
            b'3' => Kind::Char(self.device(header)?),
            b'4' => Kind::Block(self.device(header)?),
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(self.defect(Defect::Type(char::from(other)))),
        })
    }

    fn device(&self, header: &Header) -> Result<Device, Error> {
        let number = |value: u64, max| u32::try_from(value).ok().filter(|&value| value <= max);
        match (
            number(header.major, limits::MAJOR_MAX),
            number(header.minor, limits::MINOR_MAX),
        ) {
            (Some(major), Some(minor)) => Ok(Device { major, minor }),
            _ => Err(self.defect(Defect::DeviceNumber)),
        }
    }

    fn meta(&self, header: &Header, overrides: Overrides) -> Result<Meta, Error> {
        let owner = |id: u64| match u32::try_from(id) {
            // The kernel takes the last number for "leave it".
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(self.defect(Defect::Owner(id))),
        };
        Ok(Meta {
            mode: header.mode,
            uid: owner(overrides.uid.unwrap_or(header.uid))?,
            gid: owner(overrides.gid.unwrap_or(header.gid))?,
            mtime: overrides.mtime.unwrap_or(Time {
                sec: header.mtime,
                nsec: 0,
            }),
            xattrs: overrides.xattrs,
        })
    }
}
