//! One header block of a tar: ustar as we write it, ustar and old GNU as we read it.
//!
//! Reading is strict: whatever two readers could understand differently (a wrong checksum, text behind a NUL, numbers
//! with strange digits) is a defect.

/// Size of a tar block, bytes.
pub const BLOCK: usize = 512;

/// Magic and version of POSIX ustar.
const USTAR: &[u8; 8] = b"ustar\x0000";
/// Magic and version of old GNU.
const GNU: &[u8; 8] = b"ustar  \0";

/// Largest number that fits a 12-byte octal field: 8 GiB - 1.
pub const OCTAL_12_MAX: u64 = 0o77_777_777_777;
/// Largest number that fits an 8-byte octal field.
pub const OCTAL_8_MAX: u64 = 0o7_777_777;

/// A field of the block.
#[derive(Clone, Copy)]
struct Field(&'static str, usize, usize);

const NAME: Field = Field("name", 0, 100);
const MODE: Field = Field("mode", 100, 8);
const UID: Field = Field("uid", 108, 8);
const GID: Field = Field("gid", 116, 8);
const SIZE: Field = Field("size", 124, 12);
const MTIME: Field = Field("mtime", 136, 12);
const CHECKSUM: Field = Field("checksum", 148, 8);
const TYPE: usize = 156;
const LINK: Field = Field("linkname", 157, 100);
const MAGIC: Field = Field("magic", 257, 8);
const MAJOR: Field = Field("devmajor", 329, 8);
const MINOR: Field = Field("devminor", 337, 8);
const PREFIX: Field = Field("prefix", 345, 155);
/// Old GNU: four regions of a sparse file, 12 bytes of offset and 12 of length each.
const GNU_SPARSE: usize = 386;
/// Old GNU: whether a block with more regions follows.
const GNU_EXTENDED: usize = 482;
const GNU_REALSIZE: Field = Field("realsize", 483, 12);

/// Regions in an old GNU header.
const GNU_REGIONS: usize = 4;
/// Regions in an old GNU extension block, and where its own "extended" flag is.
const GNU_EXTENSION_REGIONS: usize = 21;
const GNU_EXTENSION_EXTENDED: usize = 504;

impl Field {
    fn of(self, block: &[u8; BLOCK]) -> &[u8] {
        &block[self.1..self.1 + self.2]
    }

    fn put(self, block: &mut [u8; BLOCK], value: &[u8]) {
        let len = value.len().min(self.2);
        block[self.1..self.1 + len].copy_from_slice(&value[..len]);
    }

    /// Writes a number in octal, all digits but the last byte, or zero when it does not fit (PAX then has it).
    fn put_octal(self, block: &mut [u8; BLOCK], value: u64) {
        let digits = self.2 - 1;
        let fits = value < 1 << (3 * digits);
        let text = format!("{:0digits$o}", if fits { value } else { 0 });
        self.put(block, text.as_bytes());
    }
}

/// What is wrong with a header block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderDefect {
    /// Its checksum is wrong.
    #[error("header checksum is wrong")]
    Checksum,
    /// It is neither POSIX nor GNU.
    #[error("neither a POSIX nor a GNU tar header")]
    Magic,
    /// A number is malformed or out of range.
    #[error("header field {0} is not a number in range")]
    Number(&'static str),
    /// Text goes on behind a NUL.
    #[error("header field {0} holds text behind a NUL")]
    HiddenText(&'static str),
}

/// What goes into a header block. Numbers that do not fit are written as zero: PAX has to carry them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fields<'a> {
    pub name: &'a [u8],
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub mtime: i64,
    pub typeflag: u8,
    pub link: &'a [u8],
    pub major: u32,
    pub minor: u32,
}

impl Fields<'_> {
    /// The block, with its checksum.
    pub fn encode(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        NAME.put(&mut block, self.name);
        MODE.put_octal(&mut block, u64::from(self.mode));
        UID.put_octal(&mut block, u64::from(self.uid));
        GID.put_octal(&mut block, u64::from(self.gid));
        SIZE.put_octal(&mut block, self.size);
        MTIME.put_octal(&mut block, u64::try_from(self.mtime).unwrap_or(0));
        block[TYPE] = self.typeflag;
        LINK.put(&mut block, self.link);
        MAGIC.put(&mut block, USTAR);
        MAJOR.put_octal(&mut block, u64::from(self.major));
        MINOR.put_octal(&mut block, u64::from(self.minor));
        let text = format!("{:06o}\0 ", checksum(&block));
        CHECKSUM.put(&mut block, text.as_bytes());
        block
    }
}

/// Sum of all bytes, those of the checksum field taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|&b| u64::from(b)).sum::<u64>();
    sum(block) - sum(CHECKSUM.of(block)) + u64::from(b' ') * CHECKSUM.2 as u64
}

/// A header block, read.
#[derive(Debug)]
pub(super) struct Header {
    /// Name, with the prefix before it.
    pub name: Vec<u8>,
    /// Low twelve bits of the mode.
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub size: u64,
    pub mtime: i64,
    pub typeflag: u8,
    pub link: Vec<u8>,
    pub major: u64,
    pub minor: u64,
    /// Whether it has the old GNU magic.
    pub gnu: bool,
}

impl Header {
    pub fn decode(block: &[u8; BLOCK]) -> Result<Self, HeaderDefect> {
        if number(CHECKSUM, CHECKSUM.of(block))? != Some(checksum(block)) {
            return Err(HeaderDefect::Checksum);
        }
        let magic = MAGIC.of(block);
        let gnu = magic == GNU;
        if !gnu && magic != USTAR {
            return Err(HeaderDefect::Magic);
        }
        let mut name = text(NAME, block)?.to_vec();
        let prefix = match gnu {
            false => text(PREFIX, block)?,
            // Old GNU has other fields there, of which only those of sparse files are known here. Python reads a prefix.
            true if block[TYPE] != b'S' && PREFIX.of(block).iter().any(|&b| b != 0) => {
                return Err(HeaderDefect::HiddenText(PREFIX.0));
            }
            true => &[],
        };
        if !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        Ok(Self {
            name,
            mode: (positive(MODE, block)? & 0o7777) as u32,
            uid: positive(UID, block)?,
            gid: positive(GID, block)?,
            size: positive(SIZE, block)?,
            mtime: signed(MTIME, block)?,
            typeflag: block[TYPE],
            link: text(LINK, block)?.to_vec(),
            major: positive(MAJOR, block)?,
            minor: positive(MINOR, block)?,
            gnu,
        })
    }
}

/// Name in a block that may be damaged, for messages.
pub(super) fn name_for_messages(block: &[u8; BLOCK]) -> &[u8] {
    let name = NAME.of(block);
    name.split(|&b| b == 0).next().unwrap_or(name)
}

/// One region of an old GNU sparse map: offset and length.
pub(super) type RawRegion = (u64, u64);

/// Sparse fields of an old GNU header: regions, the size of the file, and whether extension blocks follow.
pub(super) fn gnu_sparse(block: &[u8; BLOCK]) -> Result<(Vec<RawRegion>, u64, bool), HeaderDefect> {
    let regions = gnu_regions(&block[GNU_SPARSE..], GNU_REGIONS)?;
    Ok((regions, positive(GNU_REALSIZE, block)?, block[GNU_EXTENDED] != 0))
}

/// An old GNU extension block: regions, and whether another follows.
pub(super) fn gnu_sparse_extension(block: &[u8; BLOCK]) -> Result<(Vec<RawRegion>, bool), HeaderDefect> {
    Ok((
        gnu_regions(block, GNU_EXTENSION_REGIONS)?,
        block[GNU_EXTENSION_EXTENDED] != 0,
    ))
}

/// Regions up to the first unused slot.
fn gnu_regions(bytes: &[u8], count: usize) -> Result<Vec<RawRegion>, HeaderDefect> {
    let field = Field("sparse", 0, 12);
    let mut regions = Vec::new();
    for slot in bytes.chunks_exact(24).take(count) {
        match (number(field, &slot[..12])?, number(field, &slot[12..])?) {
            (Some(offset), Some(len)) => regions.push((offset, len)),
            (None, None) => break,
            _ => return Err(HeaderDefect::Number(field.0)),
        }
    }
    Ok(regions)
}

/// Text up to its NUL; nothing but NULs may follow.
fn text(field: Field, block: &[u8; BLOCK]) -> Result<&[u8], HeaderDefect> {
    let bytes = field.of(block);
    let len = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    if bytes[len..].iter().all(|&b| b == 0) {
        Ok(&bytes[..len])
    } else {
        Err(HeaderDefect::HiddenText(field.0))
    }
}

/// A number that an unused field stands for with zero.
fn positive(field: Field, block: &[u8; BLOCK]) -> Result<u64, HeaderDefect> {
    Ok(number(field, field.of(block))?.unwrap_or(0))
}

/// A number that may be negative (only GNU's base 256 can say so).
fn signed(field: Field, block: &[u8; BLOCK]) -> Result<i64, HeaderDefect> {
    let bytes = field.of(block);
    if bytes[0] == 0xff {
        let (sign, low) = bytes.split_at(bytes.len() - 8);
        let value = i64::from_be_bytes(low.try_into().map_err(|_| HeaderDefect::Number(field.0))?);
        return if sign.iter().all(|&b| b == 0xff) && value < 0 {
            Ok(value)
        } else {
            Err(HeaderDefect::Number(field.0))
        };
    }
    i64::try_from(positive(field, block)?).map_err(|_| HeaderDefect::Number(field.0))
}

/// A number in octal (spaces before, spaces or NULs after) or in GNU's base 256. None where the field is unused.
fn number(field: Field, bytes: &[u8]) -> Result<Option<u64>, HeaderDefect> {
    let bad = HeaderDefect::Number(field.0);
    if bytes[0] == 0x80 {
        return base256(&bytes[1..]).map(Some).ok_or(bad);
    }
    let start = bytes.iter().position(|&b| b != b' ').unwrap_or(bytes.len());
    let digits = bytes[start..].iter().take_while(|b| matches!(b, b'0'..=b'7')).count();
    let (number, rest) = bytes[start..].split_at(digits);
    if rest.iter().any(|&b| b != 0 && b != b' ') {
        return Err(bad);
    }
    if digits == 0 {
        return Ok(None);
    }
    // Twelve octal digits are 36 bits: no overflow.
    Ok(Some(
        number
            .iter()
            .fold(0, |value, &digit| value << 3 | u64::from(digit - b'0')),
    ))
}

/// Big-endian bytes as a number; none when it needs more than 63 bits.
fn base256(bytes: &[u8]) -> Option<u64> {
    let value = bytes.iter().try_fold(0_u64, |value, &byte| {
        value.checked_mul(256).map(|value| value | u64::from(byte))
    })?;
    (value <= i64::MAX as u64).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> [u8; BLOCK] {
        Fields {
            name: b"dir/name",
            mode: 0o4755,
            uid: 1,
            gid: 2,
            size: 3,
            mtime: 4,
            typeflag: b'0',
            ..Fields::default()
        }
        .encode()
    }

    fn sign(mut block: [u8; BLOCK]) -> [u8; BLOCK] {
        let text = format!("{:06o}\0 ", checksum(&block));
        CHECKSUM.put(&mut block, text.as_bytes());
        block
    }

    #[test]
    fn what_is_written_is_read() {
        let header = Header::decode(&block()).unwrap();
        assert_eq!(
            (header.name.as_slice(), header.mode, header.uid, header.gid),
            (&b"dir/name"[..], 0o4755, 1, 2)
        );
        assert_eq!(
            (header.size, header.mtime, header.typeflag, header.gnu),
            (3, 4, b'0', false)
        );
    }

    #[test]
    fn every_flipped_bit_is_a_defect() {
        let good = block();
        // Within the checksum itself a digit may become a space that stands for the same.
        for at in (0..148 * 8).chain(156 * 8..BLOCK * 8) {
            let mut bad = good;
            bad[at / 8] ^= 1 << (at % 8);
            assert!(Header::decode(&bad).is_err(), "bit {at}");
        }
    }

    #[test]
    fn text_behind_a_nul_is_a_defect() {
        let mut bad = block();
        bad[50] = b'x';
        assert_eq!(
            Header::decode(&sign(bad)).unwrap_err(),
            HeaderDefect::HiddenText("name")
        );
    }

    #[test]
    fn prefix_belongs_to_the_name_in_ustar_only() {
        let mut ustar = block();
        PREFIX.put(&mut ustar, b"long/prefix");
        assert_eq!(Header::decode(&sign(ustar)).unwrap().name, b"long/prefix/dir/name");
        MAGIC.put(&mut ustar, GNU);
        assert_eq!(
            Header::decode(&sign(ustar)).unwrap_err(),
            HeaderDefect::HiddenText("prefix")
        );
        ustar[TYPE] = b'S';
        assert_eq!(Header::decode(&sign(ustar)).unwrap().name, b"dir/name");
    }

    #[test]
    fn numbers_in_every_notation() {
        let field = Field("size", 0, 12);
        for (bytes, value) in [
            (b"00000000017\0", Ok(Some(15))),
            (b"         17 ", Ok(Some(15))),
            (b"777777777777", Ok(Some((1 << 36) - 1))),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", Ok(None)),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\0", Ok(Some(1 << 33))),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Ok(Some(i64::MAX as u64))),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", Err(HeaderDefect::Number("size"))),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", Err(HeaderDefect::Number("size"))),
            (
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                Err(HeaderDefect::Number("size")),
            ),
            (b"0000000001x\0", Err(HeaderDefect::Number("size"))),
            (b"-0000000001\0", Err(HeaderDefect::Number("size"))),
            (b"00000000018\0", Err(HeaderDefect::Number("size"))),
            (b"1\x00001\0      ", Err(HeaderDefect::Number("size"))),
        ] {
            assert_eq!(number(field, bytes), value, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn times_before_1970() {
        let mut old = block();
        MTIME.put(&mut old, &[0xff; 12]);
        assert_eq!(Header::decode(&sign(old)).unwrap().mtime, -1);
    }
}
