//! See `ckpt::rewrite::fuzzing::plan`. Errors are fine, panics are bugs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ckpt::rewrite::fuzzing::plan(bytes));
