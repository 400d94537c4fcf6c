//! The process tree, and what belongs to each process.

use std::collections::HashMap;

use super::super::render::sheet::Sheet;
use super::super::render::{table, text};
use crate::images::{OpenFile, Process, SocketFamily, TaskState};

/// How deep a tree is drawn; what is deeper is drawn as if it were here.
const DEEPEST: usize = 40;
/// Characters of a command line that a line shows.
pub const COMMAND: usize = 100;

/// A process with what is drawn before it.
pub struct Branch<'a> {
    /// The lines that lead to it.
    pub lead: String,
    /// The lines that lead to what belongs to it.
    pub below: String,
    /// The process.
    pub process: &'a Process,
}

/// The processes as a tree, children by their pids. Those whose parent is not there begin a tree.
pub fn tree(processes: &[Process]) -> Vec<Branch<'_>> {
    let known: HashMap<u32, usize> = processes
        .iter()
        .enumerate()
        .map(|(at, process)| (process.pid, at))
        .collect();
    let mut children: HashMap<Option<u32>, Vec<&Process>> = HashMap::new();
    for process in processes {
        let parent = Some(process.ppid).filter(|ppid| known.contains_key(ppid));
        children.entry(parent).or_default().push(process);
    }
    children
        .values_mut()
        .for_each(|list| list.sort_by_key(|process| process.pid));
    // The images are checked to be a tree, so this ends.
    let mut rest: Vec<Branch<'_>> = Vec::new();
    push(&mut rest, &children, None, "", false);
    let mut drawn = Vec::with_capacity(processes.len());
    while let Some(branch) = rest.pop() {
        let deep = branch.below.chars().count() / 3 >= DEEPEST;
        push(&mut rest, &children, Some(branch.process.pid), &branch.below, deep);
        drawn.push(branch);
    }
    drawn
}

/// Puts the children of a process before what is still to be drawn.
fn push<'a>(
    rest: &mut Vec<Branch<'a>>,
    children: &HashMap<Option<u32>, Vec<&'a Process>>,
    parent: Option<u32>,
    above: &str,
    deep: bool,
) {
    let list = children.get(&parent).map_or(&[][..], Vec::as_slice);
    for (number, process) in list.iter().enumerate().rev() {
        let (here, next) = match (parent.is_some(), number + 1 == list.len()) {
            (false, _) => ("", ""),
            (true, false) => ("├─ ", "│  "),
            (true, true) => ("└─ ", "   "),
        };
        rest.push(Branch {
            lead: format!("{above}{here}"),
            below: if deep {
                above.to_owned()
            } else {
                format!("{above}{next}")
            },
            process,
        });
    }
}

/// A process in one line.
pub fn line(branch: &Branch<'_>, command: &str) -> String {
    let process = branch.process;
    let state = match process.state {
        TaskState::Alive => "",
        TaskState::Dead => " (dead)",
        TaskState::Stopped => " (stopped)",
        TaskState::Unknown => " (state unknown)",
    };
    format!("{}{}{state} {command}", branch.lead, process.pid)
}

/// A command line that fits on a line.
pub fn short(command: &str, most: usize) -> String {
    match command.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &command[..end]),
        None => command.to_owned(),
    }
}

/// The tree with threads, users and memory.
pub fn tree_section(sheet: &mut Sheet, processes: &[Process], commands: bool, environment: bool) {
    sheet.section("Process tree");
    for branch in tree(processes) {
        let process = branch.process;
        let command = if commands {
            process.command()
        } else {
            process.name.clone()
        };
        sheet.note(format!("{}{}", line(&branch, &command), remarks(process)));
        for variable in process.environment.iter().flatten().filter(|_| environment) {
            sheet.note(format!("{}    {variable}", branch.below));
        }
    }
}

fn remarks(process: &Process) -> String {
    let mut remarks = Vec::new();
    if let Some(uid) = process.uid {
        remarks.push(format!("uid {uid}"));
    }
    if process.threads.len() > 1 {
        remarks.push(format!("{} threads", process.threads.len()));
    }
    if let Some(memory) = &process.memory {
        remarks.push(text::bytes(memory.stored));
    }
    if remarks.is_empty() {
        String::new()
    } else {
        format!("  [{}]", remarks.join(", "))
    }
}

/// Threads that have names of their own, or more than one.
pub fn threads_section(sheet: &mut Sheet, processes: &[Process]) {
    let rows = processes
        .iter()
        .filter(|process| process.threads.len() > 1)
        .flat_map(|process| {
            let row = |thread: &crate::images::Thread| {
                vec![process.pid.to_string(), thread.tid.to_string(), thread.name.clone()]
            };
            process.threads.iter().map(row)
        });
    let rows: Vec<_> = rows.collect();
    sheet.section("Threads");
    if !rows.is_empty() {
        table::lines(&["PID", "TID", "NAME"], &rows)
            .into_iter()
            .for_each(|line| _ = sheet.note(line));
    }
}

/// Open files of each process.
pub fn files_section(sheet: &mut Sheet, processes: &[Process]) {
    sheet.section("Open files");
    for process in processes.iter().filter(|process| process.state.lives()) {
        sheet.note(format!("{} {}", process.pid, process.name));
        let place = [
            ("cwd", &process.working_directory),
            ("root", &process.root),
            ("exe", &process.executable),
        ];
        let places = place
            .iter()
            .filter_map(|(name, path)| Some((format!("[{name}]"), path.as_deref()?.to_owned())));
        let files = process
            .files
            .iter()
            .map(|file| (format!("[{} {}]", file.kind.name(), file.fd), describe(file)));
        let rows: Vec<(String, String)> = files.chain(places).collect();
        let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        for (label, value) in rows {
            sheet.note(format!("  {label:<width$}  {value}"));
        }
    }
}

fn describe(file: &OpenFile) -> String {
    let access = file.access.map(|access| format!(", {access}")).unwrap_or_default();
    match (file.offset, file.size) {
        (Some(offset), Some(size)) if size > 0 => format!("{} (at {offset} of {size}{access})", file.path),
        (Some(offset), _) if offset > 0 => format!("{} (at {offset}{access})", file.path),
        _ if access.is_empty() || file.socket.is_some() => file.path.to_string(),
        _ => format!("{} ({})", file.path, access.trim_start_matches(", ")),
    }
}

/// Sockets of each process.
pub fn sockets_section(sheet: &mut Sheet, processes: &[Process]) {
    let rows: Vec<Vec<String>> = processes
        .iter()
        .flat_map(|process| process.sockets().filter_map(|file| row(process.pid, file)))
        .collect();
    sheet.section("Sockets");
    if rows.is_empty() {
        sheet.note("none");
        return;
    }
    let head = [
        "PID", "FD", "PROTOCOL", "STATE", "LOCAL", "REMOTE", "RECEIVED", "SENT", "BUFFERS",
    ];
    table::lines(&head, &rows)
        .into_iter()
        .for_each(|line| _ = sheet.note(line));
}

fn row(pid: u32, file: &OpenFile) -> Option<Vec<String>> {
    let socket = file.socket.as_ref()?;
    let or_dash = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
    let (local, remote) = match socket.family {
        SocketFamily::Unix => (
            socket.path.clone().or_else(|| Some(format!("[{}]", socket.inode))),
            socket.peer.filter(|peer| *peer > 0).map(|peer| format!("[{peer}]")),
        ),
        _ => (
            socket.local.as_ref().map(ToString::to_string),
            socket
                .remote
                .as_ref()
                .filter(|remote| remote.port > 0)
                .map(ToString::to_string),
        ),
    };
    let protocol = match socket.family {
        SocketFamily::Unix => format!("UNIX {}", socket.kind),
        SocketFamily::Ipv6 => format!("{}6", socket.protocol),
        _ => socket.protocol.clone(),
    };
    Some(vec![
        pid.to_string(),
        file.fd.to_string(),
        protocol,
        or_dash(socket.state.clone()),
        or_dash(local),
        or_dash(remote),
        or_dash(socket.receive_queue.map(|count| count.to_string())),
        or_dash(socket.send_queue.map(|count| count.to_string())),
        format!(
            "↑ {} ↓ {}",
            text::bytes(socket.send_buffer.into()),
            text::bytes(socket.receive_buffer.into())
        ),
    ])
}
