//! System calls: the only place of the crate that may hold `unsafe` code.

pub mod cpuid;
pub mod netns;
pub mod pidns;
pub mod probe;
pub mod programs;
pub mod read;
pub mod repair;
pub mod rtnetlink;
pub mod space;
pub mod status;
#[cfg(test)]
pub(crate) mod testing;
pub mod writeback;
