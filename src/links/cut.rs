//! Cutting a container off: the host's ends of its links down, and up again unless the container is gone for good.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Error, HostEnd};
use crate::sys::rtnetlink::{Change, Netlink};

/// The name of the record in a session's directory.
pub const RECORD: &str = "links.json";
/// The network namespace that a link's number counts in.
const NAMESPACE: &str = "/proc/thread-self/ns/net";

/// What was taken down, for whoever has to undo it.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The host's network namespace, as the kernel names it.
    namespace: PathBuf,
    ends: Vec<HostEnd>,
}

/// Host ends that are down as long as this value lives. Dropping it puts back what was.
#[derive(Debug)]
pub struct Cut {
    ends: Vec<HostEnd>,
    record: PathBuf,
}

impl Cut {
    /// Takes those of `ends` down that are up and ports of a bridge, after noting them in the file `record`.
    ///
    /// # Errors
    /// [`Error::Record`], [`Error::Change`]; everything is as it was then.
    pub fn make(ends: &[HostEnd], record: &Path) -> Result<Self, Error> {
        let ends: Vec<_> = ends
            .iter()
            .filter(|end| end.up && end.bridge.is_some())
            .cloned()
            .collect();
        note(&ends, record).map_err(|source| Error::Record {
            path: record.to_owned(),
            source,
        })?;
        let cut = Self {
            ends,
            record: record.to_owned(),
        };
        let netlink = Netlink::open().map_err(Error::Host)?;
        for end in &cut.ends {
            netlink
                .change(end.index, Change::Up(false))
                .map_err(|source| Error::Change {
                    operation: "taking down",
                    name: end.name.clone(),
                    source,
                })?;
        }
        Ok(cut)
    }

    /// The container is gone, and its links with it: nothing is put back.
    pub fn keep(mut self) {
        self.ends.clear();
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Err(error) = put_back(&self.ends) {
            tracing::warn!(%error, "network links of the container stay down");
            return;
        }
        let _ = fs::remove_file(&self.record);
    }
}

/// Undoes what a ckpt that was killed has left cut off, as its record says; without a record there is nothing to do.
///
/// # Errors
/// Where a link that is still there cannot be brought up.
pub fn heal(record: &Path) -> io::Result<()> {
    let Ok(text) = fs::read(record) else { return Ok(()) };
    // A record is complete before anything is cut off, so half of one is of no meaning.
    let Ok(Record { namespace, ends }) = serde_json::from_slice(&text) else {
        return Ok(());
    };
    if fs::read_link(NAMESPACE)? != namespace {
        return Ok(());
    }
    put_back(&ends)?;
    fs::remove_file(record)
}

fn note(ends: &[HostEnd], record: &Path) -> io::Result<()> {
    let content = Record {
        namespace: fs::read_link(NAMESPACE)?,
        ends: ends.to_vec(),
    };
    fs::write(record, serde_json::to_vec(&content)?)
}

/// Brings the ends up that are still there. Every one is tried; the first failure is told.
fn put_back(ends: &[HostEnd]) -> io::Result<()> {
    if ends.is_empty() {
        return Ok(());
    }
    let netlink = Netlink::open()?;
    let here = netlink.interfaces()?;
    let there = |end: &&HostEnd| here.iter().any(|now| (now.index, &now.name) == (end.index, &end.name));
    let mut result = Ok(());
    for end in ends.iter().filter(there) {
        result = result.and(netlink.change(end.index, Change::Up(true)));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Container, interface, with_container};
    use super::super::{here, of_container};
    use super::*;
    use crate::sys::rtnetlink::Interface;

    fn with_ends(test: impl FnOnce(&Container, &Path, Vec<HostEnd>) + Send) {
        with_container(|container| {
            let directory = tempfile::tempdir().unwrap();
            let ends = of_container(container.pid()).unwrap();
            test(container, &directory.path().join(RECORD), ends);
        });
    }

    /// What must be the same afterwards.
    fn all() -> Vec<Interface> {
        here().unwrap()
    }

    #[test]
    fn as_root_a_cut_is_put_back_on_drop() {
        with_ends(|_, record, ends| {
            let before = all();
            let cut = Cut::make(&ends, record).unwrap();
            let down = interface("vethc1").unwrap();
            assert!(!down.up && down.master.is_some(), "{down:?}");
            assert!(record.exists());
            drop(cut);
            assert_eq!(all(), before);
            assert!(!record.exists());
        });
    }

    #[test]
    fn as_root_a_cut_is_put_back_by_a_panic() {
        with_ends(|_, record, ends| {
            let before = all();
            let panicked = std::panic::catch_unwind(|| {
                let _cut = Cut::make(&ends, record).unwrap();
                panic!("in the middle of it");
            });
            assert!(panicked.is_err());
            assert_eq!(all(), before);
        });
    }

    #[test]
    fn as_root_a_cut_that_is_kept_stays_and_its_record_goes() {
        with_ends(|_, record, ends| {
            Cut::make(&ends, record).unwrap().keep();
            assert!(!interface("vethc1").unwrap().up);
            assert!(!record.exists());
        });
    }

    #[test]
    fn as_root_what_a_killed_ckpt_has_left_is_healed() {
        with_ends(|_, record, ends| {
            let before = all();
            // As by SIGKILL: nothing of it is dropped.
            std::mem::forget(Cut::make(&ends, record).unwrap());
            heal(record).unwrap();
            assert_eq!(all(), before);
            assert!(!record.exists());
            heal(record).unwrap();
        });
    }

    #[test]
    fn as_root_only_what_was_cut_off_is_brought_up() {
        with_ends(|_, record, mut ends| {
            let netlink = Netlink::open().unwrap();
            let index = ends[0].index;
            netlink.change(index, Change::Up(false)).unwrap();
            ends[0].up = false;
            drop(Cut::make(&ends, record).unwrap());
            assert!(!interface("vethc1").unwrap().up, "it was down before");
            // An interface of the same number and another name is somebody else's.
            ends[0].up = true;
            let cut = Cut::make(&ends, record).unwrap();
            let mut stranger = ends.clone();
            stranger[0].name = "veth-other".to_owned();
            put_back(&stranger).unwrap();
            assert!(!interface("vethc1").unwrap().up);
            drop(cut);
            assert!(interface("vethc1").unwrap().up);
        });
    }

    #[test]
    fn as_root_an_end_that_is_no_port_is_left_alone() {
        with_ends(|_, record, mut ends| {
            Netlink::open()
                .unwrap()
                .change(ends[0].index, Change::Master(None))
                .unwrap();
            ends[0].bridge = None;
            let _cut = Cut::make(&ends, record).unwrap();
            assert!(interface("vethc1").unwrap().up, "the routes through it would be lost");
        });
    }

    #[test]
    fn as_root_a_link_that_is_gone_is_no_failure() {
        with_ends(|_, record, ends| {
            let cut = Cut::make(&ends, record).unwrap();
            Netlink::open().unwrap().remove(ends[0].index).unwrap();
            drop(cut);
            assert!(!record.exists());
        });
    }

    #[test]
    fn a_record_that_cannot_be_written_cuts_nothing_off() {
        let error = Cut::make(&[], Path::new("/nonexistent/links.json")).unwrap_err();
        assert!(matches!(error, Error::Record { .. }), "{error}");
    }

    #[test]
    fn records_of_nobody_are_nothing_to_heal() {
        let directory = tempfile::tempdir().unwrap();
        let record = directory.path().join(RECORD);
        heal(&record).unwrap();
        for text in ["", "{", "{\"namespace\":\"net:[1]\",\"ends\":[]}"] {
            fs::write(&record, text).unwrap();
            heal(&record).unwrap();
        }
    }
}
