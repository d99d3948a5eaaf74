#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fairway_jdl_fuzz::json(bytes));
