//! Leaves pages of zeros out of the images that an import stages, where fresh memory does as well; see [`zeros`].
//!
//! Invariant: images that are not understood to the last byte are staged as they were dumped.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::archive::format::CHECKPOINT;
use crate::archive::{Blocks, Entry, THIN_BLOCK};
use crate::criu::images::Pagemap;
use crate::criu::zeros::{self, Areas};

/// The largest image that is read for this: a pagemap of 400,000 ranges, which take 30 MiB of memory. What is larger is left as
/// it is, so that memory stays bounded.
const MAX_IMAGE: u64 = 8 << 20;

/// What may be left out of which pages image.
#[derive(Debug, Default)]
pub(super) struct Thinning {
    /// By the name of the pages image's entry.
    images: BTreeMap<String, Thin>,
}

/// What may be left out of one pages image.
#[derive(Debug)]
struct Thin {
    /// Its pagemap.
    file: PathBuf,
    pagemap: Pagemap,
    optional: Blocks,
}

impl Thinning {
    /// Of the small images that are staged in `directory`.
    pub(super) fn of(directory: &Path) -> Self {
        let images = directory.join(CHECKPOINT);
        Self {
            // What cannot be read now, the restore says.
            images: pagemaps(&images).ok().flatten().unwrap_or_default(),
        }
    }

    /// What may be left out of an entry.
    pub(super) fn optional(&self, entry: &Entry) -> Option<Blocks> {
        let thin = self.images.get(entry.path.as_str())?;
        let pages = thin.pagemap.count(crate::criu::images::PE_PRESENT);
        (pages.checked_mul(THIN_BLOCK) == Some(entry.size)).then(|| thin.optional.clone())
    }

    /// Writes the pagemaps of the images that something was left out of.
    pub(super) fn finish(&self, left_out: &HashMap<String, Blocks>) -> io::Result<()> {
        for (name, pages) in left_out.iter().filter(|(_, pages)| !pages.is_empty()) {
            if let Some(thin) = self.images.get(name) {
                fs::write(&thin.file, zeros::without(&thin.pagemap, pages).encode())?;
            }
        }
        Ok(())
    }
}

/// What may be left out, by the name of the pages image's entry; `None` where a pagemap is of another kind than is known.
fn pagemaps(images: &Path) -> io::Result<Option<BTreeMap<String, Thin>>> {
    let (mut thin, mut uses) = (BTreeMap::new(), HashMap::<String, usize>::new());
    for entry in fs::read_dir(images)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("pagemap-") {
            continue;
        }
        let pagemap = match read(&entry.path())? {
            Some(image) => Pagemap::parse(&name, &image).ok().filter(|map| map.encode() == image),
            None => None,
        };
        let Some(pagemap) = pagemap else {
            return Ok(None);
        };
        let pages = format!("{CHECKPOINT}/pages-{}.img", pagemap.pages_id);
        *uses.entry(pages.clone()).or_default() += 1;
        if let Some(areas) = areas(images, &name) {
            let optional = zeros::optional(&pagemap, &areas);
            let file = entry.path();
            thin.insert(
                pages,
                Thin {
                    file,
                    pagemap,
                    optional,
                },
            );
        }
    }
    // One image for two pagemaps is nothing that CRIU makes.
    thin.retain(|pages, _| uses.get(pages) == Some(&1));
    Ok(Some(thin))
}

/// The memory areas of the task that a pagemap is of; `None` where it is not that of a task.
fn areas(images: &Path, pagemap: &str) -> Option<Areas> {
    let id: u32 = pagemap.strip_prefix("pagemap-")?.strip_suffix(".img")?.parse().ok()?;
    let name = format!("mm-{id}.img");
    let image = read(&images.join(&name)).ok()??;
    Areas::parse(&name, &image).ok()
}

/// The content of an image that is not too large.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    if fs::metadata(path)?.len() > MAX_IMAGE {
        return Ok(None);
    }
    fs::read(path).map(Some)
}
