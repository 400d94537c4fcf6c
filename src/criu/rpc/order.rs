//! A dump or restore of a process tree, as `ckpt criu-rpc` is told to carry it out.
//!
//! It is a process of its own between ckpt and CRIU for the same reason that runc is one: a [`Session`](crate::criu::Session)
//! starts it, gives CRIU its option file through the environment, and sees its end. **Where it cannot tell CRIU's answer it
//! fails**, and a failed order has changed nothing: CRIU undoes what it did when the conversation breaks off.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::{Deserialize, Serialize};

use super::messages::{CgroupMode, Kind, Notification, Options, PageServer, Request};
use super::pidns;
use super::substitute::{Substitute, Substitutes};
use super::worker::{Handed, Worker};
use crate::criu::Error;
use crate::sys::programs;

/// CRIU's log level: what it does, with times, of which ckpt reads how long tasks were frozen.
const LOG_LEVEL: i32 = 4;

/// What is to be done, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Order {
    /// The program `criu`.
    pub criu: PathBuf,
    /// What is to be done.
    pub job: Job,
    /// CRIU's images.
    pub images: PathBuf,
    /// Where a failure is told, as a line of JSON.
    pub complaints: PathBuf,
    /// CRIU's switches.
    pub switches: Switches,
}

/// A dump or a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Job {
    /// Dumps the tree below a process.
    #[serde(rename_all = "kebab-case")]
    Dump {
        /// The process, as this host sees it.
        pid: i32,
        /// Its memory only.
        pre_dump: bool,
        /// The parent's images, relative to the images.
        parent: Option<PathBuf>,
        /// A connection to the page server, inherited.
        pages_fd: Option<i32>,
        /// A page server elsewhere: address and port.
        pages_at: Option<(String, u16)>,
        /// What has an end outside of the tree that is left out, in CRIU's words.
        external: Vec<String>,
    },
    /// Restores a tree.
    #[serde(rename_all = "kebab-case")]
    Restore {
        /// Memory follows from CRIU's lazy-pages daemon in the working directory.
        lazy: bool,
        /// In a new PID namespace and a new mount namespace with its own /proc.
        new_pidns: bool,
        /// The network namespace.
        network: NetworkOf,
        /// In a session of its own, which [`Switches::shell_job`] has the tree join.
        own_session: bool,
        /// What takes the place of ends that were left out.
        substitutes: Vec<Substitute>,
    },
}

/// The network namespace of what is restored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkOf {
    /// The host's.
    #[default]
    Host,
    /// A new one with its loopback interface up.
    New,
    /// The one at this path.
    Path(PathBuf),
}

/// CRIU's switches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Switches {
    /// The tree runs on after the dump.
    pub leave_running: bool,
    /// Established TCP connections are dumped and restored.
    pub tcp_established: bool,
    /// Connections that are not accepted yet are left out.
    pub tcp_skip_in_flight: bool,
    /// TCP connections are restored closed.
    pub tcp_close: bool,
    /// Unix sockets may have an end outside the tree.
    pub ext_unix_sk: bool,
    /// The tree is a job of a terminal.
    pub shell_job: bool,
    /// File locks are dumped and restored.
    pub file_locks: bool,
    /// Deleted files that are open are linked back.
    pub link_remap: bool,
    /// Pages are punched out of earlier images.
    pub auto_dedup: bool,
    /// How cgroups are treated: soft, full, strict, ignore.
    pub manage_cgroups_mode: Option<String>,
    /// The security label of the restored tasks.
    pub lsm_profile: Option<String>,
}

/// Carries an order out. What goes wrong is told in [`Order::complaints`] too, where the session finds it.
///
/// # Errors
/// Where CRIU refuses, is gone, or cannot be started.
pub fn carry_out(order: &Order) -> Result<(), Error> {
    let done = match &order.job {
        Job::Restore { network, new_pidns, .. } => match pidns::enter_network(network) {
            // What goes wrong in there is told from there.
            Ok(()) if *new_pidns => return pidns::restore(order),
            Ok(()) => order.converse(),
            Err(error) => Err(error),
        },
        Job::Dump { pid, .. } => pidns::enter(*pid).and_then(|inner| order.with_pid(inner).converse()),
    };
    done.inspect_err(|error| order.complain(error))
}

impl Order {
    /// Its text, one argument of a command.
    ///
    /// # Errors
    /// [`Error::Order`] for a path that is not UTF-8.
    pub fn to_text(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(Error::Order)
    }

    /// Reads the text again.
    ///
    /// # Errors
    /// [`Error::Order`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(Error::Order)
    }

    /// The conversation with CRIU: one request, and a yes to each of its steps. Whether the dump or restore is gone through with
    /// is asked by the session's action script, not here.
    pub(super) fn converse(&self) -> Result<(), Error> {
        let images = Handed::open(&self.images)?;
        let substitutes = match &self.job {
            Job::Restore { substitutes, .. } => Substitutes::make(substitutes)?,
            Job::Dump { .. } => Substitutes::default(),
        };
        let request = self.request(images.name(), &substitutes);
        let mut worker = Worker::start(&self.criu, |command| {
            command.stdout(Stdio::null()).stderr(Stdio::null());
            if let Job::Restore { own_session: true, .. } = &self.job {
                programs::in_own_session(command);
            }
        })?;
        let answer = worker.call(&request, &mut |step: &Notification| {
            tracing::debug!(step = step.script.as_deref(), pid = step.pid, "CRIU");
            true
        });
        let ended = worker.finish();
        tracing::debug!(?answer, ?ended, "CRIU has ended");
        answer.map(drop)
    }

    fn with_pid(&self, inner: i32) -> Self {
        let mut order = self.clone();
        if let Job::Dump { pid, .. } = &mut order.job {
            *pid = inner;
        }
        order
    }

    fn request(&self, images: String, substitutes: &Substitutes) -> Request {
        let kind = match &self.job {
            Job::Dump { pre_dump: true, .. } => Kind::SinglePreDump,
            Job::Dump { .. } => Kind::Dump,
            Job::Restore { .. } => Kind::Restore,
        };
        Request {
            kind: kind.into(),
            options: Some(Options {
                images_dir: Some(images),
                inherit_fd: substitutes.named(),
                ..self.options()
            }),
            ..Request::default()
        }
    }

    fn options(&self) -> Options {
        let switches = &self.switches;
        let mut options = Options {
            images_dir_fd: -1,
            log_level: Some(LOG_LEVEL),
            notify_scripts: Some(true),
            tcp_established: on(switches.tcp_established),
            ext_unix_sk: on(switches.ext_unix_sk),
            shell_job: on(switches.shell_job),
            file_locks: on(switches.file_locks),
            link_remap: on(switches.link_remap),
            auto_dedup: on(switches.auto_dedup),
            manage_cgroups_mode: switches.cgroup_mode().map(i32::from),
            ..Options::default()
        };
        match &self.job {
            Job::Dump {
                pid,
                pre_dump,
                parent,
                external,
                ..
            } => {
                options.external.clone_from(external);
                options.pid = Some(*pid);
                options.log_file = Some("dump.log".to_owned());
                options.leave_running = on(switches.leave_running);
                options.tcp_skip_in_flight = on(switches.tcp_skip_in_flight);
                options.track_mem = on(*pre_dump);
                options.parent_img = parent.as_deref().map(text);
                options.cpu_cap = Some(Options::CPU);
                options.page_server = self.page_server();
            }
            Job::Restore { lazy, .. } => {
                options.log_file = Some("restore.log".to_owned());
                options.tcp_close = on(switches.tcp_close);
                options.lazy_pages = on(*lazy);
                options.lsm_profile.clone_from(&switches.lsm_profile);
            }
        }
        options
    }

    fn page_server(&self) -> Option<PageServer> {
        let Job::Dump { pages_fd, pages_at, .. } = &self.job else {
            return None;
        };
        if pages_fd.is_none() && pages_at.is_none() {
            return None;
        }
        Some(PageServer {
            address: pages_at.as_ref().map(|(address, _)| address.clone()),
            port: pages_at.as_ref().map(|(_, port)| i32::from(*port)),
            fd: *pages_fd,
        })
    }

    pub(super) fn complain(&self, error: &Error) {
        let line = serde_json::json!({"level": "error", "msg": chain(error)});
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.complaints)
            .and_then(|mut file| writeln!(file, "{line}"));
        if let Err(error) = written {
            tracing::warn!(path = %self.complaints.display(), %error, "cannot be written to");
        }
    }
}

impl Switches {
    fn cgroup_mode(&self) -> Option<CgroupMode> {
        Some(match self.manage_cgroups_mode.as_deref()? {
            "ignore" => CgroupMode::Ignore,
            "soft" => CgroupMode::Soft,
            "full" => CgroupMode::Full,
            "strict" => CgroupMode::Strict,
            _ => return None,
        })
    }
}

/// A switch is sent only where it is on: what is sent overrides the option file.
fn on(switch: bool) -> Option<bool> {
    switch.then_some(true)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(job: Job) -> Order {
        Order {
            criu: "/usr/sbin/criu".into(),
            job,
            images: "/run/i".into(),
            complaints: "/w/runtime.log".into(),
            switches: Switches {
                shell_job: true,
                manage_cgroups_mode: Some("ignore".into()),
                ..Switches::default()
            },
        }
    }

    fn dump() -> Job {
        Job::Dump {
            pid: 7,
            pre_dump: false,
            parent: None,
            pages_fd: Some(5),
            pages_at: None,
            external: vec!["unix[7]".into()],
        }
    }

    #[test]
    fn an_order_is_read_as_it_was_written() {
        let restore = Job::Restore {
            lazy: true,
            new_pidns: true,
            network: NetworkOf::Path("/run/netns/x".into()),
            own_session: true,
            substitutes: vec![Substitute {
                inode: 7,
                socket: "/run/x".into(),
                greeting: "hello\n".into(),
            }],
        };
        for job in [dump(), restore] {
            let order = order(job);
            assert_eq!(Order::parse(&order.to_text().unwrap()).unwrap(), order);
        }
        assert!(Order::parse("{}").is_err());
    }

    #[test]
    fn only_what_is_on_is_sent() {
        let request = order(dump()).request("/proc/self/fd/3".into(), &Substitutes::default());
        let options = request.options.clone().unwrap();
        assert_eq!(request.kind(), Kind::Dump);
        assert_eq!((options.shell_job, options.file_locks), (Some(true), None));
        assert_eq!(
            (options.pid, &options.external[..]),
            (Some(7), &["unix[7]".to_owned()][..])
        );
        assert_eq!(options.manage_cgroups_mode, Some(0));
        assert_eq!(options.page_server.and_then(|server| server.fd), Some(5));
        assert_eq!(options.cpu_cap, Some(5));
    }

    #[test]
    fn a_complaint_is_one_line_with_all_causes() {
        let directory = tempfile::tempdir().unwrap();
        let mut order = order(dump());
        order.complaints = directory.path().join("log");
        order.complain(&Error::Rpc {
            operation: "waiting for",
            source: std::io::ErrorKind::UnexpectedEof.into(),
        });
        let text = std::fs::read_to_string(&order.complaints).unwrap();
        assert_eq!(
            text,
            "{\"level\":\"error\",\"msg\":\"waiting for CRIU's worker (criu swrk): unexpected end of file\"}\n"
        );
    }
}
