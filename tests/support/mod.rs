//! What the tests share.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

pub mod archives;
pub mod commands;
pub mod defects;
pub mod forge;
