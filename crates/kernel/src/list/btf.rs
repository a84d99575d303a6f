//! BTF objects of the kernel.

use std::os::fd::AsFd;

use stylet_btf::Btf;
use stylet_uapi::Cmd;

use crate::Error;
use crate::kernel::Kernel;
use crate::sys::{self, FuncRecord};

/// The types of a BTF object by id; `None` for id 0, and for types that go on from a base (those of modules).
///
/// # Errors
/// What the kernel answers; [`Error::Object`] never: types that can not be parsed are `None`.
pub fn btf_by_id(kernel: &Kernel, id: u32) -> Result<Option<Btf>, Error> {
    if id == 0 {
        return Ok(None);
    }
    let what = || format!("reading BTF object {id}");
    let bytes = sys::object_by_id(Cmd::BTF_GET_FD_BY_ID, id)
        .and_then(|fd| sys::btf_bytes(fd.as_fd()))
        .map_err(|errno| match errno {
            sys::Errno(libc::EPERM | libc::EACCES) => kernel.denied(&what(), errno),
            errno => Error::sys("BPF_BTF_GET_FD_BY_ID", what())(errno),
        })?;
    Ok(Btf::parse(&bytes).ok())
}

/// The name of a program that the kernel has cut to 15 bytes, from the first of its functions.
pub fn full_name(short: &str, funcs: &[FuncRecord], btf: Option<&Btf>) -> String {
    let name = funcs.first().zip(btf).map(|(func, btf)| btf.type_name(func.type_id));
    match name {
        Some(name) if short.len() == 15 && name.starts_with(short) => name.to_owned(),
        _ => short.to_owned(),
    }
}
