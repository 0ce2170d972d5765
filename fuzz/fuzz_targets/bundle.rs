#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| reeltime_fuzz::bundle(data));
