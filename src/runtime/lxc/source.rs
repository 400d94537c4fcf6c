//! Reading the files that make up a configuration: the container's own, what it includes, its fstab.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::lxc::effective::{MAX_INCLUDE_DEPTH, MAX_INCLUDED};
use crate::lxc::{Config, Fstab, Included, Includes, MAX_BYTES, Source, keys};
use crate::runtime::Error;

/// LXC takes the files of an included directory that end so.
const SUFFIX: &str = ".conf";
/// And have something before it.
const SHORTEST: usize = 6;

/// The configuration at `path` with everything that it takes in. What is included and cannot be read is a finding of
/// the judge, not an error here.
pub(super) fn read(path: &Path) -> Result<Source, Error> {
    let config = Config::parse(&bytes(path).map_err(fault(path))?)?;
    let includes = includes_of_host(&config);
    let mut source = Source {
        config,
        fstab: None,
        includes,
    };
    let fstab = source
        .effective()
        .get(keys::MOUNT_FSTAB)
        .map(|entry| PathBuf::from(&entry.value));
    if let Some(path) = fstab {
        source.fstab = Some(Fstab::parse(&bytes(&path).map_err(fault(&path))?)?);
    }
    Ok(source)
}

fn fault(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Read { path, source }
}

/// What the includes of a configuration have on this host.
#[must_use]
pub fn includes_of_host(config: &Config) -> Includes {
    let mut found = Includes::new();
    let mut seen = BTreeSet::new();
    let mut waiting: Vec<(String, usize)> = named(config).map(|name| (name, 0)).collect();
    while let Some((name, depth)) = waiting.pop() {
        if depth >= MAX_INCLUDE_DEPTH || seen.len() >= MAX_INCLUDED || !seen.insert(name.clone()) {
            continue;
        }
        let Ok(files) = included(Path::new(&name)) else {
            continue;
        };
        waiting.extend(
            files
                .iter()
                .flat_map(|file| named(&file.config))
                .map(|name| (name, depth + 1)),
        );
        found.insert(name, files);
    }
    found
}

fn named(config: &Config) -> impl Iterator<Item = String> {
    let settings = config.settings().filter(|(_, setting)| setting.key == keys::INCLUDE);
    settings
        .map(|(_, setting)| setting.value.clone())
        .filter(|value| !value.is_empty())
}

/// The file, or those of the directory in the order in which LXC meets them, which is the directory's own. What ends with a
/// slash is a directory to LXC, and one that is not there has no files.
///
/// # Errors
/// Where one of them cannot be read.
pub fn included(path: &Path) -> io::Result<Vec<Included>> {
    let mut paths = Vec::new();
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.is_dir() {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let taken = name.to_string_lossy().ends_with(SUFFIX) && name.len() >= SHORTEST;
            paths.extend(taken.then(|| path.join(name)));
        }
    } else {
        paths.push(path.to_owned());
    }
    let read = |path: PathBuf| {
        let config = Config::parse(&bytes(&path)?).map_err(io::Error::other)?;
        Ok(Included {
            path: path.to_string_lossy().into_owned(),
            config,
        })
    };
    paths.into_iter().map(read).collect()
}

/// The content of a file; of a very long one a byte more than is parsed, so that it is refused there.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    fs::File::open(path)?
        .take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut content)?;
    Ok(content)
}

/// The first number of a version.
#[must_use]
pub fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_followed_into_files_and_directories() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name).to_string_lossy().into_owned();
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/a.conf"), "lxc.tty.max = 4\n").unwrap();
        fs::write(at("d/.conf"), "lxc.tty.max = 5\n").unwrap();
        fs::write(at("d/readme"), "x").unwrap();
        fs::write(at("f"), format!("lxc.include = {}\n", at("d"))).unwrap();
        fs::write(at("fstab"), "proc proc proc defaults 0 0\n").unwrap();
        let text = format!(
            "lxc.include = {}\nlxc.include = {}\nlxc.include = {}\nlxc.mount.fstab = {}\n",
            at("f"),
            at("none"),
            at("no-directory/"),
            at("fstab")
        );
        fs::write(at("config"), text).unwrap();
        let source = read(Path::new(&at("config"))).unwrap();
        let names: Vec<_> = source
            .includes
            .values()
            .flatten()
            .map(|file| file.path.clone())
            .collect();
        assert_eq!(names, [at("d/a.conf"), at("f")]);
        assert!(source.includes.contains_key(&at("no-directory/")) && !source.includes.contains_key(&at("none")));
        assert_eq!(source.effective().get(keys::TTY_MAX).unwrap().value, "4");
        assert_eq!(source.fstab.unwrap().entries().count(), 1);
    }

    #[test]
    fn a_circle_of_includes_ends() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("config");
        fs::write(&path, format!("lxc.include = {}\n", path.display())).unwrap();
        assert_eq!(read(&path).unwrap().includes.len(), 1);
    }

    #[test]
    fn versions_begin_with_their_major_number() {
        assert_eq!([major("6.0.4"), major("7"), major("x")], [Some(6), Some(7), None]);
    }
}
