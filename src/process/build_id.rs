//! The build identifier of an ELF file: the note by which CRIU, too, tells one build of a program or library from another.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// Length of the header of a 64-bit ELF file.
const HEADER: usize = 64;
/// `EI_CLASS` of a 64-bit file, `EI_DATA` of a little-endian one: other files are compared by their digest.
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
/// Length of a program header.
const PROGRAM_HEADER: usize = 56;
/// Most program headers that are looked at; real files have some fifteen.
const MAX_PROGRAM_HEADERS: u64 = 64;
/// `PT_NOTE`.
const NOTE_SEGMENT: u32 = 4;
/// Largest segment of notes that is read, bytes; real ones have some hundred.
const MAX_NOTES: u64 = 64 << 10;
/// `NT_GNU_BUILD_ID`, a note of `GNU`.
const BUILD_ID: u32 = 3;
const OWNER: &[u8] = b"GNU\0";

/// The build identifier of a file, lowercase hex; `None` where it is no ELF file that has one.
pub(super) fn of(file: &File) -> Option<String> {
    let header = read(file, 0, HEADER)?;
    if header.get(..4)? != b"\x7fELF" || header.get(4..6)? != [CLASS_64, LITTLE_ENDIAN] {
        return None;
    }
    let (offset, count) = (u64_at(&header, 32)?, u64::from(u16_at(&header, 56)?));
    (0..count.min(MAX_PROGRAM_HEADERS)).find_map(|index| {
        let at = offset.checked_add(index * PROGRAM_HEADER as u64)?;
        let entry = read(file, at, PROGRAM_HEADER)?;
        if u32_at(&entry, 0)? != NOTE_SEGMENT {
            return None;
        }
        let (offset, size, align) = (u64_at(&entry, 8)?, u64_at(&entry, 32)?, u64_at(&entry, 48)?);
        let notes = read(file, offset, usize::try_from(size.min(MAX_NOTES)).ok()?)?;
        in_notes(&notes, if align == 8 { 8 } else { 4 })
    })
}

fn in_notes(mut notes: &[u8], align: usize) -> Option<String> {
    loop {
        let (name, content) = (u32_at(notes, 0)? as usize, u32_at(notes, 4)? as usize);
        let kind = u32_at(notes, 8)?;
        let begin = 12_usize.checked_add(name)?.checked_next_multiple_of(align)?;
        let end = begin.checked_add(content)?;
        if kind == BUILD_ID && notes.get(12..12 + name)? == OWNER {
            let id = notes.get(begin..end)?;
            return (!id.is_empty()).then(|| id.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        notes = notes.get(end.checked_next_multiple_of(align)?..)?;
    }
}

fn read(file: &File, offset: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(owner: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        note.extend((owner.len() as u32).to_le_bytes());
        note.extend((content.len() as u32).to_le_bytes());
        note.extend(kind.to_le_bytes());
        note.extend(owner);
        note.resize(note.len().next_multiple_of(4), 0);
        note.extend(content);
        note.resize(note.len().next_multiple_of(4), 0);
        note
    }

    #[test]
    fn the_note_is_found_among_others() {
        let notes = [
            note(b"GNU\0", 1, b"abi"),
            note(b"X\0", 3, b"no"),
            note(OWNER, 3, b"\xab\x01"),
        ]
        .concat();
        assert_eq!(in_notes(&notes, 4).as_deref(), Some("ab01"));
    }

    #[test]
    fn whatever_is_no_note_is_none_and_never_a_panic() {
        let notes = note(OWNER, 3, b"\xab\x01");
        for length in 0..14 {
            assert_eq!(in_notes(&notes[..length], 4), None, "{length}");
        }
        let mut bad = notes;
        bad[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(in_notes(&bad, 4), None);
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"\x7fELF\x02\x01").unwrap();
        assert_eq!(of(&file), None);
    }

    #[test]
    fn a_real_program_has_one() {
        // Debian's and every other distribution's programs are built with it.
        let shell = File::open("/bin/sh").unwrap();
        let id = of(&shell).unwrap();
        assert!(
            id.len() >= 16 && id.bytes().all(|letter| letter.is_ascii_hexdigit()),
            "{id}"
        );
    }
}
