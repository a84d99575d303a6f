//! BTF: parse, write, print as C, CO-RE relocation.
//!
//! [`Btf`] is a set of types; a type is named by its [`TypeId`] and seen through a [`Type`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod btf;
pub mod builder;
mod check;
mod copy;
pub mod core_relo;
mod declarator;
pub mod dump;
mod error;
pub mod ext;
mod index;
mod kind;
pub mod limits;
mod loops;
mod parse;
mod resolve;
mod types;
pub mod value;

pub use btf::Btf;
pub use builder::BtfBuilder;
pub use error::{Error, ExtFault, Fault, HeaderFault, ReloFault};
pub use ext::{CoreRelo, Ext, FuncInfo, LineInfo, ReloKind};
pub use index::essential_name;
pub use types::*;
pub use value::Value;
