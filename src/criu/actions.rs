//! Action scripts: how CRIU stops and asks.
//!
//! CRIU starts the session's script at each step of a dump or restore and waits for it. At the steps that matter the script
//! calls `ckpt criu-action`, which connects to the session's socket, says which step it is, and waits for the answer.
//! **Whatever goes wrong on this way counts as no**: a missing socket, a dead ckpt, a garbled answer. CRIU then resumes the
//! container (dump) or kills what it restored (restore).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt;

use crate::links;
use crate::sys::pidns;

/// Longest request that a script may send, bytes: a step and a path.
const REQUEST_LIMIT: u64 = 4096 + 64;
/// How long a connected script may take to say what it wants. It writes at once; only a stranger would not.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The answer that lets CRIU go on.
const YES: &[u8] = b"yes\n";

/// A step of CRIU at which it asks ckpt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionKind {
    /// Dump: every image is written, every task stopped. After a yes the tasks are killed (or resumed).
    PostDump,
    /// Restore by an engine, which has made the container as far as its runtime: what the archive holds of its files can be
    /// put in place. The stand-in of the runtime asks, not CRIU.
    PreRestore,
    /// Restore: every task is restored and none runs yet. After a no they are killed.
    PostRestore,
}

impl ActionKind {
    /// CRIU's name of the step.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PostDump => "post-dump",
            Self::PreRestore => "pre-restore",
            Self::PostRestore => "post-restore",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::PostDump, Self::PreRestore, Self::PostRestore]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// A question of CRIU. Dropping it says no.
#[derive(Debug)]
pub struct Action {
    kind: ActionKind,
    told: String,
    reply: UnixStream,
}

impl Action {
    /// Reads the question from a connection of the action script.
    pub(super) fn receive(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        let mut text = String::new();
        (&stream).take(REQUEST_LIMIT).read_to_string(&mut text)?;
        let (kind, told) = text
            .trim_end_matches('\n')
            .split_once(' ')
            .ok_or(io::ErrorKind::InvalidData)?;
        let kind = ActionKind::parse(kind).ok_or(io::ErrorKind::InvalidData)?;
        // CRIU tells the number that it knows, which is another one where it works in a PID namespace of its own.
        let asking = sockopt::socket_peercred(&stream)?.pid.as_raw_nonzero().get();
        let told = match told.trim().parse() {
            Ok(pid) => pidns::outer_pid(asking, pid).map_or_else(String::new, |pid| pid.to_string()),
            Err(_) => told.to_owned(),
        };
        Ok(Self {
            kind,
            told,
            reply: stream,
        })
    }

    /// The step.
    #[must_use]
    pub const fn kind(&self) -> ActionKind {
        self.kind
    }

    /// The container's first process as this host sees it, where CRIU told.
    #[must_use]
    pub fn init_pid(&self) -> Option<i32> {
        self.told.trim().parse().ok()
    }

    /// The container's bundle, where the stand-in of an engine's runtime asks.
    pub(super) fn bundle(&self) -> &Path {
        Path::new(&self.told)
    }

    /// Lets CRIU go on.
    pub(super) fn accept(mut self) -> io::Result<()> {
        self.reply.write_all(YES)
    }
}

/// The script that CRIU starts: steps without interest end at once, the others ask ckpt. CRIU takes a script that fails or
/// is killed for a no. After a no it undoes what a ckpt that was killed could not, and that also where the one that asked
/// was killed with it.
pub(super) fn script(helper: &str, socket: &str) -> String {
    let (dumped, restored) = (ActionKind::PostDump.name(), ActionKind::PostRestore.name());
    let ask = question(helper, socket);
    format!(
        "#!/bin/sh\ncase \"$CRTOOLS_SCRIPT_ACTION\" in\n{dumped}|{restored}) {ask} || {{ {ask} --undo; exit 1; }} ;;\nesac\n"
    )
}

/// The command with which a script asks.
pub(super) fn question(helper: &str, socket: &str) -> String {
    format!("{} criu-action --socket {}", shell_word(helper), shell_word(socket))
}

fn shell_word(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The script's end of the conversation: asks the session at `socket` about `action` and waits for the answer.
///
/// # Errors
/// Any failure, and any answer but yes, is an error: the caller exits with a status other than 0.
pub fn run_action(socket: &Path, action: &str, init_pid: Option<&str>) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(format!("{action} {}\n", init_pid.unwrap_or("-")).as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    // No time limit: the answer comes when the archive is on disk, and a ckpt that dies closes the connection.
    stream.take(YES.len() as u64 + 1).read_to_end(&mut answer)?;
    if answer == YES {
        Ok(())
    } else {
        Err(io::Error::other("ckpt did not agree"))
    }
}

/// Undoes what the session at `socket` has left undone that was killed: CRIU lets the container run on next.
///
/// # Errors
/// Where a link of the container stays down.
pub fn undo_action(socket: &Path) -> io::Result<()> {
    links::heal(&socket.with_file_name(links::RECORD))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    fn ask(answer: impl FnOnce(Action) + Send) -> io::Result<()> {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        thread::scope(|scope| {
            let asking = scope.spawn(|| run_action(&socket, "post-dump", Some("17")));
            answer(Action::receive(listener.accept().unwrap().0).unwrap());
            asking.join().unwrap()
        })
    }

    #[test]
    fn an_accepted_action_is_a_yes() {
        ask(|action| {
            assert_eq!((action.kind(), action.init_pid()), (ActionKind::PostDump, Some(17)));
            action.accept().unwrap();
        })
        .unwrap();
    }

    #[test]
    fn a_dropped_action_is_a_no() {
        assert!(ask(drop).is_err());
    }

    #[test]
    fn without_a_socket_the_answer_is_no() {
        assert!(run_action(Path::new("/nonexistent/socket"), "post-dump", None).is_err());
    }

    #[test]
    fn an_unknown_action_is_not_understood() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"pre-everything 1\n").unwrap();
        drop(theirs);
        assert!(Action::receive(ours).is_err());
    }

    #[test]
    fn the_script_quotes_its_words() {
        let text = script("/opt/it's here/ckpt", "/run/s");
        assert!(
            text.contains(r"'/opt/it'\''s here/ckpt' criu-action --socket '/run/s' || {"),
            "{text}"
        );
    }
}
