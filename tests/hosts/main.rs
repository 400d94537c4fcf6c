//! End to end on real hosts: real CRIU, real runtimes, two hosts joined by a network, sshd and scp between them.
//!
//! Each test has hosts of its own. They need root; without it they say so loudly, and in CI that is a failure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that cannot run says so"
)]

#[path = "../support/hosts.rs"]
mod support;

mod bench;
mod container;
mod continuity;
mod files;
mod foreign;
mod formats;
mod inside;
mod lazy;
mod limits;
mod lxc;
mod lxc_network;
mod lxc_networks;
mod lxc_services;
mod options;
mod podman;
mod podman_kept;
mod podman_refused;
mod process;
mod replace;
mod safety;
mod services;
mod stream;
mod systemd;
mod undo;
mod vm;
mod zeros;
