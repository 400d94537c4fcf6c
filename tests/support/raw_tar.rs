//! Tars byte by byte, with whatever in them that a test wants to be wrong.
#![allow(dead_code, reason = "every test binary uses another part")]

const BLOCK: usize = 512;

/// A tar under construction.
#[derive(Default)]
pub struct Tar(Vec<u8>);

/// One PAX record.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
}

/// A header block of POSIX ustar.
pub fn header(name: &[u8], kind: u8, size: u64, link: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    block[100..108].copy_from_slice(if kind == b'5' { b"0000755\0" } else { b"0000644\0" });
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    if size < 1 << 33 {
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    } else {
        block[124] = 0x80;
        block[128..136].copy_from_slice(&size.to_be_bytes());
    }
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    sign(&mut block);
    block
}

/// Puts the right checksum into a header.
pub fn sign(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    fn content(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    fn block(mut self, block: &[u8; BLOCK]) -> Self {
        self.0.extend_from_slice(block);
        self
    }

    pub fn with_content(self, name: &str, kind: u8, content: &[u8]) -> Self {
        self.block(&header(name.as_bytes(), kind, content.len() as u64, b""))
            .content(content)
    }

    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.with_content(name, b'0', content)
    }

    pub fn directory(self, name: &str) -> Self {
        self.with_content(name, b'5', b"")
    }

    /// An entry without content.
    pub fn typed(self, name: &str, kind: u8, link: &str) -> Self {
        self.block(&header(name.as_bytes(), kind, 0, link.as_bytes()))
    }

    pub fn device(self, name: &str, kind: u8, major: u32, minor: u32) -> Self {
        let mut block = header(name.as_bytes(), kind, 0, b"");
        block[329..337].copy_from_slice(format!("{major:07o}\0").as_bytes());
        block[337..345].copy_from_slice(format!("{minor:07o}\0").as_bytes());
        sign(&mut block);
        self.block(&block)
    }

    pub fn pax(self, records: &[u8]) -> Self {
        self.with_content("PaxHeader", b'x', records)
    }

    /// The same with these bytes behind the records, which the header's size does not count.
    pub fn pax_padded(self, records: &[u8], padding: &[u8]) -> Self {
        let header = header(b"PaxHeader", b'x', records.len() as u64, b"");
        self.block(&header).content(&[records, padding].concat())
    }

    pub fn global(self, records: &[u8]) -> Self {
        self.with_content("PaxHeader", b'g', records)
    }

    /// A GNU long name (`L`) or link (`K`).
    pub fn gnu_long(self, kind: u8, text: &[u8]) -> Self {
        self.with_content("././@LongLink", kind, text)
    }

    /// An empty file whose header has these bytes at this place, and the right checksum.
    pub fn patched(self, name: &str, at: usize, bytes: &[u8]) -> Self {
        self.patched_all(name, &[(at, bytes)])
    }

    /// The same at several places.
    pub fn patched_all(self, name: &str, patches: &[(usize, &[u8])]) -> Self {
        let mut block = header(name.as_bytes(), b'0', 0, b"");
        for (at, bytes) in patches {
            block[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        sign(&mut block);
        self.block(&block)
    }

    /// The same with the old checksum.
    pub fn corrupt(self, name: &str, at: usize, byte: u8) -> Self {
        let mut block = header(name.as_bytes(), b'0', 0, b"");
        block[at] = byte;
        self.block(&block)
    }

    /// A header that claims a size, and nothing behind it.
    pub fn patched_type(self, name: &str, kind: u8, size: u64) -> Vec<u8> {
        self.block(&header(name.as_bytes(), kind, size, b"")).0
    }

    /// A sparse file of old GNU.
    pub fn gnu_sparse(mut self, name: &str, regions: &[(u64, u64)], size: u64, data: &[u8]) -> Self {
        let mut block = header(name.as_bytes(), b'S', data.len() as u64, b"");
        block[257..265].copy_from_slice(b"ustar  \0");
        let put = |block: &mut [u8], (offset, len): (u64, u64)| {
            block[..12].copy_from_slice(format!("{offset:011o}\0").as_bytes());
            block[12..24].copy_from_slice(format!("{len:011o}\0").as_bytes());
        };
        let (first, rest) = regions.split_at(regions.len().min(4));
        for (i, region) in first.iter().enumerate() {
            put(&mut block[386 + 24 * i..], *region);
        }
        block[482] = u8::from(!rest.is_empty());
        block[483..495].copy_from_slice(format!("{size:011o}\0").as_bytes());
        sign(&mut block);
        self = self.block(&block);
        for (i, chunk) in rest.chunks(21).enumerate() {
            let mut block = [0; BLOCK];
            for (j, region) in chunk.iter().enumerate() {
                put(&mut block[24 * j..], *region);
            }
            block[504] = u8::from((i + 1) * 21 < rest.len());
            self = self.block(&block);
        }
        self.content(data)
    }

    /// Without its end marker.
    pub fn unfinished(self) -> Vec<u8> {
        self.0
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend([0; 2 * BLOCK]);
        self.0
    }
}
