//! See `ckpt::archive::fuzzing::tables`. Errors are fine, panics are bugs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ckpt::archive::fuzzing::tables(bytes));
