//! Every body for a short while. A failure prints a seed; `STYLET_FUZZ_SEED=0x... cargo test -p stylet-fuzzing`
//! runs it again, `STYLET_FUZZ_MS` sets the time for each body in milliseconds.

use std::env;

use stylet_fuzzing::BODIES;

fn run(name: &str) {
    let (_, body) = BODIES.iter().find(|(known, _)| *known == name).expect("a body of this name");
    let budget = env::var("STYLET_FUZZ_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(1000);
    let test = arbtest::arbtest(body).budget_ms(budget).size_max(4096);
    match env::var("STYLET_FUZZ_SEED") {
        Ok(seed) => {
            let seed =
                u64::from_str_radix(seed.trim_start_matches("0x"), 16).expect("a hexadecimal seed");
            test.seed(seed).run();
        }
        Err(_) => test.run(),
    }
}

macro_rules! bodies {
    ($($name:ident)*) => { $( #[test] fn $name() { run(stringify!($name)); } )* };
}

bodies!(insn_slots insn_text btf_bytes btf_core object_bytes verifier_insns verifier_object verifier_sound verifier_structured);

#[test]
fn every_body_is_run() {
    assert_eq!(BODIES.len(), 9);
}
