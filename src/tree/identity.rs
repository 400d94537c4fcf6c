//! The identity of a tree: a fingerprint of its metadata, to tell whether two hosts have the same files below a change.
//!
//! It covers what an image consists of and a copy of it keeps: paths, types, permissions, owners, sizes of files, targets
//! of links, numbers of devices. It does not cover content (that would be read while people wait), times and extended
//! attributes (which copies lose), and the root directory itself (which every host makes anew).

use std::collections::BTreeMap;
use std::ffi::CString;

use rustix::fs::FileType;
use sha2::{Digest, Sha256};

use super::dir::Stat;
use super::error::Error;
use super::layers::{Layers, Merged, Visible};
use super::path::TreePath;

/// First bytes of what is hashed; its number changes when the list below does.
const VERSION: &[u8] = b"ckpt tree identity 1\0";

/// The identity of merged layers, or of one directory: `sha256:` and 64 hexadecimal digits.
///
/// # Errors
/// What cannot be read.
pub fn identity(layers: &Layers) -> Result<String, Error> {
    let mut digest = Sha256::new();
    digest.update(VERSION);
    let root = layers.root();
    let names = layers.list(&root)?;
    let mut stack = vec![(root, names)];
    while let Some((merged, names)) = stack.last_mut() {
        let Some((name, visible)) = names.pop_first() else {
            stack.pop();
            continue;
        };
        let path = merged.path.join(name.to_bytes());
        let target = match visible.stat.kind {
            FileType::Symlink => layers.read_link(merged, &name, &visible)?,
            _ => Vec::new(),
        };
        add(&mut digest, &path, &visible.stat, &target);
        if visible.stat.kind == FileType::Directory {
            let level = descend(layers, merged, &name, &visible)?;
            stack.push(level);
        }
    }
    let hex = digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    Ok(format!("sha256:{hex}"))
}

fn descend(
    layers: &Layers,
    merged: &Merged,
    name: &CString,
    visible: &Visible,
) -> Result<(Merged, BTreeMap<CString, Visible>), Error> {
    let child = layers.enter(merged, name, visible)?;
    let names = layers.list(&child)?;
    Ok((child, names))
}

/// One object: path, NUL, type, mode, owner, group and two numbers as text, then the length of the link target and the
/// target. Sockets are left out: they come and go with processes.
fn add(digest: &mut Sha256, path: &TreePath, stat: &Stat, target: &[u8]) {
    let (kind, first, second): (char, u64, u32) = match stat.kind {
        FileType::RegularFile => ('f', stat.size, 0),
        FileType::Directory => ('d', 0, 0),
        FileType::Symlink => ('l', 0, 0),
        FileType::CharacterDevice => ('c', stat.rdev.major.into(), stat.rdev.minor),
        FileType::BlockDevice => ('b', stat.rdev.major.into(), stat.rdev.minor),
        FileType::Fifo => ('p', 0, 0),
        _ => return,
    };
    // Links have no mode of their own on Linux, but file systems differ in what they show.
    let mode = if kind == 'l' { 0o777 } else { stat.mode };
    digest.update(path.as_bytes());
    digest.update([0]);
    let (uid, gid) = (stat.uid, stat.gid);
    digest.update(format!(
        "{kind} {mode:o} {uid} {gid} {first} {second} {}\0",
        target.len()
    ));
    digest.update(target);
}
