//! Where images come from.

use super::error::{Error, Problem};
use super::limits::MAX_IMAGE;

/// An image that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name without a directory, such as `core-1.img`.
    pub name: String,
    /// Its size, bytes.
    pub size: u64,
}

/// The images of one checkpoint.
pub trait ImageSource {
    /// All images.
    fn images(&self) -> &[Image];

    /// The content of an image of at most [`MAX_IMAGE`] bytes.
    ///
    /// # Errors
    /// [`Error::Missing`]; [`Error::Image`] where it is larger; [`Error::Read`].
    fn read(&self, name: &str) -> Result<Vec<u8>, Error>;

    /// Fills `buffer` with the bytes of a `pages-N.img` from `offset` on. Says `false` where they are not at hand: there is no
    /// such image, it ends before, or this source has kept other parts of it.
    ///
    /// # Errors
    /// [`Error::Read`].
    fn pages(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<bool, Error>;

    /// Says that so many bytes of a `pages-N.img` from `offset` on will be asked for soon, in order.
    fn ahead(&self, _name: &str, _offset: u64, _length: u64) {}

    /// The size of an image, bytes; `None` where there is none.
    fn size(&self, name: &str) -> Option<u64> {
        self.images()
            .iter()
            .find(|image| image.name == name)
            .map(|image| image.size)
    }

    /// Like [`ImageSource::read`], but `None` for an image that is not there.
    ///
    /// # Errors
    /// As those of [`ImageSource::read`].
    fn find(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.read(name) {
            Ok(image) => Ok(Some(image)),
            Err(Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The images `PREFIX-N.img` with their N, by N.
    fn numbered(&self, prefix: &str) -> Vec<(u64, String)> {
        let number = |image: &Image| {
            let number = image
                .name
                .strip_prefix(prefix)?
                .strip_prefix('-')?
                .strip_suffix(".img")?;
            Some((number.parse().ok()?, image.name.clone()))
        };
        let mut found: Vec<_> = self.images().iter().filter_map(number).collect();
        found.sort();
        found
    }
}

/// Refuses what is too large to be read whole.
pub(super) fn check_size(name: &str, size: u64) -> Result<(), Error> {
    if size > MAX_IMAGE {
        return Err(Error::image(name, Problem::TooLarge));
    }
    Ok(())
}
