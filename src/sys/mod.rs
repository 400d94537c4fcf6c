//! System calls: the only place of the crate that may hold `unsafe` code.

pub mod programs;
pub mod read;
