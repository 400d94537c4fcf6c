//! The seek table of the zstd seekable format: the skippable frame at the end of a zstd archive.
//!
//! It lets other programs seek in the archive, and ckpt find the end of it. Invariant: it is a hint and never trusted; it
//! is a function of the frames, and what differs from that is refused.

/// Magic of the skippable frame, `0x184D2A5E`.
const SKIPPABLE: [u8; 4] = 0x184d_2a5e_u32.to_le_bytes();
/// Magic at the very end, `0x8F92EAB1`.
const MAGIC: [u8; 4] = 0x8f92_eab1_u32.to_le_bytes();

/// Skippable header: magic and size.
pub(super) const HEADER: usize = 8;
/// One frame: stored size and content size.
const ENTRY: usize = 8;
/// Number of frames, descriptor, magic.
pub(super) const FOOTER: usize = 9;

/// The seek table of frames with these stored and content sizes.
pub(super) fn encode(frames: impl ExactSizeIterator<Item = (u32, u32)>) -> Vec<u8> {
    let count = frames.len();
    let size = count * ENTRY + FOOTER;
    let mut table = Vec::with_capacity(HEADER + size);
    table.extend_from_slice(&SKIPPABLE);
    table.extend_from_slice(&(size as u32).to_le_bytes());
    for (stored, content) in frames {
        table.extend_from_slice(&stored.to_le_bytes());
        table.extend_from_slice(&content.to_le_bytes());
    }
    table.extend_from_slice(&(count as u32).to_le_bytes());
    table.push(0);
    table.extend_from_slice(&MAGIC);
    table
}

/// Number of frames in the table that ends with this footer.
pub(super) fn frames_of(footer: &[u8; FOOTER]) -> Option<usize> {
    let (count, rest) = footer.split_first_chunk::<4>()?;
    (rest[0] == 0 && rest[1..] == MAGIC).then_some(u32::from_le_bytes(*count) as usize)
}

/// Length of the table of so many frames.
pub(super) const fn encoded_len(frames: usize) -> usize {
    HEADER + frames * ENTRY + FOOTER
}

/// Stored and content sizes of the frames of a table.
pub(super) fn parse(table: &[u8]) -> Option<Vec<(u32, u32)>> {
    let entries = table.get(HEADER..table.len().checked_sub(FOOTER)?)?;
    let frames: Vec<_> = entries
        .as_chunks::<ENTRY>()
        .0
        .iter()
        .map(|entry| (word(entry, 0), word(entry, 4)))
        .collect();
    (encode(frames.iter().copied()) == table).then_some(frames)
}

fn word(entry: &[u8; ENTRY], at: usize) -> u32 {
    entry[at..at + 4]
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_what_it_writes(frames: Vec<(u32, u32)>) {
            let table = encode(frames.iter().copied());
            prop_assert_eq!(table.len(), encoded_len(frames.len()));
            prop_assert_eq!(frames_of(table.last_chunk().expect("footer")), Some(frames.len()));
            prop_assert_eq!(parse(&table), Some(frames));
        }

        #[test]
        fn other_bytes_are_refused(frames in proptest::collection::vec(any::<(u32, u32)>(), 0..5), at: prop::sample::Index) {
            let mut table = encode(frames.iter().copied());
            let at = at.index(table.len());
            table[at] ^= 1;
            let sizes = HEADER..table.len() - FOOTER;
            prop_assert_eq!(parse(&table).is_some(), sizes.contains(&at));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }

    #[test]
    fn the_crates_of_others_would_read_it() {
        // The example of the format's description: two frames, checked by hand.
        let table = encode([(1, 2), (3, 4)].into_iter());
        assert_eq!(
            table,
            [
                0x5e, 0x2a, 0x4d, 0x18, 25, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 0,
                0xb1, 0xea, 0x92, 0x8f
            ]
        );
    }
}
