//! Parts of `union bpf_attr` (include/uapi/linux/bpf.h), one struct a command. None has implicit padding, so that the
//! kernel, which wants unused bytes to be zero, never sees any.

/// `BPF_MAP_CREATE`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct MapCreateAttr {
    pub map_type: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub map_flags: u32,
    pub inner_map_fd: u32,
    pub numa_node: u32,
    pub map_name: [u8; 16],
    pub map_ifindex: u32,
    pub btf_fd: u32,
    pub btf_key_type_id: u32,
    pub btf_value_type_id: u32,
    pub btf_vmlinux_value_type_id: u32,
    pub map_extra: u64,
    pub value_type_btf_obj_fd: i32,
    pub map_token_fd: i32,
}

/// `BPF_MAP_*_ELEM`, `BPF_MAP_FREEZE`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct MapElemAttr {
    pub map_fd: u32,
    pub pad: u32,
    pub key: u64,
    pub value: u64,
    pub flags: u64,
}

/// `BPF_PROG_LOAD`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct ProgLoadAttr {
    pub prog_type: u32,
    pub insn_cnt: u32,
    pub insns: u64,
    pub license: u64,
    pub log_level: u32,
    pub log_size: u32,
    pub log_buf: u64,
    pub kern_version: u32,
    pub prog_flags: u32,
    pub prog_name: [u8; 16],
    pub prog_ifindex: u32,
    pub expected_attach_type: u32,
    pub prog_btf_fd: u32,
    pub func_info_rec_size: u32,
    pub func_info: u64,
    pub func_info_cnt: u32,
    pub line_info_rec_size: u32,
    pub line_info: u64,
    pub line_info_cnt: u32,
    pub attach_btf_id: u32,
    pub attach_fd: u32,
    pub core_relo_cnt: u32,
    pub fd_array: u64,
    pub core_relos: u64,
    pub core_relo_rec_size: u32,
    pub log_true_size: u32,
    pub prog_token_fd: i32,
    pub fd_array_cnt: u32,
}

/// `BPF_OBJ_PIN`, `BPF_OBJ_GET`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct ObjAttr {
    pub pathname: u64,
    pub bpf_fd: u32,
    pub file_flags: u32,
}

/// `BPF_*_GET_*_ID`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct IdAttr {
    pub id: u32,
    pub next_id: u32,
    pub open_flags: u32,
}

/// `BPF_OBJ_GET_INFO_BY_FD`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct InfoAttr {
    pub bpf_fd: u32,
    pub info_len: u32,
    pub info: u64,
}

/// `BPF_RAW_TRACEPOINT_OPEN`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct RawTracepointAttr {
    pub name: u64,
    pub prog_fd: u32,
    pub pad: u32,
    pub cookie: u64,
}

/// `BPF_BTF_LOAD`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct BtfLoadAttr {
    pub btf: u64,
    pub log_buf: u64,
    pub btf_size: u32,
    pub log_size: u32,
    pub log_level: u32,
    pub log_true_size: u32,
}

/// `BPF_MAP_*_BATCH`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct MapBatchAttr {
    pub in_batch: u64,
    pub out_batch: u64,
    pub keys: u64,
    pub values: u64,
    pub count: u32,
    pub map_fd: u32,
    pub elem_flags: u64,
    pub flags: u64,
}

/// `BPF_PROG_TEST_RUN`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct TestRunAttr {
    pub prog_fd: u32,
    pub retval: u32,
    pub data_size_in: u32,
    pub data_size_out: u32,
    pub data_in: u64,
    pub data_out: u64,
    pub repeat: u32,
    pub duration: u32,
    pub ctx_size_in: u32,
    pub ctx_size_out: u32,
    pub ctx_in: u64,
    pub ctx_out: u64,
    pub flags: u32,
    pub cpu: u32,
    pub batch_size: u32,
    pub pad: u32,
}

/// `BPF_ENABLE_STATS`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct EnableStatsAttr {
    pub stats_type: u32,
}

/// `BPF_LINK_UPDATE`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct LinkUpdateAttr {
    pub link_fd: u32,
    pub new_prog_fd: u32,
    pub flags: u32,
    pub old_prog_fd: u32,
}

/// `BPF_LINK_DETACH`, and `BPF_ITER_CREATE` with flags.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct LinkFdAttr {
    pub link_fd: u32,
    pub flags: u32,
}

/// `BPF_TASK_FD_QUERY`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct TaskFdQueryAttr {
    pub pid: u32,
    pub fd: u32,
    pub flags: u32,
    pub buf_len: u32,
    pub buf: u64,
    pub prog_id: u32,
    pub fd_type: u32,
    pub probe_offset: u64,
    pub probe_addr: u64,
}

const _: () = assert!(size_of::<MapCreateAttr>() == 80);
const _: () = assert!(size_of::<ProgLoadAttr>() == 152);
const _: () = assert!(size_of::<BtfLoadAttr>() == 32);

/// `BPF_LINK_CREATE`: the head and the words of the union behind it.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct LinkCreateAttr {
    pub prog_fd: u32,
    pub target: u32,
    pub attach_type: u32,
    pub flags: u32,
    pub extra: [u64; 6],
}
