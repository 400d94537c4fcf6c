#![no_main]
//! Errors are fine, panics are bugs: LXC configurations, fstabs and p.haul's cgroup records of an archive. What is read is
//! written again byte for byte, and can be judged and rewritten.

use std::collections::BTreeMap;

use ckpt::lxc::{Config, Context, Effective, Fstab, Included, judge, phaul};
use ckpt::rewrite::lxc::{Home, Inputs, LxcRequest, rewrite};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(groups) = phaul::read(data) {
        assert_eq!(phaul::read(phaul::write(&groups).as_bytes()).expect("own output"), groups);
    }
    let (Ok(config), Ok(fstab)) = (Config::parse(data), Fstab::parse(data)) else { return };
    assert_eq!(config.to_bytes(), data);
    assert_eq!(fstab.to_bytes(), data);
    let file = Included { path: "a".to_owned(), config: config.clone() };
    let includes = BTreeMap::from([("a".to_owned(), vec![file])]);
    let effective = Effective::new(&config, &includes);
    let _ = judge(&effective, Context { lxc: Some(7), fstab: Some(&fstab) });
    let home = |name: &str| Home { name: name.to_owned(), lxcpath: "/var/lib/lxc".to_owned() };
    let mut request = LxcRequest::moving(home("a"), home("b"));
    request.allow_hooks = true;
    request.drop_labels = true;
    request.map_paths = vec![ckpt::rewrite::lxc::PathMap { from: "/".to_owned(), to: "/x".to_owned() }];
    let inputs = Inputs { config: &config, includes: &includes, fstab: Some(&fstab) };
    if let Ok(rewritten) = rewrite(inputs, &request) {
        assert_eq!(Config::parse(&rewritten.config.to_bytes()).expect("own output").to_bytes(), rewritten.config.to_bytes());
    }
});
