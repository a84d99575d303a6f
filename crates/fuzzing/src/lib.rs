//! Bodies of the fuzz targets: each turns arbitrary bytes into an input and checks what must hold of any input.
//!
//! `fuzz/` runs them under libFuzzer, `cargo test -p stylet-fuzzing` each for a second or two.
#![forbid(unsafe_code)]

pub mod btf;
pub mod insn;
pub mod mutate;
pub mod object;
pub mod seeds;
pub mod sound;
pub mod structured;
pub mod verifier;

use arbitrary::{Result, Unstructured};

/// A body: an error means that the bytes were too few, a panic that the property does not hold.
pub type Body = fn(&mut Unstructured<'_>) -> Result<()>;

/// Every body with the name of its target.
pub const BODIES: &[(&str, Body)] = &[
    ("insn_slots", insn::slots),
    ("insn_text", insn::text),
    ("btf_bytes", btf::bytes),
    ("btf_core", btf::core),
    ("object_bytes", object::bytes),
    ("verifier_insns", verifier::insns),
    ("verifier_object", verifier::object),
    ("verifier_sound", sound::bounds),
    ("verifier_structured", structured::verdicts),
];

/// Runs the body of a target on raw bytes.
///
/// # Panics
/// When there is no such target, and when its property does not hold.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, body) = BODIES.iter().find(|(known, _)| *known == name).expect("a target of this name");
    // too few bytes are no finding
    let _ = body(&mut Unstructured::new(bytes));
}
