#![no_main]
//! Errors are fine, panics are bugs: the record of an archive, and the lines of /proc/PID/cgroup. What reads as a record
//! must be written and read again, planned for, and merged into a configuration.

use ckpt::cgroup::{CgroupRecord, Membership, TargetCgroups, plan_apply, resources_for_spec};
use ckpt::manifest::CgroupMode;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = Membership::parse(data);
    let Ok(record) = CgroupRecord::from_json(data) else { return };
    assert_eq!(CgroupRecord::from_json(&record.to_json().expect("own record")).expect("own output"), record);
    for mode in [CgroupMode::V1, CgroupMode::Hybrid, CgroupMode::V2] {
        let target = TargetCgroups {
            mode,
            hierarchies: Vec::new(),
            devices: Default::default(),
            cpus: "0-1".parse().ok(),
            mems: None,
            keep_owners: true,
        };
        let _ = plan_apply(&record, &target);
        let mut spec = serde_json::json!({"linux": {"resources": {"unified": {"memory.max": "1"}}}});
        let _ = resources_for_spec(&record, &target, &mut spec);
    }
});
