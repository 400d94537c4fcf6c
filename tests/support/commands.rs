//! Other programs, as the tests use them.

use std::path::Path;
use std::process::{Command, Output};

fn run(directory: &Path, script: &str) -> Output {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(directory)
        .env("LC_ALL", "C")
        .output()
        .expect("bash");
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a pipeline that must succeed.
pub fn pipe(directory: &Path, script: &str) {
    run(directory, script);
}

/// What a pipeline prints, which must succeed.
pub fn output(directory: &Path, script: &str) -> String {
    String::from_utf8(run(directory, script).stdout).expect("text")
}
