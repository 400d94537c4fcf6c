//! The server's side of the connection: reads the daemon's requests, answers them in order.
//!
//! Invariants: an answer is sent only after every byte of it was verified by its source; a request that cannot be answered
//! is never answered otherwise, and the connection stays open: see the parent module for why.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::super::Error;
use super::super::images::PE_PRESENT;
use super::super::wire::{Command, Header, HeaderForm, MAX_HEADER, PAGE_SIZE};
use super::map::{Found, PageMap};

/// Most pages in one request: CRIU asks for 4 MiB at most.
const MAX_PAGES: u64 = (4 << 20) / PAGE_SIZE;
/// How long the daemon may take for the rest of a header, and how often a stuck answer looks whether to go on.
const LOOK_UP: Duration = Duration::from_millis(200);
/// How often a header may be waited for: CRIU sends it whole.
const PATIENCE: usize = 50;

/// Why pages could not be had.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// Where pages come from.
pub trait PageSource {
    /// Appends `length` bytes of `pages-ID.img` from `offset` on, all of them verified.
    ///
    /// # Errors
    /// Where they are not there, or not what they should be.
    fn read(&self, pages_id: u32, offset: u64, length: u64, into: &mut Vec<u8>) -> Result<(), SourceError>;

    /// Says which bytes were asked for, and so what is likely to be asked for next: where a task waits for a single page
    /// what lies around it, otherwise, in the background, what follows.
    fn asked(&self, _pages_id: u32, _bytes: Range<u64>) {}
}

/// What a request was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// So many pages were sent.
    Pages(u64),
    /// The daemon has ended its work, well or not, and waits for [`PageServer::confirm_end`].
    End,
    /// Asked to stop in the middle of an answer.
    Stopped,
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct PageServer<S> {
    socket: UnixStream,
    form: HeaderForm,
    map: PageMap,
    source: S,
    answer: Vec<u8>,
}

impl<S: PageSource> PageServer<S> {
    /// Serves the other end of `socket`, which speaks `form`.
    ///
    /// # Errors
    /// Where the socket cannot be set up.
    pub fn new(socket: UnixStream, form: HeaderForm, map: PageMap, source: S) -> Result<Self, Error> {
        let timeouts = socket
            .set_read_timeout(Some(LOOK_UP))
            .and_then(|()| socket.set_write_timeout(Some(LOOK_UP)));
        timeouts.map_err(|source| Error::Lazy {
            operation: "preparing the connection",
            source,
        })?;
        Ok(Self {
            socket,
            form,
            map,
            source,
            answer: Vec::new(),
        })
    }

    /// Takes one request, which must have arrived, and answers it. `stop` is asked while the daemon does not take the answer.
    ///
    /// # Errors
    /// [`Error::Pages`] where the pages cannot be had, [`Error::Wire`], [`Error::NoPages`] and [`Error::Lazy`] where the
    /// daemon asks for what there is not or is gone. The connection stays open.
    pub fn turn(&mut self, stop: &dyn Fn() -> bool) -> Result<Turn, Error> {
        let header = self.receive()?;
        match header.command {
            Command::Get => self.answer(&header, stop),
            Command::Close | Command::ForceClose => Ok(Turn::End),
            other => Err(Error::WrongCommand { command: other }),
        }
    }

    /// Lets the daemon end.
    ///
    /// # Errors
    /// Where it is gone.
    pub fn confirm_end(&mut self) -> Result<(), Error> {
        let status = 0_i32.to_le_bytes();
        self.socket.write_all(&status).map_err(|source| Error::Lazy {
            operation: "answering",
            source,
        })
    }

    fn receive(&mut self) -> Result<Header, Error> {
        let mut bytes = [0; MAX_HEADER];
        let bytes = &mut bytes[..self.form.length()];
        let (mut filled, mut waited) = (0, 0);
        while filled < bytes.len() {
            match self.socket.read(&mut bytes[filled..]) {
                Ok(0) => return Err(gone(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => filled += count,
                Err(error) if is_timeout(&error) && waited < PATIENCE => waited += 1,
                Err(error) => return Err(gone(error)),
            }
        }
        Ok(Header::decode(self.form, bytes)?)
    }

    fn answer(&mut self, header: &Header, stop: &dyn Fn() -> bool) -> Result<Turn, Error> {
        let missing = || Error::NoPages {
            pid: header.dst_id,
            address: header.address,
        };
        let wanted = header.pages.min(MAX_PAGES);
        let found = self
            .map
            .find(header.dst_id, header.address, wanted)
            .ok_or_else(missing)?;
        let Found {
            pages_id,
            offset,
            pages,
        } = found;
        let reply = Header {
            command: Command::AddF,
            flags: PE_PRESENT as u16,
            pages,
            ..*header
        };
        self.answer.clear();
        self.answer.extend_from_slice(&reply.encode(self.form)?);
        self.source
            .read(pages_id, offset, pages * PAGE_SIZE, &mut self.answer)
            .map_err(Error::Pages)?;
        if !self.send(stop)? {
            return Ok(Turn::Stopped);
        }
        self.source.asked(pages_id, offset..offset + pages * PAGE_SIZE);
        Ok(Turn::Pages(pages))
    }

    /// Sends the answer; false where it was asked to stop meanwhile.
    fn send(&mut self, stop: &dyn Fn() -> bool) -> Result<bool, Error> {
        let mut rest = self.answer.as_slice();
        while !rest.is_empty() {
            match self.socket.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if is_timeout(&error) && stop() => return Ok(false),
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(gone(error)),
            }
        }
        Ok(true)
    }
}

impl<S> AsFd for PageServer<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn gone(source: io::Error) -> Error {
    Error::Lazy {
        operation: "talking to",
        source,
    }
}

/// What a socket with a timeout says when it passes, or when a signal came.
fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::super::images::{PE_LAZY, Pagemap, PagemapEntry};
    use super::*;

    /// Pages that hold their own number; those from 90 on cannot be had.
    struct Numbers;

    impl PageSource for Numbers {
        fn read(&self, pages_id: u32, offset: u64, length: u64, into: &mut Vec<u8>) -> Result<(), SourceError> {
            assert_eq!(pages_id, 1);
            for page in offset / PAGE_SIZE..(offset + length) / PAGE_SIZE {
                if page >= 90 {
                    return Err("frame 3 is bad".into());
                }
                into.extend([page as u8; PAGE_SIZE as usize]);
            }
            Ok(())
        }
    }

    fn server(form: HeaderForm) -> (PageServer<Numbers>, UnixStream) {
        let entry = PagemapEntry {
            vaddr: 1 << 20,
            nr_pages: Some(100),
            flags: Some(PE_LAZY | PE_PRESENT),
            ..PagemapEntry::default()
        };
        let pagemap = Pagemap {
            pages_id: 1,
            entries: vec![entry],
        };
        let mut map = PageMap::default();
        map.add(7, "pagemap-7.img", &pagemap, 100 * PAGE_SIZE).unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        (PageServer::new(ours, form, map, Numbers).unwrap(), theirs)
    }

    fn get(page: u64, pages: u64) -> Header {
        Header {
            command: Command::Get,
            flags: 0,
            pages,
            address: (1 << 20) + page * PAGE_SIZE,
            dst_id: 7,
        }
    }

    fn ask(daemon: &mut UnixStream, form: HeaderForm, header: &Header) {
        daemon.write_all(&header.encode(form).unwrap()).unwrap();
    }

    #[test]
    fn pages_come_back_with_the_header_of_the_request() {
        for form in [HeaderForm::Narrow, HeaderForm::Wide] {
            let (mut server, mut daemon) = server(form);
            thread::scope(|scope| {
                let serving = scope.spawn(move || server.turn(&|| false));
                ask(&mut daemon, form, &get(5, 60));
                let mut header = vec![0; form.length()];
                daemon.read_exact(&mut header).unwrap();
                let expected = Header {
                    command: Command::AddF,
                    flags: PE_PRESENT as u16,
                    ..get(5, 60)
                };
                assert_eq!(Header::decode(form, &header), Ok(expected));
                for page in 5..65 {
                    let mut content = [0; PAGE_SIZE as usize];
                    daemon.read_exact(&mut content).unwrap();
                    assert_eq!(content, [page; PAGE_SIZE as usize]);
                }
                assert_eq!(serving.join().unwrap().unwrap(), Turn::Pages(60));
            });
        }
    }

    #[test]
    fn what_cannot_be_had_is_not_answered_and_the_connection_stays() {
        let (mut server, mut daemon) = server(HeaderForm::Wide);
        ask(&mut daemon, HeaderForm::Wide, &get(85, 10));
        let error = server.turn(&|| false).unwrap_err();
        assert!(
            matches!(&error, Error::Pages(source) if source.to_string() == "frame 3 is bad"),
            "{error:?}"
        );
        daemon.set_nonblocking(true).unwrap();
        let error = daemon.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn pages_that_nobody_has_are_an_error() {
        for header in [get(100, 1), Header { dst_id: 8, ..get(0, 1) }, get(0, 0)] {
            let (mut server, mut daemon) = server(HeaderForm::Wide);
            ask(&mut daemon, HeaderForm::Wide, &header);
            let error = server.turn(&|| false).unwrap_err();
            assert!(matches!(error, Error::NoPages { .. }), "{error:?}");
        }
    }

    #[test]
    fn either_end_is_confirmed_only_on_request() {
        for command in [Command::Close, Command::ForceClose] {
            let (mut server, mut daemon) = server(HeaderForm::Narrow);
            ask(&mut daemon, HeaderForm::Narrow, &Header { command, ..get(0, 0) });
            assert_eq!(server.turn(&|| false).unwrap(), Turn::End);
            server.confirm_end().unwrap();
            let mut status = [1; 4];
            daemon.read_exact(&mut status).unwrap();
            assert_eq!(status, [0; 4]);
        }
    }

    #[test]
    fn a_daemon_that_does_not_read_can_be_left() {
        let (mut server, mut daemon) = server(HeaderForm::Wide);
        ask(&mut daemon, HeaderForm::Wide, &get(0, 89));
        assert_eq!(server.turn(&|| true).unwrap(), Turn::Stopped);
    }

    #[test]
    fn a_command_of_a_dump_is_an_error() {
        let (mut server, mut daemon) = server(HeaderForm::Wide);
        ask(
            &mut daemon,
            HeaderForm::Wide,
            &Header {
                command: Command::Open2,
                ..get(0, 0)
            },
        );
        assert!(matches!(
            server.turn(&|| false).unwrap_err(),
            Error::WrongCommand { .. }
        ));
    }
}
