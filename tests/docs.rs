//! Generated files are what the code generates now. `UPDATE=1 cargo test --test docs` writes them again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that cannot run says so"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a file of the repository with what it should hold, or writes it.
fn same(path: &Path, want: &[u8]) {
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, want).unwrap();
    }
    let found = fs::read(path).unwrap_or_default();
    assert!(
        found == want,
        "{} is out of date: run UPDATE=1 cargo test --test docs",
        path.display()
    );
}

#[test]
fn man_pages_are_up_to_date() {
    let directory = root().join("docs/man");
    let pages = ckpt::cli::man_pages();
    for (name, page) in &pages {
        same(&directory.join(name), page);
    }
    let wanted: BTreeSet<PathBuf> = pages.into_iter().map(|(name, _)| directory.join(name)).collect();
    let found: BTreeSet<PathBuf> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(found, wanted, "a page of a command that is gone");
}

#[test]
fn the_schema_of_events_is_up_to_date() {
    same(
        &root().join("schema/events-v1.schema.json"),
        ckpt::cli::events_schema().as_bytes(),
    );
}

#[test]
fn the_schema_of_import_plans_is_up_to_date() {
    same(
        &root().join("schema/import-plan-v1.schema.json"),
        ckpt::rewrite::plan_schema().as_bytes(),
    );
}

#[test]
fn the_schemas_of_what_is_shown_of_checkpoints_are_up_to_date() {
    for (name, schema) in [
        ("inspect", ckpt::cli::inspect_schema()),
        ("memory", ckpt::cli::memory_schema()),
        ("diff", ckpt::cli::diff_schema()),
        ("list", ckpt::cli::list_schema()),
    ] {
        same(&root().join(format!("schema/{name}-v1.schema.json")), schema.as_bytes());
    }
}

#[test]
fn the_table_of_exit_codes_is_up_to_date() {
    let path = root().join("docs/exit-codes.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("| code |").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    let rows = ckpt::cli::exit_codes()
        .into_iter()
        .map(|(code, meaning)| format!("| {code} | {meaning} |\n"));
    let table: String = ["| code | meaning |\n".to_owned(), "|---|---|\n".to_owned()]
        .into_iter()
        .chain(rows)
        .collect();
    same(&path, format!("{before}{table}\n{after}").as_bytes());
}

#[test]
fn the_readme_and_the_help_list_the_same_exit_codes() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for (code, _) in ckpt::cli::exit_codes() {
        assert!(
            readme.contains(&format!("| {code} |")),
            "README.md has no exit code {code}"
        );
    }
}

/// The source of every test, and of every module that has tests.
fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn the_tests_that_stand_for_those_of_checkpointctl_are_there() {
    let mut text = String::new();
    for directory in ["src", "tests"] {
        sources(&root().join(directory), &mut text);
    }
    let page = fs::read_to_string(root().join("docs/checkpointctl.md")).unwrap();
    let names = page
        .split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
        .filter(|word| word.matches('_').count() >= 3);
    let mut count = 0;
    for name in names {
        // A name may be cut, after one that is whole.
        assert!(
            text.contains(&format!("fn {}", name.trim_end_matches('_'))),
            "there is no test {name}"
        );
        count += 1;
    }
    assert!(count > 30, "{count}");
}
