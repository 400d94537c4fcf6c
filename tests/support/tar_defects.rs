//! Tars with one defect each, and what is said of it: by reading alone, and by unpacking.

use super::raw_tar::{Tar, record};

/// A tar and what is said of it.
pub type Case = (&'static str, Vec<u8>, &'static str);

/// All of them, but those that are only too much.
pub fn all() -> Vec<Case> {
    [
        ends(),
        headers(),
        kinds(),
        numbers(),
        climbing(),
        spelling(),
        links(),
        repeats(),
        extensions(),
        records(),
        sparse_maps(),
        sparse_forms(),
    ]
    .concat()
}

/// Pads to whole blocks.
fn block(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A PAX record that gives a name.
fn path(name: &str) -> Vec<u8> {
    record("path", name.as_bytes())
}

/// A tar that claims an extension header of 3 GiB.
fn giant(kind: u8) -> Vec<u8> {
    let mut tar = Tar::new().patched_type("x", kind, 3 << 30);
    tar.extend([b'x'; 5000]);
    tar
}

/// A sparse file in the form 1.0 of PAX: its map is before its data.
fn pax(map: &[u8], size: &str) -> Vec<u8> {
    let keys = [
        record("GNU.sparse.major", b"1"),
        record("GNU.sparse.minor", b"0"),
        record("GNU.sparse.name", b"s"),
        record("GNU.sparse.realsize", size.as_bytes()),
    ];
    Tar::new().pax(&keys.concat()).file("a", map).finish()
}

/// A sparse file in the form 0.1 of PAX.
fn old(map: &str, blocks: &str) -> Vec<u8> {
    let keys = [
        record("GNU.sparse.size", b"10"),
        record("GNU.sparse.numblocks", blocks.as_bytes()),
        record("GNU.sparse.map", map.as_bytes()),
    ];
    Tar::new().pax(&keys.concat()).file("a", b"xx").finish()
}

/// A sparse file in the old form of GNU tar.
fn gnu(regions: &[(u64, u64)], size: u64, data: &[u8]) -> Vec<u8> {
    Tar::new().gnu_sparse("a", regions, size, data).finish()
}

/// Tars that end too early, or not at all.
fn ends() -> Vec<Case> {
    vec![
        ("empty input", Vec::new(), "tar entry ``: the tar is truncated here"),
        (
            "no end marker",
            Tar::new().file("a", b"x").unfinished(),
            "tar entry `a`: the tar is truncated here",
        ),
        (
            "one zero block at the end",
            [Tar::new().file("a", b"x").unfinished(), vec![0; 512]].concat(),
            "truncated",
        ),
        (
            "ends within a header",
            Tar::new().file("a", b"x").unfinished()[..300].to_vec(),
            "truncated",
        ),
        (
            "ends within content",
            Tar::new().file("a", &[7; 2000]).unfinished()[..1000].to_vec(),
            "`a`: the tar is truncated",
        ),
        (
            "ends within padding",
            Tar::new().file("a", b"x").unfinished()[..700].to_vec(),
            "`a`: the tar is truncated",
        ),
        (
            "lone zero block",
            [
                Tar::new().file("a", b"").unfinished(),
                vec![0; 512],
                Tar::new().file("b", b"").finish(),
            ]
            .concat(),
            "`a`: data after the end",
        ),
        (
            "garbage behind the end",
            [Tar::new().file("a", b"").finish(), b"x".to_vec()].concat(),
            "`a`: data after the end",
        ),
        (
            "another tar behind the end",
            [Tar::new().file("a", b"").finish(), Tar::new().file("b", b"").finish()].concat(),
            "`a`: data after the end",
        ),
        (
            "zeros without end",
            [Tar::new().file("a", b"").finish(), vec![0; 2 << 20]].concat(),
            "`a`: data after the end",
        ),
    ]
}

/// Headers that are not as they should be.
fn headers() -> Vec<Case> {
    vec![
        (
            "wrong checksum",
            Tar::new().corrupt("a", 0, b'b').finish(),
            "`b`: header checksum is wrong",
        ),
        (
            "no magic",
            Tar::new().patched("a", 257, &[0; 8]).finish(),
            "`a`: neither a POSIX nor a GNU tar header",
        ),
        (
            "negative size",
            Tar::new().patched("a", 124, &[0xff; 12]).finish(),
            "`a`: header field size is not a number",
        ),
        (
            "size beyond 63 bits",
            Tar::new()
                .patched("a", 124, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff")
                .finish(),
            "`a`: header field size is not a number",
        ),
        (
            "size with a letter",
            Tar::new().patched("a", 124, b"0000000000x\0").finish(),
            "`a`: header field size is not a number",
        ),
        (
            "text behind the NUL of a name",
            Tar::new().patched("a\0b", 0, b"a\0b").finish(),
            "`a`: header field name holds text behind a NUL",
        ),
    ]
}

/// Entries of a type that is unknown, or does not go with the rest of them.
fn kinds() -> Vec<Case> {
    vec![
        (
            "unknown entry type",
            Tar::new().typed("a", b'Z', "").finish(),
            "`a`: entry type 'Z' is not supported",
        ),
        (
            "GNU dump directory",
            Tar::new().typed("a", b'D', "").finish(),
            "`a`: entry type 'D' is not supported",
        ),
        (
            "GNU multi-volume",
            Tar::new().typed("a", b'M', "").finish(),
            "`a`: entry type 'M' is not supported",
        ),
        (
            "contiguous file",
            Tar::new().typed("a", b'7', "").finish(),
            "`a`: entry type '7' is not supported",
        ),
        (
            "solaris header",
            Tar::new().typed("a", b'X', "").finish(),
            "`a`: entry type 'X' is not supported",
        ),
        (
            "directory with content",
            Tar::new().with_content("a/", b'5', b"x").finish(),
            "`a/`: 1 bytes of content",
        ),
        (
            "link with content",
            Tar::new().with_content("a", b'2', b"x").finish(),
            "`a`: 1 bytes of content",
        ),
        (
            "file named as a directory",
            Tar::new().with_content("a/", b'0', b"x").finish(),
            "`a/`: file with the name of a directory",
        ),
        (
            "root as a file",
            Tar::new().with_content(".", b'0', b"x").finish(),
            "`.`: the root of the tree is not a directory",
        ),
        (
            "root as a link",
            Tar::new().typed("./.", b'2', "/").finish(),
            "the root of the tree is not a directory",
        ),
        (
            "symbolic link to nothing",
            Tar::new().typed("a", b'2', "").finish(),
            "`a`: symbolic link target is empty",
        ),
    ]
}

/// Numbers that are too large.
fn numbers() -> Vec<Case> {
    vec![
        (
            "device number too large",
            Tar::new().device("a", b'3', 0o7777777, 0).finish(),
            "`a`: device number is out of range",
        ),
        (
            "size of 64 bits in PAX",
            Tar::new()
                .pax(&record("size", b"18446744073709551615"))
                .file("a", b"")
                .finish(),
            "malformed value of PAX key `size`",
        ),
        (
            "size of 63 bits in PAX",
            Tar::new()
                .pax(&record("size", b"9223372036854775807"))
                .file("a", b"")
                .finish(),
            "`a`: content of more than 100000 bytes",
        ),
        (
            "owner that means no change",
            Tar::new().pax(&record("uid", b"4294967295")).file("a", b"").finish(),
            "`a`: owner or group 4294967295 is out of range",
        ),
        (
            "owner beyond 32 bits",
            Tar::new().pax(&record("gid", b"4294967296")).file("a", b"").finish(),
            "is out of range",
        ),
    ]
}

/// Names that lead out of the tree.
fn climbing() -> Vec<Case> {
    vec![
        (
            "absolute name",
            Tar::new().file("/etc/passwd", b"").finish(),
            "`/etc/passwd`: absolute path",
        ),
        (
            "absolute name in PAX",
            Tar::new().pax(&record("path", b"/outside/x")).file("a", b"").finish(),
            "`/outside/x`: absolute",
        ),
        (
            "absolute long name",
            Tar::new().gnu_long(b'L', b"/outside/x\0").file("a", b"").finish(),
            "`/outside/x`: absolute",
        ),
        (
            "absolute by prefix",
            Tar::new().patched("a", 345, b"/").finish(),
            "`//a`: absolute path",
        ),
        (
            "dot dot",
            Tar::new().file("../outside/new", b"").finish(),
            "`../outside/new`: `..` in the path",
        ),
        (
            "dot dot within",
            Tar::new().file("a/../../outside/new", b"").finish(),
            "`..` in the path",
        ),
        (
            "dot dot at the end",
            Tar::new().typed("a/..", b'5', "").finish(),
            "`..` in the path",
        ),
        (
            "dot dot in PAX",
            Tar::new()
                .pax(&record("path", b"../outside/new"))
                .file("a", b"")
                .finish(),
            "`..` in the path",
        ),
        (
            "dot dot by prefix",
            Tar::new().patched("outside", 345, b"..").finish(),
            "`../outside`: `..` in the path",
        ),
        (
            "prefix in a GNU header",
            Tar::new()
                .patched_all("a", &[(257, b"ustar  \0"), (345, b"../outside")])
                .finish(),
            "`a`: header field prefix holds text",
        ),
        (
            "dot dot in a sparse name",
            Tar::new()
                .pax(
                    &[
                        record("GNU.sparse.major", b"1"),
                        record("GNU.sparse.minor", b"0"),
                        record("GNU.sparse.name", b"../x"),
                        record("GNU.sparse.realsize", b"0"),
                    ]
                    .concat(),
                )
                .file("a", &block(b"0\n"))
                .finish(),
            "`../x`: `..` in the path",
        ),
    ]
}

/// Names that are too long, or no names.
fn spelling() -> Vec<Case> {
    let long = "n".repeat(256);
    vec![
        (
            "empty component",
            Tar::new().file("a//b", b"").finish(),
            "`a//b`: empty or `.` component",
        ),
        (
            "dot component",
            Tar::new().file("a/./b", b"").finish(),
            "`a/./b`: empty or `.` component",
        ),
        ("empty name", Tar::new().file("", b"").finish(), "``: empty path"),
        (
            "NUL in a PAX name",
            Tar::new().pax(&record("path", b"a\0b")).file("a", b"").finish(),
            "malformed value of PAX key `path`",
        ),
        (
            "name of 256 bytes",
            Tar::new().pax(&record("path", long.as_bytes())).file("a", b"").finish(),
            "file name of 256 bytes",
        ),
        (
            "path too long",
            Tar::new()
                .pax(&record("path", "a/".repeat(1001).as_bytes()))
                .file("a", b"")
                .finish(),
            "path of 2002 bytes",
        ),
        (
            "path too deep",
            Tar::new().file("1/2/3/4/5/6/7/8/9/10/11", b"").finish(),
            "nested too deeply",
        ),
    ]
}

/// Hard links to what they must not lead to.
fn links() -> Vec<Case> {
    vec![
        (
            "hard link out",
            Tar::new().typed("a", b'1', "../outside/victim").finish(),
            "`a`: hard link target: `..` in the path",
        ),
        (
            "hard link to an absolute name",
            Tar::new().typed("a", b'1', "/outside/victim").finish(),
            "hard link target: absolute path",
        ),
        (
            "hard link to nothing",
            Tar::new().typed("a", b'1', "").finish(),
            "hard link target: empty path",
        ),
        (
            "hard link forward",
            Tar::new().typed("a", b'1', "b").file("b", b"").finish(),
            "`a`: hard link to `b`, which",
        ),
        (
            "hard link to itself",
            Tar::new().typed("a", b'1', "a").finish(),
            "`a`: hard link to `a`, which",
        ),
        (
            "hard link to a directory",
            Tar::new().directory("d/").typed("a", b'1', "d").finish(),
            "`a`: hard link to `d`, which",
        ),
    ]
}

/// Paths that are there twice.
fn repeats() -> Vec<Case> {
    vec![
        (
            "file twice",
            Tar::new().file("a", b"").file("a", b"").finish(),
            "`a`: the tar has this path twice",
        ),
        (
            "file twice in two spellings",
            Tar::new().file("a", b"").file("./a", b"").finish(),
            "`./a`: the tar has this path twice",
        ),
        (
            "directory twice",
            Tar::new().directory("d/").directory("d/").finish(),
            "`d/`: the tar has this path twice",
        ),
        (
            "directory, then file of its name",
            Tar::new().directory("d/").file("d", b"").finish(),
            "`d`: the tar has this path twice",
        ),
        (
            "root twice",
            Tar::new().directory("./").directory(".").finish(),
            "`.`: the tar has this path twice",
        ),
    ]
}

/// Extension headers that are too many, or have no entry.
fn extensions() -> Vec<Case> {
    vec![
        (
            "global PAX header",
            Tar::new().global(&path("evil")).file("a", b"").finish(),
            "global PAX header",
        ),
        (
            "two PAX headers",
            Tar::new().pax(&path("b")).pax(&path("c")).file("a", b"").finish(),
            "more than one extension header",
        ),
        (
            "PAX, then long name",
            Tar::new()
                .pax(&path("b"))
                .gnu_long(b'L', b"c\0")
                .file("a", b"")
                .finish(),
            "extensions mixed",
        ),
        (
            "long name, then PAX",
            Tar::new()
                .gnu_long(b'L', b"c\0")
                .pax(&path("b"))
                .file("a", b"")
                .finish(),
            "extensions mixed",
        ),
        (
            "long link, then PAX",
            Tar::new()
                .gnu_long(b'K', b"c\0")
                .pax(&path("b"))
                .typed("a", b'2', "t")
                .finish(),
            "extensions mixed",
        ),
        (
            "two long names",
            Tar::new()
                .gnu_long(b'L', b"b\0")
                .gnu_long(b'L', b"c\0")
                .file("a", b"")
                .finish(),
            "more than one extension",
        ),
        (
            "long name with two names",
            Tar::new().gnu_long(b'L', b"b\0c\0").file("a", b"").finish(),
            "NUL in the path",
        ),
        (
            "empty long name",
            Tar::new().gnu_long(b'L', b"\0").file("a", b"").finish(),
            "NUL in the path",
        ),
        (
            "PAX header without an entry",
            Tar::new().file("a", b"").pax(&path("b")).finish(),
            "extension header without an entry",
        ),
        (
            "long name without an entry",
            Tar::new().file("a", b"").gnu_long(b'L', b"b\0").finish(),
            "extension header without an entry",
        ),
    ]
}

/// Records of PAX headers.
fn records() -> Vec<Case> {
    vec![
        (
            "the same key twice",
            Tar::new().pax(&[path("b"), path("c")].concat()).file("a", b"").finish(),
            "PAX key `path` twice",
        ),
        (
            "unknown key",
            Tar::new()
                .pax(&record("SCHILY.acl.access", b"u::rwx"))
                .file("a", b"")
                .finish(),
            "unknown PAX key `SCHILY.acl.access`",
        ),
        (
            "charset that changes names",
            Tar::new().pax(&record("hdrcharset", b"EBCDIC")).file("a", b"").finish(),
            "PAX key `hdrcharset`",
        ),
        (
            "record length too small",
            Tar::new().pax(b"5 path=evil\n").file("a", b"").finish(),
            "malformed PAX record",
        ),
        (
            "record length too large",
            Tar::new().pax(b"99 path=evil\n").file("a", b"").finish(),
            "malformed PAX record",
        ),
        (
            "record length without end",
            Tar::new()
                .pax(b"99999999999999999999999999 path=evil\n")
                .file("a", b"")
                .finish(),
            "malformed PAX record",
        ),
        (
            "record without newline",
            Tar::new().pax(b"11 path=abcd").file("a", b"").finish(),
            "malformed PAX record",
        ),
        (
            "sizes that disagree",
            Tar::new().pax(&record("size", b"1024")).file("a", b"x").finish(),
            "`a`: header says 1 bytes, PAX header says 1024",
        ),
        (
            "size in PAX hides an entry",
            Tar::new()
                .pax(&record("size", b"0"))
                .file("a", &Tar::new().file("evil", b"").unfinished())
                .finish(),
            "`a`: header says 512 bytes, PAX header says 0",
        ),
        ("giant PAX header", giant(b'x'), "extension header of 3221225472 bytes"),
        ("giant long name", giant(b'L'), "extension header of 3221225472 bytes"),
        ("giant long link", giant(b'K'), "extension header of 3221225472 bytes"),
        (
            "records in the padding of a PAX header",
            Tar::new().pax_padded(&path("b"), &path("evil")).file("a", b"").finish(),
            "data in the padding of an extension header",
        ),
        (
            "PAX header larger than the tar",
            Tar::new().patched_type("x", b'x', 9000),
            "the tar is truncated here",
        ),
        (
            "attribute name too long",
            Tar::new()
                .pax(&record(&format!("SCHILY.xattr.user.{}", "x".repeat(300)), b""))
                .file("a", b"")
                .finish(),
            "malformed value of PAX key `SCHILY.xattr.user.",
        ),
        (
            "attribute without a name",
            Tar::new().pax(&record("SCHILY.xattr.", b"")).file("a", b"").finish(),
            "malformed value of PAX key",
        ),
    ]
}

/// Maps of sparse files.
fn sparse_maps() -> Vec<Case> {
    let many = format!("51\n{}", "0\n0\n".repeat(51));
    vec![
        (
            "regions overlap",
            pax(&[block(b"2\n0\n2\n1\n2\n"), b"xxxx".to_vec()].concat(), "10"),
            "`s`: regions of the sparse map overlap",
        ),
        (
            "region behind the end",
            pax(&[block(b"1\n9\n2\n"), b"xx".to_vec()].concat(), "10"),
            "reach behind the end",
        ),
        (
            "region wraps around",
            pax(&block(b"1\n9223372036854775807\n9223372036854775807\n"), "10"),
            "reach behind the end",
        ),
        (
            "more data than the map",
            pax(&[block(b"1\n0\n2\n"), b"xxx".to_vec()].concat(), "10"),
            "data of 3 bytes for a sparse map of 2",
        ),
        (
            "less data than the map",
            pax(&[block(b"1\n0\n3\n"), b"xx".to_vec()].concat(), "10"),
            "data of 2 bytes for a sparse map of 3",
        ),
        (
            "map is not decimal",
            pax(&block(b"1\n0x1\n2\n"), "10"),
            "`s`: sparse map is not a list of decimal numbers",
        ),
        (
            "map number without end",
            pax(&[b'1'; 1024], "10"),
            "sparse map is not a list of decimal numbers",
        ),
        (
            "map larger than the content",
            pax(&block(b"9\n0\n0\n"), "10"),
            "sparse map is not a list of decimal numbers",
        ),
        (
            "too many regions",
            pax(&block(many.as_bytes()), "10"),
            "sparse map has more than 50 regions",
        ),
        (
            "count of a thousand million regions",
            pax(&block(b"1000000000\n"), "10"),
            "sparse map has more than 50 regions",
        ),
    ]
}

/// Sparse files in several forms, or in another one than they say.
fn sparse_forms() -> Vec<Case> {
    vec![
        (
            "keys of one form without its map",
            Tar::new()
                .pax(&record("GNU.sparse.realsize", b"10"))
                .file("a", b"")
                .finish(),
            "`a`: sparse file in an unknown form",
        ),
        (
            "keys of two forms",
            Tar::new()
                .pax(
                    &[
                        record("GNU.sparse.major", b"1"),
                        record("GNU.sparse.minor", b"0"),
                        record("GNU.sparse.numblocks", b"0"),
                        record("GNU.sparse.name", b"s"),
                        record("GNU.sparse.realsize", b"0"),
                    ]
                    .concat(),
                )
                .file("a", &block(b"0\n"))
                .finish(),
            "`s`: sparse file in an unknown form",
        ),
        (
            "sparse directory",
            Tar::new()
                .pax(&record("GNU.sparse.name", b"s"))
                .directory("a/")
                .finish(),
            "sparse file in an unknown form",
        ),
        (
            "0.1 map of an odd length",
            old("0,2,5", "1"),
            "`a`: sparse file in an unknown form",
        ),
        (
            "0.1 map of a length beyond 63 bits",
            old("0,2", "9223372036854775807"),
            "`a`: sparse file in an unknown form",
        ),
        (
            "0.1 map of another length",
            old("0,2", "2"),
            "`a`: sparse file in an unknown form",
        ),
        (
            "0.1 map out of order",
            old("5,1,0,1", "2"),
            "`a`: regions of the sparse map overlap",
        ),
        (
            "old GNU regions overlap",
            gnu(&[(0, 2), (1, 2)], 10, b"xxxx"),
            "`a`: regions of the sparse map overlap",
        ),
        (
            "old GNU region behind the end",
            gnu(&[(0, 20)], 10, &[0; 20]),
            "reach behind the end",
        ),
        (
            "old GNU data of another length",
            gnu(&[(0, 4)], 10, b"xx"),
            "data of 2 bytes for a sparse map of 4",
        ),
        (
            "old GNU with too many regions",
            gnu(&vec![(0, 0); 60], 10, b""),
            "sparse map has more than 50 regions",
        ),
        (
            "old GNU type in a POSIX header",
            Tar::new().with_content("a", b'S', b"").finish(),
            "`a`: sparse file in an unknown form",
        ),
    ]
}
