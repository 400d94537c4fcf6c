//! The small entries in the shapes of podman and CRI-O, so that their tools read what ckpt writes.

/// `network.status`: podman's networks of the container. A container of a plain runtime has none.
pub(super) const NETWORK_STATUS: &[u8] = b"null\n";

/// JSON as it stands in an archive: indented, with a newline at its end, so that it reads well with `ckpt cat`.
pub(super) fn text(value: &impl serde::Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}
