//! `ckpt` moves running containers as files.
//!
//! An **export** freezes a container with CRIU and leaves one checksummed archive; an **import** verifies that archive on
//! another host, rewrites what belonged to the old host and restores the container where it stopped.
//!
//! ```text
//! export:  runtime::inspect -> Target -> criu::Session -> runtime dump ─┬─ memory (criu::pages) ─┐
//!                                                                      └─ files  (capture)    ─┴─> archive::Writer -> Sink
//!          post-dump: Writer::finish -> Sink::commit (fsync, rename) -> acknowledge -> container is gone
//! import:  Source -> archive::Reader -> Staged<Unverified> -> verify -> Staged<Verified>
//!          -> rewrite::Plan (pure) -> apply -> Bundle -> runtime restore
//! ```
//!
//! Dependencies point one way:
//! `cli -> export/import -> runtime, criu, capture, rewrite -> archive, tree -> cgroup, mounts, manifest -> sys`.
//! `archive` knows no CRIU, `criu` knows no tar, `rewrite` does no I/O until `apply`, only `cli` prints.
//!
//! | module | subject |
//! |---|---|
//! | [`export`](mod@export), [`import`](mod@import) | the two pipelines, each on one screen |
//! | [`request`] | what the caller asks for, checked |
//! | [`runtime`] | runc, crun, podman, LXC, processes: how to look at a container, which command dumps and which restores |
//! | [`criu`] | a session beside the runtime's CRIU: option file, action script, commit point; page servers; its images and logs |
//! | [`rewrite`] | what an import changes for the new host: a pure plan, then its application with undo |
//! | [`ability`] | what this host can do |
//! | [`archive`] | the archive format: writer, strict reader, frames, digests, limits, sink and source |
//! | [`tree`] | a directory tree as a tar stream, and back, beneath a directory descriptor |
//! | [`manifest`] | `ckpt.json`, the first entry of every archive |
//! | [`capture`] | what is taken of a container: root file system, /dev/shm, volumes |
//! | [`host`] | facts about this host, and what of them an archive needs |
//! | [`foreign`] | checkpoints that podman, CRI-O or containerd made: read, described, checked, sealed and converted |
//! | [`lxc`] | configurations of LXC, read without loss and judged |
//! | [`links`] | the host's ends of a container's network links: cut off and brought back |
//! | [`images`] | what CRIU's images say: processes, memory, files, sockets, mounts, network |
//! | [`report`] | a checkpoint as a page for a browser |
//! | [`cgroup`], [`mounts`] | the cgroup record; mountinfo and the bind-mount map |
//! | [`process`] | plain processes: their tree, the files that they use, what keeps CRIU from dumping them |
//! | [`sys`] | the only `unsafe` code and raw system calls |

pub mod ability;
pub mod archive;
pub mod capture;
pub mod cgroup;
pub mod cli;
pub mod criu;
pub mod error;
pub mod event;
pub mod export;
pub mod foreign;
pub mod host;
pub mod images;
pub mod import;
pub mod links;
pub mod lxc;
pub mod manifest;
pub mod mounts;
pub mod process;
pub mod report;
pub mod request;
pub mod rewrite;
pub mod runtime;
pub mod sys;
pub mod tree;
mod zero;

pub use error::{Error, ErrorKind};
