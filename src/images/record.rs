//! The frame of CRIU's images: two magic numbers, then records of a length and a protobuf message.
//!
//! Invariant: a message is decoded only after its length and, for those with long lists, the number of its fields were
//! found to be within bounds: an empty element of a list takes two bytes of an image and a hundred of memory.

use prost::Message;

use super::error::{Error, Problem};
use super::limits::MAX_MESSAGE;

const COMMON_MAGIC: u32 = 0x5456_4319;

/// A kind of image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    magic: u32,
    /// Longest message, bytes.
    longest: usize,
    /// Most fields of a message.
    fields: usize,
}

impl Kind {
    const fn new(magic: u32) -> Self {
        Self {
            magic,
            longest: MAX_MESSAGE,
            fields: usize::MAX,
        }
    }

    const fn long(self, longest: usize, fields: usize) -> Self {
        Self {
            longest,
            fields,
            ..self
        }
    }
}

// Magic numbers: criu/include/magic.h.
/// One message holds the ids of all threads of a process.
pub(super) const PSTREE: Kind = Kind::new(0x5027_3030).long(4 << 20, super::limits::MAX_THREADS + 64);
pub(super) const CORE: Kind = Kind::new(0x5505_3847).long(256 << 10, 1024);
pub(super) const IDS: Kind = Kind::new(0x5443_2030);
pub(super) const MM: Kind = Kind::new(0x5749_2820).long(super::limits::MAX_MM, super::limits::MAX_MAPPINGS + 1024);
pub(super) const FDINFO: Kind = Kind::new(0x5621_3732);
/// An epoll descriptor lists all that it watches in one message.
pub(super) const FILES: Kind = Kind::new(0x5630_3138).long(4 << 20, usize::MAX);
pub(super) const FS: Kind = Kind::new(0x5140_3912);
pub(super) const MOUNTS: Kind = Kind::new(0x5556_3928);
pub(super) const TCP_STREAM: Kind = Kind::new(0x5146_5506);
pub(super) const NETDEV: Kind = Kind::new(0x5737_3951);
pub(super) const UTSNS: Kind = Kind::new(0x5447_3203);
pub(super) const TTY_INFO: Kind = Kind::new(0x5945_3036);
pub(super) const MEMFD: Kind = Kind::new(0x4845_3499);
pub(super) const CGROUP: Kind = Kind::new(0x5938_3330).long(super::limits::MAX_CGROUP, super::limits::MAX_CGROUPS);
pub(super) const PAGEMAP: Kind = Kind::new(0x5608_4025);

/// The messages of an image, still encoded.
#[derive(Debug)]
pub(super) struct Records<'a> {
    name: &'a str,
    kind: Kind,
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// The records of the image `name`, which is of that kind.
    pub(super) fn of(kind: Kind, name: &'a str, image: &'a [u8]) -> Result<Self, Error> {
        let head = [COMMON_MAGIC.to_le_bytes(), kind.magic.to_le_bytes()].concat();
        let rest = image.strip_prefix(head.as_slice());
        rest.map(|rest| Self { name, kind, rest })
            .ok_or_else(|| Error::image(name, Problem::Magic))
    }

    /// Decodes all of them, each as `T`.
    pub(super) fn decoded<T: Message + Default>(self) -> impl Iterator<Item = Result<T, Error>> {
        let name = self.name;
        self.map(move |message| decode(name, message?))
    }

    fn cut(&mut self) -> Result<&'a [u8], Problem> {
        let (length, rest) = self.rest.split_first_chunk().ok_or(Problem::CutOff)?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > self.kind.longest {
            return Err(Problem::TooLong);
        }
        let (message, rest) = rest.split_at_checked(length).ok_or(Problem::CutOff)?;
        if self.kind.fields != usize::MAX && count_fields(message) > self.kind.fields {
            return Err(Problem::TooLong);
        }
        self.rest = rest;
        Ok(message)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<&'a [u8], Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = self.cut();
        if message.is_err() {
            self.rest = &[];
        }
        Some(message.map_err(|problem| Error::image(self.name, problem)))
    }
}

/// Decodes a message.
pub(super) fn decode<T: Message + Default>(name: &str, message: &[u8]) -> Result<T, Error> {
    T::decode(message).map_err(|_| Error::image(name, Problem::Message))
}

/// The only record of an image, or the first.
pub(super) fn first<T: Message + Default>(kind: Kind, name: &str, image: &[u8]) -> Result<T, Error> {
    let mut records = Records::of(kind, name, image)?.decoded();
    records.next().ok_or_else(|| Error::image(name, Problem::Empty))?
}

/// Number of fields of a message; what is not well formed ends the count, and is refused by the decoder.
fn count_fields(mut message: &[u8]) -> usize {
    let mut count = 0;
    while let Ok((_, kind)) = prost::encoding::decode_key(&mut message) {
        let skipped = match kind {
            prost::encoding::WireType::Varint => prost::encoding::decode_varint(&mut message).map(|_| 0),
            prost::encoding::WireType::SixtyFourBit => Ok(8),
            prost::encoding::WireType::ThirtyTwoBit => Ok(4),
            prost::encoding::WireType::LengthDelimited => prost::encoding::decode_varint(&mut message),
            // Groups do not occur; the decoder refuses them.
            _ => return count,
        };
        let skip = skipped.ok().and_then(|length| usize::try_from(length).ok());
        let Some(rest) = skip.and_then(|length| message.get(length..)) else {
            return count;
        };
        message = rest;
        count += 1;
    }
    count
}

/// An image of these messages, for tests.
#[cfg(test)]
pub(super) fn image<T: Message>(kind: Kind, messages: &[T]) -> Vec<u8> {
    let mut image = [COMMON_MAGIC.to_le_bytes(), kind.magic.to_le_bytes()].concat();
    for message in messages {
        let message = message.encode_to_vec();
        image.extend((message.len() as u32).to_le_bytes());
        image.extend(message);
    }
    image
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::proto::{Fs, Mm, Pstree, Vma};
    use super::*;

    fn sample() -> Vec<u8> {
        let task = |pid| Pstree {
            pid,
            threads: vec![pid, pid + 1],
            ..Pstree::default()
        };
        image(PSTREE, &[task(1), task(7)])
    }

    #[test]
    fn records_are_decoded_in_their_order() {
        let sample = sample();
        let records = Records::of(PSTREE, "pstree.img", &sample).unwrap().decoded::<Pstree>();
        let pids: Vec<u32> = records.map(|task| task.unwrap().pid).collect();
        assert_eq!(pids, [1, 7]);
    }

    #[test]
    fn every_truncation_is_an_error_or_fewer_records() {
        let sample = sample();
        for length in 0..sample.len() {
            match Records::of(PSTREE, "x", &sample[..length]) {
                Err(Error::Image { problem, .. }) => assert_eq!((problem, length < 8), (Problem::Magic, true)),
                Err(error) => panic!("{error}"),
                Ok(records) => {
                    let records: Vec<_> = records.collect();
                    assert!(records.len() < 2 || records[1].is_err(), "{length}");
                }
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let giant = [image::<Fs>(FS, &[]), u32::MAX.to_le_bytes().to_vec()].concat();
        let long = [image::<Fs>(FS, &[]), 9_u32.to_le_bytes().to_vec()].concat();
        let nonsense = [image::<Fs>(FS, &[]), vec![2, 0, 0, 0, 0xff, 0xff]].concat();
        let many = Mm {
            vmas: vec![Vma::default(); super::super::limits::MAX_MAPPINGS + 2000],
            ..Mm::default()
        };
        let cases = [
            (
                first::<Fs>(FS, "fs-1.img", &image(IDS, &[Fs::default()])).err(),
                Problem::Magic,
            ),
            (first::<Fs>(FS, "fs-1.img", &image::<Fs>(FS, &[])).err(), Problem::Empty),
            (first::<Fs>(FS, "fs-1.img", &giant).err(), Problem::TooLong),
            (first::<Fs>(FS, "fs-1.img", &long).err(), Problem::CutOff),
            (first::<Fs>(FS, "fs-1.img", &nonsense).err(), Problem::Message),
            (first::<Mm>(MM, "fs-1.img", &image(MM, &[many])).err(), Problem::TooLong),
        ];
        for (error, want) in cases {
            let Some(Error::Image { problem, image }) = error else {
                panic!("{error:?}")
            };
            assert_eq!((problem, image.as_str()), (want, "fs-1.img"));
        }
    }

    proptest! {
        #[test]
        fn whatever_an_image_holds_is_records_or_an_error(bytes: Vec<u8>) {
            let image = [image::<Fs>(FS, &[]), bytes].concat();
            let records = Records::of(FS, "x", &image).unwrap().decoded::<Fs>();
            prop_assert!(records.count() <= image.len());
            let _ = first::<Mm>(FS, "x", &image);
        }
    }
}
