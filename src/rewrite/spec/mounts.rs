//! `mounts`: what each is, and where the bind mounts come from.

use serde_json::Value;

use super::{Editor, SpecError, clean, list_at, path, string_at};

/// File systems that hold nothing of a particular host's disks: CRIU makes them anew and brings their content along.
const PSEUDO: &[&str] = &[
    "proc",
    "sysfs",
    "tmpfs",
    "ramfs",
    "devpts",
    "mqueue",
    "cgroup",
    "cgroup2",
    "hugetlbfs",
];

/// What a mount takes from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountKind {
    /// A directory or file of the host.
    Bind,
    /// Nothing: a file system of the kernel's making.
    Pseudo,
    /// Another file system, of a device, a server or a program of the host.
    Foreign,
}

/// A mount of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its place in the list.
    pub index: usize,
    /// Where it is in the container, cleaned.
    pub destination: String,
    /// Its type as written; empty where there is none.
    pub fstype: String,
    /// Its source as written; empty where there is none.
    pub source: String,
    /// What it takes from the host.
    pub kind: MountKind,
}

/// The mounts of the configuration, in order.
///
/// # Errors
/// When the shape is wrong.
pub fn read(spec: &Value) -> Result<Vec<Mount>, SpecError> {
    list_at(spec, "/mounts")?
        .iter()
        .enumerate()
        .map(|(index, mount)| read_one(mount, index))
        .collect()
}

fn read_one(mount: &Value, index: usize) -> Result<Mount, SpecError> {
    let pointer = format!("/mounts/{index}");
    super::object(mount, &pointer)?;
    let within = |error| prefix(error, &pointer);
    let destination = string_at(mount, "/destination")
        .map_err(within)?
        .ok_or_else(|| SpecError::Missing {
            pointer: format!("{pointer}/destination"),
        })?;
    let fstype = string_at(mount, "/type").map_err(within)?.unwrap_or_default();
    let kind = kind_of(fstype, &options(mount, &pointer)?);
    let source = string_at(mount, "/source").map_err(within)?.unwrap_or_default();
    if kind == MountKind::Bind {
        path(source, &format!("{pointer}/source"))?;
    }
    Ok(Mount {
        index,
        destination: clean(path(destination, &format!("{pointer}/destination"))?),
        fstype: fstype.to_owned(),
        source: source.to_owned(),
        kind,
    })
}

fn options<'a>(mount: &'a Value, pointer: &str) -> Result<Vec<&'a str>, SpecError> {
    let list = list_at(mount, "/options").map_err(|error| prefix(error, pointer))?;
    let text = |(index, option): (usize, &'a Value)| {
        option
            .as_str()
            .ok_or_else(|| super::wrong(option, &format!("{pointer}/options/{index}"), "a string"))
    };
    list.iter().enumerate().map(text).collect()
}

/// runc goes by the options `bind` and `rbind` whatever the type says, crun by the type `bind` as well; what either of
/// them binds is a bind mount here.
fn kind_of(fstype: &str, options: &[&str]) -> MountKind {
    if fstype == "bind" || options.iter().any(|option| matches!(*option, "bind" | "rbind")) {
        MountKind::Bind
    } else if PSEUDO.contains(&fstype) {
        MountKind::Pseudo
    } else {
        MountKind::Foreign
    }
}

/// Sets the source of a mount.
pub fn set_source(editor: &mut Editor, index: usize, source: &str) {
    editor.set(&format!("/mounts/{index}"), "source", Value::from(source));
}

/// Takes mounts out of the list, by their places in it. Nothing is changed after it by a place.
pub fn remove(editor: &mut Editor, indices: &[usize]) {
    let Some(Value::Array(list)) = editor.spec().get("mounts") else {
        return;
    };
    let kept = list.iter().enumerate().filter(|(index, _)| !indices.contains(index));
    let kept = kept.map(|(_, mount)| mount.clone()).collect();
    editor.set("", "mounts", Value::Array(kept));
}

/// Puts the pointer of an element before the pointer of an error found within it.
pub(super) fn prefix(error: SpecError, element: &str) -> SpecError {
    let join = |pointer: String| format!("{element}{pointer}");
    match error {
        SpecError::Type {
            pointer,
            expected,
            found,
        } => SpecError::Type {
            pointer: join(pointer),
            expected,
            found,
        },
        SpecError::TooMany { pointer, count } => SpecError::TooMany {
            pointer: join(pointer),
            count,
        },
        SpecError::Missing { pointer } => SpecError::Missing { pointer: join(pointer) },
        other => other,
    }
}
