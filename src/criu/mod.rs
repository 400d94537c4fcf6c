//! CRIU as ckpt sees it: a session beside the runtime's own CRIU, its action scripts, logs, statistics and images.
//!
//! runc and crun start CRIU themselves and keep doing so, so that their state, monitors and cgroups stay right. ckpt adds
//! to *their* CRIU through a private option file (`CRIU_CONFIG_FILE`): an action script that talks to ckpt over a
//! socket, and switches that the runtime has no flag for.

mod actions;
mod error;
pub mod images;
pub mod lazy;
mod log;
mod netlock;
mod netns;
mod options;
mod pagemap;
pub mod pages;
mod roots;
pub mod rpc;
mod session;
pub mod stats;
mod thin;
pub mod wire;
mod work;
pub mod zeros;

pub use actions::{Action, ActionKind, run_action, undo_action};
pub use error::Error;
pub use log::{BrokenOff, broken_off, error_lines, frozen_for};
pub use netlock::Network;
pub use netns::{ImageNetns, image_netns, set_image_netns};
pub use options::OptionFile;
pub use roots::root_mode;
pub use session::{Commit, Hook, Logs, Prepared, Running, Session, helper};
pub use work::WorkDir;
