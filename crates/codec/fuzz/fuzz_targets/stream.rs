//! libFuzzer over `fuzz_stream`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| leveret_codec::fuzzing::fuzz_stream(data));
