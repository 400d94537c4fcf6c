//! What the fuzz target `plan` calls (`fuzz/`), and the test that replays its seeds.
//!
//! Errors are fine, panics are bugs: whatever an archive's documents say, the import is planned or refused, and either can be
//! told.

use super::plan::{PodmanView, plan_podman};
use super::podman::PodmanConfig;
use super::processes::{self, ProcessInputs, ProcessView};
use super::testing::Case;
use super::{PathKind, Plan, Refusals, Spec};
use crate::process::{Here, Listing};
use crate::request::Netns;

/// A document of an archive is planned for. The first byte says which one it is, the second what the importer allows.
pub fn plan(bytes: &[u8]) {
    let Some((&[document, allowed], text)) = bytes.split_first_chunk() else {
        return;
    };
    match document % 3 {
        0 => spec(text, allowed),
        1 => listing(text, allowed),
        _ => config(text, allowed),
    }
}

/// `spec.dump`: the container's configuration.
fn spec(text: &[u8], allowed: u8) {
    let Ok(spec) = Spec::parse(text) else { return };
    let mut case = Case::with(spec.value().clone());
    allow(&mut case, allowed);
    case.host.paths = case
        .questions()
        .into_iter()
        .map(|path| (path, PathKind::Missing))
        .collect();
    told(case.plan());
}

/// `files.json`: processes and their files.
fn listing(text: &[u8], allowed: u8) {
    let Ok(listing) = Listing::from_json(text) else { return };
    let again = listing.to_json().map(|text| Listing::from_json(&text));
    assert!(again.is_ok_and(|again| again.is_ok_and(|again| again == listing)));
    let mut case = Case::plain();
    case.manifest.runtime.name = processes::RUNTIME.to_owned();
    allow(&mut case, allowed);
    case.request.new_pidns = allowed & 0x80 != 0;
    let inputs = ProcessInputs {
        manifest: &case.manifest,
        listing: &listing,
        request: &case.request,
    };
    let view = ProcessView {
        bundle: PathKind::Missing,
        criu: Some("4.2".to_owned()),
        here: Here::default(),
        terminal: true,
        cgroup: None,
        journal: allowed & 0x40 != 0,
    };
    told(processes::plan(inputs, &view));
}

/// `config.dump`: podman's configuration.
fn config(text: &[u8], allowed: u8) {
    let Some(config) = PodmanConfig::parse(text) else {
        return;
    };
    let mut case = Case::plain();
    allow(&mut case, allowed);
    let Ok(spec) = Spec::from_value(case.spec.clone()) else {
        return;
    };
    let view = PodmanView {
        installed: true,
        has_pod: true,
        ..PodmanView::default()
    };
    told(plan_podman(case.inputs(&spec), Some(&config), &case.host, &view));
    assert!(config.cleaned("cgroupfs").is_object());
}

/// Lets the importer allow and ask for what these bits say.
fn allow(case: &mut Case, bits: u8) {
    let bit = |number: u8| bits & (1 << number) != 0;
    let request = &mut case.request;
    request.allow_hooks = bit(0);
    request.allow_all_mounts = bit(1);
    request.allow_criu_config = bit(2);
    request.ignore_rootfs = bit(3);
    request.hostname = bit(4).then(|| "other".to_owned());
    request.cgroup_parent = bit(5).then(|| "/parent".to_owned());
    if bit(6) {
        request.netns = Netns::New;
    }
}

/// Tells what became of it, as commands do.
fn told(planned: Result<Plan, Refusals>) {
    match planned {
        Ok(plan) => {
            assert!(!plan.lines().is_empty());
            assert!(plan.to_json().is_object());
        }
        Err(refusals) => {
            assert!(!refusals.to_string().is_empty());
            assert!(refusals.to_json().as_array().is_some_and(|list| !list.is_empty()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn seeds_of_the_fuzz_target_are_no_bugs() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/plan");
        let mut count = 0;
        for entry in std::fs::read_dir(seeds).unwrap() {
            let mut seed = std::fs::read(entry.unwrap().path()).unwrap();
            for allowed in 0..=u8::MAX {
                seed[1] = allowed;
                super::plan(&seed);
            }
            count += 1;
        }
        assert!(count > 3, "{count} seeds");
    }
}
