//! Kernel ABI constants and structs, each once.
//!
//! Numbers and names are those of `include/uapi/linux/bpf.h` and its neighbours; names lose the
//! prefix that the type already says (`BPF_MAP_TYPE_HASH` is [`MapType::HASH`]).
#![no_std]
#![forbid(unsafe_code)]

mod newtype;

mod attach_type;
mod cmd;
pub mod errno;
pub mod flags;
mod helper_id;
pub mod limits;
mod link_type;
mod map_type;
pub mod perf;
mod perf_record;
mod prog_type;
pub mod pt_regs;

pub use attach_type::AttachType;
pub use cmd::Cmd;
pub use helper_id::HelperId;
pub use link_type::LinkType;
pub use map_type::MapType;
pub use perf_record::PerfRecord;
pub use prog_type::ProgType;
pub use pt_regs::PtRegs;
