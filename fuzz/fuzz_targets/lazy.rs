//! What a lazy import reads of CRIU: headers of the page server protocol, pagemap images. Errors are fine, panics are bugs.
#![no_main]

use ckpt::criu::images::Pagemap;
use ckpt::criu::lazy::{PageMap, eager_parts};
use ckpt::criu::wire::{Header, HeaderForm, PAGE_SIZE};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for form in [HeaderForm::Narrow, HeaderForm::Wide] {
        if let Ok(header) = Header::decode(form, bytes) {
            let encoded = header.encode(form).expect("what was read has room");
            assert_eq!(Header::decode(form, &encoded), Ok(header));
        }
    }
    let Ok(pagemap) = Pagemap::parse("pagemap-1.img", bytes) else { return };
    let size = 1 << 20;
    let mut map = PageMap::default();
    if map.add(1, "pagemap-1.img", &pagemap, size).is_err() {
        assert!(eager_parts("pagemap-1.img", &pagemap, size).is_err());
        return;
    }
    for (offset, length) in eager_parts("pagemap-1.img", &pagemap, size).expect("it was accepted") {
        assert!(offset + length <= size);
    }
    for entry in &pagemap.entries {
        if let Some(found) = map.find(1, entry.vaddr, entry.pages()) {
            assert!(found.pages >= 1 && found.offset + found.pages * PAGE_SIZE <= size);
        }
    }
});
