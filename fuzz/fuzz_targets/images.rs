//! Images of CRIU, whatever they hold: each piece of the input is one of them. Errors are fine, panics are bugs.
#![no_main]

use ckpt::images::{Collected, Finder, ImageSource, Inside, ProcessRegions, Scanner, Want};

/// The images that are looked at, for a process 1.
const NAMES: [&str; 18] = [
    "pstree.img", "core-1.img", "core-2.img", "ids-1.img", "mm-1.img", "pagemap-1.img", "pages-1.img", "files.img", "fdinfo-2.img", "fs-1.img",
    "mountpoints-12.img", "netdev-11.img", "ifaddr-11.img", "route-11.img", "cgroup.img", "memfd.img", "tty-info.img", "pagemap-shmem-1.img",
];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (mut images, mut rest) = (Collected::new(), input);
    // A piece is the number of its image, its length, and its content.
    while let Some((&[name, low, high], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(after.len());
        let (content, after) = after.split_at(length);
        let name = NAMES[usize::from(name) % NAMES.len()];
        if images.size(name).is_none() {
            let _ = images.take(name, content.len() as u64, &mut &*content);
        }
        rest = after;
    }
    let want = Want { environment: true, mappings: true, pid: None };
    let Ok(inside) = Inside::read(&images, want) else { return };
    assert!(serde_json::to_string(&inside).is_ok());
    let Ok(processes) = ProcessRegions::read(&images, None) else { return };
    for process in &processes {
        let mut scanner = Scanner::new(Finder::strings(4).expect("four is few"), 8);
        for part in &process.parts {
            let _ = part.walk::<ckpt::images::Error>(&images, &mut |address, bytes| {
                scanner.feed(address, bytes, &mut |found| {
                    assert!(process.mapping(found.address).is_some() || !found.bytes.is_empty());
                    Ok(())
                })
            });
        }
    }
});
