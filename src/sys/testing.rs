//! Places for tests that mount or make interfaces: a thread with a mount or network namespace of its own, gone with
//! everything in it when it ends.

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;

/// Runs a test in a private mount namespace. Needs root.
pub(crate) fn in_private_mounts<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    in_private(UnshareFlags::NEWNS, || {
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        test()
    })
}

/// Runs a test in a private network namespace. Needs root.
pub(crate) fn in_private_network<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    in_private(UnshareFlags::NEWNET, test)
}

#[expect(unsafe_code, reason = "unshare can part a thread from the process's descriptors")]
fn in_private<T: Send>(namespace: UnshareFlags, test: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: the descriptor table stays shared, as CLONE_FILES is not among the flags.
            unsafe { rustix::thread::unshare_unsafe(namespace) }.expect("this test needs root");
            test()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
