//! Checkpoints of podman, CRI-O and containerd: looked at, sealed, converted, and refused where they are not right.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/foreign_defects.rs"]
mod foreign_defects;
#[path = "support/place.rs"]
mod place;

use std::fs;
use std::path::Path;
use std::process::Command;

use ckpt::ErrorKind;
use ckpt::archive::Limits;
use ckpt::foreign::Error;
use proptest::prelude::*;
use serde_json::{Value, json};

use foreign::{Checkpoint, ENGINES, Engine, Member, gzip, zstd};
use foreign_defects::defects;
use place::Place;

/// An entry of a tar that tar itself takes out.
fn content_of(archive: &Path, entry: &str) -> Vec<u8> {
    let output = Command::new("tar").arg("xOf").arg(archive).arg(entry).output().unwrap();
    assert!(
        output.status.success(),
        "{entry}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[test]
fn checkpoints_are_recognised_by_content_in_every_compression() {
    for engine in ENGINES {
        let checkpoint = Checkpoint::of(engine);
        let plain = checkpoint.tar();
        for (name, bytes) in [("a", plain.clone()), ("b.zip", gzip(&plain)), ("c.ckpt", zstd(&plain))] {
            let place = Place::new();
            place.write(name, &bytes);
            let listed = place.text(&["ls", name]);
            assert_eq!(listed.lines().collect::<Vec<_>>(), checkpoint.names(), "{engine:?}");
            for entry in ["config.dump", "checkpoint/pages-1.img", "stats-dump"] {
                assert_eq!(
                    place.stdout(&["cat", name, entry]),
                    checkpoint.content(entry),
                    "{engine:?} {entry}"
                );
                let piped = place.piped(&["cat", "-", entry], name);
                assert_eq!(piped.stdout, checkpoint.content(entry), "{engine:?} {entry}");
            }
            place.stdout(&["extract", name, "-C", "out", "-q"]);
            for entry in checkpoint.names() {
                assert_eq!(
                    fs::read(place.path("out").join(&entry)).unwrap(),
                    checkpoint.content(&entry),
                    "{entry}"
                );
            }
        }
    }
}

#[test]
fn verify_says_that_there_are_no_checksums_and_what_it_checked() {
    for engine in ENGINES {
        let place = Place::new();
        place.write("c", &Checkpoint::of(engine).tar());
        let text = place.text(&["verify", "c"]);
        let start = format!(
            "c: no checksums: {} makes none, so a changed byte cannot be seen; 21 CRIU images of 1 ",
            engine.name()
        );
        assert!(text.starts_with(&start), "{text}");
        let report = place.json(&["verify", "c"]);
        assert_eq!(report["identity"], Value::Null);
        assert_eq!(report["engine"], engine.form());
        assert_eq!(report["images"]["processes"], 1);
        let piped = place.piped(&["verify", "-"], "c");
        assert_eq!(String::from_utf8(piped.stdout).unwrap(), text.replacen("c:", "-:", 1));
    }
}

#[test]
fn inspect_shows_what_each_engine_says() {
    let manifest = |engine| {
        let place = Place::new();
        place.write("c", &Checkpoint::of(engine).tar());
        place.text(&["inspect", "c"]);
        place.json(&["inspect", "c"])["manifest"].clone()
    };
    let podman = manifest(Engine::Podman);
    assert_eq!(
        podman["engine"],
        json!({
            "name": "podman",
            "networks": [{"name": "podman", "interface": "eth0", "addresses": ["10.88.0.2/16"],
                "gateways": ["10.88.0.1"], "mac": "16:14:13:68:90:e3"}],
            "ports": [{"host_ip": "", "host_port": 8080, "container_port": 80, "count": 2, "protocol": "tcp"}],
        })
    );
    assert_eq!(podman["filesystem"]["volumes"], json!({"data": "volumes/data.tar"}));
    assert_eq!(podman["filesystem"]["devshm"]["entry"], "devshm-checkpoint.tar");
    assert_eq!(podman["checkpointed_at"], "2023-11-14T22:13:20Z");
    for engine in [Engine::CriO, Engine::Containerd] {
        let manifest = manifest(engine);
        assert_eq!(
            manifest["engine"]["pod"],
            json!({"name": "counters", "namespace": "default"})
        );
        assert_eq!(manifest["container"]["name"], "counter");
        assert_eq!(manifest["runtime"]["name"], "runc");
        assert_eq!(manifest["checkpointed_at"], "2023-11-14T22:13:21Z");
        let image = "sha256:be02b0367342956779b815e4f06a0ccc9e37564cd280e6948b205c192dd43217";
        assert_eq!(manifest["container"]["image"]["digest"], image);
        // CRIU's log says what it ran on, which nothing else does.
        assert_eq!(manifest["host"]["criu"], "4.2.1");
        assert_eq!(manifest["host"]["arch"], "x86_64");
        assert_eq!(manifest["host"]["kernel"], "6.18.44-fc-v657");
    }
    let crio = manifest(Engine::CriO);
    assert_eq!(crio["engine"]["networks"][0]["addresses"], json!(["10.85.0.7"]));
    assert_eq!(crio["bind_mounts"][0]["file_type"], "directory");
}

#[test]
fn a_sealed_checkpoint_verifies_and_keeps_every_entry() {
    for engine in ENGINES {
        let checkpoint = Checkpoint::of(engine);
        for (name, bytes) in [("plain", checkpoint.tar()), ("zstd", zstd(&checkpoint.tar()))] {
            let place = Place::new();
            place.write(name, &bytes);
            let report = place.json(&["seal", name, "-o", "s.ckpt", "--progress", "none"]);
            assert_eq!(report["left"], json!([]), "{engine:?}");
            assert_eq!(place.json(&["verify", "s.ckpt"])["identity"], report["identity"]);
            for entry in checkpoint.names() {
                // containerd's layer becomes the plain tar that everybody else has.
                if engine != Engine::Containerd || entry != "rootfs-diff.tar" {
                    assert_eq!(
                        place.stdout(&["cat", "s.ckpt", &entry]),
                        checkpoint.content(&entry),
                        "{entry}"
                    );
                }
            }
            // The same through a pipe, and with another number of threads.
            let piped = place.piped(&["seal", "-", "-o", "p.ckpt", "-q", "--threads", "3"], name);
            assert!(piped.status.success());
            assert_eq!(
                fs::read(place.path("p.ckpt")).unwrap(),
                fs::read(place.path("s.ckpt")).unwrap()
            );
            place.refused(&["seal", "s.ckpt", "-o", "again"], 2);
        }
    }
}

#[test]
fn a_layer_of_containerd_becomes_changes_and_a_list_and_a_layer_again() {
    let place = Place::new();
    place.write("c", &Checkpoint::of(Engine::Containerd).tar());
    place.stdout(&["seal", "c", "-o", "s.ckpt", "-q"]);
    let deleted: Vec<String> = serde_json::from_slice(&place.stdout(&["cat", "s.ckpt", "deleted.files"])).unwrap();
    assert_eq!(deleted, ["/bin/gone", "/var/cache"]);
    place.write("diff.tar", &place.stdout(&["cat", "s.ckpt", "rootfs-diff.tar"]));
    assert_eq!(content_of(&place.path("diff.tar"), "var/cache/new"), b"new\n");
    place.stdout(&[
        "convert",
        "s.ckpt",
        "--to",
        "containerd",
        "-o",
        "back",
        "--progress",
        "none",
    ]);
    place.write("layer.tgz", &place.stdout(&["cat", "back", "rootfs-diff.tar"]));
    let listed = Command::new("tar")
        .arg("tzf")
        .arg(place.path("layer.tgz"))
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(
        listed.lines().collect::<Vec<_>>(),
        [
            "bin/.wh.gone",
            "var/.wh.cache",
            "added",
            "etc/changed",
            "var/cache/",
            "var/cache/new"
        ]
    );
}

#[test]
fn every_form_becomes_every_other_and_what_is_lost_is_named() {
    for engine in ENGINES {
        let checkpoint = Checkpoint::of(engine);
        let place = Place::new();
        place.write("c", &checkpoint.tar());
        for to in ENGINES {
            let out = format!("to-{}", to.form());
            let words = ["convert", "c", "--to", to.form(), "-o", &out, "--progress", "none"];
            let report = place.json(&words);
            let left: Vec<&str> = report["left"]
                .as_array()
                .unwrap()
                .iter()
                .map(|left| left["entry"].as_str().unwrap())
                .collect();
            assert_eq!(place.json(&["verify", &out])["engine"], to.form(), "{engine:?} {to:?}");
            let there = place.text(&["ls", &out]);
            for entry in checkpoint.names() {
                let kept = there.lines().any(|name| name == entry);
                let is_log = ["ctr.log", "container.log", "io.kubernetes.cri-o.LogPath"].contains(&entry.as_str());
                let in_layer = to == Engine::Containerd && entry == "deleted.files";
                assert!(
                    kept || is_log || in_layer || left.contains(&entry.as_str()),
                    "{engine:?} {to:?}: {entry} is lost unsaid"
                );
            }
            if engine == to {
                assert_eq!(left, Vec::<&str>::new(), "{engine:?}");
                assert_eq!(
                    place.stdout(&["cat", &out, "config.dump"]),
                    checkpoint.content("config.dump")
                );
            }
            assert_eq!(
                place.stdout(&["cat", &out, "checkpoint/pages-1.img"]),
                checkpoint.content("checkpoint/pages-1.img")
            );
        }
    }
}

#[test]
fn a_form_that_cannot_hold_it_is_refused_and_an_older_file_stays() {
    let place = Place::new();
    place.write("c", &Checkpoint::of(Engine::Podman).tar());
    place.write("old", b"old");
    let text = place.refused(&["convert", "c", "--to", "cri-o", "--compress", "zstd", "-o", "old"], 2);
    assert!(text.contains("plain tars only"), "{text}");
    place.write(
        "broken",
        &Checkpoint::of(Engine::Podman).without("checkpoint/inventory.img").tar(),
    );
    place.refused(&["seal", "broken", "-o", "old"], 4);
    place.refused(&["convert", "broken", "--to", "podman", "-o", "old"], 4);
    assert_eq!(fs::read(place.path("old")).unwrap(), b"old");
    assert_eq!(
        fs::read_dir(place.directory.path()).unwrap().count(),
        3,
        "something was left behind"
    );
}

#[test]
fn sealing_may_replace_the_file_itself() {
    let place = Place::new();
    place.write("c", &zstd(&Checkpoint::of(Engine::Podman).tar()));
    place.stdout(&["seal", "c", "-o", "c", "-q"]);
    assert!(place.text(&["verify", "c"]).starts_with("c: good"));
}

#[test]
fn a_pre_checkpoint_is_shown_and_not_restored() {
    let mut pre = Checkpoint::of(Engine::Podman).without("checkpoint/inventory.img");
    for member in &mut pre.members {
        let name = String::from_utf8(member.name.clone()).unwrap();
        member.name = name.replace("checkpoint/", "pre-checkpoint/").into();
    }
    let place = Place::new();
    place.write("c", &zstd(&pre.tar()));
    assert_eq!(place.json(&["inspect", "c"])["manifest"]["options"]["pre-dump"], true);
    place.stdout(&["seal", "c", "-o", "s.ckpt", "-q"]);
    let words = [
        "import",
        "s.ckpt",
        "--no-restore",
        "--bundle",
        "b",
        "--root",
        "/",
        "--netns",
        "new",
    ];
    let text = place.ckpt(&words).output().unwrap();
    let text = String::from_utf8(text.stderr).unwrap();
    assert!(text.contains("pre-dump") || text.contains("--pre-dump"), "{text}");
    // What was dumped onto it refers to it by a link.
    let link = Member::link("checkpoint/parent", b'2', "../pre-checkpoint");
    place.write("later", &Checkpoint::of(Engine::Podman).and(link).tar());
    place.stdout(&["verify", "later"]);
    let text = place.refused(&["seal", "later", "-o", "out"], 2);
    assert!(
        text.contains("entry checkpoint/parent: the images are incremental"),
        "{text}"
    );
}

#[test]
fn images_of_processes_that_are_gone_are_no_fault() {
    // podman dumps into the same directory again after --leave-running.
    let stale = Checkpoint::of(Engine::Podman);
    let pagemap = stale.content("checkpoint/pagemap-1.img");
    let mut other = pagemap[..pagemap.len() / 2].to_vec();
    other.truncate(8 + 4 + 2);
    let place = Place::new();
    place.write("c", &stale.with_file("checkpoint/pagemap-25.img", &other).tar());
    let report = place.json(&["verify", "c"]);
    let note = report["images"]["notes"][0].as_str().unwrap();
    assert!(
        note.contains("pagemap-25.img are of processes that are not in the tree"),
        "{note}"
    );
}

#[test]
fn what_is_not_right_is_refused_by_name_and_nothing_is_written() {
    for (defect, bytes, message) in defects() {
        let place = Place::new();
        place.write(defect, &bytes);
        let verified = place.refused(&["verify", defect], 4);
        assert!(verified.contains(message), "{defect}: {verified}");
        let sealed = place.refused(&["seal", defect, "-o", "out"], 4);
        assert!(sealed.contains(message), "{defect}: {sealed}");
        let imported = place
            .ckpt(&["import", defect, "--bundle", "b", "--no-restore", "--root", "/"])
            .output()
            .unwrap();
        assert_eq!(
            imported.status.code(),
            Some(4),
            "{defect}: {}",
            String::from_utf8_lossy(&imported.stderr)
        );
        let there: Vec<_> = fs::read_dir(place.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(there, [defect], "something was left behind");
    }
}

#[test]
fn an_extraction_writes_beneath_its_directory_or_not_at_all() {
    for (defect, bytes, _) in defects() {
        let place = Place::new();
        place.write(defect, &bytes);
        fs::create_dir(place.path("out")).unwrap();
        let output = place.ckpt(&["extract", defect, "-C", "out", "-q"]).output().unwrap();
        let mut there: Vec<_> = fs::read_dir(place.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        there.sort();
        let mut want = [std::ffi::OsString::from(defect), "out".into()];
        want.sort();
        assert_eq!(there, want, "{defect}");
        if !output.status.success() {
            assert_eq!(fs::read_dir(place.path("out")).unwrap().count(), 0, "{defect}");
        }
    }
}

#[test]
fn what_acts_on_the_host_needs_the_importers_word() {
    let with = |change: fn(&mut Value)| Checkpoint::of(Engine::Podman).with_changed("spec.dump", change).tar();
    let cases: [(&str, Vec<u8>, &str); 5] = [
        (
            "cdi-annotation",
            with(|spec| spec["annotations"]["cdi.k8s.io/devices"] = json!("vendor.com/gpu=all")),
            "cdi.k8s.io/devices",
        ),
        (
            "crio-devices-annotation",
            with(|spec| spec["annotations"]["io.kubernetes.cri-o.Devices"] = json!("/dev/sda:/dev/sda:rwm")),
            "io.kubernetes.cri-o.Devices",
        ),
        (
            "device",
            with(|spec| spec["linux"]["devices"] = json!([{"path": "/dev/sda", "type": "b", "major": 8, "minor": 0}])),
            "/dev/sda",
        ),
        (
            "hook",
            with(|spec| spec["hooks"] = json!({"createRuntime": [{"path": "/bin/sh"}]})),
            "/bin/sh",
        ),
        (
            "bind-of-the-host",
            with(|spec| {
                let mount = json!({"destination": "/host", "type": "bind", "source": "/", "options": ["rbind"]});
                spec["mounts"].as_array_mut().unwrap().push(mount);
            }),
            "at /host",
        ),
    ];
    for (name, bytes, named) in cases {
        let place = Place::new();
        place.write(name, &bytes);
        let words = [
            "import",
            name,
            "--no-restore",
            "--bundle",
            "b",
            "--root",
            "/",
            "--netns",
            "new",
        ];
        let text = place.refused(&words, 8);
        assert!(text.contains(named), "{name}: {text}");
        assert!(!place.path("b").exists(), "{name}");
    }
}

#[test]
fn files_of_the_engine_are_made_anew_and_namespaces_of_the_pod_are_left_or_refused() {
    for engine in ENGINES {
        let place = Place::new();
        place.write("c", &zstd(&Checkpoint::of(engine).tar()));
        let bundle = place.path("b");
        let mut words = vec![
            "import",
            "c",
            "--dry-run",
            "--bundle",
            bundle.to_str().unwrap(),
            "--root",
            "/",
        ];
        words.push("--no-restore");
        words.retain(|word| *word != "--no-restore");
        let refused = place.refused(&words, 8);
        assert!(refused.contains("network namespace at"), "{refused}");
        words.extend(["--netns", "new", "--allow-other-runtime", "--runtime", "runc"]);
        if engine == Engine::CriO {
            words.extend(["--map-mount", "/d=/"]);
        }
        let output = place.ckpt(&words).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        words[1] = "-";
        let piped = place.piped(&words, "c");
        let piped = String::from_utf8(piped.stdout).unwrap() + &String::from_utf8(piped.stderr).unwrap();
        let names = [("import c", "import -"), ("check c", "check -")];
        let renamed = names
            .iter()
            .fold(text.clone(), |text, (from, to)| text.replace(from, to));
        let lines = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with("ckpt: verifying"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(lines(&piped), lines(&renamed));
        // Without the runtime on this machine the plan stops there, and only there.
        if !text.contains("runc is not installed") {
            assert!(text.contains("mounted at /etc/hosts, anew"), "{text}");
            assert!(text.contains("as a copy of /etc/resolv.conf"), "{text}");
            assert_eq!(
                text.contains("/run/.containerenv, empty"),
                engine == Engine::Podman,
                "{text}"
            );
            assert_eq!(
                text.contains("shared its ipc namespace"),
                engine != Engine::Podman,
                "{text}"
            );
        }
    }
}

#[test]
fn what_expands_beyond_its_bounds_is_refused_before_it_fills_anything() {
    let zeros = Checkpoint::of(Engine::Podman)
        .with_file("artifacts/zeros", &vec![0; 8 << 20])
        .tar();
    let limits = |content, expansion_floor| Limits {
        content,
        expansion: 50,
        expansion_floor,
    };
    for archive in [zstd(&zeros), gzip(&zeros)] {
        let verify = |limits| ckpt::foreign::verify(archive.as_slice(), limits);
        verify(limits(64 << 20, 64 << 20)).unwrap();
        for limits in [limits(4 << 20, 64 << 20), limits(64 << 20, 4 << 20)] {
            let error = verify(limits).unwrap_err();
            let bounded = matches!(error, Error::Bomb { .. } | Error::Tar { .. });
            assert!(bounded && error.kind() == ErrorKind::Archive, "{error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Errors are fine, panics are bugs.
    #[test]
    fn a_damaged_checkpoint_is_refused_or_read(at in 0_usize..40_000, value: u8, cut in 0_usize..60_000) {
        for engine in ENGINES {
            let mut bytes = Checkpoint::of(engine).tar();
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = ckpt::foreign::verify(bytes.as_slice(), Limits::default());
            bytes.truncate(cut);
            let _ = ckpt::foreign::verify(bytes.as_slice(), Limits::default());
        }
    }
}
