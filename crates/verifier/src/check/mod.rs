//! Checks of single instructions, by kind.

pub(crate) mod alu;
pub(crate) mod async_cb;
pub(crate) mod atomic;
pub(crate) mod btf_access;
pub(crate) mod call;
pub(crate) mod callback;
pub(crate) mod ctx;
mod ctx_btf;
pub(crate) mod dynptr;
pub(crate) mod exception;
pub(crate) mod exit;
pub(crate) mod func_proto;
pub(crate) mod global;
pub(crate) mod helper;
pub(crate) mod helper_arg;
pub(crate) mod helper_mem;
mod helper_type;
pub(crate) mod iter;
pub(crate) mod jmp;
pub(crate) mod kfunc;
pub(crate) mod kfunc_arg;
pub(crate) mod kfunc_mem;
pub(crate) mod kfunc_ret;
pub(crate) mod ld_imm;
pub(crate) mod lock;
pub(crate) mod mem;
pub(crate) mod nullness;
pub(crate) mod packet;
pub(crate) mod ptr_alu;
pub(crate) mod region;
pub(crate) mod section;
pub(crate) mod snprintf;
pub(crate) mod stack_read;
pub(crate) mod stack_write;
mod types;

pub(crate) use types::kind_text;
