//! BTF of the kernel that the cases were observed on: what their kfunc calls name.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use stylet_btf::builder::{BtfBuilder, MemberDef};
use stylet_btf::{Btf, Kind, SecVar, Type, TypeId};

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

/// Structures that cases walk through: they keep their members.
const WHOLE: &[&str] = &[
    "bpf_map",
    "bpf_array",
    "bpf_htab",
    "bpf_ringbuf_map",
    "bpf_prog",
    "bpf_link",
    "task_struct",
    "sched_info",
    "cgroup",
    "cgroup_subsys_state",
    "css_set",
    "kernfs_node",
    "mm_struct",
    "vm_area_struct",
    "file",
    "path",
    "inode",
    "dentry",
    "qstr",
    "socket",
    "sock",
    "sock_common",
    "tcp_sock",
    "udp_sock",
    "inet_connection_sock",
    "inet_sock",
    "request_sock",
    "sk_buff",
    "nf_hook_state",
    "net_device",
    "xdp_buff",
    "seq_file",
    "linux_binprm",
    "cpumask",
    "bpf_cpumask",
    "bpf_iter_meta",
    "bpf_iter__task",
    "tcp_congestion_ops",
    "rate_sample",
];

/// Functions and types by which programs are attached.
const ATTACHED: &[(&str, Kind)] = &[
    ("bpf_fentry_test", Kind::Func),
    ("bpf_modify_return_test", Kind::Func),
    ("bpf_iter_", Kind::Func),
    ("bpf_lsm_file_open", Kind::Func),
    ("bpf_lsm_bprm_committed_creds", Kind::Func),
    ("bpf_lsm_socket_post_create", Kind::Func),
    ("bpf_lsm_inode_getattr", Kind::Func),
    ("btf_trace_task_newtask", Kind::Typedef),
    ("btf_trace_task_rename", Kind::Typedef),
    ("btf_trace_sched_", Kind::Typedef),
    ("btf_trace_sys_", Kind::Typedef),
    ("btf_trace_kfree_skb", Kind::Typedef),
    ("btf_trace_netif_receive_skb", Kind::Typedef),
    ("btf_trace_tcp_", Kind::Typedef),
    ("btf_trace_cgroup_mkdir", Kind::Typedef),
    ("btf_trace_xdp_exception", Kind::Typedef),
    ("__bpf_trace_task_newtask", Kind::Func),
    ("__bpf_trace_task_rename", Kind::Func),
    ("__bpf_trace_sched_", Kind::Func),
    ("__bpf_trace_sys_", Kind::Func),
    ("__bpf_trace_kfree_skb", Kind::Func),
    ("__bpf_trace_net_dev_", Kind::Func),
    ("__bpf_trace_tcp_", Kind::Func),
    ("__bpf_trace_cgroup", Kind::Func),
    ("__bpf_trace_xdp_exception", Kind::Func),
    ("vfs_read", Kind::Func),
    ("vfs_truncate", Kind::Func),
    ("security_file_open", Kind::Func),
    ("within_error_injection_list", Kind::Func),
    ("bpf_lsm_task_free", Kind::Func),
    ("bpf_lsm_getprocattr", Kind::Func),
    ("bpf_lsm_verify_prog", Kind::Func),
    ("bpf_lsm_inode_xattr_skipcap", Kind::Func),
    ("do_exit", Kind::Func),
    ("migrate_disable", Kind::Func),
];

/// The part of `btf` that cases name: kfuncs, the structures of [`WHOLE`], what [`ATTACHED`] begins with, typed variables
/// of the kernel. Other structures that hold pointers keep only their name, their size and one pointer.
pub fn cut(btf: &Btf) -> Result<Vec<u8>, String> {
    let mut cut = Cut {
        btf,
        out: BtfBuilder::new(),
        ids: HashMap::new(),
        order: Vec::new(),
        tables: Vec::new(),
    };
    let pointer = cut.out.ptr(0);
    for (id, ty) in btf.types() {
        let name = btf.name(ty.name_off());
        match ty {
            Type::DeclTag(tag) if name == "bpf_kfunc" => cut.take(tag.ty),
            Type::Func(_) | Type::Typedef(_)
                if ATTACHED.iter().any(|(n, k)| name.starts_with(n) && ty.kind() == *k) =>
            {
                cut.take(id)
            }
            Type::Struct(_) | Type::Union(_)
                if WHOLE.contains(&name)
                    || name.contains("__safe_")
                    || name.starts_with("bpf_iter__")
                    || matches!(name, "pt_regs" | "bpf_perf_event_data" | "bpf_bloom_filter") =>
            {
                cut.take(id)
            }
            Type::Var(_) if matches!(name, "runqueues" | "bpf_prog_active") => cut.take(id),
            _ => {}
        }
    }
    for name in ["security_list_options", "bpf_ctx_convert"] {
        let table =
            [Kind::Union, Kind::Struct].iter().find_map(|k| btf.find_by_name_kind(name, *k));
        cut.tables.extend(table);
    }
    for kind in ["sk_buff", "xdp_buff", "pt_regs", "sock", "__sk_buff", "xdp_md"] {
        if let Some(id) = btf.find_by_name_kind(kind, Kind::Struct) {
            cut.take(id);
        }
    }
    cut.write(pointer);
    cut.out.to_bytes().map_err(|e| e.to_string())
}

struct Cut<'a> {
    btf: &'a Btf,
    out: BtfBuilder,
    /// New ids. Types refer to each other in circles, so ids are given before types are written.
    ids: HashMap<TypeId, TypeId>,
    order: Vec<TypeId>,
    /// Types of which only the members' names matter, and structures among their types that are there anyway.
    tables: Vec<TypeId>,
}

impl Cut<'_> {
    fn take(&mut self, first: TypeId) {
        let mut todo = vec![first];
        while let Some(id) = todo.pop() {
            if id == 0 || self.ids.contains_key(&id) {
                continue;
            }
            let Some(ty) = self.btf.type_by_id(id) else { continue };
            self.order.push(id);
            // The pointer comes before all others.
            self.ids.insert(id, self.order.len() as TypeId + 1);
            if !self.is_opaque(id) {
                todo.extend(refers_to(ty));
            }
        }
    }

    fn write(&mut self, pointer: TypeId) {
        for id in self.order.clone() {
            let btf = self.btf;
            match btf.type_by_id(id) {
                Some(Type::Struct(s) | Type::Union(s)) if self.is_opaque(id) => {
                    let member = [MemberDef::new("opaque", pointer, 0)];
                    let (name, size) = (btf.name(s.name_off), s.size);
                    if btf.kind(id) == Some(Kind::Union) {
                        self.out.union(name, size, &member);
                    } else {
                        self.out.structure(name, size, &member);
                    }
                }
                _ => {
                    self.out.copy(btf, id, |r| self.ids.get(&r).copied().unwrap_or(0));
                }
            }
        }
        self.write_tables(pointer);
    }

    /// Tables of hooks and contexts, and the section of the per-CPU variables that are there.
    fn write_tables(&mut self, pointer: TypeId) {
        let btf = self.btf;
        for id in self.tables.clone() {
            let Some(Type::Struct(s) | Type::Union(s)) = btf.type_by_id(id) else { continue };
            let members: Vec<_> = s
                .members()
                .map(|m| {
                    let ty = self.ids.get(&m.ty).copied().unwrap_or(pointer);
                    MemberDef::new(btf.name(m.name_off), ty, m.bit_offset)
                })
                .collect();
            let (name, size) = (btf.name(s.name_off), s.size);
            if btf.kind(id) == Some(Kind::Union) {
                self.out.union(name, size, &members);
            } else {
                self.out.structure(name, size, &members);
            }
        }
        let section = btf.find_by_name_kind(".data..percpu", Kind::DataSec);
        if let Some(Type::DataSec(section)) = section.and_then(|id| btf.type_by_id(id)) {
            let vars: Vec<_> = section
                .vars()
                .filter_map(|v| Some(SecVar { ty: *self.ids.get(&v.ty)?, ..v }))
                .collect();
            let end = vars.iter().map(|v| v.offset + v.size).max().unwrap_or(0);
            self.out.datasec(".data..percpu", end, &vars);
        }
    }

    fn is_opaque(&self, id: TypeId) -> bool {
        let Some(Type::Struct(s) | Type::Union(s)) = self.btf.type_by_id(id) else { return false };
        let name = self.btf.name(s.name_off);
        let whole = name.is_empty()
            || WHOLE.contains(&name)
            || name.contains("__safe_")
            || name.starts_with("bpf_iter__");
        !whole && !self.is_plain(id, 0)
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
        Type::Var(v) => vec![v.ty],
        Type::FuncProto(p) => p.params().map(|p| p.ty).chain([p.ret]).collect(),
        other => other.modified().into_iter().collect(),
    }
}
