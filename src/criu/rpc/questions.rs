//! What CRIU and this kernel can do, asked over RPC.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::messages::{Features, Kind, Options, Request, Response};
use super::worker::{Handed, Worker};
use crate::criu::Error;

/// The longest that an answer may take. They take some hundredths of a second; a machine that swaps takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks a worker of its own, which nothing else of the environment reaches.
fn ask(program: &Path, request: &Request) -> Result<Response, Error> {
    let worker = Worker::start(program, |command| {
        command
            .env_remove("CRIU_CONFIG_FILE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
    })?;
    let mut worker = worker.with_patience(PATIENCE)?;
    let answer = worker.ask(request);
    let _ = worker.finish();
    answer
}

/// CRIU's version, as it prints it: `4.2.1`.
///
/// # Errors
/// Where CRIU cannot be asked.
pub fn version(program: &Path) -> Result<String, Error> {
    let request = Request {
        kind: Kind::Version.into(),
        ..Request::default()
    };
    let version = ask(program, &request)?.version.unwrap_or_default();
    let sublevel = version.sublevel.map_or_else(String::new, |number| format!(".{number}"));
    Ok(format!("{}.{}{sublevel}", version.major_number, version.minor_number))
}

/// Whether CRIU works with this kernel: it looks for everything that a dump needs.
///
/// # Errors
/// [`Error::Refused`] where it does not, with the first thing that it misses.
pub fn check(program: &Path) -> Result<(), Error> {
    let place = tempfile::tempdir().map_err(|error| Error::io("making", std::env::temp_dir(), error))?;
    let images = Handed::open(place.path())?;
    let request = Request {
        kind: Kind::Check.into(),
        options: Some(Options {
            log_level: Some(1),
            ..logging_to(&images, "check.log")
        }),
        ..Request::default()
    };
    ask(program, &request).map(drop)
}

/// CRIU up to 4.1 wants an images directory, and all want a place for the log.
fn logging_to(images: &Handed, log: &str) -> Options {
    Options {
        images_dir_fd: -1,
        images_dir: Some(images.name()),
        log_file: Some(log.to_owned()),
        ..Options::default()
    }
}

/// Which of the features that RPC can tell this kernel has.
///
/// # Errors
/// Where CRIU cannot be asked.
pub fn features(program: &Path) -> Result<Features, Error> {
    let request = Request {
        kind: Kind::FeatureCheck.into(),
        features: Some(Features {
            mem_track: Some(true),
            lazy_pages: Some(true),
            pidfd_store: Some(true),
        }),
        ..Request::default()
    };
    Ok(ask(program, &request)?.features.unwrap_or_default())
}

/// Writes the `cpuinfo.img` of this processor into `images`.
///
/// # Errors
/// Where CRIU does not know this processor.
pub fn describe_cpu(program: &Path, images: &Path) -> Result<(), Error> {
    let images = Handed::open(images)?;
    let request = Request {
        kind: Kind::CpuinfoDump.into(),
        options: Some(logging_to(&images, "cpuinfo.log")),
        ..Request::default()
    };
    ask(program, &request).map(drop)
}

/// Whether this processor can run what was dumped on that of the `cpuinfo.img` in `images`.
///
/// # Errors
/// [`Error::Refused`] where it cannot, with CRIU's reason.
pub fn cpu(program: &Path, images: &Path) -> Result<(), Error> {
    let images = Handed::open(images)?;
    let request = Request {
        kind: Kind::CpuinfoCheck.into(),
        options: Some(Options {
            cpu_cap: Some(Options::CPU),
            ..logging_to(&images, "cpuinfo.log")
        }),
        ..Request::default()
    };
    ask(program, &request).map(drop)
}
