//! The parts of an archive that are shown one by one.

use super::super::args::Parts;
use super::super::render::sheet::Sheet;
use super::super::render::{table, text};
use super::inspection::Inspection;
use super::{processes, sheet};
use crate::images::{KindMemory, Memory, Process};

/// The parts that were asked for.
pub fn chosen(inspection: &Inspection, parts: &Parts) -> Sheet {
    let mut sheet = Sheet::default();
    let inside = &inspection.inside;
    if parts.all {
        sheet::about(&mut sheet, inspection);
    }
    if parts.stats || parts.all {
        statistics(&mut sheet, inspection);
    }
    if parts.metadata || parts.all {
        metadata(&mut sheet, inspection);
    }
    if parts.processes() || parts.all {
        let commands = parts.ps_tree_cmd || parts.all;
        let environment = parts.ps_tree_env || parts.all;
        processes::tree_section(&mut sheet, &inside.processes, commands, environment);
        processes::threads_section(&mut sheet, &inside.processes);
    }
    if parts.memory || parts.all {
        memory(&mut sheet, &inside.memory, &inside.processes);
    }
    if parts.maps {
        mappings(&mut sheet, &inside.processes);
    }
    if parts.files || parts.all {
        processes::files_section(&mut sheet, &inside.processes);
    }
    if parts.sockets || parts.all {
        processes::sockets_section(&mut sheet, &inside.processes);
    }
    if parts.mounts || parts.all {
        mounts(&mut sheet, inspection);
    }
    if parts.network || parts.all {
        network(&mut sheet, inspection);
    }
    if parts.cgroups || parts.all {
        cgroups(&mut sheet, inspection);
    }
    if parts.all {
        sheet::entries(&mut sheet, &inspection.entries);
    }
    sheet
}

fn statistics(sheet: &mut Sheet, inspection: &Inspection) {
    sheet.section("CRIU dump statistics");
    let Some(statistics) = &inspection.statistics else {
        return;
    };
    let times = [
        ("freezing", statistics.freezing_time),
        ("frozen", statistics.frozen_time),
        ("memdump", statistics.memdump_time),
        ("memwrite", statistics.memwrite_time),
    ];
    for (name, microseconds) in times {
        sheet.line(name, format!("{microseconds} us"));
    }
    let pages = [
        ("scanned", Some(statistics.pages_scanned)),
        ("written", Some(statistics.pages_written)),
        ("in parent", Some(statistics.pages_skipped_parent)),
        ("lazy", Some(statistics.pages_lazy)),
        ("shared", statistics.shpages_written),
    ];
    for (name, pages) in pages {
        sheet.line_if(name, pages.map(|pages| format!("{pages} pages")));
    }
}

fn metadata(sheet: &mut Sheet, inspection: &Inspection) {
    let pod = inspection
        .manifest
        .engine
        .as_ref()
        .and_then(|engine| engine.pod.as_ref());
    sheet.section("Metadata");
    sheet.line_if("pod", pod.map(|pod| &pod.name));
    sheet.line_if("namespace", pod.and_then(|pod| pod.namespace.as_ref()));
    if inspection.annotations.is_empty() {
        sheet.note("no annotations");
    }
    for (name, value) in &inspection.annotations {
        sheet.note(format!("{name}: {value}"));
    }
}

/// Memory by kind, and by process.
pub fn memory(sheet: &mut Sheet, memory: &Memory, processes: &[Process]) {
    sheet.section("Memory");
    totals(sheet, memory);
    sheet.section("Memory by process");
    let rows = processes.iter().filter_map(|process| {
        let memory = process.memory.as_ref()?;
        let of = |kind| text::bytes(memory.kinds.get(&kind).copied().unwrap_or_default().stored);
        use crate::images::MappingKind::{Anonymous, File};
        Some(vec![
            process.pid.to_string(),
            process.name.clone(),
            text::bytes(memory.mapped),
            text::bytes(memory.stored),
            text::bytes(memory.shared),
            of(Anonymous),
            of(File),
            text::bytes(memory.in_parent),
        ])
    });
    let head = [
        "PID",
        "NAME",
        "MAPPED",
        "STORED",
        "SHARED",
        "ANONYMOUS",
        "FILE",
        "IN PARENT",
    ];
    let rows: Vec<_> = rows.collect();
    table::lines(&head, &rows)
        .into_iter()
        .for_each(|line| _ = sheet.note(line));
}

/// Memory by kind.
pub fn totals(sheet: &mut Sheet, memory: &Memory) {
    let (private, shared) = (text::bytes(memory.private), text::bytes(memory.shared));
    sheet.line("stored", format!("{private} of processes, {shared} shared"));
    sheet.line_if(
        "in parent",
        (memory.in_parent > 0).then(|| text::bytes(memory.in_parent)),
    );
    for (
        kind,
        KindMemory {
            mappings,
            mapped,
            stored,
            ..
        },
    ) in &memory.kinds
    {
        let (stored, mapped) = (text::bytes(*stored), text::bytes(*mapped));
        let what = if *mappings == 1 { "mapping" } else { "mappings" };
        sheet.line(kind.name(), format!("{stored} of {mapped} in {mappings} {what}"));
    }
}

fn mappings(sheet: &mut Sheet, processes: &[Process]) {
    for process in processes {
        let Some(mappings) = process.memory.as_ref().and_then(|memory| memory.mappings.as_ref()) else {
            continue;
        };
        sheet.section(&format!("Mappings of {} {}", process.pid, process.name));
        let rows: Vec<Vec<String>> = mappings
            .iter()
            .map(|mapping| {
                vec![
                    format!("{}-{}", mapping.start, mapping.end),
                    mapping.protection.clone(),
                    text::bytes(mapping.length()),
                    text::bytes(mapping.stored),
                    mapping.label(),
                ]
            })
            .collect();
        let head = ["ADDRESS", "", "SIZE", "STORED", "WHAT"];
        table::lines(&head, &rows)
            .into_iter()
            .for_each(|line| _ = sheet.note(line));
    }
}

fn mounts(sheet: &mut Sheet, inspection: &Inspection) {
    let rows = inspection.inside.mounts.iter().map(|mount| {
        let external = mount.external.as_ref().map(|key| format!("external {key}"));
        vec![
            mount.mountpoint.clone(),
            mount.filesystem.clone(),
            mount.source.clone(),
            mount.root.clone(),
            mount.flags.join(","),
            external.unwrap_or_default(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    sheet.section("Mounts");
    if !rows.is_empty() {
        let head = ["DESTINATION", "TYPE", "SOURCE", "ROOT", "OPTIONS", ""];
        table::lines(&head, &rows)
            .into_iter()
            .for_each(|line| _ = sheet.note(line));
    }
    sheet::bind_mounts(sheet, inspection);
}

fn network(sheet: &mut Sheet, inspection: &Inspection) {
    let network = &inspection.inside.network;
    sheet.section("Network");
    if let Some(engine) = &inspection.manifest.engine {
        sheet::engine_network(sheet, engine);
    }
    for device in &network.devices {
        let addresses = device
            .addresses
            .iter()
            .map(|address| format!(" {}/{}", address.address, address.prefix));
        let mac = device.mac.as_deref().map(|mac| format!(" {mac}")).unwrap_or_default();
        let state = if device.up { "up" } else { "down" };
        let addresses: String = addresses.collect();
        sheet.line(
            &device.name,
            format!("{} {state}, mtu {}{mac}{addresses}", device.kind, device.mtu),
        );
    }
    for route in &network.routes {
        let to = route
            .destination
            .map_or_else(|| "default".to_owned(), |to| format!("{to}/{}", route.prefix));
        let via = route
            .gateway
            .map(|gateway| format!(" via {gateway}"))
            .unwrap_or_default();
        let device = |number: u32| network.devices.iter().find(|device| device.index == number);
        let device = route
            .device
            .and_then(device)
            .map(|device| format!(" on {}", device.name));
        sheet.line("route", format!("{to}{via}{}", device.unwrap_or_default()));
    }
    if network.devices.is_empty() {
        sheet.note("no device is in the images: the network is the host's, or the runtime makes it anew");
    }
}

/// Limits of the cgroups.
pub fn cgroups(sheet: &mut Sheet, inspection: &Inspection) {
    sheet.section("Limits");
    for group in &inspection.inside.cgroups {
        for (file, value) in &group.limits {
            let path = Some(group.path.as_str()).filter(|path| !path.is_empty()).unwrap_or("/");
            sheet.note(format!("{file} {} ({path})", value.replace('\n', ", ")));
        }
    }
}
