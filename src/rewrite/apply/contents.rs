//! What the application of a plan takes from others: the verified content of the archive.

use std::io::Read;
use std::path::Path;

use crate::rewrite::plan::Step;

/// Why content could not be had or put in place.
pub type ContentsError = Box<dyn std::error::Error + Send + Sync>;

/// The verified content of an archive.
pub trait Contents {
    /// Opens an entry; `None` where the archive has none of that name.
    ///
    /// # Errors
    /// When it cannot be read.
    fn open<'a>(&'a mut self, entry: &str) -> Result<Option<Box<dyn Read + 'a>>, ContentsError>;

    /// Puts CRIU's images, `descriptors.json` and the images of earlier archives into `directory`, which is new, empty
    /// and of mode 0700.
    ///
    /// # Errors
    /// When they cannot be read or written.
    fn place_images(&mut self, directory: &Path) -> Result<(), ContentsError>;

    /// Changes the images in `directory` so that they call the container's network namespace external
    /// (`criu::set_image_netns`): this module knows no images.
    ///
    /// # Errors
    /// When they are not what they should be, or cannot be written.
    fn make_netns_external(&mut self, directory: &Path) -> Result<(), ContentsError>;

    /// Asked before each step; an error stops the import there, and what was made is taken away.
    ///
    /// # Errors
    /// When the import is to stop.
    fn proceed(&mut self, _: &Step) -> Result<(), ContentsError> {
        Ok(())
    }
}
