//! Which helpers take which map types (`check_map_func_compatibility`, kernel/bpf/verifier.c).

use stylet_uapi::{HelperId as H, MapType as M};

/// Map types that only the listed helpers accept. Types that are not listed are not restricted.
static MAP_ONLY: &[(&[M], &[H])] = &[
    (&[M::PROG_ARRAY], &[H::TAIL_CALL]),
    (
        &[M::PERF_EVENT_ARRAY],
        &[
            H::PERF_EVENT_READ,
            H::PERF_EVENT_OUTPUT,
            H::SKB_OUTPUT,
            H::PERF_EVENT_READ_VALUE,
            H::XDP_OUTPUT,
        ],
    ),
    (
        &[M::RINGBUF],
        &[
            H::RINGBUF_OUTPUT,
            H::RINGBUF_RESERVE,
            H::RINGBUF_QUERY,
            H::RINGBUF_RESERVE_DYNPTR,
            H::RINGBUF_SUBMIT_DYNPTR,
            H::RINGBUF_DISCARD_DYNPTR,
        ],
    ),
    (&[M::USER_RINGBUF], &[H::USER_RINGBUF_DRAIN]),
    (&[M::STACK_TRACE], &[H::GET_STACKID]),
    (&[M::CGROUP_ARRAY], &[H::SKB_UNDER_CGROUP, H::CURRENT_TASK_UNDER_CGROUP]),
    (&[M::CGROUP_STORAGE, M::PERCPU_CGROUP_STORAGE], &[H::GET_LOCAL_STORAGE]),
    (&[M::DEVMAP, M::DEVMAP_HASH, M::XSKMAP], &[H::REDIRECT_MAP, H::MAP_LOOKUP_ELEM]),
    (&[M::CPUMAP], &[H::REDIRECT_MAP]),
    (&[M::ARRAY_OF_MAPS, M::HASH_OF_MAPS], &[H::MAP_LOOKUP_ELEM]),
    (
        &[M::SOCKMAP],
        &[
            H::SK_REDIRECT_MAP,
            H::SOCK_MAP_UPDATE,
            H::MAP_DELETE_ELEM,
            H::MAP_UPDATE_ELEM,
            H::MSG_REDIRECT_MAP,
            H::SK_SELECT_REUSEPORT,
            H::MAP_LOOKUP_ELEM,
        ],
    ),
    (
        &[M::SOCKHASH],
        &[
            H::SK_REDIRECT_HASH,
            H::SOCK_HASH_UPDATE,
            H::MAP_DELETE_ELEM,
            H::MAP_UPDATE_ELEM,
            H::MSG_REDIRECT_HASH,
            H::SK_SELECT_REUSEPORT,
            H::MAP_LOOKUP_ELEM,
        ],
    ),
    (&[M::REUSEPORT_SOCKARRAY], &[H::SK_SELECT_REUSEPORT]),
    (&[M::QUEUE, M::STACK], &[H::MAP_PEEK_ELEM, H::MAP_POP_ELEM, H::MAP_PUSH_ELEM]),
    (&[M::SK_STORAGE], &[H::SK_STORAGE_GET, H::SK_STORAGE_DELETE, H::KPTR_XCHG]),
    (&[M::INODE_STORAGE], &[H::INODE_STORAGE_GET, H::INODE_STORAGE_DELETE, H::KPTR_XCHG]),
    (&[M::TASK_STORAGE], &[H::TASK_STORAGE_GET, H::TASK_STORAGE_DELETE, H::KPTR_XCHG]),
    (&[M::CGRP_STORAGE], &[H::CGRP_STORAGE_GET, H::CGRP_STORAGE_DELETE, H::KPTR_XCHG]),
    (&[M::BLOOM_FILTER], &[H::MAP_PEEK_ELEM, H::MAP_PUSH_ELEM]),
    (&[M::INSN_ARRAY], &[]),
];

/// Helpers that accept only the listed map types. Helpers that are not listed are not restricted.
static HELPER_ONLY: &[(&[H], &[M])] = &[
    (&[H::TAIL_CALL], &[M::PROG_ARRAY]),
    (
        &[
            H::PERF_EVENT_READ,
            H::PERF_EVENT_OUTPUT,
            H::PERF_EVENT_READ_VALUE,
            H::SKB_OUTPUT,
            H::XDP_OUTPUT,
        ],
        &[M::PERF_EVENT_ARRAY],
    ),
    (
        &[
            H::RINGBUF_OUTPUT,
            H::RINGBUF_RESERVE,
            H::RINGBUF_QUERY,
            H::RINGBUF_RESERVE_DYNPTR,
            H::RINGBUF_SUBMIT_DYNPTR,
            H::RINGBUF_DISCARD_DYNPTR,
        ],
        &[M::RINGBUF],
    ),
    (&[H::USER_RINGBUF_DRAIN], &[M::USER_RINGBUF]),
    (&[H::GET_STACKID], &[M::STACK_TRACE]),
    (&[H::CURRENT_TASK_UNDER_CGROUP, H::SKB_UNDER_CGROUP], &[M::CGROUP_ARRAY]),
    (&[H::REDIRECT_MAP], &[M::DEVMAP, M::DEVMAP_HASH, M::CPUMAP, M::XSKMAP]),
    (&[H::SK_REDIRECT_MAP, H::MSG_REDIRECT_MAP, H::SOCK_MAP_UPDATE], &[M::SOCKMAP]),
    (&[H::SK_REDIRECT_HASH, H::MSG_REDIRECT_HASH, H::SOCK_HASH_UPDATE], &[M::SOCKHASH]),
    (&[H::GET_LOCAL_STORAGE], &[M::CGROUP_STORAGE, M::PERCPU_CGROUP_STORAGE]),
    (&[H::SK_SELECT_REUSEPORT], &[M::REUSEPORT_SOCKARRAY, M::SOCKMAP, M::SOCKHASH]),
    (&[H::MAP_POP_ELEM], &[M::QUEUE, M::STACK]),
    (&[H::MAP_PEEK_ELEM, H::MAP_PUSH_ELEM], &[M::QUEUE, M::STACK, M::BLOOM_FILTER]),
    (&[H::MAP_LOOKUP_PERCPU_ELEM], &[M::PERCPU_ARRAY, M::PERCPU_HASH, M::LRU_PERCPU_HASH]),
    (&[H::SK_STORAGE_GET, H::SK_STORAGE_DELETE], &[M::SK_STORAGE]),
    (&[H::INODE_STORAGE_GET, H::INODE_STORAGE_DELETE], &[M::INODE_STORAGE]),
    (&[H::TASK_STORAGE_GET, H::TASK_STORAGE_DELETE], &[M::TASK_STORAGE]),
    (&[H::CGRP_STORAGE_GET, H::CGRP_STORAGE_DELETE], &[M::CGRP_STORAGE]),
];

/// Whether a map of type `map` may be given to helper `helper`.
pub(crate) fn compatible(map: M, helper: H) -> bool {
    let by_map = MAP_ONLY.iter().find(|(maps, _)| maps.contains(&map));
    let by_helper = HELPER_ONLY.iter().find(|(helpers, _)| helpers.contains(&helper));
    by_map.is_none_or(|(_, helpers)| helpers.contains(&helper))
        && by_helper.is_none_or(|(_, maps)| maps.contains(&map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_maps_take_ordinary_helpers_only() {
        assert!(compatible(M::HASH, H::MAP_LOOKUP_ELEM));
        assert!(!compatible(M::HASH, H::MAP_PEEK_ELEM));
        assert!(!compatible(M::HASH, H::RINGBUF_OUTPUT));
        assert!(!compatible(M::HASH, H::TAIL_CALL));
    }

    #[test]
    fn special_maps_take_their_own_helpers_only() {
        assert!(compatible(M::RINGBUF, H::RINGBUF_RESERVE));
        assert!(!compatible(M::RINGBUF, H::MAP_LOOKUP_ELEM));
        assert!(compatible(M::BLOOM_FILTER, H::MAP_PEEK_ELEM));
        assert!(!compatible(M::BLOOM_FILTER, H::MAP_POP_ELEM));
        assert!(!compatible(M::ARRAY_OF_MAPS, H::MAP_UPDATE_ELEM));
        assert!(!compatible(M::PERCPU_ARRAY, H::GET_STACKID));
        assert!(compatible(M::PERCPU_ARRAY, H::MAP_LOOKUP_PERCPU_ELEM));
    }
}
