//! Archives to test with.

use std::num::NonZeroUsize;

use ckpt::archive::{ArchivePath, Error, Proof, Reader, ReaderOptions, Summary, Writer, WriterOptions};

/// A time that is not zero, so that it is seen where it is lost.
pub const MTIME: u64 = 1_700_000_000;

/// An entry's name.
pub fn path(name: &str) -> ArchivePath {
    ArchivePath::try_from(name).expect(name)
}

/// Two threads and this compression.
pub fn options(compression: &str) -> WriterOptions {
    WriterOptions {
        compression: compression.parse().expect(compression),
        threads: NonZeroUsize::new(2).expect("two"),
        mtime: MTIME,
    }
}

/// A manifest of this build's version.
pub fn manifest() -> Vec<u8> {
    serde_json::to_vec_pretty(&serde_json::json!({
        "format": 1,
        "producer": {"name": "ckpt", "version": "0.1.0"},
        "checkpointed_at": "2026-01-02T03:04:05Z",
        "host": {
            "kernel": "6.12.0", "arch": "x86_64", "cgroup_mode": "v2", "criu": "4.1", "page_size": 4096,
            "cpu": {"vendor": "AuthenticAMD", "family": 25, "model": 1, "name": "EPYC", "xsave_size": 832, "flags": ["avx", "sse2"]}
        },
        "runtime": {"name": "runc", "version": "1.3.0"},
        "container": {
            "id": "c1", "name": "c1", "bundle": "/b/c1", "rootfs": "/b/c1/rootfs", "terminal": false, "pid": 42
        },
        "options": {
            "leave-running": false, "tcp-established": false, "tcp-skip-in-flight": false, "ext-unix-sk": false,
            "shell-job": false, "file-locks": false, "link-remap": false, "pre-dump": false, "auto-dedup": false
        },
        "namespaces": [{"type": "pid"}],
        "bind_mounts": [],
        "filesystem": {"rootfs": "none"}
    }))
    .expect("JSON")
}

/// Bytes that compress about as well as the memory of a process: deterministic, no two seeks alike.
pub fn memory(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 64);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match state % 4 {
            0 => bytes.extend_from_slice(&state.to_le_bytes()),
            1 => bytes.extend_from_slice(&[0; 48]),
            2 => bytes.extend_from_slice(b"/usr/lib/python3/dist-packages"),
            _ => bytes.extend_from_slice(&(state % 1000).to_le_bytes()),
        }
    }
    bytes.truncate(length);
    bytes
}

/// Entries of every kind and size: empty, small, block-sized, at the threshold, of several frames, of a long name.
pub fn sample() -> Vec<(&'static str, Vec<u8>)> {
    const LONG: &str = concat!(
        "checkpoint/z-long-name-that-does-not-fit-the-hundred-bytes-of-the-name-field-of-a-ustar-header",
        "-and-therefore-needs-a-pax-header.img"
    );
    vec![
        ("ckpt.json", manifest()),
        ("config.dump", b"{}".to_vec()),
        ("spec.dump", vec![b' '; 512]),
        ("checkpoint/pages-1.img", memory(3 * (1 << 20) + 4096, 4)),
        ("checkpoint/pages-2.img", memory(2 << 20, 5)),
        ("checkpoint/pages-10.img", memory(65_535, 6)),
        ("checkpoint/core-1.img", memory(1_000, 3)),
        ("checkpoint/empty.img", Vec::new()),
        (LONG, b"long".to_vec()),
        ("rootfs-diff.tar", memory(100_000, 1)),
        ("deleted.files", b"[]".to_vec()),
        ("volumes/data.tar", memory(65_536, 2)),
        ("stats-dump", Vec::new()),
        ("dump.log", b"(00.000000) done\n".to_vec()),
    ]
}

/// An archive in the making.
pub struct Build {
    entries: Vec<(String, Vec<u8>)>,
    options: WriterOptions,
}

impl Build {
    /// Of these entries.
    pub fn of(entries: &[(&str, &[u8])]) -> Self {
        Self::of_all(entries.iter().map(|(name, content)| (*name, content.to_vec())))
    }

    /// Of [`small`].
    pub fn small() -> Self {
        Self::of_all(small())
    }

    /// Of [`sample`].
    pub fn sample() -> Self {
        Self::of_all(sample())
    }

    fn of_all<'a>(entries: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Self {
        let entries = entries.into_iter();
        Self {
            entries: entries.map(|(name, content)| (name.to_owned(), content)).collect(),
            options: options("zstd"),
        }
    }

    /// With these options.
    pub fn options(mut self, options: WriterOptions) -> Self {
        self.options = options;
        self
    }

    /// The archive and what the writer says about it.
    pub fn finish(self) -> (Vec<u8>, Summary) {
        let mut writer = Writer::new(Vec::new(), self.options).expect("writer");
        for (name, content) in &self.entries {
            writer.add_bytes(&path(name), content).expect(name);
        }
        writer.finish().expect("finished")
    }

    /// The archive.
    pub fn bytes(self) -> Vec<u8> {
        self.finish().0
    }
}

/// Reads an archive to its end.
pub fn verify(archive: &[u8]) -> Result<Proof, Error> {
    let options = ReaderOptions {
        threads: NonZeroUsize::MIN,
        ..ReaderOptions::default()
    };
    Reader::new(archive, options)?.finish()
}

/// Small entries, so that thousands of damaged copies can be read: some share a frame, one has its own.
pub fn small() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("ckpt.json", manifest()),
        ("spec.dump", b"{\"ociVersion\":\"1.2.0\"}".to_vec()),
        ("checkpoint/pages-1.img", memory(70_000, 4)),
        ("checkpoint/pages-2.img", memory(512, 5)),
        ("checkpoint/core-1.img", memory(700, 3)),
        ("dump.log", b"(00.000000) done\n".to_vec()),
    ]
}
