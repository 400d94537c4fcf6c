//! The container's name where it stands in the configuration: `linux.cgroupsPath`, `hostname`.

use serde_json::Value;

use super::{Editor, SpecError, string_at};

/// Where runtimes put a scope whose slice is not named.
const DEFAULT_SLICE: &str = "system.slice";

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

    /// The cgroup as an absolute path, whoever makes it: of systemd that of the scope, as runtimes name it.
    #[must_use]
    pub fn cgroup(&self) -> Option<String> {
        match self {
            Self::Cgroupfs(_) => self.absolute().map(str::to_owned),
            Self::Systemd { slice, prefix, name } => {
                let slice = if slice.is_empty() { DEFAULT_SLICE } else { slice };
                let scope = if prefix.is_empty() {
                    format!("{name}.scope")
                } else {
                    format!("{prefix}-{name}.scope")
                };
                Some(format!("{}/{scope}", slice_path(slice)?))
            }
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

/// Where systemd has a slice: `a-b.slice` is within `a.slice`, `-.slice` is the root (systemd.slice(5)).
fn slice_path(slice: &str) -> Option<String> {
    let stem = slice.strip_suffix(".slice").filter(|stem| !stem.is_empty())?;
    if stem == "-" {
        return Some(String::new());
    }
    let above = stem.match_indices('-').map(|(at, _)| format!("/{}.slice", &stem[..at]));
    Some(above.chain([format!("/{slice}")]).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_is_where_systemd_has_the_scope() {
        for (text, cgroup) in [
            ("machine.slice:libpod:ab", Some("/machine.slice/libpod-ab.scope")),
            (":runc:c1", Some("/system.slice/runc-c1.scope")),
            ("user-1000.slice:p:c1", Some("/user.slice/user-1000.slice/p-c1.scope")),
            ("-.slice::c1", Some("/c1.scope")),
            ("odd:p:c1", None),
            ("/box/c1", Some("/box/c1")),
            ("box/c1", None),
        ] {
            let path = CgroupsPath::parse(text).unwrap();
            assert_eq!(path.cgroup().as_deref(), cgroup, "{text}");
        }
    }
}
