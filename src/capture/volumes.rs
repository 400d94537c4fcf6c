//! The content of bind mounts that the user wants to travel.
//!
//! Without it the importer has to have the same files. Of a directory the entry holds the tree; of a single file it holds
//! that file under its own name.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Error, Part, VOLUMES, warnings};
use crate::tree::{Packer, open_root};

/// Longest name of a volume, bytes: as a file name it has to leave room for `.tar`.
const NAME_MAX: usize = 200;

/// Name of the entry of a volume.
///
/// # Errors
/// [`Error::VolumeName`] for a name that is no file name.
pub fn entry_name(name: &str) -> Result<String, Error> {
    let bad = name.is_empty() || name.len() > NAME_MAX || name.starts_with('.') || name.contains(['/', '\\']);
    if bad || name.chars().any(char::is_control) {
        Err(Error::VolumeName(name.to_owned()))
    } else {
        Ok(format!("{VOLUMES}/{name}.tar"))
    }
}

/// Measures the directory or file at `source` as the volume `name`. Gives the entry, and what the user should know.
///
/// # Errors
/// What cannot be read, with its path.
pub fn capture(name: &str, source: &Path) -> Result<(Part, Vec<String>), Error> {
    let entry = entry_name(name)?;
    let open = |e| Error::Open {
        path: source.to_owned(),
        source: e,
    };
    let real = std::fs::canonicalize(source).map_err(open)?;
    let packer = match (real.is_dir(), real.parent(), real.file_name()) {
        (false, Some(parent), Some(file)) => {
            let file = CString::new(file.as_bytes()).map_err(|e| open(e.into()))?;
            Packer::only(open_root(parent).map_err(open)?, &file)
        }
        _ => Packer::new(open_root(&real).map_err(open)?),
    };
    let measured = packer.measure().map_err(|e| Error::Pack {
        root: source.to_owned(),
        source: e,
    })?;
    let warnings = warnings(&entry, measured.report());
    Ok((Part::tree(entry, source, measured), warnings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_file_names() {
        assert_eq!(entry_name("data-1").unwrap(), "volumes/data-1.tar");
        for bad in [
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "a\\b",
            "a\nb",
            "a\0b",
            &"x".repeat(201),
        ] {
            assert!(matches!(entry_name(bad), Err(Error::VolumeName(_))), "{bad:?}");
        }
    }
}
