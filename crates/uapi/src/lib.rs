//! Kernel ABI constants and structs, each once.
//!
//! Numbers and names are those of `include/uapi/linux/bpf.h` and its neighbours; names lose the
//! prefix that the type already says (`BPF_MAP_TYPE_HASH` is [`MapType::HASH`]).
#![no_std]
#![forbid(unsafe_code)]

mod newtype;

mod attach_type;
mod helper_id;
mod map_type;
mod prog_type;
pub mod errno;
pub mod pt_regs;

pub use attach_type::AttachType;
pub use helper_id::HelperId;
pub use map_type::MapType;
pub use prog_type::ProgType;
pub use pt_regs::PtRegs;
