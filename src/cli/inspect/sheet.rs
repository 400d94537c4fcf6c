//! The short view of an archive, and the sections that it is made of.

use super::super::archive::Entry;
use super::super::render::sheet::Sheet;
use super::super::render::text;
use super::inspection::Inspection;
use super::{processes, sections};
use crate::manifest::{BindMount, CgroupMode, Engine, Filesystem, Manifest, RootfsMode};

/// Directories whose entries are counted, not listed.
const COUNTED: [&str; 2] = ["checkpoint/", "pre-checkpoint/"];
/// Processes that the short view lists.
const PROCESSES: usize = 12;

/// Limits that the short view shows, and their values where nobody set them.
const LIMITS: [(&str, &[&str]); 13] = [
    ("memory.max", &["max"]),
    ("memory.high", &["max"]),
    ("memory.swap.max", &["max"]),
    ("memory.limit_in_bytes", &["-1", "9223372036854771712"]),
    ("memory.memsw.limit_in_bytes", &["-1", "9223372036854771712"]),
    ("cpu.max", &["max", "max 100000"]),
    ("cpu.weight", &["100"]),
    ("cpu.cfs_quota_us", &["-1"]),
    ("cpu.shares", &["1024"]),
    ("cpuset.cpus", &[""]),
    ("pids.max", &["max"]),
    ("io.max", &[""]),
    ("io.weight", &["default 100"]),
];
/// Characters of a value that the short view shows.
const LONGEST_LIMIT: usize = 60;

/// The short view.
pub fn whole(inspection: &Inspection) -> Sheet {
    let mut sheet = Sheet::default();
    about(&mut sheet, inspection);
    inside(&mut sheet, inspection);
    bind_mounts(&mut sheet, inspection);
    filesystem(&mut sheet, &inspection.manifest.filesystem);
    entries(&mut sheet, &inspection.entries);
    sheet
}

/// What the archive says of itself.
pub fn about(sheet: &mut Sheet, inspection: &Inspection) {
    archive(sheet, inspection);
    container(sheet, &inspection.manifest);
    host(sheet, &inspection.manifest);
    checkpoint(sheet, inspection);
}

/// What the images say, in short.
fn inside(sheet: &mut Sheet, inspection: &Inspection) {
    let inside = &inspection.inside;
    sheet.section("Processes");
    for branch in processes::tree(&inside.processes).iter().take(PROCESSES) {
        let command = processes::short(&branch.process.command(), processes::COMMAND);
        sheet.note(processes::line(branch, &command));
    }
    let more = inside.processes.len().saturating_sub(PROCESSES);
    if more > 0 {
        sheet.note(format!("… and {more} more (--ps-tree-cmd)"));
    }
    if !inside.processes.is_empty() {
        let sum = |of: fn(&crate::images::Process) -> usize| inside.processes.iter().map(of).sum::<usize>();
        let (threads, files) = (sum(|process| process.threads.len()), sum(|process| process.files.len()));
        let sockets = sum(|process| process.sockets().count());
        let [threads, files, sockets] = [(threads, "thread"), (files, "open file"), (sockets, "socket")]
            .map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
        sheet.note(format!(
            "{threads}, {files} (--files), {sockets} among them (--sockets)"
        ));
        sheet.section("Memory");
        sections::totals(sheet, &inside.memory);
    }
    limits(sheet, inspection);
    sheet.section("Not shown");
    for problem in &inside.problems {
        sheet.note(&problem.problem);
    }
}

/// The limits that people set, in short.
fn limits(sheet: &mut Sheet, inspection: &Inspection) {
    sheet.section("Limits");
    for group in &inspection.inside.cgroups {
        for (file, value) in &group.limits {
            let set = LIMITS
                .iter()
                .any(|(name, unlimited)| name == file && !unlimited.contains(&value.as_str()));
            if set && value.len() <= LONGEST_LIMIT {
                let path = if group.path.is_empty() { "/" } else { &group.path };
                sheet.note(format!("{file} {value} ({path})"));
            }
        }
    }
}

/// What is mounted from the host.
pub fn bind_mounts(sheet: &mut Sheet, inspection: &Inspection) {
    sheet.section("Bind mounts");
    for mount in &inspection.manifest.bind_mounts {
        sheet.note(bind_mount(mount));
    }
}

fn archive(sheet: &mut Sheet, inspection: &Inspection) {
    let Inspection { archive, manifest, .. } = inspection;
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
    engine_network(sheet, engine);
}

/// An engine's networks and ports.
pub fn engine_network(sheet: &mut Sheet, engine: &Engine) {
    for network in &engine.networks {
        let mac = network.mac.as_ref().map(|mac| format!(", {mac}")).unwrap_or_default();
        let gateways: String = network
            .gateways
            .iter()
            .map(|gateway| format!(" via {gateway}"))
            .collect();
        let text = format!(
            "{} {} {}{gateways}{mac}",
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
    let cpu = &host.cpu;
    let cgroups = match host.cgroup_mode {
        CgroupMode::V1 => "version 1",
        CgroupMode::Hybrid => "version 1, with version 2 beside it",
        CgroupMode::V2 => "version 2",
        CgroupMode::Unknown => "not recorded",
    };
    let cpu_text = format!(
        "{} ({} family {} model {}, xsave {} bytes)",
        cpu.name, cpu.vendor, cpu.family, cpu.model, cpu.xsave_size
    );
    // Engines record little of it, or nothing.
    let kernel = format!("{} {}", host.kernel, host.arch);
    let runtime = format!("{} {}", manifest.runtime.name, manifest.runtime.version);
    sheet
        .section("Made on")
        .line_if("kernel", Some(kernel).filter(|_| !host.kernel.is_empty()))
        .line_if("cpu", Some(cpu_text).filter(|_| !cpu.vendor.is_empty()))
        .line("cgroups", cgroups)
        .line_if("criu", Some(&host.criu).filter(|version| !version.is_empty()))
        .line("runtime", runtime.trim());
}

fn checkpoint(sheet: &mut Sheet, inspection: &Inspection) {
    let manifest = &inspection.manifest;
    sheet.section("Checkpoint").line("taken at", &manifest.checkpointed_at);
    sheet.line("options", options(manifest));
    if let Some(images) = &inspection.images {
        images.faults.iter().for_each(|fault| _ = sheet.line("damaged", fault));
        images.notes.iter().for_each(|note| _ = sheet.line("note", note));
    }
    let Some(statistics) = &inspection.statistics else {
        return;
    };
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
    let kind = mount.file_type;
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

/// The entries, images counted.
pub fn entries(sheet: &mut Sheet, entries: &[Entry]) {
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
