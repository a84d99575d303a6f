//! The object's types in the kernel, as far as it understands them (`bpf_object__sanitize_btf`).

mod raw;

use std::os::fd::OwnedFd;

use stylet_btf::Kind;
use stylet_object::{ExternKind, Spec};

use crate::Error;
use crate::feature::Feature;
use crate::kernel::Kernel;
use crate::sys::{self, Errno};
use raw::{RawBtf, RawType};

/// Name of the variable that stands for kernel functions in `.ksyms`.
const DUMMY_KSYM: &str = "dummy_ksym";
/// Bytes of the kernel's log about BTF that is refused.
const LOG: usize = 1 << 20;
/// `BTF_VAR_GLOBAL_ALLOCATED`, `BTF_FUNC_GLOBAL`
const GLOBAL: u32 = 1;
/// Word behind an integer's header: 32 bits, signed; 8 bits; 64 bits.
const INT_32_SIGNED: u32 = 1 << 24 | 32;
const INT_8: u32 = 8;
const INT_64: u32 = 64;

/// Loads the object's BTF. `None` when it has none, or the kernel is older than BTF.
///
/// # Errors
/// [`Error::BtfRefused`]
pub(super) fn load(kernel: &Kernel, spec: &Spec) -> Result<Option<OwnedFd>, Error> {
    let Some(btf) = &spec.btf else { return Ok(None) };
    if !kernel.has(Feature::Btf) {
        return Ok(None);
    }
    let bytes = btf.to_bytes();
    let bytes = sanitize(&bytes, spec, &|feature| kernel.has(feature)).unwrap_or(bytes);
    match sys::btf_load(&bytes, None) {
        Ok(fd) => Ok(Some(fd)),
        Err(errno @ Errno(libc::EPERM)) => Err(kernel.denied("loading the object's BTF", errno)),
        Err(errno) => {
            let mut log = vec![0; LOG];
            let _ = sys::btf_load(&bytes, Some(&mut log));
            let end = log.iter().position(|&b| b == 0).unwrap_or(log.len());
            let log = String::from_utf8_lossy(&log[..end]).into_owned();
            Err(Error::BtfRefused { errno, log })
        }
    }
}

/// The section as the kernel takes it; `None` when it takes it as it is.
fn sanitize(bytes: &[u8], spec: &Spec, has: &dyn Fn(Feature) -> bool) -> Option<Vec<u8>> {
    let mut btf = RawBtf::parse(bytes)?;
    let mut changed = fix_ksyms(&mut btf, spec);
    let lacks = Lacks::new(&btf, has);
    let placeholder =
        if lacks.enum64 { btf.push("enum64_placeholder", Kind::Int, 8, &[INT_64]) } else { 0 };
    let count = btf.types.len();
    for idx in 0..count {
        changed |= lacks.fix(&mut btf, idx, placeholder);
    }
    changed.then(|| btf.to_bytes())
}

/// What occurs in an object and the kernel does not understand.
struct Lacks {
    func: bool,
    func_global: bool,
    datasec: bool,
    qmark: bool,
    float: bool,
    decl_tag: bool,
    type_tag: bool,
    enum64: bool,
}

impl Lacks {
    fn new(btf: &RawBtf, has: &dyn Fn(Feature) -> bool) -> Lacks {
        let any = |kinds: &[Kind]| btf.types.iter().any(|ty| kinds.contains(&ty.kind()));
        let lacks = |kinds: &[Kind], feature| any(kinds) && !has(feature);
        let is_signed_enum = |ty: &RawType| ty.kind() == Kind::Enum && ty.info >> 31 != 0;
        Lacks {
            func: lacks(&[Kind::Func, Kind::FuncProto], Feature::BtfFunc),
            func_global: lacks(&[Kind::Func], Feature::BtfFuncGlobal),
            datasec: lacks(&[Kind::DataSec, Kind::Var], Feature::BtfDatasec),
            qmark: lacks(&[Kind::DataSec], Feature::BtfQmarkDatasec),
            float: lacks(&[Kind::Float], Feature::BtfFloat),
            decl_tag: lacks(&[Kind::DeclTag], Feature::BtfDeclTag),
            type_tag: lacks(&[Kind::TypeTag], Feature::BtfTypeTag),
            enum64: (any(&[Kind::Enum64]) || btf.types.iter().any(is_signed_enum))
                && !has(Feature::BtfEnum64),
        }
    }

    /// Replaces a type by one that has the same layout and that older kernels know. Returns whether it did.
    fn fix(&self, btf: &mut RawBtf, idx: usize, placeholder: u32) -> bool {
        let kind = btf.types[idx].kind();
        match kind {
            Kind::Var if self.datasec => btf.types[idx].become_int8(),
            Kind::DeclTag if self.decl_tag => btf.types[idx].become_int8(),
            Kind::DataSec if self.datasec => become_struct(btf, idx),
            Kind::DataSec if self.qmark && btf.name(btf.types[idx].name_off).starts_with('?') => {
                let name = btf.name(btf.types[idx].name_off).replacen('?', "_", 1);
                btf.types[idx].name_off = btf.add_str(&name);
            }
            // Parameters become enumerators.
            Kind::FuncProto if self.func => {
                btf.types[idx].set_kind(Kind::Enum);
                btf.types[idx].arg = 4;
                for pair in btf.types[idx].words.chunks_exact_mut(2) {
                    pair[1] = 0;
                }
            }
            Kind::Func if self.func => btf.types[idx].set_info(Kind::Typedef, 0),
            Kind::Func if self.func_global && btf.types[idx].vlen() != 0 => {
                btf.types[idx].set_info(Kind::Func, 0);
            }
            // No members: what the kernel skips over.
            Kind::Float if self.float => btf.types[idx].set_info(Kind::Struct, 0),
            Kind::TypeTag if self.type_tag => {
                btf.types[idx].name_off = 0;
                btf.types[idx].set_info(Kind::Const, 0);
            }
            Kind::Enum if self.enum64 && btf.types[idx].info >> 31 != 0 => {
                btf.types[idx].info &= !(1 << 31);
            }
            // Enumerators become members at offset 0.
            Kind::Enum64 if self.enum64 => {
                btf.types[idx].info &= !(1 << 31);
                btf.types[idx].set_kind(Kind::Union);
                for member in btf.types[idx].words.chunks_exact_mut(3) {
                    member[1] = placeholder;
                    member[2] = 0;
                }
            }
            _ => return false,
        }
        true
    }
}

impl RawType {
    /// One byte that has no meaning, with the word behind the header kept for its width.
    fn become_int8(&mut self) {
        self.set_info(Kind::Int, 0);
        self.arg = 1;
        self.words = vec![INT_8];
    }
}

/// A data section becomes a struct with a member for each variable.
fn become_struct(btf: &mut RawBtf, idx: usize) {
    let name = btf.name(btf.types[idx].name_off).replace(['.', '?'], "_");
    btf.types[idx].name_off = btf.add_str(&name);
    let mut words = std::mem::take(&mut btf.types[idx].words);
    for member in words.chunks_exact_mut(3) {
        let (ty, offset) = (member[0], member[1]);
        member[0] = btf.get(ty).map_or(0, |var| var.name_off);
        member[1] = ty;
        member[2] = offset.wrapping_mul(8);
    }
    btf.types[idx].words = words;
    btf.types[idx].set_kind(Kind::Struct);
}

/// `.ksyms` lists kernel variables and functions, which are no variables of the object: the kernel is shown a section of
/// integers (`bpf_object__collect_externs`). Returns whether there is such a section.
fn fix_ksyms(btf: &mut RawBtf, spec: &Spec) -> bool {
    let is_ksyms = |ty: &RawType| ty.kind() == Kind::DataSec && btf.name(ty.name_off) == ".ksyms";
    let Some(section) = btf.types.iter().position(is_ksyms) else { return false };
    let is_int =
        |ty: &RawType| ty.kind() == Kind::Int && ty.arg == 4 && ty.words == [INT_32_SIGNED];
    let is_func = |kind: &ExternKind| matches!(kind, ExternKind::KsymFunc { .. });
    let int = match btf.types.iter().position(is_int) {
        Some(idx) => idx as u32 + 1,
        None => btf.push("int", Kind::Int, 4, &[INT_32_SIGNED]),
    };
    let dummy = match spec.externs.iter().any(|ext| is_func(&ext.kind)) {
        true => btf.push(DUMMY_KSYM, Kind::Var, int, &[GLOBAL]),
        false => 0,
    };
    let mut words = std::mem::take(&mut btf.types[section].words);
    let mut size = 0;
    for var in words.chunks_exact_mut(3) {
        if btf.get(var[0]).is_some_and(|ty| ty.kind() == Kind::Func) {
            name_params(btf, var[0]);
            if let Some(func) = btf.get_mut(var[0]) {
                func.set_info(Kind::Func, GLOBAL);
            }
            var[0] = dummy;
        } else if let Some(ty) = btf.get_mut(var[0]) {
            ty.arg = int;
            ty.words = vec![GLOBAL];
        }
        (var[1], var[2]) = (size, 4);
        size += 4;
    }
    btf.types[section].words = words;
    btf.types[section].arg = size;
    true
}

/// A function that is not extern has names for its parameters (`btf_func_proto_check`, kernel/bpf/btf.c).
fn name_params(btf: &mut RawBtf, func: u32) {
    let Some(proto) = btf.get(func).map(|func| func.arg) else { return };
    let nameless = |proto: &RawType| proto.words.chunks_exact(2).any(|p| p[0] == 0 && p[1] != 0);
    if !btf.get(proto).is_some_and(nameless) {
        return;
    }
    let name = btf.add_str(DUMMY_KSYM);
    if let Some(proto) = btf.get_mut(proto) {
        for param in proto.words.chunks_exact_mut(2) {
            if param[0] == 0 && param[1] != 0 {
                param[0] = name;
            }
        }
    }
}

#[cfg(test)]
mod tests;
