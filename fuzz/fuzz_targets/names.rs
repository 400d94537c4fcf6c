//! See `ckpt::archive::fuzzing::names`. Errors are fine, panics are bugs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ckpt::archive::fuzzing::names(bytes));
