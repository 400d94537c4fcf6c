//! `ckpt inspect`: what an archive says of itself.

use std::io::Read as _;
use std::process::ExitCode;

use crate::criu::stats::DumpStats;
use crate::foreign::Faults;
use crate::manifest::{BindMount, CgroupMode, Engine, FileType, Filesystem, Manifest, RootfsMode};

use super::Outcome;
use super::archive::{Archive, Entry};
use super::args::InspectArgs;
use super::render::sheet::Sheet;
use super::render::{Ui, text};

/// The entry with CRIU's statistics.
const STATISTICS: &str = "stats-dump";
/// Directories whose entries are counted, not listed.
const COUNTED: [&str; 2] = ["checkpoint/", "pre-checkpoint/"];

/// Size that CRIU's statistics never come near to.
const MAX_STATISTICS: u64 = 64 * 1024;

/// What `--json` prints.
#[derive(Debug, serde::Serialize)]
struct Report {
    archive: File,
    manifest: Manifest,
    entries: Vec<Entry>,
    statistics: Option<DumpStats>,
    /// Of another engine's archive, what is wrong or strange in its images.
    #[serde(skip_serializing_if = "Option::is_none")]
    images: Option<Faults>,
}

/// An archive as a file.
#[derive(Debug, serde::Serialize)]
struct File {
    /// None where another engine made it, which makes no checksums.
    identity: Option<String>,
    compression: String,
    bytes: u64,
    content_bytes: u64,
}

/// Shows what is in an archive.
pub fn run(args: InspectArgs, ui: &Ui) -> Outcome {
    let archive = Archive::new(args.file, None, "inspect");
    let mut statistics = None;
    let summary = archive.read(&|name| name == STATISTICS, &mut |_, _, content| {
        let mut file = Vec::new();
        // Statistics that cannot be read are no reason not to show the rest.
        if content.take(MAX_STATISTICS).read_to_end(&mut file).is_ok() {
            statistics = DumpStats::from_file(&file).ok();
        }
        Ok(())
    })?;
    let report = Report {
        archive: File {
            identity: summary.identity.map(|identity| identity.to_string()),
            compression: summary.compression,
            bytes: summary.stored_bytes,
            content_bytes: summary.content_bytes,
        },
        manifest: summary.manifest,
        entries: summary.entries,
        statistics,
        images: summary.faults,
    };
    ui.result(&report, |out| sheet(&report).write(out))?;
    Ok(ExitCode::SUCCESS)
}

/// The report as a sheet.
fn sheet(report: &Report) -> Sheet {
    let mut sheet = Sheet::default();
    archive(&mut sheet, report);
    container(&mut sheet, &report.manifest);
    host(&mut sheet, &report.manifest);
    checkpoint(&mut sheet, report);
    sheet.section("Bind mounts");
    for mount in &report.manifest.bind_mounts {
        sheet.note(bind_mount(mount));
    }
    filesystem(&mut sheet, &report.manifest.filesystem);
    entries(&mut sheet, &report.entries);
    sheet
}

fn archive(sheet: &mut Sheet, report: &Report) {
    let Report { archive, manifest, .. } = report;
    let producer = &manifest.producer;
    let identity = match &archive.identity {
        Some(identity) => format!("sha256:{identity}"),
        None => "none: the archive has no checksums (ckpt seal adds them)".to_owned(),
    };
    sheet.section("Archive").line("identity", identity);
    let (size, content) = (text::bytes(archive.bytes), text::bytes(archive.content_bytes));
    let ratio = archive.content_bytes as f64 / archive.bytes.max(1) as f64;
    sheet.line(
        "size",
        format!("{size} ({}), content {content}, ratio {ratio:.2}", archive.compression),
    );
    let made_by = format!("{}, made by {} {}", manifest.format, producer.name, producer.version);
    match (&manifest.engine, &archive.identity) {
        (Some(engine), None) => sheet.line("format", format!("{}'s own", engine.name)),
        (Some(engine), Some(_)) => sheet.line("format", format!("{made_by} from a checkpoint of {}", engine.name)),
        _ => sheet.line("format", made_by),
    };
    sheet.line_if(
        "parent",
        manifest.parent.as_ref().map(|parent| format!("sha256:{parent}")),
    );
}

fn container(sheet: &mut Sheet, manifest: &Manifest) {
    let container = &manifest.container;
    sheet.section("Container").line("name", &container.name);
    sheet.line_if("id", Some(&container.id).filter(|id| **id != container.name));
    sheet.line_if(
        "image",
        container.image.as_ref().map(|image| match &image.digest {
            Some(digest) => format!("{} ({digest})", image.name),
            None => image.name.clone(),
        }),
    );
    sheet.line_if("hostname", container.hostname.as_ref());
    manifest.engine.iter().for_each(|engine| engine_lines(sheet, engine));
    sheet.line_if("created", container.created.as_ref());
    sheet.line_if("bundle", Some(&container.bundle).filter(|bundle| !bundle.is_empty()));
    sheet.line("root", &container.rootfs);
    sheet.line("terminal", if container.terminal { "yes" } else { "no" });
    let namespaces = manifest.namespaces.iter().map(|namespace| match &namespace.path {
        Some(path) => format!("{} ({path})", namespace.kind),
        None => namespace.kind.clone(),
    });
    sheet.line("namespaces", namespaces.collect::<Vec<_>>().join(", "));
}

/// What an engine says beside what every runtime says.
fn engine_lines(sheet: &mut Sheet, engine: &Engine) {
    sheet.line("engine", engine.name.to_string());
    sheet.line_if(
        "pod",
        engine.pod.as_ref().map(|pod| match &pod.namespace {
            Some(namespace) => format!("{} in {namespace}", pod.name),
            None => pod.name.clone(),
        }),
    );
    for network in &engine.networks {
        let mac = network.mac.as_ref().map(|mac| format!(", {mac}")).unwrap_or_default();
        let text = format!(
            "{} {} {}{mac}",
            network.name,
            network.interface,
            network.addresses.join(" ")
        );
        sheet.line("network", text.trim());
    }
    for port in &engine.ports {
        let last = |first: u16| match port.count {
            0 | 1 => first.to_string(),
            count => format!("{first}-{}", first.saturating_add(count - 1)),
        };
        let (host, container) = (last(port.host_port), last(port.container_port));
        let ip = Some(&port.host_ip)
            .filter(|ip| !ip.is_empty())
            .map(|ip| format!("{ip}:"));
        sheet.line(
            "port",
            format!("{}{host} to {container}/{}", ip.unwrap_or_default(), port.protocol),
        );
    }
}

fn host(sheet: &mut Sheet, manifest: &Manifest) {
    let host = &manifest.host;
    if host.kernel.is_empty() {
        let (runtime, version) = (&manifest.runtime.name, &manifest.runtime.version);
        let runtime = format!("{runtime} {version}");
        sheet.section("Made on").line("host", "not recorded");
        sheet.line("runtime", runtime.trim());
        return;
    }
    let cpu = &host.cpu;
    let cgroups = match host.cgroup_mode {
        CgroupMode::V1 => "version 1",
        CgroupMode::Hybrid => "version 1, with version 2 beside it",
        CgroupMode::V2 => "version 2",
        CgroupMode::Unknown => "not recorded",
    };
    sheet
        .section("Made on")
        .line("kernel", format!("{} {}", host.kernel, host.arch));
    sheet.line(
        "cpu",
        format!(
            "{} ({} family {} model {}, xsave {} bytes)",
            cpu.name, cpu.vendor, cpu.family, cpu.model, cpu.xsave_size
        ),
    );
    sheet.line("cgroups", cgroups).line("criu", &host.criu);
    sheet.line(
        "runtime",
        format!("{} {}", manifest.runtime.name, manifest.runtime.version),
    );
}

fn checkpoint(sheet: &mut Sheet, report: &Report) {
    let manifest = &report.manifest;
    sheet.section("Checkpoint").line("taken at", &manifest.checkpointed_at);
    sheet.line("options", options(manifest));
    if let Some(images) = &report.images {
        images.faults.iter().for_each(|fault| _ = sheet.line("damaged", fault));
        images.notes.iter().for_each(|note| _ = sheet.line("note", note));
    }
    let Some(statistics) = &report.statistics else { return };
    let microseconds = |count: u32| text::seconds(std::time::Duration::from_micros(count.into()));
    let pages = |count: u64| text::bytes(count.saturating_mul(manifest.host.page_size));
    sheet.line("frozen", microseconds(statistics.frozen_time));
    let shared = statistics.shpages_written.unwrap_or(0);
    sheet.line(
        "memory",
        format!("{} written, {} shared", pages(statistics.pages_written), pages(shared)),
    );
    let skipped = statistics.pages_skipped_parent;
    sheet.line_if("in parent", (skipped > 0).then(|| pages(skipped)));
}

/// The options that were given, under the names of their flags.
fn options(manifest: &Manifest) -> String {
    let Ok(serde_json::Value::Object(options)) = serde_json::to_value(&manifest.options) else {
        return String::new();
    };
    let given = options.into_iter().filter_map(|(name, value)| match value {
        serde_json::Value::Bool(true) => Some(name),
        serde_json::Value::String(value) => Some(format!("{name} {value}")),
        serde_json::Value::Array(values) => {
            let values: Vec<_> = values.iter().filter_map(serde_json::Value::as_str).collect();
            Some(format!("{name} {}", values.join(",")))
        }
        _ => None,
    });
    let given: Vec<String> = given.collect();
    if given.is_empty() {
        "none".to_owned()
    } else {
        given.join(", ")
    }
}

fn bind_mount(mount: &BindMount) -> String {
    let kind = match mount.file_type {
        FileType::Directory => "directory",
        FileType::File => "file",
    };
    let content = mount
        .entry
        .as_ref()
        .map(|entry| format!(", content in {entry}"))
        .unwrap_or_default();
    let options = mount.options.join(",");
    format!(
        "{} from {} ({kind} {}, {options}{content})",
        mount.destination, mount.source, mount.permissions
    )
}

fn filesystem(sheet: &mut Sheet, filesystem: &Filesystem) {
    let rootfs = match filesystem.rootfs {
        RootfsMode::None => "not in the archive",
        RootfsMode::Diff => "changes above an overlay's lower layers",
        RootfsMode::Full => "all files",
    };
    let entry = filesystem
        .entry
        .as_ref()
        .map(|entry| format!(", in {entry}"))
        .unwrap_or_default();
    sheet.section("Files").line("root", format!("{rootfs}{entry}"));
    sheet.line_if("base", filesystem.base.as_ref());
    sheet.line_if(
        "/dev/shm",
        filesystem.devshm.as_ref().map(|shm| format!("in {}", shm.entry)),
    );
    for (name, entry) in &filesystem.volumes {
        sheet.line("volume", format!("{name}, in {entry}"));
    }
}

fn entries(sheet: &mut Sheet, entries: &[Entry]) {
    sheet.section("Entries");
    let mut rest = entries.iter().peekable();
    while let Some(entry) = rest.next() {
        let Some(directory) = COUNTED.into_iter().find(|directory| entry.name.starts_with(directory)) else {
            sheet.line(&size(entry.bytes), &entry.name);
            continue;
        };
        let mut group = vec![entry];
        while let Some(next) = rest.next_if(|next| next.name.starts_with(directory)) {
            group.push(next);
        }
        sheet.line(
            &size(group.iter().map(|entry| entry.bytes).sum()),
            images(directory, &group),
        );
    }
}

/// A size as a label, aligned at its right end.
fn size(bytes: u64) -> String {
    format!("{:>10}", text::bytes(bytes))
}

fn images(directory: &str, group: &[&Entry]) -> String {
    let largest = group.iter().max_by_key(|entry| entry.bytes);
    let largest = largest.map(|entry| format!("; {} of it in {}", text::bytes(entry.bytes), entry.name));
    format!("{directory} ({} images{})", group.len(), largest.unwrap_or_default())
}
