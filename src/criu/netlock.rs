//! The lock that CRIU puts on a container's network while it dumps.
//!
//! All packets in the namespace are dropped, so that no peer notices that nobody answers. CRIU takes the rules away when it
//! ends, in success and in failure; a CRIU that is killed leaves them, and the container runs on with a dead network.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::process::{Command, Output, Stdio};

use crate::sys::{netns, programs};

/// The chain that CRIU drops packets in, with its default method.
const CHAIN: &str = "CRIU";
/// How the tables of its other method are called, with their family.
const TABLES: &str = "inet CRIU-";
/// How many dumps that broke off one after the other are undone.
const JUMPS: usize = 64;

/// The network namespace of a container.
#[derive(Debug)]
pub struct Network(File);

impl Network {
    /// That of the process `pid`; `None` where it is the caller's, which CRIU does not lock.
    ///
    /// # Errors
    /// Where there is no such process.
    pub fn of(pid: i32) -> io::Result<Option<Self>> {
        let path = format!("/proc/{pid}/ns/net");
        if fs::read_link(&path)? == fs::read_link("/proc/self/ns/net")? {
            return Ok(None);
        }
        File::open(path).map(Self).map(Some)
    }

    /// Takes away what a CRIU that was killed left there. No lock is no error.
    ///
    /// # Errors
    /// Where the namespace cannot be entered, or a lock cannot be taken away.
    pub fn unlock(&self) -> io::Result<()> {
        netns::within(self.0.as_fd(), || {
            drop_chain("iptables")?;
            drop_chain("ip6tables")?;
            drop_tables()
        })
    }
}

/// Removes CRIU's chain and what jumps there, once for each CRIU that was killed.
fn drop_chain(program: &str) -> io::Result<()> {
    let tables = |arguments: &[&str]| run(program, &[&["-w"], arguments].concat());
    if !tables(&["-S", CHAIN])?.is_some_and(|output| output.status.success()) {
        return Ok(());
    }
    for hook in ["INPUT", "OUTPUT"] {
        for _ in 0..JUMPS {
            if !tables(&["-D", hook, "-j", CHAIN])?.is_some_and(|output| output.status.success()) {
                break;
            }
        }
    }
    tables(&["-F", CHAIN])?;
    succeeded(tables(&["-X", CHAIN])?)
}

fn drop_tables() -> io::Result<()> {
    let Some(listed) = run("nft", &["list", "tables"])? else {
        return Ok(());
    };
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let tables = listed.lines().filter_map(|line| line.strip_prefix("table "));
    for table in tables.filter(|table| table.starts_with(TABLES)) {
        let words: Vec<&str> = ["delete", "table"]
            .into_iter()
            .chain(table.split_whitespace())
            .collect();
        succeeded(run("nft", &words)?)?;
    }
    Ok(())
}

/// Runs a program to its end; `None` where it is not installed, and so cannot have been CRIU's.
fn run(program: &str, arguments: &[&str]) -> io::Result<Option<Output>> {
    let Some(path) = programs::find(program) else {
        return Ok(None);
    };
    let output = Command::new(path).args(arguments).stdin(Stdio::null()).output()?;
    Ok(Some(output))
}

fn succeeded(output: Option<Output>) -> io::Result<()> {
    match output {
        Some(output) if !output.status.success() => Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
        _ => Ok(()),
    }
}
