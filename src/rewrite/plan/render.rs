//! A plan as text for people and as JSON for machines. Strings and values only: the caller prints.

use std::path::{Display, Path, PathBuf};

use serde_json::Value;

use super::{FileContent, Owner, Plan, RestoreCommand, Step};
use crate::rewrite::host::Limit;
use crate::rewrite::spec::Change;

/// Longest value of a change that a line shows whole, characters.
const MAX_SHOWN: usize = 100;

impl Plan {
    /// The plan as lines: a heading, the numbered steps, the changes of the configuration, the warnings.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "import {} {} (was {}, made by {}, checkpointed {})",
            if self.is_of_processes() {
                "processes"
            } else {
                "container"
            },
            self.name,
            self.source_id,
            self.made_by,
            self.checkpointed_at
        )];
        lines.push("steps:".to_owned());
        let steps = self.steps.iter().enumerate();
        lines.extend(steps.map(|(index, step)| format!("  {:>2}. {}", index + 1, describe(step))));
        if !self.is_of_processes() {
            lines.extend(self.change_lines());
        }
        if !self.warnings.is_empty() {
            lines.push("warnings:".to_owned());
            lines.extend(self.warnings.iter().map(|warning| format!("  {warning}")));
        }
        lines
    }

    fn change_lines(&self) -> Vec<String> {
        let (heading, changes): (_, Vec<String>) = match &self.lxc {
            Some(lxc) => {
                let shown = lxc.changes.iter().map(ToString::to_string);
                let lines = shown.flat_map(|change| change.lines().map(str::to_owned).collect::<Vec<_>>());
                ("changes of the configuration:", lines.collect())
            }
            None => (
                "changes of config.json:",
                self.changes.iter().map(describe_change).collect(),
            ),
        };
        let none = changes.is_empty().then(|| "none".to_owned());
        let lines = changes.into_iter().chain(none).map(|line| format!("  {line}"));
        std::iter::once(heading.to_owned()).chain(lines).collect()
    }

    /// The plan as JSON; `schema/import-plan-v1.schema.json` describes it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // Every path of a plan is UTF-8 (the request's are judged, the others come from JSON), so nothing is lost.
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn shown(path: &Path) -> Display<'_> {
    path.display()
}

/// A step in one line.
fn describe(step: &Step) -> String {
    match step {
        Step::SetAside { path, .. } => describe_aside(path),
        Step::MakeBundle { path, mode } => format!("make the bundle {} (mode {mode:04o})", shown(path)),
        Step::NewNetns { pin } => format!("make a network namespace, held at {}", shown(pin)),
        Step::MakeCgroup { path, directories, .. } => describe_cgroup(path, directories.len()),
        Step::ExtractRootfs { entry, path } => format!("extract {entry} to {}", shown(path)),
        Step::OverlayRootfs {
            entry,
            lower,
            upper,
            merged,
            ..
        } => describe_overlay(entry, [lower, upper, merged].map(|path| shown(path))),
        Step::UseRootfs { path } => format!("use the root file system {} as it is", shown(path)),
        Step::MakeShm { path, options, entry } => describe_shm(path, options, entry.as_deref()),
        Step::PutMount {
            destination,
            entry,
            file_type: kind,
            origin,
            ..
        } => format!(
            "extract {entry}, the {kind} mounted at {destination}, to {}",
            shown(origin)
        ),
        Step::MakeFile {
            destination,
            origin,
            content,
            ..
        } => describe_file(destination, origin, content),
        Step::UseMount { destination, origin } => format!("mount {} of this host at {destination}", shown(origin)),
        Step::PlaceImages {
            path,
            owner,
            external_netns,
        } => describe_images(path, *owner, *external_netns),
        Step::WriteFstab { path } | Step::WriteConfig { path } => format!("write {}", shown(path)),
        Step::PutFiles { entry, files, .. } => describe_files(entry, files),
        Step::Restore(command) => describe_restore(command),
        Step::PodmanRestore(command) => describe_podman(command),
        Step::FillVolume {
            name,
            destination,
            entry,
        } => format!("extract {entry} to the volume {name}, mounted at {destination}"),
        Step::FillShm { entry } => format!("extract {entry} to the container's /dev/shm"),
        Step::AppendLog { entry } => format!("put {entry}, if it is there, before what podman logs from now on"),
        Step::ChangeRootfs { entry } => format!("apply {entry} to the container's root file system"),
        Step::LoopbackUp => "bring the loopback interface up in the container's network namespace".to_owned(),
        Step::BringBack {
            interface,
            host,
            bridge,
        } => describe_link(interface, host, bridge.as_deref()),
        Step::ApplyLimits { limits } => describe_limits(limits),
    }
}

fn describe_aside(path: &Path) -> String {
    format!(
        "set the bundle {} of an earlier import aside, and remove it when the container runs",
        shown(path)
    )
}

fn describe_cgroup(path: &str, hierarchies: usize) -> String {
    let noun = if hierarchies == 1 { "hierarchy" } else { "hierarchies" };
    format!("make room for the cgroup {path} in {hierarchies} {noun}")
}

fn describe_overlay(entry: &str, [lower, upper, merged]: [Display<'_>; 3]) -> String {
    format!("extract {entry} to {upper} and mount it over {lower} at {merged}")
}

fn describe_file(destination: &str, origin: &Path, content: &FileContent) -> String {
    let content = match content {
        FileContent::Text(text) if text.is_empty() => "empty".to_owned(),
        FileContent::Text(_) => "anew".to_owned(),
        FileContent::CopyOf(path) => format!("as a copy of {}", shown(path)),
    };
    format!("make {}, mounted at {destination}, {content}", shown(origin))
}

fn describe_images(path: &Path, owner: Option<Owner>, external_netns: bool) -> String {
    let owner = owner.map_or_else(String::new, |Owner { uid, gid }| format!(", readable by {uid}:{gid}"));
    let netns = if external_netns {
        ", with the network namespace from outside"
    } else {
        ""
    };
    format!("put CRIU's images into {}{owner}{netns}", shown(path))
}

fn describe_files(entry: &str, files: &[PathBuf]) -> String {
    let files: Vec<String> = files.iter().map(|path| shown(path).to_string()).collect();
    format!("put the files of {entry} at {}", files.join(", "))
}

fn describe_link(interface: &str, host: &str, bridge: Option<&str>) -> String {
    let bridge = bridge.map_or_else(String::new, |bridge| format!("into the bridge {bridge} and "));
    format!("bring {host}, this host's end of the container's {interface}, {bridge}up")
}

fn describe_limits(limits: &[Limit]) -> String {
    let words = limits.iter().map(|limit| match limit.cgroup.as_str() {
        "" => format!("{} = {}", limit.file, limit.value),
        cgroup => format!("{cgroup}/{} = {}", limit.file, limit.value),
    });
    format!("set limits: {}", words.collect::<Vec<_>>().join(", "))
}

fn describe_shm(path: &Path, options: &[String], entry: Option<&str>) -> String {
    let content = entry.map_or_else(|| "empty".to_owned(), |entry| format!("with the content of {entry}"));
    format!(
        "mount a tmpfs for /dev/shm at {} ({}), {content}",
        shown(path),
        options.join(",")
    )
}

/// podman's part in one line, with what podman is told.
fn describe_podman(command: &super::PodmanCommand) -> String {
    let mut words = vec![format!(
        "let podman make {} of {} and {} restore it",
        command.name, command.image, command.runtime
    )];
    if !command.words.is_empty() {
        words.push(format!("({})", command.words.join(" ")));
    }
    words.join(" ")
}

fn describe_restore(command: &RestoreCommand) -> String {
    let (switches, values) = (switches(command), values(command));
    let words: Vec<String> = switches.map(str::to_owned).chain(values).collect();
    let with = if words.is_empty() {
        String::new()
    } else {
        format!(" with {}", words.join(", "))
    };
    let runtime = if command.processes.is_some() {
        "criu"
    } else {
        command.runtime
    };
    format!("{runtime} restores {}{with}", command.name)
}

/// The switches that are on.
fn switches(command: &RestoreCommand) -> impl Iterator<Item = &'static str> {
    let options = &command.options;
    let switches = [
        ("tcp-established", options.tcp_established),
        ("tcp-close", options.tcp_close),
        ("ext-unix-sk", options.ext_unix_sk),
        ("shell-job", options.shell_job),
        ("file-locks", options.file_locks),
        ("link-remap", options.link_remap),
        ("auto-dedup", options.auto_dedup),
        ("no-pivot", options.no_pivot),
        ("systemd-cgroup", command.systemd_cgroup),
    ];
    switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| name)
}

/// The switches that have a value, with it.
fn values(command: &RestoreCommand) -> Vec<String> {
    let options = &command.options;
    let word = |name: &str, word: &Option<String>| word.as_ref().map(|word| format!("{name}={word}"));
    let path = |name: &str, path: &Option<PathBuf>| path.as_ref().map(|path| format!("{name}={}", shown(path)));
    let mut values: Vec<String> = word("manage-cgroups-mode", &options.manage_cgroups_mode)
        .into_iter()
        .collect();
    values.extend(options.empty_ns.iter().map(|kind| format!("empty-ns={kind}")));
    values.extend(word("lsm-profile", &options.lsm_profile));
    values.extend(word("lsm-mount-context", &options.lsm_mount_context));
    if let Some(processes) = &command.processes {
        values.extend(processes.new_pidns.then(|| "new-pidns".to_owned()));
        values.extend(path("netns", &processes.netns));
        values.extend(processes.own_session.then(|| "own-session".to_owned()));
        values.extend((!processes.journal.is_empty()).then(|| "journal".to_owned()));
    }
    values.extend(options.status_fd.map(|fd| format!("status-fd={fd}")));
    values.extend(path("console-socket", &command.console_socket));
    values.extend(path("pid-file", &command.pid_file));
    values
}

fn describe_change(change: &Change) -> String {
    let value = |value: &Option<Value>| match value {
        None => "nothing".to_owned(),
        Some(value) => shorten(&value.to_string()),
    };
    format!(
        "{}: {} -> {}",
        change.pointer,
        value(&change.before),
        value(&change.after)
    )
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
