//! What is accepted of an image. Each bound is far above what CRIU writes for the largest container that it can restore,
//! and low enough that no archive makes a reader use more than some hundred MiB.

/// The largest image that is read whole, bytes. Pagemaps are the largest: 16 bytes for each range of pages.
pub const MAX_IMAGE: u64 = 64 << 20;
/// All images together that are kept of a stream, bytes.
pub const MAX_COLLECTED: u64 = 256 << 20;
/// The longest message of most images, bytes. Paths of PATH_MAX are the largest part of it.
pub const MAX_MESSAGE: usize = 64 << 10;
/// The longest message of an `mm` image, bytes: some 50 for each mapping.
pub const MAX_MM: usize = 32 << 20;
/// The longest message of a `cgroup` image, bytes.
pub const MAX_CGROUP: usize = 8 << 20;
/// Most processes; the default of kernel.pid_max is 32768, of systemd 4194304.
pub const MAX_PROCESSES: usize = 64 << 10;
/// Most threads of all processes.
pub const MAX_THREADS: usize = 256 << 10;
/// Most mappings of a process; the default of vm.max_map_count is 65530.
pub const MAX_MAPPINGS: usize = 256 << 10;
/// Most ranges of a pagemap that are kept.
pub const MAX_EXTENTS: usize = 2 << 20;
/// Most files in `files.img`.
pub const MAX_FILES: usize = 256 << 10;
/// Most bytes that the open files of all processes take, those of their paths included; about a million files.
pub const MAX_OPEN_FILES: usize = 256 << 20;
/// Most bytes that the mappings of all processes take, where they were asked for; about a million of them.
pub const MAX_MAPPING_BYTES: usize = 256 << 20;
/// Most mounts of all namespaces; the default of fs.mount-max is 100000.
pub const MAX_MOUNTS: usize = 128 << 10;
/// Most network devices, addresses and routes, each.
pub const MAX_NETWORK: usize = 64 << 10;
/// Most directories of all cgroup controllers.
pub const MAX_CGROUPS: usize = 64 << 10;
/// The longest command line that is read, bytes.
pub const MAX_COMMAND_LINE: u64 = 128 << 10;
/// The largest environment that is read, bytes; a kernel allows a quarter of the stack, 2 MiB, for both.
pub const MAX_ENVIRONMENT: u64 = 2 << 20;
/// Command lines and environments of all processes together, bytes.
pub const MAX_STRINGS: u64 = 64 << 20;
/// Bytes at the end of every pages image that are kept of a stream. CRIU writes pages by address, and the stack, where the
/// command line is, lies above everything but the vDSO.
pub const TAIL: usize = 256 << 10;
/// All those ends together, bytes.
pub const MAX_TAILS: usize = 64 << 20;
