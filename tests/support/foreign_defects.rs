//! Checkpoints of other engines, each with one defect, and what is said of it.

use super::foreign::{Checkpoint, Engine, Member, gzip, tar, zstd};

/// A checkpoint and its defect: its name, its bytes, and what is said.
pub type Defect = (&'static str, Vec<u8>, &'static str);

/// All of them.
pub fn defects() -> Vec<Defect> {
    [documents(), kinds(), names(), trees(), images(), streams()].concat()
}

fn podman() -> Checkpoint {
    Checkpoint::of(Engine::Podman)
}

/// A checkpoint with one member more.
fn member(member: Member) -> Vec<u8> {
    podman().and(member).tar()
}

/// What no compressor shrinks.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Documents that say what no engine writes.
fn documents() -> Vec<Defect> {
    let file = |name, content: &[u8]| podman().with_file(name, content).tar();
    vec![
        (
            "deleted-files-climb",
            file("deleted.files", br#"["/../../etc/passwd"]"#),
            "entry deleted.files: it is not acceptable",
        ),
        (
            "deleted-files-root",
            file("deleted.files", br#"["./"]"#),
            "the root of the tree cannot be deleted",
        ),
        (
            "deleted-files-no-list",
            file("deleted.files", br#"{"a": 1}"#),
            "not a JSON array of strings",
        ),
        (
            "bind-mounts-climb",
            file(
                "bind.mounts",
                br#"[{"source":"/a/../../etc","destination":"/d","file_type":"directory","permissions":493}]"#,
            ),
            "entry bind.mounts: it is not acceptable",
        ),
        (
            "bind-mounts-destination-climbs",
            file(
                "bind.mounts",
                br#"[{"source":"/a","destination":"/../d","file_type":"directory","permissions":493}]"#,
            ),
            "entry bind.mounts: it is not acceptable",
        ),
        (
            "bind-mounts-of-a-kind-unknown",
            file(
                "bind.mounts",
                br#"[{"source":"/a","destination":"/d","file_type":"device","permissions":493}]"#,
            ),
            "entry bind.mounts: it is not what engines write there",
        ),
        (
            "config-missing",
            podman().without("config.dump").tar(),
            "it has no config.dump",
        ),
        (
            "spec-missing",
            podman().without("spec.dump").tar(),
            "it has no spec.dump",
        ),
        (
            "spec-no-json",
            file("spec.dump", b"[["),
            "entry spec.dump: it is no OCI configuration",
        ),
        (
            "config-no-json",
            file("config.dump", b"\"x\""),
            "entry config.dump: it is not what engines write there",
        ),
        (
            "network-no-json",
            file("network.status", b"[1]"),
            "entry network.status: it is not what engines write there",
        ),
    ]
}

/// Members that are not what belongs there.
fn kinds() -> Vec<Defect> {
    vec![
        (
            "container-log-link",
            member(Member::link("container.log", b'2', "/etc/shadow")),
            "entry container.log: it is a symbolic link, where only plain files belong",
        ),
        (
            "container-log-hard-link",
            member(Member::link("container.log", b'1', "config.dump")),
            "entry container.log: it is a hard link",
        ),
        (
            "ctr-log-fifo",
            podman().with(Member::link("ctr.log", b'6', "")).tar(),
            "entry ctr.log: it is a FIFO",
        ),
        (
            "status-device",
            member(Member::link("status", b'3', "")),
            "entry status: it is a device",
        ),
        (
            "images-elsewhere",
            member(Member::link("checkpoint/parent", b'2', "../../../etc")),
            "entry checkpoint/parent: it is a symbolic link",
        ),
        (
            "checkpoint-link",
            member(Member::link("checkpoint", b'2', "/etc")),
            "entry checkpoint: it is a symbolic link",
        ),
        (
            "volume-too-deep",
            member(Member::file("volumes/a/b.tar", b"")),
            "volumes/a/b.tar",
        ),
        (
            "volume-directory",
            member(Member::directory("volumes/a/")),
            "entry volumes/a: it is a directory",
        ),
    ]
}

/// Members under names that are not theirs.
fn names() -> Vec<Defect> {
    vec![
        (
            "volume-climbs",
            member(Member::file("volumes/../x.tar", b"")),
            "tar entry `volumes/../x.tar`: `..` in the path",
        ),
        (
            "name-absolute",
            member(Member::file("/etc/passwd", b"")),
            "tar entry `/etc/passwd`: absolute path",
        ),
        (
            "name-with-a-newline",
            member(Member::file("checkpoint/a\nb", b"")),
            "byte 0x0a",
        ),
        (
            "entry-twice",
            member(Member::file("config.dump", b"{}")),
            "entry config.dump: it is there twice",
        ),
        (
            "manifest-not-first",
            member(Member::file("ckpt.json", b"{}")),
            "entry ckpt.json: only archives of ckpt have it",
        ),
        (
            "checksums-without-manifest",
            member(Member::file("SHA256SUMS", b"")),
            "entry SHA256SUMS: only archives of ckpt have it",
        ),
    ]
}

/// Trees in the archive that reach out of where they are unpacked, or are no trees.
fn trees() -> Vec<Defect> {
    let file = |name, content: &[u8]| podman().with_file(name, content).tar();
    let inside = |members: &[Member]| podman().with_file("rootfs-diff.tar", &tar(members)).tar();
    let layer = |members: &[Member]| {
        Checkpoint::of(Engine::Containerd)
            .with_file("rootfs-diff.tar", &gzip(&tar(members)))
            .tar()
    };
    vec![
        (
            "changes-climb",
            inside(&[Member::file("../../etc/cron.d/x", b"")]),
            "`..` in the path",
        ),
        (
            "changes-absolute",
            inside(&[Member::file("/etc/cron.d/x", b"")]),
            "absolute path",
        ),
        (
            "changes-twice",
            inside(&[Member::file("a", b"1"), Member::file("a", b"2")]),
            "rootfs-diff.tar",
        ),
        (
            "changes-hard-link-to-nowhere",
            inside(&[Member::link("a", b'1', "etc/shadow")]),
            "rootfs-diff.tar",
        ),
        (
            "changes-cut-off",
            podman()
                .with_file("rootfs-diff.tar", &tar(&[Member::file("a", &[1; 600])])[..700])
                .tar(),
            "rootfs-diff.tar",
        ),
        (
            "volume-content-climbs",
            file("volumes/data.tar", &tar(&[Member::file("../x", b"")])),
            "entry volumes/data.tar: it is not acceptable",
        ),
        (
            "shm-content-climbs",
            file("devshm-checkpoint.tar", &tar(&[Member::file("../x", b"")])),
            "entry devshm-checkpoint.tar: it is not acceptable",
        ),
        (
            "layer-climbs",
            layer(&[Member::file("../x", b"")]),
            "entry rootfs-diff.tar: it is not acceptable",
        ),
    ]
}

/// Images that are not whole.
fn images() -> Vec<Defect> {
    let file = |name, content: &[u8]| podman().with_file(name, content).tar();
    let magic = podman().with_flipped_bit("checkpoint/core-1.img", 5).tar();
    let mut short = podman().content("checkpoint/pages-1.img");
    short.truncate(short.len() - 4096);
    vec![
        (
            "inventory-missing",
            podman().without("checkpoint/inventory.img").tar(),
            "it has no checkpoint/inventory.img",
        ),
        (
            "tree-missing",
            podman().without("checkpoint/pstree.img").tar(),
            "checkpoint/pstree.img is missing",
        ),
        (
            "core-missing",
            podman().without("checkpoint/core-1.img").tar(),
            "checkpoint/core-1.img is missing, of process 1",
        ),
        (
            "pages-missing",
            podman().without("checkpoint/pages-1.img").tar(),
            "checkpoint/pages-1.img is missing, of pagemap-1.img",
        ),
        (
            "pages-short",
            file("checkpoint/pages-1.img", &short),
            "checkpoint/pages-1.img has",
        ),
        (
            "pagemap-missing",
            podman().without("checkpoint/pagemap-1.img").tar(),
            "checkpoint/pagemap-1.img is missing, of process 1",
        ),
        (
            "magic-of-another",
            magic,
            "checkpoint/core-1.img does not begin with the magic number of its kind",
        ),
        (
            "image-empty",
            file("checkpoint/mm-1.img", b""),
            "checkpoint/mm-1.img is empty",
        ),
    ]
}

/// Streams that cannot be read to their end.
fn streams() -> Vec<Defect> {
    let mut cut = podman().tar();
    cut.truncate(cut.len() / 2);
    // More than the first block, by which a checkpoint is recognised.
    let whole = zstd(&podman().with_file("artifacts/noise", &noise(400_000)).tar());
    vec![
        ("cut-off", cut, "the tar is truncated here"),
        (
            "zstd-cut-off",
            whole[..whole.len() / 2].to_vec(),
            "zstd compression is damaged",
        ),
        ("xz", b"\xfd7zXZ\0rest".to_vec(), "it is compressed with xz"),
    ]
}
