//! CRIU's RPC: `criu swrk FD`, a worker that takes requests over a socket of its parent.
//!
//! [`Worker`] is the connection; [`questions`] asks what CRIU and this kernel can do; [`Order`] is a dump or restore of a
//! process tree, which `ckpt criu-rpc` carries out beside a [`Session`](super::Session) as runc and crun do for containers.

mod messages;
mod order;
mod pidns;
pub mod questions;
mod substitute;
mod worker;

pub use messages::{CgroupMode, Features, InheritFd, Kind, Notification, Options, PageServer, Request, Response};
pub use order::{Job, NetworkOf, Order, Switches, carry_out};
pub use pidns::{ORDER_VARIABLE, first_process};
pub use substitute::Substitute;
pub use worker::{Handed, Worker};
