//! The entries that engines put into their archives.

use crate::archive::format::{ARTIFACTS, CHECKPOINT, INDEX, MANIFEST, PRE_CHECKPOINT, SIGNATURE, SUMS, VOLUMES};
use crate::archive::limits::{MAX_FILE, MAX_JSON, MAX_LIST, MAX_LOG};

/// podman's or the ten-key description of the container.
pub const CONFIG: &str = "config.dump";
/// The OCI configuration.
pub const SPEC: &str = "spec.dump";
/// podman's networks.
pub const NETWORK: &str = "network.status";
/// CRI-O's bind mounts.
pub const BINDS: &str = "bind.mounts";
/// The changed files.
pub const DIFF: &str = "rootfs-diff.tar";
/// The paths of deleted files.
pub const DELETED: &str = "deleted.files";
/// The content of podman's /dev/shm.
pub const SHM: &str = "devshm-checkpoint.tar";
/// CRIU's log of the dump.
pub const LOG: &str = "dump.log";
/// CRIU's inventory, which every dump has.
pub const INVENTORY: &str = "checkpoint/inventory.img";
/// The one link that there may be, to the images that these are incremental to.
pub const PARENT: &str = "checkpoint/parent";

/// Entries that are held in memory, and read by ckpt.
pub(super) const DOCUMENTS: [&str; 5] = [CONFIG, SPEC, NETWORK, BINDS, DELETED];

/// Entries that only archives of ckpt have.
pub(super) const OURS: [&str; 4] = [MANIFEST, INDEX, SUMS, SIGNATURE];

/// Directories that may have a header of their own.
pub(super) const DIRECTORIES: [&str; 4] = [CHECKPOINT, PRE_CHECKPOINT, VOLUMES, ARTIFACTS];

/// The largest size that an entry may have.
pub(super) fn max_size(name: &str) -> u64 {
    match name {
        DELETED => MAX_LIST,
        CONFIG | SPEC | NETWORK | BINDS | "status" | "status.dump" => MAX_JSON,
        "stats-dump" | "dump.log" | "ctr.log" | "container.log" | "io.kubernetes.cri-o.LogPath" => MAX_LOG,
        _ => MAX_FILE,
    }
}
