//! What becomes of an export whose output fails: an error at once, the older archive untouched, nothing left behind.
//!
//! One test, which runs itself in a child: disks are filled in a mount namespace of its own, and threads are counted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that cannot run says so"
)]

mod support;

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ckpt::archive::{Error, Reader, ReaderOptions, Sink, Writer, WriterOptions};
use support::archives::{Build, manifest, memory, options, path};

/// Tells the child what to do, and where.
const TASK: &str = "CKPT_TEST_TASK";
const DIRECTORY: &str = "CKPT_TEST_DIRECTORY";

fn main_test(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", name, "--nocapture"]);
    command
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("directory");
    entries
        .map(|entry| entry.expect("entry").file_name().into_string().expect("text"))
        .collect()
}

/// Writes an archive of 8 MiB that does not compress away.
fn export(sink: Sink, compression: &str) -> Result<(), Error> {
    let mut writer = Writer::new(sink, options(compression))?;
    writer.add_bytes(&path("ckpt.json"), &manifest())?;
    for (number, seed) in (1..=8).enumerate() {
        writer.add_bytes(&path(&format!("checkpoint/pages-{number}.img")), &memory(1 << 20, seed))?;
    }
    let (sink, summary) = writer.finish()?;
    sink.commit(&summary).map(drop)
}

fn wrong_kind(result: Result<(), Error>, kind: io::ErrorKind) -> Option<String> {
    match result {
        Err(Error::Write { source }) if source.kind() == kind => None,
        other => Some(format!("{other:?}")),
    }
}

/// In a file system of 1 MiB with an older archive in it.
fn fill_a_disk(directory: &Path) {
    let target = directory.join("a.ckpt");
    let older = Build::small().bytes();
    std::fs::write(&target, &older).expect("older");
    for compression in ["zstd", "gzip", "none"] {
        let result = export(Sink::create(&target).expect("sink"), compression);
        assert_eq!(wrong_kind(result, io::ErrorKind::StorageFull), None, "{compression}");
        assert!(std::fs::read(&target).expect("older") == older);
        assert_eq!(names(directory), ["a.ckpt"]);
    }
}

#[test]
fn a_full_disk_leaves_the_older_archive() {
    if std::env::var_os(TASK).is_some() {
        return fill_a_disk(Path::new(&std::env::var_os(DIRECTORY).expect("directory")));
    }
    let directory = tempfile::tempdir().expect("directory");
    let root = rustix::process::geteuid().is_root();
    let status = Command::new("unshare")
        .args(if root {
            &["--mount"][..]
        } else {
            &["--user", "--map-root-user", "--mount"]
        })
        .args([
            "sh",
            "-c",
            "mount -t tmpfs -o size=1m none \"$CKPT_TEST_DIRECTORY\" && exec \"$0\" \"$@\"",
        ])
        .arg(std::env::current_exe().expect("this test"))
        .args(["--exact", "a_full_disk_leaves_the_older_archive", "--nocapture"])
        .env(TASK, "fill")
        .env(DIRECTORY, directory.path())
        .status()
        .expect("unshare");
    assert!(status.success(), "{status}");
}

#[test]
fn a_full_device_is_an_error() {
    let result = export(Sink::create(Path::new("/dev/full")).expect("sink"), "zstd");
    assert_eq!(wrong_kind(result, io::ErrorKind::StorageFull), None);
}

#[test]
fn a_closed_pipe_is_an_error_at_once() {
    for compression in ["zstd", "gzip", "none"] {
        let (reader, writer) = io::pipe().expect("pipe");
        drop(reader);
        let mut writer = Writer::new(Sink::pipe(writer.into()), options(compression)).expect("writer");
        writer.add_bytes(&path("ckpt.json"), &manifest()).expect("buffered");
        let page = memory(1 << 20, 1);
        let begun = writer.entry(&path("checkpoint/pages-1.img"), 1 << 40);
        let result = begun.and_then(|mut entry| (0..16).try_for_each(|_| entry.append(&page)));
        assert_eq!(wrong_kind(result, io::ErrorKind::BrokenPipe), None, "{compression}");
        assert!(matches!(writer.add_bytes(&path("dump.log"), b""), Err(Error::Poisoned)));
        drop(writer);
    }
}

/// Threads of this process that work on archives.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
    let name = |task: io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.ok()?.path().join("comm")).ok();
    tasks.filter_map(name).filter(|name| name.starts_with("ckpt-")).count()
}

/// Waits for that many: a thread has its name a little later than it begins, and is listed a little longer than it lives.
fn becomes(expected: usize) -> bool {
    let begin = Instant::now();
    while threads() != expected && begin.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(1));
    }
    threads() == expected
}

fn count_threads() {
    let eight = NonZeroUsize::new(8).expect("eight");
    let archive = Build::sample().bytes();
    for _ in 0..20 {
        let mut writer = Writer::new(
            io::sink(),
            WriterOptions {
                threads: eight,
                ..options("zstd")
            },
        )
        .expect("writer");
        writer.add_bytes(&path("ckpt.json"), &manifest()).expect("added");
        let mut entry = writer.entry(&path("checkpoint/pages-1.img"), 1 << 30).expect("begun");
        entry.append(&memory(5 << 20, 1)).expect("some of it");
        assert!(becomes(8 + 4), "those that compress and those that hash");
        drop(writer);
        assert!(becomes(0), "after a writer");
        let options = ReaderOptions {
            threads: eight,
            ..ReaderOptions::default()
        };
        let mut reader = Reader::new(archive.as_slice(), options).expect("reader");
        while reader
            .next()
            .expect("entry")
            .is_some_and(|entry| entry.entry().size < 1 << 20)
        {}
        assert!(becomes(8 + 4), "those that compress and those that hash");
        drop(reader);
        assert!(becomes(0), "after a reader");
    }
}

#[test]
fn dropped_writers_and_readers_leave_no_thread() {
    if std::env::var_os(TASK).is_some() {
        return count_threads();
    }
    let status = main_test("dropped_writers_and_readers_leave_no_thread")
        .env(TASK, "count")
        .status()
        .expect("itself");
    assert!(status.success(), "{status}");
}

fn export_for_ever(directory: &Path) {
    let mut writer =
        Writer::new(Sink::create(&directory.join("a.ckpt")).expect("sink"), options("none")).expect("writer");
    writer.add_bytes(&path("ckpt.json"), &manifest()).expect("added");
    let mut entry = writer.entry(&path("checkpoint/pages-1.img"), 1 << 40).expect("begun");
    for number in 0.. {
        entry.append(&[1; 4096]).expect("added");
        if number == 2000 {
            std::fs::write(directory.join("ready"), "").expect("told");
        }
        std::thread::sleep(Duration::from_micros(if number > 2000 { 500 } else { 0 }));
    }
}

#[test]
fn a_killed_export_leaves_the_older_archive() {
    if std::env::var_os(TASK).is_some() {
        return export_for_ever(Path::new(&std::env::var_os(DIRECTORY).expect("directory")));
    }
    let directory = tempfile::tempdir().expect("directory");
    let older = Build::small().bytes();
    std::fs::write(directory.path().join("a.ckpt"), &older).expect("older");
    let mut child = main_test("a_killed_export_leaves_the_older_archive")
        .env(TASK, "export")
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("itself");
    while !directory.path().join("ready").exists() {
        assert!(child.try_wait().expect("child").is_none(), "it must not end by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    std::fs::remove_file(directory.path().join("ready")).expect("ready");
    assert_eq!(names(directory.path()), ["a.ckpt"]);
    assert!(std::fs::read(directory.path().join("a.ckpt")).expect("older") == older);
}
