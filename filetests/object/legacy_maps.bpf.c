// SPDX-License-Identifier: MIT OR Apache-2.0
// Maps as libbpf before 1.0 declared them, and the version section of old kernels.
// libbpf differs: refuses section "maps" since 1.0.
// build: clang -fdebug-compilation-dir=. -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct bpf_map_def {
	unsigned int type, key_size, value_size, max_entries, map_flags;
};

struct bpf_map_def SEC("maps") counts = {
	.type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = 1024, .map_flags = BPF_F_NO_PREALLOC,
};
struct bpf_map_def SEC("maps") stacks = {
	.type = BPF_MAP_TYPE_STACK_TRACE, .key_size = 4, .value_size = 1016, .max_entries = 64,
};
unsigned int _version SEC("version") = 0x060c00;
char LICENSE[] SEC("license") = "Dual MIT/GPL";

SEC("kprobe/do_unlinkat")
int unlink(void *ctx)
{
	int key = bpf_get_stackid(ctx, &stacks, 0);
	__u64 one = 1, *count = bpf_map_lookup_elem(&counts, &key);

	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&counts, &key, &one, 0);
	return 0;
}
