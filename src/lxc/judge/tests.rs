//! One fixture for each defect: the finding, its advice, and nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use super::*;
use crate::lxc::{Config, Included};

fn fixture(name: &str) -> Vec<u8> {
    fs::read(format!("{}/fixtures/lxc/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn findings(name: &str, lxc: u32) -> Vec<Finding> {
    let config = Config::parse(&fixture(name)).unwrap();
    let effective = Effective::new(&config, &BTreeMap::new());
    let context = Context {
        lxc: Some(lxc),
        fstab: None,
    };
    judge(&effective, context)
}

fn names(prefix: &str) -> Vec<String> {
    let directory = format!("{}/fixtures/lxc", env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name());
    let mut names: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.starts_with(prefix) && name.ends_with(".conf"));
    names.sort();
    names
}

fn told(findings: &[Finding]) -> String {
    findings.iter().fold(String::new(), |mut text, finding| {
        let blocks = if finding.blocks() { "stop" } else { "note" };
        writeln!(text, "  {blocks}: {finding}\n        {}", finding.advice()).unwrap();
        text
    })
}

#[test]
fn each_defect_is_found_alone_with_what_to_change() {
    let mut text = String::new();
    for name in names("bad-") {
        let lxc = if name.contains("cgroup-v1") { 7 } else { 6 };
        // The old syntax is told of on every line; that has a test of its own.
        let lxc = if name.contains("before-type") { 2 } else { lxc };
        let found = findings(&name, lxc);
        assert!(!found.is_empty(), "{name}");
        assert!(found.iter().all(|finding| !finding.advice().is_empty()), "{name}");
        writeln!(text, "{name}\n{}", told(&found)).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn good_ones_have_no_findings() {
    assert_eq!(findings("good-new-syntax.conf", 6), []);
    assert_eq!(findings("good-crlf-no-last-newline.conf", 6), []);
    assert_eq!(findings("good-old-syntax.conf", 2), []);
}

#[test]
fn lxc_6_reads_no_old_keys() {
    let found = findings("good-old-syntax.conf", 6);
    assert_eq!(found.len(), 20);
    assert!(found.iter().all(is_old_key));
}

#[test]
fn what_debian_creates_cannot_be_moved_as_it_is() {
    insta::assert_snapshot!(told(&findings("debian-lxc-create-busybox.conf", 6)));
}

#[test]
fn a_good_fstab_has_no_findings() {
    let fstab = Fstab::parse(&fixture("good.fstab")).unwrap();
    let context = Context {
        lxc: Some(6),
        fstab: Some(&fstab),
    };
    let config = Config::parse(&fixture("good-new-syntax.conf")).unwrap();
    assert_eq!(judge(&Effective::new(&config, &BTreeMap::new()), context), []);
}

#[test]
fn a_console_is_lxc_s_matter_unless_the_container_has_terminals_of_its_own() {
    for (lines, found) in [
        ("", 0),
        ("lxc.pty.max = 0\n", 0),
        ("lxc.pty.max = 1024\n", 1),
        ("lxc.pty.max = 1024\nlxc.console.path = none\n", 0),
        ("lxc.console.path = /dev/tty8\n", 1),
    ] {
        let config = Config::parse(format!("lxc.rootfs.path = /r\n{lines}").as_bytes()).unwrap();
        let findings = judge(&Effective::new(&config, &BTreeMap::new()), Context::default());
        let consoles = findings
            .iter()
            .filter(|finding| matches!(finding, Finding::Console { .. }));
        assert_eq!(consoles.count(), found, "{lines}");
    }
}

#[test]
fn what_an_include_sets_is_found_there() {
    let config = Config::parse(b"lxc.console.path = none\nlxc.rootfs.path = /r\nlxc.include = c\n").unwrap();
    let common = Included {
        path: "/usr/share/lxc/config/common.conf".into(),
        config: Config::parse(b"lxc.tty.max = 4\n").unwrap(),
    };
    let includes = BTreeMap::from([("c".to_owned(), vec![common])]);
    let found = judge(&Effective::new(&config, &includes), Context::default());
    insta::assert_snapshot!(told(&found));
}

#[test]
fn every_fixture_comes_back_byte_for_byte() {
    for name in names("") {
        let text = fixture(&name);
        assert_eq!(Config::parse(&text).unwrap().to_bytes(), text, "{name}");
    }
    let text = fixture("good.fstab");
    assert_eq!(Fstab::parse(&text).unwrap().to_bytes(), text);
}
