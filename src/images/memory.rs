//! Memory of a process: its mappings (`mm` images) and which of their pages are where (pagemaps).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::address::Address;
use super::error::{Error, Problem};
use super::files::Files;
use super::limits::MAX_MAPPINGS;
use super::pagemap::{Extents, PageState};
use super::proto;
use super::record::{MM, first};
use super::source::ImageSource;

// Bits of a mapping's status: criu/include/image.h.
const STACK: u32 = 1 << 1;
const VSYSCALL: u32 = 1 << 2;
const VDSO: u32 = 1 << 3;
const HEAP: u32 = 1 << 5;
const FILE_PRIVATE: u32 = 1 << 6;
const FILE_SHARED: u32 = 1 << 7;
const ANON_SHARED: u32 = 1 << 8;
const ANON_PRIVATE: u32 = 1 << 9;
const SYSVIPC: u32 = 1 << 10;
const SOCKET: u32 = 1 << 11;
const VVAR: u32 = 1 << 12;
const AIORING: u32 = 1 << 13;
const GUARD: u32 = 1 << 16;
/// Grows towards lower addresses, as a stack: `MAP_GROWSDOWN`.
const GROWS_DOWN: u32 = 0x100;

/// What a mapping is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MappingKind {
    /// Memory of its own.
    Anonymous,
    /// Memory that it may share with others.
    Shared,
    /// A file, changes to which are its own.
    File,
    /// A file, changes to which are the file's.
    SharedFile,
    /// What the kernel maps: vDSO, vvar, rings of sockets and of asynchronous I/O.
    Special,
}

impl MappingKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [
        Self::Anonymous,
        Self::Shared,
        Self::File,
        Self::SharedFile,
        Self::Special,
    ];

    fn of(status: u32) -> Self {
        match status {
            _ if status & (VDSO | VVAR | VSYSCALL | SOCKET | AIORING | GUARD) != 0 => Self::Special,
            _ if status & (ANON_SHARED | SYSVIPC) != 0 => Self::Shared,
            _ if status & FILE_SHARED != 0 => Self::SharedFile,
            _ if status & FILE_PRIVATE != 0 => Self::File,
            _ if status & (ANON_PRIVATE | HEAP | STACK) != 0 => Self::Anonymous,
            _ => Self::Special,
        }
    }

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Shared => "shared",
            Self::File => "file",
            Self::SharedFile => "shared file",
            Self::Special => "special",
        }
    }
}

/// One mapping of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Mapping {
    /// Its first address.
    pub start: Address,
    /// The address after its last.
    pub end: Address,
    /// What it is of.
    pub kind: MappingKind,
    /// As in /proc/PID/maps: `rwxp`, with `s` instead of `p` where it is shared.
    pub protection: String,
    /// The file, or a name in brackets for what has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// Bytes of it in the archive; of shared memory, of the whole segment.
    pub stored: u64,
    /// Bytes of it in the images of a parent.
    pub in_parent: u64,
    /// Number of the shared memory that it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_id: Option<u64>,
    /// Offset of the first address in the file or the shared memory, bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub offset: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Mapping {
    /// Its length, bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.end.0 - self.start.0
    }

    /// Its name, or its kind in brackets.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => format!("[{}]", self.kind.name()),
        }
    }

    /// What it takes in memory and in a result, bytes.
    pub(super) fn cost(&self) -> usize {
        size_of::<Self>() + self.name.as_deref().map_or(0, str::len)
    }
}

/// The memory of one kind of mappings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KindMemory {
    /// Number of mappings.
    pub mappings: u64,
    /// Their length, bytes.
    pub mapped: u64,
    /// Bytes of it in the archive.
    pub stored: u64,
    /// Bytes of it in the images of a parent.
    pub in_parent: u64,
}

impl KindMemory {
    fn add(&mut self, mapping: &Mapping) {
        self.mappings += 1;
        self.mapped = self.mapped.saturating_add(mapping.length());
        self.stored = self.stored.saturating_add(mapping.stored);
        self.in_parent = self.in_parent.saturating_add(mapping.in_parent);
    }
}

/// The memory of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProcessMemory {
    /// Length of all mappings, bytes.
    pub mapped: u64,
    /// Bytes of its own pages in the archive. Those of shared memory are not among them: they may be others' as well.
    pub stored: u64,
    /// Bytes of its own pages in the images of a parent.
    pub in_parent: u64,
    /// Bytes in the archive of the shared memory that it maps.
    pub shared: u64,
    /// Bytes that may be restored lazily.
    pub lazy: u64,
    /// By kind of mapping.
    pub kinds: BTreeMap<MappingKind, KindMemory>,
    /// The mappings, by address; only where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mappings: Option<Vec<Mapping>>,
}

/// Where a process's strings are, and its executable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) arguments: (u64, u64),
    pub(super) environment: (u64, u64),
    pub(super) executable: u32,
}

/// Bytes in the archive of each shared memory that was looked at, by its number.
pub(super) type Segments = HashMap<u64, u64>;

/// The memory of a process, and its layout.
pub(super) struct TaskMemory {
    pub(super) memory: ProcessMemory,
    pub(super) layout: Layout,
    pub(super) extents: Extents,
}

/// Reads the images of a process's memory.
pub(super) fn read(
    images: &dyn ImageSource,
    pid: u32,
    segments: &mut Segments,
    files: &Files,
) -> Result<TaskMemory, Error> {
    let image = format!("mm-{pid}.img");
    let mm: proto::Mm = first(MM, &image, &images.read(&image)?)?;
    let extents = Extents::of_task(images, pid)?;
    let mut memory = ProcessMemory {
        stored: extents.stored(),
        ..ProcessMemory::default()
    };
    for extent in &extents.extents {
        match extent.state {
            PageState::Parent => memory.in_parent += extent.length,
            _ if extent.lazy => memory.lazy += extent.length,
            _ => {}
        }
    }
    let mut seen = std::collections::HashSet::new();
    let mut mappings: Vec<Mapping> = Vec::with_capacity(mm.vmas.len().min(MAX_MAPPINGS));
    for vma in &mm.vmas {
        let mut mapping = mapping(vma, files);
        let last = mappings.last().map_or(0, |last| last.end.0);
        if vma.start < last || vma.end <= vma.start {
            return Err(Error::image(&image, Problem::Order));
        }
        match mapping.shared_id {
            Some(id) => {
                mapping.stored = segment(images, id, segments)?;
                memory.shared += if seen.insert(id) { mapping.stored } else { 0 };
            }
            None => count(&mut mapping, &extents),
        }
        memory.mapped = memory.mapped.saturating_add(mapping.length());
        memory.kinds.entry(mapping.kind).or_default().add(&mapping);
        mappings.push(mapping);
    }
    memory.mappings = Some(mappings);
    let layout = Layout {
        arguments: (mm.mm_arg_start, mm.mm_arg_end),
        environment: (mm.mm_env_start, mm.mm_env_end),
        executable: mm.exe_file_id,
    };
    Ok(TaskMemory {
        memory,
        layout,
        extents,
    })
}

fn mapping(vma: &proto::Vma, files: &Files) -> Mapping {
    let mut kind = MappingKind::of(vma.status);
    let shared = matches!(kind, MappingKind::Shared | MappingKind::SharedFile);
    let (mut name, mut segment) = (special(vma).map(Arc::from), None);
    if matches!(kind, MappingKind::File | MappingKind::SharedFile) {
        let file = u32::try_from(vma.shmid).ok().and_then(|id| files.get(id));
        name = file.map(|file| file.path.clone());
        // Kernels have shared memory without a name in a file like that of memfd_create(2).
        segment = file.and_then(|file| file.segment).filter(|_| shared);
    }
    if segment.is_some() {
        kind = MappingKind::Shared;
    } else if kind == MappingKind::Shared {
        segment = Some(vma.shmid);
    }
    let protection = [(1, 'r'), (2, 'w'), (4, 'x')].map(|(bit, letter)| if vma.prot & bit != 0 { letter } else { '-' });
    Mapping {
        start: Address(vma.start),
        end: Address(vma.end),
        kind,
        protection: protection.into_iter().chain([if shared { 's' } else { 'p' }]).collect(),
        name,
        stored: 0,
        in_parent: 0,
        shared_id: segment,
        offset: if matches!(kind, MappingKind::Anonymous | MappingKind::Special) {
            0
        } else {
            vma.pgoff
        },
    }
}

/// A name in brackets, where the status has one.
fn special(vma: &proto::Vma) -> Option<&'static str> {
    let names = [
        (HEAP, "[heap]"),
        (STACK, "[stack]"),
        (VSYSCALL, "[vsyscall]"),
        (VDSO, "[vdso]"),
        (VVAR, "[vvar]"),
        (SYSVIPC, "[sysv]"),
        (SOCKET, "[socket]"),
        (AIORING, "[aio]"),
        (GUARD, "[guard]"),
    ];
    let named = names
        .iter()
        .find(|(bit, _)| vma.status & bit != 0)
        .map(|(_, name)| *name);
    named.or_else(|| (vma.flags & GROWS_DOWN != 0).then_some("[stack]"))
}

fn count(mapping: &mut Mapping, extents: &Extents) {
    for extent in extents.between(mapping.start.0, mapping.end.0) {
        match extent.state {
            PageState::Stored => mapping.stored += extent.length,
            PageState::Parent => mapping.in_parent += extent.length,
            PageState::Absent => {}
        }
    }
}

fn segment(images: &dyn ImageSource, id: u64, segments: &mut Segments) -> Result<u64, Error> {
    if let Some(stored) = segments.get(&id) {
        return Ok(*stored);
    }
    let stored = Extents::of_shared(images, id)?.map_or(0, |extents| extents.stored());
    segments.insert(id, stored);
    Ok(stored)
}
