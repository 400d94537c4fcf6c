//! Names out of images as text.

/// Bytes as text: what is not UTF-8 is spelled out as `\xNN`. Control characters stay: whoever shows text to a terminal or on
/// a page does away with them.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_utf_8_is_spelled_out() {
        assert_eq!(text("näme".as_bytes()), "näme");
        assert_eq!(text(b"a\xffb\xc3"), "a\\xffb\\xc3");
    }
}
