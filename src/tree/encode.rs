//! An entry as the bytes of a tar: PAX header where ustar cannot say it, ustar header, sparse map.

use super::error::Unpackable;
use super::header::{BLOCK, Fields, OCTAL_8_MAX, OCTAL_12_MAX};
use super::limits;
use super::meta::{Device, Entry, Kind, Meta};
use super::pax::Records;

/// What ends a tar.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Length of the name and linkname fields of ustar, bytes.
const NAME_FIELD: usize = 100;
/// Name of PAX headers themselves, which only readers without PAX see.
const PAX_NAME: &[u8] = b"././@PaxHeader";
/// Directory that the header name of a sparse file is in, for readers that do not know sparse files.
const SPARSE_DIR: &[u8] = b"GNUSparseFile.0/";

/// Bytes that come before the content of an entry, whole blocks.
///
/// # Errors
/// [`Unpackable::Xattrs`] when its extended attributes exceed the limit.
pub(crate) fn encode(entry: &Entry) -> Result<Vec<u8>, Unpackable> {
    let parts = Parts::of(entry);
    let mut records = Records::default();
    let fields = parts.fields(entry, &mut records);
    for (name, value) in &entry.meta.xattrs {
        records.push_xattr(name, value);
    }
    let records = records.into_bytes();
    if records.len() as u64 > limits::WRITE_PAX {
        return Err(Unpackable::Xattrs(limits::WRITE_PAX));
    }
    let mut bytes = Vec::with_capacity(3 * BLOCK);
    if !records.is_empty() {
        let header = Fields {
            name: PAX_NAME,
            size: records.len() as u64,
            typeflag: b'x',
            ..Fields::default()
        };
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(&records);
        pad(&mut bytes);
    }
    bytes.extend_from_slice(&fields.encode());
    bytes.extend_from_slice(&parts.map);
    Ok(bytes)
}

/// Fills up to a whole block.
fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
}

/// Bytes of padding behind content of this length.
pub(crate) const fn padding(len: u64) -> u64 {
    len.next_multiple_of(BLOCK as u64) - len
}

/// What the kind of an entry puts into its header.
struct Parts<'a> {
    /// Name as tars spell it: directories end in a slash.
    name: Vec<u8>,
    /// Name as the header has it, cut to its field when that is too short.
    header_name: Vec<u8>,
    typeflag: u8,
    link: &'a [u8],
    device: Device,
    /// Bytes behind the header: sparse map and data.
    stored: u64,
    /// The encoded sparse map.
    map: Vec<u8>,
    /// Size with holes, of a sparse file.
    real_size: Option<u64>,
}

impl<'a> Parts<'a> {
    fn of(entry: &'a Entry) -> Self {
        let mut parts = Self {
            name: entry.path.as_bytes().to_vec(),
            header_name: Vec::new(),
            typeflag: b'0',
            link: &[],
            device: Device::WHITEOUT,
            stored: entry.kind.data_len(),
            map: Vec::new(),
            real_size: None,
        };
        match &entry.kind {
            Kind::File { sparse: None, .. } => {}
            Kind::File {
                size,
                sparse: Some(map),
            } => {
                parts.real_size = Some(*size);
                parts.map = map.encode(*size);
                parts.stored += parts.map.len() as u64;
            }
            Kind::Directory => {
                parts.typeflag = b'5';
                parts
                    .name
                    .extend_from_slice(if entry.path.is_root() { b"./" } else { b"/" });
            }
            Kind::Symlink(target) => (parts.typeflag, parts.link) = (b'2', target),
            Kind::HardLink(target) => (parts.typeflag, parts.link) = (b'1', target.as_bytes()),
            Kind::Char(device) => (parts.typeflag, parts.device) = (b'3', *device),
            Kind::Block(device) => (parts.typeflag, parts.device) = (b'4', *device),
            Kind::Fifo => parts.typeflag = b'6',
        }
        parts.header_name = match (parts.real_size, entry.path.split()) {
            (Some(_), Some((_, base))) => [SPARSE_DIR, base].concat(),
            _ => parts.name.clone(),
        };
        parts
    }

    /// The header, and records for what it cannot hold.
    fn fields(&'a self, entry: &'a Entry, records: &mut Records) -> Fields<'a> {
        let Meta {
            mode, uid, gid, mtime, ..
        } = entry.meta;
        match self.real_size {
            Some(size) => {
                records.push(b"GNU.sparse.major", b"1");
                records.push(b"GNU.sparse.minor", b"0");
                records.push(b"GNU.sparse.name", &self.name);
                records.push_number(b"GNU.sparse.realsize", size);
            }
            None if self.name.len() > NAME_FIELD => records.push(b"path", &self.name),
            None => {}
        }
        if self.link.len() > NAME_FIELD {
            records.push(b"linkpath", self.link);
        }
        if self.stored > OCTAL_12_MAX {
            records.push_number(b"size", self.stored);
        }
        for (key, id) in [(b"uid", uid), (b"gid", gid)] {
            if u64::from(id) > OCTAL_8_MAX {
                records.push_number(key, id.into());
            }
        }
        if mtime.nsec != 0 || !u64::try_from(mtime.sec).is_ok_and(|sec| sec <= OCTAL_12_MAX) {
            records.push_mtime(mtime);
        }
        Fields {
            name: &self.header_name,
            mode,
            uid,
            gid,
            size: self.stored,
            mtime: mtime.sec,
            typeflag: self.typeflag,
            link: self.link,
            major: self.device.major,
            minor: self.device.minor,
        }
    }
}
