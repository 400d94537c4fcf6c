//! What an import changes for the new host: a pure plan first, then its application.
//!
//! [`plan()`] is a function of the manifest, the archived configuration, the cgroup record's summary, facts about this host
//! and the request; `--dry-run` prints the very [`Plan`] that [`apply()`] performs. Invariants:
//!
//! - nothing here changes the host before [`apply()`]; [`HostView::look`] only reads;
//! - what the archive says is never trusted: a path of the source host reaches the new configuration only when the
//!   importer mapped or allowed it, and everything that is refused is named at once, with the flag that allows it;
//! - a key of the configuration that no rewrite names survives untouched;
//! - what [`apply()`] makes is taken away again, in reverse order, unless the import is committed.

pub mod apply;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod layout;
pub mod lxc;
pub mod plan;
pub mod podman;
pub mod processes;
mod refusal;
pub mod spec;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code, reason = "the fuzz target has less use for it than tests"))]
mod testing;

pub use apply::{Applied, Contents, apply};
pub use error::Error;
pub use host::{CgroupSummary, CgroupView, HostView, Limit, LxcHost, PathKind};
pub use layout::{CONTAINERS_DIR, Layout, Name};
pub use plan::{Inputs, LxcInputs, Plan, Step, plan, plan_schema, questions};
pub use refusal::{ProcessRefusal, Refusal, Refusals};
pub use spec::{Change, Spec};
