//! CRIU's images as they pass: whether they are what their names say, and whether they fit together.
//!
//! An archive of another engine has no checksums. What can be checked instead: every image begins with its magic number,
//! records of the small ones are whole, every pagemap accounts for exactly the bytes of its pages image, every process of the
//! tree has its images, and the inventory is there. Invariant: no image is held in memory, of any size.
//!
//! Images of processes that are not in the tree are no fault: podman dumps into the same directory again after
//! `--leave-running`, and leaves images of processes that have ended since.
//!
//! Magic numbers and fields are facts of CRIU's `magic.h`, `image-desc.c` and its protocol buffers.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::archive::ArchivePath;
use crate::archive::format::{CHECKPOINT, PRE_CHECKPOINT, pages_number};
use crate::criu::images::{PE_PARENT, PE_PRESENT, PagemapEntry, PagemapHead};

const COMMON_MAGIC: u32 = 0x5456_4319;
const SERVICE_MAGIC: u32 = 0x5510_5940;
const PAGEMAP_MAGIC: u32 = 0x5608_4025;
const PSTREE_MAGIC: u32 = 0x5027_3030;
const INVENTORY_MAGIC: u32 = 0x5831_3116;
/// Bytes of a page of memory, as pagemaps count them, on the architectures that engines checkpoint on.
const PAGE_SIZE: u64 = 4096;
/// Longest record that is read, bytes: a process of 100,000 threads has 500 KiB in `pstree.img`.
const MAX_RECORD: usize = 1 << 20;
/// Faults that are told; the rest is counted.
const MAX_FAULTS: usize = 20;

/// Images by what their names begin with, up to a number, and the second magic number; 0 where there is none.
#[rustfmt::skip]
const MAGICS: [(&str, u32); 61] = [
    ("inventory", INVENTORY_MAGIC), ("pstree", PSTREE_MAGIC), ("fdinfo-", 0x5621_3732), ("pagemap-", PAGEMAP_MAGIC),
    ("core-", 0x5505_3847), ("ids-", 0x5443_2030), ("vmas-", 0x5412_3737), ("pipes", 0x5651_3555),
    ("pipes-data", 0x5645_3709), ("fifo", 0x5836_4939), ("fifo-data", 0x5933_3054), ("sigacts-", 0x5534_4201),
    ("unixsk", 0x5437_3943), ("inetsk", 0x5644_3851), ("packetsk", 0x6045_4618), ("itimers-", 0x5746_4056),
    ("posix-timers-", 0x5260_3957), ("sk-queues", 0x5626_4026), ("utsns-", 0x5447_3203), ("creds-", 0x5402_3547),
    ("ipcns-var-", 0x5311_5007), ("ipcns-shm-", 0x4628_3044), ("ipcns-msg-", 0x5545_3737), ("ipcns-sem-", 0x5957_3019),
    ("reg-files", 0x5036_3636), ("ext-files", 0x5925_5641), ("fs-", 0x5140_3912), ("mm-", 0x5749_2820),
    ("remap-fpath", 0x5913_3954), ("ghost-file-", 0x5258_3605), ("tcp-stream-", 0x5146_5506), ("eventfd", 0x4452_3722),
    ("eventpoll", 0x4502_3858), ("eventpoll-tfd", 0x4443_3746), ("signalfd", 0x5732_3820), ("inotify", 0x4842_4431),
    ("inotify-wd", 0x5456_2009), ("mountpoints-", 0x5556_3928), ("netdev-", 0x5737_3951), ("netns-", 0x5593_3752),
    ("tty", 0x5943_3025), ("tty-info", 0x5945_3036), ("tty-data", 0x5941_3026), ("filelocks", 0x5432_3616),
    ("rlimit-", 0x5711_3925), ("fanotify", 0x5509_6122), ("fanotify-mark", 0x5650_6035), ("signal-s-", 0x5925_5647),
    ("signal-p-", 0x5925_5647), ("netlinksk", 0x5800_5614), ("ns-files", 0x6139_4011), ("tunfile", 0x5714_3751),
    ("cgroup", 0x5938_3330), ("timerfd", 0x5049_3712), ("cpuinfo", 0x6140_4013), ("userns-", 0x5547_4906),
    ("seccomp", 0x6441_3049), ("files", 0x5630_3138), ("timens-", 0x4311_4433), ("pidns-", 0x6115_7326),
    ("memfd", 0x4845_3499),
];

/// A process of `pstree.img`.
#[derive(Clone, PartialEq, Eq, Message)]
struct Process {
    #[prost(uint32, required, tag = "1")]
    pid: u32,
    #[prost(uint32, repeated, packed = "false", tag = "5")]
    threads: Vec<u32>,
}

/// What of `inventory.img` is looked at.
#[derive(Clone, PartialEq, Eq, Message)]
struct Inventory {
    #[prost(uint32, required, tag = "1")]
    img_version: u32,
}

/// What does not fit together, and what is strange but harmless.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Faults {
    /// What is wrong, each with its image.
    pub faults: Vec<String>,
    /// What whoever restores it should know.
    pub notes: Vec<String>,
    /// Images that were looked at.
    pub images: usize,
    /// Processes of the tree.
    pub processes: usize,
}

/// What is read of one image.
#[derive(Debug, Default)]
pub(super) struct Watch {
    name: Option<ArchivePath>,
    size: u64,
    head: Vec<u8>,
    records: Option<Records>,
    fault: Option<&'static str>,
}

/// Records of an image as it passes.
#[derive(Debug)]
struct Records {
    pending: Vec<u8>,
    found: Found,
}

/// What they say.
#[derive(Debug)]
enum Found {
    Pagemap {
        pages_id: Option<u32>,
        present: u64,
        in_parent: bool,
    },
    Tree(Vec<Process>),
    Inventory(Option<u32>),
}

impl Watch {
    /// Bytes of magic numbers: the inventory alone has one, as what comes first must be readable before all else is known.
    fn head_length(&self) -> usize {
        let is_inventory = |name: &ArchivePath| name.file_name() == "inventory.img";
        if self.name.as_ref().is_some_and(is_inventory) {
            4
        } else {
            8
        }
    }

    /// Takes the next bytes of the image.
    pub(super) fn more(&mut self, bytes: &[u8]) {
        if self.name.is_none() {
            return;
        }
        let head = (self.head_length() - self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..head]);
        if let Some(records) = &mut self.records
            && self.fault.is_none()
        {
            records.pending.extend_from_slice(&bytes[head..]);
            self.fault = records.parse().err();
        }
    }
}

impl Records {
    fn of(name: &str) -> Option<Self> {
        let found = match name {
            "pstree.img" => Found::Tree(Vec::new()),
            "inventory.img" => Found::Inventory(None),
            _ if name.starts_with("pagemap-") => Found::Pagemap {
                pages_id: None,
                present: 0,
                in_parent: false,
            },
            _ => return None,
        };
        let pending = Vec::new();
        Some(Self { pending, found })
    }

    /// Takes the records that are whole.
    fn parse(&mut self) -> Result<(), &'static str> {
        let mut at = 0;
        while let Some((length, rest)) = self.pending[at..].split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            if length > MAX_RECORD {
                return Err("has a record that is too long");
            }
            let Some(record) = rest.get(..length) else { break };
            self.found.take(record)?;
            at += 4 + length;
        }
        self.pending.drain(..at);
        Ok(())
    }
}

impl Found {
    fn take(&mut self, record: &[u8]) -> Result<(), &'static str> {
        const NO_MESSAGE: &str = "has a record that is no protocol buffer of its kind";
        match self {
            Self::Tree(tree) => tree.push(Process::decode(record).map_err(|_| NO_MESSAGE)?),
            Self::Inventory(version) => {
                *version = Some(Inventory::decode(record).map_err(|_| NO_MESSAGE)?.img_version);
            }
            Self::Pagemap {
                pages_id: id @ None, ..
            } => *id = Some(PagemapHead::decode(record).map_err(|_| NO_MESSAGE)?.pages_id),
            Self::Pagemap { present, in_parent, .. } => {
                let entry = PagemapEntry::decode(record).map_err(|_| NO_MESSAGE)?;
                if entry.kind() & PE_PRESENT != 0 && entry.kind() & PE_PARENT == 0 {
                    *present = present.saturating_add(entry.pages());
                }
                *in_parent |= entry.kind() & PE_PARENT != 0;
            }
        }
        Ok(())
    }
}

/// The images of one archive.
#[derive(Debug, Default)]
pub(super) struct Images {
    checkpoint: Set,
    pre_checkpoint: Set,
    faults: Vec<String>,
    more_faults: usize,
    count: usize,
}

/// The images of one dump.
#[derive(Debug, Default)]
struct Set {
    names: BTreeSet<String>,
    /// Sizes of the pages images, by their number.
    pages: BTreeMap<u32, u64>,
    pagemaps: Vec<Pagemap>,
    tree: Option<Vec<Process>>,
    inventory: Option<u32>,
}

/// What a pagemap says.
#[derive(Debug)]
struct Pagemap {
    image: String,
    pages_id: u32,
    present: u64,
    in_parent: bool,
}

impl Images {
    /// Begins to watch an entry, where it is an image.
    pub(super) fn watch(&self, path: &ArchivePath, size: u64) -> Watch {
        let image = matches!(path.directory(), Some(CHECKPOINT | PRE_CHECKPOINT)) && path.file_name().ends_with(".img");
        if !image {
            return Watch::default();
        }
        Watch {
            records: Records::of(path.file_name()),
            name: Some(path.clone()),
            size,
            ..Watch::default()
        }
    }

    /// Takes in what was seen of an image.
    pub(super) fn take_in(&mut self, watch: Watch) {
        let Some(path) = watch.name else { return };
        self.count += 1;
        if let Some(problem) = watch.fault.or_else(|| wrong_magic(path.file_name(), &watch.head)) {
            self.fault(format!("{path} {problem}"));
        }
        let set = if path.directory() == Some(CHECKPOINT) {
            &mut self.checkpoint
        } else {
            &mut self.pre_checkpoint
        };
        set.names.insert(path.file_name().to_owned());
        if let Some(number) = pages_number(&path) {
            set.pages.insert(number, watch.size);
        }
        let cut = watch
            .records
            .as_ref()
            .is_some_and(|records| !records.pending.is_empty());
        match watch.records.map(|records| records.found) {
            Some(Found::Pagemap {
                pages_id: Some(pages_id),
                present,
                in_parent,
            }) => set.pagemaps.push(Pagemap {
                image: path.file_name().to_owned(),
                pages_id,
                present,
                in_parent,
            }),
            Some(Found::Pagemap { .. }) if watch.fault.is_none() => self.fault(format!("{path} has no head")),
            Some(Found::Tree(tree)) => set.tree = Some(tree),
            Some(Found::Inventory(version)) => set.inventory = version,
            _ => {}
        }
        if cut && watch.fault.is_none() {
            self.fault(format!("{path} ends within a record"));
        }
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        } else {
            self.more_faults += 1;
        }
    }

    /// Compares the images with each other, when all of them have passed.
    pub(super) fn finish(mut self) -> Faults {
        let mut notes = Vec::new();
        let sets = [
            (CHECKPOINT, std::mem::take(&mut self.checkpoint)),
            (PRE_CHECKPOINT, std::mem::take(&mut self.pre_checkpoint)),
        ];
        let processes = sets[0].1.tree.as_ref().map_or(0, Vec::len);
        for (directory, set) in sets.iter().filter(|(_, set)| !set.names.is_empty()) {
            for fault in set.faults(*directory == CHECKPOINT) {
                self.fault(format!("{directory}/{fault}"));
            }
            notes.extend(set.notes().map(|note| format!("{directory}/{note}")));
        }
        if self.more_faults > 0 {
            self.faults.push(format!("and {} more", self.more_faults));
        }
        Faults {
            faults: self.faults,
            notes,
            images: self.count,
            processes,
        }
    }
}

impl Set {
    /// What is wrong; a pre-dump has memory only.
    fn faults(&self, whole: bool) -> Vec<String> {
        let mut faults = Vec::new();
        if whole && self.inventory.is_none() {
            faults.push("inventory.img is missing".to_owned());
        }
        match &self.tree {
            None if whole => faults.push("pstree.img is missing".to_owned()),
            None => {}
            Some(tree) => self.check_tree(tree, &mut faults),
        }
        let mut by_pages: BTreeMap<u32, Vec<&Pagemap>> = BTreeMap::new();
        for pagemap in self.pagemaps.iter().filter(|pagemap| !self.is_left_over(pagemap)) {
            by_pages.entry(pagemap.pages_id).or_default().push(pagemap);
        }
        for (id, pagemaps) in by_pages {
            faults.extend(self.check_pages(id, &pagemaps));
        }
        faults
    }

    /// Each process and thread of the tree has the images that it must have.
    fn check_tree(&self, tree: &[Process], faults: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        for process in tree {
            if !seen.insert(process.pid) {
                faults.push(format!("pstree.img has process {} twice", process.pid));
            }
            for id in std::iter::once(&process.pid).chain(&process.threads) {
                if !self.names.contains(&format!("core-{id}.img"))
                    && !faults.iter().any(|fault| fault.starts_with(&format!("core-{id}.img")))
                {
                    faults.push(format!("core-{id}.img is missing, of process {}", process.pid));
                }
            }
            let pid = process.pid;
            let (mm, pagemap) = (format!("mm-{pid}.img"), format!("pagemap-{pid}.img"));
            if self.names.contains(&mm) && !self.names.contains(&pagemap) {
                faults.push(format!("{pagemap} is missing, of process {pid}"));
            }
        }
    }

    /// The pages image of pagemaps; there are several where earlier dumps left some of shared memory.
    fn check_pages(&self, id: u32, pagemaps: &[&Pagemap]) -> Option<String> {
        let first = &pagemaps.first()?.image;
        let Some(&size) = self.pages.get(&id) else {
            let nothing = pagemaps.iter().all(|pagemap| pagemap.present == 0);
            return (!nothing).then(|| format!("pages-{id}.img is missing, of {first}"));
        };
        let right = |pagemap: &&&Pagemap| pagemap.present.checked_mul(PAGE_SIZE) == Some(size);
        if pagemaps.iter().any(|pagemap| right(&pagemap)) {
            return None;
        }
        let pages = pagemaps.first()?.present;
        Some(format!(
            "pages-{id}.img has {size} bytes, and {first} says {pages} pages of {PAGE_SIZE}"
        ))
    }

    /// Whether it is the pagemap of a process that is not in the tree.
    fn is_left_over(&self, pagemap: &Pagemap) -> bool {
        let pid = |image: &str| {
            image
                .strip_prefix("pagemap-")?
                .strip_suffix(".img")?
                .parse::<u32>()
                .ok()
        };
        match (&self.tree, pid(&pagemap.image)) {
            (Some(tree), Some(pid)) => !tree.iter().any(|process| process.pid == pid),
            _ => false,
        }
    }

    fn notes(&self) -> impl Iterator<Item = String> {
        let left_over: Vec<&str> = self
            .pagemaps
            .iter()
            .filter(|pagemap| self.is_left_over(pagemap))
            .map(|pagemap| pagemap.image.as_str())
            .collect();
        let left_over = (!left_over.is_empty()).then(|| {
            format!(
                "{} are of processes that are not in the tree: an earlier checkpoint of the same container left them",
                left_over.join(", ")
            )
        });
        let parent = self.pagemaps.iter().find(|pagemap| pagemap.in_parent);
        let parent = parent.map(|pagemap| format!("{} refers to the images of an earlier checkpoint", pagemap.image));
        left_over.into_iter().chain(parent)
    }
}

/// What is wrong with the first bytes of an image.
fn wrong_magic(name: &str, head: &[u8]) -> Option<&'static str> {
    let stem = name.strip_suffix(".img")?;
    let (_, magic) = MAGICS.iter().find(|(prefix, _)| is_named(stem, prefix))?;
    let alone = (*magic == INVENTORY_MAGIC).then_some(magic.to_le_bytes());
    let wanted = match alone {
        Some(alone) => alone.to_vec(),
        None => [COMMON_MAGIC.to_le_bytes(), magic.to_le_bytes()].concat(),
    };
    let service = [SERVICE_MAGIC.to_le_bytes(), magic.to_le_bytes()].concat();
    match head {
        _ if head == wanted || head == service => None,
        [] => Some("is empty"),
        _ => Some("does not begin with the magic number of its kind"),
    }
}

/// Whether the name is this, or this with a number (or `shmem-` and a number) behind it where it ends in a dash.
fn is_named(stem: &str, name: &str) -> bool {
    match stem.strip_prefix(name) {
        Some("") => !name.ends_with('-'),
        Some(rest) if name.ends_with('-') => {
            let number = rest.strip_prefix("shmem-").unwrap_or(rest);
            !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_hexdigit())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_up_to_their_number() {
        for (stem, name, want) in [
            ("core-1", "core-", true),
            ("core-x", "core-", false),
            ("core-", "core-", false),
            ("pagemap-shmem-12", "pagemap-", true),
            ("ghost-file-1f", "ghost-file-", true),
            ("pipes", "pipes", true),
            ("pipes-data", "pipes", false),
            ("fs-1", "files", false),
        ] {
            assert_eq!(is_named(stem, name), want, "{stem}");
        }
    }

    #[test]
    fn no_image_has_two_magic_numbers() {
        for (at, (name, _)) in MAGICS.iter().enumerate() {
            let sample = if name.ends_with('-') {
                format!("{name}1")
            } else {
                (*name).to_owned()
            };
            let found = MAGICS.iter().position(|(other, _)| is_named(&sample, other));
            assert_eq!(found, Some(at), "{sample}");
        }
    }

    fn watched(name: &str, content: &[u8], piece: usize) -> Images {
        let mut images = Images::default();
        let path = ArchivePath::try_from(name).unwrap();
        let mut watch = images.watch(&path, content.len() as u64);
        content.chunks(piece).for_each(|piece| watch.more(piece));
        images.take_in(watch);
        images
    }

    #[test]
    fn records_are_read_in_whatever_pieces_they_come() {
        let head = PagemapHead { pages_id: 7 }.encode_to_vec();
        let entry = |nr_pages, flags| PagemapEntry {
            nr_pages: Some(nr_pages),
            flags: Some(flags),
            ..Default::default()
        };
        let mut image = [COMMON_MAGIC.to_le_bytes(), PAGEMAP_MAGIC.to_le_bytes()].concat();
        for record in [
            head,
            entry(3, PE_PRESENT).encode_to_vec(),
            entry(5, PE_PARENT).encode_to_vec(),
        ] {
            image.extend((record.len() as u32).to_le_bytes());
            image.extend(record);
        }
        for piece in 1..image.len() {
            let images = watched("checkpoint/pagemap-1.img", &image, piece);
            let pagemap = &images.checkpoint.pagemaps[0];
            assert_eq!(
                (pagemap.pages_id, pagemap.present, pagemap.in_parent),
                (7, 3, true),
                "{piece}"
            );
            assert!(images.faults.is_empty());
        }
        let cut = watched("checkpoint/pagemap-1.img", &image[..image.len() - 1], 4);
        assert_eq!(cut.faults, ["checkpoint/pagemap-1.img ends within a record"]);
    }
}
