//! `ckpt check`: what this host can do, and whether it can restore a given archive.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write};
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Style};

use super::Outcome;
use super::archive::Archive;
use super::args::CheckArgs;
use super::look::CONFIG;
use super::render::failure::Failure;
use super::render::{Stop, Ui, text};
use crate::ability::{self, Candidate, Check, Facts, Level};
use crate::archive::limits::MAX_JSON;
use crate::cgroup::CgroupRecord;
use crate::error::{Error, ErrorKind};
use crate::host::HostFacts;
use crate::lxc::Source;
use crate::process::{FILES_JSON, Listing};
use crate::request::ImportRequest;
use crate::rewrite::podman::PodmanConfig;
use crate::rewrite::{self, Spec};

/// The entries that decide, beside the manifest.
const SPEC: &str = "spec.dump";
const CGROUPS: &str = "cgroup.json";
const CPUINFO: &str = "checkpoint/cpuinfo.img";
const LXC: &str = "lxc/";

const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();

/// Looks and reports; a line that is an error makes the exit code that of a host that is not able.
pub fn run(args: CheckArgs, ui: &Ui) -> Outcome {
    let facts = Facts::gather(args.runtime.into());
    let facts = facts.map_err(|error| Failure::new("cannot look at this host", error.kind(), &error))?;
    let mut checks = ability::checks(&facts);
    if let Some(request) = args.request() {
        checks.extend(compared(&request, &facts.host)?);
    }
    ui.result(&checks, |out| checks.iter().try_for_each(|check| line(out, check)))?;
    let able = checks.iter().all(|check| check.level != Level::Error);
    Ok(if able {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(ErrorKind::Host.exit_code())
    })
}

/// Compares this host with an archive, of which only the small entries are read where it is a file.
fn compared(request: &ImportRequest, here: &HostFacts) -> Result<Vec<Check>, Stop> {
    let archive = Archive::of(request.input.clone(), request.threads, "check");
    let mut texts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let summary = archive.read(
        &|name| [SPEC, CONFIG, CGROUPS, FILES_JSON, CPUINFO].contains(&name) || name.starts_with(LXC),
        &mut |name, _, content| {
            let mut text = Vec::new();
            content
                .take(MAX_JSON)
                .read_to_end(&mut text)
                .map_err(|error| archive.fail_read(error))?;
            texts.insert(name.to_owned(), text);
            Ok(())
        },
    )?;
    let fail = |error: Error| {
        Stop::from(Failure::new(
            format!("cannot check {}", archive.name()),
            error.kind(),
            &error,
        ))
    };
    let spec = texts.get(SPEC).ok_or(Error::NoEntry { entry: SPEC }).map_err(fail)?;
    let spec = Spec::parse(spec).map_err(|error| fail(rewrite::Error::from(error).into()))?;
    let cgroups = texts.get(CGROUPS).map(|text| CgroupRecord::from_json(text));
    let cgroups = cgroups.transpose().map_err(|error| fail(error.into()))?;
    let listing = texts.get(FILES_JSON).map(|text| Listing::from_json(text)).transpose();
    let listing = listing.map_err(|error| fail(crate::runtime::Error::from(error).into()))?;
    let lxc = Source::read(|name| Ok::<_, Error>(texts.get(name).cloned())).map_err(fail)?;
    let podman = texts.get(CONFIG).and_then(|text| PodmanConfig::parse(text));
    let candidate = Candidate {
        manifest: &summary.manifest,
        spec: &spec,
        cgroups: cgroups.as_ref(),
        listing: listing.as_ref(),
        cpuinfo: texts.get(CPUINFO).map(Vec::as_slice),
        lxc: lxc.as_ref(),
        podman: podman.as_ref(),
        content_bytes: summary.content_bytes,
    };
    ability::restorable(&candidate, request, here).map_err(fail)
}

fn line(out: &mut dyn Write, check: &Check) -> io::Result<()> {
    let (style, word) = match check.level {
        Level::Ok => (GREEN, "ok"),
        Level::Warning => (YELLOW, "warning"),
        Level::Error => (RED, "error"),
    };
    writeln!(
        out,
        "{style}{word:<9}{style:#}{:<14}{}",
        check.subject,
        text::visible(&check.message)
    )?;
    match &check.advice {
        Some(advice) => writeln!(out, "{:<23}{}", "", text::visible(advice)),
        None => Ok(()),
    }
}
