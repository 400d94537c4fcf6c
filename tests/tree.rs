//! Trees as tars and back: our own, and those of GNU tar and Python. Needs root: owners, devices and `trusted.*`.

#[path = "support/tree.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{ALL, Look, assert_same, look, pack, run, run_with, sparse, unpack, zoo};

#[test]
fn everything_survives_packing_and_unpacking() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    zoo(&from);
    let before = look(&from, ALL);
    let tar = pack(&from);
    unpack(&tar, &to).unwrap();
    assert_same(&before, &look(&to, ALL));
    assert_eq!(pack(&to), tar, "the copy packs to the same bytes");
}

#[test]
fn gnu_tar_restores_what_we_pack() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    zoo(&from);
    fs::create_dir(&to).unwrap();
    let tar = pack(&from);
    let mut command = Command::new("tar");
    command
        .args(["-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C"])
        .arg(&to);
    let output = run_with(&mut command, &tar);
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    // It finds some of the zoo's times odd, and restores them.
    assert_eq!(
        complaints
            .lines()
            .filter(|line| !line.contains("time stamp"))
            .collect::<Vec<_>>(),
        [""; 0]
    );
    assert_same(&look(&from, ALL), &look(&to, ALL));
}

#[test]
fn python_restores_what_we_pack() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    zoo(&from);
    fs::create_dir(&to).unwrap();
    let script = "import io, sys, tarfile\n\
        tar = tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read()))\n\
        tar.extractall(sys.argv[1], numeric_owner=True, **({'filter': 'fully_trusted'} if hasattr(tarfile, 'fully_trusted_filter') else {}))\n";
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(&to);
    run_with(&mut command, &pack(&from));
    // Python restores no extended attributes, no times of links, others through floating point, and makes links anew.
    let seen = Look {
        xattrs: false,
        nanoseconds: false,
        links: "fcbp",
        ..ALL
    };
    let (mut expected, mut found) = (look(&from, seen), look(&to, seen));
    for node in expected.values_mut().chain(found.values_mut()) {
        if node.kind == 'l' {
            node.mtime = (0, 0);
        }
        if node.mtime.0 < 0 {
            node.mtime.0 = -1;
        }
    }
    assert_same(&expected, &found);
}

/// A tree that every format of GNU tar can hold.
fn plain_tree(root: &Path) {
    zoo(root);
    for name in ["meta", "block"] {
        fs::remove_file(root.join(name)).unwrap();
    }
    sparse(
        &root.join("many-holes"),
        8 << 20,
        &(0..100).map(|i| (i * 65536, &b"x"[..])).collect::<Vec<_>>(),
    );
}

#[test]
fn we_restore_what_gnu_tar_packs() {
    let posix: &[&str] = &["--format=posix", "--xattrs", "--xattrs-include=*"];
    let cases: [(&[&str], bool); 6] = [
        (posix, true),
        (&["--format=posix", "--xattrs", "--xattrs-include=*", "--sparse"], true),
        (&["--format=posix", "--sparse", "--sparse-version=0.0"], false),
        (&["--format=posix", "--sparse", "--sparse-version=0.1"], false),
        (&["--format=gnu"], false),
        (&["--format=gnu", "--sparse"], false),
    ];
    for (arguments, is_full) in cases {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        if is_full {
            zoo(&from)
        } else {
            plain_tree(&from)
        }
        let mut command = Command::new("tar");
        command
            .args(["-c", "--numeric-owner"])
            .args(arguments)
            .arg("-C")
            .arg(&from)
            .arg(".");
        let tar = run(&mut command).stdout;
        unpack(&tar, &to).unwrap_or_else(|e| panic!("{arguments:?}: {e}"));
        let posix = arguments.contains(&"--format=posix");
        let holes = arguments.contains(&"--sparse");
        // GNU tar makes every FIFO one of its own.
        let seen = Look {
            xattrs: is_full,
            nanoseconds: posix,
            holes,
            root: true,
            links: "fl",
        };
        assert_same(&look(&from, seen), &look(&to, seen));
    }
}

#[test]
fn we_restore_what_python_packs() {
    for format in ["PAX_FORMAT", "GNU_FORMAT"] {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        plain_tree(&from);
        for name in ["ünusual-hole", "all-hole", "many-holes"] {
            fs::remove_file(from.join(name)).unwrap();
        }
        let script = "import sys, tarfile\n\
            tar = tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=getattr(tarfile, sys.argv[2]))\n\
            tar.add(sys.argv[1], arcname='.')\n\
            tar.close()\n";
        let tar = run(Command::new("python3").args(["-c", script]).arg(&from).arg(format)).stdout;
        unpack(&tar, &to).unwrap_or_else(|e| panic!("{format}: {e}"));
        let seen = Look {
            xattrs: false,
            nanoseconds: false,
            holes: false,
            root: true,
            links: "f",
        };
        assert_same(&look(&from, seen), &look(&to, seen));
    }
}
