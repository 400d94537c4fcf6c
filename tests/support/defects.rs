//! Hostile archives, each named by its one defect. What is not about a compression is made without one or with zstd.

use super::archives::{manifest, memory};
use super::forge::{Entry, Forge, block, checksum, end_member, forged, header, pax, record, seek_table, store};

/// A defect: what it is called, how it is made, and what the reader says.
pub struct Defect {
    /// Its name, also of its fixture.
    pub name: &'static str,
    /// The archive.
    pub archive: Vec<u8>,
    /// What is said about it.
    pub message: &'static str,
}

/// A name that needs a PAX header.
const LONG: &str = concat!(
    "checkpoint/z-long-name-that-does-not-fit-the-hundred-bytes-of-the-name-field-of-a-ustar-header",
    "-and-therefore-needs-a-pax-header.img"
);

/// A short archive, so that a fixture is a few kilobytes. The manifest has a fixed length, so that offsets are known:
///
/// | | data | tail | trailer | end |
/// |---|---|---|---|---|
/// | zstd | 0 | 4112 | 7200 | 7233 |
/// | gzip | 0 | 4133 | 7242 | 7276 |
/// | none | 0 | 4096 | | 7168 |
fn tiny(codec: &'static str) -> Forge {
    let mut fixed = manifest();
    fixed.resize(1500, b' ');
    let entries = [
        ("ckpt.json", manifest()),
        ("spec.dump", b"{}".to_vec()),
        ("dump.log", b"done\n".to_vec()),
    ];
    Forge::of(
        codec,
        entries
            .iter()
            .map(|(name, content)| Entry::new(name, content))
            .collect(),
    )
}

/// With one more entry before `dump.log`, of a header made by hand.
fn with_entry(name: &str, header: Vec<u8>, content: &[u8]) -> Forge {
    let mut forge = tiny("zstd");
    forge.entries.insert(2, Entry::new(name, content).with_header(header));
    forge
}

fn of_type(typeflag: u8) -> Forge {
    with_entry("stats-dump", forged("stats-dump", 0, 156, &[typeflag]), b"")
}

fn with_manifest(manifest: &[u8]) -> Forge {
    let mut forge = tiny("zstd");
    forge.entries[0] = Entry::new("ckpt.json", manifest);
    forge
}

fn changed(change: impl FnOnce(&mut serde_json::Value)) -> Forge {
    let mut value = serde_json::from_slice(&manifest()).expect("JSON");
    change(&mut value);
    with_manifest(&serde_json::to_vec(&value).expect("JSON"))
}

fn edited(codec: &'static str, edit: impl FnOnce(&mut Forge)) -> Forge {
    let mut forge = tiny(codec);
    edit(&mut forge);
    forge
}

/// Every defect.
pub fn all() -> Vec<Defect> {
    let table = [
        directories(),
        entries(),
        mixed(),
        versions(),
        names(),
        types(),
        pax_headers(),
        headers(),
        end_marks(),
        trailers(),
        cuts(),
        frames(),
        tail_frames(),
        indexes(),
        digests(),
    ];
    let defect = |(name, forge, message): Row| Defect {
        name,
        archive: forge.bytes(),
        message,
    };
    table.into_iter().flatten().map(defect).collect()
}

type Row = (&'static str, Forge, &'static str);

/// Entries that are missing, unknown, repeated or out of order.
fn entries() -> Vec<Row> {
    vec![
        (
            "no-manifest",
            edited("zstd", |forge| drop(forge.entries.remove(0))),
            "not a ckpt archive: its first entry is \"spec.dump\", not \"ckpt.json\"",
        ),
        (
            "entry-missing",
            edited("none", |forge| {
                forge.index = Some(Box::new(|index| {
                    index.replace(
                        "[\"dump.log\",5,3584]",
                        "[\"stats-dump\",0,3584],\n[\"dump.log\",5,4096]",
                    )
                }));
            }),
            "entry stats-dump: listed, but not in the archive at that place",
        ),
        (
            "entry-unlisted",
            edited("zstd", |forge| {
                forge.entries.insert(2, Entry::new("stats-dump", b"").unlisted())
            }),
            "entry stats-dump: in the archive, but not listed",
        ),
        (
            "entry-unlisted-plain",
            edited("none", |forge| {
                forge.entries.insert(2, Entry::new("stats-dump", b"").unlisted())
            }),
            "entry stats-dump: in the archive, but not listed",
        ),
        (
            "entry-unknown",
            edited("zstd", |forge| {
                forge.entries.insert(2, Entry::new("passwd", b"root::0:0"))
            }),
            "entry passwd: no entry of that name belongs into an archive",
        ),
        (
            "entry-repeated",
            edited("zstd", |forge| {
                forge.entries.insert(2, Entry::new("spec.dump", b"{\"hooks\":1}"))
            }),
            "entry spec.dump: repeats spec.dump",
        ),
        (
            "entry-repeated-later",
            edited("zstd", |forge| {
                forge.entries.push(Entry::new("spec.dump", b"{\"hooks\":1}"))
            }),
            "entry spec.dump: repeats spec.dump",
        ),
        (
            "manifest-repeated",
            edited("zstd", |forge| {
                forge.entries.insert(1, Entry::new("ckpt.json", &manifest()))
            }),
            "entry ckpt.json: repeats ckpt.json",
        ),
        (
            "entries-reordered",
            edited("zstd", |forge| forge.entries.swap(1, 2)),
            "entry spec.dump: must not follow dump.log",
        ),
        (
            "two-root-file-systems",
            edited("zstd", |forge| {
                forge.entries.insert(2, Entry::new("rootfs.tar", b"2"));
                forge.entries.insert(2, Entry::new("rootfs-diff.tar", b"1"));
            }),
            "entry rootfs.tar: repeats rootfs-diff.tar",
        ),
    ]
}

/// Entries after the last, and parts of two archives.
fn mixed() -> Vec<Row> {
    vec![
        (
            "entry-after-the-digests",
            edited("none", |forge| {
                forge.tail = Some(Box::new(|mut tail| {
                    tail.truncate(tail.len() - 1024);
                    tail.extend(header("dump.log", 0));
                    tail.extend([0; 1024]);
                    tail
                }));
            }),
            "entry dump.log: repeats dump.log",
        ),
        (
            "content-of-another-archive",
            edited("zstd", |forge| {
                // The frame of another archive's entry, and the tail of this one.
                let ours = Forge::of(
                    "zstd",
                    vec![
                        Entry::new("ckpt.json", &manifest()),
                        Entry::new("dump.log", &memory(66_000, 1)),
                    ],
                );
                let theirs = Forge::of(
                    "zstd",
                    vec![
                        Entry::new("ckpt.json", &manifest()),
                        Entry::new("dump.log", &memory(66_000, 2)),
                    ],
                );
                forge.file = Some(Box::new(move |_| splice(&ours.bytes(), &theirs.bytes())));
            }),
            "entry dump.log: frame 1 does not match its digest in index.json",
        ),
        (
            "tail-of-another-archive",
            edited("none", |forge| {
                let other = edited("none", |other| other.entry("spec.dump").content = b"[]".to_vec()).bytes();
                forge.file = Some(Box::new(move |file| {
                    [&file[..3584 + 512], &other[3584 + 512..]].concat()
                }));
            }),
            "entry spec.dump: content does not match its digest in SHA256SUMS",
        ),
    ]
}

/// The frame of 66,000 bytes of one file in the other: manifest and header are before it.
fn splice(tail: &[u8], data: &[u8]) -> Vec<u8> {
    let begin = 512 + 1536 + 512 + 16;
    let end = begin + 66_048 + 16;
    [&tail[..begin], &data[begin..end], &tail[end..]].concat()
}

fn versions() -> Vec<Row> {
    vec![
        (
            "version-too-new",
            changed(|manifest| {
                manifest["format"] = 2.into();
                manifest["only-in-version-2"] = true.into();
            }),
            "the archive has format version 2; this ckpt reads up to 1: use a newer ckpt",
        ),
        (
            "version-far-too-new",
            with_manifest(b"{\"format\":18446744073709551615}"),
            "the archive has format version 18446744073709551615; this ckpt reads up to 1: use a newer ckpt",
        ),
        (
            "version-too-old",
            changed(|manifest| manifest["format"] = 0.into()),
            "the archive has format version 0; this ckpt reads from 1 on: use an older ckpt",
        ),
        (
            "version-missing",
            with_manifest(b"{\"name\":\"x\"}"),
            "entry ckpt.json: not a manifest",
        ),
        (
            "version-not-a-number",
            with_manifest(b"{\"format\":\"1\"}"),
            "entry ckpt.json: not a manifest",
        ),
        (
            "manifest-not-json",
            with_manifest(b"format: 1\n"),
            "entry ckpt.json: not a manifest",
        ),
        ("manifest-empty", with_manifest(b""), "entry ckpt.json: not a manifest"),
        (
            "manifest-with-an-unknown-key",
            changed(|manifest| manifest["hooks"] = true.into()),
            "entry ckpt.json: not a manifest",
        ),
        (
            "manifest-without-a-key",
            changed(|manifest| drop(manifest["host"].take())),
            "entry ckpt.json: not a manifest",
        ),
        (
            "manifest-nested-deeply",
            with_manifest("[".repeat(100_000).as_bytes()),
            "entry ckpt.json: not a manifest",
        ),
    ]
}

fn named(name: &'static [u8]) -> Forge {
    with_entry("", block(name, b'0', 0), b"")
}

fn names() -> Vec<Row> {
    vec![
        (
            "name-with-dot-dot",
            named(b"checkpoint/../../etc/cron.d/x"),
            "entry \"checkpoint/../../etc/cron.d/x\": the name has more than two components",
        ),
        (
            "name-that-climbs",
            named(b"../x"),
            "entry \"../x\": the name has a component \".\" or \"..\"",
        ),
        (
            "name-that-climbs-later",
            named(b"checkpoint/.."),
            "entry \"checkpoint/..\": the name has a component \".\" or \"..\"",
        ),
        (
            "name-absolute",
            named(b"/etc/passwd"),
            "entry \"/etc/passwd\": the name is absolute",
        ),
        (
            "name-with-dot",
            named(b"./spec.dump"),
            "entry \"./spec.dump\": the name has a component \".\" or \"..\"",
        ),
        (
            "name-with-a-newline",
            named(b"dump.log\n0000  x"),
            "entry \"dump.log\\n0000  x\": the name holds the byte 0x0a",
        ),
        (
            "name-with-an-escape",
            named(b"checkpoint/\x1b[2Jx"),
            "entry \"checkpoint/\\x1b[2Jx\": the name holds the byte 0x1b",
        ),
        (
            "name-with-a-backslash",
            named(b"checkpoint/a\\b"),
            "entry \"checkpoint/a\\\\b\": the name holds the byte 0x5c",
        ),
        (
            "name-not-utf-8",
            named(b"checkpoint/\xff"),
            "entry \"checkpoint/\\xff\": the name holds the byte 0xff",
        ),
        ("name-empty", named(b""), "entry \"\": the name is empty"),
        (
            "name-of-a-directory",
            named(b"checkpoint/"),
            "entry \"checkpoint/\": the name has an empty component",
        ),
        (
            "name-too-deep",
            named(b"checkpoint/a/b"),
            "entry \"checkpoint/a/b\": the name has more than two components",
        ),
        (
            "name-hidden-behind-nul",
            named(b"dump.log\0/../../x"),
            "entry \"dump.log\": header at byte 3072 of the tar stream: field name is not canonical",
        ),
        (
            "name-in-the-prefix",
            with_entry("", forged("stats-dump", 0, 345, b"/etc/cron.d"), b""),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: field prefix is not canonical",
        ),
    ]
}

fn types() -> Vec<Row> {
    vec![
        (
            "hard-link",
            of_type(b'1'),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: is a hard link; only regular files belong into an archive",
        ),
        (
            "symbolic-link",
            with_entry(
                "",
                {
                    let mut link = header("stats-dump", 0);
                    link[156] = b'2';
                    link[157..168].copy_from_slice(b"/etc/shadow");
                    checksum(link)
                },
                b"",
            ),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: is a symbolic link; only regular files belong into an archive",
        ),
        (
            "character-device",
            of_type(b'3'),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: is a character device; only regular files belong into an archive",
        ),
        (
            "block-device",
            of_type(b'4'),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: is a block device; only regular files belong into an archive",
        ),
        (
            "directory",
            of_type(b'5'),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: is a directory; only regular files belong into an archive",
        ),
        (
            "fifo",
            of_type(b'6'),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: is a FIFO; only regular files belong into an archive",
        ),
        (
            "old-regular-file",
            of_type(b'\0'),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: is a header of an unknown type; only regular files belong into an archive",
        ),
        (
            "sparse-file",
            of_type(b'S'),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: is a GNU sparse file; only regular files belong into an archive",
        ),
        (
            "long-name-of-3-gib",
            with_entry("", block(b"././@LongLink", b'L', 3 << 30), b""),
            "entry \"././@LongLink\": header at byte 3072 of the tar stream: is a GNU long name; only regular files belong into an archive",
        ),
        (
            "pax-of-3-gib",
            with_entry("", block(b"././@PaxHeader", b'x', 3 << 30), b""),
            "entry \"././@PaxHeader\": header at byte 3072 of the tar stream: PAX header of 3221225472 bytes",
        ),
        (
            "global-pax",
            with_entry("", block(b"pax_global_header", b'g', 0), b""),
            "entry \"pax_global_header\": header at byte 3072 of the tar stream: is a global PAX header; only regular files belong into an archive",
        ),
    ]
}

fn with_pax(records: &[Vec<u8>], name: &str) -> Forge {
    let shown = &name.as_bytes()[..name.len().min(100)];
    with_entry(name, [pax(&records.concat()), block(shown, b'0', 1)].concat(), b"x")
}

/// The header of a directory.
fn directory(name: &str) -> Vec<u8> {
    block(name.as_bytes(), b'5', 0)
}

/// Two images, and what is done to their headers.
fn with_images(codec: &'static str, edit: impl FnOnce(&mut Forge)) -> Forge {
    let mut forge = tiny(codec);
    forge.entries.insert(2, Entry::new("checkpoint/a.img", b"a"));
    forge.entries.insert(3, Entry::new("checkpoint/b.img", b"b"));
    forge.directories = false;
    edit(&mut forge);
    forge
}

fn prefixed(name: &str, before: &[u8]) -> Entry {
    Entry::new(name, b"x").with_header([before, &header(name, 1)].concat())
}

fn directories() -> Vec<Row> {
    let first = |before: Vec<u8>| with_images("none", |forge| forge.entries[2] = prefixed("checkpoint/a.img", &before));
    vec![
        (
            "directory-missing",
            with_images("zstd", |_| ()),
            "entry checkpoint/: missing",
        ),
        (
            "directory-twice",
            first([directory("checkpoint/"), directory("checkpoint/")].concat()),
            "entry \"checkpoint/\": header at byte 3072 of the tar stream: is a directory, but not that of the entry after it",
        ),
        (
            "directory-again",
            with_images("none", |forge| {
                forge.entries[2] = prefixed("checkpoint/a.img", &directory("checkpoint/"));
                forge.entries[3] = prefixed("checkpoint/b.img", &directory("checkpoint/"));
            }),
            "entry checkpoint/: repeats checkpoint/",
        ),
        (
            "directory-of-another",
            first(directory("volumes/")),
            "entry \"volumes/\": header at byte 3072 of the tar stream: is a directory, but not that of the entry after it",
        ),
        (
            "directory-before-a-file",
            with_images("none", |forge| {
                forge.entries.truncate(2);
                forge.entries.push(prefixed("dump.log", &directory("checkpoint/")));
            }),
            "entry \"checkpoint/\": header at byte 3072 of the tar stream: is a directory, but not that of the entry after it",
        ),
        (
            "directory-before-the-index",
            edited("none", |forge| {
                forge.tail = Some(Box::new(|tail| [directory("checkpoint/"), tail].concat()));
            }),
            "entry \"checkpoint/\": header at byte 4096 of the tar stream: is a directory, but not that of the entry after it",
        ),
        (
            "directory-first",
            edited("none", |forge| {
                forge.entries[0].header = [directory("checkpoint/"), forge.entries[0].header.clone()].concat();
            }),
            "not a ckpt archive: its first entry is \"checkpoint/\", not \"ckpt.json\"",
        ),
        (
            "directory-of-another-mode",
            first(checksum({
                let mut block = directory("checkpoint/");
                block[100..107].copy_from_slice(b"0000777");
                block
            })),
            "entry \"checkpoint/a.img\": header at byte 3072 of the tar stream: field mode is not canonical",
        ),
        (
            "directory-without-a-slash",
            first(directory("checkpoint")),
            "entry \"checkpoint\": header at byte 3072 of the tar stream: is a directory; only regular files belong into an archive",
        ),
        (
            "directory-that-climbs",
            first(directory("checkpoint/../../")),
            "entry \"checkpoint/../../\": header at byte 3072 of the tar stream: is a directory; only regular files belong into an archive",
        ),
    ]
}

fn pax_headers() -> Vec<Row> {
    let path = record("path", LONG.as_bytes());
    const NOT: &str = "entry \"checkpoint/z-long-name-that-does-not-fit-the-hundred-bytes-of-the-name-field-of-a-ustar-header-and-t\": header at byte 3072 of the tar stream: PAX records are not canonical";
    vec![
        (
            "pax-record-injected",
            with_pax(&[record("comment", b"x\n14 path=evil\n"), path.clone()], LONG),
            NOT,
        ),
        (
            "pax-unknown-key",
            with_pax(&[path.clone(), record("mtime", b"1")], LONG),
            NOT,
        ),
        (
            "pax-path-repeated",
            with_pax(&[record("path", b"dump.log"), path.clone()], LONG),
            NOT,
        ),
        (
            "pax-sparse",
            with_pax(&[path.clone(), record("GNU.sparse.major", b"1")], LONG),
            NOT,
        ),
        (
            "pax-size-needless",
            with_pax(&[path.clone(), record("size", b"1")], LONG),
            "entry \"checkpoint/z-long-name-that-does-not-fit-the-hundred-bytes-of-the-name-field-of-a-ustar-header-and-therefore-needs-a-pax-header.img\": header at byte 3072 of the tar stream: PAX records are not canonical",
        ),
        (
            "pax-size-another",
            with_pax(&[path.clone(), record("size", b"600")], LONG),
            "entry \"checkpoint/z-long-name-that-does-not-fit-the-hundred-bytes-of-the-name-field-of-a-ustar-header-and-therefore-needs-a-pax-header.img\": header at byte 3072 of the tar stream: PAX records are not canonical",
        ),
        (
            "pax-path-needless",
            with_pax(&[record("path", b"stats-dump")], "stats-dump"),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: PAX records are not canonical",
        ),
        (
            "pax-path-another",
            with_pax(&[record("path", b"../x")], "stats-dump"),
            "entry \"../x\": the name has a component \".\" or \"..\"",
        ),
        ("pax-length-wrong", with_pax(&[b"99 path=x\n".to_vec()], LONG), NOT),
        (
            "pax-twice",
            with_entry(LONG, [pax(&path), header(LONG, 1)].concat(), b"x"),
            "entry \"checkpoint/z-long-name-that-does-not-fit-the-hundred-bytes-of-the-name-field-of-a-ustar-header-and-therefore-needs-a-pax-header.img\": header at byte 3072 of the tar stream: field name is not canonical",
        ),
    ]
}

fn headers() -> Vec<Row> {
    let field = |at, value: &[u8]| with_entry("stats-dump", forged("stats-dump", 0, at, value), b"");
    vec![
        (
            "set-user-id",
            field(100, b"0004755"),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: field mode is not canonical",
        ),
        (
            "owner",
            field(108, b"0001750"),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: field uid is not canonical",
        ),
        (
            "owner-name",
            field(265, b"root"),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: field uname is not canonical",
        ),
        (
            "size-in-base-256",
            field(124, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: field size is not canonical",
        ),
        (
            "size-negative",
            field(124, &[0xff; 12]),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: field size is not canonical",
        ),
        (
            "time-another",
            field(136, b"00000000001"),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: mtime differs from that of the first entry",
        ),
        (
            "checksum-wrong",
            with_entry(
                "stats-dump",
                {
                    let mut block = header("stats-dump", 0);
                    block[148] ^= 1;
                    block
                },
                b"",
            ),
            "entry \"stats-dump\": header at byte 3072 of the tar stream: checksum is wrong",
        ),
        (
            "gnu-magic",
            field(257, b"ustar  \0"),
            "entry \"after spec.dump\": header at byte 3072 of the tar stream: no ustar header",
        ),
        (
            "size-beyond-its-kind",
            with_entry("bind.mounts", header("stats-dump", (1 << 30) + 1), b""),
            "entry stats-dump: 1073741825 bytes, at most 1073741824 are allowed",
        ),
        (
            "size-of-the-manifest",
            edited("zstd", |forge| {
                forge.entries[0] = Entry::new("ckpt.json", b"").with_header(header("ckpt.json", 2 << 20))
            }),
            "entry ckpt.json: 2097152 bytes, at most 1048576 are allowed",
        ),
        (
            "size-beyond-the-end",
            edited("none", |forge| {
                forge.entries[2] = Entry::new("dump.log", b"done\n").with_header(header("dump.log", 1 << 29))
            }),
            "truncated at byte 7168 (entry dump.log)",
        ),
    ]
}

/// Padding and the mark at the end of the tar.
fn end_marks() -> Vec<Row> {
    vec![
        (
            "padding-not-zero",
            edited("none", |forge| {
                forge.file = Some(Box::new(|mut file| {
                    file[2600] = 1;
                    file
                }))
            }),
            "entry spec.dump: padding is not zero",
        ),
        (
            "no-end-mark",
            edited("none", |forge| {
                forge.tail = Some(Box::new(|mut tail| {
                    tail.truncate(tail.len() - 1024);
                    tail
                }))
            }),
            "truncated at byte 6144 (entry SHA256SUMS)",
        ),
        (
            "half-an-end-mark",
            edited("none", |forge| {
                forge.tail = Some(Box::new(|mut tail| {
                    tail.truncate(tail.len() - 512);
                    tail
                }))
            }),
            "truncated at byte 6656 (entry SHA256SUMS)",
        ),
        (
            "end-mark-not-zero",
            edited("none", |forge| {
                forge.tail = Some(Box::new(|mut tail| {
                    *tail.last_mut().expect("byte") = 1;
                    tail
                }))
            }),
            "end-of-archive mark is not two zero blocks at byte 6656, after the last entry",
        ),
        (
            "end-mark-too-early",
            edited("none", |forge| {
                forge
                    .entries
                    .insert(2, Entry::new("", b"").with_header(vec![0; 1024]).unlisted())
            }),
            "entry index.json: missing",
        ),
    ]
}

/// What is after the tar, and must be the seek table.
fn trailers() -> Vec<Row> {
    vec![
        (
            "trailing-data-plain",
            edited("none", |forge| forge.trailer = Some(Box::new(|_| vec![0; 512]))),
            "trailing data at byte 7168, after the last entry",
        ),
        (
            "trailing-data-zstd",
            edited("zstd", |forge| {
                forge.file = Some(Box::new(|file| [&file[..], b"x"].concat()))
            }),
            "trailing data at byte 7233, after the last entry",
        ),
        (
            "trailing-data-gzip",
            edited("gzip", |forge| {
                forge.file = Some(Box::new(|file| [&file[..], b"x"].concat()))
            }),
            "trailing data at byte 7276, after the last entry",
        ),
        (
            "archive-twice",
            edited("zstd", |forge| {
                forge.file = Some(Box::new(|file| [&file[..], &file].concat()))
            }),
            "trailing data at byte 7233, after the last entry",
        ),
        (
            "seek-table-of-another",
            edited("zstd", |forge| {
                forge.trailer = Some(Box::new(|_| seek_table(&[(10, 20), (30, 40)])))
            }),
            "seek table does not match the frames at byte 7200, after the last entry",
        ),
        (
            "seek-table-missing",
            edited("zstd", |forge| forge.trailer = Some(Box::new(|_| Vec::new()))),
            "truncated at byte 7200 (entry SHA256SUMS)",
        ),
        (
            "seek-table-too-long",
            edited("zstd", |forge| {
                forge.trailer = Some(Box::new(|table| {
                    let mut table = table;
                    let at = table.len() - 9;
                    table[at..at + 4].fill(0xff);
                    table
                }))
            }),
            "seek table does not match the frames at byte 7200, after the last entry",
        ),
        (
            "end-member-of-another",
            edited("gzip", |forge| forge.trailer = Some(Box::new(|_| end_member(7)))),
            "end member does not match the archive at byte 7242, after the last entry",
        ),
        (
            "end-member-missing",
            edited("gzip", |forge| forge.trailer = Some(Box::new(|_| Vec::new()))),
            "truncated at byte 7242 (entry SHA256SUMS)",
        ),
    ]
}

/// Archives that are cut off, or none.
fn cuts() -> Vec<Row> {
    vec![
        (
            "cut-in-the-data",
            edited("zstd", |forge| {
                forge.file = Some(Box::new(|file| file[..2000].to_vec()))
            }),
            "truncated at byte 2000 (entry ckpt.json)",
        ),
        (
            "cut-in-the-tail",
            edited("zstd", |forge| {
                forge.file = Some(Box::new(|file| file[..5000].to_vec()))
            }),
            "truncated at byte 5000 (entry dump.log)",
        ),
        (
            "cut-in-the-seek-table",
            edited("zstd", |forge| {
                forge.file = Some(Box::new(|file| file[..file.len() - 9].to_vec()))
            }),
            "truncated at byte 7224 (entry SHA256SUMS)",
        ),
        (
            "empty",
            edited("none", |forge| forge.file = Some(Box::new(|_| Vec::new()))),
            "not a ckpt archive: it is empty",
        ),
        (
            "something-else",
            edited("none", |forge| {
                forge.file = Some(Box::new(|_| b"#!/bin/sh\necho hello\n".repeat(100)))
            }),
            "not a ckpt archive: it does not begin with a tar header",
        ),
    ]
}

fn zstd_data(content: &[u8], descriptor: u8) -> Vec<u8> {
    let mut frame = store("zstd", content);
    frame[4] = descriptor;
    frame
}

/// Frames.
fn frames() -> Vec<Row> {
    let file = |change: fn(Vec<u8>) -> Vec<u8>| edited("zstd", |forge| forge.file = Some(Box::new(change)));
    vec![
        (
            "frame-with-a-dictionary",
            file(|mut file| {
                file[4] |= 1;
                file
            }),
            "not a ckpt archive: its first frame is none that ckpt makes",
        ),
        (
            "frame-without-a-size",
            // A window descriptor in the place of the content size.
            file(|file| [&file[..4], &[0x04, 0x58], &file[9..]].concat()),
            "not a ckpt archive: its first frame is none that ckpt makes",
        ),
        (
            "frame-larger-than-any",
            edited("zstd", |forge| {
                forge.frames = Some(Box::new(|frames| vec![[frames.concat(), vec![0; 5 << 20]].concat()]))
            }),
            "frame at byte 0 (entry ckpt.json): content of 5246976 bytes",
        ),
        (
            "frame-empty",
            edited("zstd", |forge| {
                forge.frames = Some(Box::new(|mut frames| {
                    frames.push(Vec::new());
                    frames
                }))
            }),
            "frame at byte 4112 (entry dump.log): content of 0 bytes",
        ),
        (
            "frame-checksum-wrong",
            file(|mut file| {
                file[100] ^= 1;
                file
            }),
            "frame at byte 0 (entry ckpt.json): does not decompress to what its header says",
        ),
        (
            "frame-skippable-within",
            edited("zstd", |forge| {
                forge.file = Some(Box::new(|file| {
                    [&file[..4112], &[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], &file[4112..]].concat()
                }))
            }),
            "truncated at byte 4112 (entry dump.log)",
        ),
        (
            "frame-stored-otherwise",
            edited("zstd", |forge| forge.file = Some(Box::new(rewrite_first_frame))),
            "frame at byte 0 (entry ckpt.json): is not stored as the format prescribes",
        ),
        (
            "frame-of-another-compression",
            edited("zstd", |forge| {
                forge.file = Some(Box::new(|file| {
                    [&file[..4112], &store("gzip", b"x"), &file[4112..]].concat()
                }))
            }),
            "frame at byte 4112 (entry dump.log): no frame begins here",
        ),
    ]
}

/// The frames of the entries at the end.
fn tail_frames() -> Vec<Row> {
    vec![
        (
            "tail-without-a-checksum",
            edited("zstd", |forge| {
                forge.file = Some(Box::new(|file| {
                    let tail = zstd::bulk::decompress(&file[4112..file.len() - 33], 1 << 20).expect("zstd");
                    let frame = zstd_data(&tail, 0xa0);
                    [&file[..4112], &frame[..frame.len() - 4], &file[file.len() - 33..]].concat()
                }))
            }),
            "frame at byte 4112 (entry index.json): the entries at the end are not in frames as the format prescribes",
        ),
        (
            "tail-in-two-frames",
            edited("zstd", |forge| {
                forge.tail_frames = Some(Box::new(|frames| {
                    let (first, second) = frames[0].split_at(1024);
                    vec![first.to_vec(), second.to_vec()]
                }))
            }),
            "frame at byte 5152 (entry index.json): the entries at the end are not in frames as the format prescribes",
        ),
        (
            "tail-in-the-frame-before",
            edited("zstd", |forge| {
                forge.frames = Some(Box::new(|mut frames| {
                    frames[0].extend_from_slice(&header("index.json", 5));
                    frames
                }));
            }),
            "frame at byte 0 (entry index.json): the entries at the end are not in frames as the format prescribes",
        ),
    ]
}

/// The same content in two raw blocks instead of one.
fn rewrite_first_frame(file: Vec<u8>) -> Vec<u8> {
    let content = &file[12..4108];
    let block =
        |bytes: &[u8], last: bool| [&((bytes.len() as u32) << 3 | u32::from(last)).to_le_bytes()[..3], bytes].concat();
    [
        &file[..9],
        &block(&content[..100], false),
        &block(&content[100..], true),
        &file[4108..],
    ]
    .concat()
}

/// The index.
fn indexes() -> Vec<Row> {
    let index = |change: fn(String) -> String| edited("zstd", |forge| forge.index = Some(Box::new(change)));
    vec![
        (
            "index-spelled-otherwise",
            index(|index| index.replace(",\n", ", ")),
            "entry index.json: not as the format prescribes",
        ),
        (
            "index-not-json",
            index(|_| "x".to_owned()),
            "entry index.json: not as the format prescribes",
        ),
        (
            "index-empty",
            index(|_| String::new()),
            "entry index.json: not as the format prescribes",
        ),
        (
            "index-with-another-digest",
            index(|mut index| {
                // The last digit of the last digest.
                let at = index.len() - "0\"]]}\n".len();
                let other = if index.as_bytes()[at] == b'0' { "1" } else { "0" };
                index.replace_range(at..=at, other);
                index
            }),
            "entry ckpt.json: frame 0 does not match its digest in index.json",
        ),
        (
            "index-with-another-size",
            index(|index| index.replace("[\"spec.dump\",2,", "[\"spec.dump\",3,")),
            "entry spec.dump: size or offset differs from what the index says",
        ),
        (
            "index-with-another-offset",
            index(|index| index.replace("[\"spec.dump\",2,", "[\"spec.dump\",2,1")),
            "entry spec.dump: size or offset differs from what the index says",
        ),
        (
            "index-with-a-frame-less",
            index(|index| {
                let at = index.find("\"frames\"").expect("frames");
                format!("{}\"frames\":[]}}\n", &index[..at])
            }),
            "entry index.json: the frames of the archive are not those that it lists",
        ),
        (
            "index-of-another-compression",
            index(|index| index.replace("\"zstd\"", "\"gzip\"")),
            "entry index.json: the frames of the archive are not those that it lists",
        ),
        (
            "index-of-another-time",
            index(|index| index.replace("1700000000", "1700000001")),
            "entry index.json: the frames of the archive are not those that it lists",
        ),
        (
            "index-of-another-version",
            index(|index| index.replace("\"version\":1", "\"version\":2")),
            "entry index.json: not as the format prescribes",
        ),
        (
            "index-missing",
            edited("none", |forge| {
                forge.tail = Some(Box::new(|tail| tail[1024..].to_vec()))
            }),
            "entry index.json: missing",
        ),
        (
            "index-larger-than-any",
            edited("zstd", |forge| {
                forge.tail = Some(Box::new(|mut tail| {
                    tail[..512].copy_from_slice(&header("index.json", 1 << 32));
                    tail
                }))
            }),
            "entry index.json: 4294967296 bytes, at most 67108864 are allowed",
        ),
    ]
}

/// The list of digests.
fn digests() -> Vec<Row> {
    let sums = |change: fn(String) -> String| edited("zstd", |forge| forge.sums = Some(Box::new(change)));
    vec![
        (
            "digests-missing",
            edited("none", |forge| {
                forge.tail = Some(Box::new(|tail| [&tail[..1024], &[0; 1024][..]].concat()))
            }),
            "entry SHA256SUMS: missing",
        ),
        (
            "digest-of-another-content",
            sums(|sums| sums.replacen(|digit: char| digit.is_ascii_digit(), "f", 1)),
            "entry ckpt.json: content does not match its digest in SHA256SUMS",
        ),
        (
            "digest-in-capitals",
            sums(|sums| sums.to_uppercase()),
            "entry SHA256SUMS: not as the format prescribes",
        ),
        (
            "digests-binary-mode",
            sums(|sums| sums.replace("  ", " *")),
            "entry SHA256SUMS: not as the format prescribes",
        ),
        (
            "digests-of-one-more",
            sums(|sums| sums.clone() + &sums.lines().next().expect("line").replace("ckpt.json", "evil") + "\n"),
            "entry evil: listed, but not in the archive at that place",
        ),
        (
            "digests-of-one-less",
            sums(|sums| {
                sums.lines()
                    .filter(|line| !line.contains("spec.dump"))
                    .map(|line| format!("{line}\n"))
                    .collect()
            }),
            "entry spec.dump: in the archive, but not listed",
        ),
        (
            "digests-reordered",
            sums(|sums| {
                let mut lines: Vec<&str> = sums.lines().collect();
                lines.swap(0, 1);
                lines.join("\n") + "\n"
            }),
            "entry spec.dump: listed, but not in the archive at that place",
        ),
        (
            "digests-empty",
            sums(|_| String::new()),
            "entry SHA256SUMS: not as the format prescribes",
        ),
    ]
}
