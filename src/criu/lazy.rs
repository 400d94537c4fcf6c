//! Lazy restore: CRIU's lazy-pages daemon, and the page server that answers it.
//!
//! CRIU restores a task without the pages that may come later, and hands the userfaultfd of its memory to the daemon. The
//! daemon asks the page server for each page that a task touches, and in between for the rest, range by range.
//!
//! **A task whose userfaultfd is closed reads zeros where its pages are missing.** The daemon closes them all when it ends or
//! loses its server. So whoever serves must never drop the connection, nor confirm its end, while tasks wait; and whatever
//! goes wrong, the container ends before the daemon does.

mod daemon;
mod map;
mod serve;

pub use daemon::{LazyDaemon, complaint, connection};
pub use map::{Found, PageMap, eager_parts};
pub use serve::{PageServer, PageSource, SourceError, Turn};
