//! The restore: the runtime's command up to the moment when every task is restored and none runs, what is left to do then,
//! and the acknowledgement that lets them run.

use std::path::PathBuf;
use std::process::Command;

use super::Restored;
use super::lazy::{self, GuardOrder, Memory, Service};
use crate::cgroup::{self, CgroupRecord, TargetCgroups};
use crate::criu::{self, Hook, Running, Session, WorkDir};
use crate::error::Error;
use crate::event::{Event, Events, Phase};
use crate::links;
use crate::mounts::MountTable;
use crate::request::RuntimeKind;
use crate::rewrite::plan::RestoreCommand;
use crate::rewrite::{Applied, Plan, Step};
use crate::runtime::{self, ContainerLock, Invocation, Restore, Runtime};
use crate::sys;

/// The name of CRIU's log of a restore.
const RESTORE_LOG: &str = "restore.log";

/// How often a restore is tried again whose numbers were taken for a moment.
const RETRIES: usize = 5;

/// Restores the container of a prepared plan. When that fails, everything that was prepared is taken away again.
pub(super) fn restore(
    plan: &Plan,
    command: &RestoreCommand,
    mut applied: Applied<'_>,
    memory: Option<Memory>,
    finishing: &Finishing<'_>,
    interrupted: Hook<'_>,
) -> Result<Restored, Error> {
    let events = finishing.events;
    events.emit(Event::Phase {
        phase: Phase::Restore,
        total: None,
    });
    let attempt = Attempt {
        plan,
        command,
        finishing,
        interrupted,
    };
    match attempt.run(memory, &mut applied) {
        Ok(restored) => {
            applied.commit();
            Ok(restored)
        }
        Err(Failed { source, log, mut left }) => {
            left.extend(applied.roll_back().iter().map(ToString::to_string));
            Err(Error::Restore {
                container: plan.name.to_string(),
                log,
                left,
                source,
            })
        }
    }
}

/// What is done while every task is restored and none runs.
pub(super) struct Finishing<'a> {
    /// The cgroup record of the archive.
    pub(super) cgroups: Option<&'a CgroupRecord>,
    /// Where warnings go.
    pub(super) events: &'a dyn Events,
}

impl Finishing<'_> {
    /// Does the plan's steps after the restore for the container whose first process is `pid`.
    pub(super) fn finish(&self, plan: &Plan, pid: i32) -> Result<(), Error> {
        for step in &plan.steps {
            match step {
                Step::LoopbackUp => sys::netns::loopback_up_of(pid).map_err(|source| {
                    Error::io(
                        "bringing the loopback interface up in",
                        format!("/proc/{pid}/ns/net"),
                        source,
                    )
                })?,
                Step::ApplyLimits { .. } => self.apply_limits(pid, plan.is_of_processes())?,
                _ => {}
            }
        }
        links::bring_back(pid, &wanted_links(plan))?;
        Ok(())
    }

    /// Controllers that no runtime has enabled on the way to a cgroup are enabled first.
    fn apply_limits(&self, pid: i32, alone: bool) -> Result<(), Error> {
        let Some(record) = self.cgroups else { return Ok(()) };
        let target = TargetCgroups::of_process(&MountTable::of_self()?, pid, record)?;
        if alone {
            cgroup::enable_controllers(record, &target);
        }
        let report = cgroup::apply(&cgroup::plan_apply(record, &target));
        for problem in &report.problems {
            self.events.emit(Event::Warning {
                message: problem.to_string(),
            });
        }
        Ok(())
    }
}

/// The network links that the plan has for the container.
fn wanted_links(plan: &Plan) -> Vec<links::Wanted> {
    let wanted = |step: &Step| match step {
        Step::BringBack { interface, bridge, .. } => Some(links::Wanted {
            inside: interface.clone(),
            bridge: bridge.clone(),
        }),
        _ => None,
    };
    plan.steps.iter().filter_map(wanted).collect()
}

/// Removes what a failed restore left of the links. The plan has seen that these names were free.
fn remove_links(plan: &Plan) -> Vec<String> {
    let hosts = plan.steps.iter().filter_map(|step| match step {
        Step::BringBack { host, .. } => Some(host),
        _ => None,
    });
    let removed = hosts.map(|host| links::remove(host));
    removed
        .filter_map(|removed| removed.err().map(|error| error.to_string()))
        .collect()
}

/// A restore that failed.
struct Failed {
    source: Box<Error>,
    log: Option<PathBuf>,
    left: Vec<String>,
}

struct Attempt<'a> {
    plan: &'a Plan,
    command: &'a RestoreCommand,
    finishing: &'a Finishing<'a>,
    interrupted: Hook<'a>,
}

impl Attempt<'_> {
    fn run(&self, memory: Option<Memory>, applied: &mut Applied<'_>) -> Result<Restored, Failed> {
        let early = |source: Error| Failed {
            source: Box::new(source),
            log: None,
            left: Vec::new(),
        };
        let kind = RuntimeKind::from_name(self.command.runtime).ok_or_else(|| {
            early(
                runtime::Error::NotInstalled {
                    program: self.command.runtime,
                }
                .into(),
            )
        })?;
        let runtime = runtime::open(kind, self.command.state_root.as_deref()).map_err(|error| early(error.into()))?;
        let _lock = ContainerLock::take(kind, self.command.name.as_str()).map_err(|error| early(error.into()))?;
        let work = self
            .command
            .work_path
            .as_deref()
            .map_or_else(WorkDir::create, WorkDir::at);
        let work = work.map_err(|error| early(error.into()))?;
        self.restore(&*runtime, &work, memory, applied)
            .map_err(|source| Failed {
                source: Box::new(source),
                log: work.keep_log(RESTORE_LOG, self.command.name.as_str()),
                left: [clean(&*runtime, self.command.name.as_str()), remove_links(self.plan)].concat(),
            })
    }

    fn restore(
        &self,
        runtime: &dyn Runtime,
        work: &WorkDir,
        memory: Option<Memory>,
        applied: &mut Applied<'_>,
    ) -> Result<Restored, Error> {
        let Some(memory) = memory else {
            return self.eager(runtime, work, applied);
        };
        let (session, command) = self.session(runtime, work, true)?;
        let place = lazy::Place {
            runtime,
            order: self.guard_order(runtime, work),
        };
        let restore = |service: &Service<'_>| {
            let stop = || (self.interrupted)() || service.has_failed();
            let running = session.start(command)?;
            if let Err(error) = service.begun(running.runtime()) {
                return running.give_up(error);
            }
            self.go_on(runtime, running, &stop, &mut |pid| service.restored(pid))
        };
        lazy::follow(memory, &place, self.finishing.events, self.interrupted, restore)
    }

    /// Restores with all memory at once. A process number that is free is another process's for a moment now and then, CRIU's own
    /// among them: such a restore is tried again.
    fn eager(&self, runtime: &dyn Runtime, work: &WorkDir, applied: &mut Applied<'_>) -> Result<Restored, Error> {
        let mut left = self.command.processes.as_ref().map_or(0, |_| RETRIES);
        loop {
            let (session, command) = self.session(runtime, work, false)?;
            let restored = session.start(command).map_err(Error::from).and_then(|running| {
                self.go_on(runtime, running, self.interrupted, &mut |_| {
                    applied.settle();
                    Ok(())
                })
            });
            match restored {
                Err(error) if left > 0 && is_number_taken(&error) => left -= 1,
                restored => return restored,
            }
            tracing::info!("a process number was taken for a moment: trying again");
            let _ = std::fs::remove_file(work.path().join("runtime.log"));
        }
    }

    fn session(&self, runtime: &dyn Runtime, work: &WorkDir, lazy: bool) -> Result<(Session, Command), Error> {
        let (session, command) = self.invocation(runtime, work, lazy)?.prepare()?;
        let session = if self.command.options.shell_job {
            session.with_terminal()
        } else {
            session
        };
        Ok((session, command))
    }

    fn invocation(&self, runtime: &dyn Runtime, work: &WorkDir, lazy: bool) -> Result<Invocation, Error> {
        Ok(runtime.restore(&Restore {
            id: self.command.name.as_str(),
            bundle: &self.command.bundle,
            images: &self.command.images,
            work: work.path(),
            pid_file: self.command.pid_file.as_deref(),
            console_socket: self.command.console_socket.as_deref(),
            systemd_cgroup: self.command.systemd_cgroup,
            spec: &self.plan.config,
            cgroup: self.command.cgroup.as_deref(),
            lazy,
            processes: self.command.processes.as_ref(),
            options: &self.command.options,
        })?)
    }

    /// Lets the restore come to its end: `ready` is called with the first process when every task is restored, just before
    /// they run.
    fn go_on(
        &self,
        runtime: &dyn Runtime,
        running: Running<'_>,
        stop: Hook<'_>,
        ready: &mut dyn FnMut(i32) -> Result<(), Error>,
    ) -> Result<Restored, Error> {
        let commit = running.wait_for_restored(stop)?;
        let pid = commit.init_pid().unwrap_or_default();
        if let Err(error) = self.finishing.finish(self.plan, pid) {
            commit.refuse();
            return Err(error);
        }
        if let Some(fd) = self.command.options.status_fd {
            sys::status::signal(fd);
        }
        if let Err(error) = self
            .write_pid_file(pid)
            .and_then(|()| ready(self.whose_end_ends_all(pid)))
        {
            commit.refuse();
            return Err(error);
        }
        commit.acknowledge()?;
        let now = runtime.restored(self.command.name.as_str(), &self.command.images)?;
        Ok(Restored {
            container: self.command.name.to_string(),
            runtime: runtime.kind().name().to_owned(),
            pid: now.map_or(pid, |target| target.pid),
            bundle: self.command.bundle.clone(),
            job: self.command.processes.is_some() && self.command.options.shell_job,
            followed: None,
        })
    }

    /// The process that takes everything restored with it: the first one, or that of a PID namespace made around it.
    fn whose_end_ends_all(&self, pid: i32) -> i32 {
        let processes = self.command.processes.as_ref();
        let own = processes.filter(|processes| processes.new_pidns);
        own.and_then(|_| sys::pidns::outer_pid(pid, 1)).unwrap_or(pid)
    }

    /// A container's runtime writes its own.
    fn write_pid_file(&self, pid: i32) -> Result<(), Error> {
        match (&self.command.processes, &self.command.pid_file) {
            (Some(_), Some(path)) => {
                std::fs::write(path, format!("{pid}\n")).map_err(|error| Error::io("writing", path, error))
            }
            _ => Ok(()),
        }
    }

    fn guard_order(&self, runtime: &dyn Runtime, work: &WorkDir) -> GuardOrder {
        GuardOrder {
            runtime: runtime.kind(),
            state_root: self.command.state_root.clone(),
            container: self.command.name.to_string(),
            bundle: self.command.bundle.clone(),
            images: self.command.images.clone(),
            work: work.path().to_owned(),
        }
    }
}

/// Whether CRIU found a number taken that it wanted for a task.
fn is_number_taken(error: &Error) -> bool {
    let Error::Criu(criu::Error::Ended { lines, .. }) = error else {
        return false;
    };
    lines.iter().any(|line| {
        (line.contains("Can't fork for") && line.contains("File exists")) || line.contains("intersects with pid")
    })
}

impl From<&Restored> for Event {
    fn from(restored: &Restored) -> Self {
        let Restored {
            container,
            runtime,
            pid,
            bundle,
            ..
        } = restored.clone();
        Self::Running {
            container,
            runtime,
            pid,
            bundle,
        }
    }
}

/// Deletes what a failed restore left of the container in its runtime.
fn clean(runtime: &dyn Runtime, name: &str) -> Vec<String> {
    match runtime.delete(name) {
        Ok(()) => Vec::new(),
        Err(error) => vec![format!("container {name}: {error}")],
    }
}
