//! What is shown of the images in an archive, on a real dump: `fixtures/dump-counter`.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "support/place.rs"]
mod place;

use std::fs;
use std::path::Path;
use std::process::Command;

use assert_cmd::prelude::*;
use serde_json::Value;

use place::{Place, fixture};

/// A place with archives of the dump, one for each compression.
fn dumped() -> Place {
    dumped_with(&fixture("images"))
}

/// A place with archives of these images.
fn dumped_with(images: &Path) -> Place {
    let place = Place::dated();
    for compression in ["zstd", "gzip", "none"] {
        let mut command = place.export_of(images, compression, &["-c", compression]);
        command.assert().success();
    }
    place
}

/// A place with archives of the dump without those images.
fn dumped_without(names: &[&str]) -> Place {
    let images = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture("images")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !names.contains(&name) {
            fs::copy(&path, images.path().join(name)).unwrap();
        }
    }
    dumped_with(images.path())
}

fn validator(name: &str) -> jsonschema::Validator {
    let path = format!("schema/{name}-v1.schema.json");
    let schema = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    jsonschema::validator_for(&serde_json::from_slice(&schema).unwrap()).unwrap()
}

#[test]
fn every_part_of_a_real_dump() {
    let place = dumped();
    let parts = [
        "inspect",
        "zstd",
        "--ps-tree-cmd",
        "--ps-tree-env",
        "--files",
        "--sockets",
        "--mounts",
        "--memory",
        "--maps",
        "--network",
        "--cgroups",
        "--stats",
        "--metadata",
    ];
    insta::assert_snapshot!(place.text(&parts));
}

#[test]
fn the_parts_are_the_same_whatever_the_compression_and_through_a_pipe() {
    let place = dumped();
    let parts = ["--ps-tree-cmd", "--env", "--files", "--memory", "--mounts"];
    let wanted = place.text(&[&["inspect", "zstd"][..], &parts].concat());
    assert!(
        wanted.contains("/bin/counter") && wanted.contains("TERM=xterm"),
        "{wanted}"
    );
    for compression in ["gzip", "none"] {
        assert_eq!(
            place.text(&[&["inspect", compression][..], &parts].concat()),
            wanted,
            "{compression}"
        );
    }
    for compression in ["zstd", "gzip", "none"] {
        let output = place.piped(&[&["inspect", "-"][..], &parts].concat(), compression);
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            wanted,
            "{compression} through a pipe"
        );
    }
}

#[test]
fn json_follows_its_schema_and_keeps_secrets_unless_asked() {
    let place = dumped();
    let validator = validator("inspect");
    for words in [&["inspect", "zstd"][..], &["inspect", "zstd", "--all", "--maps"]] {
        let value = place.json(words);
        assert!(
            validator.is_valid(&value),
            "{words:?}: {:?}",
            validator.iter_errors(&value).next()
        );
    }
    let short = place.json(&["inspect", "zstd"]);
    let process = &short["processes"][0];
    assert_eq!(process["command_line"], serde_json::json!(["/bin/counter"]));
    assert!(
        process.get("environment").is_none() && process["memory"].get("mappings").is_none(),
        "{process}"
    );
    let all = place.json(&["inspect", "zstd", "--all", "--maps"]);
    let process = &all["processes"][0];
    assert_eq!(process["environment"][1], "TERM=xterm");
    assert_eq!(process["memory"]["mappings"][0]["name"], "/bin/counter");
    assert_eq!(process["memory"]["mappings"][0]["start"], "000000400000");
}

#[test]
fn several_archives_are_shown_one_after_the_other() {
    let place = dumped();
    let text = place.text(&["inspect", "zstd", "gzip"]);
    assert!(text.starts_with("zstd:\n") && text.contains("\n\ngzip:\n"), "{text}");
    assert_eq!(place.json(&["inspect", "zstd", "gzip"]).as_array().unwrap().len(), 2);
}

#[test]
fn one_process_can_be_asked_for_if_it_is_there() {
    let place = dumped();
    assert!(place.text(&["inspect", "zstd", "--pid", "1"]).contains("1 counter"));
    let told = place.refused(&["inspect", "zstd", "--ps-tree", "--pid", "99999"], 2);
    assert!(
        told.contains("there is no process 99999") && told.contains("--ps-tree"),
        "{told}"
    );
}

#[test]
fn a_part_whose_image_is_missing_is_an_error_only_where_it_was_asked_for() {
    for (missing, part) in [
        ("pstree.img", "--ps-tree"),
        ("core-1.img", "--ps-tree"),
        ("files.img", "--files"),
        ("files.img", "--sockets"),
        ("pages-1.img", "--ps-tree-cmd"),
        ("pages-1.img", "--ps-tree-env"),
        ("mm-1.img", "--memory"),
        ("pagemap-1.img", "--maps"),
    ] {
        let place = dumped_without(&[missing]);
        let told = place.refused(&["inspect", "zstd", part], 4);
        assert!(told.contains(missing), "{missing} {part}: {told}");
        let short = place.text(&["inspect", "zstd"]);
        assert!(
            short.contains(&format!("there is no image {missing}")),
            "{missing}: {short}"
        );
        place.text(&["inspect", "zstd", "--mounts"]);
    }
}

#[test]
fn memory_is_counted_dumped_and_searched() {
    let place = dumped();
    assert!(
        place
            .text(&["memory", "zstd"])
            .contains("1    counter  172.0 KiB  16.0 KiB")
    );
    let dumped = place.text(&["memory", "zstd", "--pid", "1"]);
    let line = dumped.lines().nth(1).unwrap();
    assert_eq!(
        line,
        "0000000000400000  7f 45 4c 46 02 01 01 00  00 00 00 00 00 00 00 00  |.ELF............|"
    );
    let found = place.text(&["memory", "zstd", "--search", "TERM=", "--context", "5"]);
    assert!(
        found.contains("n:/bin\\x00TERM=xterm  (rw-p [stack])") || found.contains("TERM=xterm"),
        "{found}"
    );
    assert!(found.ends_with("1 match in 16.0 KiB\n"), "{found}");
    let found = place.text(&["memory", "zstd", "-p", "1", "--regex", "HOME=([^?\\x00]+)"]);
    assert!(found.contains("HOME=/  (rw-p [stack])"), "{found}");
    assert_eq!(
        place.text(&["memory", "zstd", "--search", "nowhere"]),
        "0 matches in 16.0 KiB\n"
    );
    assert!(
        place
            .text(&["memory", "zstd", "--strings=20"])
            .contains("PATH=/usr/local/sbin:")
    );
}

#[test]
fn memory_is_the_same_whatever_the_compression_and_as_json() {
    let place = dumped();
    for words in [&["--pid", "1"][..], &["--strings"], &["--search", "/bin"]] {
        let wanted = place.text(&[&["memory", "zstd"], words].concat());
        for compression in ["gzip", "none"] {
            assert_eq!(
                place.text(&[&["memory", compression], words].concat()),
                wanted,
                "{compression} {words:?}"
            );
        }
    }
    let json = place.json(&["memory", "zstd", "--search", "TERM=xterm"]);
    assert!(validator("memory").is_valid(&json), "{json}");
    assert_eq!(
        (
            json["matches"][0]["pid"].as_u64(),
            json["matches"][0]["mapping"].as_str()
        ),
        (Some(1), Some("[stack]"))
    );
}

#[test]
fn what_cannot_be_searched_is_told() {
    let place = dumped();
    let told = place.refused(&["memory", "zstd", "--search", "PATH", "--pid", "999"], 2);
    assert!(told.contains("there is no process 999"), "{told}");
    let told = place.refused(&["memory", "zstd", "--regex", "("], 2);
    assert!(told.contains("unclosed group"), "{told}");
    place.refused(&["memory", "zstd", "--search", "PATH", "--context=-1"], 2);
    place.refused(&["memory", "zstd", "--search", "a", "--regex", "b"], 2);
    let without = dumped_without(&["pages-1.img"]);
    assert!(
        without
            .refused(&["memory", "zstd", "--strings"], 4)
            .contains("there is no image pages-1.img")
    );
    let without = dumped_without(&["pstree.img"]);
    assert!(
        without
            .refused(&["memory", "zstd"], 4)
            .contains("there is no image pstree.img")
    );
    let output = place.piped(&["memory", "-", "--search", "a"], "zstd");
    assert!(String::from_utf8(output.stderr).unwrap().contains("read twice"));
}

#[test]
fn memory_is_written_to_a_file_that_only_its_owner_can_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = dumped();
    let wanted = place.text(&["memory", "zstd", "--strings"]);
    assert_eq!(place.text(&["memory", "zstd", "--strings", "-o", "out"]), "");
    let path = place.path("out");
    assert_eq!(fs::read_to_string(&path).unwrap(), wanted);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_same_checkpoint_has_no_difference() {
    let place = dumped();
    for other in ["zstd", "gzip", "none"] {
        let text = place.text(&["diff", "zstd", other]);
        assert!(
            text.contains("Checkpoints") && text.ends_with("Summary\n  no difference\n"),
            "{text}"
        );
    }
    let json = place.json(&["diff", "zstd", "gzip"]);
    assert!(
        validator("diff").is_valid(&json),
        "{:?}",
        validator("diff").iter_errors(&json).next()
    );
    assert_eq!(
        (json["same"].as_bool(), json["before"]["container"].as_str()),
        (Some(true), Some("bundle"))
    );
    let all = place.text(&["diff", "zstd", "gzip", "--unchanged", "--env"]);
    assert!(
        all.contains("= 1 /bin/counter") && all.contains("= 1 [REG 3] /log at 24"),
        "{all}"
    );
}

/// The dump with one byte of memory and one field of a file changed.
fn changed_images() -> tempfile::TempDir {
    let images = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture("images")).unwrap() {
        let path = entry.unwrap().path();
        let mut content = fs::read(&path).unwrap();
        match path.file_name().unwrap().to_str().unwrap() {
            "pages-1.img" => content[5000] ^= 1,
            "files.img" => {
                let at = content.windows(4).position(|bytes| bytes == b"/log").unwrap();
                content[at + 1] = b'L';
            }
            _ => {}
        }
        fs::write(images.path().join(path.file_name().unwrap()), content).unwrap();
    }
    images
}

#[test]
fn a_page_and_a_path_that_changed_are_the_difference() {
    let (place, changed) = (dumped(), changed_images());
    let other = dumped_with(changed.path());
    fs::copy(other.path("zstd"), place.path("other")).unwrap();
    let output = place
        .ckpt(&["diff", "zstd", "other"])
        .assert()
        .code(1)
        .get_output()
        .stdout
        .clone();
    let text = String::from_utf8(output).unwrap();
    insta::with_settings!({filters => vec![(r"\d+\.\d KiB, memory", "[size], memory")]}, { insta::assert_snapshot!(text) });
    let output = place
        .ckpt(&["diff", "zstd", "other", "--json"])
        .assert()
        .code(1)
        .get_output()
        .stdout
        .clone();
    let json: Value = serde_json::from_slice(&output).unwrap();
    assert!(validator("diff").is_valid(&json));
    assert_eq!(json["memory"][0]["changed"], 4096);
    assert_eq!(json["files"]["changed"][0]["after"]["path"], "/Log");
}

#[test]
fn what_cannot_be_compared_is_no_difference() {
    let place = dumped();
    let told = place.refused(&["diff", "zstd", "nowhere"], 2);
    assert!(told.contains("nowhere"), "{told}");
    fs::write(place.path("damaged"), b"\x28\xb5\x2f\xfd damaged").unwrap();
    place.refused(&["diff", "zstd", "damaged"], 4);
    place.refused(&["diff"], 2);
    place.refused(&["diff", "zstd"], 2);
}

#[test]
fn a_directory_is_listed() {
    let place = dumped();
    let directory = place.directory.path();
    fs::create_dir(directory.join("all")).unwrap();
    for (from, to) in [("zstd", "checkpoint-web_shop-web-1.tar"), ("none", "b.ckpt")] {
        fs::rename(directory.join(from), directory.join("all").join(to)).unwrap();
    }
    fs::write(directory.join("all/checkpoint-empty.tar"), "").unwrap();
    fs::write(directory.join("all/notes.txt"), "").unwrap();
    let output = place.ckpt(&["list", "all"]).assert().success().get_output().clone();
    let (text, told) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines.len() == 3 && lines[0].starts_with("CONTAINER") && lines[1].ends_with("b.ckpt"),
        "{text}"
    );
    assert!(
        lines[2].contains("bundle") && lines[2].ends_with("checkpoint-web_shop-web-1.tar"),
        "{text}"
    );
    assert!(
        told.contains("checkpoint-empty.tar") && !told.contains("notes"),
        "{told}"
    );
    let long = place.text(&["list", "-l", "all/b.ckpt"]);
    assert!(long.contains("ROOT FILES") && long.contains("8.5 KiB"), "{long}");
    let json = place.json(&["list", "all"]);
    assert!(
        validator("list").is_valid(&json) && json.as_array().unwrap().len() == 2,
        "{json}"
    );
    fs::create_dir(directory.join("none-here")).unwrap();
    assert_eq!(place.text(&["list", "none-here"]), "no checkpoints in none-here\n");
    place.refused(&["list", "nowhere"], 1);
}

/// The dump as an engine would have it: a tar without index or checksums, its specification with these annotations.
fn foreign(place: &Place, name: &str, flags: &str, annotations: Value) {
    let directory = place.path("unpacked");
    place.text(&["extract", "none", "-C", "unpacked", "--quiet"]);
    for ours in ["ckpt.json", "index.json", "SHA256SUMS", "cgroup.json", "bind.mounts"] {
        let _ = fs::remove_file(directory.join(ours));
    }
    let spec: Value = serde_json::from_slice(&fs::read(directory.join("spec.dump")).unwrap()).unwrap();
    let spec = spec.as_object().unwrap().clone();
    let spec = spec
        .into_iter()
        .chain([("annotations".to_owned(), annotations)])
        .collect::<serde_json::Map<_, _>>();
    fs::write(directory.join("spec.dump"), serde_json::to_vec(&spec).unwrap()).unwrap();
    fs::rename(directory.join("rootfs.tar"), directory.join("rootfs-diff.tar")).unwrap();
    let mut tar = Command::new("tar");
    tar.arg(flags).arg(place.path(name)).arg("-C").arg(&directory).arg(".");
    tar.assert().success();
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn foreign_archives_are_shown_whatever_their_compression() {
    let place = dumped();
    let crio = serde_json::json!({
        "io.container.manager": "cri-o",
        "io.kubernetes.cri-o.Metadata": "{\"name\":\"container-name\"}",
        "io.kubernetes.cri-o.Created": "2023-01-02T03:04:05Z",
        "io.kubernetes.cri-o.IP.0": "10.0.0.7",
        "io.kubernetes.pod.name": "pod-name",
        "io.kubernetes.pod.namespace": "default",
    });
    fs::create_dir(place.path("all")).unwrap();
    for (name, flags) in [("all/checkpoint-a.tar", "cf"), ("all/checkpoint-b.tar", "czf")] {
        foreign(&place, name, flags, crio.clone());
        let all = place.text(&[
            "inspect",
            name,
            "--ps-tree-cmd",
            "--ps-tree-env",
            "--files",
            "--metadata",
            "--stats",
        ]);
        for wanted in [
            "1 /bin/counter",
            "TERM=xterm",
            "[REG 3]  /log (at 24",
            "pod-name",
            "default",
            "io.kubernetes.cri-o.IP.0: 10.0.0.7",
            "85706 us",
        ] {
            assert!(all.contains(wanted), "{wanted}: {all}");
        }
        assert_eq!(
            place.text(&["memory", name, "--strings"]),
            place.text(&["memory", "zstd", "--strings"])
        );
        assert_eq!(
            place.text(&["memory", name, "--pid", "1"]),
            place.text(&["memory", "zstd", "--pid", "1"])
        );
        let report = place.text(&["report", name, "-o", "page.html"]);
        assert!(report.starts_with("page.html ("), "{report}");
    }
    let same: Value = serde_json::from_slice(
        &place
            .ckpt(&["diff", "all/checkpoint-a.tar", "zstd", "--json"])
            .output()
            .unwrap()
            .stdout,
    )
    .unwrap();
    assert_eq!(
        (
            same["memory"][0]["same"].as_u64(),
            same["memory"][0]["changed"].as_u64()
        ),
        (Some(16384), Some(0))
    );
    assert!(
        same["configuration"]
            .as_array()
            .unwrap()
            .iter()
            .any(|setting| setting["name"] == "/engine/pod/name"),
        "{same}"
    );
    let listed = place.text(&["list", "all"]);
    let line = listed.lines().nth(1).unwrap();
    for wanted in ["container-name", "default", "pod-name", "CRI-O", "checkpoint-a.tar"] {
        assert!(line.contains(wanted), "{wanted}: {line}");
    }
    assert!(place.text(&["list", "-l", "all"]).contains("10.0.0.7"));
}

#[test]
fn statistics_that_are_missing_or_not_valid() {
    let place = dumped();
    foreign(&place, "good.tar", "cf", serde_json::json!({}));
    assert!(
        place
            .text(&["inspect", "good.tar", "--stats"])
            .contains("memwrite      36 us")
    );
    let unpacked = place.path("again");
    for content in [None, Some("{}")] {
        let _ = fs::remove_dir_all(&unpacked);
        fs::create_dir(&unpacked).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("xf")
            .arg(place.path("good.tar"))
            .arg("-C")
            .arg(&unpacked)
            .assert()
            .success();
        fs::remove_file(unpacked.join("stats-dump")).unwrap();
        if let Some(content) = content {
            fs::write(unpacked.join("stats-dump"), content).unwrap();
        }
        let mut tar = Command::new("tar");
        tar.arg("cf")
            .arg(place.path("bad.tar"))
            .arg("-C")
            .arg(&unpacked)
            .arg(".")
            .assert()
            .success();
        assert!(
            place
                .refused(&["inspect", "bad.tar", "--stats"], 4)
                .contains("stats-dump")
        );
        assert!(place.text(&["inspect", "bad.tar"]).contains("/bin/counter"));
    }
}

#[test]
fn the_page_is_one_file_for_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = dumped();
    place.text(&["report", "zstd", "-o", "page.html"]);
    let path = place.path("page.html");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let page = fs::read_to_string(&path).unwrap();
    assert!(page.contains("/bin/counter") && page.contains("default-src 'none'") && !page.contains("TERM=xterm"));
    assert_eq!(
        place.text(&["report", "zstd", "-o", "-"]),
        page,
        "the same archive makes the same page"
    );
    assert!(
        place
            .text(&["report", "zstd", "-o", "-", "--env"])
            .contains("TERM=xterm")
    );
    let output = place.piped(&["report", "-", "-o", "-"], "gzip");
    assert!(String::from_utf8(output.stdout).unwrap().contains("/bin/counter"));
    let kept = fs::read_dir(&place.directory).unwrap().count();
    place.refused(&["report", "zstd", "-o", "nowhere/page.html"], 1);
    assert_eq!(fs::read_dir(&place.directory).unwrap().count(), kept);
}
