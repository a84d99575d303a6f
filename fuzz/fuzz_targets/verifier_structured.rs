#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stylet_fuzzing::run("verifier_structured", data));
