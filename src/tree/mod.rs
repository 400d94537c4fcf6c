//! A directory tree as a tar stream, and back, beneath a directory descriptor.
//!
//! [`Packer`] writes an ordinary PAX tar of a tree: everything a container's file system can hold, in an order that does
//! not depend on where the tree lies. [`unpack()`] reads such a tar, or one that podman, GNU tar or Python made, as untrusted
//! input. [`apply_diff_plain`] and [`apply_diff_overlay`] apply a tar of changes with its list of deleted files.
//!
//! Nothing here knows of containers. Nothing here follows a symbolic link inside a tree.

mod apply;
mod changes;
mod check;
pub mod deleted;
mod dir;
mod encode;
mod error;
mod header;
mod identity;
mod layers;
pub mod limits;
mod meta;
mod overlay;
mod pack;
mod packed;
mod path;
mod pax;
mod read;
mod read_sparse;
mod record;
mod remove;
mod report;
mod restore;
mod seen;
mod sparse;
mod transient;
mod unpack;
mod walk;
mod xattr;

pub use apply::{apply_diff_overlay, apply_diff_plain, apply_full};
pub(crate) use changes::Changes;
pub use check::{Summary, check};
pub use dir::open_root;
pub(crate) use encode::{END, encode, padding};
pub use error::{Defect, EntryName, Error, Unpackable};
pub use header::HeaderDefect;
pub use identity::identity;
pub use layers::Layers;
pub use limits::Limits;
pub use meta::{Device, Entry, Kind, Meta, Time, Xattrs};
pub use overlay::Namespace;
pub use pack::{Measured, Packer};
pub use path::{PathDefect, TreePath};
pub use pax::PaxDefect;
pub use read::Reader;
pub use report::{Notes, Report};
pub use restore::Scope;
pub use sparse::{Map, MapDefect, Region};
pub use transient::Transient;
pub use unpack::{Options, Target, unpack};
pub(crate) use walk::Select;
