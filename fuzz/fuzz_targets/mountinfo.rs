#![no_main]
//! Errors are fine, panics are bugs; what parses must survive being written and read again.

use std::path::Path;

use ckpt::mounts::MountTable;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(table) = MountTable::parse(data) {
        assert_eq!(MountTable::parse(&table.to_bytes()).expect("own output"), table);
        for mount in &table {
            let _ = table.mount_of(&mount.mount_point);
        }
        let _ = table.mount_at(Path::new("/proc/self"));
    }
});
