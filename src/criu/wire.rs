//! The page server protocol on the wire: the fixed headers that CRIU sends and receives, in both forms.
//!
//! Fields are little endian. Up to CRIU 4.1 a header is `cmd u32, nr_pages u32, vaddr u64, dst_id u64`, from 4.2 on
//! `cmd u32, 4 bytes of padding, nr_pages u64, vaddr u64, dst_id u64`. The low 16 bits of `cmd` are the command, the high 16
//! the flags of the pagemap entry. Nothing on the wire tells the forms apart: the version of the CRIU at the other end does.
//!
//! Parsing takes bytes and returns values; whether a number of pages or an address makes sense is for the caller to judge.

/// Bytes of a page. CRIU counts in pages of the machine, and ckpt runs where they have 4 KiB.
pub const PAGE_SIZE: u64 = 4096;
/// Length of the longer form, bytes: what a buffer for either form needs.
pub const MAX_HEADER: usize = HeaderForm::Wide.length();
/// How many bits of the first word are the command.
const COMMAND_BITS: u32 = 16;
/// How many bits of a destination are its kind.
const KIND_BITS: u32 = 8;
const KIND_TASK: u64 = 1;
const KIND_SHARED: u64 = 2;

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Fewer bytes than a header has.
    #[error("a header of {needed} bytes is cut off after {found}")]
    Short {
        /// Its length in this form.
        needed: usize,
        /// What there was.
        found: usize,
    },
    /// A command that no CRIU sends.
    #[error("unknown page server command {0:#x}")]
    Command(u32),
    /// More pages than the narrow form can say.
    #[error("{0} pages do not fit into a header of CRIU before 4.2")]
    Pages(u64),
    /// A destination that is neither a task nor shared memory.
    #[error("unknown destination {0:#x}")]
    Destination(u64),
}

/// The two forms of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderForm {
    /// 24 bytes: up to CRIU 4.1.
    Narrow,
    /// 32 bytes: from CRIU 4.2 on.
    Wide,
}

impl HeaderForm {
    /// The form that CRIU of this version speaks.
    #[must_use]
    pub const fn of_criu(major: u32, minor: u32) -> Self {
        if major > 4 || (major == 4 && minor >= 2) {
            Self::Wide
        } else {
            Self::Narrow
        }
    }

    /// Length of a header, bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Narrow => 24,
            Self::Wide => 32,
        }
    }
}

/// What a header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Pages follow.
    Add,
    /// The pages are in the parent; nothing follows.
    Hole,
    /// Opens a destination without an answer.
    Open,
    /// Opens a destination; the answer is one byte: whether it has a parent.
    Open2,
    /// Asks whether a destination has a parent; the answer is one i32.
    Parent,
    /// Pages with flags; their bytes follow only with `PE_PRESENT`. Also what answers [`Command::Get`].
    AddF,
    /// Asks for pages. The destination is the bare pid.
    Get,
    /// The end; the answer is one i32: 0.
    Close,
    /// The end where the connection itself lives on; answered like [`Command::Close`].
    ForceClose,
}

impl Command {
    const ALL: [Self; 9] = [
        Self::Add,
        Self::Hole,
        Self::Open,
        Self::Open2,
        Self::Parent,
        Self::AddF,
        Self::Get,
        Self::Close,
        Self::ForceClose,
    ];

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Add => 1,
            Self::Hole => 2,
            Self::Open => 3,
            Self::Open2 => 4,
            Self::Parent => 5,
            Self::AddF => 6,
            Self::Get => 7,
            Self::Close => 0x1023,
            Self::ForceClose => 0x1024,
        }
    }

    fn of_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.number() == number)
    }
}

/// Whose pages they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// A task, by its pid in its own namespace: `pagemap-ID.img`.
    Task(u64),
    /// Shared memory, by its id: `pagemap-shmem-ID.img`.
    Shared(u64),
}

impl Destination {
    /// Reads the `dst_id` of every command but [`Command::Get`].
    ///
    /// # Errors
    /// [`WireError::Destination`] for other kinds; the numbers of CRIU before 3.3 are not known here.
    pub const fn decode(dst_id: u64) -> Result<Self, WireError> {
        let id = dst_id >> KIND_BITS;
        match dst_id & ((1 << KIND_BITS) - 1) {
            KIND_TASK => Ok(Self::Task(id)),
            KIND_SHARED => Ok(Self::Shared(id)),
            _ => Err(WireError::Destination(dst_id)),
        }
    }

    /// The `dst_id`. Ids have at most 56 bits; what is above is lost.
    #[must_use]
    pub const fn encode(self) -> u64 {
        match self {
            Self::Task(id) => id << KIND_BITS | KIND_TASK,
            Self::Shared(id) => id << KIND_BITS | KIND_SHARED,
        }
    }
}

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What is asked.
    pub command: Command,
    /// Flags of the pagemap entry: `PE_PARENT`, `PE_LAZY`, `PE_PRESENT`.
    pub flags: u16,
    /// Number of pages.
    pub pages: u64,
    /// Address of the first page.
    pub address: u64,
    /// Whose pages: see [`Destination`], and the bare pid in [`Command::Get`].
    pub dst_id: u64,
}

impl Header {
    /// Reads a header from the first bytes of `bytes`.
    ///
    /// # Errors
    /// [`WireError::Short`], [`WireError::Command`].
    pub fn decode(form: HeaderForm, bytes: &[u8]) -> Result<Self, WireError> {
        let short = WireError::Short {
            needed: form.length(),
            found: bytes.len(),
        };
        let bytes = bytes.get(..form.length()).ok_or(short)?;
        let narrow = |at: usize| {
            bytes
                .get(at..)
                .and_then(|b| b.first_chunk())
                .copied()
                .map(u32::from_le_bytes)
        };
        let wide = |at: usize| {
            bytes
                .get(at..)
                .and_then(|b| b.first_chunk())
                .copied()
                .map(u64::from_le_bytes)
        };
        let word = narrow(0).ok_or(short)?;
        let (pages, rest) = match form {
            HeaderForm::Narrow => (narrow(4).map(u64::from), 8),
            // What stands in the padding is whatever CRIU's stack had.
            HeaderForm::Wide => (wide(8), 16),
        };
        Ok(Self {
            command: Command::of_number(word as u16).ok_or(WireError::Command(word))?,
            flags: (word >> COMMAND_BITS) as u16,
            pages: pages.ok_or(short)?,
            address: wide(rest).ok_or(short)?,
            dst_id: wide(rest + 8).ok_or(short)?,
        })
    }

    /// Its bytes: the first [`HeaderForm::length`] of what is returned.
    ///
    /// # Errors
    /// [`WireError::Pages`] where the form has no room for the number of pages.
    pub fn encode(&self, form: HeaderForm) -> Result<Encoded, WireError> {
        let mut bytes = [0; MAX_HEADER];
        let word = u32::from(self.flags) << COMMAND_BITS | u32::from(self.command.number());
        bytes[..4].copy_from_slice(&word.to_le_bytes());
        let rest = match form {
            HeaderForm::Narrow => {
                let pages = u32::try_from(self.pages).map_err(|_| WireError::Pages(self.pages))?;
                bytes[4..8].copy_from_slice(&pages.to_le_bytes());
                8
            }
            HeaderForm::Wide => {
                bytes[8..16].copy_from_slice(&self.pages.to_le_bytes());
                16
            }
        };
        bytes[rest..rest + 8].copy_from_slice(&self.address.to_le_bytes());
        bytes[rest + 8..rest + 16].copy_from_slice(&self.dst_id.to_le_bytes());
        Ok(Encoded { bytes, form })
    }
}

/// The bytes of a header.
#[derive(Debug, Clone, Copy)]
pub struct Encoded {
    bytes: [u8; MAX_HEADER],
    form: HeaderForm,
}

impl std::ops::Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.form.length()]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMS: [HeaderForm; 2] = [HeaderForm::Narrow, HeaderForm::Wide];

    fn get() -> Header {
        Header {
            command: Command::Get,
            flags: 0,
            pages: 3,
            address: 0x7f12_3456_7000,
            dst_id: 17,
        }
    }

    #[test]
    fn the_forms_are_criu_s() {
        for (version, form) in [
            ((3, 19), HeaderForm::Narrow),
            ((4, 1), HeaderForm::Narrow),
            ((4, 2), HeaderForm::Wide),
            ((5, 0), HeaderForm::Wide),
        ] {
            assert_eq!(HeaderForm::of_criu(version.0, version.1), form, "{version:?}");
        }
    }

    #[test]
    fn the_bytes_are_criu_s() {
        let tail = [0, 0x70, 0x56, 0x34, 0x12, 0x7f, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0];
        let narrow = [&[7, 0, 0, 0, 3, 0, 0, 0][..], &tail].concat();
        let wide = [&[7, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0][..], &tail].concat();
        assert_eq!(*get().encode(HeaderForm::Narrow).unwrap(), *narrow);
        assert_eq!(*get().encode(HeaderForm::Wide).unwrap(), *wide);
    }

    #[test]
    fn padding_is_not_looked_at() {
        let mut bytes = get().encode(HeaderForm::Wide).unwrap().to_vec();
        bytes[4..8].fill(0xff);
        assert_eq!(Header::decode(HeaderForm::Wide, &bytes), Ok(get()));
    }

    #[test]
    fn every_truncation_is_refused() {
        for form in FORMS {
            let bytes = get().encode(form).unwrap();
            for length in 0..bytes.len() {
                let (needed, found) = (form.length(), length);
                assert_eq!(
                    Header::decode(form, &bytes[..length]),
                    Err(WireError::Short { needed, found })
                );
            }
        }
    }

    #[test]
    fn unknown_commands_are_refused() {
        for number in [0_u16, 8, 0x1022, 0x1025, 0xffff] {
            let mut bytes = get().encode(HeaderForm::Narrow).unwrap().to_vec();
            bytes[..2].copy_from_slice(&number.to_le_bytes());
            assert_eq!(
                Header::decode(HeaderForm::Narrow, &bytes),
                Err(WireError::Command(number.into()))
            );
        }
    }

    #[test]
    fn more_pages_than_the_narrow_form_has_are_refused() {
        let header = Header {
            pages: 1 << 32,
            ..get()
        };
        assert_eq!(header.encode(HeaderForm::Narrow).err(), Some(WireError::Pages(1 << 32)));
        assert!(header.encode(HeaderForm::Wide).is_ok());
    }

    #[test]
    fn destinations_are_told_apart() {
        for destination in [Destination::Task(1), Destination::Shared(0x1234_5678)] {
            assert_eq!(Destination::decode(destination.encode()), Ok(destination));
        }
        assert_eq!(Destination::decode(0x103), Err(WireError::Destination(0x103)));
    }

    proptest! {
        #[test]
        fn headers_survive_the_wire(
            index in 0..Command::ALL.len(), flags: u16, pages: u32, address: u64, dst_id: u64, wide: bool,
        ) {
            let form = FORMS[usize::from(wide)];
            let header = Header { command: Command::ALL[index], flags, pages: pages.into(), address, dst_id };
            prop_assert_eq!(Header::decode(form, &header.encode(form).unwrap()), Ok(header));
        }

        #[test]
        fn whatever_arrives_is_a_header_or_an_error(bytes: Vec<u8>) {
            for form in FORMS {
                if let Ok(header) = Header::decode(form, &bytes) {
                    prop_assert_eq!(Header::decode(form, &header.encode(form).unwrap()), Ok(header));
                }
            }
        }
    }
}
