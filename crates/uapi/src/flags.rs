//! Flags, grouped by the argument that takes them (include/uapi/linux/bpf.h). A group's `ALL` has the kernel's names.

macro_rules! flags {
    ($(#[$meta:meta])* $group:ident: $type:ty { $($kernel:literal $name:ident = $value:expr, $text:literal;)* }) => {
        $(#[$meta])*
        pub mod $group {
            $( #[doc = concat!("`", $kernel, "`: ", $text, ".")] pub const $name: $type = $value; )*

            /// Every value of the group with the kernel's name.
            pub const ALL: &[(&str, $type)] = &[$( ($kernel, $name), )*];
        }
    };
}

flags! {
    /// Flags of BPF_MAP_CREATE (`map_flags`).
    map_flags: u32 {
        "BPF_F_NO_PREALLOC" NO_PREALLOC = 1, "hash: allocate elements when they are inserted";
        "BPF_F_NO_COMMON_LRU" NO_COMMON_LRU = 2, "LRU hash: a list for each CPU";
        "BPF_F_NUMA_NODE" NUMA_NODE = 4, "`numa_node` is given";
        "BPF_F_RDONLY" RDONLY = 8, "read-only through its file descriptor";
        "BPF_F_WRONLY" WRONLY = 1 << 4, "write-only through its file descriptor";
        "BPF_F_STACK_BUILD_ID" STACK_BUILD_ID = 1 << 5, "stack trace: build id and offset instead of addresses";
        "BPF_F_ZERO_SEED" ZERO_SEED = 1 << 6, "hash: seed 0, for tests";
        "BPF_F_RDONLY_PROG" RDONLY_PROG = 1 << 7, "read-only to programs";
        "BPF_F_WRONLY_PROG" WRONLY_PROG = 1 << 8, "write-only to programs";
        "BPF_F_CLONE" CLONE = 1 << 9, "socket storage: inherited on accept";
        "BPF_F_MMAPABLE" MMAPABLE = 1 << 10, "may be mapped by processes";
        "BPF_F_PRESERVE_ELEMS" PRESERVE_ELEMS = 1 << 11, "perf event array: events outlive the descriptor that set them";
        "BPF_F_INNER_MAP" INNER_MAP = 1 << 12, "array: inner maps may have other `max_entries`";
        "BPF_F_LINK" LINK = 1 << 13, "struct_ops: attached through a link";
        "BPF_F_PATH_FD" PATH_FD = 1 << 14, "`path_fd` is given (BPF_OBJ_PIN, BPF_OBJ_GET)";
        "BPF_F_VTYPE_BTF_OBJ_FD" VTYPE_BTF_OBJ_FD = 1 << 15, "struct_ops: `value_type_btf_obj_fd` is given";
        "BPF_F_TOKEN_FD" TOKEN_FD = 1 << 16, "a token's descriptor is given";
        "BPF_F_SEGV_ON_FAULT" SEGV_ON_FAULT = 1 << 17, "arena: an access outside sends SIGSEGV";
        "BPF_F_NO_USER_CONV" NO_USER_CONV = 1 << 18, "arena: pointers are not translated to user addresses";
        "BPF_F_RB_OVERWRITE" RB_OVERWRITE = 1 << 19, "ring buffer: new records overwrite old ones";
    }
}

flags! {
    /// Flags of map lookup and update (`flags` of the commands and helpers).
    update_flags: u64 {
        "BPF_ANY" ANY = 0, "create or replace";
        "BPF_NOEXIST" NOEXIST = 1, "create; EEXIST when there is one";
        "BPF_EXIST" EXIST = 2, "replace; ENOENT when there is none";
        "BPF_F_LOCK" LOCK = 4, "under the value's spin lock";
        "BPF_F_CPU" CPU = 8, "of the CPU in the upper 32 bits alone";
        "BPF_F_ALL_CPUS" ALL_CPUS = 1 << 4, "the one value goes to all CPUs";
    }
}

flags! {
    /// Flags of BPF_PROG_LOAD (`prog_flags`).
    prog_flags: u32 {
        "BPF_F_STRICT_ALIGNMENT" STRICT_ALIGNMENT = 1, "check alignment as if the machine needed it";
        "BPF_F_ANY_ALIGNMENT" ANY_ALIGNMENT = 2, "allow unaligned access on machines that fault";
        "BPF_F_TEST_RND_HI32" TEST_RND_HI32 = 4, "randomise upper halves of 32-bit definitions, for tests";
        "BPF_F_TEST_STATE_FREQ" TEST_STATE_FREQ = 8, "checkpoint at every instruction, for tests";
        "BPF_F_SLEEPABLE" SLEEPABLE = 1 << 4, "the program may sleep";
        "BPF_F_XDP_HAS_FRAGS" XDP_HAS_FRAGS = 1 << 5, "XDP: understands several buffers";
        "BPF_F_XDP_DEV_BOUND_ONLY" XDP_DEV_BOUND_ONLY = 1 << 6, "XDP: bound to a device";
        "BPF_F_TEST_REG_INVARIANTS" TEST_REG_INVARIANTS = 1 << 7, "violated range invariants are errors, for tests";
    }
}

flags! {
    /// Flags of BPF_LINK_CREATE (`kprobe_multi.flags`, `uprobe_multi.flags`).
    link_flags: u32 {
        "BPF_F_KPROBE_MULTI_RETURN" KPROBE_MULTI_RETURN = 1, "on return";
        "BPF_F_UPROBE_MULTI_RETURN" UPROBE_MULTI_RETURN = 1, "on return";
        "BPF_F_UPROBE_MULTI_PATH_FD" UPROBE_MULTI_PATH_FD = 2, "the path is relative to `path_fd`";
    }
}

flags! {
    /// Flags of `get_stack` and `get_stackid`.
    stack_flags: u64 {
        "BPF_F_SKIP_FIELD_MASK" SKIP_FIELD_MASK = 0xff, "number of frames to skip";
        "BPF_F_USER_STACK" USER_STACK = 1 << 8, "the user's stack";
        "BPF_F_FAST_STACK_CMP" FAST_STACK_CMP = 1 << 9, "compare by hash alone";
        "BPF_F_REUSE_STACKID" REUSE_STACKID = 1 << 10, "a collision replaces the stored stack";
        "BPF_F_USER_BUILD_ID" USER_BUILD_ID = 1 << 11, "build id and offset instead of addresses";
    }
}

flags! {
    /// Flags of `perf_event_output`, `perf_event_read` and `perf_event_read_value`.
    perf_flags: u64 {
        "BPF_F_INDEX_MASK" INDEX_MASK = 0xffff_ffff, "the index into the map";
        "BPF_F_CURRENT_CPU" CURRENT_CPU = 0xffff_ffff, "the index is the current CPU";
        "BPF_F_CTXLEN_MASK" CTXLEN_MASK = 0xf_ffff_0000_0000, "bytes of the packet to append";
        "BPF_F_GET_BRANCH_RECORDS_SIZE" GET_BRANCH_RECORDS_SIZE = 1, "`read_branch_records`: only tell the size";
    }
}

flags! {
    /// Ring buffers: wake-up flags, `ringbuf_query`, record headers.
    ringbuf: u64 {
        "BPF_RB_NO_WAKEUP" RB_NO_WAKEUP = 1, "do not notify";
        "BPF_RB_FORCE_WAKEUP" RB_FORCE_WAKEUP = 2, "notify in any case";
        "BPF_RB_AVAIL_DATA" RB_AVAIL_DATA = 0, "query: bytes not yet consumed";
        "BPF_RB_RING_SIZE" RB_RING_SIZE = 1, "query: size in bytes";
        "BPF_RB_CONS_POS" RB_CONS_POS = 2, "query: consumer position";
        "BPF_RB_PROD_POS" RB_PROD_POS = 3, "query: producer position";
        "BPF_RB_OVERWRITE_POS" RB_OVERWRITE_POS = 4, "query: position of the oldest record that is not overwritten";
        "BPF_RINGBUF_BUSY_BIT" BUSY_BIT = 1 << 31, "length word: reserved, not yet submitted";
        "BPF_RINGBUF_DISCARD_BIT" DISCARD_BIT = 1 << 30, "length word: discarded";
        "BPF_RINGBUF_HDR_SZ" HDR_SZ = 8, "bytes of a record's header";
    }
}

flags! {
    /// Flags of `timer_start`.
    timer_flags: u64 {
        "BPF_F_TIMER_ABS" TIMER_ABS = 1, "the time is absolute";
        "BPF_F_TIMER_CPU_PIN" TIMER_CPU_PIN = 2, "on the CPU that starts it";
    }
}

flags! {
    /// Flags of string-copying kfuncs (`copy_from_user_str`, …).
    kfunc_flags: u64 {
        "BPF_F_PAD_ZEROS" PAD_ZEROS = 1, "fill the rest of the buffer with zeros";
    }
}

flags! {
    /// Flags of `task_storage_get` and its relatives.
    storage_flags: u64 {
        "BPF_LOCAL_STORAGE_GET_F_CREATE" LOCAL_STORAGE_GET_F_CREATE = 1, "create when there is none";
    }
}

flags! {
    /// Flags of BPF_PROG_TEST_RUN.
    test_run_flags: u32 {
        "BPF_F_TEST_RUN_ON_CPU" TEST_RUN_ON_CPU = 1, "on `cpu`";
        "BPF_F_TEST_XDP_LIVE_FRAMES" TEST_XDP_LIVE_FRAMES = 2, "XDP: with real frames";
        "BPF_F_TEST_SKB_CHECKSUM_COMPLETE" TEST_SKB_CHECKSUM_COMPLETE = 4, "socket buffer with a complete checksum";
    }
}

flags! {
    /// Flags of `snprintf_btf`.
    btf_flags: u64 {
        "BTF_F_COMPACT" COMPACT = 1, "one line";
        "BTF_F_NONAME" NONAME = 2, "without names";
        "BTF_F_PTR_RAW" PTR_RAW = 4, "pointers as they are";
        "BTF_F_ZERO" ZERO = 8, "zero members too";
    }
}
