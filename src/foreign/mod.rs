//! Checkpoints that podman, CRI-O or containerd made: read, described, checked, sealed and converted.
//!
//! Such an archive is a tar of entries in any order, compressed as a whole or not at all, without checksums. [`Reader`] reads
//! it once, from front to back, by the same strict rules as everything else that strangers made; [`Outline`] is what that
//! pass tells, [`describe()`] makes a manifest of it. Which kind of archive a file holds is told by its content, see
//! [`Family`].
//!
//! | engine | entries |
//! |---|---|
//! | all | `checkpoint/…`, `config.dump`, `spec.dump`, `rootfs-diff.tar`, `stats-dump` |
//! | podman | `pre-checkpoint/…`, `network.status`, `deleted.files`, `volumes/NAME.tar`, `devshm-checkpoint.tar`, `artifacts/…`, `ctr.log` |
//! | CRI-O | `bind.mounts`, `deleted.files`, `dump.log`, `io.kubernetes.cri-o.LogPath` |
//! | containerd | `dump.log`, `container.log`, `status`, `status.dump`; `rootfs-diff.tar` is an OCI layer, gzip |

mod ahead;
mod convert;
mod describe;
mod document;
mod error;
mod family;
mod images;
mod layer;
mod material;
pub mod names;
mod reader;
mod seal;
mod shape;
mod stop;
mod stream;
mod verify;

pub use convert::{Converted, convert};
pub use describe::{describe, engine_of_podman};
pub use document::Documents;
pub use error::Error;
pub use family::Family;
pub use images::Faults;
pub use material::{Item, Material, ReadOptions};
pub use reader::{Entry, Outline, Reader};
pub use seal::{Left, SealOptions, Sealed, seal};
pub use shape::config_dump;
pub use stop::Stop;
pub use verify::{Verified, verify};
