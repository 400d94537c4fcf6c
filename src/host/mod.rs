//! stub
use crate::manifest::*;
/// x
pub fn manifest() -> Result<Host, crate::error::Error> {
    Ok(Host {
        kernel: "x".into(),
        arch: "x".into(),
        cpu: Cpu {
            vendor: "x".into(),
            family: 0,
            model: 0,
            name: "x".into(),
            xsave_size: 0,
            flags: vec![],
        },
        cgroup_mode: CgroupMode::V1,
        criu: "x".into(),
        page_size: 4096,
    })
}
