//! Lazy import: the container runs at once, and its memory follows out of the archive.
//!
//! Invariants: no byte reaches the container whose frame was not verified; from the moment the container may run until all of
//! its memory is there, whatever goes wrong ends the container before anything lets go of its missing pages, and a guard
//! process does the same should ckpt itself be killed. The bundle bears the mark of an unfinished import until then, so that
//! the same import can be run again at once.

mod contents;
mod follow;
mod guard;
mod status;
mod stop;

use std::path::Path;

pub(super) use contents::{LazyArchive, Memory};
pub(super) use follow::{Place, Service, follow};
pub use guard::{GuardOrder, guard};
pub use status::{LazyState, LazyStatus, lazy_imports};

use crate::manifest::Manifest;
use crate::request::{ImportRequest, RuntimeKind};
use crate::rewrite::{self, apply::UndoFailure};
use crate::runtime;

/// Takes away what a killed import into `bundle` left, which may be a container without all of its memory.
pub(super) fn clear_abandoned(
    request: &ImportRequest,
    manifest: &Manifest,
    name: &str,
    bundle: &Path,
) -> Vec<UndoFailure> {
    let kind = request
        .runtime
        .or_else(|| RuntimeKind::from_name(&manifest.runtime.name));
    if let Some(kind) = kind {
        guard::wait_for_guard(kind, name);
        if rewrite::apply::is_abandoned(bundle)
            && let Ok(runtime) = runtime::open(kind, request.state_root.as_deref())
        {
            stop::stop_abandoned(&*runtime, name, bundle);
        }
    }
    rewrite::apply::clear_abandoned(bundle)
}
