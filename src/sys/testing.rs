//! A place for tests that mount: a thread with a mount namespace of its own, gone with all its mounts when it ends.

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;

/// Runs a test in a private mount namespace. Needs root.
#[expect(unsafe_code, reason = "unshare can part a thread from the process's descriptors")]
pub(crate) fn in_private_mounts<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: the descriptor table stays shared, as CLONE_FILES is not among the flags.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.expect("this test needs root");
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            test()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
