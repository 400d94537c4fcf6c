//! A difference as text: `+` is in the second only, `-` in the first only, `~` in both and not the same.

use super::super::args::DiffArgs;
use super::super::render::sheet::Sheet;
use super::super::render::{table, text};
use super::compare::{Changes, Checkpoint, Difference, FileView, MountView, ProcessView, Setting, SocketView};
use super::pages::MemoryChange;

/// Characters of a value that are shown.
const VALUE: usize = 80;

/// The difference as a sheet.
pub fn sheet(difference: &Difference, args: &DiffArgs) -> Sheet {
    let mut sheet = Sheet::default();
    sheet.section("Checkpoints");
    side(&mut sheet, "before", &difference.before);
    side(&mut sheet, "after", &difference.after);
    section(&mut sheet, "Processes", &difference.processes, &process);
    section(&mut sheet, "Open files", &difference.files, &file);
    section(&mut sheet, "Sockets", &difference.sockets, &socket);
    section(&mut sheet, "Mounts", &difference.mounts, &mount);
    memory(&mut sheet, &difference.memory, args);
    settings(&mut sheet, "Configuration", &difference.configuration);
    settings(&mut sheet, "Files of the container", &difference.content);
    sheet.section("Not compared");
    difference.problems.iter().for_each(|problem| _ = sheet.note(problem));
    summary(&mut sheet, difference);
    sheet
}

fn side(sheet: &mut Sheet, label: &str, side: &Checkpoint) {
    let (size, memory) = (text::bytes(side.bytes), text::bytes(side.memory));
    let image = side
        .image
        .as_ref()
        .map(|image| format!(" of {image}"))
        .unwrap_or_default();
    sheet.line(
        label,
        format!(
            "{}: {}{image}, taken at {}",
            side.file, side.container, side.checkpointed_at
        ),
    );
    sheet.line("", format!("{size}, memory {memory}"));
}

fn section<T>(sheet: &mut Sheet, title: &str, changes: &Changes<T>, line: &dyn Fn(&T) -> String) {
    sheet.section(title);
    for one in &changes.removed {
        sheet.note(format!("- {}", line(one)));
    }
    for one in &changes.added {
        sheet.note(format!("+ {}", line(one)));
    }
    for one in &changes.changed {
        let (before, after) = (line(&one.before), line(&one.after));
        match before == after {
            true => sheet.note(format!("~ {after}")),
            false => sheet.note(format!("~ {before}")).note(format!("  {after}")),
        };
    }
    for one in changes.unchanged.iter().flatten() {
        sheet.note(format!("= {}", line(one)));
    }
}

fn process(view: &ProcessView) -> String {
    let threads = view.threads.len();
    let threads = if threads > 1 {
        format!(" ({threads} threads)")
    } else {
        String::new()
    };
    let state = match view.state {
        crate::images::TaskState::Alive => String::new(),
        state => format!(" ({state:?})").to_lowercase(),
    };
    format!("{} {}{state}{threads}", view.pid, view.command)
}

fn file(view: &FileView) -> String {
    let place = match (view.offset, view.size) {
        (Some(offset), Some(size)) if size > 0 => format!(" at {offset} of {size}"),
        (Some(offset), _) if offset > 0 => format!(" at {offset}"),
        _ => String::new(),
    };
    format!("{} [{} {}] {}{place}", view.pid, view.kind.name(), view.fd, view.path)
}

fn socket(view: &SocketView) -> String {
    let state = view.state.as_deref().unwrap_or_default();
    let arrow = if view.remote.is_empty() { "" } else { " -> " };
    format!(
        "{} [{}] {} {state} {}{arrow}{}",
        view.pid, view.fd, view.protocol, view.local, view.remote
    )
}

fn mount(view: &MountView) -> String {
    format!(
        "{} {} {} ({})",
        view.mountpoint, view.filesystem, view.source, view.options
    )
}

fn memory(sheet: &mut Sheet, memory: &[MemoryChange], args: &DiffArgs) {
    let shown = memory.iter().filter(|change| args.unchanged || !change.is_none());
    let or_dash = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), text::bytes);
    let rows: Vec<Vec<String>> = shown
        .map(|change| {
            vec![
                change.pid.to_string(),
                change.name.clone(),
                text::bytes(change.before),
                text::bytes(change.after),
                or_dash(change.changed),
                or_dash(change.added),
                or_dash(change.removed),
                or_dash(change.same),
            ]
        })
        .collect();
    sheet.section("Memory");
    if !rows.is_empty() {
        let head = ["PID", "NAME", "BEFORE", "AFTER", "CHANGED", "ADDED", "REMOVED", "SAME"];
        table::lines(&head, &rows)
            .into_iter()
            .for_each(|line| _ = sheet.note(line));
    }
}

fn settings(sheet: &mut Sheet, title: &str, settings: &[Setting]) {
    sheet.section(title);
    let short = |value: &str| super::super::inspect::short(&value.replace('\n', ", "), VALUE);
    for setting in settings {
        let line = match (&setting.before, &setting.after) {
            (None, Some(after)) => format!("+ {}: {}", setting.name, short(after)),
            (Some(before), None) => format!("- {}: {}", setting.name, short(before)),
            (Some(before), Some(after)) => format!("~ {}: {} -> {}", setting.name, short(before), short(after)),
            (None, None) => continue,
        };
        sheet.note(line);
    }
}

fn summary(sheet: &mut Sheet, difference: &Difference) {
    sheet.section("Summary");
    if difference.same {
        sheet.note("no difference");
        return;
    }
    fn counts<T>(changes: &Changes<T>) -> (usize, usize, usize) {
        (changes.added.len(), changes.removed.len(), changes.changed.len())
    }
    let kinds = [
        ("processes", counts(&difference.processes)),
        ("files", counts(&difference.files)),
        ("sockets", counts(&difference.sockets)),
        ("mounts", counts(&difference.mounts)),
    ];
    for (name, (added, removed, changed)) in kinds {
        if added + removed + changed > 0 {
            sheet.line(name, format!("+{added} -{removed} ~{changed}"));
        }
    }
    let sum = |of: fn(&MemoryChange) -> Option<u64>| difference.memory.iter().filter_map(of).sum::<u64>();
    let (changed, added, removed) = (sum(|c| c.changed), sum(|c| c.added), sum(|c| c.removed));
    if changed + added + removed > 0 {
        let [changed, added, removed] = [changed, added, removed].map(text::bytes);
        sheet.line("memory", format!("{changed} changed, {added} added, {removed} removed"));
    }
    let settings = difference.configuration.len() + difference.content.len();
    sheet.line_if("settings", (settings > 0).then(|| format!("{settings} not the same")));
}
