//! `ckpt import --status`: how far lazy imports are.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::Outcome;
use crate::cli::render::failure::Failure;
use crate::cli::render::{Ui, text};
use crate::criu::wire::PAGE_SIZE;
use crate::error::ErrorKind;
use crate::import::{LazyState, LazyStatus, lazy_imports};

/// Shows the lazy imports that are known, or the one of a container.
pub fn run(container: Option<&str>, ui: &Ui) -> Outcome {
    let found = lazy_imports(container)
        .map_err(|error| Failure::new("cannot tell how far lazy imports are", error.kind(), &error))?;
    if let (Some(name), true) = (container, found.is_empty()) {
        let what = format!("no lazy import of a container {name} is known");
        return Err(Failure::bare(what, ErrorKind::NotFound).into());
    }
    ui.result(&found, |out| found.iter().try_for_each(|status| line(out, status)))?;
    Ok(ExitCode::SUCCESS)
}

fn line(out: &mut dyn Write, status: &LazyStatus) -> io::Result<()> {
    let state = match status.state {
        LazyState::Restoring => "is being restored",
        LazyState::Following => "runs, memory follows",
        LazyState::Complete => "runs, memory is complete",
        LazyState::Failed => "failed, nothing is left of it",
        LazyState::Killed => "was stopped: the import was killed",
    };
    let (done, total) = (status.pages * PAGE_SIZE, status.total_pages * PAGE_SIZE);
    let (container, archive) = (&status.container, status.archive.display().to_string());
    writeln!(
        out,
        "{container}: {state} ({} of {} from {})",
        text::bytes(done),
        text::bytes(total),
        text::printable(&archive)
    )?;
    match &status.error {
        Some(error) => writeln!(out, "  {}", text::printable(error)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let status = LazyStatus {
            container: "web".into(),
            runtime: "runc".into(),
            state: LazyState::Following,
            pages: 256,
            total_pages: 1024,
            archive: "/data/web.ckpt".into(),
            process: 7,
            started: 1,
            error: None,
        };
        let failed = LazyStatus {
            state: LazyState::Failed,
            error: Some("frame 3: bad".into()),
            ..status.clone()
        };
        let mut out = Vec::new();
        for status in [status, failed] {
            line(&mut out, &status).unwrap();
        }
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @"
        web: runs, memory follows (1.0 MiB of 4.0 MiB from /data/web.ckpt)
        web: failed, nothing is left of it (1.0 MiB of 4.0 MiB from /data/web.ckpt)
          frame 3: bad
        ");
    }
}
