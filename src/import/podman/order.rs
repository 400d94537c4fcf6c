//! The order of the mounts in the configuration that podman has written for a restore.
//!
//! When podman makes a container it sorts them, so that one is there before another goes into it. When it restores one, it adds
//! those of its own in any order: `/run/secrets/NAME` may come before `/run/secrets`, and is then covered by it, or not there.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::configuration;
use crate::error::Error;

/// Sorts the mounts of the container with this bundle, where one comes before what it is in.
pub(super) fn put_in_order(bundle: &Path) -> Result<(), Error> {
    let mut config = configuration(bundle)?;
    let mounts = config.get_mut("mounts").and_then(Value::as_array_mut);
    if !mounts.is_some_and(|mounts| sort(mounts)) {
        return Ok(());
    }
    let text = serde_json::to_vec(&config).map_err(|source| Error::Json {
        entry: "config.json",
        source,
    })?;
    let path = bundle.join("config.json");
    std::fs::write(&path, text).map_err(|error| Error::io("writing", &path, error))
}

/// Sorts mounts by their depth, and else leaves them as they are. Returns whether that was needed.
fn sort(mounts: &mut [Value]) -> bool {
    let place = |mount: &Value| mount.get("destination").and_then(Value::as_str).map(PathBuf::from);
    let places: Vec<_> = mounts.iter().filter_map(place).collect();
    let is_late = |(at, below): (usize, &PathBuf)| {
        let before = &places[..at];
        before.iter().any(|other| other != below && other.starts_with(below))
    };
    let needed = places.iter().enumerate().any(is_late);
    if needed {
        mounts.sort_by_key(|mount| place(mount).map_or(0, |place| place.components().count()));
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_mount_is_in_comes_before_it() {
        let mounts =
            |places: &[&str]| -> Vec<Value> { places.iter().map(|place| json!({"destination": place})).collect() };
        for (given, wanted) in [
            (
                &["/run/secrets/a", "/dev", "/run/secrets"][..],
                Some(&["/dev", "/run/secrets", "/run/secrets/a"][..]),
            ),
            (&["/dev/shm", "/run/secrets", "/run/secrets/a", "/dev2"], None),
            (&["/a/b", "/a/bc", "/a/b"], None),
        ] {
            let mut list = mounts(given);
            assert_eq!(sort(&mut list), wanted.is_some());
            assert_eq!(list, mounts(wanted.unwrap_or(given)));
        }
    }
}
