//! What CRIU's images say of a checkpoint: its processes, their memory, files and sockets, mounts and network.
//!
//! ```text
//! ImageSource (an archive, or what was collected of a stream) -> record -> proto -> tasks, memory, files, … -> Inside
//! ```
//!
//! Images are untrusted: every size, count and depth is bounded by a constant in [`limits`] before anything is allocated
//! for it, and a wrong image is an error that names it. What is decoded is shown, never written again: `proto` declares only
//! a part of the fields.
//!
//! Invariant: nothing here knows where an image lies. [`ImageSource`] gives small images whole and pages by offset, so
//! that an archive with an index is read in few places, and one without an index in one pass.

mod address;
mod archived;
mod cgroups;
mod collected;
mod error;
mod fdtable;
mod files;
mod inside;
pub mod limits;
mod memory;
mod mounts;
mod network;
mod pagemap;
mod proto;
mod record;
mod regions;
mod search;
mod sockets;
mod source;
mod strings;
mod tasks;
mod text;

pub use address::Address;
pub use archived::Archived;
pub use cgroups::CgroupLimits;
pub use collected::Collected;
pub use error::{Error, Problem};
pub use fdtable::OpenFile;
pub use files::FileType;
pub use inside::{Inside, Memory, Part, Process, Unread, Want};
pub use memory::{KindMemory, Mapping, MappingKind, ProcessMemory};
pub use mounts::Mount;
pub use network::{Device, InterfaceAddress, Network, Route};
pub use pagemap::{Extent, Extents, PageState};
pub use regions::{Part as RegionPart, ProcessRegions, Region, TakeBytes};
pub use search::{Finder, Found, LONGEST_MATCH, MOST_CONTEXT, Scanner};
pub use sockets::{Endpoint, Socket, SocketFamily};
pub use source::{Image, ImageSource};
pub use tasks::{Task, TaskState, Thread};
