//! The network namespace in a set of images: its own, or one that is handed to CRIU at restore.
//!
//! CRIU restores into a namespace from outside only what was dumped as external, and `--join-ns`, the other way, is refused
//! beside the `--empty-ns` that runc always sends. What makes a namespace external is one field of `netns-ID.img`, the key
//! under which runc and crun hand the namespace of the configuration to CRIU. So an image with that key, or its absence,
//! is all that is needed to restore any container into any namespace.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;

use super::Error;
use super::images::{COMMON_MAGIC, Records};

const IDS_MAGIC: u32 = 0x5443_2030;
const NETNS_MAGIC: u32 = 0x5593_3752;
/// The key that runc and crun use for the namespace in config.json.
const KEY: &str = "extRootNetNS";
/// Largest `ids` or `netns` image that is read, bytes; real ones have a few hundred.
const IMAGE_LIMIT: u64 = 1024 * 1024;

/// What kinds of kernel objects a task shares with others; of CRIU's `task_kobj_ids_entry` only the one needed.
#[derive(Clone, PartialEq, Eq, Message)]
struct TaskIds {
    #[prost(uint32, optional, tag = "6")]
    net_ns_id: Option<u32>,
}

/// CRIU's `netns_entry`, of which an external namespace has nothing but the key.
#[derive(Clone, PartialEq, Eq, Message)]
struct NetnsEntry {
    #[prost(string, optional, tag = "8")]
    ext_key: Option<String>,
}

/// How the network namespace stands in a set of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageNetns {
    /// The tasks were in the host's namespace: none was dumped.
    Host,
    /// It belongs to the container, and CRIU makes it anew.
    Own,
    /// The runtime hands it to CRIU.
    External,
}

/// How the network namespace stands in the images of `directory`.
///
/// # Errors
/// [`Error::Image`] where the images are not what they should be, or the tasks have several network namespaces.
pub fn image_netns(directory: &Path) -> Result<ImageNetns, Error> {
    let Some(path) = netns_image(directory)? else {
        return Ok(ImageNetns::Host);
    };
    if !path.exists() {
        return Ok(ImageNetns::Own);
    }
    let image = read(&path)?;
    let name = name_of(&path);
    let mut records = Records::open(&name, &image, NETNS_MAGIC)?;
    let external = match records.next() {
        Some(record) => NetnsEntry::decode(record?).is_ok_and(|entry| entry.ext_key.is_some()),
        None => false,
    };
    Ok(if external {
        ImageNetns::External
    } else {
        ImageNetns::Own
    })
}

/// Makes the namespace in the images of `directory` external, or the container's own.
///
/// # Errors
/// [`Error::Image`] as for [`image_netns`], and where the tasks were in the host's namespace: there is nothing to change
/// then. [`Error::Io`] where the image cannot be written.
pub fn set_image_netns(directory: &Path, wanted: ImageNetns) -> Result<(), Error> {
    let path = netns_image(directory)?.ok_or(Error::Image {
        image: "ids-1.img".to_owned(),
        why: "the container had no network namespace of its own",
    })?;
    if image_netns(directory)? == wanted {
        return Ok(());
    }
    if wanted == ImageNetns::External {
        return fs::write(&path, external_image()).map_err(|error| Error::io("writing", path, error));
    }
    fs::remove_file(&path).map_err(|error| Error::io("removing", path, error))
}

fn external_image() -> Vec<u8> {
    let message = NetnsEntry {
        ext_key: Some(KEY.to_owned()),
    }
    .encode_to_vec();
    let mut image = [COMMON_MAGIC.to_le_bytes(), NETNS_MAGIC.to_le_bytes()].concat();
    image.extend((message.len() as u32).to_le_bytes());
    image.extend(message);
    image
}

/// The path of the one `netns-ID.img` of these tasks, whether it exists or not.
fn netns_image(directory: &Path) -> Result<Option<PathBuf>, Error> {
    let mut found: Option<u32> = None;
    for entry in fs::read_dir(directory).map_err(|error| Error::io("listing", directory, error))? {
        let path = entry.map_err(|error| Error::io("listing", directory, error))?.path();
        let name = name_of(&path);
        if !(name.starts_with("ids-") && name.ends_with(".img")) {
            continue;
        }
        let id = net_ns_id(&name, &read(&path)?)?;
        if found.is_some() && id.is_some() && found != id {
            return Err(Error::Image {
                image: name,
                why: "the tasks have several network namespaces",
            });
        }
        found = found.or(id);
    }
    Ok(found.map(|id| directory.join(format!("netns-{id}.img"))))
}

fn net_ns_id(name: &str, image: &[u8]) -> Result<Option<u32>, Error> {
    let bad = |why| Error::Image {
        image: name.to_owned(),
        why,
    };
    let mut records = Records::open(name, image, IDS_MAGIC)?;
    let record = records.next().ok_or_else(|| bad("it is empty"))??;
    let ids = TaskIds::decode(record).map_err(|_| bad("not a protobuf message"))?;
    Ok(ids.net_ns_id.filter(|id| *id != 0))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let length = fs::metadata(path)
        .map_err(|error| Error::io("reading", path, error))?
        .len();
    if length > IMAGE_LIMIT {
        return Err(Error::Image {
            image: name_of(path),
            why: "larger than any real one",
        });
    }
    fs::read(path).map_err(|error| Error::io("reading", path, error))
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(net_ns_ids: &[u32]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (index, id) in net_ns_ids.iter().enumerate() {
            let message = TaskIds { net_ns_id: Some(*id) }.encode_to_vec();
            let mut image = [COMMON_MAGIC.to_le_bytes(), IDS_MAGIC.to_le_bytes()].concat();
            image.extend((message.len() as u32).to_le_bytes());
            image.extend(message);
            fs::write(directory.path().join(format!("ids-{}.img", index + 1)), image).unwrap();
        }
        directory
    }

    #[test]
    fn an_own_namespace_becomes_external_and_own_again() {
        let directory = images(&[10, 10]);
        assert_eq!(image_netns(directory.path()).unwrap(), ImageNetns::Own);
        set_image_netns(directory.path(), ImageNetns::External).unwrap();
        assert!(directory.path().join("netns-10.img").exists());
        assert_eq!(image_netns(directory.path()).unwrap(), ImageNetns::External);
        set_image_netns(directory.path(), ImageNetns::Own).unwrap();
        assert_eq!(image_netns(directory.path()).unwrap(), ImageNetns::Own);
    }

    #[test]
    fn the_host_s_namespace_cannot_be_changed_and_two_are_refused() {
        let directory = images(&[0]);
        assert_eq!(image_netns(directory.path()).unwrap(), ImageNetns::Host);
        assert!(set_image_netns(directory.path(), ImageNetns::External).is_err());
        assert!(image_netns(images(&[10, 11]).path()).is_err());
    }
}
