//! The page server of a dump: CRIU's pages on their way into the archive, and the pagemaps that say where they belong.
//!
//! CRIU opens one image after the other (a task's memory, then shared memory) and sends ranges of pages; a page server
//! writes `pagemap-*.img` and `pages-N.img`. Here [`Receiver::next_image`] yields the images and [`Receiver::pages`] the bytes of one,
//! so that they can be written anywhere; the pagemaps, which are small, go to CRIU's images directory.
//! CRIU inherits its end of the connection through the runtime (`ps-socket`): there is no address at which anybody else
//! could knock, and no TCP between the two.
//! Invariants: pages are counted before they are taken; an image is complete when the next one is opened or CRIU has closed
//! the connection in an orderly way.

use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::set_socket_send_buffer_size_force;

use super::Error;
use super::images::{PE_LAZY, PE_PARENT, PE_PRESENT};
use super::pagemap::{PagemapWriter, ParentMap};
use super::thin::ThinRange;
use super::wire::{Command, Destination, Header, HeaderForm, PAGE_SIZE, WireError};

/// Headers and small ranges are read through a buffer of this size; large ranges past it.
const BUFFER: usize = 64 << 10;
/// Bytes that CRIU may send ahead: it needs not wait for each piece to be taken.
const AHEAD: usize = 4 << 20;
/// A page, as a length in memory.
const PAGE: usize = PAGE_SIZE as usize;

/// What can be wrong with what CRIU sends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PagesError {
    /// CRIU is gone before it had sent everything.
    #[error("CRIU closed the connection before all memory had been sent")]
    Lost,
    /// The dump is over before CRIU has sent anything, or was given up.
    #[error("the dump ended before all memory had been sent")]
    Stopped,
    /// Not a header of the protocol.
    #[error("CRIU's page server protocol is not understood")]
    Wire(#[from] WireError),
    /// A command that has no place in a dump.
    #[error("CRIU sent the page server command {0:?} in a dump")]
    Command(Command),
    /// Pages before an image was opened, or of another one than is open.
    #[error("CRIU sent pages of an image that is not open")]
    NotOpen,
    /// More pages than an address space has.
    #[error("CRIU announced {pages} pages")]
    Pages {
        /// How many.
        pages: u64,
    },
    /// A page that is said to be in the parent is not.
    #[error("the page at {address:#x} is said to be in the parent's images, which do not have it")]
    Hole {
        /// Its address.
        address: u64,
    },
}

impl From<PagesError> for io::Error {
    fn from(error: PagesError) -> Self {
        Self::other(error)
    }
}

/// A page server whose other end CRIU is to inherit.
#[derive(Debug)]
pub struct PageServer {
    ours: UnixStream,
    theirs: UnixStream,
}

/// The connection as others see it: to end it from another thread, and to tell who ended it.
#[derive(Debug, Default)]
pub struct Link {
    stopped: AtomicBool,
    cut: AtomicBool,
    stream: Mutex<Option<UnixStream>>,
}

impl Link {
    /// Ends the connection, now or when it is made.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Ok(stream) = self.stream.lock()
            && let Some(stream) = &*stream
        {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Whether receiving failed because CRIU's end went away or [`Link::stop`] was called: the reason is to be found there.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn made(&self, stream: &UnixStream) -> io::Result<()> {
        if let Ok(mut made) = self.stream.lock() {
            *made = Some(stream.try_clone()?);
        }
        // Whoever stopped it before did not see the stream.
        if self.is_stopped() {
            self.stop();
        }
        Ok(())
    }

    /// The connection is no longer used: CRIU, which may be waiting to send more, is to know.
    fn unmade(&self) {
        if let Ok(mut made) = self.stream.lock()
            && let Some(stream) = made.take()
        {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn over(&self) -> PagesError {
        self.cut.store(true, Ordering::SeqCst);
        if self.is_stopped() {
            PagesError::Stopped
        } else {
            PagesError::Lost
        }
    }
}

impl PageServer {
    /// A pair of connected sockets. Programs that are started from now on inherit CRIU's end, until [`PageServer::receive`].
    ///
    /// # Errors
    /// Where there are too many open files.
    pub fn new() -> Result<Self, Error> {
        let failed = |error| Error::io("making", "a pair of sockets", error);
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        fcntl_setfd(&theirs, FdFlags::empty()).map_err(|errno| failed(errno.into()))?;
        // Without the privilege it works, slower.
        let _ = set_socket_send_buffer_size_force(&theirs, AHEAD);
        Ok(Self { ours, theirs })
    }

    /// The end that CRIU inherits.
    #[must_use]
    pub fn inherited(&self) -> BorrowedFd<'_> {
        self.theirs.as_fd()
    }

    /// Receives from CRIU; to be called when the program that starts it has been started. Pagemaps will be written to
    /// `images`, where the parent's images are linked as `parent`.
    ///
    /// # Errors
    /// Where there are too many open files.
    pub fn receive<'a>(self, images: &Path, link: &'a Link) -> Result<Receiver<'a>, Error> {
        let Self { ours, theirs } = self;
        // Only without a copy of CRIU's end here is CRIU's death seen as the end.
        drop(theirs);
        link.made(&ours)
            .map_err(|error| Error::io("keeping", "a second descriptor of a socket", error))?;
        Ok(Receiver::new(ours, images.to_owned(), link))
    }
}

/// What CRIU sends.
#[derive(Debug)]
pub struct Receiver<'a> {
    input: BufReader<UnixStream>,
    link: &'a Link,
    images: PathBuf,
    form: Option<HeaderForm>,
    /// See [`Receiver::leave_out_zeros`].
    thin: bool,
    /// Images opened so far; the last one's number.
    opened: u32,
    current: Option<Current>,
    /// A header that ended the image before.
    pending: Option<Header>,
}

/// The image that is open.
#[derive(Debug)]
struct Current {
    dst_id: u64,
    map: PagemapWriter,
    parent: Option<ParentMap>,
    /// Bytes of pages that are announced and were not taken yet.
    announced: u64,
    /// How many of them the pagemap has already; the others are looked at first.
    noted: u64,
    thin: Option<ThinRange>,
    /// Whether the pagemap has any page. CRIU expects one.
    has_pages: bool,
}

impl Drop for Receiver<'_> {
    fn drop(&mut self) {
        self.link.unmade();
    }
}

impl<'a> Receiver<'a> {
    fn new(stream: UnixStream, images: PathBuf, link: &'a Link) -> Self {
        Self {
            input: BufReader::with_capacity(BUFFER, stream),
            link,
            images,
            form: None,
            thin: false,
            opened: 0,
            current: None,
            pending: None,
        }
    }

    /// Leaves pages of zeros out where fresh memory does as well: private and anonymous, which is where CRIU says that a page may
    /// follow later. See [`zeros`](super::zeros) for why that is the same. Not for a dump that is part of a chain: another one says
    /// of pages that its parent has them.
    #[must_use]
    pub fn leave_out_zeros(mut self, yes: bool) -> Self {
        self.thin = yes;
        self
    }

    /// The number N of the next `pages-N.img`; `None` after the last one. What was not read of the one before is skipped.
    ///
    /// # Errors
    /// [`PagesError`] as the source; where a pagemap cannot be written.
    pub fn next_image(&mut self) -> Result<Option<u32>, Error> {
        self.next_opened()
            .map_err(|error| Error::io("receiving memory into", &self.images, error))
    }

    fn next_opened(&mut self) -> io::Result<Option<u32>> {
        io::copy(&mut self.pages(), &mut io::sink())?;
        if let Some(done) = self.current.take() {
            done.map.finish()?;
        }
        loop {
            let header = match self.pending.take() {
                Some(header) => header,
                None => self.header()?,
            };
            match header.command {
                Command::Open | Command::Open2 => return self.open(header).map(Some),
                Command::Parent => self.tell_parent(header)?,
                Command::Close | Command::ForceClose => {
                    self.answer(&0_i32.to_le_bytes())?;
                    return Ok(None);
                }
                Command::Add | Command::AddF | Command::Hole => return Err(PagesError::NotOpen.into()),
                other @ Command::Get => return Err(PagesError::Command(other).into()),
            }
        }
    }

    /// The bytes of the image that [`Receiver::next_image`] opened.
    pub fn pages(&mut self) -> Pages<'_, 'a> {
        Pages { receiver: self }
    }

    fn open(&mut self, header: Header) -> io::Result<u32> {
        let destination = Destination::decode(header.dst_id).map_err(PagesError::from)?;
        let form = self.form.unwrap_or(HeaderForm::Wide);
        self.opened += 1;
        let map = PagemapWriter::create(&self.images, destination, self.opened, form)?;
        let parent = ParentMap::open(&self.images, destination)?;
        if header.command == Command::Open2 {
            self.answer(&[u8::from(parent.is_some())])?;
        }
        self.current = Some(Current {
            dst_id: header.dst_id,
            map,
            parent,
            announced: 0,
            noted: 0,
            thin: None,
            has_pages: false,
        });
        Ok(self.opened)
    }

    fn tell_parent(&mut self, header: Header) -> io::Result<()> {
        let destination = Destination::decode(header.dst_id).map_err(PagesError::from)?;
        let has = ParentMap::exists(&self.images, destination);
        self.answer(&i32::from(has).to_le_bytes())
    }

    /// Takes the next header. The first one tells the form: only in the longer one is its third field, the address, zero
    /// where the shorter one has the destination, which never is. A dump that fails early begins with the end, which has
    /// neither and needs none.
    fn header(&mut self) -> io::Result<Header> {
        let mut bytes = [0; super::wire::MAX_HEADER];
        let narrow = HeaderForm::Narrow.length();
        self.take(&mut bytes[..narrow])?;
        let form = match self.form {
            Some(form) => form,
            None if is_end(&bytes[..narrow]) => HeaderForm::Narrow,
            None => *self.form.insert(match bytes[16..narrow] {
                [0, 0, 0, 0, 0, 0, 0, 0] => HeaderForm::Wide,
                _ => HeaderForm::Narrow,
            }),
        };
        if form == HeaderForm::Wide {
            self.take(&mut bytes[narrow..])?;
        }
        Header::decode(form, &bytes).map_err(|error| PagesError::from(error).into())
    }

    fn take(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.input.read_exact(bytes).map_err(|error| self.lost(error))
    }

    fn answer(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.get_mut().write_all(bytes).map_err(|error| self.lost(error))
    }

    /// An end that came too early, by CRIU or by us.
    fn lost(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                self.link.over().into()
            }
            _ => error,
        }
    }

    /// Notes a range; the bytes of its pages are announced then.
    fn range(&mut self, header: Header) -> io::Result<()> {
        let flags = match header.command {
            Command::Add => PE_PRESENT,
            Command::Hole => PE_PARENT,
            _ => header.flags.into(),
        };
        let current = self.current.as_mut().filter(|current| current.dst_id == header.dst_id);
        let current = current.ok_or(PagesError::NotOpen)?;
        let bytes = header
            .pages
            .checked_mul(PAGE_SIZE)
            .filter(|bytes| header.address.checked_add(*bytes).is_some());
        let bytes = bytes.ok_or(PagesError::Pages { pages: header.pages })?;
        if flags & PE_PRESENT != 0 {
            current.announced = bytes;
            if self.thin && current.parent.is_none() && flags == PE_PRESENT | PE_LAZY {
                current.thin = Some(ThinRange::at(header.address));
                return Ok(());
            }
            current.noted = bytes;
            current.has_pages = true;
        } else if let Some(parent) = current.parent.as_ref().filter(|_| flags & PE_PARENT != 0)
            && let Some(address) = parent.missing(header.address, header.address + bytes)
        {
            return Err(PagesError::Hole { address }.into());
        }
        current.map.add_range(header.address, header.pages, flags)
    }
}

impl Current {
    /// Takes announced bytes; returns how many there are now in `buffer`, which are none where all of them could be left out.
    fn take(&mut self, input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.announced).unwrap_or(usize::MAX).min(buffer.len());
        let pages = most - most % PAGE;
        let Some(range) = self.thin.as_mut().filter(|_| self.noted == 0) else {
            return self.pass(input, &mut buffer[..most]);
        };
        if pages == 0 {
            range.keep(1);
            self.has_pages = true;
            self.noted = PAGE_SIZE;
            return self.pass(input, &mut buffer[..most]);
        }
        input.read_exact(&mut buffer[..pages])?;
        let kept = range.sift(&mut buffer[..pages], !self.has_pages, &mut self.map)?;
        self.has_pages = true;
        self.announced -= pages as u64;
        if self.announced == 0
            && let Some(range) = self.thin.take()
        {
            range.finish(&mut self.map)?;
        }
        Ok(kept)
    }

    /// Takes bytes of pages that the pagemap has.
    fn pass(&mut self, input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.noted).unwrap_or(usize::MAX).min(buffer.len());
        let count = input.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.announced -= count as u64;
        self.noted -= count as u64;
        if self.announced == 0
            && let Some(range) = self.thin.take()
        {
            range.finish(&mut self.map)?;
        }
        Ok(count)
    }
}

/// Whether a header begins with the command that ends the connection.
fn is_end(bytes: &[u8]) -> bool {
    let header = Header::decode(HeaderForm::Narrow, bytes);
    header.is_ok_and(|header| matches!(header.command, Command::Close | Command::ForceClose))
}

/// The bytes of one image: see [`Receiver::pages`]. Errors carry a [`PagesError`].
#[derive(Debug)]
pub struct Pages<'r, 'a> {
    receiver: &'r mut Receiver<'a>,
}

impl Read for Pages<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let receiver = &mut *self.receiver;
        loop {
            let Some(current) = &mut receiver.current else {
                return Ok(0);
            };
            if receiver.pending.is_some() || buffer.is_empty() {
                return Ok(0);
            }
            if current.announced > 0 {
                match current.take(&mut receiver.input, buffer) {
                    Ok(0) => continue,
                    Ok(count) => return Ok(count),
                    Err(error) => return Err(receiver.lost(error)),
                }
            }
            let header = receiver.header()?;
            match header.command {
                Command::Add | Command::AddF | Command::Hole => receiver.range(header)?,
                Command::Parent => receiver.tell_parent(header)?,
                _ => receiver.pending = Some(header),
            }
        }
    }
}

#[cfg(test)]
mod tests;
