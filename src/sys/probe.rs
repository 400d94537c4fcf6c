//! What the kernel can do, found out by doing it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bit of a pagemap entry: the page was written since soft-dirty bits were cleared, or since it was mapped
/// (Documentation/admin-guide/mm/soft-dirty.rst).
const SOFT_DIRTY: u64 = 1 << 55;
/// Bytes of a pagemap entry.
const ENTRY: usize = 8;

/// Whether the kernel tracks changes of memory (CONFIG_MEM_SOFT_DIRTY), which CRIU's pre-dumps need.
///
/// A page that has just been written is soft-dirty on every kernel that knows the bit, and never on others: nothing has to be
/// cleared to see that, so no other tracker of this process is disturbed.
///
/// # Errors
/// When /proc/self/pagemap cannot be read.
pub fn memory_tracking() -> io::Result<bool> {
    let size = rustix::param::page_size();
    // One whole page lies within any two.
    let mut memory = vec![0_u8; 2 * size];
    memory.fill(1);
    let memory = std::hint::black_box(memory);
    let page = memory.as_ptr().addr().div_ceil(size);
    let mut entry = [0; ENTRY];
    File::open("/proc/self/pagemap")?.read_exact_at(&mut entry, (page * ENTRY) as u64)?;
    Ok(u64::from_ne_bytes(entry) & SOFT_DIRTY != 0)
}

/// Whether this process may catch its page faults, which restoring memory lazily needs.
#[must_use]
pub fn userfaultfd() -> bool {
    use rustix::mm::UserfaultfdFlags;
    // SAFETY: the descriptor is closed at once; no memory is registered with it.
    #[expect(unsafe_code, reason = "a system call without a safe wrapper")]
    let descriptor = unsafe { rustix::mm::userfaultfd(UserfaultfdFlags::CLOEXEC) };
    descriptor.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's own answer, where it tells its configuration.
    fn configured(option: &str) -> Option<bool> {
        let config = std::fs::read("/proc/config.gz").ok()?;
        let mut text = String::new();
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&config[..]), &mut text).ok()?;
        Some(text.lines().any(|line| line == format!("{option}=y")))
    }

    #[test]
    fn probes_agree_with_the_kernels_configuration() {
        // Without /proc/config.gz all that can be said is that the probes come to an end.
        let tracking = memory_tracking().unwrap();
        assert_eq!(configured("CONFIG_MEM_SOFT_DIRTY").unwrap_or(tracking), tracking);
        let faults = userfaultfd();
        assert!(configured("CONFIG_USERFAULTFD").unwrap_or(true) || !faults);
    }
}
