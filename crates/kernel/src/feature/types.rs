//! Kinds of BTF, found out by loading the least section that has them.

use stylet_btf::builder::IntEncoding;
use stylet_btf::{BtfBuilder, FuncLinkage, SecVar, VarLinkage};

use super::probe::Probed;
use crate::feature::Feature;
use crate::sys;

/// Loads a section with one type of the kind that `feature` is about.
pub(super) fn probe(feature: Feature) -> Probed {
    let mut btf = BtfBuilder::new();
    let int = btf.int("int", 4, IntEncoding::Signed);
    match feature {
        Feature::BtfFunc | Feature::BtfFuncGlobal => {
            let proto = btf.func_proto(0, &[("a", int)]);
            let is_global = feature == Feature::BtfFuncGlobal;
            let linkage = if is_global { FuncLinkage::Global } else { FuncLinkage::Static };
            btf.func("f", linkage, proto);
        }
        Feature::BtfDatasec | Feature::BtfQmarkDatasec => {
            let ty = btf.var("v", VarLinkage::Static, int);
            let name = if feature == Feature::BtfDatasec { ".data" } else { "?.data" };
            btf.datasec(name, 4, &[SecVar { ty, offset: 0, size: 4 }]);
        }
        Feature::BtfFloat => {
            btf.float("float", 4);
        }
        Feature::BtfDeclTag => {
            let ty = btf.var("v", VarLinkage::Static, int);
            btf.decl_tag("tag", ty, None);
        }
        Feature::BtfTypeTag => {
            let tag = btf.type_tag("tag", int);
            btf.ptr(tag);
        }
        Feature::BtfEnum64 => {
            btf.enum64("e", 8, false, &[("v", 0)]);
        }
        _ => {}
    }
    Probed::of(sys::btf_load(&btf.to_bytes().unwrap_or_default(), None))
}

/// Loads a program whose global function takes the context by a tag (`btf_prepare_func_args`, kernel/bpf/btf.c).
pub(super) fn arg_ctx_tag() -> Probed {
    use std::os::fd::AsFd;
    use stylet_object::FuncInfo;
    use stylet_uapi::ProgType;

    let mut btf = BtfBuilder::new();
    let int = btf.int("int", 4, IntEncoding::Signed);
    let any = btf.ptr(0);
    let main_proto = btf.func_proto(int, &[]);
    let main = btf.func("main", FuncLinkage::Static, main_proto);
    let sub_proto = btf.func_proto(int, &[("ctx", any)]);
    let sub = btf.func("sub", FuncLinkage::Global, sub_proto);
    btf.decl_tag("arg:ctx", sub, Some(0));
    let btf = match sys::btf_load(&btf.to_bytes().unwrap_or_default(), None) {
        Ok(btf) => btf,
        Err(errno) => return Probed::of::<()>(Err(errno)),
    };
    // main: r0 = sub(ctx); exit. sub: r0 = ctx->len; exit, which only a context allows.
    let insns = [
        [0x85, 0x10, 0, 0, 1, 0, 0, 0],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
        [0x61, 0x10, 0, 0, 0, 0, 0, 0],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ];
    let prog = sys::ProgAttr {
        prog_type: ProgType::SOCKET_FILTER,
        insns: &insns,
        license: c"GPL",
        btf: Some(btf.as_fd()),
        func_info: &[
            FuncInfo { insn_idx: 0, type_id: main },
            FuncInfo { insn_idx: 2, type_id: sub },
        ],
        ..sys::ProgAttr::default()
    };
    Probed::of(sys::prog_load(&prog, &mut []))
}
