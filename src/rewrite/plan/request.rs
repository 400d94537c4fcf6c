//! Whether the request can be meant: names, paths, and switches that contradict each other or the archive.

use std::path::Path;

use super::Planner;
use crate::request::Netns;
use crate::rewrite::host::PathKind;
use crate::rewrite::refusal::Refusal;
use crate::rewrite::spec::{MAX_PATH_BYTES, process};

/// Longest hostname, bytes: the kernel's `__NEW_UTS_LEN`.
const MAX_HOSTNAME_BYTES: usize = 64;

impl Planner<'_> {
    /// Judges what can be judged without the archive's configuration, and the terminal.
    pub(super) fn judge_request(&mut self) {
        self.judge_values();
        self.judge_console();
    }

    /// Judges the values that are alike for all runtimes.
    pub(super) fn judge_values(&mut self) {
        self.judge_paths();
        self.judge_hostname();
        if self.request.restore.tcp_established && self.request.restore.tcp_close {
            self.refuse(Refusal::TcpConflict);
        }
    }

    fn judge_paths(&mut self) {
        let request = self.request;
        let mut paths: Vec<(&'static str, &Path)> = Vec::new();
        let optional = [
            ("--bundle", &request.bundle),
            ("--root", &request.root),
            ("--console-socket", &request.console_socket),
            ("--pid-file", &request.pid_file),
            ("--work-path", &request.work_path),
        ];
        paths.extend(
            optional
                .into_iter()
                .filter_map(|(flag, path)| Some((flag, path.as_deref()?))),
        );
        paths.extend(
            request
                .map_mounts
                .iter()
                .map(|map| ("--map-mount", map.source.as_path())),
        );
        if let Netns::Path(path) = &request.netns {
            paths.push(("--netns", path));
        }
        for (flag, path) in paths {
            if let Some(problem) = problem(path) {
                self.refuse(Refusal::Path {
                    flag,
                    path: path.to_owned(),
                    problem,
                });
            }
        }
    }

    fn judge_hostname(&mut self) {
        let Some(hostname) = &self.request.hostname else { return };
        let allowed = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'.' | b'-' | b'_');
        let fits = !hostname.is_empty() && hostname.len() <= MAX_HOSTNAME_BYTES;
        if !fits || !hostname.bytes().all(allowed) {
            self.refuse(Refusal::Hostname {
                hostname: hostname.clone(),
            });
        }
    }

    /// A terminal needs somebody who holds its other end, and no other container has one to give.
    fn judge_console(&mut self) {
        let Some(terminal) = self.read(process::terminal) else {
            return;
        };
        match (terminal, &self.request.console_socket) {
            (true, None) if !self.request.no_restore => self.refuse(Refusal::ConsoleSocketNeeded),
            (false, Some(_)) => self.refuse(Refusal::ConsoleSocketUnused),
            (true, Some(path)) if !self.request.no_restore => match self.look(path) {
                None | Some(PathKind::Socket) => {}
                Some(PathKind::Missing) => {
                    self.refuse(Refusal::PathMissing {
                        flag: "--console-socket",
                        path: path.clone(),
                    });
                }
                Some(_) => self.refuse(Refusal::Path {
                    flag: "--console-socket",
                    path: path.clone(),
                    problem: "is no socket",
                }),
            },
            _ => {}
        }
    }
}

/// What keeps a path of the request out of a configuration.
fn problem(path: &Path) -> Option<&'static str> {
    match path.to_str() {
        None => Some("is not UTF-8, which config.json must be"),
        Some(text) if text.len() > MAX_PATH_BYTES => Some("is longer than 4095 bytes"),
        Some(text) if text.chars().any(char::is_control) => Some("holds a control character"),
        Some(text) if !text.starts_with('/') => Some("is not absolute"),
        Some(text) if text.split('/').any(|part| part == "..") => Some("leads upwards"),
        Some(_) => None,
    }
}
