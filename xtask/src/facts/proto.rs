//! From the kernel's spelling of an argument or return type to the catalog's.

/// A type in the catalog's words.
pub struct Type {
    /// Variant of `ArgBase` or `RetBase`.
    pub base: String,
    /// Names of `ArgFlags`.
    pub flags: Vec<String>,
}

/// Names of the uapi/bpf.h enums that stand for a base and flags, longest first.
const COMPOSED: &[(&str, &str, &[&str])] = &[
    ("PTR_TO_RINGBUF_MEM_OR_NULL", "PTR_TO_MEM", &["MEM_RINGBUF", "PTR_MAYBE_NULL"]),
    ("PTR_TO_DYNPTR_MEM_OR_NULL", "PTR_TO_MEM", &["PTR_MAYBE_NULL"]),
    ("PTR_TO_BTF_ID_TRUSTED", "PTR_TO_BTF_ID", &["PTR_TRUSTED"]),
    ("PTR_TO_UNINIT_MEM", "PTR_TO_MEM", &["MEM_UNINIT", "MEM_WRITE"]),
    ("PTR_TO_FIXED_SIZE_MEM", "PTR_TO_MEM", &["MEM_FIXED_SIZE"]),
    ("SCALAR", "ANYTHING", &[]),
];

/// Parses `ARG_PTR_TO_MEM | MEM_RDONLY` or `RET_PTR_TO_MAP_VALUE_OR_NULL`.
pub fn parse(text: &str) -> Type {
    // A C comment may trail the expression.
    let text = text.split("/*").next().unwrap_or("").trim().trim_end_matches(',');
    let mut parts = text.split('|').map(str::trim);
    let first = parts.next().unwrap_or("");
    let name = first.strip_prefix("ARG_").or_else(|| first.strip_prefix("RET_")).unwrap_or(first);
    let mut flags: Vec<String> = Vec::new();
    let base = match COMPOSED.iter().find(|(n, _, _)| *n == name) {
        Some((_, base, extra)) => {
            flags.extend(extra.iter().map(|f| f.to_string()));
            base
        }
        None => match name.strip_suffix("_OR_NULL") {
            Some(base) => {
                flags.push("PTR_MAYBE_NULL".into());
                base
            }
            None => name,
        },
    };
    flags.extend(parts.map(str::to_string));
    Type { base: if base.is_empty() { "DontCare".into() } else { camel(base) }, flags }
}

/// `PTR_TO_MAP_KEY` to `PtrToMapKey`.
fn camel(name: &str) -> String {
    let word = |w: &str| w[..1].to_string() + &w[1..].to_lowercase();
    name.split('_').filter(|w| !w.is_empty()).map(word).collect()
}

/// Kernel struct that a `BTF_ID` expression names; empty where the verifier decides by itself.
pub fn btf_struct(expr: &str) -> Result<&'static str, String> {
    let known = [
        ("bpf_cgroup_btf_id", "cgroup"),
        ("bpf_inode_storage_btf_ids", "inode"),
        ("BTF_SOCK_TYPE_SOCK_COMMON", "sock_common"),
        ("BTF_SOCK_TYPE_TCP6", "tcp6_sock"),
        ("BTF_SOCK_TYPE_TCP_TW", "tcp_timewait_sock"),
        ("BTF_SOCK_TYPE_TCP_REQ", "tcp_request_sock"),
        ("BTF_SOCK_TYPE_TCP", "tcp_sock"),
        ("BTF_SOCK_TYPE_UDP6", "udp6_sock"),
        ("BTF_SOCK_TYPE_UNIX", "unix_sock"),
        ("BTF_SOCK_TYPE_MPTCP", "mptcp_sock"),
        ("BTF_SOCK_TYPE_SOCKET", "socket"),
        ("BTF_TRACING_TYPE_TASK", "task_struct"),
        ("bpf_bprm_opts_set_btf_ids", "linux_binprm"),
        ("bpf_d_path_btf_ids", "path"),
        ("bpf_ima_file_hash_btf_ids", "file"),
        ("bpf_ima_inode_hash_btf_ids", "inode"),
        ("bpf_skb_output_btf_ids", "sk_buff"),
        ("bpf_sock_from_file_btf_ids[0]", "socket"),
        ("bpf_sock_from_file_btf_ids[1]", "file"),
        ("bpf_xdp_get_buff_len_bpf_ids", "xdp_buff"),
        ("bpf_xdp_output_btf_ids", "xdp_buff"),
        ("btf_seq_file_ids", "seq_file"),
        ("bpf_task_pt_regs_ids", "pt_regs"),
        ("tcp_sock_id", "tcp_sock"),
        ("BPF_PTR_POISON", ""),
    ];
    if expr.is_empty() {
        return Ok("");
    }
    let found = known.iter().find(|(k, _)| expr.contains(k));
    found.map(|(_, s)| *s).ok_or_else(|| format!("no struct known for {expr:?}"))
}

/// Bytes of a `sizeof` expression.
pub fn size(expr: &str) -> Result<u32, String> {
    match expr {
        "" => Ok(0),
        "sizeof(u32)" | "sizeof(s32)" => Ok(4),
        "sizeof(u64)" | "sizeof(s64)" => Ok(8),
        "sizeof(struct iphdr)" => Ok(20),
        "sizeof(struct tcphdr)" => Ok(20),
        "sizeof(struct ipv6hdr)" => Ok(40),
        _ => Err(format!("no size known for {expr:?}")),
    }
}
