//! `ckpt ls`: the entries of an archive.

use std::io::{self, Write};
use std::process::ExitCode;

use time::OffsetDateTime;

use super::Outcome;
use super::archive::{Archive, Entry, Selection, no_entry};
use super::args::LsArgs;
use super::render::{Ui, text};

/// Lists entries.
pub fn run(args: LsArgs, ui: &Ui) -> Outcome {
    let archive = Archive::new(args.file, None, "list");
    let selection = Selection::new(&args.entries);
    let summary = archive.read(&|_| false, &mut |_, _, _| Ok(()))?;
    if let Some(missing) = selection.missing(&summary.entries) {
        return Err(no_entry(&archive, missing));
    }
    let entries: Vec<&Entry> = summary
        .entries
        .iter()
        .filter(|entry| selection.has(&entry.name))
        .collect();
    ui.result(&entries, |out| {
        if args.long {
            long(out, &entries, summary.mtime)
        } else {
            short(out, &entries)
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

fn short(out: &mut dyn Write, entries: &[&Entry]) -> io::Result<()> {
    entries
        .iter()
        .try_for_each(|entry| writeln!(out, "{}", text::visible(&entry.name)))
}

/// As `tar tv` lists them: every entry of an archive is a plain file of root's with the time of the checkpoint.
fn long(out: &mut dyn Write, entries: &[&Entry], mtime: u64) -> io::Result<()> {
    let width = entries
        .iter()
        .map(|entry| entry.bytes.to_string().len())
        .max()
        .unwrap_or(0);
    let time = minute(mtime);
    entries.iter().try_for_each(|entry| {
        writeln!(
            out,
            "-rw------- 0/0 {:>width$} {time} {}",
            entry.bytes,
            text::visible(&entry.name)
        )
    })
}

/// A time as `tar tv` prints it, in UTC.
fn minute(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let Some(time) = time else { return format!("@{seconds}") };
    let (date, hour, minute) = (time.date(), time.hour(), time.minute());
    format!(
        "{:04}-{:02}-{:02} {hour:02}:{minute:02}",
        date.year(),
        u8::from(date.month()),
        date.day()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(minute(0), "1970-01-01 00:00");
        assert_eq!(minute(1_763_633_100), "2025-11-20 10:05");
        assert_eq!(minute(u64::MAX), format!("@{}", u64::MAX));
    }

    #[test]
    fn a_long_listing_is_aligned() {
        let entry = |name: &str, bytes| Entry {
            name: name.into(),
            bytes,
            sha256: None,
        };
        let (a, b) = (entry("ckpt.json", 1200), entry("checkpoint/pages-1.img", 40960));
        let mut out = Vec::new();
        long(&mut out, &[&a, &b], 0).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        -rw------- 0/0  1200 1970-01-01 00:00 ckpt.json
        -rw------- 0/0 40960 1970-01-01 00:00 checkpoint/pages-1.img
        ");
    }
}
