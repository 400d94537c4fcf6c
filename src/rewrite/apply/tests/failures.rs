//! Whatever fails or stops a preparation, nothing of it stays.

use std::os::unix::fs::symlink;

use super::super::*;
use super::area::*;
use crate::capture::DELETED_FILES;
use crate::rewrite::plan::Step;
use crate::rewrite::testing::Case;

#[test]
fn as_root_a_stop_before_any_step_leaves_nothing() {
    in_area(|area| {
        for made in [full, overlay] {
            let (mut case, _) = made(area);
            let before = area.everything();
            let plan = plan(&mut case);
            let steps = plan.steps.iter().filter(|step| step.is_preparation()).count();
            for stop_at in 0..steps {
                let (_, mut archive) = made(area);
                archive.stop_at = Some(stop_at);
                let error = apply(&plan, &mut archive, &crate::event::Silent).unwrap_err();
                assert!(matches!(error.fault, Fault::Stopped(_)), "{error}");
                assert_eq!((error.number, error.left.len()), (stop_at + 1, 0));
                assert_eq!(area.everything(), before, "stopped at step {}", stop_at + 1);
            }
        }
    });
}

/// A preparation with one thing that fails within a step.
type Failure = (
    &'static str,
    fn(&Area) -> (Case, Archive),
    fn(&mut Archive),
    &'static str,
);

const FAILURES: &[Failure] = &[
    (
        "root file system missing",
        full,
        |archive| drop(archive.entries.remove("rootfs.tar")),
        "rootfs.tar",
    ),
    (
        "root file system damaged",
        full,
        |archive| drop(archive.entries.insert("rootfs.tar", vec![1; 700])),
        "rootfs.tar",
    ),
    (
        "shared memory missing",
        full,
        |archive| drop(archive.entries.remove("devshm-checkpoint.tar")),
        "devshm",
    ),
    (
        "shared memory too large",
        full,
        |archive| {
            let large = "x".repeat(33 << 20);
            archive
                .entries
                .insert("devshm-checkpoint.tar", tar(&[("large", &large)]));
        },
        "devshm",
    ),
    (
        "mount missing",
        full,
        |archive| drop(archive.entries.remove("volumes/vol.tar")),
        "volumes/vol.tar",
    ),
    (
        "two files for one",
        full,
        |archive| {
            archive.entries.insert("volumes/f.tar", tar(&[("f", ""), ("g", "")]));
        },
        "must hold one file",
    ),
    (
        "a directory for a file",
        full,
        |archive| {
            archive.entries.insert("volumes/f.tar", tar(&[("f/g", "")]));
        },
        "must hold one file",
    ),
    ("images", full, |archive| archive.spoil_images = true, "images"),
    (
        "changes missing",
        overlay,
        |archive| drop(archive.entries.remove("rootfs-diff.tar")),
        "rootfs-diff.tar",
    ),
    (
        "deleted is no list",
        overlay,
        |archive| drop(archive.entries.insert(DELETED_FILES, b"{}".to_vec())),
        "not a JSON array",
    ),
    (
        "deleted upwards",
        overlay,
        |archive| deleted(archive, "../outside"),
        "`..`",
    ),
    (
        "deleted upwards from within",
        overlay,
        |archive| deleted(archive, "tree/../../outside"),
        "`..`",
    ),
    (
        "deleted the root",
        overlay,
        |archive| deleted(archive, "./"),
        "root of the tree",
    ),
    (
        "deleted with a NUL",
        overlay,
        |archive| deleted(archive, "a\\u0000b"),
        "NUL",
    ),
];

fn deleted(archive: &mut Archive, path: &str) {
    archive
        .entries
        .insert(DELETED_FILES, format!("[\"kept\", \"{path}\"]").into_bytes());
}

#[test]
fn as_root_a_failure_within_any_step_leaves_nothing_and_names_it() {
    in_area(|area| {
        for (name, made, spoil, message) in FAILURES {
            let (mut case, mut archive) = made(area);
            let before = area.everything();
            let plan = plan(&mut case);
            spoil(&mut archive);
            let error = apply(&plan, &mut archive, &crate::event::Silent).expect_err(name);
            let text = chain(&error);
            assert!(text.contains(message), "{name}: {text}");
            assert!(error.left.is_empty(), "{name}: {:?}", error.left);
            assert_eq!(area.everything(), before, "{name}");
        }
        assert_eq!(read(area.path("outside")), "outside");
    });
}

#[test]
fn as_root_system_calls_that_fail_leave_nothing() {
    in_area(|area| {
        let spoilt: [fn(&mut Step); 4] = [
            |step| {
                if let Step::MakeShm { options, .. } = step {
                    options.push("size=many".into())
                }
            },
            |step| {
                if let Step::NewNetns { pin } = step {
                    *pin = "/proc/pin".into()
                }
            },
            |step| {
                if let Step::MakeCgroup { directories, .. } = step {
                    directories.push("/proc/box/web".into())
                }
            },
            |step| {
                if let Step::WriteConfig { path } = step {
                    *path = "/proc/config.json".into()
                }
            },
        ];
        for spoil in spoilt {
            let (mut case, mut archive) = full(area);
            let before = area.everything();
            let mut plan = plan(&mut case);
            plan.steps.iter_mut().for_each(spoil);
            let error = apply(&plan, &mut archive, &crate::event::Silent).unwrap_err();
            assert!(matches!(error.fault, Fault::Io { .. }), "{:?}", error.fault);
            assert_eq!(area.everything(), before, "{:?}", error.fault);
        }
        // An overlay over nothing.
        let (mut case, mut archive) = overlay(area);
        let before = area.everything();
        let mut plan = plan(&mut case);
        for step in &mut plan.steps {
            if let Step::OverlayRootfs { work, upper, .. } = step {
                *work = upper.join("within");
            }
        }
        apply(&plan, &mut archive, &crate::event::Silent).unwrap_err();
        assert_eq!(area.everything(), before);
    });
}

#[test]
fn as_root_a_list_of_deleted_files_cannot_leave_the_root_file_system() {
    in_area(|area| {
        symlink(area.path(""), area.path("base/up")).unwrap();
        let (mut case, mut archive) = overlay(area);
        let before = area.everything();
        let plan = plan(&mut case);
        deleted(&mut archive, "up/outside");
        let applied = apply(&plan, &mut archive, &crate::event::Silent).unwrap();
        assert_eq!(read(plan.bundle.join("rootfs/up/outside")), "outside");
        assert!(applied.roll_back().is_empty());
        assert_eq!(area.everything(), before);
        // The link itself can be deleted.
        deleted(&mut archive, "up");
        let applied = apply(&plan, &mut archive, &crate::event::Silent).unwrap();
        assert!(plan.bundle.join("rootfs/up").symlink_metadata().is_err());
        assert_eq!(read(area.path("outside")), "outside");
        assert!(applied.roll_back().is_empty());
    });
}
