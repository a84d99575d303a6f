//! Helper numbers (`enum bpf_func_id`, include/uapi/linux/bpf.h).

crate::newtype_consts! {
    /// A helper's number; names are in upper case.
    pub struct HelperId, prefix "BPF_FUNC_" {
        /// `bpf_map_lookup_elem`
        MAP_LOOKUP_ELEM = 1,
        /// `bpf_map_update_elem`
        MAP_UPDATE_ELEM = 2,
        /// `bpf_map_delete_elem`
        MAP_DELETE_ELEM = 3,
        /// `bpf_probe_read`
        PROBE_READ = 4,
        /// `bpf_ktime_get_ns`
        KTIME_GET_NS = 5,
        /// `bpf_trace_printk`
        TRACE_PRINTK = 6,
        /// `bpf_get_prandom_u32`
        GET_PRANDOM_U32 = 7,
        /// `bpf_get_smp_processor_id`
        GET_SMP_PROCESSOR_ID = 8,
        /// `bpf_skb_store_bytes`
        SKB_STORE_BYTES = 9,
        /// `bpf_l3_csum_replace`
        L3_CSUM_REPLACE = 10,
        /// `bpf_l4_csum_replace`
        L4_CSUM_REPLACE = 11,
        /// `bpf_tail_call`
        TAIL_CALL = 12,
        /// `bpf_clone_redirect`
        CLONE_REDIRECT = 13,
        /// `bpf_get_current_pid_tgid`
        GET_CURRENT_PID_TGID = 14,
        /// `bpf_get_current_uid_gid`
        GET_CURRENT_UID_GID = 15,
        /// `bpf_get_current_comm`
        GET_CURRENT_COMM = 16,
        /// `bpf_get_cgroup_classid`
        GET_CGROUP_CLASSID = 17,
        /// `bpf_skb_vlan_push`
        SKB_VLAN_PUSH = 18,
        /// `bpf_skb_vlan_pop`
        SKB_VLAN_POP = 19,
        /// `bpf_skb_get_tunnel_key`
        SKB_GET_TUNNEL_KEY = 20,
        /// `bpf_skb_set_tunnel_key`
        SKB_SET_TUNNEL_KEY = 21,
        /// `bpf_perf_event_read`
        PERF_EVENT_READ = 22,
        /// `bpf_redirect`
        REDIRECT = 23,
        /// `bpf_get_route_realm`
        GET_ROUTE_REALM = 24,
        /// `bpf_perf_event_output`
        PERF_EVENT_OUTPUT = 25,
        /// `bpf_skb_load_bytes`
        SKB_LOAD_BYTES = 26,
        /// `bpf_get_stackid`
        GET_STACKID = 27,
        /// `bpf_csum_diff`
        CSUM_DIFF = 28,
        /// `bpf_skb_get_tunnel_opt`
        SKB_GET_TUNNEL_OPT = 29,
        /// `bpf_skb_set_tunnel_opt`
        SKB_SET_TUNNEL_OPT = 30,
        /// `bpf_skb_change_proto`
        SKB_CHANGE_PROTO = 31,
        /// `bpf_skb_change_type`
        SKB_CHANGE_TYPE = 32,
        /// `bpf_skb_under_cgroup`
        SKB_UNDER_CGROUP = 33,
        /// `bpf_get_hash_recalc`
        GET_HASH_RECALC = 34,
        /// `bpf_get_current_task`
        GET_CURRENT_TASK = 35,
        /// `bpf_probe_write_user`
        PROBE_WRITE_USER = 36,
        /// `bpf_current_task_under_cgroup`
        CURRENT_TASK_UNDER_CGROUP = 37,
        /// `bpf_skb_change_tail`
        SKB_CHANGE_TAIL = 38,
        /// `bpf_skb_pull_data`
        SKB_PULL_DATA = 39,
        /// `bpf_csum_update`
        CSUM_UPDATE = 40,
        /// `bpf_set_hash_invalid`
        SET_HASH_INVALID = 41,
        /// `bpf_get_numa_node_id`
        GET_NUMA_NODE_ID = 42,
        /// `bpf_skb_change_head`
        SKB_CHANGE_HEAD = 43,
        /// `bpf_xdp_adjust_head`
        XDP_ADJUST_HEAD = 44,
        /// `bpf_probe_read_str`
        PROBE_READ_STR = 45,
        /// `bpf_get_socket_cookie`
        GET_SOCKET_COOKIE = 46,
        /// `bpf_get_socket_uid`
        GET_SOCKET_UID = 47,
        /// `bpf_set_hash`
        SET_HASH = 48,
        /// `bpf_setsockopt`
        SETSOCKOPT = 49,
        /// `bpf_skb_adjust_room`
        SKB_ADJUST_ROOM = 50,
        /// `bpf_redirect_map`
        REDIRECT_MAP = 51,
        /// `bpf_sk_redirect_map`
        SK_REDIRECT_MAP = 52,
        /// `bpf_sock_map_update`
        SOCK_MAP_UPDATE = 53,
        /// `bpf_xdp_adjust_meta`
        XDP_ADJUST_META = 54,
        /// `bpf_perf_event_read_value`
        PERF_EVENT_READ_VALUE = 55,
        /// `bpf_perf_prog_read_value`
        PERF_PROG_READ_VALUE = 56,
        /// `bpf_getsockopt`
        GETSOCKOPT = 57,
        /// `bpf_override_return`
        OVERRIDE_RETURN = 58,
        /// `bpf_sock_ops_cb_flags_set`
        SOCK_OPS_CB_FLAGS_SET = 59,
        /// `bpf_msg_redirect_map`
        MSG_REDIRECT_MAP = 60,
        /// `bpf_msg_apply_bytes`
        MSG_APPLY_BYTES = 61,
        /// `bpf_msg_cork_bytes`
        MSG_CORK_BYTES = 62,
        /// `bpf_msg_pull_data`
        MSG_PULL_DATA = 63,
        /// `bpf_bind`
        BIND = 64,
        /// `bpf_xdp_adjust_tail`
        XDP_ADJUST_TAIL = 65,
        /// `bpf_skb_get_xfrm_state`
        SKB_GET_XFRM_STATE = 66,
        /// `bpf_get_stack`
        GET_STACK = 67,
        /// `bpf_skb_load_bytes_relative`
        SKB_LOAD_BYTES_RELATIVE = 68,
        /// `bpf_fib_lookup`
        FIB_LOOKUP = 69,
        /// `bpf_sock_hash_update`
        SOCK_HASH_UPDATE = 70,
        /// `bpf_msg_redirect_hash`
        MSG_REDIRECT_HASH = 71,
        /// `bpf_sk_redirect_hash`
        SK_REDIRECT_HASH = 72,
        /// `bpf_lwt_push_encap`
        LWT_PUSH_ENCAP = 73,
        /// `bpf_lwt_seg6_store_bytes`
        LWT_SEG6_STORE_BYTES = 74,
        /// `bpf_lwt_seg6_adjust_srh`
        LWT_SEG6_ADJUST_SRH = 75,
        /// `bpf_lwt_seg6_action`
        LWT_SEG6_ACTION = 76,
        /// `bpf_rc_repeat`
        RC_REPEAT = 77,
        /// `bpf_rc_keydown`
        RC_KEYDOWN = 78,
        /// `bpf_skb_cgroup_id`
        SKB_CGROUP_ID = 79,
        /// `bpf_get_current_cgroup_id`
        GET_CURRENT_CGROUP_ID = 80,
        /// `bpf_get_local_storage`
        GET_LOCAL_STORAGE = 81,
        /// `bpf_sk_select_reuseport`
        SK_SELECT_REUSEPORT = 82,
        /// `bpf_skb_ancestor_cgroup_id`
        SKB_ANCESTOR_CGROUP_ID = 83,
        /// `bpf_sk_lookup_tcp`
        SK_LOOKUP_TCP = 84,
        /// `bpf_sk_lookup_udp`
        SK_LOOKUP_UDP = 85,
        /// `bpf_sk_release`
        SK_RELEASE = 86,
        /// `bpf_map_push_elem`
        MAP_PUSH_ELEM = 87,
        /// `bpf_map_pop_elem`
        MAP_POP_ELEM = 88,
        /// `bpf_map_peek_elem`
        MAP_PEEK_ELEM = 89,
        /// `bpf_msg_push_data`
        MSG_PUSH_DATA = 90,
        /// `bpf_msg_pop_data`
        MSG_POP_DATA = 91,
        /// `bpf_rc_pointer_rel`
        RC_POINTER_REL = 92,
        /// `bpf_spin_lock`
        SPIN_LOCK = 93,
        /// `bpf_spin_unlock`
        SPIN_UNLOCK = 94,
        /// `bpf_sk_fullsock`
        SK_FULLSOCK = 95,
        /// `bpf_tcp_sock`
        TCP_SOCK = 96,
        /// `bpf_skb_ecn_set_ce`
        SKB_ECN_SET_CE = 97,
        /// `bpf_get_listener_sock`
        GET_LISTENER_SOCK = 98,
        /// `bpf_skc_lookup_tcp`
        SKC_LOOKUP_TCP = 99,
        /// `bpf_tcp_check_syncookie`
        TCP_CHECK_SYNCOOKIE = 100,
        /// `bpf_sysctl_get_name`
        SYSCTL_GET_NAME = 101,
        /// `bpf_sysctl_get_current_value`
        SYSCTL_GET_CURRENT_VALUE = 102,
        /// `bpf_sysctl_get_new_value`
        SYSCTL_GET_NEW_VALUE = 103,
        /// `bpf_sysctl_set_new_value`
        SYSCTL_SET_NEW_VALUE = 104,
        /// `bpf_strtol`
        STRTOL = 105,
        /// `bpf_strtoul`
        STRTOUL = 106,
        /// `bpf_sk_storage_get`
        SK_STORAGE_GET = 107,
        /// `bpf_sk_storage_delete`
        SK_STORAGE_DELETE = 108,
        /// `bpf_send_signal`
        SEND_SIGNAL = 109,
        /// `bpf_tcp_gen_syncookie`
        TCP_GEN_SYNCOOKIE = 110,
        /// `bpf_skb_output`
        SKB_OUTPUT = 111,
        /// `bpf_probe_read_user`
        PROBE_READ_USER = 112,
        /// `bpf_probe_read_kernel`
        PROBE_READ_KERNEL = 113,
        /// `bpf_probe_read_user_str`
        PROBE_READ_USER_STR = 114,
        /// `bpf_probe_read_kernel_str`
        PROBE_READ_KERNEL_STR = 115,
        /// `bpf_tcp_send_ack`
        TCP_SEND_ACK = 116,
        /// `bpf_send_signal_thread`
        SEND_SIGNAL_THREAD = 117,
        /// `bpf_jiffies64`
        JIFFIES64 = 118,
        /// `bpf_read_branch_records`
        READ_BRANCH_RECORDS = 119,
        /// `bpf_get_ns_current_pid_tgid`
        GET_NS_CURRENT_PID_TGID = 120,
        /// `bpf_xdp_output`
        XDP_OUTPUT = 121,
        /// `bpf_get_netns_cookie`
        GET_NETNS_COOKIE = 122,
        /// `bpf_get_current_ancestor_cgroup_id`
        GET_CURRENT_ANCESTOR_CGROUP_ID = 123,
        /// `bpf_sk_assign`
        SK_ASSIGN = 124,
        /// `bpf_ktime_get_boot_ns`
        KTIME_GET_BOOT_NS = 125,
        /// `bpf_seq_printf`
        SEQ_PRINTF = 126,
        /// `bpf_seq_write`
        SEQ_WRITE = 127,
        /// `bpf_sk_cgroup_id`
        SK_CGROUP_ID = 128,
        /// `bpf_sk_ancestor_cgroup_id`
        SK_ANCESTOR_CGROUP_ID = 129,
        /// `bpf_ringbuf_output`
        RINGBUF_OUTPUT = 130,
        /// `bpf_ringbuf_reserve`
        RINGBUF_RESERVE = 131,
        /// `bpf_ringbuf_submit`
        RINGBUF_SUBMIT = 132,
        /// `bpf_ringbuf_discard`
        RINGBUF_DISCARD = 133,
        /// `bpf_ringbuf_query`
        RINGBUF_QUERY = 134,
        /// `bpf_csum_level`
        CSUM_LEVEL = 135,
        /// `bpf_skc_to_tcp6_sock`
        SKC_TO_TCP6_SOCK = 136,
        /// `bpf_skc_to_tcp_sock`
        SKC_TO_TCP_SOCK = 137,
        /// `bpf_skc_to_tcp_timewait_sock`
        SKC_TO_TCP_TIMEWAIT_SOCK = 138,
        /// `bpf_skc_to_tcp_request_sock`
        SKC_TO_TCP_REQUEST_SOCK = 139,
        /// `bpf_skc_to_udp6_sock`
        SKC_TO_UDP6_SOCK = 140,
        /// `bpf_get_task_stack`
        GET_TASK_STACK = 141,
        /// `bpf_load_hdr_opt`
        LOAD_HDR_OPT = 142,
        /// `bpf_store_hdr_opt`
        STORE_HDR_OPT = 143,
        /// `bpf_reserve_hdr_opt`
        RESERVE_HDR_OPT = 144,
        /// `bpf_inode_storage_get`
        INODE_STORAGE_GET = 145,
        /// `bpf_inode_storage_delete`
        INODE_STORAGE_DELETE = 146,
        /// `bpf_d_path`
        D_PATH = 147,
        /// `bpf_copy_from_user`
        COPY_FROM_USER = 148,
        /// `bpf_snprintf_btf`
        SNPRINTF_BTF = 149,
        /// `bpf_seq_printf_btf`
        SEQ_PRINTF_BTF = 150,
        /// `bpf_skb_cgroup_classid`
        SKB_CGROUP_CLASSID = 151,
        /// `bpf_redirect_neigh`
        REDIRECT_NEIGH = 152,
        /// `bpf_per_cpu_ptr`
        PER_CPU_PTR = 153,
        /// `bpf_this_cpu_ptr`
        THIS_CPU_PTR = 154,
        /// `bpf_redirect_peer`
        REDIRECT_PEER = 155,
        /// `bpf_task_storage_get`
        TASK_STORAGE_GET = 156,
        /// `bpf_task_storage_delete`
        TASK_STORAGE_DELETE = 157,
        /// `bpf_get_current_task_btf`
        GET_CURRENT_TASK_BTF = 158,
        /// `bpf_bprm_opts_set`
        BPRM_OPTS_SET = 159,
        /// `bpf_ktime_get_coarse_ns`
        KTIME_GET_COARSE_NS = 160,
        /// `bpf_ima_inode_hash`
        IMA_INODE_HASH = 161,
        /// `bpf_sock_from_file`
        SOCK_FROM_FILE = 162,
        /// `bpf_check_mtu`
        CHECK_MTU = 163,
        /// `bpf_for_each_map_elem`
        FOR_EACH_MAP_ELEM = 164,
        /// `bpf_snprintf`
        SNPRINTF = 165,
        /// `bpf_sys_bpf`
        SYS_BPF = 166,
        /// `bpf_btf_find_by_name_kind`
        BTF_FIND_BY_NAME_KIND = 167,
        /// `bpf_sys_close`
        SYS_CLOSE = 168,
        /// `bpf_timer_init`
        TIMER_INIT = 169,
        /// `bpf_timer_set_callback`
        TIMER_SET_CALLBACK = 170,
        /// `bpf_timer_start`
        TIMER_START = 171,
        /// `bpf_timer_cancel`
        TIMER_CANCEL = 172,
        /// `bpf_get_func_ip`
        GET_FUNC_IP = 173,
        /// `bpf_get_attach_cookie`
        GET_ATTACH_COOKIE = 174,
        /// `bpf_task_pt_regs`
        TASK_PT_REGS = 175,
        /// `bpf_get_branch_snapshot`
        GET_BRANCH_SNAPSHOT = 176,
        /// `bpf_trace_vprintk`
        TRACE_VPRINTK = 177,
        /// `bpf_skc_to_unix_sock`
        SKC_TO_UNIX_SOCK = 178,
        /// `bpf_kallsyms_lookup_name`
        KALLSYMS_LOOKUP_NAME = 179,
        /// `bpf_find_vma`
        FIND_VMA = 180,
        /// `bpf_loop`
        LOOP = 181,
        /// `bpf_strncmp`
        STRNCMP = 182,
        /// `bpf_get_func_arg`
        GET_FUNC_ARG = 183,
        /// `bpf_get_func_ret`
        GET_FUNC_RET = 184,
        /// `bpf_get_func_arg_cnt`
        GET_FUNC_ARG_CNT = 185,
        /// `bpf_get_retval`
        GET_RETVAL = 186,
        /// `bpf_set_retval`
        SET_RETVAL = 187,
        /// `bpf_xdp_get_buff_len`
        XDP_GET_BUFF_LEN = 188,
        /// `bpf_xdp_load_bytes`
        XDP_LOAD_BYTES = 189,
        /// `bpf_xdp_store_bytes`
        XDP_STORE_BYTES = 190,
        /// `bpf_copy_from_user_task`
        COPY_FROM_USER_TASK = 191,
        /// `bpf_skb_set_tstamp`
        SKB_SET_TSTAMP = 192,
        /// `bpf_ima_file_hash`
        IMA_FILE_HASH = 193,
        /// `bpf_kptr_xchg`
        KPTR_XCHG = 194,
        /// `bpf_map_lookup_percpu_elem`
        MAP_LOOKUP_PERCPU_ELEM = 195,
        /// `bpf_skc_to_mptcp_sock`
        SKC_TO_MPTCP_SOCK = 196,
        /// `bpf_dynptr_from_mem`
        DYNPTR_FROM_MEM = 197,
        /// `bpf_ringbuf_reserve_dynptr`
        RINGBUF_RESERVE_DYNPTR = 198,
        /// `bpf_ringbuf_submit_dynptr`
        RINGBUF_SUBMIT_DYNPTR = 199,
        /// `bpf_ringbuf_discard_dynptr`
        RINGBUF_DISCARD_DYNPTR = 200,
        /// `bpf_dynptr_read`
        DYNPTR_READ = 201,
        /// `bpf_dynptr_write`
        DYNPTR_WRITE = 202,
        /// `bpf_dynptr_data`
        DYNPTR_DATA = 203,
        /// `bpf_tcp_raw_gen_syncookie_ipv4`
        TCP_RAW_GEN_SYNCOOKIE_IPV4 = 204,
        /// `bpf_tcp_raw_gen_syncookie_ipv6`
        TCP_RAW_GEN_SYNCOOKIE_IPV6 = 205,
        /// `bpf_tcp_raw_check_syncookie_ipv4`
        TCP_RAW_CHECK_SYNCOOKIE_IPV4 = 206,
        /// `bpf_tcp_raw_check_syncookie_ipv6`
        TCP_RAW_CHECK_SYNCOOKIE_IPV6 = 207,
        /// `bpf_ktime_get_tai_ns`
        KTIME_GET_TAI_NS = 208,
        /// `bpf_user_ringbuf_drain`
        USER_RINGBUF_DRAIN = 209,
        /// `bpf_cgrp_storage_get`
        CGRP_STORAGE_GET = 210,
        /// `bpf_cgrp_storage_delete`
        CGRP_STORAGE_DELETE = 211,
    }
}
