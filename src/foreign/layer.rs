//! containerd's changed files: a layer of an OCI image, gzip, in which names that begin with `.wh.` stand for what was deleted.
//!
//! podman, CRI-O and ckpt have a plain tar and a list of paths instead. Both say the same, so one becomes the other without
//! loss. (OCI image specification, "Image Layer Filesystem Changeset".)

use std::io::{self, Read, Write};

use super::error::Error;
use super::names::DIFF;
use crate::tree::{self, Entry, Kind, Limits, Meta, TreePath};

/// What the name of an object begins with that stands for the deletion of another.
const WHITEOUT: &[u8] = b".wh.";
/// The name of an object that says that nothing of its directory below is seen.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Names of this kind other than the last are of a file system that no engine uses any more.
const RESERVED: &[u8] = b".wh..wh.";
/// Mode of a whiteout.
const MODE: u32 = 0o600;
/// Bytes that are copied at a time.
const BUFFER: usize = 128 << 10;

/// Writes the changes of a layer as a plain tar, and returns the paths that were deleted.
pub(super) fn to_changes(layer: impl Read, out: &mut impl Write, limits: Limits) -> Result<Vec<TreePath>, Error> {
    let mut reader = tree::Reader::new(layer, limits);
    let mut deleted = Vec::new();
    while let Some(entry) = reader.next_entry().map_err(nested)? {
        match entry.path.split() {
            Some((parent, name)) if name.starts_with(WHITEOUT) => {
                deleted.push(deletion(&entry, parent, name)?);
            }
            _ => copy(&mut reader, &entry, out)?,
        }
    }
    out.write_all(&tree::END).map_err(|source| Error::Spool { source })?;
    Ok(deleted)
}

/// What a whiteout deletes. A directory that hides all below it was removed and made anew.
fn deletion(entry: &Entry, parent: TreePath, name: &[u8]) -> Result<TreePath, Error> {
    let wrong = |problem| Error::Document { entry: DIFF, problem };
    if !matches!(entry.kind, Kind::File { size: 0, .. } | Kind::HardLink(_)) {
        return Err(wrong("a whiteout in it is no empty file"));
    }
    if name == OPAQUE {
        return if parent.is_root() {
            Err(wrong("it deletes the whole root"))
        } else {
            Ok(parent)
        };
    }
    let target = name.strip_prefix(WHITEOUT).unwrap_or_default();
    let plain = !name.starts_with(RESERVED) && !matches!(target, b"" | b"." | b"..");
    if plain {
        Ok(parent.join(target))
    } else {
        Err(wrong("a whiteout in it names nothing"))
    }
}

/// Writes changes and deleted paths as a layer.
pub(super) fn to_layer(
    changes: impl Read,
    deleted: &[TreePath],
    out: &mut impl Write,
    limits: Limits,
) -> Result<(), Error> {
    let failed = |source| Error::Spool { source };
    let mut reader = tree::Reader::new(changes, limits);
    // Whiteouts come first: a reader that applies them as they come must not delete what the layer itself brings.
    for path in deleted {
        let Some((parent, name)) = path.split() else { continue };
        let entry = Entry {
            path: parent.join(&[WHITEOUT, name].concat()),
            kind: Kind::File { size: 0, sparse: None },
            meta: Meta {
                mode: MODE,
                ..Meta::default()
            },
        };
        out.write_all(&encoded(&entry)?).map_err(failed)?;
    }
    while let Some(entry) = reader.next_entry().map_err(nested)? {
        copy(&mut reader, &entry, out)?;
    }
    out.write_all(&tree::END).map_err(failed)
}

fn encoded(entry: &Entry) -> Result<Vec<u8>, Error> {
    let wrong = |_| Error::Document {
        entry: DIFF,
        problem: "an object in it has more extended attributes than a tar is given",
    };
    tree::encode(entry).map_err(wrong)
}

fn copy<R: Read>(reader: &mut tree::Reader<R>, entry: &Entry, out: &mut impl Write) -> Result<(), Error> {
    let failed = |source| Error::Spool { source };
    out.write_all(&encoded(entry)?).map_err(failed)?;
    let mut buffer = vec![0; BUFFER];
    let mut length = 0;
    loop {
        let count = reader.read_data(&mut buffer).map_err(nested)?;
        if count == 0 {
            break;
        }
        out.write_all(&buffer[..count]).map_err(failed)?;
        length += count as u64;
    }
    let padding = tree::padding(length);
    io::copy(&mut io::repeat(0).take(padding), out).map_err(failed)?;
    Ok(())
}

fn nested(source: tree::Error) -> Error {
    match source {
        tree::Error::Input(error) if error.get_ref().is_some_and(|inner| inner.is::<Error>()) => Error::from_io(error),
        source => Error::Nested {
            entry: DIFF.to_owned(),
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(path: &[u8], kind: Kind) -> Entry {
        Entry {
            path: TreePath::parse(path, 1000, 100).unwrap(),
            kind,
            meta: Meta {
                mode: 0o644,
                ..Meta::default()
            },
        }
    }

    fn file(path: &[u8]) -> Entry {
        let kind = Kind::File { size: 0, sparse: None };
        entry(path, kind)
    }

    fn tar(entries: &[Entry]) -> Vec<u8> {
        let mut tar: Vec<u8> = entries.iter().flat_map(|entry| tree::encode(entry).unwrap()).collect();
        tar.extend(tree::END);
        tar
    }

    fn changes(layer: &[Entry]) -> Result<(Vec<u8>, Vec<String>), Error> {
        let mut out = Vec::new();
        let deleted = to_changes(tar(layer).as_slice(), &mut out, Limits::default())?;
        Ok((out, deleted.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn whiteouts_become_deleted_paths() {
        let layer = [
            file(b"a"),
            file(b"etc/.wh.gone"),
            entry(b"d", Kind::Directory),
            file(b"d/.wh..wh..opq"),
            file(b"d/new"),
        ];
        let (out, deleted) = changes(&layer).unwrap();
        assert_eq!(deleted, ["etc/gone", "d"]);
        assert_eq!(out, tar(&[file(b"a"), entry(b"d", Kind::Directory), file(b"d/new")]));
    }

    #[test]
    fn whiteouts_that_say_something_else_are_refused() {
        for (name, problem) in [
            (&b".wh..wh..opq"[..], "it deletes the whole root"),
            (b"d/.wh..", "names nothing"),
            (b"d/.wh...", "names nothing"),
            (b"d/.wh.", "names nothing"),
            (b"d/.wh..wh.plnk", "names nothing"),
        ] {
            let error = changes(&[file(name)]).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        let error = changes(&[entry(b"d/.wh.a", Kind::Directory)]).unwrap_err().to_string();
        assert!(error.contains("is no empty file"), "{error}");
    }

    proptest! {
        #[test]
        fn changes_and_deleted_paths_survive_a_layer(
            names in prop::collection::btree_set("[a-z]{1,8}(/[a-z]{1,8}){0,2}", 0..8),
            gone in prop::collection::btree_set("[A-Z]{1,8}(/[A-Z]{1,8}){0,2}", 0..8),
        ) {
            let entries: Vec<Entry> = names.iter().map(|name| file(name.as_bytes())).collect();
            let deleted: Vec<TreePath> = gone.iter().map(|path| TreePath::parse(path.as_bytes(), 100, 9).unwrap()).collect();
            let mut layer = Vec::new();
            to_layer(tar(&entries).as_slice(), &deleted, &mut layer, Limits::default()).unwrap();
            let mut out = Vec::new();
            let found = to_changes(layer.as_slice(), &mut out, Limits::default()).unwrap();
            prop_assert_eq!(found, deleted);
            prop_assert_eq!(out, tar(&entries));
        }
    }
}
