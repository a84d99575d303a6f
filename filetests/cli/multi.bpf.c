// SPDX-License-Identifier: MIT OR Apache-2.0
// One program at every function of a pattern.
//
// build: clang -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

__u64 hits;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u64);
} by_function SEC(".maps");

SEC("uprobe.multi/libc.so.6:getp*id")
int any(struct pt_regs *ctx)
{
	__u64 ip = bpf_get_func_ip(ctx), one = 1;

	__sync_fetch_and_add(&hits, 1);
	bpf_map_update_elem(&by_function, &ip, &one, BPF_ANY);
	return 0;
}
