//! What can be wrong with a program. `Display` gives the kernel's text, which people search for.

use alloc::string::String;

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum RejectionKind {
    #[error("not supported yet: {what}")]
    NotSupportedYet { what: String },
    #[error("verifier bug: {what}")]
    VerifierBug { what: &'static str },
    #[error("infinite loop detected at insn {insn}")]
    InfiniteLoop { insn: u32 },
}
