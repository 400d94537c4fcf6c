//! The container's name where it stands in the configuration: `linux.cgroupsPath`, `hostname`.

use serde_json::Value;

use super::{Editor, SpecError, string_at};

/// `linux.cgroupsPath` in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupsPath {
    /// A path below the cgroup file system's root (absolute), or below the runtime's own cgroup (relative, runc).
    Cgroupfs(String),
    /// `slice:prefix:name`, for runtimes that let systemd make the cgroup.
    Systemd {
        /// The slice; empty for systemd's default.
        slice: String,
        /// What stands before the name in the scope's name.
        prefix: String,
        /// The name.
        name: String,
    },
}

impl CgroupsPath {
    /// The path as the configuration has it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Cgroupfs(path) => path.clone(),
            Self::Systemd { slice, prefix, name } => format!("{slice}:{prefix}:{name}"),
        }
    }

    /// The cgroup as an absolute path, where the form says it.
    #[must_use]
    pub fn absolute(&self) -> Option<&str> {
        match self {
            Self::Cgroupfs(path) if path.starts_with('/') => Some(path),
            _ => None,
        }
    }

    fn parse(text: &str) -> Result<Self, SpecError> {
        let parts: Vec<&str> = text.split(':').collect();
        if let ([slice, prefix, name], false) = (parts.as_slice(), text.contains('/')) {
            return Ok(Self::Systemd {
                slice: (*slice).to_owned(),
                prefix: (*prefix).to_owned(),
                name: (*name).to_owned(),
            });
        }
        if text.split('/').any(|part| part == "..") {
            return Err(problem("leads upwards"));
        }
        let cleaned = super::clean(text);
        if cleaned == "/" {
            return Err(problem("is the root of all cgroups"));
        }
        let path = if text.starts_with('/') {
            &cleaned[..]
        } else {
            &cleaned[1..]
        };
        Ok(Self::Cgroupfs(path.to_owned()))
    }

    /// The cgroup of the container under its new name.
    ///
    /// An old name or identifier within the last part gives way to the new one; where there is none, and the container
    /// is renamed, the last part is the new name: two containers never share a cgroup.
    #[must_use]
    pub fn renamed(&self, old: &[&str], new: &str) -> Self {
        match self {
            Self::Systemd { slice, prefix, name } => Self::Systemd {
                slice: slice.clone(),
                prefix: prefix.clone(),
                name: rename(name, old, new),
            },
            Self::Cgroupfs(path) => Self::Cgroupfs(match path.rsplit_once('/') {
                Some((above, last)) => format!("{above}/{}", rename(last, old, new)),
                None => rename(path, old, new),
            }),
        }
    }

    /// The cgroup within another parent. A slice keeps the systemd form; an absolute path makes it a plain cgroup, which
    /// is also the way to import such a container on a host without systemd.
    #[must_use]
    pub fn within(&self, parent: &str) -> Self {
        match self {
            Self::Systemd { prefix, name, .. } if !parent.starts_with('/') => Self::Systemd {
                slice: parent.to_owned(),
                prefix: prefix.clone(),
                name: name.clone(),
            },
            Self::Systemd { prefix, name, .. } if prefix.is_empty() => plain(parent, name),
            Self::Systemd { prefix, name, .. } => plain(parent, &format!("{prefix}-{name}")),
            Self::Cgroupfs(path) => plain(parent, path.rsplit('/').next().unwrap_or(path)),
        }
    }
}

/// A plain cgroup `name` in `parent`.
pub(crate) fn plain(parent: &str, name: &str) -> CgroupsPath {
    CgroupsPath::Cgroupfs(super::clean(&format!("/{parent}/{name}")))
}

fn rename(part: &str, old: &[&str], new: &str) -> String {
    match old
        .iter()
        .filter(|old| !old.is_empty() && **old != new)
        .find(|old| part.contains(**old))
    {
        Some(old) => part.replacen(old, new, 1),
        None if part.contains(new) => part.to_owned(),
        None => new.to_owned(),
    }
}

fn problem(problem: &'static str) -> SpecError {
    SpecError::Path {
        pointer: "/linux/cgroupsPath".to_owned(),
        problem,
    }
}

/// The cgroup path of the configuration; `None` where it leaves it to the runtime.
///
/// # Errors
/// When it is no string, leads upwards or names the root of all cgroups.
pub fn cgroups_path(spec: &Value) -> Result<Option<CgroupsPath>, SpecError> {
    super::object_at(spec, "/linux")?;
    let pointer = "/linux/cgroupsPath";
    match string_at(spec, pointer)? {
        None | Some("") => Ok(None),
        Some(text) => CgroupsPath::parse(super::path(text, pointer)?).map(Some),
    }
}

/// Sets the cgroup path.
pub fn set_cgroups_path(editor: &mut Editor, path: &CgroupsPath) {
    editor.set("/linux", "cgroupsPath", Value::from(path.text()));
}

/// Sets the hostname of the configuration.
pub fn set_hostname(editor: &mut Editor, hostname: &str) {
    editor.set("", "hostname", Value::from(hostname));
}
