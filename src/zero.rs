//! Zeros: most of the memory of many containers, and worth neither disk nor time.

/// Bytes that are looked at between two branches. Most content that is not zero says so in the first of them.
const STRIDE: usize = 1 << 10;

/// Whether all of it is zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(STRIDE)
        .all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_told_from_what_is_nearly_zero() {
        for length in [0, 1, 1023, 1024, 1025, 1 << 20] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes), "{length}");
            for at in [0, length / 2, length.saturating_sub(1)] {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = 0x80;
                    assert!(!is_zero(&bytes), "{at} of {length}");
                    bytes[at] = 0;
                }
            }
        }
    }
}
