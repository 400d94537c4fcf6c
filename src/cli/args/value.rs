//! Parsers of single argument values. Pure: nothing here looks at the file system, except that relative paths are made
//! absolute against the current directory (runtimes are started elsewhere).

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

use clap::builder::{PathBufValueParser, TypedValueParser};

use super::usage::UsageError;
use crate::archive::Level;
use crate::request::{Input, MapMount, Output};

/// Most threads that are accepted: each holds frames of several MiB, and no disk keeps up with more.
pub const MAX_THREADS: usize = 256;
/// Longest container name that is accepted; it becomes a file name in the runtime's state directory (NAME_MAX).
pub const MAX_NAME: usize = 255;

/// `-` or a file, for reading.
pub fn input(path: PathBuf) -> Input {
    if path.as_os_str() == "-" {
        Input::Stdin
    } else {
        Input::File(path)
    }
}

/// The time that the environment asks for instead of now, so that the same input makes the same archive.
pub fn source_date_epoch() -> Result<Option<u64>, UsageError> {
    let Some(value) = std::env::var_os("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    value
        .to_str()
        .and_then(|text| text.parse().ok())
        .map(Some)
        .ok_or(UsageError::SourceDateEpoch)
}

/// `-` or a file, for writing.
pub fn output(path: PathBuf) -> Output {
    if path.as_os_str() == "-" {
        Output::Stdout
    } else {
        Output::File(path)
    }
}

/// A path, made absolute.
pub fn absolute() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(std::path::absolute)
}

/// A number of threads, 1 to [`MAX_THREADS`].
pub fn threads(text: &str) -> Result<NonZeroUsize, UsageError> {
    text.parse::<NonZeroUsize>()
        .ok()
        .filter(|count| count.get() <= MAX_THREADS)
        .ok_or(UsageError::Threads)
}

/// A level of compression: a number, whose range depends on the compression, or `auto`.
pub fn level(text: &str) -> Result<Level, UsageError> {
    match text {
        "auto" => Ok(Level::Auto),
        number => number.parse().map(Level::Fixed).map_err(|_| UsageError::NotALevel),
    }
}

/// The number of threads where none is given: one for each processor that this process may use.
pub fn default_threads() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// A container's name: what runc and crun accept, so that it can be neither a path nor an option.
pub fn name(text: &str) -> Result<String, UsageError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    let wrong = text.is_empty() || text.len() > MAX_NAME || text == "." || text == ".." || text.starts_with('-');
    if wrong || !text.chars().all(allowed) {
        Err(UsageError::Name)
    } else {
        Ok(text.to_owned())
    }
}

/// An absolute path inside the container, without `..`, in its shortest spelling.
pub fn destination(text: &str) -> Result<String, UsageError> {
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if !text.starts_with('/') || parts.is_empty() || parts.contains(&"..") {
        return Err(UsageError::Destination);
    }
    Ok(format!("/{}", parts.join("/")))
}

/// `DST=SRC`; both absolute. The first `=` separates, so that a source may hold more of them.
pub fn map_mount(text: &str) -> Result<MapMount, UsageError> {
    let (inside, outside) = text.split_once('=').ok_or(UsageError::MapMount)?;
    if !outside.starts_with('/') {
        return Err(UsageError::MapMount);
    }
    Ok(MapMount {
        destination: destination(inside)?,
        source: PathBuf::from(outside),
    })
}

/// `HOST:PORT`, with an IPv6 address in brackets.
pub fn host_port(text: &str) -> Result<String, UsageError> {
    let (host, port) = text.rsplit_once(':').ok_or(UsageError::HostPort)?;
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_fits = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', '[', ']', '/', ' ']),
    };
    match port.parse::<u16>() {
        Ok(number) if number > 0 && host_fits => Ok(text.to_owned()),
        _ => Err(UsageError::HostPort),
    }
}

/// A cgroup path below the hierarchy's root: without `..`.
pub fn cgroup(text: &str) -> Result<String, UsageError> {
    let climbs = text.split('/').any(|part| part == "..");
    if text.is_empty() || climbs || text.contains('\0') {
        Err(UsageError::Cgroup)
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["c1", "a.b_c+d-e", "0", &"x".repeat(MAX_NAME)] {
            assert_eq!(name(good).unwrap(), good);
        }
        for bad in ["", ".", "..", "a/b", "-x", "a b", "é", "a\n", &"x".repeat(MAX_NAME + 1)] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn destinations_have_one_spelling() {
        for (text, want) in [("/data", "/data"), ("/data/", "/data"), ("//a/./b", "/a/b")] {
            assert_eq!(destination(text).unwrap(), want);
        }
        for bad in ["", "/", "data", "/a/../b", "/.."] {
            assert!(destination(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn map_mounts_split_at_the_first_equals_sign() {
        let want = MapMount {
            destination: "/data".into(),
            source: "/srv/a=b".into(),
        };
        assert_eq!(map_mount("/data=/srv/a=b").unwrap(), want);
        for bad in ["/data", "/data=", "/data=srv", "data=/srv", "=/srv", "/a/..=/srv"] {
            assert!(map_mount(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn page_servers() {
        for good in ["b:4000", "10.0.0.2:1", "[fe80::1]:65535", "b.example:27"] {
            assert_eq!(host_port(good).unwrap(), good);
        }
        for bad in [
            "b",
            ":1",
            "b:0",
            "b:65536",
            "b:x",
            "fe80::1:4000",
            "[b]:1",
            "a/b:1",
            "[::1:1",
        ] {
            assert!(host_port(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn thread_counts() {
        assert_eq!(threads("8").unwrap().get(), 8);
        for bad in ["0", "-1", "257", "many", ""] {
            assert!(threads(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn cgroups_cannot_climb() {
        assert!(cgroup("/machines").is_ok() && cgroup("a.slice/b").is_ok());
        assert!(cgroup("").is_err() && cgroup("/a/../b").is_err());
    }
}
