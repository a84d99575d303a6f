//! BTF of the kernel that the cases were observed on: what their kfunc calls name.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use stylet_btf::builder::{BtfBuilder, MemberDef};
use stylet_btf::{Btf, Kind, Type, TypeId};

/// The part of a 6.18 kernel's BTF that kfuncs need, made by [`cut`].
pub static STORED: LazyLock<Btf> = LazyLock::new(|| {
    let raw = std::fs::read(stored_path()).expect("filetests/verifier/vmlinux-6.18.btf");
    Btf::parse(&raw).expect("the stored BTF is well-formed")
});

/// Where [`STORED`] is kept.
pub fn stored_path() -> PathBuf {
    path_of("6.18")
}

/// Where the same part of another release's BTF is kept.
pub fn path_of(release: &str) -> PathBuf {
    super::root().join(format!("vmlinux-{release}.btf"))
}

/// BTF of the running kernel.
pub fn running() -> Result<Btf, String> {
    let raw = std::fs::read("/sys/kernel/btf/vmlinux").map_err(|e| e.to_string())?;
    Btf::parse(&raw).map_err(|e| e.to_string())
}

/// The kfuncs of `btf` with their types. Structures that hold pointers keep only their name, their size and one pointer.
pub fn cut(btf: &Btf) -> Result<Vec<u8>, String> {
    let mut cut = Cut { btf, out: BtfBuilder::new(), ids: HashMap::new() };
    for (_, ty) in btf.types() {
        if let Type::DeclTag(tag) = ty
            && btf.name(tag.name_off) == "bpf_kfunc"
        {
            cut.take(tag.ty);
        }
    }
    for name in ["bpf_map", "pt_regs", "bpf_perf_event_data", "task_struct"] {
        if let Some(id) = btf.find_by_name_kind(name, Kind::Struct) {
            cut.take(id);
        }
    }
    cut.out.to_bytes().map_err(|e| e.to_string())
}

struct Cut<'a> {
    btf: &'a Btf,
    out: BtfBuilder,
    ids: HashMap<TypeId, TypeId>,
}

impl Cut<'_> {
    fn take(&mut self, id: TypeId) -> TypeId {
        if id == 0 {
            return 0;
        }
        if let Some(done) = self.ids.get(&id) {
            return *done;
        }
        let btf = self.btf;
        let new = match btf.type_by_id(id) {
            Some(Type::Struct(s) | Type::Union(s)) if !self.is_plain(id, 0) => {
                let void = self.out.ptr(0);
                let member = [MemberDef::new("opaque", void, 0)];
                let (name, size) = (btf.name(s.name_off), s.size);
                if btf.kind(id) == Some(Kind::Union) {
                    self.out.union(name, size, &member)
                } else {
                    self.out.structure(name, size, &member)
                }
            }
            Some(ty) => {
                let ids: HashMap<TypeId, TypeId> =
                    refers_to(ty).into_iter().map(|r| (r, self.take(r))).collect();
                self.out.copy(btf, id, |r| ids.get(&r).copied().unwrap_or(0))
            }
            None => 0,
        };
        self.ids.insert(id, new);
        new
    }

    /// Whether a type holds no pointer.
    fn is_plain(&self, id: TypeId, depth: u32) -> bool {
        let btf = self.btf;
        match btf.type_by_id(btf.skip_mods_and_typedefs(id)) {
            Some(Type::Struct(s) | Type::Union(s)) => {
                depth < 8 && s.members().all(|m| self.is_plain(m.ty, depth + 1))
            }
            Some(Type::Array(a)) => self.is_plain(a.elem, depth + 1),
            Some(Type::Int(_) | Type::Enum(_) | Type::Enum64(_)) => true,
            _ => false,
        }
    }
}

/// Types that a type names.
fn refers_to(ty: Type<'_>) -> Vec<TypeId> {
    match ty {
        Type::Struct(s) | Type::Union(s) => s.members().map(|m| m.ty).collect(),
        Type::Array(a) => vec![a.elem, a.index],
        Type::Func(f) => vec![f.ty],
        Type::Ptr(r) | Type::Typedef(r) => vec![r.ty],
        Type::FuncProto(p) => p.params().map(|p| p.ty).chain([p.ret]).collect(),
        other => other.modified().into_iter().collect(),
    }
}
