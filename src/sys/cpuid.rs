//! What the processor says of itself.

/// Size of the xsave area for the features that the kernel has enabled in XCR0, bytes: CPUID leaf 0xD, sub-leaf 0, EBX.
/// 0 where there is no such area: another architecture, or a kernel or processor without xsave.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn xsave_size() -> u32 {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    /// ECX of leaf 1: the kernel uses xsave.
    const OSXSAVE: u32 = 1 << 27;
    const XSAVE_LEAF: u32 = 0xd;
    let highest = __cpuid(0).eax;
    if highest < XSAVE_LEAF || __cpuid(1).ecx & OSXSAVE == 0 {
        return 0;
    }
    __cpuid_count(XSAVE_LEAF, 0).ebx
}

/// Only x86 has an xsave area.
#[cfg(not(target_arch = "x86_64"))]
#[must_use]
pub fn xsave_size() -> u32 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_xsave_area_holds_at_least_its_legacy_part_and_header() {
        let size = xsave_size();
        let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let has = flags
            .lines()
            .any(|line| line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "xsave"));
        assert_eq!(size >= 576, has, "{size}");
    }
}
